// Scrolls the conversation along with a streaming answer, or stops.

import { invalidate } from "./redraw.js";
import { state } from "./state.js";

/** Follows the end of the conversation, or stops following it. */
export function setFollowEnd(follow) {
  if (follow === state.followEnd) return;
  state.followEnd = follow;
  invalidate();
}

/** Scrolls to the end and follows it. */
export function scrollToEnd() {
  state.followEnd = true;
  invalidate();
}
