// Splits TeX into tokens: commands, numbers, runs of white space (one " " each) and single characters.

import { MathError } from "./atoms.js";

const MAX_LENGTH = 20_000;
const TOKEN = /\\(?:[a-zA-Z]+\*?|[^]|$)|%[^\n]*(?:\n|$)|\d+(?:\.\d+)?|\.\d+|\s+|[^]/uy;

/** The tokens of a formula, without comments. */
export function tokenize(tex) {
  if (tex.length > MAX_LENGTH) throw new MathError("it is too long");
  const tokens = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(tex); match; match = TOKEN.exec(tex)) {
    const text = match[0];
    if (text[0] === "%") continue;
    // A star belongs to the command name only for the commands that have a starred form.
    if (/^\\[a-zA-Z]+\*$/.test(text) && !/^\\(?:operatorname|hspace|tag)\*$/.test(text)) tokens.push(text.slice(0, -1), "*");
    else tokens.push(/^\s/.test(text) ? " " : text);
  }
  return tokens;
}
