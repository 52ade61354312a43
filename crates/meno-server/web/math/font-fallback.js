// Mathematics without a mathematical font, where browsers stretch neither brackets nor roots. The style sheet then
// draws them (text.css, data-math="plain"), and roots become rows that it can draw.

import { h, patch } from "../vnode.js";

let plain = false;

/** Measures if this browser stretches brackets with the installed fonts, and sets the fallback accordingly. */
export function detectMathFont() {
  const probe = document.createElement("div");
  probe.className = "unseen text";
  document.body.append(probe);
  patch(probe, h("math", null, h("mrow", null, h("mo", { stretchy: "true", form: "prefix" }, "("), h("mspace", { width: "1em", height: "4em", depth: "4em" }))));
  const [bracket, space] = probe.querySelector("mrow").children;
  const stretched = bracket.getBoundingClientRect().height > space.getBoundingClientRect().height * 0.8;
  probe.remove();
  useFontFallback(!stretched);
}

/** Turns the fallback on or off. */
export function useFontFallback(on) {
  plain = on;
  if (typeof document === "undefined") return;
  if (on) document.documentElement.dataset.math = "plain";
  else delete document.documentElement.dataset.math;
}

const SHAPES = new Map([
  ["(", "paren"], [")", "paren"], ["[", "square"], ["]", "square"], ["{", "brace"], ["}", "brace"], ["|", "bar"], ["‖", "double"], ["⟨", "angle"], ["⟩", "angle"],
  ["⌊", "floor"], ["⌋", "floor"], ["⌈", "ceil"], ["⌉", "ceil"],
]);

/** Renders content between two stretching brackets; an empty string is no bracket. */
export function fenced(open, inside, close) {
  const shapes = [[open, "l"], [close, "r"]].filter(([text]) => SHAPES.has(text)).map(([text, side]) => `${side}-${SHAPES.get(text)}`);
  const fence = (text, form, side) => text && h("mo", { class: SHAPES.has(text) ? `fence ${side}` : null, stretchy: "true", fence: "true", form }, text);
  return h("mrow", shapes.length > 0 ? { class: `fenced ${shapes.join(" ")}` } : null, fence(open, "prefix", "l"), inside, fence(close, "postfix", "r"));
}

/** Renders a root; `degree` is null for a square root. */
export function root(radicand, degree = null) {
  if (!plain) return degree === null ? h("msqrt", null, radicand) : h("mroot", null, radicand, degree);
  const drawn = h("mrow", { class: "root" }, radicand);
  return degree === null ? drawn : h("mrow", null, h("msup", { class: "degree" }, h("mrow"), degree), drawn);
}

/** Renders content with a brace above or below; null if the font can draw the brace. */
export function braced(name, inside) {
  return plain && /^(?:over|under)(?:brace|bracket)$/.test(name) ? h("mrow", { class: name.startsWith("over") ? "braced-over" : "braced-under" }, inside) : null;
}
