// Markdown as models write it (CommonMark, GFM's tables, task lists, strikethrough and footnotes, TeX between dollars
// or \( \) and \[ \]) to nodes of vnode.js. Raw HTML is shown, not obeyed.

import { readBlocks } from "./blocks.js";
import { drawBlock, drawNotes } from "./draw.js";
import { normalLabel } from "./links.js";

let views = 0;

/**
 * Keeps the blocks of a growing text, so that only those that changed are drawn again.
 * `options.breaks` keeps line ends (for thoughts, which models do not write as Markdown).
 */
export class MarkdownView {
  constructor(options = {}) {
    this.options = options;
    this.id = `note-${(views += 1)}`;
    this.blocks = new Map();
  }

  /** The nodes of `source`; `open` says that it is still being written. */
  render(source, open = false) {
    const lines = source.replace(/\r\n?/g, "\n").replace(/\0/g, "\ufffd").split("\n");
    const refs = new Map();
    const blocks = readBlocks(lines, refs);
    const notes = collectNotes(blocks, source, this.id);
    // Definitions and footnotes may change what any other block means.
    const shared = refs.size + notes.size > 0 ? JSON.stringify([[...refs], [...notes.keys()]]) : "";
    const context = { ...this.options, refs, notes };
    const kept = new Map();
    const out = [];
    blocks.forEach((block, i) => {
      if (block.type === "note") return;
      const last = open && i === blocks.length - 1;
      const key = `${block.type}${last}\n${lines.slice(block.start, blocks[i + 1]?.start ?? lines.length).join("\n").trimEnd()}\n${shared}`;
      const node = (notes.size === 0 && this.blocks.get(key)) || drawBlock(block, { ...context, open: last });
      kept.set(key, node);
      out.push(node);
    });
    this.blocks = kept;
    const ends = [...notes.values()].filter((note) => note.block);
    return ends.length > 0 ? [...out, drawNotes(ends, { ...context, open: open && blocks[blocks.length - 1].type === "note" })] : out;
  }
}

// Footnotes, numbered in the order in which the text points to them; those that nothing points to come last.
function collectNotes(blocks, source, prefix) {
  const found = new Map();
  const look = (all) => {
    for (const block of all) {
      if (block.type === "note" && !found.has(normalLabel(block.label))) found.set(normalLabel(block.label), block);
      if (block.children) look(block.children);
    }
  };
  look(blocks);
  const notes = new Map();
  if (found.size === 0) return notes;
  const add = (label) => {
    if (found.has(label) && !notes.has(label)) notes.set(label, { number: notes.size + 1, id: `${prefix}-${notes.size + 1}`, block: found.get(label), seen: false });
  };
  for (const [, label] of source.matchAll(/\[\^([^\]\s[]{1,64})\](?!:)/g)) add(normalLabel(label));
  for (const label of found.keys()) add(label);
  return notes;
}

/** The nodes of a finished text. */
export function renderMarkdown(source, options = {}) {
  return new MarkdownView(options).render(source, options.open ?? false);
}
