// The state of the page. Components read it; actions change it and call `invalidate` (redraw.js).

import { newChat } from "./chat.js";
import { loadSettings } from "./settings.js";

export const state = {
  chats: new Map(), // id -> chat; only chats that contain a message
  chat: newChat(), // the open chat
  runs: new Map(), // chat id -> its streaming answer (answer-stream.js)
  models: [], // from `listModels` (api.js)
  attachments: [], // files that go with the next question
  settings: loadSettings(),
  theme: document.documentElement.dataset.theme ?? "", // "light", "dark", or "" to follow the system
  dark: false,
  sidebarShown: true,
  drawerOpen: false, // the sidebar on a phone
  query: "", // the search in the sidebar
  editing: null, // id of the question being edited
  renaming: null, // id of the chat being renamed
  thoughts: new Map(), // message id -> true if the user unfolded its thought, false if folded
  copied: null, // id of the message just copied
  confirmDeleteAll: false, // "Delete all" was clicked once
  followEnd: true, // the conversation scrolls with the answer
  keepsNothing: false, // this browser stores no data
  toasts: [],
  isWrittenElsewhere: () => false, // (message): another tab is writing it; set by conversations.js
  isApple: /Mac|iPhone|iPad/.test(navigator.platform ?? ""),
};
