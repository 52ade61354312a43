// A server that stops and returns.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Server } from "./server.mjs";
import { answered, ask, browserSuite, done, meno, QUESTION, texts } from "./browser-suite.mjs";

browserSuite("recovery", (context) => {
  test("a stopped server is reported, and found again after a restart", async () => {
    const brief = await Server.start(meno, context.model);
    const page = await context.browser.page();
    await page.goto(brief.url);
    await ask(page, QUESTION);
    await answered(page, 1);
    await brief.stop();
    await ask(page, QUESTION);
    await page.until("document.querySelector('.problem strong')?.textContent === 'Meno cannot be reached'");
    const again = await Server.start(meno, context.model, { port: brief.port });
    try {
      await page.click(".problem .primary");
      await page.until(`!document.querySelector('.problem') && ${done}`, 60_000);
      assert.equal((await page.eval(texts(".bubble"))).length, 2);
    } finally {
      await again.stop();
    }
  });
});
