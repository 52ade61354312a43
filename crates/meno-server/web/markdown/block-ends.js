// How blocks end.

import { takeDefinition } from "./links.js";

/** Removes a block from its parent. */
export function removeBlock(block) {
  const { children } = block.parent;
  children.splice(children.indexOf(block), 1);
}

/** Moves the link definitions at the start of a paragraph into `refs`. */
export function takeDefinitions(block, refs) {
  let text = block.lines.join("\n");
  for (let taken = takeDefinition(text, refs); taken > 0; taken = takeDefinition(text, refs)) text = text.slice(taken);
  block.lines = text.trim() === "" ? [] : text.split("\n");
}

/** By block type: completes a block when it closes. */
export const FINISH = {
  paragraph(block, refs) {
    if (block.lines[0]?.[0] === "[") takeDefinitions(block, refs);
    if (block.lines.length === 0) removeBlock(block);
  },
  code(block) {
    if (block.fence) return;
    while (block.lines.length && block.lines[block.lines.length - 1].trim() === "") block.lines.pop();
    block.end = block.start + block.lines.length - 1;
  },
  item(block) {
    block.end = block.children[block.children.length - 1]?.end ?? block.start;
  },
  list(block) {
    const gap = (all) => all.some((child, i) => i + 1 < all.length && child.end + 1 !== all[i + 1].start);
    block.loose = gap(block.children) || block.children.some((item) => gap(item.children));
    block.end = block.children[block.children.length - 1].end;
  },
};
