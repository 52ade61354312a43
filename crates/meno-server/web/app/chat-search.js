// Search in the chats, and their grouping by day.

/** The chats that contain every word of `query`, each with an excerpt around the first word. */
export function searchChats(chats, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return chats.map((chat) => ({ chat, excerpt: "" }));
  const found = [];
  for (const chat of chats) {
    const texts = [chat.title, ...Object.values(chat.messages).flatMap((m) => [m.content, ...(m.files ?? []).map((file) => file.name)])];
    const all = texts.join("\n").toLowerCase();
    if (!words.every((word) => all.includes(word))) continue;
    found.push({ chat, excerpt: chat.title.toLowerCase().includes(words[0]) ? "" : excerptOf(texts.slice(1), words[0]) });
  }
  return found;
}

function excerptOf(texts, word) {
  const text = texts.find((t) => t.toLowerCase().includes(word)) ?? "";
  const at = text.toLowerCase().indexOf(word);
  return `${at > 24 ? "…" : ""}${text.slice(Math.max(0, at - 24), at + 60)}`.replace(/\s+/g, " ");
}

/** Groups chats by age: `[heading, chats]` pairs, newest first. */
export function groupByDay(chats, now = Date.now()) {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const day = 86_400_000;
  const bounds = [["Today", midnight], ["Yesterday", midnight - day], ["Last 7 days", midnight - 7 * day], ["Last 30 days", midnight - 30 * day], ["Older", -Infinity]];
  const groups = new Map();
  for (const chat of [...chats].sort((a, b) => b.updated - a.updated)) {
    const [name] = bounds.find(([, from]) => chat.updated >= from);
    groups.set(name, [...(groups.get(name) ?? []), chat]);
  }
  return [...groups];
}
