// The settings dialog: system prompt, thinking, sampling, theme, API key, import and export.

import { h } from "../vnode.js";
import { icons } from "./icons.js";
import { selectedModel } from "./models.js";
import { DEFAULTS } from "./settings.js";

// [name, label, hint, min, max, step]. An empty field leaves the choice to the model and the server.
const NUMBERS = [
  ["temperature", "Temperature", "0 always takes the likeliest token", 0, 2, 0.05],
  ["top_p", "Top-p", "only tokens within this share of probability", 0.01, 1, 0.01],
  ["top_k", "Top-k", "only this many of the likeliest tokens", 0, 1000, 1],
  ["min_p", "Min-p", "only tokens this likely beside the best", 0, 1, 0.01],
  ["max_tokens", "Longest answer", "in tokens, including the thought", 1, 1_000_000, 1],
  ["seed", "Seed", "the same seed gives the same answer", 0, 2_147_483_647, 1],
];

const KEYS = [
  ["Enter", "send"], ["Shift Enter", "new line"], ["Esc", "stop the answer"], ["Ctrl K", "new chat"], ["/", "to the question"],
  ["↑", "edit the last question, from an empty field"], ["↑ ↓", "walk through the list of chats"],
];

export function settingsDialog(state, actions) {
  const { settings } = state;
  const set = (name) => (event) => actions.setSetting(name, event.currentTarget.value);
  return [
    h("div", { class: "dialog-head" }, h("h2", { id: "settings-title" }, "Settings"),
      h("button", { type: "button", class: "small", "aria-label": "Close", title: "Close", onclick: actions.closeSettings }, icons.close)),
    h("div", { class: "dialog-body" },
      section("Instructions",
        h("label", { class: "wide" }, h("span", null, "System prompt"),
          h("textarea", { name: "system", rows: "3", dir: "auto", placeholder: "What the model should know, or how it should answer.", value: settings.system, oninput: set("system") }))),
      selectedModel(state)?.thinks && section("Thinking",
        h("label", { class: "switch" }, h("input", { type: "checkbox", name: "thinking", role: "switch", checked: settings.thinking, onchange: (e) => actions.setSetting("thinking", e.currentTarget.checked) }),
          h("span", null, "Think before answering", h("small", null, "otherwise the answer comes at once"))),
        numberField(settings, ["thinking_budget", "Budget", "tokens of thought before the answer must begin", 1, 1_000_000, 1], actions, "no limit", !settings.thinking)),
      section("Sampling", h("div", { class: "numbers" }, NUMBERS.map((n) => numberField(settings, n, actions, n[0] === "seed" ? "random" : "default"))),
        h("p", { class: "hint" }, "An empty field leaves the choice to the model.")),
      section("Look", h("div", { class: "choices", role: "radiogroup", "aria-label": "Colours" }, [["", "As the system"], ["light", "Light"], ["dark", "Dark"]].map(([value, label]) =>
        h("label", null, h("input", { type: "radio", name: "theme", checked: state.theme === value, onchange: () => actions.setTheme(value) }), h("span", null, label))))),
      section("Server",
        h("label", { class: "wide" }, h("span", null, "API key"), h("input", { type: "password", name: "key", autocomplete: "off", placeholder: "only if the server asks for one", value: settings.key, oninput: set("key") })),
        h("p", { class: "hint" }, "The key and the chats stay in this browser.")),
      section("Chats",
        h("div", { class: "row" },
          h("button", { type: "button", class: "plain", "data-do": "export", onclick: actions.exportAll, disabled: state.chats.size === 0 }, "Export all"),
          h("button", { type: "button", class: "plain", onclick: actions.exportChat, disabled: !state.chats.has(state.chat.id) }, "Export this chat"),
          h("button", { type: "button", class: "plain", onclick: actions.exportMarkdown, disabled: !state.chats.has(state.chat.id) }, "This chat as Markdown"),
          h("label", { class: "plain file" }, "Import", h("input", { type: "file", accept: "application/json,.json", onchange: actions.importFile })),
          h("button", { type: "button", class: "plain danger", onclick: actions.deleteAllChats, disabled: state.chats.size === 0 }, state.confirmDeleteAll ? "Really delete all?" : "Delete all"))),
      section("Keys", h("dl", { class: "keys" }, KEYS.map(([keys, what]) => [
        h("dt", null, keys.split(" ").map((key) => h("kbd", null, key === "Ctrl" && state.isApple ? "⌘" : key))), h("dd", null, what)])))),
    h("div", { class: "dialog-foot" },
      h("button", { type: "button", class: "plain", disabled: isDefault(settings), onclick: actions.resetSettings }, "Reset"),
      h("button", { type: "button", class: "primary", onclick: actions.closeSettings }, "Done")),
  ];
}

function section(title, ...children) {
  return h("section", null, h("h3", null, title), children);
}

function numberField(settings, [name, label, hint, min, max, step], actions, empty, disabled = false) {
  const change = (event) => {
    const { value, validity } = event.currentTarget;
    const parsed = value.trim() === "" ? null : Number(value);
    event.currentTarget.setAttribute("aria-invalid", String(!validity.valid && !validity.stepMismatch));
    if (parsed === null && validity.badInput) return;
    if (parsed === null || (Number.isFinite(parsed) && parsed >= min && parsed <= max)) actions.setSetting(name, parsed === null || step < 1 ? parsed : Math.round(parsed));
  };
  return h("label", { class: "number" }, h("span", null, label, h("small", null, hint)),
    h("input", { type: "number", name, inputmode: "decimal", min, max, step: step < 1 ? "any" : "1", placeholder: empty, disabled, oninput: change, "data-shown": settings[name] === null ? "" : String(settings[name]) }));
}

function isDefault(settings) {
  return Object.keys(DEFAULTS).every((name) => ["key", "model", "sidebar"].includes(name) || settings[name] === DEFAULTS[name]);
}
