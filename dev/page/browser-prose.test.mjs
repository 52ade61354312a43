// Longer answers, from a checkpoint that writes prose: streaming, stopping, continuing, code.

import { test } from "node:test";
import assert from "node:assert/strict";
import { checkpoint } from "./server.mjs";
import { answered, ask, assertSound, browserSuite, done, texts } from "./browser-suite.mjs";

const prose = checkpoint();

browserSuite("the page with a real checkpoint", (context) => {
  test("an answer streams, stops, and frees its slot", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await ask(page, "Count from 1 to 300, one number on each line.");
    const length = "(document.querySelector('.answer .text')?.textContent.length ?? 0)";
    await page.until(`${length} > 10`, 120_000);
    const first = await page.eval(length);
    await page.until(`${length} > ${first}`, 60_000);
    assert.equal(await page.eval("document.querySelector('.answer').getAttribute('aria-busy')"), "true");
    await page.press("Escape");
    await page.until("document.querySelector('.note span')?.textContent === 'You stopped this answer.'");
    const kept = await page.eval(length);
    assert.ok(kept > 10);
    for (let tries = 0; ; tries += 1) {
      const text = await (await fetch(`${context.server.url}metrics`)).text();
      if (/running\S* 0(?:\.0)?$/m.test(text)) break;
      assert.ok(tries < 50, `the place was not freed: ${text.match(/.*running.*/g)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(await page.eval(length), kept, "nothing more arrives");
    await assertSound(page, context.server.url);
  });

  test("an answer survives a reload or a closed tab, and continues", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await page.eval("localStorage.setItem('meno-settings', JSON.stringify({ temperature: 0, max_tokens: 120 }))");
    await page.reload();
    const shown = "document.querySelector('.answer .text')?.textContent ?? ''";
    for (const way of ["reload", "close"]) {
      const tab = way === "reload" ? page : await context.browser.page({ beside: page });
      if (way === "close") await tab.goto(context.server.url);
      await ask(tab, "Write the numbers from one to forty as words.");
      await tab.until(`(${shown}).length > 30`, 120_000);
      const before = await tab.eval(shown);
      const address = await tab.eval("location.href");
      if (way === "reload") await tab.reload();
      else await tab.close();
      const again = way === "reload" ? tab : await context.browser.page({ beside: page });
      if (way === "close") await again.goto(address);
      await again.until("document.querySelector('.note span')?.textContent === 'This answer was interrupted.'");
      const kept = await again.eval(shown);
      assert.ok(kept.startsWith(before), `${way}: ${before} became ${kept}`);
      await again.click("[data-do=continue]");
      await again.until(`${done} && (${shown}).length > ${kept.length}`, 120_000);
      assert.ok((await again.eval(shown)).startsWith(kept), "what was there stays");
      assert.equal((await again.eval(texts(".answer"))).length, 1, "no second answer");
      await assertSound(again, context.server.url);
    }
  });

  test("an answer that reached its limit continues to the same text", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    const whole = async (most) => {
      await page.eval(`localStorage.setItem('meno-settings', JSON.stringify({ temperature: 0, max_tokens: ${most} }))`);
      await page.eval("location.hash = ''");
      await page.reload();
      await ask(page, "Write the numbers from one to twenty as words, one on each line.");
      await answered(page, 1);
      return page.eval("document.querySelector('.answer .text').textContent");
    };
    const expected = await whole(48);
    const cut = await whole(24);
    assert.ok(expected.startsWith(cut) && expected.length > cut.length);
    await page.click("[data-do=continue]");
    await page.until(`${done} && document.querySelector('.answer .text').textContent.length > ${cut.length}`, 120_000);
    assert.equal(await page.eval("document.querySelector('.answer .text').textContent"), expected);
    assert.match(await page.eval("document.querySelector('.figures').textContent"), /^48 tokens/);
  });

  test("a model without thinking has no thinking controls, but has suggestions", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    const { data: [served] } = await (await fetch(`${context.server.url}v1/models`)).json();
    assert.equal(await page.eval("Boolean(document.querySelector('[data-do=think]'))"), served.thinks);
    await page.click("[data-do=sampling]");
    assert.equal(await page.eval("Boolean(document.querySelector('#settings [name=thinking_budget]'))"), served.thinks);
    assert.equal((await page.eval(texts(".beginnings button"))).length, 4);
  });

  test("code has highlighting, a language and a copy button", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await page.click("[data-do=sampling]");
    for (const [name, value] of [["temperature", "0"], ["max_tokens", "160"]]) {
      await page.eval(`document.querySelector('#settings input[name=${name}]').select()`);
      await page.type(value);
    }
    await page.press("Escape");
    await ask(page, "Write a Python function that adds two numbers. Answer with one short code block.");
    await answered(page, 1);
    assert.equal(await page.eval("document.querySelector('.code figcaption span').textContent"), "python");
    assert.ok((await page.eval(texts(".t-keyword"))).includes("def"));
    await page.eval("document.querySelector('[data-copy]').click()");
    await page.until("document.querySelector('[data-copy].copied')");
    assert.match(await page.eval("navigator.clipboard.readText()"), /def \w+\(/);
    await assertSound(page, context.server.url);
  });
}, { model: () => prose, skip: !prose && "no checkpoint here (set MENO_CHECKPOINT)" });
