// The virtual DOM, directions of text, mathematics without a mathematical font.

import { test } from "node:test";
import assert from "node:assert/strict";
import { ask, browserSuite } from "./browser-suite.mjs";

browserSuite("rendering", (context) => {
  test("trees become elements, and only differences are applied", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
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

  test("right-to-left text has its direction", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    await ask(page, "ما هو 12+34؟");
    await page.until("document.querySelector('.bubble-words')");
    assert.equal(await page.eval("getComputedStyle(document.querySelector('.bubble-words')).direction"), "rtl");
    assert.equal(await page.eval("getComputedStyle(document.querySelector('.entry-title')).direction"), "rtl");
    await page.type("שלום");
    assert.equal(await page.eval("getComputedStyle(document.getElementById('question')).direction"), "rtl");
  });

  test("brackets and roots stretch without a mathematical font", async () => {
    const page = await context.browser.page();
    await page.goto(context.server.url);
    const drawn = (plain) => page.eval(`(async () => {
      const { patch } = await import("/page/vnode.js");
      const { renderMath } = await import("/page/math/math.js");
      const { detectMathFont } = await import("/page/math/font-fallback.js");
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(${plain} ? 'math { font-family: "Liberation Serif", "DejaVu Sans", serif !important }' : "");
      document.adoptedStyleSheets = [sheet];
      detectMathFont();
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
});
