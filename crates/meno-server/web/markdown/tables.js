// GFM's tables: the delimiter row and the cells.

const DELIMITER_ROW = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** Returns true for the row of dashes below a table's header. */
export function isDelimiterRow(line) {
  return line.includes("-") && DELIMITER_ROW.test(line);
}

/** The alignment of each column of a delimiter row: `"left"`, `"center"`, `"right"` or null. */
export function alignments(line) {
  return cells(line).map((c) => (c.endsWith(":") ? (c.startsWith(":") ? "center" : "right") : c.startsWith(":") ? "left" : null));
}

/** The cells of a row. A bar in code or a formula separates cells only if that gives exactly `wanted` cells. */
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
