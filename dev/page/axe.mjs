// axe-core, which checks how well a page serves everybody: used where it is installed, never carried here.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** The text of axe-core, or null: $AXE_CORE, or the package beside these tests. */
export function findAxe() {
  if (process.env.AXE_CORE && existsSync(process.env.AXE_CORE)) return readFileSync(process.env.AXE_CORE, "utf8");
  try {
    return readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  } catch {
    return null;
  }
}

/** What axe-core finds wrong with a page as it stands, once its movements have ended. */
export async function violations(page, axe) {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await page.eval(`${axe}; 0`);
  return page.eval(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.target.join(" "))].join(" | ")))`);
}
