import { test } from "node:test";
import assert from "node:assert/strict";
import { MarkdownView, renderMarkdown } from "../../crates/meno-server/web/markdown/markdown.js";
import { safeUrl } from "../../crates/meno-server/web/markdown/links.js";
import { html, randomTexts, walk } from "./html.mjs";

const A = 'target="_blank" rel="noopener noreferrer nofollow"';

/** Pairs of Markdown and the expected HTML. */
const CASES = [
  // paragraphs and breaks
  ["one\ntwo", "<p>one\ntwo</p>"],
  ["one  \ntwo\\\nthree<br>four", "<p>one<br>two<br>three<br>four</p>"],
  ["a\n\n\n\nb", "<p>a</p><p>b</p>"],
  ["a\r\nb\r\rc", "<p>a\nb</p><p>c</p>"],
  // headings and rules
  ["# a #\n###### b\n####### c", "<h1>a</h1><h6>b</h6><p>####### c</p>"],
  ["a\nb\n===\nc\n---", "<h1>a\nb</h1><h2>c</h2>"],
  ["#no", "<p>#no</p>"],
  ["***\n- - -\n___", "<hr><hr><hr>"],
  // emphasis
  ["*a* **b** ***c*** _d_ __e__", "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <em>d</em> <strong>e</strong></p>"],
  ["snake_case_name and 2*3*4 and a * b *", "<p>snake_case_name and 2<em>3</em>4 and a * b *</p>"],
  ["**a *b* c** *a **b** c*", "<p><strong>a <em>b</em> c</strong> <em>a <strong>b</strong> c</em></p>"],
  ["**open *both", "<p>**open *both</p>"],
  ["*a**b*", "<p><em>a**b</em></p>"],
  ["**答案是“四”**，对吗", "<p><strong>答案是“四”</strong>，对吗</p>"],
  ["~~gone~~ ~5 and ~6", "<p><del>gone</del> ~5 and ~6</p>"],
  ["\\*not\\* \\\\ \\a", "<p>*not* \\ \\a</p>"],
  // code
  ["`a*b*` ``a`b`` `` ` `` `x", "<p><code>a*b*</code> <code>a`b</code> <code>`</code> `x</p>"],
  ["`<b>&amp;`", "<p><code>&lt;b&gt;&amp;amp;</code></p>"],
  // links
  ["[a](https://x.y/z_(1) \"t\")", `<p><a href="https://x.y/z_(1)" title="t" ${A}>a</a></p>`],
  ["[**a** `b`](<https://x.y>)", `<p><a href="https://x.y" ${A}><strong>a</strong> <code>b</code></a></p>`],
  ["<https://x.y?a=b&c> <me@x.org>", `<p><a href="https://x.y?a=b&amp;c" ${A}>https://x.y?a=b&amp;c</a> <a href="mailto:me@x.org" ${A}>me@x.org</a></p>`],
  ["see https://x.y/a_b_c, (http://x.y).", `<p>see <a href="https://x.y/a_b_c" ${A}>https://x.y/a_b_c</a>, (<a href="http://x.y" ${A}>http://x.y</a>).</p>`],
  ["**https://x.y/**", `<p><strong><a href="https://x.y/" ${A}>https://x.y/</a></strong></p>`],
  ["[a][1] [1] [2]\n\n[1]: https://x.y 'T'", `<p><a href="https://x.y" title="T" ${A}>a</a> <a href="https://x.y" title="T" ${A}>1</a> [2]</p>`],
  ["![pic](https://x.y/z.png)", `<p><a href="https://x.y/z.png" ${A} data-picture="pic">pic</a></p>`],
  ["[a [b](https://x.y) c](https://z.y)", `<p>[a <a href="https://x.y" ${A}>b</a> c](<a href="https://z.y" ${A}>https://z.y</a>)</p>`],
  ["arr[0](1) [x] (y)", "<p>arr<span class=\"unlinked\" title=\"1\">0</span> [x] (y)</p>"],
  ["mail me@x.org, or a_b@x.y.", `<p>mail <a href="mailto:me@x.org" ${A}>me@x.org</a>, or <a href="mailto:a_b@x.y" ${A}>a_b@x.y</a>.</p>`],
  // entities, and HTML shown as text
  ["&lt;b&gt; &copy; &#65; &#x1F600; &nope; &constructor; AT&T", "<p>&lt;b&gt; © A 😀 &amp;nope; &amp;constructor; AT&amp;T</p>"],
  ["<b>x</b> H<sub>2</sub>O 1<sup>st</sup> <SUB>a</sup>", "<p>&lt;b&gt;x&lt;/b&gt; H<sub>2</sub>O 1<sup>st</sup> &lt;SUB&gt;a&lt;/sup&gt;</p>"],
  // lists
  ["- a\n- b\n\nc", "<ul><li>a</li><li>b</li></ul><p>c</p>"],
  ["- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"],
  ["3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'],
  ["1. a\n   - b\n     - c\n2. d", "<ol><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ol>"],
  ["1. a\n  - two spaces\n2. b", "<ol><li>a<ul><li>two spaces</li></ul></li><li>b</li></ol>"],
  ["10. a\n  - b", '<ol start="10"><li>a<ul><li>b</li></ul></li></ol>'],
  ["- a\n  b\nlazy\n+ other", "<ul><li>a\nb\nlazy</li></ul><ul><li>other</li></ul>"],
  ["- a\n\n  second\n- b", "<ul><li><p>a</p><p>second</p></li><li><p>b</p></li></ul>"],
  ["- [ ] a\n- [x] b", '<ul><li class="task"><input disabled aria-label="to do">a</li><li class="task"><input disabled checked aria-label="done">b</li></ul>', (s) => s.replace(/ type="checkbox"/g, "")],
  ["a\n- b", "<p>a</p><ul><li>b</li></ul>"],
  ["in\n2024. was", "<p>in\n2024. was</p>"],
  ["-\n- b\n-", "<ul><li></li><li>b</li><li></li></ul>"],
  ["-a\n1.b", "<p>-a\n1.b</p>"],
  ["- a\n- b\n***\n- c", "<ul><li>a</li><li>b</li></ul><hr><ul><li>c</li></ul>"],
  // quotes
  ["> a\n> b\nlazy\n\n> c", "<blockquote><p>a\nb\nlazy</p></blockquote><blockquote><p>c</p></blockquote>"],
  ["> - a\n>   - b\n>\n> c", "<blockquote><ul><li>a<ul><li>b</li></ul></li></ul><p>c</p></blockquote>"],
  // tables
  ["| a | b |\n|:-:|--:|\n| 1 | 2 |\n| 3 |\nend", '<table><thead><tr><th class="center">a</th><th class="right">b</th></tr></thead><tbody><tr><td class="center">1</td><td class="right">2</td></tr><tr><td class="center">3</td><td class="right"></td></tr><tr><td class="center">end</td><td class="right"></td></tr></tbody></table>'],
  ["a | b\n--|--\n`x|y` | p\\|q", "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td><code>x|y</code></td><td>p|q</td></tr></tbody></table>"],
  ["a | b\nnot a rule", "<p>a | b\nnot a rule</p>"],
  ["| a |\n|---|---|", "<p>| a |\n|---|---|</p>"],
];

const simple = (nodes) => html(nodes).replace(/<div class="table"[^>]*>(.*?)<\/div>/gs, "$1").replace(/ dir="auto"/g, "").replace(/<span class="raw">(.*?)<\/span>/g, "$1");

test("markdown, case by case", () => {
  for (const [source, expected, tidy = (s) => s] of CASES) assert.equal(tidy(simple(renderMarkdown(source))), expected, JSON.stringify(source));
});

const code = (source) => [...walk(renderMarkdown(source))].filter((n) => n.tag === "figure").map((f) => [html(f.children[0].children[0]).replace(/<[^>]*>/g, ""), [...walk(f.children[1])].filter((n) => typeof n === "string").join("")]);

test("code blocks keep every character and know their language", () => {
  assert.deepEqual(code("```rust\nfn a() {}\n\n  b\n```"), [["rust", "fn a() {}\n\n  b"]]);
  assert.deepEqual(code("~~~\n```\n~~~"), [["text", "```"]]);
  assert.deepEqual(code("````md\n```\nx\n```\n````"), [["md", "```\nx\n```"]]);
  assert.deepEqual(code("```c++ title=x\nint a;"), [["c++", "int a;"]]);
  assert.deepEqual(code("1. x\n   ```py\n   if a:\n\n       b\n   ```\n2. y"), [["py", "if a:\n\n    b"]]);
  assert.deepEqual(code("    four\n\n    more\n"), [["text", "four\n\nmore"]]);
  assert.deepEqual(code("- a\n\n  ```\n  x\n  ```"), [["text", "x"]]);
  assert.deepEqual(code("```\n"), [["text", ""]]);
  assert.deepEqual(code("``` a`b\nx"), []);
});

const formulas = (source) => [...walk(renderMarkdown(source))].filter((n) => n.tag === "annotation").map((n) => n.children[0]);

test("formulas are distinguished from prices", () => {
  assert.deepEqual(formulas("$x$, \\(y\\), $$z$$ and \\[w\\]"), ["x", "y", "z", "w"]);
  assert.deepEqual(formulas("$5 and $10, $ a $ 20 or US$3-$4, \\$a\\$, `$b$`"), []);
  assert.deepEqual(formulas("$$\na\n\nb\n$$"), ["a\n\nb"]);
  assert.deepEqual(formulas("\\[\na * b * c_d\n\\]."), ["a * b * c_d"]);
  assert.deepEqual(formulas("\\begin{align}\na &= b\n\\end{align}"), ["\\begin{align}\na &= b\n\\end{align}"]);
  assert.deepEqual(formulas("$a\\$b$"), ["a\\$b"]);
  assert.deepEqual(formulas("- item $x_1$ and $y_1$\n- $$z$$"), ["x_1", "y_1", "z"]);
  assert.deepEqual(formulas("| a |\n|--|\n| $|x|$ |"), ["|x|"]);
});

test("punctuation after a formula stays on its line", () => {
  assert.match(html(renderMarkdown("so $x$, then $y$ and $z$).")), /<span class="together"><math dir="ltr">.*?<\/math>,<\/span> then <math dir="ltr">.*<\/math> and <span class="together"><math dir="ltr">.*?<\/math>\)\.<\/span><\/p>$/);
});

const HOSTILE = [
  "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))",
  "[a](java\nscript:alert(1))", "[a](&#106;avascript:alert(1))", "[a](data:text/html,<script>alert(1)</script>)", "[a](vbscript:x)", "<javascript:alert(1)>",
  "![a](javascript:alert(1))", "[a]: javascript:alert(1)\n\n[a]", "[a](\u0001javascript:alert(1))", "[a](https://x\"onmouseover=\"alert(1))", "```\"><script>\nx\n```",
  "$\\text{<script>alert(1)</script>}$", "$\\href{javascript:alert(1)}{x}$", "$\\color{red;background:url(//x)}{x}$", "[a](file:///etc/passwd)", "[a](//evil.example)",
  "| <script> |\n|--|\n| [x](javascript:1) |", "> <iframe src=javascript:alert(1)>", "# <a href=javascript:1>", "`<script>`", "&lt;script&gt;", "[a](blob:https://x)",
];

const TAGS = new Set(`p br hr h1 h2 h3 h4 h5 h6 em strong del code a span sub sup ul ol li input blockquote figure figcaption button pre div table thead tbody tr th td math semantics
  annotation mrow mi mn mo mtext mspace msup msub msubsup munder mover munderover mfrac msqrt mroot mtable mtr mtd mstyle mpadded mphantom section`.split(/\s+/));
const ATTRIBUTES = new Set(`class href title target rel start type disabled checked aria-label tabindex role data-copy display encoding mathvariant dir id data-title data-picture data-jump movablelimits stretchy symmetric minsize maxsize
  fence form lspace rspace separator accent accentunder linethickness displaystyle scriptlevel mathcolor mathbackground width`.split(/\s+/));

function assertHarmless(nodes, source) {
  for (const node of walk(nodes)) {
    if (typeof node === "string") continue;
    assert.ok(TAGS.has(node.tag), `${node.tag} from ${JSON.stringify(source)}`);
    for (const [name, value] of Object.entries(node.attrs)) {
      assert.ok(ATTRIBUTES.has(name), `${name} from ${JSON.stringify(source)}`);
      assert.notEqual(typeof value, "function");
      if (name === "href") assert.match(value, /^(?:https?:\/\/[^/]|mailto:|#note-\d+-\d+(?:-mark)?$)/i, JSON.stringify(source));
      if (name === "mathcolor" || name === "mathbackground") assert.match(value, /^[#\w]+$/);
    }
  }
}

const NOTES = "One[^a] two[^b] one again[^a].\n\n[^b]: Second,\n    in two lines.\n[^a]: First.\n\n    More.\n[^c]: Unused.";

test("footnotes are numbered by first reference, with links in both directions", () => {
  const out = html(renderMarkdown(NOTES)).replace(/note-\d+-/g, "N").replace(/ (?:dir|class|role|tabindex|aria-label|data-jump)="[^"]*"/g, "");
  assert.equal(out, '<p>One<sup><a id="N1-mark" href="#N1">1</a></sup> two<sup><a id="N2-mark" href="#N2">2</a></sup> one again<sup><a href="#N1">1</a></sup>.</p>' +
    '<section><ol><li id="N1"><p>First.</p><p>More. <a href="#N1-mark">↩\ufe0e</a></p></li><li id="N2"><p>Second,\nin two lines. <a href="#N2-mark">↩\ufe0e</a></p></li><li id="N3"><p>Unused.</p></li></ol></section>');
  assert.match(html(renderMarkdown("none[^x]")), /none\[\^x\]/);
  assert.match(html(renderMarkdown("coming[^x]", { open: true })), /coming<sup>x<\/sup>/);
  assert.equal([...walk([renderMarkdown(NOTES), renderMarkdown(NOTES)])].filter((n) => n.attrs?.id).map((n) => n.attrs.id).length, new Set([...walk([renderMarkdown(NOTES), renderMarkdown(NOTES)])].filter((n) => n.attrs?.id).map((n) => n.attrs.id)).size, "two texts share no id");
  for (let cut = 0; cut <= NOTES.length; cut += 1) assertHarmless(renderMarkdown(NOTES.slice(0, cut), { open: true }), NOTES.slice(0, cut));
});

test("\\boxed is a formula everywhere", () => {
  assert.deepEqual(formulas("So \\boxed{\\frac{1}{2}}, as \\(x\\) and \\fbox{a} say."), ["\\boxed{\\frac{1}{2}}", "x", "\\fbox{a}"]);
  assert.match(html(renderMarkdown("\\boxed{42}")), /^<div class="math display"/);
  assert.match(html(renderMarkdown("**Answer:** \\boxed{42}")), /<\/strong> <math/);
  assert.deepEqual(formulas("`\\boxed{1}` and \\boxed{"), []);
  assert.match(html(renderMarkdown("so \\boxed{4", { open: true })), /class="math source"/);
});

test("text never becomes markup or an unsafe link", () => {
  for (const source of HOSTILE) assertHarmless(renderMarkdown(source), source);
  assert.equal(safeUrl("java\tscript:alert(1)"), null);
  assert.equal(safeUrl("https://x.y"), "https://x.y");
  assert.equal(safeUrl("http:///x"), null);
});

const PIECES = ["*", "**", "_", "`", "```", "\n", "\n\n", "  ", "    ", "- ", "1. ", "> ", "| a | b |\n", "|--|--|\n", "$", "$$", "\\(", "\\)", "\\[", "\\]", "[", "](", ")", "![", "<", ">", "&amp;", "https://x.y/_z_",
  "www.", "\\", "~~", "# ", "---\n", "x^2", "\\frac", "{", "}", "\\begin{align}", "\\end{align}", "&", "word ", "的", "“", "😀", "<script>", "javascript:", "[a]: b\n", "\t", "\0", "\u2028", "h", "w", "!"];

test("random texts, complete or cut anywhere, give harmless trees", () => {
  for (const source of randomTexts(PIECES, 4000, 7)) assertHarmless(renderMarkdown(source), source);
  for (const source of randomTexts(PIECES, 300, 11)) {
    for (let cut = 0; cut <= source.length; cut += 1) assertHarmless(renderMarkdown(source.slice(0, cut), { open: true }), source.slice(0, cut));
  }
});

const LONG = "# T\n\nA **b** and `c` with $x^2$.\n\n1. one\n   ```rust\n   fn a() {}\n   ```\n2. two\n\n| a | b |\n|--|--|\n| 1 | $|x|$ |\n\n$$\n\\frac{a}{b}\n$$\n\n> end [l](https://x.y)\n";

test("a streamed text ends as the same tree as the complete text", () => {
  for (const size of [1, 2, 3, 7, 19]) {
    const view = new MarkdownView();
    for (let i = 0; i < LONG.length; i += size) view.render(LONG.slice(0, i), true);
    assert.equal(html(view.render(LONG)), html(renderMarkdown(LONG)), `pieces of ${size}`);
  }
});

test("finished blocks of a growing text keep their nodes", () => {
  const view = new MarkdownView();
  const before = view.render("first\n\n```js\nlet a;\n```\n\nthi", true);
  const after = view.render("first\n\n```js\nlet a;\n```\n\nthird", true);
  assert.equal(after[0], before[0]);
  assert.equal(after[1], before[1]);
  assert.notEqual(after[2], before[2]);
});

test("open constructs render as closed while a text streams", () => {
  const open = (source) => simple(renderMarkdown(source, { open: true }));
  assert.equal(open("a **bo"), "<p>a <strong>bo</strong></p>");
  assert.equal(open("a **b *c"), "<p>a <strong>b <em>c</em></strong></p>");
  assert.equal(open("a `co"), "<p>a <code>co</code></p>");
  assert.equal(open("- **x"), "<ul><li><strong>x</strong></li></ul>");
  assert.match(open("so $\\frac{1}{"), /class="math source"/);
  assert.equal(open("it costs $5"), "<p>it costs $5</p>");
  assert.match(open("$$\n\\frac{1"), /class="math source display"/);
});

test("long and deeply nested texts take bounded time", { timeout: 60_000 }, () => {
  for (const source of [">".repeat(20_000), "- ".repeat(5_000), "[".repeat(20_000), "*a ".repeat(10_000), "`a``b".repeat(4_000), "<".repeat(20_000), "[a](".repeat(5_000), "$".repeat(9_999),
    "{".repeat(20_000), `$${"{".repeat(5_000)}$`, `$${"x^".repeat(5_000)}$`, "| a ".repeat(5_000), "**a_b".repeat(3_000), "word ".repeat(50_000)]) assertHarmless(renderMarkdown(source), source.slice(0, 9));
});
