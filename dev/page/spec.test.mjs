// Runs the examples of the CommonMark and GFM specifications (spec/README.md). The tree that the page renders is
// written as the HTML it stands for and compared the way the specifications' own tests compare.

import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { renderMarkdown } from "../../crates/meno-server/web/markdown/markdown.js";

const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
const address = (url) => encodeURI(url).replace(/%25(?=[0-9a-f]{2})/gi, "%").replace(/%5B/g, "[").replace(/%5D/g, "]").replace(/\[/g, "%5B").replace(/\]/g, "%5D");
const words = (node) => (typeof node === "string" ? node : node.children.map(words).join(""));

/** The HTML that a node stands for: an image rendered as a link is an image, HTML shown as text is HTML. */
function meant(node) {
  if (Array.isArray(node)) return node.map(meant).join("");
  if (typeof node === "string") return escape(node);
  const { tag, attrs, children } = node;
  if (attrs.class === "raw") return words(node);
  if (attrs.class === "table") return meant(children);
  if (tag === "figure") return codeBlock(node);
  if (tag === "a" || attrs.class === "unlinked") return link(node);
  if (tag === "input") return `<input ${attrs.checked ? 'checked="" ' : ""}disabled="" type="checkbox"> `;
  const kept = tag === "ol" && attrs.start ? ` start="${attrs.start}"` : (tag === "td" || tag === "th") && attrs.class ? ` align="${attrs.class}"` : "";
  return tag === "br" || tag === "hr" ? `<${tag} />` : `<${tag}${kept}>${meant(children)}</${tag}>`;
}

function codeBlock({ children: [caption, pre] }) {
  const language = words(caption.children[0]);
  const text = words(pre);
  return `<pre><code${language === "text" ? "" : ` class="language-${escape(language)}"`}>${escape(text)}${text && "\n"}</code></pre>`;
}

function link({ attrs, children }) {
  const linked = attrs.href !== undefined;
  const url = address(linked ? attrs.href : attrs.title);
  const title = linked ? attrs.title : attrs["data-title"];
  const named = title ? ` title="${escape(title)}"` : "";
  const picture = attrs["data-picture"];
  if (picture !== undefined) return `<img src="${escape(url)}" alt="${escape(picture)}"${named} />`;
  // Addresses without a scheme are completed with https, not http.
  const shown = words({ children });
  return `<a href="${escape(shown.startsWith("www.") ? url.replace(/^https/, "http") : url)}"${named}>${meant(children)}</a>`;
}

/** Normalizes HTML: line breaks next to blocks, empty tags. */
function normal(html) {
  const blocks = "p|h[1-6]|ul|ol|li|blockquote|hr|pre|table|thead|tbody|tr|td|th|div";
  const between = (text) => text.replace(new RegExp(`\\s*(</?(?:${blocks})(?:\\s[^>]*)?/?>)\\s*`, "g"), "$1").replace(/<br \/>\s*/g, "<br />\n");
  const parts = html.split(/(<pre><code[^]*?<\/pre>)/);
  return parts.map((part, i) => (i % 2 ? part : between(part).trim())).join("");
}

// The deliberate differences, by specification and example.
const BARE = "bare URLs and mail addresses are links, as in GFM";
const OTHERWISE = new Map(Object.entries({
  "commonmark 297": "three columns are enough to continue \"10)\", because models indent so",
  "commonmark 602": BARE,
  "commonmark 606": BARE,
  "commonmark 608": BARE,
  "commonmark 611": BARE,
  "commonmark 612": BARE,
  "gfm 628": "browsers do not follow ftp",
  "gfm 652": "all HTML is shown as text",
}));

for (const [name, file] of [["CommonMark 0.31.2", "commonmark"], ["GFM 0.29, its extensions", "gfm"]]) {
  test(`the examples of ${name}`, () => {
    const examples = JSON.parse(readFileSync(new URL(`spec/${file}.json`, import.meta.url), "utf8"));
    const failed = [];
    for (const { example, section, markdown, html } of examples) {
      const got = normal(meant(renderMarkdown(markdown.replace(/\n$/, ""))));
      if (got !== normal(html)) failed.push({ id: `${file} ${example}`, section, markdown, got, wanted: normal(html) });
    }
    const show = ({ id, section, markdown, got, wanted }) => `${id} (${section})\n${JSON.stringify(markdown)}\ngot    ${JSON.stringify(got)}\nwanted ${JSON.stringify(wanted)}`;
    console.log(`${name}: ${examples.length - failed.length} of ${examples.length}`);
    const unexpected = failed.filter(({ id }) => !OTHERWISE.has(id));
    assert.deepEqual(unexpected.map(({ id }) => id), [], unexpected.map(show).join("\n\n"));
    const expected = [...OTHERWISE.keys()].filter((id) => id.startsWith(file));
    assert.deepEqual(failed.map(({ id }) => id).sort(), expected.sort(), "an example that was expected to differ does not");
  });
}
