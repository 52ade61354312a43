// The small buttons below a message.

import { h } from "../vnode.js";
import { versions } from "./chat.js";
import { icons } from "./icons.js";

/** Renders "‹ 1/2 ›" for a message with several versions, else returns null. */
export function versionSwitch(state, message, actions) {
  const all = versions(state.chat, message);
  if (all.length < 2) return null;
  const at = all.indexOf(message);
  return h("span", { class: "turner" },
    h("button", { type: "button", class: "small", title: "Earlier version", "aria-label": "Earlier version", disabled: at === 0, onclick: () => actions.switchVersion(message, -1) }, icons.back),
    h("span", null, `${at + 1}/${all.length}`),
    h("button", { type: "button", class: "small", title: "Later version", "aria-label": "Later version", disabled: at === all.length - 1, onclick: () => actions.switchVersion(message, 1) }, icons.forth));
}

/** Renders a button with an icon. */
export function iconButton(name, icon, label, onclick) {
  return h("button", { type: "button", class: "small", "data-do": name, title: label, "aria-label": label, onclick }, icons[icon]);
}
