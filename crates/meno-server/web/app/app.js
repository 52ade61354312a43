// The page: what it knows, what can be done, and when it is drawn.

import { h, patch } from "../vnode.js";
import { icons } from "./icons.js";
import { attached, chosenModel, head, tools } from "./bars.js";
import { conversation, forgetTexts } from "./conversation.js";
import { sidebar } from "./sidebar.js";
import { settingsDialog } from "./settings.js";
import { answerTo } from "./run.js";
import { listModels, explain } from "./api.js";
import { findStretching } from "../math/plain.js";
import { copyText } from "./files.js";
import { listen } from "./events.js";
import { fileActions } from "./exchange.js";
import { absorb, fragment } from "./merge.js";
import { Tabs } from "./tabs.js";
import { DEFAULTS, Store, keepLeaf, keepUnsaved, loadSettings, saveSettings, takeLeaves, takeUnsaved } from "./store.js";
import { addMessage, branch, newChat, titleOf, turnTo } from "./chat.js";

const $ = (id) => document.getElementById(id);
const phone = matchMedia("(max-width: 760px)");
const darkSystem = matchMedia("(prefers-color-scheme: dark)");

const state = {
  chats: new Map(), // by id; those that hold a message
  chat: newChat(),
  runs: new Map(), // chat id -> the answer being written
  models: [], // as listModels gives them
  attached: [], // files that go with the question
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
  writtenElsewhere: (message) => tabs.writes(message),
  apple: /Mac|iPhone|iPad/.test(navigator.platform ?? ""),
};
let store;
const READING_MS = 60; // a notice stays this long for each of its characters, and never less than 4 s
let stuck = true; // the end of the conversation is kept in sight
const drafts = new Map(); // chat id -> {words, files} not yet sent
const deleted = new Map(); // chats that another tab deleted, until it brings them back
const tabs = new Tabs({ changed: changedElsewhere, deleted: deletedElsewhere, silent: invalidate });

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
  patch($("attached"), attached(state.attached, actions));
  patch($("tools"), tools(state, $("question").value.trim() === "" && state.attached.length === 0, actions));
  patch($("jump"), stuck ? [] : [h("button", { type: "button", class: "jump", title: "To the end", "aria-label": "To the end of the conversation", onclick: toEnd }, icons.down)]);
  patch($("footnote"), [state.chat.leaf === null && !store?.lasts && store ? "This browser keeps no data: chats last as long as this page." : "Models make mistakes. Check what matters."]);
  patch($("toasts"), state.toasts.map((toast) => h("div", { class: "toast", key: toast.id }, h("span", null, toast.text), toast.action && h("button", { type: "button", class: "link", onclick: toast.action.run }, toast.action.name))));
  if ($("settings").open) patch($("settings"), settingsDialog(state, actions));
  for (const live of document.querySelectorAll(".thought-text.live")) live.scrollTop = live.scrollHeight;
  if (stuck) $("scroller").scrollTop = $("scroller").scrollHeight;
}

/** Keeps the end of the conversation in sight, or leaves it where it is. */
function stick(atEnd) {
  if (atEnd === stuck) return;
  stuck = atEnd;
  invalidate();
}

function toEnd() {
  stuck = true;
  invalidate();
}

/** Says it to screen readers. */
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
  setTimeout(close, Math.max(action ? 8000 : 4000, text.length * READING_MS));
  invalidate();
}

// ---- chats ------------------------------------------------------------------------------------------------------

/** Keeps a chat as it stands, unless it was deleted meanwhile. */
async function save(chat, ended = null) {
  if (!state.chats.has(chat.id)) return;
  keepLeaf(chat);
  try {
    await store.put(chat);
    tabs.changed(chat.id, ended ?? state.runs.get(chat.id), ended !== null);
  } catch {
    toast("The browser could not keep this chat: its storage may be full. Export it in the settings, or delete other chats.");
  }
}

async function changedElsewhere(id) {
  const kept = await store?.get(id);
  if (!kept) return;
  const chat = state.chats.get(id) ?? deleted.get(id);
  if (chat) absorb(chat, kept);
  state.chats.set(id, chat ?? kept);
  deleted.delete(id);
  invalidate();
}

function deletedElsewhere(id) {
  const chat = state.chats.get(id);
  if (!chat) return;
  state.runs.get(id)?.stop();
  deleted.set(id, chat);
  state.chats.delete(id);
  if (state.chat === chat) show(newChat());
  invalidate();
}

/** What is being written is kept at once: a page that goes has no time for a database. */
function keepRuns() {
  keepUnsaved(tabs.name, [...state.runs].filter(([id]) => state.chats.has(id)).map(([id, run]) => fragment(state.chats.get(id), run.message)));
  if (state.chats.has(state.chat.id)) keepLeaf(state.chat);
  try {
    sessionStorage.setItem("meno-draft", JSON.stringify([state.chats.has(state.chat.id) ? state.chat.id : "", $("question").value]));
  } catch {
    // A browser that keeps nothing.
  }
}

/** Takes back what pages left behind that went in the middle of an answer, and the words of this tab's question. */
async function takeBack() {
  const { chats, forget } = takeUnsaved();
  for (const left of chats.filter((chat) => typeof chat?.id === "string" && chat.messages)) {
    const chat = state.chats.get(left.id);
    if (chat) absorb(chat, left);
    else state.chats.set(left.id, left);
    await store.put(state.chats.get(left.id));
  }
  forget();
}

function takeDraft() {
  try {
    const [id, words] = JSON.parse(sessionStorage.getItem("meno-draft") ?? '["",""]');
    if (id !== (state.chats.has(state.chat.id) ? state.chat.id : "") || $("question").value) return;
    $("question").value = words;
    grow($("question"));
  } catch {
    // None was kept.
  }
}

function add(chat) {
  state.chats.set(chat.id, chat);
  save(chat);
}

function show(chat) {
  drafts.set(state.chat.id, { words: $("question").value, files: state.attached });
  if (chat !== state.chat) forgetTexts();
  const draft = drafts.get(chat.id);
  Object.assign(state, { chat, editing: null, drawer: false, attached: draft?.files ?? [] });
  $("question").value = draft?.words ?? "";
  grow($("question"));
  stuck = true;
  const hash = state.chats.has(chat.id) ? `#${chat.id}` : "";
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname + location.search);
  invalidate();
}

/** Has the model answer what stands at the end of the branch `parent`, or continue the answer `into`. */
async function ask(chat, parent, into = null) {
  stuck = true;
  const run = answerTo(chat, parent, { settings: state.settings, model: chosenModel(state), changed: invalidate, keep: () => save(chat), into });
  state.runs.set(chat.id, run);
  announce("Meno is reading.");
  save(chat);
  invalidate();
  const message = await run.done;
  if (run.left) return;
  state.runs.delete(chat.id);
  save(chat, run).then(keepRuns);
  announce(message.error ? message.error.title : message.finish === "stopped" ? "The answer was stopped." : "The answer is complete.");
  if (run.refused) toast(`The answer cannot be continued: ${run.refused.message} Try again for a new one.`);
  if (message.error?.kind === "unreachable" || message.error?.kind === "missing") loadModels();
  invalidate();
}

/** Whether what follows must wait: an answer is being written in this chat, or in another tab where it would follow. */
function busyAtEnd(chat) {
  if (state.runs.has(chat.id)) return true;
  if (!branch(chat).some((message) => tabs.writes(message))) return false;
  toast("Another tab is writing an answer here. Wait for it, or stop it there.");
  return true;
}

function send(text) {
  const words = text.trim();
  const files = state.attached;
  if ((!words && files.length === 0) || busyAtEnd(state.chat)) return false;
  const { chat } = state;
  const question = addMessage(chat, chat.leaf, "user", files.length > 0 ? { content: words, files } : { content: words });
  state.attached = [];
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
    else if (error.name !== "AbortError") toast(`${explain(error).title}. ${explain(error).text}`);
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
    // A try that brought nothing leaves no version behind: the next one takes its place.
    ask(chat, message.parent, message.content || message.reasoning ? null : message);
  },
  goOn(message) {
    if (!busyAtEnd(state.chat)) ask(state.chat, message.parent, message);
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
    const { files } = message;
    if ((!words.trim() && !files) || state.runs.has(chat.id)) return;
    state.editing = null;
    ask(chat, addMessage(chat, message.parent, "user", files ? { content: words.trim(), files } : { content: words.trim() }).id);
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
      Object.assign(chat, { title: title.trim(), titled: Date.now() });
      save(chat);
    }
    invalidate();
  },
  remove(chat) {
    state.runs.get(chat.id)?.stop();
    state.chats.delete(chat.id);
    store.delete(chat.id).then(() => tabs.deleted(chat.id));
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
      store.delete(chat.id).then(() => tabs.deleted(chat.id));
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
  ...fileActions({ state, add, toast, invalidate }),
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

// ---- the beginning ----------------------------------------------------------------------------------------------

darkSystem.addEventListener("change", invalidate);
phone.addEventListener("change", invalidate);

function openAddressed() {
  const chat = state.chats.get(location.hash.slice(1));
  if (chat !== state.chat) show(chat ?? newChat());
}

async function start() {
  listen({ state, actions, send, drafts, grow, invalidate, announce, keepRuns, openAddressed, stick, phone });
  findStretching();
  draw();
  store = await Store.open();
  for (const chat of await store.all().catch(() => [])) state.chats.set(chat.id, chat);
  await takeBack();
  takeLeaves(state.chats);
  if (location.hash) openAddressed();
  takeDraft();
  invalidate();
  await loadModels();
  document.documentElement.dataset.ready = "true";
}

start();
