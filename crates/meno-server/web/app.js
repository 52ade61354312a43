// The page: what it knows, what can be done, and when it is drawn.

import { h, patch } from "./vnode.js";
import { icons } from "./icons.js";
import { chosenModel, head, tools } from "./bars.js";
import { conversation, forgetTexts } from "./conversation.js";
import { sidebar } from "./sidebar.js";
import { settingsDialog } from "./settings.js";
import { answerTo } from "./run.js";
import { listModels, explain } from "./api.js";
import { copyText, download } from "./files.js";
import { DEFAULTS, Store, loadSettings, saveSettings } from "./store.js";
import { addMessage, branch, exportChats, importChats, newChat, titleOf, turnTo } from "./chat.js";

const $ = (id) => document.getElementById(id);
const phone = matchMedia("(max-width: 760px)");
const darkSystem = matchMedia("(prefers-color-scheme: dark)");

const state = {
  chats: new Map(), // by id; those that hold a message
  chat: newChat(),
  runs: new Map(), // chat id -> the answer being written
  models: [],
  settings: loadSettings(),
  theme: document.documentElement.dataset.theme ?? "",
  dark: false,
  sidebarShown: true,
  query: "",
  editing: null, // id of the question being changed
  renaming: null, // id of the chat being renamed
  thoughts: new Map(), // message id -> unfolded by hand or not
  copied: null, // id of the message just copied
  sure: false, // "delete all" was pressed once
  drawer: false, // the list of chats is open on a phone
  toasts: [],
  apple: /Mac|iPhone|iPad/.test(navigator.platform ?? ""),
};
let store;
let stuck = true; // the end of the conversation is kept in sight
const drafts = new Map(); // chat id -> words not yet sent
const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel("meno") : null;

// ---- drawing ----------------------------------------------------------------------------------------------------

let due = false;

/** Draws the page before the next frame. */
function invalidate() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw();
  });
}

function draw() {
  state.dark = state.theme ? state.theme === "dark" : darkSystem.matches;
  state.sidebarShown = phone.matches ? state.drawer : state.settings.sidebar;
  document.body.dataset.sidebar = state.sidebarShown ? "shown" : "hidden";
  document.body.dataset.empty = String(state.chat.leaf === null);
  document.title = state.chat.title ? `${state.chat.title} · Meno` : "Meno";
  patch($("sidebar"), sidebar(state, actions));
  patch($("head"), head(state, actions));
  patch($("messages"), conversation(state, actions));
  patch($("tools"), tools(state, $("question").value.trim() === "", actions));
  patch($("jump"), stuck ? [] : [h("button", { type: "button", class: "jump", title: "To the end", "aria-label": "To the end of the conversation", onclick: toEnd }, icons.down)]);
  patch($("footnote"), [state.chat.leaf === null && !store?.lasts && store ? "This browser keeps no data: chats last as long as this page." : "Models err. Check what matters."]);
  patch($("toasts"), state.toasts.map((toast) => h("div", { class: "toast", key: toast.id }, h("span", null, toast.text), toast.action && h("button", { type: "button", class: "link", onclick: toast.action.run }, toast.action.name))));
  if ($("settings").open) patch($("settings"), settingsDialog(state, actions));
  for (const live of document.querySelectorAll(".thought-text.live")) live.scrollTop = live.scrollHeight;
  if (stuck) $("scroller").scrollTop = $("scroller").scrollHeight;
}

function toEnd() {
  stuck = true;
  invalidate();
}

/** Tells those who listen instead of looking. */
function announce(text) {
  $("status").textContent = text;
}

function toast(text, action = null) {
  const entry = { id: String(Math.random()), text, action };
  const close = () => {
    state.toasts = state.toasts.filter((t) => t !== entry);
    invalidate();
  };
  if (action) entry.action = { name: action.name, run: () => (action.run(), close()) };
  state.toasts = [...state.toasts, entry];
  setTimeout(close, action ? 8000 : 4000);
  invalidate();
}

// ---- chats ------------------------------------------------------------------------------------------------------

/** Keeps a chat as it stands, unless it was deleted meanwhile. */
async function save(chat) {
  if (!state.chats.has(chat.id)) return;
  try {
    await store.put(chat);
    channel?.postMessage(chat.id);
  } catch {
    toast("The browser could not keep this chat: its storage may be full.");
  }
}

function add(chat) {
  state.chats.set(chat.id, chat);
  save(chat);
}

function show(chat) {
  drafts.set(state.chat.id, $("question").value);
  if (chat !== state.chat) forgetTexts();
  Object.assign(state, { chat, editing: null, drawer: false });
  $("question").value = drafts.get(chat.id) ?? "";
  grow($("question"));
  stuck = true;
  const hash = state.chats.has(chat.id) ? `#${chat.id}` : "";
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname + location.search);
  invalidate();
}

/** Has the model answer what stands at the end of the branch `parent`. */
async function ask(chat, parent) {
  stuck = true;
  const run = answerTo(chat, parent, { settings: state.settings, model: chosenModel(state), changed: invalidate, keep: () => save(chat) });
  state.runs.set(chat.id, run);
  announce("Meno is reading.");
  save(chat);
  invalidate();
  const message = await run.done;
  state.runs.delete(chat.id);
  save(chat);
  announce(message.error ? message.error.title : message.finish === "stopped" ? "The answer was stopped." : "The answer is complete.");
  if (message.error?.kind === "unreachable" || message.error?.kind === "missing") loadModels();
  invalidate();
}

function send(text) {
  const words = text.trim();
  if (!words || state.runs.has(state.chat.id)) return false;
  const { chat } = state;
  const question = addMessage(chat, chat.leaf, "user", { content: words });
  add(chat);
  history.replaceState(null, "", `#${chat.id}`);
  ask(chat, question.id);
  return true;
}

async function loadModels() {
  try {
    state.models = await listModels(state.settings.key);
  } catch (error) {
    state.models = [];
    if (error.kind === "key") toast("This server asks for an API key.", { name: "Enter it", run: actions.settings });
    else if (error.name !== "AbortError") toast(`${explain(error).title}.`);
  }
  invalidate();
}

// ---- what can be done -------------------------------------------------------------------------------------------

const actions = {
  begin(words) {
    $("question").value = words;
    grow($("question"));
    $("question").focus();
    invalidate();
  },
  newChat() {
    show(state.chat.leaf === null ? state.chat : newChat());
    $("question").focus();
  },
  open(id) {
    const chat = state.chats.get(id);
    if (chat) show(chat);
  },
  stop: () => state.runs.get(state.chat.id)?.stop(),
  retry(message) {
    const { chat } = state;
    if (state.runs.has(chat.id)) return;
    // A try that brought nothing leaves no version behind.
    if (!message.content && !message.reasoning) delete chat.messages[message.id];
    ask(chat, message.parent);
  },
  edit(id) {
    state.editing = id;
    draw();
    const field = document.querySelector(".editor textarea");
    if (!field) return $("question").focus();
    grow(field);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  },
  resend(message, words) {
    const { chat } = state;
    if (!words.trim() || state.runs.has(chat.id)) return;
    state.editing = null;
    ask(chat, addMessage(chat, message.parent, "user", { content: words.trim() }).id);
    $("question").focus();
  },
  turn(message, step) {
    if (state.runs.has(state.chat.id)) return;
    turnTo(state.chat, message, step);
    stuck = false;
    save(state.chat);
    invalidate();
  },
  async copy(text, id) {
    await copyText(text);
    announce("Copied.");
    state.copied = id;
    invalidate();
    setTimeout(() => {
      if (state.copied === id) state.copied = null;
      invalidate();
    }, 1600);
  },
  fold(id, unfolded, thinking) {
    if (unfolded || thinking) state.thoughts.set(id, unfolded);
    else state.thoughts.delete(id);
    if (unfolded && !thinking) stuck = false;
    invalidate();
  },
  grow,
  search(query) {
    state.query = query;
    invalidate();
  },
  startRename(chat) {
    state.renaming = chat.id;
    draw();
    const field = document.querySelector(".renaming input");
    field.value = chat.title;
    field.select();
    field.focus();
  },
  rename(chat, title) {
    if (state.renaming !== chat.id) return;
    state.renaming = null;
    if (title.trim() && title.trim() !== chat.title) {
      chat.title = title.trim();
      save(chat);
    }
    invalidate();
  },
  remove(chat) {
    state.runs.get(chat.id)?.stop();
    state.chats.delete(chat.id);
    store.delete(chat.id).then(() => channel?.postMessage(chat.id));
    if (state.chat === chat) show(newChat());
    toast(`“${titleOf(chat.title)}” was deleted.`, { name: "Undo", run: () => (add(chat), show(chat)) });
  },
  removeAll() {
    if (!state.sure) {
      state.sure = true;
      return invalidate();
    }
    state.sure = false;
    const all = [...state.chats.values()];
    for (const chat of all) {
      state.runs.get(chat.id)?.stop();
      store.delete(chat.id);
    }
    state.chats.clear();
    show(newChat());
    toast("All chats were deleted.", { name: "Undo", run: () => all.forEach(add) });
  },
  showSidebar(shown) {
    if (phone.matches) state.drawer = shown;
    else actions.set("sidebar", shown);
    invalidate();
  },
  toggleTheme: () => actions.setTheme(state.dark ? "light" : "dark"),
  setTheme(theme) {
    state.theme = theme;
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    try {
      if (theme) localStorage.setItem("meno-theme", theme);
      else localStorage.removeItem("meno-theme");
    } catch {
      // A browser that keeps nothing: the choice lasts as long as the page.
    }
    invalidate();
  },
  set(name, value) {
    state.settings = { ...state.settings, [name]: value };
    saveSettings(state.settings);
    if (name === "key") keyChanged();
    invalidate();
  },
  settings() {
    state.sure = false;
    $("settings").showModal();
    draw();
    fillNumbers();
  },
  closeSettings: () => $("settings").close(),
  resetSettings() {
    const { key, model, sidebar: shown } = state.settings;
    state.settings = { ...DEFAULTS, key, model, sidebar: shown };
    saveSettings(state.settings);
    draw();
    fillNumbers();
  },
  exportAll: () => download("meno-chats.json", exportChats([...state.chats.values()])),
  exportOne: () => download(`${state.chat.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "chat"}.json`, exportChats([state.chat])),
  async importFile(event) {
    const field = event.currentTarget;
    const [file] = field.files;
    if (!file) return;
    try {
      const chats = importChats(await file.text());
      chats.forEach(add);
      toast(`${chats.length} chat${chats.length === 1 ? " was" : "s were"} imported.`);
    } catch (error) {
      toast(error.message);
    }
    field.value = "";
    invalidate();
  },
};

// What is typed into a field of numbers stays as it was typed; only opening and resetting write into it.
function fillNumbers() {
  for (const field of $("settings").querySelectorAll("input[type=number]")) {
    field.value = field.dataset.shown;
    field.removeAttribute("aria-invalid");
  }
}

let keyTimer;
function keyChanged() {
  clearTimeout(keyTimer);
  keyTimer = setTimeout(loadModels, 600);
}

/** A field as tall as its text. */
function grow(field) {
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, innerHeight * 0.4)}px`;
}

// ---- events -----------------------------------------------------------------------------------------------------

function submitQuestion(event) {
  event.preventDefault();
  if (!send($("question").value)) return;
  $("question").value = "";
  drafts.delete(state.chat.id);
  grow($("question"));
  if (phone.matches) $("question").blur(); // the keyboard would hide the answer
  invalidate();
}

function questionKeys(event) {
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $("composer").requestSubmit();
  } else if (event.key === "ArrowUp" && $("question").value === "" && !state.runs.has(state.chat.id)) {
    const last = branch(state.chat).reverse().find((m) => m.role === "user");
    if (!last) return;
    event.preventDefault();
    actions.edit(last.id);
  }
}

function pageKeys(event) {
  const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    $("settings").close();
    actions.newChat();
  } else if ($("settings").open) {
    return;
  } else if (event.key === "Escape") {
    if (state.renaming) state.renaming = null;
    else if (state.editing) return actions.edit(null);
    else if (state.drawer) state.drawer = false;
    else actions.stop();
    invalidate();
  } else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    $("question").focus();
  }
}

// The copy buttons of code blocks stand in parsed text, which knows no actions.
async function copyCode(event) {
  const pressed = event.target.closest("[data-copy]");
  if (!pressed) return;
  await copyText(pressed.closest("figure").querySelector("pre").textContent);
  announce("Copied.");
  pressed.classList.add("copied");
  setTimeout(() => pressed.classList.remove("copied"), 1600);
}

function listen() {
  $("composer").addEventListener("submit", submitQuestion);
  $("question").addEventListener("keydown", questionKeys);
  $("question").addEventListener("input", () => (grow($("question")), invalidate()));
  $("messages").addEventListener("click", copyCode);
  $("shade").addEventListener("click", () => actions.showSidebar(false));
  $("settings").addEventListener("click", (event) => event.target === $("settings") && actions.closeSettings());
  $("settings").addEventListener("close", () => $("question").focus());
  $("scroller").addEventListener("scroll", () => {
    const scroller = $("scroller");
    const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48;
    if (atEnd !== stuck) {
      stuck = atEnd;
      invalidate();
    }
  }, { passive: true });
  document.addEventListener("keydown", pageKeys);
  addEventListener("popstate", openAddressed);
  addEventListener("pagehide", () => state.runs.forEach((_, id) => save(state.chats.get(id))));
  darkSystem.addEventListener("change", invalidate);
  phone.addEventListener("change", invalidate);
  channel?.addEventListener("message", async ({ data: id }) => {
    if (typeof id !== "string" || state.runs.has(id)) return;
    const chat = await store.get(id);
    if (chat) state.chats.set(id, chat);
    else state.chats.delete(id);
    if (state.chat.id === id) state.chat = chat ?? newChat();
    invalidate();
  });
}

function openAddressed() {
  const chat = state.chats.get(location.hash.slice(1));
  if (chat !== state.chat) show(chat ?? newChat());
}

async function start() {
  listen();
  draw();
  store = await Store.open();
  for (const chat of await store.all().catch(() => [])) state.chats.set(chat.id, chat);
  if (location.hash) openAddressed();
  invalidate();
  await loadModels();
  document.documentElement.dataset.ready = "true";
}

start();
