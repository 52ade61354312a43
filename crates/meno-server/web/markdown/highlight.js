// Syntax highlighting: one scanner for all languages of languages.js.

import { ALIASES, LANGUAGES } from "./languages.js";

const MAX_LENGTH = 60_000; // longer code has no colours

const patterns = new Map();

function pattern(name) {
  const ready = patterns.get(name);
  if (ready) return ready;
  const { comment, string, meta = "(?!)", keyword = "(?!)" } = LANGUAGES[name];
  const number = "\\b(?:0[xX][\\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\\d[\\d_]*(?:\\.\\d[\\d_]*)?(?:[eE][+-]?\\d+)?)[a-zA-Z\\d]*";
  const word = "[a-zA-Z_$\\u00aa-\\uffff][\\w$\\u00aa-\\uffff]*";
  const compiled = new RegExp(`(?<comment>${comment})|(?<string>${string})|(?<meta>${meta})|(?<keyword>${keyword})|(?<number>${number})|(?<word>${word})`, "gm");
  patterns.set(name, compiled);
  return compiled;
}

/** Splits `code` into `[kind, text]` pairs; kind is "" for text without a colour. */
export function highlight(code, language) {
  if (!code) return [];
  const name = Object.hasOwn(LANGUAGES, language) ? language : Object.hasOwn(ALIASES, language) ? ALIASES[language] : null;
  if (language === "diff" || language === "patch") return diff(code);
  if (!name || code.length > MAX_LENGTH) return [["", code]];
  const out = [];
  let from = 0;
  for (const match of code.matchAll(pattern(name))) {
    if (match.index > from) add(out, "", code.slice(from, match.index));
    add(out, kindOf(match, code, LANGUAGES[name]), match[0]);
    from = match.index + match[0].length;
  }
  if (from < code.length) add(out, "", code.slice(from));
  return out;
}

function kindOf(match, code, language) {
  const { groups } = match;
  const after = code.slice(match.index + match[0].length, match.index + match[0].length + 40);
  if (groups.comment !== undefined) return "comment";
  if (groups.string !== undefined) return language.keys && /^\s*:/.test(after) ? "name" : "string";
  if (groups.meta !== undefined) return "meta";
  if (groups.keyword !== undefined) return "keyword";
  if (groups.number !== undefined) return "number";
  const word = match[0];
  if (language.words.has(language.ignoreCase ? word.toLowerCase() : word)) return "keyword";
  if (language.assigned && new RegExp(`^[\\w.-]*\\s*${language.assigned}`).test(after)) return "name";
  if (/^\s*\(/.test(after) || (language.macro && /^!\s*[([{]/.test(after))) return "call";
  return /^[A-Z][A-Za-z\d]*[a-z]/.test(word) ? "type" : "";
}

function add(out, kind, text) {
  const last = out[out.length - 1];
  if (last && last[0] === kind) last[1] += text;
  else out.push([kind, text]);
}

function diff(code) {
  const out = [];
  for (const line of code.split(/(?<=\n)/)) {
    const kind = /^(?:\+\+\+|---|@@|diff |index )/.test(line) ? "meta" : line[0] === "+" ? "added" : line[0] === "-" ? "removed" : "";
    add(out, kind, line);
  }
  return out;
}
