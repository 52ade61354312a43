// Text files attached to a question: how they are read, and how the model sees them.

import { formatSize } from "./format.js";

// The server accepts 8 MiB per request.
const MAX_BYTES = 1 << 20;

const UTF16 = { "255,254": "utf-16le", "254,255": "utf-16be" }; // by byte order mark

/**
 * Reads a file: `{name, text, encoding}`. Throws an Error with a message for the user if the file is too long, empty or
 * not text.
 */
export async function readAttachment(file) {
  const refuse = (what) => {
    throw new Error(`“${file.name}” ${what}`);
  };
  if (file.size > MAX_BYTES) refuse(`is longer than ${formatSize(MAX_BYTES)}. Attach the part that matters.`);
  const read = decode(new Uint8Array(await file.arrayBuffer()));
  if (read === null) refuse("is not a text file. Save its text as UTF-8, or paste it into the question.");
  if (read.text === "") refuse("is empty. Save its text first, or attach another file.");
  return { name: file.name || "text", ...read };
}

// Bytes that do not occur in windows-1252 text: control characters except tab, line feed, form feed and carriage
// return, and the five unassigned bytes.
const isControl = (byte) => (byte < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d].includes(byte)) || [0x7f, 0x81, 0x8d, 0x8f, 0x90, 0x9d].includes(byte);

/**
 * Decodes a file: UTF-16 if it has a byte order mark, else UTF-8, else windows-1252 (a superset of Latin-1). Returns
 * `{text, encoding}` without the mark, or null if the file is not text.
 */
export function decode(bytes) {
  const marked = UTF16[bytes.slice(0, 2).join()];
  const read = (encoding) => ({ text: new TextDecoder(encoding, { fatal: true }).decode(bytes).replace(/\r\n?/g, "\n"), encoding });
  try {
    const utf = read(marked ?? "utf-8");
    return utf.text.includes("\0") ? null : utf;
  } catch {
    return marked || bytes.some(isControl) ? null : read("windows-1252");
  }
}

/** The content of a question: its files, each in a fence longer than any inside, then its text. */
export function withFiles(words, files = []) {
  if (!files || files.length === 0) return words;
  const blocks = files.map(({ name, text }) => {
    const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((run) => run[0].length));
    const fence = "`".repeat(longest + 1);
    const kind = /\.([a-z0-9+#]{1,12})$/i.exec(name)?.[1].toLowerCase() ?? "";
    return `File: ${name}\n${fence}${kind}\n${text.replace(/\n$/, "")}\n${fence}`;
  });
  return [...blocks, words].filter(Boolean).join("\n\n");
}
