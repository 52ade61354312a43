// Export and import of chats, text files with a question.

import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answered, ask, assertSound, browserSuite, done, QUESTION } from "./browser-suite.mjs";

/** Sends the downloads of a page to `dir`; `files(ending)` waits for one. */
async function downloads(page, dir) {
  await page.send("Page.setDownloadBehavior", { behavior: "allow", downloadPath: dir });
  const before = new Set(readdirSync(dir));
  const files = async (ending) => {
    for (let i = 0; i < 200; i += 1) {
      const file = readdirSync(dir).find((name) => name.endsWith(ending) && !before.has(name));
      if (file) return file;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`no ${ending} was saved`);
  };
  return { dir, files };
}

browserSuite("files", (context) => {
  test("chats are exported and imported", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await ask(page, QUESTION);
    await answered(page, 1);
    const folder = mkdtempSync(join(tmpdir(), "meno-export-"));
    await page.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder }).catch(() => context.browser.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder }));
    await page.send("Page.setDownloadBehavior", { behavior: "allow", downloadPath: folder });
    await page.click("[data-do=settings]");
    await page.click("[data-do=export]");
    let file;
    for (let i = 0; i < 100 && !file; i += 1) {
      file = readdirSync(folder).find((name) => name.endsWith(".json"));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const exported = readFileSync(join(folder, file), "utf8");
    assert.equal(JSON.parse(exported).chats.length, 1);
    const fresh = await context.browser.page();
    await fresh.goto(context.server.url);
    await fresh.click("[data-do=settings]");
    await fresh.choose(".file input", [join(folder, file)]);
    await fresh.until("document.querySelectorAll('.entry').length === 1");
    writeFileSync(join(folder, "bad.json"), "{}");
    await fresh.choose(".file input", [join(folder, "bad.json")]);
    await fresh.until("document.querySelector('.toast:last-child')?.textContent.includes('not exported by Meno')");
    rmSync(folder, { recursive: true });
    await assertSound(fresh, context.server.url);
  });

  test("text files are attached to a question, others are rejected", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    const folder = mkdtempSync(join(tmpdir(), "meno-files-"));
    writeFileSync(join(folder, "notes.md"), "one\n```\ntwo\n```\n");
    writeFileSync(join(folder, "p.png"), Buffer.from([0x89, 0x50, 0x4e, 0x47, 0xff, 0x00]));
    writeFileSync(join(folder, "empty.txt"), "");
    writeFileSync(join(folder, "latin.txt"), Buffer.from("café naïve", "latin1"));
    await page.choose("[data-do=attach]", [join(folder, "empty.txt"), join(folder, "latin.txt")]);
    await page.until("document.querySelector('.toast')?.textContent.includes('“empty.txt” is empty. Save')");
    await page.until("document.querySelector('.toast:last-child')?.textContent.includes('“latin.txt” is not in UTF-8')");
    await page.until("document.querySelectorAll('.chip').length === 1");
    assert.equal(await page.eval(`import("/page/app/attachments.js").then(({ decode }) => decode(new Uint8Array([0x93, 0x80, 0x94])).text)`), "“€”");
    await page.click(".chip button");
    await page.choose("[data-do=attach]", [join(folder, "p.png"), join(folder, "notes.md")]);
    await page.until("document.getElementById('toasts')?.textContent.includes('“p.png” is not a text file. Save')");
    await page.until("document.querySelector('.chip')?.textContent.includes('notes.md')");
    await page.eval("window.bodies = []; window.realFetch = fetch; window.fetch = (...a) => (a[1]?.body && bodies.push(JSON.parse(a[1].body)), realFetch(...a))");
    await ask(page, QUESTION);
    await page.until("document.querySelector('.file-shown summary')?.textContent.includes('notes.md')");
    assert.equal(await page.eval("document.querySelector('.chip')"), null);
    assert.equal((await page.until("bodies[0]")).messages[0].content, `File: notes.md\n\`\`\`\`md\none\n\`\`\`\ntwo\n\`\`\`\n\`\`\`\`\n\n${QUESTION}`);
    await page.until(done, 120_000);
    const { dir, files } = await downloads(page, folder);
    await page.click("[data-do=markdown]");
    const markdown = readFileSync(join(dir, await files(".md")), "utf8");
    assert.ok(markdown.includes("## Question\n\nFile: notes.md") && markdown.includes("## Answer"), markdown);
    rmSync(folder, { recursive: true });
    await assertSound(page, context.server.url);
  });
});
