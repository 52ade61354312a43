// The sidebar: the list of chats with its search, settings and theme.

import { h } from "../vnode.js";
import { groupByDay, searchChats } from "./chat-search.js";
import { icons, logo } from "./icons.js";

export function sidebar(state, actions) {
  const found = searchChats([...state.chats.values()], state.query);
  const excerpts = new Map(found.map(({ chat, excerpt }) => [chat.id, excerpt]));
  const groups = groupByDay(found.map(({ chat }) => chat));
  return [
    h("div", { class: "brand" }, logo(), h("span", { class: "wordmark" }, "Meno"),
      h("button", { type: "button", class: "small", title: "Hide the list", "aria-label": "Hide the list of chats", onclick: () => actions.showSidebar(false) }, icons.sidebar)),
    h("button", { type: "button", class: "new", "data-do": "new", title: "New chat (Ctrl K)", onclick: actions.newChat }, icons.add, h("span", null, "New chat"), h("kbd", null, state.isApple ? "⌘K" : "Ctrl K")),
    h("div", { class: "search" }, icons.search,
      h("input", { type: "search", placeholder: "Search", dir: "auto", "aria-label": "Search the chats", value: state.query, oninput: (e) => actions.search(e.currentTarget.value) })),
    h("div", { class: "chats", onkeydown: moveFocus }, groups.map(([name, chats]) => [
      h("h2", { key: name }, name),
      chats.map((chat) => entry(state, chat, excerpts.get(chat.id), actions)),
    ]), groups.length === 0 && h("p", { class: "none" }, state.query ? "No chat has these words." : "Your chats are kept in this browser and appear here.")),
    h("div", { class: "foot" },
      h("button", { type: "button", class: "foot-item", "data-do": "settings", onclick: actions.openSettings }, icons.settings, h("span", null, "Settings")),
      h("button", { type: "button", class: "small", "data-do": "theme", title: state.dark ? "Light" : "Dark", "aria-label": state.dark ? "Use light colours" : "Use dark colours", onclick: actions.toggleTheme }, state.dark ? icons.light : icons.dark)),
  ];
}

function entry(state, chat, excerpt, actions) {
  if (state.renaming === chat.id) {
    const submit = (event) => {
      event.preventDefault();
      actions.rename(chat, event.currentTarget.elements.title.value);
    };
    return h("form", { class: "entry renaming", key: `rename-${chat.id}`, onsubmit: submit },
      h("input", { name: "title", dir: "auto", "aria-label": "New title", maxlength: "200", onblur: (e) => actions.rename(chat, e.currentTarget.value) }));
  }
  const current = chat.id === state.chat.id;
  return h("div", { class: `entry${current ? " current" : ""}`, key: chat.id },
    h("button", { type: "button", class: "entry-open", "aria-current": current ? "page" : null, title: chat.title, onclick: () => actions.openChat(chat.id), ondblclick: () => actions.startRename(chat) },
      state.runs.has(chat.id) && h("span", { class: "busy", role: "img", "aria-label": "answering" }),
      h("span", { class: "entry-title", dir: "auto" }, chat.title || "New chat"), excerpt && h("span", { class: "excerpt", dir: "auto" }, excerpt)),
    h("span", { class: "entry-doings" },
      h("button", { type: "button", class: "small", title: "Rename", "aria-label": `Rename “${chat.title}”`, onclick: () => actions.startRename(chat) }, icons.edit),
      h("button", { type: "button", class: "small", title: "Delete", "aria-label": `Delete “${chat.title}”`, onclick: () => actions.deleteChat(chat) }, icons.remove)));
}

// The up and down arrow keys move through the chats.
function moveFocus(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.target.tagName === "INPUT") return;
  const all = [...event.currentTarget.querySelectorAll(".entry-open")];
  const at = all.indexOf(event.target.closest(".entry")?.querySelector(".entry-open"));
  const next = all[at + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
