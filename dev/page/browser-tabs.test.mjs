// Two tabs with the same chat.

import { test } from "node:test";
import assert from "node:assert/strict";
import { answered, ask, assertSound, browserSuite, done, QUESTION } from "./browser-suite.mjs";

browserSuite("two tabs", (context) => {
  /** Opens two tabs with the same chat: one question and its answer. */
  async function twoTabs() {
    const first = await context.browser.page();
    await first.goto(context.server.url);
    await ask(first, QUESTION);
    await answered(first, 1);
    const second = await context.browser.page({ beside: first });
    await second.goto(await first.eval("location.href"));
    await second.until("document.querySelectorAll('.answer').length === 1");
    return [first, second];
  }

  test("two tabs with one chat lose no message", async () => {
    const [first, second] = await twoTabs();
    // One tab asks a second question while the other edits the first.
    await second.click(".question [data-do=edit]");
    await second.until("document.activeElement.closest('.editor')");
    await second.eval("document.activeElement.select()");
    await second.type(QUESTION.replace("12", "31"));
    await Promise.all([ask(first, QUESTION.replace("12", "21")), second.press("Enter")]);
    await first.front();
    await first.until(`${done} && document.querySelectorAll('.question').length === 2`, 120_000);
    await second.front();
    await second.until(`${done} && document.querySelector('.question .turner')?.textContent === '2/2'`, 120_000);
    for (const page of [first, second]) {
      await page.front();
      await page.until(`document.querySelector('.question .turner')?.textContent === '${page === first ? 1 : 2}/2'`);
      await page.reload();
      await page.until("document.querySelector('.question .turner')?.textContent.endsWith('/2')");
      assert.equal(await page.eval("document.querySelector('.question .turner').textContent"), `${page === first ? 1 : 2}/2`, "a reload shows the tab's own branch");
    }
    const asked = await second.eval(`(async () => { const { ChatStore } = await import("/page/app/database.js"); const [chat] = await (await ChatStore.open()).all(); return Object.values(chat.messages).map((m) => m.content); })()`);
    for (const words of [QUESTION, QUESTION.replace("12", "21"), QUESTION.replace("12", "31")]) assert.ok(asked.includes(words), words);
    assert.equal(asked.length, 6);
    await second.eval("document.querySelector('.entry-doings button:last-child').click()");
    await first.front();
    await first.until("document.querySelector('.welcome')");
    await second.front();
    await second.click(".toast .link");
    await first.front();
    await first.until("document.querySelectorAll('.entry').length === 1");
    await assertSound(first, context.server.url);
    await assertSound(second, context.server.url);
  });

  test("two tabs that ask at the same time show their own question after a reload", async () => {
    const [first, second] = await twoTabs();
    const asked = new Map([[first, QUESTION.replace("12", "41")], [second, QUESTION.replace("12", "42")]]);
    for (const [page, words] of asked) await page.eval(`document.getElementById('question').value = ${JSON.stringify(words)}`);
    await Promise.all([...asked.keys()].map((page) => page.eval("document.getElementById('composer').requestSubmit()")));
    const last = "[...document.querySelectorAll('.bubble-words')].at(-1)?.textContent";
    for (const page of [first, second, first]) {
      await page.front();
      await page.until(`${done} && document.querySelectorAll('.turner').length === 1`, 120_000);
      const before = await page.eval("document.getElementById('messages').textContent");
      assert.equal(await page.eval(last), asked.get(page));
      await page.reload();
      await page.until(`${done} && document.querySelectorAll('.turner').length === 1`);
      assert.equal(await page.eval("document.getElementById('messages').textContent"), before);
    }
    await assertSound(first, context.server.url);
  });
});
