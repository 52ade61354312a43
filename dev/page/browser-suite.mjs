// What the tests in a browser share. They run the page in a headless Chromium, against a real server with a real small
// model, and are skipped with a reason if there is no Chromium or no `meno`. See CONTRIBUTING.md.

import { after, before, describe } from "node:test";
import assert from "node:assert/strict";
import { Browser, findChromium } from "./browser.mjs";
import { Server, findMeno, smallModel } from "./server.mjs";

const chromium = findChromium();
export const meno = findMeno();
const missing = !chromium ? "no Chromium here (set CHROMIUM to its name)" : !meno ? "no meno here (cargo build --release)" : false;

/** The question that the tests ask. A miniature answers it. */
export const QUESTION = process.env.MENO_QUESTION ?? "calc 12+34=";

/** Holds when no answer is streaming and the last one has its numbers. */
export const done = "!document.querySelector('[data-do=stop]') && document.querySelector('.answer.last .figures')";

/** An expression for the texts of all elements that match `selector`. */
export const texts = (selector) => `[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.textContent)`;

/**
 * A suite with a server and a browser, which `tests` finds in `context` once a test runs: `{server, browser, model}`.
 * `model` returns the path of the model to serve, by default that of a miniature; `skip` is a reason to skip the suite.
 */
export function browserSuite(name, tests, { model = () => smallModel(meno), skip = false } = {}) {
  describe(name, { skip: missing || skip }, () => {
    const context = {};
    before(async () => {
      context.model = model();
      context.server = await Server.start(meno, context.model);
      context.browser = await Browser.launch(chromium);
    });
    after(async () => {
      await context.browser?.close();
      await context.server?.stop();
    });
    tests(context);
  });
}

/** Types a question and sends it. */
export async function ask(page, words) {
  await page.eval("document.getElementById('question').focus()");
  await page.type(words);
  await page.press("Enter");
}

/** Waits until the page shows `count` complete answers. */
export async function answered(page, count) {
  await page.until(`document.querySelectorAll('.answer').length === ${count} && ${done}`, 120_000);
}

/** Asserts what must hold for any page at any time. */
export async function assertSound(page, url) {
  assert.deepEqual(page.complaints, []);
  assert.deepEqual(page.requests.filter((r) => !r.startsWith(url) && !/^(?:blob|data|about):/.test(r)), [], "requests to other hosts");
  const nameless = `[...document.querySelectorAll('button, input, textarea, select, a')].filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.title)).map((e) => e.outerHTML)`;
  assert.deepEqual(await page.eval(nameless), [], "controls without a name");
  assert.equal(await page.eval("document.documentElement.scrollWidth <= innerWidth"), true, "wider than the window");
}
