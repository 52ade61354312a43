// Inline Markdown: CommonMark's emphasis, code and links; GFM's strikethrough, bare URLs and footnotes; TeX between
// dollars or \( \). Raw HTML is shown as text, except <br>, <sub> and <sup>.

import { h } from "../vnode.js";
import { renderMath } from "../math/math.js";
import { closeOpenRuns, resolveEmphasis, readRun } from "./emphasis.js";
import { readReference } from "./entities.js";
import { anchor, bareUrl, linkMailAddresses, normalizeLabel, picture, scanInlineTarget, scanLabel } from "./links.js";

const ESCAPABLE = /[!-/:-@[-`{-~]/;
const PLAIN = /[^\\`*_~$<&![\]\nwhWH]+/y;

/**
 * Renders the text of one block. `options.refs` holds the link definitions, `options.notes` the footnotes;
 * `options.breaks` keeps line breaks; `options.open` means that more text will come: open constructs render as closed.
 */
export function renderInline(text, options = {}) {
  const state = { text, at: 0, options, nodes: [], delimiters: [], brackets: [] };
  while (state.at < text.length) step(state);
  if (options.open) closeOpenRuns(state);
  return joinPunctuation(linkMailAddresses(resolveEmphasis(state, 0)));
}

function step(state) {
  const { text, at } = state;
  PLAIN.lastIndex = at;
  const plain = PLAIN.exec(text);
  if (plain) return push(state, plain[0], plain[0].length);
  const c = text[at];
  switch (c) {
    case "\\": return escape(state);
    case "`": return code(state);
    case "$": return dollars(state);
    case "*": case "_": case "~": return delimiterRun(state, c);
    case "<": return angle(state);
    case "&": return reference(state);
    case "!": return text[at + 1] === "[" && text[at + 2] !== "^" ? openBracket(state, "![") : push(state, c, 1);
    case "[": return text[at + 1] === "^" && footnote(state) ? undefined : openBracket(state, "[");
    case "]": return closeBracket(state);
    case "\n": return lineEnd(state);
    case "h": case "w": case "H": case "W": return address(state, c);
    default: return push(state, c, 1);
  }
}

function push(state, node, length) {
  const { nodes } = state;
  const last = nodes.length - 1;
  // Adjacent plain text is merged. A delimiter is an object, so text never merges into one.
  if (typeof node === "string" && typeof nodes[last] === "string") nodes[last] += node;
  else nodes.push(node);
  state.at += length;
}

function escape(state) {
  const { text, at, options } = state;
  const next = text[at + 1];
  if (next === "(" || next === "[") {
    const close = text.indexOf(next === "(" ? "\\)" : "\\]", at + 2);
    if (close > 0 && /[\p{L}\p{N}]/u.test(text.slice(at + 2, close))) return push(state, renderMath(text.slice(at + 2, close), next === "["), close + 2 - at);
    if (close < 0 && options.open) return push(state, renderMath(text.slice(at + 2), next === "[", true), text.length - at);
  }
  if (next === "b" || next === "f") {
    const end = boxEnd(text, at);
    if (end > 0) return push(state, renderMath(text.slice(at, end), false), end - at);
    if (end === 0 && options.open) return push(state, renderMath(text.slice(at), false, true), text.length - at);
  }
  if (next === "\n") {
    push(state, h("br"), 2);
    while (text[state.at] === " ") state.at += 1;
    return;
  }
  if (next !== undefined && ESCAPABLE.test(next)) return push(state, next, 2);
  push(state, "\\", 1);
}

/** The end of the \boxed{…} at `at`; 0 if it is not closed, −1 if there is none. Also works outside dollars. */
export function boxEnd(text, at) {
  const box = /^\\(?:boxed|fbox)\s*\{/.exec(text.slice(at, at + 40));
  if (!box) return -1;
  let depth = 1;
  for (let i = at + box[0].length; i < text.length; i += 1) {
    if (text[i] === "\\") i += 1;
    else if (text[i] === "{") depth += 1;
    else if (text[i] === "}" && (depth -= 1) === 0) return i + 1;
  }
  return 0;
}

function code(state) {
  const { text, at, options } = state;
  let run = 1;
  while (text[at + run] === "`") run += 1;
  const fence = /`+/g;
  fence.lastIndex = at + run;
  let end = -1;
  for (let match = fence.exec(text); match; match = fence.exec(text)) {
    if (match[0].length === run) {
      end = match.index;
      break;
    }
  }
  if (end < 0 && !(options.open && text.length > at + run)) return push(state, "`".repeat(run), run);
  let inner = text.slice(at + run, end < 0 ? text.length : end).replace(/\n/g, " ");
  if (end < 0) inner = inner.replace(/`+$/, "");
  if (/^ .*[^ ].* $|^ [^ ] $/.test(inner)) inner = inner.slice(1, -1);
  push(state, h("code", null, inner), (end < 0 ? text.length : end + run) - at);
}

// Pandoc's rule separates formulas from prices: no space after the opening dollar, no space before the closing one, no
// digit after it.
function dollars(state) {
  const { text, at, options } = state;
  if (text[at + 1] === "$") {
    const close = text.indexOf("$$", at + 2);
    if (close > at + 2) return push(state, renderMath(text.slice(at + 2, close), true), close + 2 - at);
    if (options.open && text.length > at + 2) {
      return push(state, renderMath(text.slice(at + 2).replace(/\$$/, ""), true, true), text.length - at);
    }
    return push(state, "$$", 2);
  }
  const close = closingDollar(text, at);
  if (close > 0) return push(state, renderMath(text.slice(at + 1, close), false), close + 1 - at);
  const rest = text.slice(at + 1);
  // A formula that is still streaming is recognized by a character that only TeX uses.
  if (options.open && /^[^\s$]/.test(rest) && !rest.includes("$") && /[\\^_{]/.test(rest)) {
    return push(state, renderMath(rest, false, true), text.length - at);
  }
  push(state, "$", 1);
}

function closingDollar(text, at) {
  if (text[at + 1] === undefined || /\s/.test(text[at + 1])) return -1;
  for (let i = at + 1; i < text.length; i += 1) {
    if (text[i] === "\\") i += 1;
    else if (text[i] === "`" || (text[i] === "\n" && /^\s*\n/.test(text.slice(i + 1, i + 80)))) return -1;
    else if (text[i] === "$") return !/\s/.test(text[i - 1]) && !/\d/.test(text[i + 1] ?? "") ? i : -1;
  }
  return -1;
}

const AUTOLINK = /<([a-z][a-z0-9+.-]{1,31}:[^\s<>]*)>/iy;
const MAIL = /<([\w.!#$%&'*+/=?^`{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)>/iy;
const KNOWN = /<(?:(br)\s*\/?|(su[bp])>([^<\n]{1,200})<\/(su[bp]))>/iy;
const RAW = /<(?:[a-z][a-z0-9-]*(?:\s+[a-z_:][\w.:-]*(?:\s*=\s*(?:[^"'=<>`\s]+|'[^']*'|"[^"]*"))?)*\s*\/?|\/[a-z][a-z0-9-]*\s*|!---?|!--[^]*?--|\?[^]*?\?|![a-z][^>]*|!\[CDATA\[[^]*?\]\])>/iy;

function angle(state) {
  const { text, at } = state;
  const match = (pattern) => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  const mail = match(MAIL);
  if (mail) return push(state, anchor(`mailto:${mail[1]}`, [mail[1]]), mail[0].length);
  const link = match(AUTOLINK);
  if (link) return push(state, anchor(link[1], [link[1]]), link[0].length);
  const known = match(KNOWN);
  if (known?.[1]) return push(state, h("br"), known[0].length);
  if (known && known[2].toLowerCase() === known[4].toLowerCase()) {
    return push(state, h(known[2].toLowerCase(), null, known[3]), known[0].length);
  }
  const raw = match(RAW);
  if (raw) return push(state, h("span", { class: "raw" }, raw[0]), raw[0].length);
  push(state, "<", 1);
}

function reference(state) {
  const [length, characters] = readReference(state.text.slice(state.at, state.at + 40)) ?? [1, "&"];
  push(state, characters, length);
}

function lineEnd(state) {
  const { text, at, nodes, options } = state;
  const last = nodes.length - 1;
  const hard = typeof nodes[last] === "string" && / {2,}$/.test(nodes[last]);
  if (typeof nodes[last] === "string") nodes[last] = nodes[last].replace(/ +$/, "");
  let length = 1;
  while (text[at + length] === " " || text[at + length] === "\t") length += 1;
  push(state, hard || options.breaks ? h("br") : "\n", length);
}

function address(state, c) {
  const url = state.brackets.some((bracket) => bracket.active && bracket.kind === "[") ? null : bareUrl(state.text, state.at);
  if (url === null) return push(state, c, 1);
  push(state, anchor(url, [url]), url.length);
}

const NOTE = /\[\^([^\]\s[]{1,64})\]/y;

// While a text streams, a reference to a footnote that has not arrived yet renders as one.
function footnote(state) {
  const { text, at, options } = state;
  NOTE.lastIndex = at;
  const match = NOTE.exec(text);
  const note = match && options.notes?.get(normalizeLabel(match[1]));
  if (!note && !(match && options.open)) return false;
  const mark = note
    ? h("a", { class: "note-mark", id: note.seen ? null : `${note.id}-mark`, href: `#${note.id}`, "data-jump": note.id, "aria-label": `Footnote ${note.number}` }, String(note.number))
    : match[1];
  if (note) note.seen = true;
  push(state, h("sup", null, mark), match[0].length);
  return true;
}

// ---- links ------------------------------------------------------------------------------------------------------

function openBracket(state, kind) {
  state.brackets.push({ kind, node: state.nodes.length, at: state.at + kind.length, delimiters: state.delimiters.length, active: true });
  state.nodes.push({ pending: kind });
  state.at += kind.length;
}

function closeBracket(state) {
  const bracket = state.brackets.pop();
  const target = bracket?.active && linkTarget(state, bracket);
  if (!target) return push(state, "]", 1);
  const inside = resolveEmphasis({ ...state, nodes: state.nodes.splice(bracket.node).slice(1), offset: bracket.node + 1 }, bracket.delimiters);
  state.delimiters.length = bracket.delimiters;
  state.at = target.end;
  state.nodes.push(bracket.kind === "![" ? picture(target.url, inside, target.title) : anchor(target.url, inside, target.title));
  if (bracket.kind === "[") for (const outer of state.brackets) if (outer.kind === "[") outer.active = false;
}

function linkTarget(state, bracket) {
  const { text, at, options } = state;
  const target = scanInlineTarget(text, at + 1);
  if (target) return target;
  const explicit = text[at + 1] === "[" ? scanLabel(text, at + 1) : null;
  const label = explicit?.label || text.slice(bracket.at, at);
  // The link text serves as a label only if it contains no brackets.
  if (!explicit?.label && !scanLabel(`[${label}]`, 0)) return null;
  const definition = label.length < 1000 ? options.refs?.get(normalizeLabel(label)) : undefined;
  return definition ? { ...definition, end: explicit ? explicit.end : at + 1 } : null;
}

// ---- emphasis ---------------------------------------------------------------------------------------------------

function delimiterRun(state, c) {
  const run = readRun(state.text, state.at, c);
  // Models write one tilde for "about"; GitHub would strike out the text between two of them.
  if (c === "~" && run.length !== 2) return push(state, "~".repeat(run.length), run.length);
  state.delimiters.push({ ...run, node: state.nodes.length });
  state.nodes.push({ pending: c.repeat(run.length) });
  state.at += run.length;
}

// Keeps punctuation after a formula on the same line.
function joinPunctuation(nodes) {
  return nodes.flatMap((node, i) => {
    const before = nodes[i - 1]?.tag === "math" && typeof node === "string" ? /^[.,;:!?)\]’”]+/.exec(node) : null;
    if (before) return [node.slice(before[0].length)];
    const after = node.tag === "math" && typeof nodes[i + 1] === "string" ? /^[.,;:!?)\]’”]+/.exec(nodes[i + 1]) : null;
    return [after ? h("span", { class: "together" }, node, after[0]) : node];
  });
}
