// The actions on the list of chats: open, search, rename, delete.

import { newChat, titleOf } from "./chat.js";
import { addChat, discardChat, saveChat, showChat } from "./conversations.js";
import { byId } from "./dom.js";
import { toast } from "./notifications.js";
import { drawNow, invalidate } from "./redraw.js";
import { state } from "./state.js";

export const chatActions = {
  newChat() {
    showChat(state.chat.leaf === null ? state.chat : newChat());
    byId("question").focus();
  },
  openChat(id) {
    const chat = state.chats.get(id);
    if (chat) showChat(chat);
  },
  search(query) {
    state.query = query;
    invalidate();
  },
  startRename(chat) {
    state.renaming = chat.id;
    drawNow();
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
      saveChat(chat);
    }
    invalidate();
  },
  deleteChat(chat) {
    state.chats.delete(chat.id);
    discardChat(chat);
    if (state.chat === chat) showChat(newChat());
    toast(`“${titleOf(chat.title)}” was deleted.`, { name: "Undo", run: () => (addChat(chat), showChat(chat)) });
  },
  deleteAllChats() {
    if (!state.confirmDeleteAll) {
      state.confirmDeleteAll = true;
      return invalidate();
    }
    state.confirmDeleteAll = false;
    const all = [...state.chats.values()];
    all.forEach(discardChat);
    state.chats.clear();
    showChat(newChat());
    toast("All chats were deleted.", { name: "Undo", run: () => all.forEach(addChat) });
  },
};
