// axe-core, and a phone.

import { test } from "node:test";
import assert from "node:assert/strict";
import { findAxe, violations } from "./axe.mjs";
import { answered, ask, assertSound, browserSuite, QUESTION } from "./browser-suite.mjs";

const axe = findAxe();

const EVERYTHING = "# Title\n\nText with **bold**, `code`, [link](https://x.y), note[^1] and $x^2$.\n\n- a\n- [ ] to do\n\n| a | b |\n|--|--|\n| 1 | 2 |\n\n```rust\n// a\nfn a() {}\n```\n\n$$\\frac{a}{b}$$\n\n> quote\n\n\\boxed{42}\n\n[^1]: A note.";

browserSuite("accessibility", (context) => {
  test("axe-core finds nothing", { skip: !axe && "no axe-core here (npm install --no-save axe-core in dev/page, or AXE_CORE)" }, async () => {
    for (const [width, phone, dark] of [[1280, false, false], [390, true, true]]) {
      const page = await context.browser.page({ width, phone, dark });
      await page.goto(context.server.url);
      assert.deepEqual(await violations(page, axe), [], "welcome");
      await page.eval(`(async () => {
        const { ChatStore } = await import("/page/app/database.js");
        const { addMessage, newChat } = await import("/page/app/chat.js");
        const chat = newChat();
        const question = addMessage(chat, null, "user", { content: "What?", files: [{ name: "a.txt", text: "a" }] });
        addMessage(chat, question.id, "assistant", { reasoning: "Hm.", content: ${JSON.stringify(EVERYTHING)}, model: "m", stats: { completionTokens: 9, firstMs: 10, totalMs: 900 }, finish: "length", cut: null, error: null });
        await (await ChatStore.open()).put(chat);
        history.replaceState(null, "", "#" + chat.id);
      })()`);
      await page.reload();
      await page.click(".thought-head");
      await page.click(".file-shown summary");
      assert.deepEqual(await violations(page, axe), [], "answer");
      await page.click("[data-do=sampling]");
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.deepEqual(await violations(page, axe), [], "settings");
    }
  });

  test("everything fits on a phone", async () => {
    const page = await context.browser.page({ width: 360, height: 740, phone: true });
    await page.goto(context.server.url);
    await ask(page, QUESTION);
    await answered(page, 1);
    await assertSound(page, context.server.url);
    await page.click("[data-do=show-sidebar]");
    await page.until("document.querySelector('#sidebar').checkVisibility()");
    await assertSound(page, context.server.url);
    await page.eval("document.querySelector('.entry-open').click()");
    await page.until("!document.querySelector('#sidebar').checkVisibility()");
    await page.click("[data-do=sampling]");
    await assertSound(page, context.server.url);
    assert.equal(await page.eval("document.getElementById('settings').scrollWidth <= document.getElementById('settings').clientWidth"), true);
  });
});
