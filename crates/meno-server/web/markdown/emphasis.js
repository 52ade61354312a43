// Emphasis: matches runs of *, _ and ~ by CommonMark's rules.

import { h } from "../vnode.js";

const PUNCTUATION = /[\p{P}\p{S}]/u;
// CommonMark's flanking rules expect spaces around emphasis. Chinese, Japanese and Korean text has none, so these
// characters count as a boundary.
const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]/u;

function charBefore(text, at) {
  const low = text.charCodeAt(at - 1);
  return low >= 0xdc00 && low <= 0xdfff ? text.slice(at - 2, at) : (text[at - 1] ?? " ");
}

/** Reads the run of `c` at `at`: its length, and whether it can open or close emphasis. */
export function readRun(text, at, c) {
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
  return { c, length, original: length, opens, closes };
}

/** Closes open runs at the end of a streaming text, so that nothing jumps when the closing run arrives. */
export function closeOpenRuns(state) {
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

/** CommonMark's "process emphasis" for the delimiters from `bottom` on. Returns the finished nodes. */
export function resolveEmphasis(state, bottom) {
  const offset = state.offset ?? 0;
  const runs = state.delimiters.slice(bottom).map((run) => ({ ...run, node: run.node - offset }));
  const slots = state.nodes.map((node) => (node.pending === undefined ? [node] : node));
  const bottoms = new Map(); // by kind: no opener exists below this index
  for (let close = 0; close < runs.length; close += 1) {
    const closer = runs[close];
    while (closer.closes && closer.length > 0) {
      const kind = `${closer.c}${closer.opens}${closer.original % 3}`;
      const open = findOpener(runs, close, bottoms.get(kind) ?? 0);
      if (open < 0) {
        bottoms.set(kind, close);
        break;
      }
      join(slots, runs, open, close);
    }
  }
  return joinText(gather(slots, 0, slots.length));
}

function join(slots, runs, open, close) {
  const [opener, closer] = [runs[open], runs[close]];
  const used = closer.c === "~" ? 2 : opener.length >= 2 && closer.length >= 2 ? 2 : 1;
  const inside = gather(slots, opener.node + 1, closer.node);
  slots[opener.node + 1] = [h(closer.c === "~" ? "del" : used === 2 ? "strong" : "em", null, inside)];
  for (const run of runs.slice(open + 1, close)) run.length = 0;
  for (const run of [opener, closer]) {
    run.length -= used;
    slots[run.node] = { pending: run.c.repeat(run.length) };
  }
}

function findOpener(runs, close, bottom) {
  const closer = runs[close];
  for (let i = close - 1; i >= bottom; i -= 1) {
    const run = runs[i];
    if (run.c !== closer.c || !run.opens || run.length === 0 || run.node + 1 >= closer.node) continue;
    // CommonMark's rule of three, for runs that can both open and close.
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
