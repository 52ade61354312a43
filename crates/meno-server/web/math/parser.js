// A recursive-descent parser from TeX to MathML.

import { h } from "../vnode.js";
import * as T from "./symbols.js";
import { braced, fenced } from "./font-fallback.js";
import { MathError, as, binary, bracket, character, classOf, functionName, isPrime, joinLetters, op, relation, row, space, under, withScripts } from "./atoms.js";
import { ALPHABET_NAMES, COMMANDS, INFIX, OLD_FONTS, STYLES, TEXTS } from "./commands.js";
import { ENVIRONMENTS, table } from "./environments.js";
import { tokenize } from "./tokenizer.js";

const MAX_DEPTH = 120;

/** Parses one formula into MathML nodes. Throws MathError. */
export class Parser {
  constructor(tex, depth = 0) {
    this.tokens = tokenize(tex);
    this.at = 0;
    this.depth = depth;
    this.alphabet = null;
    this.display = false;
  }

  /** Parses the whole formula. Rows and columns at the top level become an alignment. */
  all() {
    const grid = this.rows();
    if (this.at < this.tokens.length) throw new MathError(`“${this.tokens[this.at]}” has no partner`);
    if (grid.rows.length === 1 && grid.rows[0].length === 1) return grid.rows[0][0];
    return [table(grid, ENVIRONMENTS[grid.rows.some((cells) => cells.length > 1) ? "aligned" : "gathered"], null)];
  }

  /** Parses a formula that was read as raw text from inside this one. */
  inner(tex) {
    return new Parser(tex, this.depth).all();
  }

  /** The next token that is not a space, without consuming it. */
  peek() {
    while (this.tokens[this.at] === " ") this.at += 1;
    return this.tokens[this.at];
  }

  next() {
    const token = this.peek();
    if (token === undefined) throw new MathError("it ends unexpectedly");
    this.at += 1;
    return token;
  }

  expect(token) {
    const got = this.next();
    if (got !== token) throw new MathError(`“${token}” was expected, not “${got}”`);
  }

  /** Parses nodes up to the token for which `stops` returns true; does not consume that token. */
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

  /** Parses an argument: a group in braces or one token. */
  argument() {
    if (this.peek() !== "{") {
      const digits = this.peek() ?? "";
      if (/^\d./.test(digits)) {
        // An argument is one digit: \frac12 is 1/2, x^23 is x²3.
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

  /** Reads the text inside braces verbatim. */
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

  /** Reads an optional argument in square brackets verbatim, or returns null. */
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
    if (!/^(?:[a-zA-Z]{3,20}|#[0-9a-fA-F]{3,8})$/.test(name)) throw new MathError(`“${name}” is not a colour`);
    return name;
  }

  /** Parses an atom with its scripts and primes. */
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
    if (T.BIG.has(name)) return as(op(T.BIG.get(name), { class: "large", movablelimits: "true" }), "limits");
    if (T.INTEGRALS.has(name)) return as(op(T.INTEGRALS.get(name), { class: "large" }), "op");
    if (T.FUNCTIONS.has(name)) return functionName(T.FUNCTION_TEXT.get(name) ?? name, T.LIMITS.has(name));
    if (T.SPACES.has(name)) return as(space(T.SPACES.get(name)), "space");
    if (T.ACCENTS.has(name)) return this.accent(name);
    if (T.UNDER_ACCENTS.has(name)) return this.underAccent(name);
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
    const base = this.argument();
    const drawn = braced(name, base);
    if (drawn) return as(drawn, "limits");
    const over = h("mover", { accent: "true" }, base, op(mark, { stretchy: String(stretchy), lspace: "0", rspace: "0" }));
    return name === "overbrace" || name === "overbracket" ? as(over, "limits") : over;
  }

  underAccent(name) {
    const base = this.argument();
    const drawn = braced(name, base);
    return drawn ? as(drawn, "limits") : under(base, T.UNDER_ACCENTS.get(name));
  }

  // \text keeps its spaces; dollars inside it switch back to mathematics.
  text(name) {
    const parts = this.raw().split(/(?<!\\)\$/);
    const nodes = parts.map((part, i) => {
      if (i % 2) return row(this.inner(part));
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
    if (text === undefined) throw new MathError(`“${token}” is not a bracket`);
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
    return fenced(open, nodes, close);
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

  /** Parses rows of cells up to \end or a brace. `lines` holds the indices of the rows with a rule above. */
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
