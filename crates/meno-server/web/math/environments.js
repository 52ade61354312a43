// Matrices, alignments and other environments with rows and cells.

import { h } from "../vnode.js";
import { fenced } from "./font-fallback.js";
import { row, space } from "./atoms.js";

/** By name: the brackets around an environment and the alignment of its cells. */
export const ENVIRONMENTS = {
  matrix: {}, smallmatrix: { small: true }, pmatrix: { open: "(", close: ")" }, bmatrix: { open: "[", close: "]" }, Bmatrix: { open: "{", close: "}" },
  vmatrix: { open: "|", close: "|" }, Vmatrix: { open: "‖", close: "‖" }, array: {}, cases: { open: "{", align: "left" }, dcases: { open: "{", align: "left", display: true },
  rcases: { close: "}", align: "left" }, align: { align: "pairs", display: true }, aligned: { align: "pairs", display: true }, alignat: { align: "pairs", display: true },
  alignedat: { align: "pairs", display: true }, split: { align: "pairs", display: true }, eqnarray: { align: "pairs", display: true }, gather: { display: true },
  gathered: { display: true }, multline: { display: true }, equation: { display: true }, subarray: {}, displaymath: { display: true }, math: {},
};

/** Renders rows of cells; `columns` is the argument of \begin{array}, or null. */
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
    // An empty group before a relation at the start of a cell keeps the relation's spacing.
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
