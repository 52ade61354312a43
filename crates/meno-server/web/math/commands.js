// TeX's commands by name. Each is called with the parser positioned after the command and returns a node, or null.

import { h } from "../vnode.js";
import * as T from "./symbols.js";
import { fenced, root } from "./font-fallback.js";
import { MathError, as, classOf, functionName, op, row, space } from "./atoms.js";

const fraction = (above, below, attrs) => h("mfrac", attrs, above, below);
const binomial = (above, below) =>
  fenced("(", fraction(above, below, { linethickness: "0" }), ")");

export const INFIX = new Map([["\\over", (a, b) => fraction(a, b)], ["\\choose", binomial], ["\\atop", (a, b) => fraction(a, b, { linethickness: "0" })]]);

export const STYLES = new Map([
  ["\\displaystyle", { displaystyle: "true", scriptlevel: "0" }], ["\\textstyle", { displaystyle: "false", scriptlevel: "0" }],
  ["\\scriptstyle", { displaystyle: "false", scriptlevel: "1" }], ["\\scriptscriptstyle", { displaystyle: "false", scriptlevel: "2" }],
]);

export const ALPHABET_NAMES = new Map([
  ["mathbf", "mathbf"], ["bold", "mathbf"], ["boldsymbol", "boldsymbol"], ["bm", "boldsymbol"], ["pmb", "boldsymbol"], ["mathbb", "mathbb"],
  ["Bbb", "mathbb"], ["mathrm", "mathrm"], ["mathup", "mathrm"], ["mathnormal", "mathit"], ["mathit", "mathit"], ["mathcal", "mathcal"],
  ["mathscr", "mathcal"], ["mathfrak", "mathfrak"], ["mathsf", "mathsf"], ["mathtt", "mathtt"],
]);
export const OLD_FONTS = new Map([["rm", "mathrm"], ["bf", "mathbf"], ["it", "mathit"], ["cal", "mathcal"], ["sf", "mathsf"], ["tt", "mathtt"]]);
export const TEXTS = new Map([
  ["text", null], ["textrm", null], ["textnormal", null], ["mbox", null], ["hbox", null], ["textup", null], ["textbf", "bold"], ["textit", "italic"],
  ["emph", "italic"], ["texttt", "mono"], ["textsf", null], ["mathchar", null],
]);

const styled = (display) => (p) => h("mstyle", { displaystyle: display, scriptlevel: "0" }, fraction(p.argument(), p.argument()));
const transparent = (p) => p.argument();
const dropArgument = (p) => (p.raw(), null);
const nothing = () => null;
const boxed = (kind) => (p) => h("mrow", { class: kind }, p.argument());
const classed = (kind) => (p) => {
  const node = p.argument();
  return as(node.tag === "mo" ? node : h("mrow", null, node), kind);
};
const modulo = (p, before, name) => {
  const word = h("mi", { mathvariant: "normal" }, "mod");
  if (name === "bmod") return as(op("mod", { form: "infix", lspace: "0.2222em", rspace: "0.2222em" }), "bin");
  if (name === "mod") return as(h("mrow", null, space(0.6667), word, space(0.3333)), "op");
  const inside = p.argument();
  return h("mrow", null, space(0.6667), op("(", { stretchy: "false" }), name === "pmod" && [word, space(0.3333)], inside, op(")", { stretchy: "false" }));
};

// Arrows that stretch to the text above them.
const arrow = (mark) => (p) => {
  const below = p.optional();
  const over = h("mrow", null, space(0.4), p.argument(), space(0.4));
  const head = op(mark, { stretchy: "true", lspace: "0.2778em", rspace: "0.2778em" });
  if (below === null) return as(h("mover", null, head, over), "rel");
  return as(h("munderover", null, head, row(p.inner(below)), over), "rel");
};

const big = (size, kind) => (p) => {
  const text = p.delimiter();
  if (!text) return null;
  const attrs = { class: `big-${Math.round(size / 0.6)}`, stretchy: "true", symmetric: "true", minsize: `${size}em`, maxsize: `${size}em`, fence: "true", lspace: "0", rspace: "0" };
  return as(op(text, kind === "rel" ? { ...attrs, lspace: "0.2778em", rspace: "0.2778em" } : attrs), kind);
};

export const COMMANDS = {
  frac: (p) => fraction(p.argument(), p.argument()),
  dfrac: styled("true"), cfrac: styled("true"), tfrac: styled("false"),
  binom: (p) => binomial(p.argument(), p.argument()), dbinom: (p) => binomial(p.argument(), p.argument()), tbinom: (p) => binomial(p.argument(), p.argument()),
  genfrac: (p) => {
    const [open, close, thickness] = [p.raw(), p.raw(), p.raw()];
    p.raw();
    const mark = (text) => text.trim() && op(text.trim().replace(/^\\/, ""), { stretchy: "true" });
    return h("mrow", null, mark(open), fraction(p.argument(), p.argument(), thickness.trim() ? { linethickness: thickness.trim() } : null), mark(close));
  },
  sqrt: (p) => {
    const degree = p.optional();
    return root(p.argument(), degree === null ? null : row(p.inner(degree)));
  },
  left: (p) => p.left(),
  begin: (p) => p.environment(),
  substack: (p) => {
    p.expect("{");
    const { rows } = p.rows();
    p.expect("}");
    return h("mtable", { class: "substack" }, rows.map((cells) => h("mtr", null, cells.map((cell) => h("mtd", null, row(cell))))));
  },
  overset: (p) => over(p), stackrel: (p) => over(p),
  underset: (p) => {
    const below = p.argument();
    const base = p.argument();
    return as(h("munder", null, base, below), classOf(base));
  },
  operatorname: (p) => functionName(plainText(p.raw()), false),
  "operatorname*": (p) => functionName(plainText(p.raw()), true),
  mathop: (p) => as(h("mrow", null, p.argument()), "limits"),
  mathbin: classed("bin"), mathrel: classed("rel"), mathord: classed("ord"), mathopen: classed("open"), mathclose: classed("close"),
  mathpunct: classed("punct"), mathinner: classed("ord"),
  not: (p) => {
    const base = p.atom(undefined);
    const text = base?.tag === "mo" ? base.children[0] : null;
    return text === null ? base : as(op(T.NEGATED.get(text) ?? `${text}\u0338`, base.attrs), "rel");
  },
  boxed: boxed("boxed"), fbox: (p) => h("mrow", { class: "boxed" }, p.text("text")), cancel: boxed("cancel"), bcancel: boxed("cancel"), xcancel: boxed("cancel"),
  sout: boxed("cancel"), overline: boxed("overline"), underline: boxed("underline"),
  phantom: (p) => h("mphantom", null, p.argument()), hphantom: (p) => h("mphantom", null, p.argument()), vphantom: (p) => h("mpadded", { width: "0" }, h("mphantom", null, p.argument())),
  mathstrut: () => h("mpadded", { width: "0" }, h("mphantom", null, op("("))),
  smash: (p) => (p.optional(), p.argument()),
  textcolor: (p) => h("mstyle", { mathcolor: p.color() }, p.argument()),
  colorbox: (p) => h("mstyle", { mathbackground: p.color() }, h("mrow", null, p.text("text"))),
  xrightarrow: arrow("→"), xleftarrow: arrow("←"), xleftrightarrow: arrow("↔"), xRightarrow: arrow("⇒"), xLeftarrow: arrow("⇐"), xmapsto: arrow("↦"),
  pmod: modulo, bmod: modulo, mod: modulo, pod: modulo,
  hspace: (p) => length(p.raw()), "hspace*": (p) => length(p.raw()), kern: (p) => bareLength(p), mkern: (p) => bareLength(p), hskip: (p) => bareLength(p), mskip: (p) => bareLength(p),
  vspace: dropArgument, label: dropArgument, ensuremath: transparent, mathchoice: (p) => {
    const display = p.argument();
    p.raw();
    p.raw();
    p.raw();
    return display;
  },
  tag: (p) => ({ tag: "tag", text: plainText(p.raw()), attrs: {}, children: [] }), "tag*": (p) => ({ tag: "tag", text: plainText(p.raw()), attrs: {}, children: [] }),
  nonumber: nothing, notag: nothing, limits: nothing, nolimits: nothing, hfill: nothing, allowbreak: nothing, relax: nothing, noindent: nothing, centering: nothing,
  hline: nothing, large: nothing, Large: nothing, small: nothing, normalsize: nothing, "-": nothing, "/": nothing, strut: nothing, "\\": nothing,
  ",": () => space(0.1667),
};
for (const [name, size] of [["big", 1.2], ["Big", 1.8], ["bigg", 2.4], ["Bigg", 3]]) {
  for (const [suffix, kind] of [["", "ord"], ["l", "open"], ["r", "close"], ["m", "rel"]]) COMMANDS[name + suffix] = big(size, kind);
}

function over(p) {
  const above = p.argument();
  const base = p.argument();
  return as(h("mover", null, base, above), classOf(base));
}

function plainText(tex) {
  return tex.replace(/\\(?:text|mathrm|rm)\b|[{}]/g, "").replace(/\\[,;:! ]/g, "\u2009").replace(/\\/g, "").trim();
}

const UNITS = { em: 1, ex: 0.43, pt: 0.1, px: 0.0625, mm: 0.285, cm: 2.85, mu: 1 / 18, in: 7.2 };

function length(text) {
  const match = /^\s*(-?\d*\.?\d+)\s*(em|ex|pt|px|mm|cm|mu|in)/.exec(text);
  if (!match) throw new MathError(`“${text}” is not a length`);
  const em = Number.parseFloat(match[1]) * UNITS[match[2]];
  return as(space(Math.max(-4, Math.min(em, 20)).toFixed(3)), "space");
}

function bareLength(p) {
  let text = "";
  while (p.peek() !== undefined && text.length < 12 && !/[a-z]{2}$/.test(text)) text += p.next();
  return length(text);
}
