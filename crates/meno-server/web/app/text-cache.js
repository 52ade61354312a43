// The rendered texts of the open chat, so that each is parsed once.

import { MarkdownView } from "../markdown/markdown.js";

const cache = new Map(); // "message id/part" -> {markdown, source, open, nodes}

/** Renders a part of a message as Markdown, or returns the nodes of the last time if nothing changed. */
export function renderText(id, part, source, open, options) {
  const key = `${id}/${part}`;
  let entry = cache.get(key);
  if (!entry) cache.set(key, (entry = { markdown: new MarkdownView(options) }));
  if (entry.source !== source || entry.open !== open) {
    Object.assign(entry, { source, open, nodes: entry.markdown.render(source, open) });
  }
  return entry.nodes;
}

export function clearTextCache() {
  cache.clear();
}
