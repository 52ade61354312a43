// Takes the pictures of docs/page.md, with real answers: `node dev/page/pictures.mjs`. Needs a built `meno` and a
// checkpoint (see server.mjs). The system prompt makes a model think that was not trained to.

import { fileURLToPath } from "node:url";
import { Browser } from "./browser.mjs";
import { Server, checkpoint, findMeno } from "./server.mjs";

const SYSTEM = `Every reply has two parts: first your thought between <think> and </think>, then the answer. For example:

<think>
Three boxes with four pens each: I multiply. $3 \\times 4 = 12$.
</think>

There are **12 pens**.`;
const done = "!document.querySelector('[data-do=stop]') && document.querySelector('.answer.last .figures')";
const docs = fileURLToPath(new URL("../../docs/", import.meta.url));

const server = await Server.start(findMeno(), checkpoint());
const browser = await Browser.launch();

async function open(options, system) {
  const page = await browser.page(options);
  await page.goto(server.url);
  await page.eval(`localStorage.setItem("meno-settings", ${JSON.stringify(JSON.stringify({ system, temperature: 0 }))})`);
  await page.goto(server.url);
  return page;
}

async function ask(page, words, until = done) {
  await page.eval("document.getElementById('question').focus()");
  await page.type(words);
  await page.press("Enter");
  await page.until("document.querySelector('[data-do=stop]')");
  await page.until(until, 300_000);
  await new Promise((resolve) => setTimeout(resolve, 300));
}

try {
  const answer = await open({}, "");
  await ask(answer, "Solve x^2 - 5x + 6 = 0.");
  await answer.screenshot(`${docs}page-answer.png`);

  const thinking = await open({ dark: true }, SYSTEM);
  const question = "A square has a side of 3 cm. What are its perimeter and its area?";
  await ask(thinking, question, "document.querySelector('.thought-text')?.textContent.length > 200");
  await thinking.screenshot(`${docs}page-thinking.png`);
  await thinking.until(done, 300_000);
  await ask(thinking, "And with a side of 5 cm? Answer with a table.");
  await thinking.screenshot(`${docs}page-folded.png`);

  const phone = await open({ width: 390, height: 780, phone: true }, SYSTEM);
  await ask(phone, question);
  await ask(phone, "Write a Rust function that returns both.");
  await phone.screenshot(`${docs}page-phone.png`);
} finally {
  await browser.close();
  await server.stop();
}
