// Short messages: toasts for all users, announcements for screen readers.

import { byId } from "./dom.js";
import { invalidate } from "./redraw.js";
import { state } from "./state.js";

const READING_MS = 60; // a toast stays this long per character, and at least 4 s

/** Announces a text to screen readers. */
export function announce(text) {
  byId("status").textContent = text;
}

/** Shows a toast, with an optional action `{name, run}`. */
export function toast(text, action = null) {
  const entry = { id: String(Math.random()), text, action };
  const close = () => {
    state.toasts = state.toasts.filter((t) => t !== entry);
    invalidate();
  };
  if (action) entry.action = { name: action.name, run: () => (action.run(), close()) };
  state.toasts = [...state.toasts, entry];
  setTimeout(close, Math.max(action ? 8000 : 4000, text.length * READING_MS));
  invalidate();
}
