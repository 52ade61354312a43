// The modules of the page: every import exists, there are no cycles, and no file is too long.

import { test } from "node:test";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL("../../crates/meno-server/web/", import.meta.url));
const MAX_LINES = 400;

const modules = new Map(readdirSync(web, { recursive: true }).filter((name) => name.endsWith(".js")).map((name) => [name, readFileSync(join(web, name), "utf8")]));
const imports = (name) => [...modules.get(name).matchAll(/^import (.*) from "([^"]+)";$/gm)].map(([, names, path]) => ({ names, target: join(dirname(name), path) }));
const exported = (name) => new Set([...modules.get(name).matchAll(/^export (?:async )?(?:function\*?|const|class) (\w+)/gm)].map(([, word]) => word));

test("every import exists and is used", () => {
  assert.ok(modules.size > 40, String(modules.size));
  for (const [name, text] of modules) {
    for (const { names, target } of imports(name)) {
      assert.ok(modules.has(target), `${name} imports ${target}`);
      for (const word of names.match(/\w+/g).filter((w) => w !== "as")) {
        if (names.startsWith("{")) assert.ok(exported(target).has(word), `${name} imports ${word} from ${target}`);
        assert.ok(text.match(new RegExp(`\\b${word}\\b`, "g")).length > 1, `${name} does not use ${word}`);
      }
    }
  }
});

test("modules do not import each other in cycles", () => {
  const finished = new Set();
  const visit = (name, path) => {
    assert.ok(!path.includes(name), [...path, name].join(" -> "));
    if (finished.has(name)) return;
    for (const { target } of imports(name)) visit(target, [...path, name]);
    finished.add(name);
  };
  for (const name of modules.keys()) visit(name, []);
});

test("no module has more than 400 lines", () => {
  for (const [name, text] of modules) assert.ok(text.split("\n").length <= MAX_LINES, `${name} has more than ${MAX_LINES} lines`);
});
