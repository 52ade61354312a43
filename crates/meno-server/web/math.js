// TeX mathematics to MathML, which browsers draw themselves. It knows what models write: fractions, roots, scripts,
// big operators, brackets that grow, matrices and alignments, accents, alphabets, text, boxes. A name it does not know
// is shown as it was written; a formula that does not parse is shown as its source.

import { h } from "./vnode.js";
import * as T from "./math-symbols.js";

const MAX_LENGTH = 20_000;
const MAX_DEPTH = 120;

class MathError extends Error {}

/** A formula; `display` gives it a line of its own, `open` says that it is still being written. */
export function renderMath(source, display, open = false) {
  const tex = source.trim();
  try {
    return wrap(new Parser(tex).all(), tex, display);
  } catch (error) {
    const title = open || !(error instanceof MathError) ? null : `This formula could not be drawn: ${error.message}`;
    return h(display ? "div" : "span", { class: `math source${display ? " display" : ""}`, title }, tex);
  }
}

function wrap(nodes, tex, display) {
  const tag = nodes.find((node) => node.tag === "tag");
  const body = nodes.filter((node) => node.tag !== "tag");
  const math = h("math", { display: display ? "block" : null },
    h("semantics", null, row(body), h("annotation", { encoding: "application/x-tex" }, tex)));
  if (!display) return math;
  if (!tag) return h("div", { class: "math display", tabindex: "0" }, math);
  return h("div", { class: "math tagged" }, h("div", { class: "math display", tabindex: "0" }, math), h("span", null, `(${tag.text})`));
}

const row = (nodes) => (nodes.length === 1 ? nodes[0] : h("mrow", null, nodes));
const space = (em) => h("mspace", { width: `${em}em` });
const op = (text, attrs) => h("mo", attrs, text);

// What a node is to its neighbours, as TeX's classes: a minus after a relation is a sign, not an operation.
const classes = new WeakMap();
const as = (node, kind) => (classes.set(node, kind), node);
const classOf = (node) => (node ? (classes.get(node) ?? "ord") : "start");

// ---- reading ----------------------------------------------------------------------------------------------------

const TOKEN = /\\(?:[a-zA-Z]+\*?|[^]|$)|%[^\n]*(?:\n|$)|\d+(?:\.\d+)?|\.\d+|\s+|[^]/uy;

function tokenize(tex) {
  if (tex.length > MAX_LENGTH) throw new MathError("it is too long");
  const tokens = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(tex); match; match = TOKEN.exec(tex)) {
    const text = match[0];
    if (text[0] === "%") continue;
    // A star belongs to a name only where there is such a command.
    if (/^\\[a-zA-Z]+\*$/.test(text) && !/^\\(?:operatorname|hspace|tag)\*$/.test(text)) tokens.push(text.slice(0, -1), "*");
    else tokens.push(/^\s/.test(text) ? " " : text);
  }
  return tokens;
}

class Parser {
  constructor(tex, depth = 0) {
    this.tokens = tokenize(tex);
    this.at = 0;
    this.depth = depth;
    this.alphabet = null;
    this.display = false;
  }

  all() {
    const grid = this.rows();
    if (this.at < this.tokens.length) throw new MathError(`“${this.tokens[this.at]}” has no partner`);
    if (grid.rows.length === 1 && grid.rows[0].length === 1) return grid.rows[0][0];
    return [table(grid, ENVIRONMENTS[grid.rows.some((cells) => cells.length > 1) ? "aligned" : "gathered"], null)];
  }

  peek() {
    while (this.tokens[this.at] === " ") this.at += 1;
    return this.tokens[this.at];
  }

  next() {
    const token = this.peek();
    if (token === undefined) throw new MathError("it ends too early");
    this.at += 1;
    return token;
  }

  expect(token) {
    const got = this.next();
    if (got !== token) throw new MathError(`“${token}” was expected, not “${got}”`);
  }

  /** Nodes up to the token for which `stops` holds, which is left standing. */
  row(stops) {
    if ((this.depth += 1) > MAX_DEPTH) throw new MathError("it is nested too deeply");
    const nodes = [];
    const { alphabet } = this;
    for (let token = this.peek(); token !== undefined && !stops(token); token = this.peek()) {
      if (token === "}" || token === "&" || token === "\\\\" || token === "\\cr" || token === "\\end" || token === "\\right") break;
      if (INFIX.has(token)) {
        this.at += 1;
        const above = row(nodes.splice(0));
        nodes.push(INFIX.get(token)(above, row(this.row(stops))));
      } else if (STYLES.has(token)) {
        this.at += 1;
        nodes.push(h("mstyle", STYLES.get(token), this.row(stops)));
      } else if (token === "\\color") {
        this.at += 1;
        const color = this.color();
        nodes.push(h("mstyle", { mathcolor: color }, this.row(stops)));
      } else {
        const node = this.scripted(nodes[nodes.length - 1]);
        if (node) nodes.push(node);
      }
    }
    this.alphabet = alphabet;
    this.depth -= 1;
    return nodes;
  }

  /** The braces' inside, or one token. */
  argument() {
    if (this.peek() !== "{") {
      const digits = this.peek() ?? "";
      if (/^\d./.test(digits)) {
        // \frac12 is a half, and x^23 is x squared times three.
        this.tokens[this.at] = digits.slice(1);
        return h("mn", null, this.letters(digits[0]));
      }
      const node = this.atom(undefined);
      return node ?? h("mrow");
    }
    this.at += 1;
    const nodes = this.row((token) => token === "}");
    this.expect("}");
    return row(nodes);
  }

  /** The text inside braces, as it stands. */
  raw() {
    this.peek();
    if (this.tokens[this.at] !== "{") return this.next();
    let depth = 0;
    let text = "";
    for (this.at += 1; ; this.at += 1) {
      const token = this.tokens[this.at];
      if (token === undefined) throw new MathError("a brace is not closed");
      if (token === "}" && depth === 0) break;
      if (token === "{") depth += 1;
      if (token === "}") depth -= 1;
      text += token;
    }
    this.at += 1;
    return text;
  }

  optional() {
    if (this.peek() !== "[") return null;
    const from = (this.at += 1);
    let depth = 0;
    for (; this.at < this.tokens.length; this.at += 1) {
      const token = this.tokens[this.at];
      if (token === "{") depth += 1;
      if (token === "}") depth -= 1;
      if (token === "]" && depth === 0) return this.tokens.slice(from, this.at++).join("");
    }
    throw new MathError("a bracket is not closed");
  }

  color() {
    const name = this.raw().trim();
    if (!/^(?:[a-zA-Z]{3,20}|#[0-9a-fA-F]{3,8})$/.test(name)) throw new MathError(`“${name}” is no colour`);
    return name;
  }

  /** An atom with its scripts and primes. */
  scripted(before) {
    const first = this.peek();
    const base = first === "^" || first === "_" || first === "'" ? h("mrow") : this.atom(before);
    if (!base) return null;
    let limits = classOf(base) === "limits";
    let sub = null;
    let sup = null;
    for (;;) {
      const token = this.peek();
      if (token === "\\limits" || token === "\\nolimits") {
        limits = token === "\\limits";
      } else if (token === "'") {
        let primes = 1;
        while (this.tokens[this.at + primes] === "'") primes += 1;
        this.at += primes - 1;
        const mark = op(["′", "″", "‴", "⁗"][primes - 1] ?? "′".repeat(primes), { lspace: "0", rspace: "0" });
        sup = sup ? h("mrow", null, sup, mark) : mark;
      } else if (token === "^" && (!sup || isPrime(sup))) {
        this.at += 1;
        const exponent = this.argument();
        sup = sup ? h("mrow", null, sup, exponent) : exponent;
        continue;
      } else if (token === "_" && !sub) {
        this.at += 1;
        sub = this.argument();
        continue;
      } else if (token === "^" || token === "_") {
        throw new MathError(`two “${token}” on one base`);
      } else {
        break;
      }
      this.at += 1;
    }
    return withScripts(base, sub, sup, limits, this.peek());
  }

  atom(before) {
    const token = this.next();
    if (token === "{") {
      const nodes = this.row((t) => t === "}");
      this.expect("}");
      return h("mrow", null, nodes);
    }
    if (token[0] === "\\") return this.command(token.slice(1), before);
    if (/^[\d.]/.test(token) && token !== ".") return h("mn", null, this.letters(token));
    if (/^\p{L}$/u.test(token)) return this.letter(token);
    return character(token, before);
  }

  letters(text) {
    return this.alphabet ? Array.from(text, (c) => T.inAlphabet(c, this.alphabet)).join("") : text;
  }

  letter(c, upright = false) {
    const { alphabet } = this;
    if (alphabet === "mathrm" || (!alphabet && upright)) return h("mi", { mathvariant: "normal" }, c);
    if (!alphabet || alphabet === "mathit") return h("mi", null, c);
    return h("mi", { mathvariant: "normal" }, T.inAlphabet(c, alphabet));
  }

  command(name, before) {
    if (T.LETTERS.has(name)) return this.letter(T.LETTERS.get(name));
    if (T.UPRIGHT.has(name)) return this.letter(T.UPRIGHT.get(name), true);
    if (T.BINARY.has(name)) return binary(T.BINARY.get(name), before);
    if (T.RELATIONS.has(name)) return relation(T.RELATIONS.get(name), name);
    if (T.BIG.has(name)) return as(op(T.BIG.get(name), { movablelimits: "true" }), "limits");
    if (T.INTEGRALS.has(name)) return as(op(T.INTEGRALS.get(name)), "op");
    if (T.FUNCTIONS.has(name)) return functionName(T.FUNCTION_TEXT.get(name) ?? name, T.LIMITS.has(name));
    if (T.SPACES.has(name)) return as(space(T.SPACES.get(name)), "space");
    if (T.ACCENTS.has(name)) return this.accent(name);
    if (T.UNDER_ACCENTS.has(name)) return under(this.argument(), T.UNDER_ACCENTS.get(name));
    if (T.OPENING.has(name)) return bracket(T.OPENING.get(name), "open");
    if (T.CLOSING.has(name)) return bracket(T.CLOSING.get(name), "close");
    if (name === "|" || name === "Vert" || name === "vert" || name === "backslash") return bracket(T.FENCES.get(name), "ord");
    if (ALPHABET_NAMES.has(name)) return this.inAlphabet(ALPHABET_NAMES.get(name));
    if (OLD_FONTS.has(name)) return ((this.alphabet = OLD_FONTS.get(name)), null);
    if (TEXTS.has(name)) return this.text(name);
    if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name](this, before, name);
    return h("mtext", { class: "unknown" }, `\\${name}`);
  }

  inAlphabet(alphabet) {
    const { alphabet: outer } = this;
    this.alphabet = alphabet;
    const node = this.argument();
    this.alphabet = outer;
    return alphabet === "mathrm" ? joinLetters(node) : node;
  }

  accent(name) {
    const [mark, stretchy] = T.ACCENTS.get(name);
    const over = h("mover", { accent: "true" }, this.argument(), op(mark, { stretchy: String(stretchy), lspace: "0", rspace: "0" }));
    return name === "overbrace" || name === "overbracket" ? as(over, "limits") : over;
  }

  // Text keeps its spaces; dollars inside it lead back to mathematics.
  text(name) {
    const parts = this.raw().split(/(?<!\\)\$/);
    const nodes = parts.map((part, i) => {
      if (i % 2) return row(new Parser(part, this.depth).all());
      const words = part.replace(/\\([#$%&_{} ])/g, "$1").replace(/[{}]/g, "").replace(/~/g, " ").replace(/^ +| +$/g, (s) => "\u00a0".repeat(s.length));
      return words && h("mtext", TEXTS.get(name) ? { class: TEXTS.get(name) } : null, words);
    });
    return row(nodes.filter(Boolean));
  }

  delimiter() {
    const token = this.next();
    const name = token.replace(/^\\/, "");
    if (token === ".") return "";
    const found = (token[0] === "\\" || "()[]".includes(token)) ? (T.OPENING.get(name) ?? T.CLOSING.get(name)) : undefined;
    const fence = token === "|" ? "|" : T.FENCES.get(name);
    const text = found ?? fence;
    if (text === undefined) throw new MathError(`“${token}” is no bracket`);
    return text;
  }

  left() {
    const open = this.delimiter();
    const nodes = [];
    for (;;) {
      nodes.push(...this.row((token) => token === "\\middle"));
      const token = this.peek();
      if (token === "\\middle") {
        this.at += 1;
        nodes.push(op(this.delimiter(), { stretchy: "true", fence: "true", lspace: "0.05em", rspace: "0.05em" }));
      } else if (token === "\\right") {
        break;
      } else {
        throw new MathError("\\left has no \\right");
      }
    }
    this.at += 1;
    const close = this.delimiter();
    return h("mrow", null,
      open && op(open, { stretchy: "true", fence: "true", form: "prefix" }), nodes,
      close && op(close, { stretchy: "true", fence: "true", form: "postfix" }));
  }

  environment() {
    const name = this.raw().trim();
    const form = ENVIRONMENTS[name.replace(/\*$/, "")];
    if (!form || !Object.hasOwn(ENVIRONMENTS, name.replace(/\*$/, ""))) throw new MathError(`the environment “${name}” is not known`);
    const columns = name === "array" ? (this.optional(), this.raw()) : null;
    if (/^alignat/.test(name)) this.raw();
    const rows = this.rows();
    this.expect("\\end");
    const end = this.raw().trim();
    if (end !== name) throw new MathError(`\\begin{${name}} ends as “${end}”`);
    return table(rows, form, columns);
  }

  /** Rows of cells up to an \end or a brace; `lines` are the rows that have a rule above them. */
  rows() {
    const rows = [[]];
    const lines = new Set();
    for (;;) {
      while (this.peek() === "\\hline") {
        this.at += 1;
        lines.add(rows.length - 1);
      }
      rows[rows.length - 1].push(this.row(() => false));
      const token = this.peek();
      if (token === "&") {
        this.at += 1;
      } else if (token === "\\\\" || token === "\\cr") {
        this.at += 1;
        if (this.tokens[this.at] === "[") this.optional();
        rows.push([]);
      } else {
        break;
      }
    }
    const last = rows[rows.length - 1];
    if (rows.length > 1 && last.length === 1 && last[0].length === 0) rows.pop();
    return { rows, lines };
  }
}

// ---- atoms ------------------------------------------------------------------------------------------------------

function character(c, before) {
  switch (c) {
    case "-": return binary("−", before);
    case "+": return binary("+", before);
    case "*": return binary("∗", before);
    case "/": return op("/", { stretchy: "false", lspace: "0", rspace: "0" });
    case "=": case "<": case ">": case "≤": case "≥": case "≠": case "≈": case "→": case "∈": return as(op(c), "rel");
    case ":": return as(op(":"), "rel");
    case ",": case ";": return as(op(c, { separator: "true" }), "punct");
    case "(": case "[": return bracket(c, "open");
    case ")": case "]": return bracket(c, "close");
    case "|": return bracket("|", "ord");
    case "!": return op("!", { lspace: "0", rspace: "0" });
    case "~": return as(space(0.25), "space");
    case "#": case "$": throw new MathError(`“${c}” cannot stand here`);
    default: return /^[\p{S}\p{P}]$/u.test(c) ? op(c, { lspace: "0", rspace: "0" }) : h("mtext", null, c);
  }
}

const SIGN_AFTER = new Set(["start", "bin", "rel", "open", "punct", "op", "limits"]);

function binary(text, before) {
  if (SIGN_AFTER.has(classOf(before))) return op(text, { form: "prefix", lspace: "0", rspace: "0" });
  return as(op(text, { form: "infix", lspace: "0.2222em", rspace: "0.2222em", stretchy: "false" }), "bin");
}

function relation(text, name) {
  if (name === "colon") return as(op(":", { lspace: "0", rspace: "0.2778em" }), "punct");
  return as(op(text, { stretchy: "false", form: "infix", lspace: "0.2778em", rspace: "0.2778em" }), "rel");
}

function bracket(text, kind) {
  return as(op(text, { stretchy: "false", fence: "true", lspace: "0", rspace: "0", form: kind === "close" ? "postfix" : "prefix" }), kind);
}

function functionName(text, limits) {
  if (limits) return as(op(text, { movablelimits: "true", form: "prefix", lspace: "0.1667em", rspace: "0.1667em" }), "limits");
  return as(h("mi", { mathvariant: "normal" }, text), "function");
}

function isPrime(node) {
  return node.tag === "mo" && /^[′″‴⁗]+$/.test(node.children[0]);
}

function withScripts(base, sub, sup, limits, following) {
  let node = base;
  if (sub || sup) {
    const parts = [base, sub, sup].filter(Boolean);
    const tag = limits ? (sub && sup ? "munderover" : sub ? "munder" : "mover") : sub && sup ? "msubsup" : sub ? "msub" : "msup";
    node = as(h(tag, null, parts), classOf(base) === "limits" && !limits ? "op" : classOf(base));
  }
  // "sin x" needs a gap that "sin(x)" does not.
  if (classOf(base) !== "function" || following === undefined || /^(?:[()[\]{}^_&,;.|+=/-]|\\(?:left|big\w*|right|[,;:!})\]]|\\|end|cdot|times|quad))$/.test(following)) return node;
  return as(h("mrow", null, node, space(0.1667)), "op");
}

function under(base, mark) {
  return as(h("munder", { accentunder: "true" }, base, op(mark, { stretchy: "true", lspace: "0", rspace: "0" })), "limits");
}

// \mathrm{kg} is one word, not three variables.
function joinLetters(node) {
  if (node.tag !== "mrow" || node.children.length === 0 || !node.children.every((c) => c.tag === "mi")) return node;
  return h("mi", { mathvariant: "normal" }, node.children.map((c) => c.children[0]).join(""));
}

const fraction = (above, below, attrs) => h("mfrac", attrs, above, below);
const binomial = (above, below) =>
  h("mrow", null, op("(", { stretchy: "true", form: "prefix" }), fraction(above, below, { linethickness: "0" }), op(")", { stretchy: "true", form: "postfix" }));

const INFIX = new Map([["\\over", (a, b) => fraction(a, b)], ["\\choose", binomial], ["\\atop", (a, b) => fraction(a, b, { linethickness: "0" })]]);

const STYLES = new Map([
  ["\\displaystyle", { displaystyle: "true", scriptlevel: "0" }], ["\\textstyle", { displaystyle: "false", scriptlevel: "0" }],
  ["\\scriptstyle", { displaystyle: "false", scriptlevel: "1" }], ["\\scriptscriptstyle", { displaystyle: "false", scriptlevel: "2" }],
]);

const ALPHABET_NAMES = new Map([
  ["mathbf", "mathbf"], ["bold", "mathbf"], ["boldsymbol", "boldsymbol"], ["bm", "boldsymbol"], ["pmb", "boldsymbol"], ["mathbb", "mathbb"],
  ["Bbb", "mathbb"], ["mathrm", "mathrm"], ["mathup", "mathrm"], ["mathnormal", "mathit"], ["mathit", "mathit"], ["mathcal", "mathcal"],
  ["mathscr", "mathcal"], ["mathfrak", "mathfrak"], ["mathsf", "mathsf"], ["mathtt", "mathtt"],
]);
const OLD_FONTS = new Map([["rm", "mathrm"], ["bf", "mathbf"], ["it", "mathit"], ["cal", "mathcal"], ["sf", "mathsf"], ["tt", "mathtt"]]);
const TEXTS = new Map([
  ["text", null], ["textrm", null], ["textnormal", null], ["mbox", null], ["hbox", null], ["textup", null], ["textbf", "bold"], ["textit", "italic"],
  ["emph", "italic"], ["texttt", "mono"], ["textsf", null], ["mathchar", null],
]);

// ---- commands ---------------------------------------------------------------------------------------------------

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

// Arrows that grow with what is written over them.
const arrow = (mark) => (p) => {
  const below = p.optional();
  const over = h("mpadded", { lspace: "0.4em", width: "+0.8em" }, p.argument());
  const head = op(mark, { stretchy: "true", lspace: "0.2778em", rspace: "0.2778em" });
  if (below === null) return as(h("mover", null, head, over), "rel");
  return as(h("munderover", null, head, row(new Parser(below, p.depth).all()), over), "rel");
};

const big = (size, kind) => (p) => {
  const text = p.delimiter();
  if (!text) return null;
  const attrs = { stretchy: "true", symmetric: "true", minsize: `${size}em`, maxsize: `${size}em`, fence: "true", lspace: "0", rspace: "0" };
  return as(op(text, kind === "rel" ? { ...attrs, lspace: "0.2778em", rspace: "0.2778em" } : attrs), kind);
};

const COMMANDS = {
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
    return degree === null ? h("msqrt", null, p.argument()) : h("mroot", null, p.argument(), row(new Parser(degree, p.depth).all()));
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
  if (!match) throw new MathError(`“${text}” is no length`);
  const em = Number.parseFloat(match[1]) * UNITS[match[2]];
  return as(space(Math.max(-4, Math.min(em, 20)).toFixed(3)), "space");
}

function bareLength(p) {
  let text = "";
  while (p.peek() !== undefined && text.length < 12 && !/[a-z]{2}$/.test(text)) text += p.next();
  return length(text);
}

// ---- tables -----------------------------------------------------------------------------------------------------

const ENVIRONMENTS = {
  matrix: {}, smallmatrix: { small: true }, pmatrix: { open: "(", close: ")" }, bmatrix: { open: "[", close: "]" }, Bmatrix: { open: "{", close: "}" },
  vmatrix: { open: "|", close: "|" }, Vmatrix: { open: "‖", close: "‖" }, array: {}, cases: { open: "{", align: "left" }, dcases: { open: "{", align: "left", display: true },
  rcases: { close: "}", align: "left" }, align: { align: "pairs", display: true }, aligned: { align: "pairs", display: true }, alignat: { align: "pairs", display: true },
  alignedat: { align: "pairs", display: true }, split: { align: "pairs", display: true }, eqnarray: { align: "pairs", display: true }, gather: { display: true },
  gathered: { display: true }, multline: { display: true }, equation: { display: true }, subarray: {}, displaymath: { display: true }, math: {},
};

function table({ rows, lines }, form, columns) {
  const alignments = columns === null ? null : [...columns.replace(/\{[^}]*\}|[^lcr|]/g, "").replace(/\|/g, "")];
  const bars = columns === null ? null : barsBefore(columns);
  const tag = rows.flat(2).find((node) => node.tag === "tag");
  const width = Math.max(...rows.map((cells) => cells.length));
  const body = rows.map((cells, i) => h("mtr", null, Array.from({ length: width }, (_, j) => {
    const kinds = [alignment(form, alignments, j)];
    if (lines.has(i)) kinds.push("line-above");
    if (lines.has(rows.length) && i === rows.length - 1) kinds.push("line-below");
    if (bars?.has(j)) kinds.push("line-before");
    if (bars?.has(j + 1) && j === width - 1) kinds.push("line-after");
    const nodes = (cells[j] ?? []).filter((node) => node.tag !== "tag");
    // The empty group before a relation keeps its spacing at the start of a cell.
    return h("mtd", { class: kinds.filter(Boolean).join(" ") || null }, form.align === "pairs" && j % 2 ? h("mrow", null, h("mrow"), nodes) : row(nodes));
  })));
  const kind = form.align === "pairs" ? "pairs" : form.small ? "small" : form.align === "left" ? "cases" : form.display ? "gather" : "matrix";
  const inner = h("mtable", { class: kind, displaystyle: form.display ? "true" : null }, body);
  const out = !form.open && !form.close ? inner : h("mrow", null,
    form.open && op(form.open, { stretchy: "true", fence: "true", form: "prefix" }), inner,
    form.close && op(form.close, { stretchy: "true", fence: "true", form: "postfix" }));
  if (!tag) return out;
  return h("mrow", null, out, space(2), h("mtext", null, `(${tag.text})`));
}

function alignment(form, alignments, column) {
  if (alignments) return { l: "left", r: "right" }[alignments[column]] ?? null;
  if (form.align === "pairs") return column % 2 ? "left" : "right";
  return form.align ?? null;
}

function barsBefore(columns) {
  const bars = new Set();
  let column = 0;
  for (const c of columns.replace(/\{[^}]*\}/g, "")) {
    if (c === "|") bars.add(column);
    else if ("lcr".includes(c)) column += 1;
  }
  return bars;
}
