import { test } from "node:test";
import assert from "node:assert/strict";
import { highlight } from "../../crates/meno-server/web/markdown/highlight.js";
import { randomTexts } from "./html.mjs";

const kinds = (code, language) => highlight(code, language).filter(([kind]) => kind).map(([kind, text]) => `${kind}:${text}`);

test("languages, case by case", () => {
  assert.deepEqual(kinds("let s: &'a str = r#\"x\"y\"#; // c", "rust"), ["keyword:let", "meta:'a", "keyword:str", 'string:r#"x"y"#', "comment:// c"]);
  assert.deepEqual(kinds("'\\n' '\\'' b'x' println!(\"{}\", Vec::<u8>::new())", "rs"), ["string:'\\n'", "string:'\\''", "string:b'x'", "call:println", 'string:"{}"', "type:Vec", "keyword:u8", "call:new"]);
  assert.deepEqual(kinds('def f(x):\n  """doc\n  # no"""\n  return f"{x}" # c', "py"), ["keyword:def", "call:f", 'string:"""doc\n  # no"""', "keyword:return", 'string:f"{x}"', "comment:# c"]);
  assert.deepEqual(kinds("const a = `x${1}\ny`; /* c */ 0xFF", "js"), ["keyword:const", "string:`x${1}\ny`", "comment:/* c */", "number:0xFF"]);
  assert.deepEqual(kinds('{"a": [1, true, "b"]}', "json"), ['name:"a"', "number:1", "keyword:true", 'string:"b"']);
  assert.deepEqual(kinds('echo "a $B" --flag # c', "sh"), ["keyword:echo", 'string:"a $B"', "meta:--flag", "comment:# c"]);
  assert.deepEqual(kinds("SELECT a FROM t WHERE b = 'it''s' -- c", "sql"), ["keyword:SELECT", "keyword:FROM", "keyword:WHERE", "string:'it''s'", "comment:-- c"]);
  assert.deepEqual(kinds("#include <x>\nint main() { return 0; }", "c"), ["meta:#include", "keyword:int", "call:main", "keyword:return", "number:0"]);
  assert.deepEqual(kinds("<p class=\"a\">x</p><!-- c -->", "html"), ["keyword:<p", "meta:class", 'string:"a"', "keyword:>", "keyword:</p>", "comment:<!-- c -->"]);
  assert.deepEqual(kinds("+a\n-b\n c\n", "diff"), ["added:+a\n", "removed:-b\n"]);
  assert.deepEqual(kinds("[a]\nkey = 1 # c", "toml"), ["meta:[a]", "name:key", "number:1", "comment:# c"]);
});

const LANGUAGES = "rust python js ts c cpp cuda java kotlin go csharp swift bash sql ruby php lua haskell julia json toml yaml css html tex make docker diff none constructor".split(" ");
const PIECES = ["\"", "'", "`", "\\", "\n", "//", "/*", "*/", "#", "r#\"", "\"\"\"", "'''", "--", "[[", "<!--", "<a", "x=", "1.5e3", "0x", "fn", "$(", "${", "}", "{-", "word", " ", "é", "😀", "@", ":", "=", "\0"];

test("in every language the parts add up to the code", () => {
  for (const language of LANGUAGES) {
    for (const code of randomTexts(PIECES, 400, language.length)) assert.equal(highlight(code, language).map(([, text]) => text).join(""), code, `${language}: ${JSON.stringify(code)}`);
    assert.deepEqual(highlight("", language), []);
  }
});

test("long lines take linear time", { timeout: 60_000 }, () => {
  for (const language of LANGUAGES) {
    for (const piece of ["\"", "a ", "/*", "'", "r#\"", "<a ", "[", "\\"]) {
      const code = piece.repeat(8_000 / piece.length);
      assert.equal(highlight(code, language).map(([, text]) => text).join("").length, code.length);
    }
  }
});
