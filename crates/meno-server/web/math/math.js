// Renders TeX mathematics as MathML, which browsers draw natively. Covers what models write: fractions, roots, scripts,
// big operators, stretching brackets, matrices and alignments, accents, alphabets, text, boxes. An unknown command is
// shown as written; a formula that does not parse is shown as its source.

import { h } from "../vnode.js";
import { MathError, row } from "./atoms.js";
import { Parser } from "./parser.js";

/** Renders a formula. `display` makes it a block; `open` is true while it streams, which hides parse errors. */
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
  const math = h("math", { display: display ? "block" : null, dir: "ltr" },
    h("semantics", null, row(body), h("annotation", { encoding: "application/x-tex" }, tex)));
  if (!display) return math;
  if (!tag) return h("div", { class: "math display", tabindex: "0" }, math);
  return h("div", { class: "math tagged" }, h("div", { class: "math display", tabindex: "0" }, math), h("span", null, `(${tag.text})`));
}
