// Links: labels, destinations and titles by CommonMark's rules, and which URLs are safe to follow.

import { h, textOf } from "../vnode.js";
import { unescapeText } from "./entities.js";

/** The URL if it is safe to follow (http, https or mailto), else null. */
export function safeUrl(url) {
  const clean = url.replace(/[\u0000-\u0020\u007f-\u009f\u200b-\u200f\u2028-\u202f\ufeff]/g, "");
  if (/^www\./i.test(clean)) return `https://${clean}`;
  return /^(?:https?:\/\/[^/]|mailto:)/i.test(clean) ? clean : null;
}

/** Renders a link. An unsafe URL renders as text with the URL as its title. */
export function anchor(url, children, title) {
  const href = safeUrl(url);
  if (href) return h("a", { href, title: title || null, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
  return h("span", { class: "unlinked", title: url, "data-title": title || null }, children);
}

/** Renders an image as a link to it, because the page makes no external requests. */
export function picture(url, inside, title) {
  const words = textOf(inside);
  const link = anchor(url, [words || url || "picture"], title);
  return h(link.tag, { ...link.attrs, "data-picture": words }, link.children);
}

// ---- scanners: each returns what is at a position, or null ----------------------------------------------------------

const LABEL = /\[((?:[^\\[\]]|\\[^])*)\]/y;

/** The key under which a label is stored. */
export function normalizeLabel(label) {
  return label.trim().replace(/[ \t\n]+/g, " ").toLowerCase().toUpperCase();
}

/** Reads a label: `{end, label}`. */
export function scanLabel(text, at) {
  LABEL.lastIndex = at;
  const match = LABEL.exec(text);
  return match && match[1].length < 1000 ? { end: at + match[0].length, label: match[1] } : null;
}

const ANGLE = /<((?:[^<>\n\\]|\\.)*)>/y;

/** Reads a destination: `{end, url}`. */
function scanDestination(text, at) {
  if (text[at] === "<") {
    ANGLE.lastIndex = at;
    const match = ANGLE.exec(text);
    return match && { end: at + match[0].length, url: unescapeText(match[1]) };
  }
  let depth = 0;
  let i = at;
  for (; i < text.length; i += 1) {
    const c = text[i];
    if (c === "\\" && /[!-/:-@[-`{-~]/.test(text[i + 1] ?? "")) i += 1;
    else if (c === "(" && (depth += 1) > 32) return null;
    else if (c === ")" && (depth -= 1) < 0) break;
    else if (c <= " " || c === "\u007f") break;
  }
  return depth > 0 ? null : { end: i, url: unescapeText(text.slice(at, i)) };
}

const TITLE = /"((?:[^"\\]|\\[^])*)"|'((?:[^'\\]|\\[^])*)'|\(((?:[^()\\]|\\[^])*)\)/y;

/** Reads a quoted title: `{end, title}`. */
function scanTitle(text, at) {
  TITLE.lastIndex = at;
  const match = TITLE.exec(text);
  return match && { end: at + match[0].length, title: unescapeText(match[1] ?? match[2] ?? match[3]) };
}

const SPACE = /[ \t]*(?:\n[ \t]*)?/y; // at most one line break

function skipSpace(text, at) {
  SPACE.lastIndex = at;
  return at + SPACE.exec(text)[0].length;
}

/** Reads `(destination "title")` after a link's text: `{end, url, title}`. */
export function scanInlineTarget(text, at) {
  if (text[at] !== "(") return null;
  const destination = scanDestination(text, skipSpace(text, at + 1));
  if (!destination) return null;
  let end = skipSpace(text, destination.end);
  const title = end > destination.end ? scanTitle(text, end) : null;
  if (title) end = skipSpace(text, title.end);
  return text[end] === ")" ? { end: end + 1, url: destination.url, title: title?.title } : null;
}

/** Reads the definition `[label]: destination "title"` at the start of `text` into `refs`. Returns its length, or 0. */
export function takeDefinition(text, refs) {
  const label = scanLabel(text, 0);
  if (!label || text[label.end] !== ":" || label.label.trim() === "") return 0;
  const from = skipSpace(text, label.end + 1);
  const destination = scanDestination(text, from);
  if (!destination || destination.end === from) return 0;
  const lineEnd = (at) => /^[ \t]*(?:\n|$)/.exec(text.slice(at, at + 1000))?.[0].length ?? -1;
  const gap = skipSpace(text, destination.end);
  let title = gap > destination.end ? scanTitle(text, gap) : null;
  if (title && lineEnd(title.end) < 0) title = null; // text follows on the same line
  const end = title ? title.end : destination.end;
  if (lineEnd(end) < 0) return 0;
  const name = normalizeLabel(label.label);
  if (!refs.has(name)) refs.set(name, { url: destination.url, title: title?.title });
  return Math.max(end + lineEnd(end), 1);
}

// ---- bare URLs and mail addresses -----------------------------------------------------------------------------------

const URL_AT = /(?:https?:\/\/|www\.)[^\s<>"'`\u3000-\u303f\uff00-\uffef]+/iy;

/** The bare URL at `at`, or null. */
export function bareUrl(text, at) {
  const before = text[at - 1];
  URL_AT.lastIndex = at;
  const match = (before === undefined || !/[\w@/]/.test(before)) && URL_AT.exec(text);
  if (!match) return null;
  const url = trimUrl(match[0]);
  const domain = /^(?:https?:\/\/)?([^/?#:]*)/i.exec(url)[1].split(".");
  if (!(domain.length > 1 || /^localhost$/i.test(domain[0])) || domain.slice(-2).some((part) => part.includes("_"))) return null;
  return safeUrl(url) ? url : null;
}

// Trailing punctuation, closing brackets and character references belong to the sentence, not to the URL.
function trimUrl(url) {
  let end = url.length;
  for (;;) {
    const c = url[end - 1];
    const reference = c === ";" ? /&[a-z0-9]+;$/i.exec(url.slice(Math.max(0, end - 40), end)) : null;
    if (reference) end -= reference[0].length;
    else if (/[?!.,:*_~;'"|\\$\]}]/.test(c)) end -= 1;
    else if (c === ")" && count(url, "(", end) < count(url, ")", end)) end -= 1;
    else return url.slice(0, end);
  }
}

function count(text, c, end) {
  let found = 0;
  for (let i = 0; i < end; i += 1) if (text[i] === c) found += 1;
  return found;
}

const MAIL = /[\w.+-]+@[a-z0-9_-]+(?:\.[a-z0-9_-]+)+/gi;

/** Turns mail addresses in text nodes into links. */
export function linkMailAddresses(nodes) {
  return nodes.flatMap((node) => {
    if (typeof node !== "string") return [/^(?:em|strong|del|span)$/.test(node.tag) && !node.attrs.class ? h(node.tag, node.attrs, linkMailAddresses(node.children)) : node];
    if (!node.includes("@")) return [node];
    const out = [];
    let from = 0;
    for (const match of node.matchAll(MAIL)) {
      const address = match[0].replace(/\.$/, "");
      if (/[_-]$/.test(address)) continue;
      out.push(node.slice(from, match.index), anchor(`mailto:${address}`, [address]));
      from = match.index + address.length;
    }
    return [...out, node.slice(from)].filter(Boolean);
  });
}
