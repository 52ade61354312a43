// Runs axe-core, an accessibility checker, if it is installed.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** The source of axe-core: the file $AXE_CORE, or the installed package, or null. */
export function findAxe() {
  if (process.env.AXE_CORE && existsSync(process.env.AXE_CORE)) return readFileSync(process.env.AXE_CORE, "utf8");
  try {
    return readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  } catch {
    return null;
  }
}

/** The violations that axe-core finds in a page after its animations have ended. */
export async function violations(page, axe) {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await page.eval(`${axe}; 0`);
  return page.eval(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.target.join(" "))].join(" | ")))`);
}
