// The pieces of a formula: what a symbol becomes in MathML, how it is spaced by what stands before it, tables.

import { h } from "../vnode.js";
import * as T from "./symbols.js";
import { fenced } from "./plain.js";

/** A formula that does not parse; the message says why. */
export class MathError extends Error {}

export const row = (nodes) => (nodes.length === 1 ? nodes[0] : h("mrow", null, nodes));
export const space = (em) => h("mspace", { width: `${em}em` });
export const op = (text, attrs) => h("mo", attrs, text);

// What a node is to its neighbours, as TeX's classes: a minus after a relation is a sign, not an operation.
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
    case "#": case "$": throw new MathError(`“${c}” cannot stand here`);
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
  // "sin x" needs a gap that "sin(x)" does not.
  if (classOf(base) !== "function" || following === undefined || /^(?:[()[\]{}^_&,;.|+=/-]|\\(?:left|big\w*|right|[,;:!})\]]|\\|end|cdot|times|quad))$/.test(following)) return node;
  return as(h("mrow", null, node, space(0.1667)), "op");
}

export function under(base, mark) {
  return as(h("munder", { accentunder: "true" }, base, op(mark, { stretchy: "true", lspace: "0", rspace: "0" })), "limits");
}

// \mathrm{kg} is one word, not three variables.
export function joinLetters(node) {
  if (node.tag !== "mrow" || node.children.length === 0 || !node.children.every((c) => c.tag === "mi")) return node;
  return h("mi", { mathvariant: "normal" }, node.children.map((c) => c.children[0]).join(""));
}

// ---- tables -----------------------------------------------------------------------------------------------------

export const ENVIRONMENTS = {
  matrix: {}, smallmatrix: { small: true }, pmatrix: { open: "(", close: ")" }, bmatrix: { open: "[", close: "]" }, Bmatrix: { open: "{", close: "}" },
  vmatrix: { open: "|", close: "|" }, Vmatrix: { open: "‖", close: "‖" }, array: {}, cases: { open: "{", align: "left" }, dcases: { open: "{", align: "left", display: true },
  rcases: { close: "}", align: "left" }, align: { align: "pairs", display: true }, aligned: { align: "pairs", display: true }, alignat: { align: "pairs", display: true },
  alignedat: { align: "pairs", display: true }, split: { align: "pairs", display: true }, eqnarray: { align: "pairs", display: true }, gather: { display: true },
  gathered: { display: true }, multline: { display: true }, equation: { display: true }, subarray: {}, displaymath: { display: true }, math: {},
};

export function table({ rows, lines }, form, columns) {
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
  const out = !form.open && !form.close ? inner : fenced(form.open ?? "", inner, form.close ?? "");
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
