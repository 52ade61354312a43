// The atoms of a formula: the MathML of a symbol, and its spacing, which depends on the atom before it.

import { h } from "../vnode.js";

/** A parse error; the message gives the reason. */
export class MathError extends Error {}

export const row = (nodes) => (nodes.length === 1 ? nodes[0] : h("mrow", null, nodes));
export const space = (em) => h("mspace", { width: `${em}em` });
export const op = (text, attrs) => h("mo", attrs, text);

// TeX's atom classes, which determine spacing: a minus after a relation is a sign, not an operator.
const classes = new WeakMap();
export const as = (node, kind) => (classes.set(node, kind), node);
export const classOf = (node) => (node ? (classes.get(node) ?? "ord") : "start");

export function character(c, before) {
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
    case "#": case "$": throw new MathError(`“${c}” is not allowed here`);
    default: return /^[\p{S}\p{P}]$/u.test(c) ? op(c, { lspace: "0", rspace: "0" }) : h("mtext", null, c);
  }
}

const SIGN_AFTER = new Set(["start", "bin", "rel", "open", "punct", "op", "limits"]);

export function binary(text, before) {
  if (SIGN_AFTER.has(classOf(before))) return op(text, { form: "prefix", lspace: "0", rspace: "0" });
  return as(op(text, { form: "infix", lspace: "0.2222em", rspace: "0.2222em", stretchy: "false" }), "bin");
}

export function relation(text, name) {
  if (name === "colon") return as(op(":", { lspace: "0", rspace: "0.2778em" }), "punct");
  return as(op(text, { stretchy: "false", form: "infix", lspace: "0.2778em", rspace: "0.2778em" }), "rel");
}

export function bracket(text, kind) {
  return as(op(text, { stretchy: "false", fence: "true", lspace: "0", rspace: "0", form: kind === "close" ? "postfix" : "prefix" }), kind);
}

export function functionName(text, limits) {
  if (limits) return as(op(text, { movablelimits: "true", form: "prefix", lspace: "0.1667em", rspace: "0.1667em" }), "limits");
  return as(h("mi", { mathvariant: "normal" }, text), "function");
}

export function isPrime(node) {
  return node.tag === "mo" && /^[′″‴⁗]+$/.test(node.children[0]);
}

export function withScripts(base, sub, sup, limits, following) {
  let node = base;
  if (sub || sup) {
    const parts = [base, sub, sup].filter(Boolean);
    const tag = limits ? (sub && sup ? "munderover" : sub ? "munder" : "mover") : sub && sup ? "msubsup" : sub ? "msub" : "msup";
    node = as(h(tag, null, parts), classOf(base) === "limits" && !limits ? "op" : classOf(base));
  }
  // "sin x" needs a space; "sin(x)" does not.
  if (classOf(base) !== "function" || following === undefined || /^(?:[()[\]{}^_&,;.|+=/-]|\\(?:left|big\w*|right|[,;:!})\]]|\\|end|cdot|times|quad))$/.test(following)) return node;
  return as(h("mrow", null, node, space(0.1667)), "op");
}

export function under(base, mark) {
  return as(h("munder", { accentunder: "true" }, base, op(mark, { stretchy: "true", lspace: "0", rspace: "0" })), "limits");
}

// \mathrm{kg} is one word, not two variables.
export function joinLetters(node) {
  if (node.tag !== "mrow" || node.children.length === 0 || !node.children.every((c) => c.tag === "mi")) return node;
  return h("mi", { mathvariant: "normal" }, node.children.map((c) => c.children[0]).join(""));
}
