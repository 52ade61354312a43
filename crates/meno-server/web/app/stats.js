// The numbers below an answer: its tokens, its speed, the time to its first token.

import { h } from "../vnode.js";
import { formatCount, formatDuration } from "./format.js";

/** Renders the numbers below an answer; returns null if there are none. */
export function answerStats({ stats, model }) {
  const parts = [];
  if (stats.completionTokens > 0) parts.push(formatCount(stats.completionTokens, "token"));
  const speed = tokensPerSecond(stats);
  if (speed) parts.push(`${speed.toFixed(speed < 10 ? 1 : 0)} tokens/s`);
  if (stats.firstMs > 0) parts.push(`first token ${formatDuration(stats.firstMs)}`);
  if (parts.length === 0) return null;
  const cached = stats.cachedTokens ? `, ${stats.cachedTokens} of them from the cache` : "";
  const title = [model, stats.promptTokens ? `${formatCount(stats.promptTokens, "token")} read${cached}` : null, stats.totalMs ? `${formatDuration(stats.totalMs)} in all` : null].filter(Boolean).join(" · ");
  return h("span", { class: "figures", title }, parts.join(" · "));
}

const LEAST_MS = 50; // a shorter time measures the network, not the model

/** Tokens per second after the first token; null if they all arrived at once. */
export function tokensPerSecond({ completionTokens, firstMs, totalMs, lastMs = totalMs }) {
  const ms = lastMs - firstMs;
  return completionTokens > 1 && ms >= LEAST_MS ? ((completionTokens - 1) / ms) * 1000 : null;
}
