// Mathematics without a mathematical font: browsers then stretch neither brackets nor roots. Where that is so, the style
// sheet draws them (text.css, data-math="plain"), and roots become rows that it can draw.

import { h, patch } from "../vnode.js";

let plain = false;

/** Finds out whether this browser stretches brackets with the fonts it has, and draws accordingly from now on. */
export function findStretching() {
  const probe = document.createElement("div");
  probe.className = "unseen text";
  document.body.append(probe);
  patch(probe, h("math", null, h("mrow", null, h("mo", { stretchy: "true", form: "prefix" }, "("), h("mspace", { width: "1em", height: "4em", depth: "4em" }))));
  const [bracket, space] = probe.querySelector("mrow").children;
  const stretched = bracket.getBoundingClientRect().height > space.getBoundingClientRect().height * 0.8;
  probe.remove();
  drawPlain(!stretched);
}

/** Whether brackets and roots are drawn without the font's help. */
export function drawPlain(on) {
  plain = on;
  if (typeof document === "undefined") return;
  if (on) document.documentElement.dataset.math = "plain";
  else delete document.documentElement.dataset.math;
}

const SHAPES = new Map([
  ["(", "paren"], [")", "paren"], ["[", "square"], ["]", "square"], ["{", "brace"], ["}", "brace"], ["|", "bar"], ["‖", "double"], ["⟨", "angle"], ["⟩", "angle"],
  ["⌊", "floor"], ["⌋", "floor"], ["⌈", "ceil"], ["⌉", "ceil"],
]);

/** What stands between two brackets that grow with it; an empty bracket is none. */
export function fenced(open, inside, close) {
  const shapes = [[open, "l"], [close, "r"]].filter(([text]) => SHAPES.has(text)).map(([text, side]) => `${side}-${SHAPES.get(text)}`);
  const fence = (text, form, side) => text && h("mo", { class: SHAPES.has(text) ? `fence ${side}` : null, stretchy: "true", fence: "true", form }, text);
  return h("mrow", shapes.length > 0 ? { class: `fenced ${shapes.join(" ")}` } : null, fence(open, "prefix", "l"), inside, fence(close, "postfix", "r"));
}

/** A root; `degree` is null for a square root. */
export function root(radicand, degree = null) {
  if (!plain) return degree === null ? h("msqrt", null, radicand) : h("mroot", null, radicand, degree);
  const drawn = h("mrow", { class: "root" }, radicand);
  return degree === null ? drawn : h("mrow", null, h("msup", { class: "degree" }, h("mrow"), degree), drawn);
}

/** What stands below or above a brace as wide as it is; null where the font draws the brace. */
export function braced(name, inside) {
  return plain && /^(?:over|under)(?:brace|bracket)$/.test(name) ? h("mrow", { class: name.startsWith("over") ? "braced-over" : "braced-under" }, inside) : null;
}
