// Durations, counts and sizes as text.

/** "0.4 s", "12 s", "3 min 5 s". */
export function formatDuration(ms) {
  const s = Math.max(100, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
}

/** "1 token", "1 234 tokens". */
export const formatCount = (n, word) => `${n.toLocaleString("en").replace(/,/g, "\u202f")} ${word}${n === 1 ? "" : "s"}`;

/** "12 bytes", "34 kB", "5.6 MB". */
export function formatSize(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1_000_000 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
