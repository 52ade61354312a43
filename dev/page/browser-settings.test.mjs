// The settings dialog, themes, an API key.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Server } from "./server.mjs";
import { answered, ask, assertSound, browserSuite, meno, QUESTION } from "./browser-suite.mjs";

browserSuite("settings", (context) => {
  test("settings reach the server and survive a reload", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await page.eval("window.bodies = []; window.realFetch = fetch; window.fetch = (...a) => (a[1]?.body && bodies.push(JSON.parse(a[1].body)), realFetch(...a))");
    await page.click("[data-do=sampling]");
    // The thinking section appears once the server has described its model.
    await page.until("document.querySelector('#settings input[name=thinking_budget]')");
    for (const [name, value] of [["temperature", "0"], ["top_p", "0.9"], ["top_k", "20"], ["min_p", "0.05"], ["max_tokens", "40"], ["seed", "7"], ["thinking_budget", "24"]]) {
      await page.eval(`document.querySelector('#settings input[name=${name}]').select()`);
      await page.type(value);
    }
    await page.eval("document.querySelector('#settings input[name=top_p]').select()");
    await page.type("7"); // out of bounds: shown as wrong, not taken
    assert.equal(await page.eval("document.querySelector('#settings input[name=top_p]').getAttribute('aria-invalid')"), "true");
    await page.press("Escape");
    await page.until("!document.getElementById('settings').open");
    await ask(page, QUESTION);
    await answered(page, 1);
    const { temperature, top_p: topP, top_k: topK, min_p: minP, max_completion_tokens: most, seed, thinking_budget: budget } = (await page.eval("bodies"))[0];
    assert.deepEqual([temperature, topP, topK, minP, most, seed, budget], [0, 0.9, 20, 0.05, 40, 7, 24]);
    assert.ok(Number.parseInt(await page.eval("document.querySelector('.figures').textContent"), 10) <= 40);
    await page.reload();
    await page.click("[data-do=settings]");
    assert.equal(await page.until("document.querySelector('#settings input[name=seed]')?.value"), "7");
    await assertSound(page, context.server.url);
  });

  test("the theme follows the system or the user's choice", async () => {
    const background = "getComputedStyle(document.documentElement).backgroundColor";
    const page = await context.browser.page({ dark: true });
    await page.goto(context.server.url);
    const dark = await page.eval(background);
    await page.click("[data-do=theme]");
    await page.until(`${background} !== ${JSON.stringify(dark)}`);
    const light = await page.eval(background);
    await page.reload();
    assert.equal(await page.eval(background), light, "the choice is kept");
    const other = await context.browser.page({ dark: false });
    await other.goto(context.server.url);
    assert.equal(await other.eval(background), light);
  });

  test("a server that requires a key asks for it and accepts it", async () => {
    const guarded = await Server.start(meno, context.model, { args: ["--api-key", "open-sesame"] });
    try {
      const page = await context.browser.page();
      await page.goto(guarded.url);
      await page.until("document.querySelector('.toast')?.textContent.includes('API key')");
      await ask(page, QUESTION);
      await page.until("document.querySelector('.problem strong')?.textContent === 'This server asks for an API key'");
      await page.click(".problem .plain");
      await page.eval("document.querySelector('#settings input[name=key]').focus()");
      await page.type("open-sesame");
      await page.until("document.querySelector('#head .model').textContent !== ''");
      await page.press("Escape");
      await page.click(".problem .primary");
      await answered(page, 1);
      assert.equal(await page.eval("document.querySelector('.problem')"), null);
      assert.equal(await page.eval("document.querySelector('.answer .turner')"), null, "the failed try is no version");
      await assertSound(page, guarded.url);
    } finally {
      await guarded.stop();
    }
  });
});
