// The inside of a Markdown paragraph: CommonMark's emphasis, code, links, GFM's strikethrough and bare addresses,
// and TeX between dollars or \( \). Raw HTML stays text, save for <br>, <sub> and <sup>.

import { h, textOf } from "./vnode.js";
import { renderMath } from "./math.js";

const PUNCTUATION = /[\p{P}\p{S}]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
// Chinese and Japanese put no spaces around emphasis, which CommonMark's flanking rules expect: these characters
// count as a boundary.
const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]/u;
const PLAIN = /[^\\`*_~$<&![\]\nwhWH]+/y;
const URL_AT = /(?:https?:\/\/|www\.)[^\s<>"'`\u3000-\u303f\uff00-\uffef]+/iy;
const ENTITIES = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™", hellip: "…",
  mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", laquo: "«", raquo: "»", times: "×",
  divide: "÷", plusmn: "±", deg: "°", micro: "µ", middot: "·", bull: "•", larr: "←", rarr: "→", uarr: "↑",
  darr: "↓", harr: "↔", rArr: "⇒", le: "≤", ge: "≥", ne: "≠", asymp: "≈", infin: "∞", sum: "∑", radic: "√",
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", theta: "θ", lambda: "λ", mu: "μ", pi: "π", sigma: "σ", omega: "ω",
  euro: "€", pound: "£", yen: "¥", sect: "§", para: "¶", frac12: "½", sup2: "²", sup3: "³", check: "✓", ensp: "\u2002",
  emsp: "\u2003", thinsp: "\u2009", zwj: "\u200d", zwnj: "\u200c",
};

/** An address that may be followed, or null: only the web and mail, never script or data. */
export function safeUrl(url) {
  const clean = url.replace(/[\u0000-\u0020\u007f-\u009f\u200b-\u200f\u2028-\u202f\ufeff]/g, "");
  if (/^www\./i.test(clean)) return `https://${clean}`;
  return /^(?:https?:\/\/[^/]|mailto:)/i.test(clean) ? clean : null;
}

/**
 * The nodes of one run of text. `options.refs` holds link definitions, `options.breaks` keeps line ends, and
 * `options.open` says that more text is to come: what was opened is then shown as if it were closed.
 */
export function renderInline(text, options = {}) {
  const state = { text, at: 0, options, nodes: [], delimiters: [], brackets: [] };
  while (state.at < text.length) step(state);
  if (options.open) closeOpenRuns(state);
  return joinPunctuation(emphasise(state, 0));
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
    case "&": return entity(state);
    case "!": return text[at + 1] === "[" ? openBracket(state, "![") : push(state, c, 1);
    case "[": return openBracket(state, "[");
    case "]": return closeBracket(state);
    case "\n": return lineEnd(state);
    case "h": case "w": case "H": case "W": return bareUrl(state, c);
    default: return push(state, c, 1);
  }
}

function push(state, node, length) {
  const { nodes } = state;
  const last = nodes.length - 1;
  // Runs of plain text are joined, but never onto a delimiter that may still become emphasis or a link.
  if (typeof node === "string" && typeof nodes[last] === "string") nodes[last] += node;
  else nodes.push(node);
  state.at += length;
}

function escape(state) {
  const { text, at, options } = state;
  const next = text[at + 1];
  if (next === "(" || next === "[") {
    const close = text.indexOf(next === "(" ? "\\)" : "\\]", at + 2);
    if (close > 0) return push(state, renderMath(text.slice(at + 2, close), next === "["), close + 2 - at);
    if (options.open) return push(state, renderMath(text.slice(at + 2), next === "[", true), text.length - at);
  }
  if (next === "\n") {
    push(state, h("br"), 2);
    while (text[state.at] === " ") state.at += 1;
    return;
  }
  if (next !== undefined && ESCAPABLE.test(next)) return push(state, next, 2);
  push(state, "\\", 1);
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

// Pandoc's rule keeps prices apart from formulas: no space after the opening dollar, none before the closing one,
// and no digit after it.
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
  // A formula still being written is told from a price by having something that only TeX has.
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
const MAIL = /<([\w.!#$%&'*+/=?^`{|}~-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+)>/iy;
const TAG = /<(?:(br)\s*\/?|(su[bp])>([^<\n]{1,200})<\/(su[bp]))>/iy;

function angle(state) {
  const { text, at } = state;
  const match = (pattern) => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  const mail = match(MAIL);
  if (mail) return push(state, anchor(`mailto:${mail[1]}`, [mail[1]]), mail[0].length);
  const link = match(AUTOLINK);
  if (link && safeUrl(link[1])) return push(state, anchor(safeUrl(link[1]), [link[1]]), link[0].length);
  const tag = match(TAG);
  if (tag?.[1]) return push(state, h("br"), tag[0].length);
  if (tag && tag[2].toLowerCase() === tag[4].toLowerCase()) {
    return push(state, h(tag[2].toLowerCase(), null, tag[3]), tag[0].length);
  }
  push(state, "<", 1);
}

function entity(state) {
  const match = /^&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z][a-z0-9]{1,30}));/i.exec(state.text.slice(state.at, state.at + 40));
  if (!match) return push(state, "&", 1);
  const number = match[1] ? Number.parseInt(match[1], 10) : match[2] ? Number.parseInt(match[2], 16) : null;
  if (number === null) {
    const named = Object.hasOwn(ENTITIES, match[3]) ? ENTITIES[match[3]] : match[0];
    return push(state, named, match[0].length);
  }
  const valid = number > 0 && number <= 0x10ffff && !(number >= 0xd800 && number <= 0xdfff);
  push(state, valid ? String.fromCodePoint(number) : "\ufffd", match[0].length);
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

function bareUrl(state, c) {
  const { text, at } = state;
  const before = text[at - 1];
  URL_AT.lastIndex = at;
  const match = (before === undefined || !/[\w@/]/.test(before)) && URL_AT.exec(text);
  if (!match || state.brackets.some((bracket) => bracket.active && bracket.kind === "[")) return push(state, c, 1);
  const url = trimUrl(match[0]);
  const target = safeUrl(url);
  if (!target || !/\.|localhost/.test(url)) return push(state, c, 1);
  push(state, anchor(target, [url]), url.length);
}

// Full stops, closing brackets and emphasis after an address belong to the sentence.
function trimUrl(url) {
  let end = url.length;
  for (;;) {
    const c = url[end - 1];
    if (/[?!.,:*_~;'"|\\$\]}]/.test(c)) end -= 1;
    else if (c === ")" && count(url, "(", end) < count(url, ")", end)) end -= 1;
    else return url.slice(0, end);
  }
}

function count(text, c, end) {
  let found = 0;
  for (let i = 0; i < end; i += 1) if (text[i] === c) found += 1;
  return found;
}

function anchor(href, children, title) {
  return h("a", { href, title: title || null, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
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
  const inside = emphasise({ ...state, nodes: state.nodes.splice(bracket.node).slice(1), offset: bracket.node + 1 }, bracket.delimiters);
  state.delimiters.length = bracket.delimiters;
  state.at = target.end;
  const url = safeUrl(target.url);
  // Pictures are shown as links: the page asks nothing of the outside by itself.
  const children = bracket.kind === "![" ? [textOf(inside) || target.url] : inside;
  if (url) state.nodes.push(anchor(url, children, target.title));
  else state.nodes.push(h("span", { class: "unlinked", title: target.url }, children));
  if (bracket.kind === "[") for (const outer of state.brackets) if (outer.kind === "[") outer.active = false;
}

const INLINE_TARGET = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.|\([^\s()]*\))*\))*))(?:\s+(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|\(((?:[^()\\]|\\.)*)\)))?\s*\)/y;

function linkTarget(state, bracket) {
  const { text, at, options } = state;
  INLINE_TARGET.lastIndex = 0;
  const match = text[at + 1] === "(" && INLINE_TARGET.exec(text.slice(at + 1, at + 4096));
  if (match) {
    const url = (match[1] ?? match[2] ?? "").replace(/\\([!-/:-@[-`{-~])/g, "$1");
    return { url, title: match[3] ?? match[4] ?? match[5], end: at + 1 + match[0].length };
  }
  const explicit = /^\]\[([^\]\n]*)\]/.exec(text.slice(at, at + 300));
  const label = explicit?.[1] || text.slice(bracket.at, at);
  const definition = options.refs?.get(label.trim().toLowerCase());
  return definition ? { ...definition, end: at + (explicit ? explicit[0].length : 1) } : null;
}

// ---- emphasis ---------------------------------------------------------------------------------------------------

function charBefore(text, at) {
  const low = text.charCodeAt(at - 1);
  return low >= 0xdc00 && low <= 0xdfff ? text.slice(at - 2, at) : (text[at - 1] ?? " ");
}

function delimiterRun(state, c) {
  const { text, at } = state;
  let length = 1;
  while (text[at + length] === c) length += 1;
  const before = charBefore(text, at);
  const point = text.codePointAt(at + length);
  const after = point === undefined ? " " : String.fromCodePoint(point);
  const space = (s) => /\s/.test(s);
  const edge = (s) => space(s) || PUNCTUATION.test(s) || CJK.test(s);
  const left = !space(after) && (!PUNCTUATION.test(after) || edge(before));
  const right = !space(before) && (!PUNCTUATION.test(before) || edge(after));
  const opens = c === "_" ? left && (!right || PUNCTUATION.test(before)) : left;
  const closes = c === "_" ? right && (!left || PUNCTUATION.test(after)) : right;
  if (c === "~" && length !== 2) return push(state, "~".repeat(length), length);
  state.delimiters.push({ c, length, original: length, opens, closes, node: state.nodes.length });
  state.nodes.push({ pending: c.repeat(length) });
  state.at += length;
}

// Text to come will probably close what is open now: shown closed, it does not jump when it is.
function closeOpenRuns(state) {
  const open = [];
  for (const run of state.delimiters) {
    if (run.closes && open.some((o) => o.c === run.c)) {
      while (open.length && open.pop().c !== run.c);
    } else if (run.opens && run.node < state.nodes.length - 1) {
      open.push(run);
    }
  }
  for (const run of open.reverse()) {
    state.delimiters.push({ ...run, opens: false, closes: true, node: state.nodes.length });
    state.nodes.push({ pending: "" });
  }
}

/** CommonMark's "process emphasis" over the delimiters from `bottom` on; returns the finished nodes. */
function emphasise(state, bottom) {
  const offset = state.offset ?? 0;
  const runs = state.delimiters.slice(bottom).map((run) => ({ ...run, node: run.node - offset }));
  const slots = state.nodes.map((node) => (node.pending === undefined ? [node] : node));
  for (let close = 0; close < runs.length; close += 1) {
    const closer = runs[close];
    while (closer.closes && closer.length > 0) {
      const open = findOpener(runs, close);
      if (open < 0) break;
      const opener = runs[open];
      const used = closer.c === "~" ? 2 : opener.length >= 2 && closer.length >= 2 ? 2 : 1;
      const inside = gather(slots, opener.node + 1, closer.node);
      slots[opener.node + 1] = [h(closer.c === "~" ? "del" : used === 2 ? "strong" : "em", null, inside)];
      for (const run of runs.slice(open + 1, close)) run.length = 0;
      for (const run of [opener, closer]) {
        run.length -= used;
        slots[run.node] = { pending: run.c.repeat(run.length) };
      }
    }
  }
  return joinText(gather(slots, 0, slots.length));
}

// A comma after a formula stays on its line.
function joinPunctuation(nodes) {
  return nodes.flatMap((node, i) => {
    const before = nodes[i - 1]?.tag === "math" && typeof node === "string" ? /^[.,;:!?)\]’”]+/.exec(node) : null;
    if (before) return [node.slice(before[0].length)];
    const after = node.tag === "math" && typeof nodes[i + 1] === "string" ? /^[.,;:!?)\]’”]+/.exec(nodes[i + 1]) : null;
    return [after ? h("span", { class: "together" }, node, after[0]) : node];
  });
}

function findOpener(runs, close) {
  const closer = runs[close];
  for (let i = close - 1; i >= 0; i -= 1) {
    const run = runs[i];
    if (run.c !== closer.c || !run.opens || run.length === 0 || run.node + 1 >= closer.node) continue;
    // The rule of three: "**a*b**" is not emphasis closed inside out.
    const odd = (run.closes || closer.opens) && (run.original + closer.original) % 3 === 0;
    if (!(odd && (run.original % 3 !== 0 || closer.original % 3 !== 0))) return i;
  }
  return -1;
}

function gather(slots, from, to) {
  const out = [];
  for (let i = from; i < to; i += 1) {
    if (Array.isArray(slots[i])) out.push(...slots[i]);
    else if (slots[i].pending) out.push(slots[i].pending);
    slots[i] = [];
  }
  return out;
}

function joinText(nodes) {
  const out = [];
  for (const node of nodes) {
    if (typeof node === "string" && typeof out[out.length - 1] === "string") out[out.length - 1] += node;
    else out.push(node);
  }
  return out;
}
