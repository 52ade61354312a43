// GFM's tables: which lines are one, and where its cells end.

const DELIMITER_ROW = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** Whether a line is the row of dashes below a table's head. */
export function isDelimiterRow(line) {
  return line.includes("-") && DELIMITER_ROW.test(line);
}

/** `"left"`, `"center"`, `"right"` or null for every column of a row of dashes. */
export function alignments(line) {
  return cells(line).map((c) => (c.endsWith(":") ? (c.startsWith(":") ? "center" : "right") : c.startsWith(":") ? "left" : null));
}

/** The cells of a row. Bars inside code or a formula do not count, unless counting them gives the `wanted` width. */
export function cells(line, wanted) {
  const row = line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1");
  const plain = split(row, /\\\||\|/g);
  if (plain.length === wanted || !/[`$]/.test(row)) return plain;
  const careful = split(row, /\\\||`[^`]*`|\$[^$\s](?:[^$]*[^$\s])?\$|\|/g);
  return careful.length <= (wanted ?? careful.length) ? careful : plain;
}

function split(row, pattern) {
  const out = [];
  let from = 0;
  for (const match of row.matchAll(pattern)) {
    if (match[0] !== "|") continue;
    out.push(row.slice(from, match.index));
    from = match.index + 1;
  }
  out.push(row.slice(from));
  return out.map((cell) => cell.trim().replace(/\\\|/g, "|"));
}
