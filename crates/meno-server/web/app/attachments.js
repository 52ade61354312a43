// Text files that go with a question: how they are read, and how the model sees them.

/** A file may be this long; the server takes 8 MiB in all. */
export const MAX_BYTES = 1 << 20;

/** A file as `{name, text}`; throws an Error in plain words where it is no text. */
export async function readAttachment(file) {
  if (file.size > MAX_BYTES) throw new Error(`“${file.name}” is longer than ${shownSize(MAX_BYTES)}.`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const text = decode(bytes);
  if (text === null) throw new Error(`“${file.name}” is not a text file.`);
  return { name: file.name || "text", text };
}

/** The text of a file in UTF-8 or UTF-16, without its mark; null where it is none. */
export function decode(bytes) {
  const utf16 = { "255,254": "utf-16le", "254,255": "utf-16be" }[bytes.slice(0, 2).join()];
  try {
    const text = new TextDecoder(utf16 ?? "utf-8", { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text.replace(/\r\n?/g, "\n");
  } catch {
    return null;
  }
}

/** A question with its files before it, each in a fence that nothing inside can close. */
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

export function shownSize(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1_000_000 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
