// Text files that go with a question: how they are read, and how the model sees them.

/** A file may be this long; the server takes 8 MiB in all. */
export const MAX_BYTES = 1 << 20;

const UTF16 = { "255,254": "utf-16le", "254,255": "utf-16be" }; // by the byte order mark

/**
 * A file as `{name, text, encoding}`; throws an Error that says what is wrong with it and what to do where it cannot go
 * with a question.
 */
export async function readAttachment(file) {
  const refuse = (what) => {
    throw new Error(`“${file.name}” ${what}`);
  };
  if (file.size > MAX_BYTES) refuse(`is longer than ${shownSize(MAX_BYTES)}. Attach the part that matters.`);
  const read = decode(new Uint8Array(await file.arrayBuffer()));
  if (read === null) refuse("is not a text file. Save its text as UTF-8, or paste it into the question.");
  if (read.text === "") refuse("is empty. Save its text first, or attach another file.");
  return { name: file.name || "text", ...read };
}

// Bytes that no text in windows-1252 has: control characters but tab, line feed, form feed and carriage return, and the
// five that stand for nothing.
const isControl = (byte) => (byte < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d].includes(byte)) || [0x7f, 0x81, 0x8d, 0x8f, 0x90, 0x9d].includes(byte);

/**
 * The text of a file and its encoding: UTF-16 where a mark says so, UTF-8, or windows-1252, which has Latin-1 in it;
 * null where it is no text. The mark is left out.
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
