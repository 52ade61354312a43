// Opens and closes the settings dialog, and fills its number fields.

import { byId } from "./dom.js";
import { drawNow } from "./redraw.js";
import { state } from "./state.js";

export function openSettings() {
  state.confirmDeleteAll = false;
  byId("settings").showModal();
  drawNow();
  fillNumberFields();
}

export function closeSettings() {
  byId("settings").close();
}

/** Writes the settings into the number fields. Drawing does not, so that it never changes what the user is typing. */
export function fillNumberFields() {
  for (const field of byId("settings").querySelectorAll("input[type=number]")) {
    field.value = field.dataset.shown;
    field.removeAttribute("aria-invalid");
  }
}
