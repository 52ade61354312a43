import { test } from "node:test";
import assert from "node:assert/strict";
import { renderMath } from "../../crates/meno-server/web/math/math.js";
import { useFontFallback } from "../../crates/meno-server/web/math/font-fallback.js";
import { html, randomTexts, walk } from "./html.mjs";

/** The MathML of a formula without its wrapper and spacing attributes. */
function mathml(tex, display = false) {
  const node = renderMath(tex, display);
  const [row] = [...walk(node)].find((n) => n.tag === "semantics").children;
  return html(row).replace(/ (?:stretchy|fence|lspace|rspace|form|separator|movablelimits|symmetric|minsize|maxsize|accent)="[^"]*"/g, "").replace(/ class="(?:large|big-\d|fence [lr]|fenced[^"]*)"/g, "").replace(/ mathvariant="normal"/g, "!");
}

const CASES = [
  ["x", "<mi>x</mi>"],
  ["12.5x", "<mrow><mn>12.5</mn><mi>x</mi></mrow>"],
  ["x_i^2", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"],
  ["x^{2}_{i}", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"],
  ["f''", "<msup><mi>f</mi><mo>″</mo></msup>"],
  ["f'^2", "<msup><mi>f</mi><mrow><mo>′</mo><mn>2</mn></mrow></msup>"],
  ["{}^{14}C", "<mrow><msup><mrow></mrow><mn>14</mn></msup><mi>C</mi></mrow>"],
  ["\\frac12", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"],
  ["x^23", "<mrow><msup><mi>x</mi><mn>2</mn></msup><mn>3</mn></mrow>"],
  ["\\frac{a}{b+c}", "<mfrac><mi>a</mi><mrow><mi>b</mi><mo>+</mo><mi>c</mi></mrow></mfrac>"],
  ["a \\over b", "<mfrac><mi>a</mi><mi>b</mi></mfrac>"],
  ["\\sqrt{2}", "<msqrt><mn>2</mn></msqrt>"],
  ["\\sqrt[3]{x}", "<mroot><mi>x</mi><mn>3</mn></mroot>"],
  ["\\alpha\\Gamma", "<mrow><mi>α</mi><mi!>Γ</mi></mrow>"],
  ["\\sum_{i=1}^n", "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>"],
  ["\\int_0^1", "<msubsup><mo>∫</mo><mn>0</mn><mn>1</mn></msubsup>"],
  ["\\int\\limits_0^1", "<munderover><mo>∫</mo><mn>0</mn><mn>1</mn></munderover>"],
  ["\\lim_{x\\to0}", "<munder><mo>lim</mo><mrow><mi>x</mi><mo>→</mo><mn>0</mn></mrow></munder>"],
  ["\\sin x", '<mrow><mrow><mi!>sin</mi><mspace width="0.1667em"></mrow><mi>x</mi></mrow>'],
  ["\\sin(x)", "<mrow><mi!>sin</mi><mo>(</mo><mi>x</mi><mo>)</mo></mrow>"],
  ["\\operatorname{clip}(x)", "<mrow><mi!>clip</mi><mo>(</mo><mi>x</mi><mo>)</mo></mrow>"],
  ["\\mathbb{R}\\mathcal{L}\\mathbf{v1}", "<mrow><mi!>ℝ</mi><mi!>ℒ</mi><mrow><mi!>𝐯</mi><mn>𝟏</mn></mrow></mrow>"],
  ["\\mathrm{kg}", "<mi!>kg</mi>"],
  ["\\text{if } x", "<mrow><mtext>if\u00a0</mtext><mi>x</mi></mrow>"],
  ["\\text{a $x$ b}", "<mrow><mtext>a\u00a0</mtext><mi>x</mi><mtext>\u00a0b</mtext></mrow>"],
  ["\\left( x \\right]", "<mrow><mo>(</mo><mi>x</mi><mo>]</mo></mrow>"],
  ["\\left. x \\middle| y \\right\\}", "<mrow><mi>x</mi><mo>|</mo><mi>y</mi><mo>}</mo></mrow>"],
  ["\\{x\\}", "<mrow><mo>{</mo><mi>x</mi><mo>}</mo></mrow>"],
  ["\\binom{n}{k}", '<mrow><mo>(</mo><mfrac linethickness="0"><mi>n</mi><mi>k</mi></mfrac><mo>)</mo></mrow>'],
  ["\\boxed{4}", '<mrow class="boxed"><mn>4</mn></mrow>'],
  ["\\hat{x}", "<mover><mi>x</mi><mo>^</mo></mover>"],
  ["\\not= a", "<mrow><mo>≠</mo><mi>a</mi></mrow>"],
  ["\\overset{!}{=}", "<mover><mo>=</mo><mo>!</mo></mover>"],
  ["\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", '<mrow><mo>(</mo><mtable class="matrix"><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr><mtr><mtd><mn>3</mn></mtd><mtd><mn>4</mn></mtd></mtr></mtable><mo>)</mo></mrow>'],
  ["\\begin{array}{r|l} a & b \\\\ \\hline c & d \\end{array}", '<mtable class="matrix"><mtr><mtd class="right"><mi>a</mi></mtd><mtd class="left line-before"><mi>b</mi></mtd></mtr><mtr><mtd class="right line-above"><mi>c</mi></mtd><mtd class="left line-above line-before"><mi>d</mi></mtd></mtr></mtable>'],
  ["\\unknown", '<mtext class="unknown">\\unknown</mtext>'],
  ["a % comment\nb", "<mrow><mi>a</mi><mi>b</mi></mrow>"],
  ["的", "<mi>的</mi>"],
];

test("formulas, case by case", () => {
  for (const [tex, expected] of CASES) assert.equal(mathml(tex), expected, tex);
});

test("a minus is a sign after a relation and an operator after a term", () => {
  const forms = (tex) => [...walk(renderMath(tex, false))].filter((n) => n.tag === "mo" && n.children[0] === "−").map((n) => n.attrs.form);
  assert.deepEqual(forms("-a - b = -c"), ["prefix", "infix", "prefix"]);
  assert.deepEqual(forms("(-1) \\cdot -x^{-1}"), ["prefix", "prefix", "prefix"]);
});

test("unmatched braces and other errors show the source", () => {
  for (const tex of ["\\frac{1}{", "{", "}", "\\left( x", "\\right)", "\\begin{foo}x\\end{foo}", "\\begin{matrix}1\\end{pmatrix}", "\\begin{constructor}\\end{constructor}", "x^2^3", "\\sqrt[3", "\\color{expression(1)} x", "\\hspace{x}", "a #"]) {
    const node = renderMath(tex, false);
    assert.equal(node.attrs.class, "math source", tex);
    assert.deepEqual(node.children, [tex]);
  }
});

test("the font fallback gives brackets classes and turns roots into rows", () => {
  const classes = (tex) => [...walk(renderMath(tex, true))].map((n) => n.attrs?.class ?? "").filter((c) => /^(?:fenced|root)/.test(c));
  assert.deepEqual(classes("\\left( a \\right]"), ["fenced l-paren r-square"]);
  assert.deepEqual(classes("\\left. a \\right|"), ["fenced r-bar"]);
  assert.deepEqual(classes("\\begin{cases} a \\end{cases} \\begin{Vmatrix} a \\end{Vmatrix} \\binom{a}{b}"), ["fenced l-brace", "fenced l-double r-double", "fenced l-paren r-paren"]);
  assert.deepEqual(classes("\\sqrt{a}"), []);
  useFontFallback(true);
  assert.deepEqual(classes("\\sqrt{a} + \\sqrt[3]{b}"), ["root", "root"]);
  useFontFallback(false);
});

test("an arrow stretches to its text", () => {
  assert.equal(mathml("\\xrightarrow{ab}"), '<mover><mo>→</mo><mrow><mspace width="0.4em"><mrow><mi>a</mi><mi>b</mi></mrow><mspace width="0.4em"></mrow></mover>');
});

test("rows need no environment", () => {
  assert.match(mathml("a \\\\ b"), /^<mtable class="gather"/);
  assert.match(mathml("a &= b \\\\ c &= d"), /^<mtable class="pairs"/);
});

test("typical formulas parse, without unknown commands", () => {
  const formulas = [
    "\\nabla_\\theta J(\\theta) = \\mathbb{E}_{\\tau \\sim \\pi_\\theta}\\left[\\sum_{t=0}^{T} \\nabla_\\theta \\log \\pi_\\theta(a_t \\mid s_t)\\,\\hat{A}_t\\right]",
    "\\begin{cases} 1, & \\text{if } n = 0 \\\\[4pt] n \\cdot (n-1)!, & \\text{otherwise} \\end{cases}", "P(A \\mid B) = \\dfrac{P(B \\mid A)\\, P(A)}{P(B)}",
    "\\displaystyle \\prod_{\\substack{p \\le n \\\\ p \\text{ prime}}} p", "\\bigl( \\tfrac{1}{2} \\bigr)^{n}", "\\lVert x \\rVert_2 \\leqslant \\varepsilon", "\\therefore \\quad \\boxed{x = \\pm\\sqrt{3}}",
    "A \\xrightarrow[n \\to \\infty]{\\text{a.s.}} B", "\\underbrace{1 + \\cdots + 1}_{n \\text{ times}} = n", "\\oint_{\\partial S} \\vec{F} \\cdot d\\vec{r}", "\\Delta E = h\\nu, \\quad 6.02 \\times 10^{23}\\ \\mathrm{mol}^{-1}",
    "\\mathbf{A}^{\\top}\\mathbf{A} \\succeq 0", "x \\equiv 3 \\pmod{7}", "f : \\mathbb{R}^n \\to \\mathbb{R},\\; x \\mapsto x^\\dagger x", "\\color{red}{x} + \\textcolor{blue}{y}", "\\frac{d}{dx}\\Bigg|_{x=0}", "90^\\circ",
    "\\left\\langle \\psi \\middle| \\hat{H} \\middle| \\psi \\right\\rangle", "\\sqrt{b^{2}-4ac}\\overline{AB}\\underline{x}\\cancel{5}", "\\mathop{\\mathrm{argmin}}\\limits_x f", "\\operatorname*{arg\\,max}_{\\theta}", "{n \\choose k}", "\\{1, 2, \\ldots, n\\}",
    "\\begin{align*} a &= b \\\\ &= c \\tag{1} \\end{align*}", "\\begin{bmatrix} \\cos\\theta & -\\sin\\theta \\\\ \\sin\\theta & \\cos\\theta \\end{bmatrix}", "\\ce", "1{,}000", "\\#\\{x\\} = 5\\%", "\\Rightarrow\\iff\\implies\\neg P \\lor Q",
  ];
  for (const tex of formulas) {
    const out = html(renderMath(tex, true));
    assert.ok(!out.includes("math source"), `${tex}: ${out.slice(0, 200)}`);
    if (tex !== "\\ce") assert.ok(!out.includes("unknown"), `${tex}: ${/\\\w+(?=<\/mtext>)/.exec(out)}`);
  }
});

const PIECES = ["\\frac", "{", "}", "^", "_", "&", "\\\\", "\\left(", "\\right)", "\\middle|", "\\begin{matrix}", "\\end{matrix}", "\\begin{array}{c|c}", "\\end{array}", "x", "1", "-", "'", "\\sqrt", "[", "]", "\\text", "$", "%", "\n", " ", "\\sum", "\\limits", "\\over", "\\hat", "\\not",
  "\\mathbb", "\\rm", "\\big", "\\color{red}", "\\", "\\,", "\\hline", "\\tag{1}", "\\displaystyle", "😀", "\\operatorname", "\\genfrac", "\\xrightarrow", "\\hspace{1em}", "\\kern", "|", "\\|", "\\substack", "\\pmod", "\\__proto__", "\\constructor"];

test("random formulas never throw", () => {
  for (const tex of randomTexts(PIECES, 20_000, 3)) {
    const node = renderMath(tex, true);
    assert.ok(node.tag === "div" && html(node).length > 0);
  }
});
