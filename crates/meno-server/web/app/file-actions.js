// The actions on files: attach text files to a question; export and import chats.

import { readAttachment } from "./attachments.js";
import { chatAsMarkdown, exportChats, fileName, importChats } from "./chat-files.js";
import { addChat } from "./conversations.js";
import { byId } from "./dom.js";
import { selectedModel } from "./models.js";
import { toast } from "./notifications.js";
import { invalidate } from "./redraw.js";
import { state } from "./state.js";

const BYTES_PER_TOKEN = 3; // less than most texts need, so that the warning comes early rather than late

/** Adds files to the question; shows a toast if one cannot be read or may be too long. */
async function attach(files) {
  for (const file of files) {
    try {
      const { encoding, ...read } = await readAttachment(file);
      state.attachments = [...state.attachments, read];
      if (encoding === "windows-1252") toast(`“${read.name}” is not in UTF-8 and was read as windows-1252 (Latin-1). If letters are wrong, save it as UTF-8 and attach it again.`);
      const context = selectedModel(state)?.context;
      if (context && read.text.length > context * BYTES_PER_TOKEN) toast(`“${read.name}” may be too long: this model reads ${context.toLocaleString("en")} tokens. If the server rejects it, attach the part that matters.`);
    } catch (error) {
      toast(error.message);
    }
  }
  invalidate();
}

/** Saves a text as a file. */
function download(name, text, type = "application/json") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const fileActions = {
  attach,
  async attachChosen(event) {
    const field = event.currentTarget;
    const files = [...field.files];
    field.value = "";
    await attach(files);
    byId("question").focus();
  },
  detach(index) {
    state.attachments = state.attachments.filter((_, i) => i !== index);
    invalidate();
  },
  exportAll: () => download("meno-chats.json", exportChats([...state.chats.values()])),
  exportChat: () => download(fileName(state.chat.title, "json"), exportChats([state.chat])),
  exportMarkdown: () => download(fileName(state.chat.title, "md"), chatAsMarkdown(state.chat), "text/markdown"),
  async importFile(event) {
    const field = event.currentTarget;
    const [file] = field.files;
    if (!file) return;
    try {
      const chats = importChats(await file.text());
      chats.forEach(addChat);
      toast(`${chats.length} chat${chats.length === 1 ? " was" : "s were"} imported.`);
    } catch (error) {
      toast(error.message);
    }
    field.value = "";
    invalidate();
  },
};
