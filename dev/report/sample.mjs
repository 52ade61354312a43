// The sample report and its picture in docs/: `node dev/report/sample.mjs runs/replicate-seed1` after a `meno replicate` of
// the preset tiny. Needs a Chromium.

import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Browser } from "../page/browser.mjs";

const run = process.argv[2];
if (!run) throw new Error("usage: node dev/report/sample.mjs DIR");
const docs = fileURLToPath(new URL("../../docs/", import.meta.url));
const report = readFileSync(join(run, "report.html"), "utf8");
// Here the report lies beside the documents and the code that it names.
const html = report.replace(/<code class="doc">((?:docs|crates)\/[^<]+)<\/code>/g, (code, path) => `<a href="${path.startsWith("docs/") ? path.slice("docs/".length) : `../${path}`}">${code}</a>`);
if (html.length > 1 << 20) throw new Error(`${html.length} bytes are too many for a sample`);
if (html.includes('class="warning"')) console.log("this is a smoke run: its figures mean nothing");
writeFileSync(join(docs, "sample-report.html"), html);

const browser = await Browser.launch();
try {
  const page = await browser.page({ width: 1200, height: 900 });
  await page.send("Emulation.setDeviceMetricsOverride", { width: 1200, height: 900, deviceScaleFactor: 1.5, mobile: false });
  await page.goto(`file://${resolve(docs, "sample-report.html")}`);
  // From the title to the end of the first drawing, without the contents.
  await page.eval("document.querySelector('.contents').style.display = 'none'");
  const bottom = await page.eval("document.getElementById('model-by-model').getBoundingClientRect().bottom + scrollY");
  const clip = { x: 0, y: 0, width: 1200, height: Math.ceil(bottom + 8), scale: 1 };
  const { data } = await page.send("Page.captureScreenshot", { captureBeyondViewport: true, clip });
  writeFileSync(join(docs, "report.png"), Buffer.from(data, "base64"));
} finally {
  await browser.close();
}
