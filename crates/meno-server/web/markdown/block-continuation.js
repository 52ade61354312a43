// Decides if an open block continues on the next line.

import { FENCE, MARKER } from "./block-starts.js";

/**
 * By block type: returns true if an open block continues on this line, false if it does not, and null if the line
 * closes it (a closing fence).
 */
export const CONTINUES = {
  quote(_, line) {
    if (line.isIndented || line.content[0] !== ">") return false;
    line.skipIndent().skip(1).skipMarkerSpace();
    return true;
  },
  list: () => true,
  item(block, line) {
    if (line.blank) {
      block.gap = true;
      line.skipIndent();
      return block.children.length > 0;
    }
    if (line.indent >= block.width) line.skipColumns(block.width);
    else if (isShallowContent(block, line)) line.skipColumns(line.indent);
    else return false;
    block.gap = false;
    return true;
  },
  footnote(_, line) {
    if (!line.blank && !line.isIndented) return false;
    line.skipColumns(4);
    return true;
  },
  heading: () => false,
  rule: () => false,
  paragraph: (_, line) => !line.blank,
  table: (_, line) => !line.blank,
  html: (block, line) => Boolean(block.ends) || !line.blank,
  code(block, line) {
    if (block.fence) {
      const close = !line.isIndented && /^(?:`{3,}|~{3,})(?=[ \t]*$)/.exec(line.content);
      if (close && close[0][0] === block.fence[0] && close[0].length >= block.fence.length) return null;
      line.skipColumns(Math.min(line.indent, block.indent));
      return true;
    }
    if (line.isIndented) line.skipColumns(4);
    else if (line.blank) line.skipIndent();
    else return false;
    return true;
  },
  math(block, line) {
    if (!line.blank || block.open !== "$$" || block.lines.some((text) => text.trim())) return true;
    // "$$" followed by an empty line is text.
    Object.assign(block, { type: "paragraph", lines: ["$$"] });
    return false;
  },
};

// Models often indent the contents of "1." or "10." by two spaces; CommonMark requires more. Accepts that for lists,
// fenced code, and anything after an empty line.
function isShallowContent(item, line) {
  if (!item.ordered || line.indent < item.offset + 2 || line.isIndented) return false;
  const inner = deepest(item);
  if (inner.type === "code" && inner.fence) return true;
  const marker = MARKER.exec(line.content);
  if (marker) return marker[1] !== undefined || Number.parseInt(marker[2], 10) === 1;
  return item.gap || FENCE.test(line.content);
}

function deepest(block) {
  let at = block;
  for (let child = lastOpen(at); child; child = lastOpen(at)) at = child;
  return at;
}

/** The last child of a block if it is still open, else null. */
export function lastOpen(block) {
  const child = block.children?.[block.children.length - 1];
  return child?.isOpen ? child : null;
}
