// Looks at a report as people do: `node dev/report/check.mjs runs/replicate-seed1/report.html [DIR for pictures]`.
// No table is cut at any width, values are read by keyboard, drawings can be taken away, nothing is asked of the network;
// with axe-core installed where node finds it (`npm install axe-core`), its rules too. Needs a Chromium.

import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Browser } from "../page/browser.mjs";

const [file, pictures] = process.argv.slice(2);
if (!file) throw new Error("usage: node dev/report/check.mjs report.html [DIR]");
const url = `file://${resolve(file)}`;
if (pictures) mkdirSync(pictures, { recursive: true });
let axe = null;
for (const from of [import.meta.url, join(process.cwd(), "x.js")]) {
  try {
    axe ??= readFileSync(createRequire(from).resolve("axe-core/axe.min.js"), "utf8");
  } catch {}
}
if (!axe) console.log("axe-core is not installed: its rules are left out");

const browser = await Browser.launch();
let faults = 0;
const fault = (where, what) => {
  faults += 1;
  console.log(`${where}: ${what}`);
};

// What is cut off or runs out of its place, and text too small to read.
const CUT = `(() => {
  const out = [];
  const name = (e) => e.closest("[id]")?.id + " " + e.tagName.toLowerCase() + "." + e.className;
  if (document.documentElement.scrollWidth > innerWidth) out.push("the page is " + document.documentElement.scrollWidth + " wide");
  for (const e of document.querySelectorAll(".scroll, pre, .answer, figure, .claim, .tile, table")) {
    const hides = getComputedStyle(e).overflowX !== "visible";
    if (hides && e.scrollWidth > e.clientWidth + 1) out.push(name(e) + " is cut: " + e.scrollWidth + " in " + e.clientWidth);
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > innerWidth + 1 || box.left < -1)) out.push(name(e) + " leaves the page");
  }
  for (const t of document.querySelectorAll("svg text")) {
    const svg = t.ownerSVGElement;
    if (!svg.clientWidth || t.closest(".card")) continue;
    const size = parseFloat(getComputedStyle(t).fontSize) * svg.clientWidth / svg.viewBox.baseVal.width;
    if (size < 9.5) out.push(name(svg) + ": letters of " + size.toFixed(1) + " px");
    const [a, b] = [t.getBoundingClientRect(), svg.getBoundingClientRect()];
    if (a.width && (a.left < b.left - 2 || a.right > b.right + 2)) out.push(name(svg) + ": “" + t.textContent.trim() + "” leaves its drawing");
  }
  return out;
})()`;

try {
  for (const width of [390, 768, 1280, 1920]) {
    for (const dark of [false, true]) {
      const where = `${width} px, ${dark ? "dark" : "light"}`;
      const page = await browser.page({ width, height: width === 390 ? 844 : 900, phone: width === 390, dark });
      await page.goto(url);
      for (const what of await page.eval(CUT)) fault(where, what);
      if (axe) {
        await page.eval(`${axe}; 0`);
        const violations = await page.eval(`axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) => v.id + ": " + v.nodes.length + " × " + v.help + " " + v.nodes[0].target + " " + (v.nodes[0].any[0]?.message ?? "")))`);
        for (const what of violations) fault(where, what);
      }
      for (const what of page.complaints) fault(where, what);
      for (const request of page.requests) if (!String(request.url ?? request).startsWith("file:") && !String(request.url ?? request).startsWith("data:") && !String(request.url ?? request).startsWith("blob:")) fault(where, `asks for ${request.url ?? request}`);
      if (pictures) {
        const { cssContentSize } = await page.send("Page.getLayoutMetrics");
        const clip = { x: 0, y: 0, width, height: Math.min(cssContentSize.height, 16000), scale: 1 };
        const { data } = await page.send("Page.captureScreenshot", { captureBeyondViewport: true, clip });
        writeFileSync(join(pictures, `${width}-${dark ? "dark" : "light"}.png`), Buffer.from(data, "base64"));
      }
    }
  }

  // Values by keyboard and pointer; what can be taken away.
  const page = await browser.page({ width: 1280 });
  await page.goto(url);
  const charts = await page.eval("document.querySelectorAll('figure.chart').length");
  if (charts > 0) {
    await page.eval("document.querySelector('.plot').focus()");
    await page.press("Home");
    const first = await page.eval("document.querySelector('.plot').getAttribute('aria-valuetext')");
    await page.press("ArrowRight");
    const second = await page.eval("document.querySelector('.plot').getAttribute('aria-valuetext')");
    if (!/^step \d/.test(first) || first === second) fault("keyboard", `“${first}”, then “${second}”`);
    if (await page.eval("document.querySelector('.tip').hidden")) fault("keyboard", "no values are shown");
    await page.press("Escape");
    if (!(await page.eval("document.querySelector('.tip').hidden"))) fault("keyboard", "Escape does not hide the values");
    const shown = await page.eval(`[...document.querySelectorAll(".plot")].every((plot) => {
      const box = plot.querySelector("svg").getBoundingClientRect();
      plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + 20 }));
      return !plot.querySelector(".tip").hidden && !/NaN|undefined/.test(plot.querySelector(".tip").textContent);
    })`);
    if (!shown) fault("pointer", "a chart shows no values");
  }
  const folder = mkdtempSync(join(tmpdir(), "meno-report-"));
  await browser.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder });
  const saved = await page.eval(`(() => {
    const texts = [];
    const create = URL.createObjectURL;
    URL.createObjectURL = (blob) => { texts.push(blob.text()); return "blob:none"; };
    HTMLAnchorElement.prototype.click = () => {};
    document.querySelectorAll("[data-save=svg]").forEach((b) => b.click());
    URL.createObjectURL = create;
    return Promise.all(texts).then((t) => t.map((x) => {
      const d = new DOMParser().parseFromString(x, "image/svg+xml");
      return d.querySelector("parsererror") ? "is no XML" : x.includes("var(--") ? "keeps variables" : "";
    }));
  })()`);
  if (saved.length !== charts + 2) fault("SVG", `${saved.length} of ${charts + 2} drawings can be saved`);
  for (const what of saved.filter(Boolean)) fault("SVG", what);
  if (pictures) {
    const { data } = await page.send("Page.printToPDF", { preferCSSPageSize: true, printBackground: true });
    writeFileSync(join(pictures, "report.pdf"), Buffer.from(data, "base64"));
  }
  console.log(faults ? `${faults} faults` : `no fault: ${charts} charts, 4 widths, light and dark`);
} finally {
  await browser.close();
}
process.exit(faults ? 1 : 0);
