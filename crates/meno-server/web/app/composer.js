// The row of buttons below the question, and the attached files above it.

import { h } from "../vnode.js";
import { formatSize } from "./format.js";
import { icons, logo } from "./icons.js";
import { selectedModel } from "./models.js";

/** The buttons: attach, think, settings, and send or stop. `empty` disables Send. */
export function composerButtons(state, empty, actions) {
  const { settings } = state;
  const run = state.runs.get(state.chat.id);
  const thinks = selectedModel(state)?.thinks;
  return [
    h("label", { class: "small attach", title: "Attach text files" }, icons.attach, h("input", { type: "file", class: "unseen", "data-do": "attach", multiple: true, "aria-label": "Attach text files", onchange: (e) => actions.attachChosen(e) })),
    thinks && h("button", { type: "button", class: "pill", key: "think", "data-do": "think", "aria-pressed": String(settings.thinking), title: settings.thinking ? "The model thinks before it answers" : "The model answers at once", onclick: () => actions.setSetting("thinking", !settings.thinking) }, logo(), "Think"),
    h("button", { type: "button", class: "small", "data-do": "sampling", title: "Settings", "aria-label": "Settings", onclick: actions.openSettings }, icons.settings),
    h("span", { class: "gap" }),
    run
      ? h("button", { type: "button", key: "stop", class: "send stop", "data-do": "stop", title: "Stop (Esc)", "aria-label": "Stop the answer", onclick: actions.stopAnswer }, icons.stop)
      : h("button", { type: "submit", key: "send", class: "send", "data-do": "send", title: "Send (Enter)", "aria-label": "Send", disabled: empty }, icons.send),
  ];
}

/** The files that go with the question, each with a button to remove it. */
export function attachments(files, actions) {
  return files.map((file, i) => h("span", { class: "chip" }, icons.file, h("span", { class: "chip-name", dir: "auto", title: file.name }, file.name), h("span", { class: "chip-size" }, formatSize(file.text.length)),
    h("button", { type: "button", "aria-label": `Remove ${file.name}`, title: "Remove", onclick: () => actions.detach(i) }, icons.close)));
}
