// Writes trees of vnode.js as HTML, for tests only: the page itself never makes HTML from text.

const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
const EMPTY = new Set(["br", "hr", "input", "mspace"]);

export function html(node) {
  if (Array.isArray(node)) return node.map(html).join("");
  if (typeof node === "string") return escape(node);
  const attrs = Object.entries(node.attrs).filter(([name, v]) => name !== "key" && v !== null && v !== undefined && v !== false && typeof v !== "function");
  const open = `<${node.tag}${attrs.map(([name, v]) => (v === true ? ` ${name}` : ` ${name}="${escape(String(v))}"`)).join("")}>`;
  return EMPTY.has(node.tag) ? open : `${open}${html(node.children)}</${node.tag}>`;
}

/** All nodes of a tree, text included. */
export function* walk(node) {
  if (Array.isArray(node)) for (const child of node) yield* walk(child);
  else {
    yield node;
    if (typeof node !== "string") yield* walk(node.children);
  }
}

/** Random texts made of pieces that are hard to parse; the same seed gives the same texts. */
export function* randomTexts(pieces, count, seed) {
  let x = seed;
  const random = (n) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor((x / 2 ** 32) * n);
  };
  for (let i = 0; i < count; i += 1) yield Array.from({ length: 1 + random(24) }, () => pieces[random(pieces.length)]).join("");
}
