// Questions, answers, versions, the list of chats.

import { test } from "node:test";
import assert from "node:assert/strict";
import { answered, ask, assertSound, browserSuite, done, QUESTION, texts } from "./browser-suite.mjs";

browserSuite("the chat", (context) => {
  test("a question gets a thought and an answer", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    assert.equal(await page.eval("document.activeElement.id"), "question");
    assert.equal(await page.eval("document.querySelector('[data-do=send]').disabled"), true);
    await ask(page, QUESTION);
    await answered(page, 1);
    assert.deepEqual(await page.eval(texts(".question .bubble")), [QUESTION]);
    // A miniature with little training may answer without a thought.
    for (let tries = 2; tries < 12 && !(await page.eval("Boolean(document.querySelector('.thought-head'))")); tries += 1) {
      await page.click(".answer [data-do=retry]");
      await page.until(`document.querySelector('.answer .turner')?.textContent === '${tries}/${tries}' && ${done}`, 120_000);
    }
    assert.match(await page.eval("document.querySelector('.thought-head').textContent"), /^Thought for \d+(\.\d)? s · \d+ tokens?/);
    assert.match(await page.eval("document.querySelector('.figures').textContent"), /^\d+ tokens?( · [\d.]+ tokens\/s)? · first token \d/);
    assert.equal(await page.eval("document.querySelector('.thought-text')"), null, "folded when done");
    await page.click(".thought-head");
    assert.ok((await page.until("document.querySelector('.thought-text')?.textContent")).length > 0);
    assert.equal(await page.eval("document.querySelector('.thought-head').getAttribute('aria-expanded')"), "true");
    assert.equal(await page.eval("document.getElementById('status').textContent"), "The answer is complete.");
    await assertSound(page, context.server.url);
  });

  test("the page shows the server's token counts", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await page.eval("window.usage = []; window.realFetch = fetch; window.fetch = async (...a) => { const r = await realFetch(...a); if (String(a[0]).includes('chat')) r.clone().text().then((t) => usage.push(/\"completion_tokens\":(\\d+)/.exec(t)?.[1])); return r; }");
    await ask(page, QUESTION);
    await answered(page, 1);
    const counted = await page.until("window.usage[0]");
    assert.ok((await page.eval("document.querySelector('.figures').textContent")).startsWith(`${counted} token`), counted);
  });

  test("another attempt and an edit are versions; no message is lost", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await ask(page, QUESTION);
    await answered(page, 1);
    await page.click(".answer [data-do=retry]");
    await page.until("document.querySelector('.answer .turner')?.textContent === '2/2'", 120_000);
    await page.until(done, 120_000);
    await page.click(".answer .turner button");
    await page.until("document.querySelector('.answer .turner').textContent === '1/2'");
    await page.press("ArrowUp"); // does nothing while the focus is on a button
    await page.eval("document.getElementById('question').focus()");
    await page.press("ArrowUp");
    await page.until("document.activeElement.closest('.editor')");
    await page.press("Escape");
    await page.until("!document.querySelector('.editor')");
    await page.click(".question [data-do=edit]");
    await page.until("document.activeElement.closest('.editor')");
    await page.eval("document.activeElement.select()");
    const changed = QUESTION.replace("12", "21");
    await page.type(changed);
    await page.press("Enter");
    await page.until(`document.querySelector('.bubble')?.textContent === ${JSON.stringify(changed)}`);
    await answered(page, 1);
    assert.equal(await page.eval("document.querySelector('.question .turner').textContent"), "2/2");
    await page.click(".question .turner button");
    await page.until(`document.querySelector('.bubble').textContent === ${JSON.stringify(QUESTION)}`);
    await assertSound(page, context.server.url);
  });

  test("chats are saved, found, renamed, deleted and restored", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await ask(page, QUESTION);
    await answered(page, 1);
    await page.press("k", { ctrl: true });
    await page.until("document.querySelector('.welcome')");
    const other = QUESTION.replace("12", "43");
    await ask(page, other);
    await answered(page, 1);
    assert.deepEqual(await page.eval(texts(".entry-title")), [other, QUESTION]);
    await page.reload();
    await page.until(`document.querySelector('.bubble')?.textContent === ${JSON.stringify(other)}`);
    await page.eval("document.querySelector('.search input').focus()");
    await page.type("12+");
    await page.until("document.querySelectorAll('.entry').length === 1");
    await page.click(".entry-open");
    await page.until(`document.querySelector('.bubble').textContent === ${JSON.stringify(QUESTION)}`);
    await page.eval("history.back()");
    await page.until(`document.querySelector('.bubble').textContent === ${JSON.stringify(other)}`);
    await page.eval("document.querySelector('.entry-doings button').click()");
    await page.until("document.activeElement.closest('.renaming')");
    await page.type("Sums");
    await page.press("Enter");
    await page.eval("document.querySelector('.search input').value = ''; document.querySelector('.search input').dispatchEvent(new Event('input'))");
    await page.until("document.querySelectorAll('.entry').length === 2");
    assert.ok((await page.eval(texts(".entry-title"))).includes("Sums"));
    await page.eval("[...document.querySelectorAll('.entry')].find((e) => e.textContent.includes('Sums')).querySelectorAll('.entry-doings button')[1].click()");
    await page.until("document.querySelectorAll('.entry').length === 1");
    await page.click(".toast .link");
    await page.until("document.querySelectorAll('.entry').length === 2");
    await page.eval("document.querySelector('.entry-open').focus()");
    await page.press("ArrowDown");
    assert.equal(await page.eval("document.activeElement === document.querySelectorAll('.entry-open')[1]"), true);
    await page.press("/");
    assert.equal(await page.eval("document.activeElement.id"), "question");
    assert.equal(await page.eval("document.getElementById('question').value"), "");
    await assertSound(page, context.server.url);
  });

  test("a model with examples shows them, and can think", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    const { data: [served] } = await (await fetch(`${context.server.url}v1/models`)).json();
    assert.equal(served.thinks, true);
    assert.ok(await page.eval("document.querySelector('[data-do=think]')"));
    if (served.examples) {
      assert.deepEqual(await page.eval(texts(".beginnings button")), served.examples.slice(0, 4));
      await page.click(".beginnings button");
      assert.equal(await page.eval("document.getElementById('question').value"), served.examples[0]);
    }
    await assertSound(page, context.server.url);
  });
});
