// The page in a headless Chromium, against a real server with a real small model. Skipped, with a word, where there is
// no Chromium or no `meno`. See CONTRIBUTING.md.

import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Browser, findChromium } from "./browser.mjs";
import { Server, checkpoint, findMeno, smallModel } from "./server.mjs";
import { findAxe, violations } from "./axe.mjs";

const chromium = findChromium();
const meno = findMeno();
const skip = !chromium ? "no Chromium here (set CHROMIUM to its name)" : !meno ? "no meno here (cargo build --release)" : false;

const QUESTION = process.env.MENO_QUESTION ?? "calc 12+34=";
const axe = findAxe();
const done = "!document.querySelector('[data-do=stop]') && document.querySelector('.answer.last .figures')";
const texts = (selector) => `[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.textContent)`;

async function ask(page, words) {
  await page.eval("document.getElementById('question').focus()");
  await page.type(words);
  await page.press("Enter");
}

async function answered(page, count) {
  await page.until(`document.querySelectorAll('.answer').length === ${count} && ${done}`, 120_000);
}

const EVERYTHING = "# Title\n\nText with **bold**, `code`, [link](https://x.y), note[^1] and $x^2$.\n\n- a\n- [ ] to do\n\n| a | b |\n|--|--|\n| 1 | 2 |\n\n```rust\n// a\nfn a() {}\n```\n\n$$\\frac{a}{b}$$\n\n> quote\n\n\\boxed{42}\n\n[^1]: A note.";

/** Where a page's downloads go, and how to wait for one. */
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

/** What must hold of any page at any time. */
async function assertSound(page, url) {
  assert.deepEqual(page.complaints, []);
  assert.deepEqual(page.requests.filter((r) => !r.startsWith(url) && !/^(?:blob|data|about):/.test(r)), [], "asked outside");
  const nameless = `[...document.querySelectorAll('button, input, textarea, select, a')].filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.title)).map((e) => e.outerHTML)`;
  assert.deepEqual(await page.eval(nameless), [], "controls without a name");
  assert.equal(await page.eval("document.documentElement.scrollWidth <= innerWidth"), true, "wider than the window");
}

describe("the page", { skip }, () => {
  let browser;
  let server;
  let model;

  before(async () => {
    model = smallModel(meno);
    server = await Server.start(meno, model);
    browser = await Browser.launch(chromium);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test("a question is thought about and answered", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    assert.equal(await page.eval("document.activeElement.id"), "question");
    assert.equal(await page.eval("document.querySelector('[data-do=send]').disabled"), true);
    await ask(page, QUESTION);
    await answered(page, 1);
    assert.deepEqual(await page.eval(texts(".question .bubble")), [QUESTION]);
    // A miniature that has learned little may answer without a thought.
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
    await assertSound(page, server.url);
  });

  test("trees become elements, and only differences are applied", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    const random = await page.eval(`(async () => {
      const { h, patch } = await import("/page/vnode.js");
      const root = document.createElement("div");
      const shape = (e) => e.nodeType === 3 ? e.data : [e.localName, e.getAttributeNames().sort().map((n) => n + "=" + e.getAttribute(n)).join(), [...e.childNodes].map(shape)];
      let x = 5;
      const below = (n) => (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) % 65536 * n >> 16;
      const tree = (depth) => Array.from({ length: below(5) }, (_, i) => below(3) === 0 || depth > 3 ? "t" + below(4)
        : h(["p", "b", "svg", "math", "ul"][below(5)], below(2) ? { key: "k" + i * 2 + below(2), class: "c" + below(2) } : { title: below(3) ? "t" + below(3) : null }, tree(depth + 1)));
      for (let i = 0; i < 400; i += 1) {
        const nodes = tree(0);
        patch(root, nodes);
        const fresh = document.createElement("div");
        patch(fresh, nodes);
        if (JSON.stringify(shape(root)) !== JSON.stringify(shape(fresh))) return JSON.stringify([shape(root), shape(fresh)]);
      }
      return "equal";
    })()`);
    assert.equal(random, "equal");
    const moved = await page.eval(`(async () => {
      const { h, patch } = await import("/page/vnode.js");
      const root = document.createElement("div");
      patch(root, ["a", "b", "c"].map((key) => h("p", { key }, key)));
      const [a, b, c] = root.children;
      patch(root, ["c", "new", "a"].map((key) => h("p", { key }, key)));
      const kept = root.children[0] === c && root.children[2] === a && root.children.length === 3 && !b.isConnected;
      patch(root, h("p", null, "<img src=x>"), h("input", { type: "checkbox", checked: true }), h("svg", null, h("path", { d: "M0 0" })));
      return [kept, root.innerHTML, root.children[1].checked, root.querySelector("path").namespaceURI];
    })()`);
    assert.deepEqual(moved, [true, '<p>&lt;img src=x&gt;</p><input type="checkbox"><svg><path d="M0 0"></path></svg>', true, "http://www.w3.org/2000/svg"]);
  });

  test("the server's figures are those of the page", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    await page.eval("window.usage = []; window.realFetch = fetch; window.fetch = async (...a) => { const r = await realFetch(...a); if (String(a[0]).includes('chat')) r.clone().text().then((t) => usage.push(/\"completion_tokens\":(\\d+)/.exec(t)?.[1])); return r; }");
    await ask(page, QUESTION);
    await answered(page, 1);
    const counted = await page.until("window.usage[0]");
    assert.ok((await page.eval("document.querySelector('.figures').textContent")).startsWith(`${counted} token`), counted);
  });

  test("another try and an edit are versions; nothing said is lost", async () => {
    const page = await browser.page();
    await page.goto(server.url);
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
    await assertSound(page, server.url);
  });

  test("chats are kept, found, renamed, deleted and brought back", async () => {
    const page = await browser.page();
    await page.goto(server.url);
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
    await assertSound(page, server.url);
  });

  test("chats leave as a file and come back", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    await ask(page, QUESTION);
    await answered(page, 1);
    const folder = mkdtempSync(join(tmpdir(), "meno-export-"));
    await page.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder }).catch(() => browser.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder }));
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
    const fresh = await browser.page();
    await fresh.goto(server.url);
    await fresh.click("[data-do=settings]");
    await fresh.choose(".file input", [join(folder, file)]);
    await fresh.until("document.querySelectorAll('.entry').length === 1");
    writeFileSync(join(folder, "bad.json"), "{}");
    await fresh.choose(".file input", [join(folder, "bad.json")]);
    await fresh.until("document.querySelector('.toast:last-child')?.textContent.includes('not exported by Meno')");
    rmSync(folder, { recursive: true });
    await assertSound(fresh, server.url);
  });

  test("settings reach the server and are kept", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    await page.eval("window.bodies = []; window.realFetch = fetch; window.fetch = (...a) => (a[1]?.body && bodies.push(JSON.parse(a[1].body)), realFetch(...a))");
    await page.click("[data-do=sampling]");
    // The thinking section comes with what the server says of its model.
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
    await assertSound(page, server.url);
  });

  /** Two tabs that show the same chat, of one question and its answer. */
  async function twoTabs() {
    const first = await browser.page();
    await first.goto(server.url);
    await ask(first, QUESTION);
    await answered(first, 1);
    const second = await browser.page({ beside: first });
    await second.goto(await first.eval("location.href"));
    await second.until("document.querySelectorAll('.answer').length === 1");
    return [first, second];
  }

  test("two tabs in one chat keep what both say", async () => {
    const [first, second] = await twoTabs();
    // At the same time the one asks on and the other changes the first question.
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
    const asked = await second.eval(`(async () => { const { Store } = await import("/page/app/store.js"); const [chat] = await (await Store.open()).all(); return Object.values(chat.messages).map((m) => m.content); })()`);
    for (const words of [QUESTION, QUESTION.replace("12", "21"), QUESTION.replace("12", "31")]) assert.ok(asked.includes(words), words);
    assert.equal(asked.length, 6);
    await second.eval("document.querySelector('.entry-doings button:last-child').click()");
    await first.front();
    await first.until("document.querySelector('.welcome')");
    await second.front();
    await second.click(".toast .link");
    await first.front();
    await first.until("document.querySelectorAll('.entry').length === 1");
    await assertSound(first, server.url);
    await assertSound(second, server.url);
  });

  test("two tabs that ask the same chat at once show their own question after a reload", async () => {
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
    await assertSound(first, server.url);
  });

  test("a model of few tasks shows what it was taught, and thinks if asked to", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    const { data: [served] } = await (await fetch(`${server.url}v1/models`)).json();
    assert.equal(served.thinks, true);
    assert.ok(await page.eval("document.querySelector('[data-do=think]')"));
    if (served.examples) {
      assert.deepEqual(await page.eval(texts(".beginnings button")), served.examples.slice(0, 4));
      await page.click(".beginnings button");
      assert.equal(await page.eval("document.getElementById('question').value"), served.examples[0]);
    }
    await assertSound(page, server.url);
  });

  test("text files go with a question, others are refused", async () => {
    const page = await browser.page();
    await page.goto(server.url);
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
    await assertSound(page, server.url);
  });

  test("words of any direction stand where they belong", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    await ask(page, "ما هو 12+34؟");
    await page.until("document.querySelector('.bubble-words')");
    assert.equal(await page.eval("getComputedStyle(document.querySelector('.bubble-words')).direction"), "rtl");
    assert.equal(await page.eval("getComputedStyle(document.querySelector('.entry-title')).direction"), "rtl");
    await page.type("שלום");
    assert.equal(await page.eval("getComputedStyle(document.getElementById('question')).direction"), "rtl");
  });

  test("brackets and roots stretch without a mathematical font", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    const drawn = (plain) => page.eval(`(async () => {
      const { patch } = await import("/page/vnode.js");
      const { renderMath } = await import("/page/math/math.js");
      const { findStretching } = await import("/page/math/plain.js");
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(${plain} ? 'math { font-family: "Liberation Serif", "DejaVu Sans", serif !important }' : "");
      document.adoptedStyleSheets = [sheet];
      findStretching();
      const root = document.createElement("div");
      root.className = "text";
      document.body.append(root);
      const frac = "\\\\frac{\\\\frac{a}{b}}{\\\\frac{c}{d}}";
      patch(root, ["(", "[", "\\\\{", "|", "\\\\|", "\\\\langle", "\\\\lfloor"].map((open) => renderMath("\\\\left" + open + frac + "\\\\right.", true)), renderMath("\\\\sqrt{" + frac + "}", true));
      const kinds = [...root.querySelectorAll(".fenced, .root")].map((row) => {
        const style = getComputedStyle(row);
        return style.backgroundImage.includes("currentcolor") || /rgb/.test(style.backgroundImage.replace(/rgba\\(0, 0, 0, 0\\)/g, "")) || Number.parseFloat(style.borderLeftWidth) > 0;
      });
      const hidden = [...root.querySelectorAll(".fence")].filter((fence) => !fence.checkVisibility()).length;
      root.remove();
      return [document.documentElement.dataset.math ?? "font", kinds, hidden];
    })()`);
    const [kind, kinds, hidden] = await drawn(true);
    assert.equal(kind, "plain");
    assert.deepEqual(kinds, Array(8).fill(true), "every bracket and the root are drawn");
    assert.equal(hidden, 7, "the font's own brackets are not");
  });

  test("axe-core finds nothing", { skip: !axe && "no axe-core here (npm install --no-save axe-core in dev/page, or AXE_CORE)" }, async () => {
    for (const [width, phone, dark] of [[1280, false, false], [390, true, true]]) {
      const page = await browser.page({ width, phone, dark });
      await page.goto(server.url);
      assert.deepEqual(await violations(page, axe), [], "welcome");
      await page.eval(`(async () => {
        const { Store } = await import("/page/app/store.js");
        const { addMessage, newChat } = await import("/page/app/chat.js");
        const chat = newChat();
        const question = addMessage(chat, null, "user", { content: "What?", files: [{ name: "a.txt", text: "a" }] });
        addMessage(chat, question.id, "assistant", { reasoning: "Hm.", content: ${JSON.stringify(EVERYTHING)}, model: "m", stats: { completionTokens: 9, firstMs: 10, totalMs: 900 }, finish: "length", cut: null, error: null });
        await (await Store.open()).put(chat);
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

  test("light and dark, by the system and by hand", async () => {
    const background = "getComputedStyle(document.documentElement).backgroundColor";
    const page = await browser.page({ dark: true });
    await page.goto(server.url);
    const dark = await page.eval(background);
    await page.click("[data-do=theme]");
    await page.until(`${background} !== ${JSON.stringify(dark)}`);
    const light = await page.eval(background);
    await page.reload();
    assert.equal(await page.eval(background), light, "the choice is kept");
    const other = await browser.page({ dark: false });
    await other.goto(server.url);
    assert.equal(await other.eval(background), light);
  });

  test("a phone has room for everything", async () => {
    const page = await browser.page({ width: 360, height: 740, phone: true });
    await page.goto(server.url);
    await ask(page, QUESTION);
    await answered(page, 1);
    await assertSound(page, server.url);
    await page.click("[data-do=show-sidebar]");
    await page.until("document.querySelector('#sidebar').checkVisibility()");
    await assertSound(page, server.url);
    await page.eval("document.querySelector('.entry-open').click()");
    await page.until("!document.querySelector('#sidebar').checkVisibility()");
    await page.click("[data-do=sampling]");
    await assertSound(page, server.url);
    assert.equal(await page.eval("document.getElementById('settings').scrollWidth <= document.getElementById('settings').clientWidth"), true);
  });

  test("a server that asks for a key says so, and takes it", async () => {
    const guarded = await Server.start(meno, model, { args: ["--api-key", "open-sesame"] });
    try {
      const page = await browser.page();
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

  test("a server that is gone is reported, and found again", async () => {
    const brief = await Server.start(meno, model);
    const page = await browser.page();
    await page.goto(brief.url);
    await ask(page, QUESTION);
    await answered(page, 1);
    await brief.stop();
    await ask(page, QUESTION);
    await page.until("document.querySelector('.problem strong')?.textContent === 'Meno cannot be reached'");
    const again = await Server.start(meno, model, { port: brief.port });
    try {
      await page.click(".problem .primary");
      await page.until(`!document.querySelector('.problem') && ${done}`, 60_000);
      assert.equal((await page.eval(texts(".bubble"))).length, 2);
    } finally {
      await again.stop();
    }
  });
});

const prose = checkpoint();
const without = skip || (!prose && "no checkpoint here (set MENO_CHECKPOINT)");

describe("the page with a real checkpoint", { skip: without }, () => {
  let browser;
  let server;

  before(async () => {
    server = await Server.start(meno, prose);
    browser = await Browser.launch(chromium);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test("an answer streams, is stopped, and frees its place", async () => {
    const page = await browser.page();
    await page.goto(server.url);
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
      const text = await (await fetch(`${server.url}metrics`)).text();
      if (/running\S* 0(?:\.0)?$/m.test(text)) break;
      assert.ok(tries < 50, `the place was not freed: ${text.match(/.*running.*/g)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(await page.eval(length), kept, "nothing more arrives");
    await assertSound(page, server.url);
  });

  test("a page that is reloaded or closed in the middle of an answer keeps every word, and continues", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    await page.eval("localStorage.setItem('meno-settings', JSON.stringify({ temperature: 0, max_tokens: 120 }))");
    await page.reload();
    const shown = "document.querySelector('.answer .text')?.textContent ?? ''";
    for (const way of ["reload", "close"]) {
      const tab = way === "reload" ? page : await browser.page({ beside: page });
      if (way === "close") await tab.goto(server.url);
      await ask(tab, "Write the numbers from one to forty as words.");
      await tab.until(`(${shown}).length > 30`, 120_000);
      const before = await tab.eval(shown);
      const address = await tab.eval("location.href");
      if (way === "reload") await tab.reload();
      else await tab.close();
      const again = way === "reload" ? tab : await browser.page({ beside: page });
      if (way === "close") await again.goto(address);
      await again.until("document.querySelector('.note span')?.textContent === 'This answer was interrupted.'");
      const kept = await again.eval(shown);
      assert.ok(kept.startsWith(before), `${way}: ${before} became ${kept}`);
      await again.click("[data-do=continue]");
      await again.until(`${done} && (${shown}).length > ${kept.length}`, 120_000);
      assert.ok((await again.eval(shown)).startsWith(kept), "what was there stays");
      assert.equal((await again.eval(texts(".answer"))).length, 1, "no second answer");
      await assertSound(again, server.url);
    }
  });

  test("an answer that was cut at its limit continues as if it had not been", async () => {
    const page = await browser.page();
    await page.goto(server.url);
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

  test("a model that does not think offers no thinking, and begins with what it is for", async () => {
    const page = await browser.page();
    await page.goto(server.url);
    const { data: [served] } = await (await fetch(`${server.url}v1/models`)).json();
    assert.equal(await page.eval("Boolean(document.querySelector('[data-do=think]'))"), served.thinks);
    await page.click("[data-do=sampling]");
    assert.equal(await page.eval("Boolean(document.querySelector('#settings [name=thinking_budget]'))"), served.thinks);
    assert.equal((await page.eval(texts(".beginnings button"))).length, 4);
  });

  test("code arrives as code, with its language and a copy button", async () => {
    const page = await browser.page();
    await page.goto(server.url);
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
    await assertSound(page, server.url);
  });
});
