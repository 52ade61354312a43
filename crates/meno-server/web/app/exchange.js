// What goes into the page and out of it as files: text files beside a question, chats as JSON and Markdown.

import { readAttachment } from "./attachments.js";
import { chosenModel } from "./bars.js";
import { exportChats, importChats } from "./chat.js";
import { download } from "./files.js";
import { chatAsMarkdown, fileName } from "./share.js";

const BYTES_PER_TOKEN = 3; // fewer than most texts have, so that a warning comes rather too early

/** The actions that deal with files. `page` has what they need of it: `state`, `add`, `toast`, `invalidate`. */
export function fileActions({ state, add, toast, invalidate }) {
  return {
    async attach(files) {
      for (const file of files) {
        try {
          const { encoding, ...read } = await readAttachment(file);
          state.attached = [...state.attached, read];
          if (encoding === "windows-1252") toast(`“${read.name}” is not in UTF-8 and was read as windows-1252 (Latin-1). If letters are wrong, save it as UTF-8 and attach it again.`);
          const context = chosenModel(state)?.context;
          if (context && read.text.length > context * BYTES_PER_TOKEN) toast(`“${read.name}” may be too long: this model reads ${context.toLocaleString("en")} tokens. If it refuses, attach the part that matters.`);
        } catch (error) {
          toast(error.message);
        }
      }
      invalidate();
    },
    async attachChosen(event) {
      const field = event.currentTarget;
      const files = [...field.files];
      field.value = "";
      await this.attach(files);
      document.getElementById("question").focus();
    },
    detach(index) {
      state.attached = state.attached.filter((_, i) => i !== index);
      invalidate();
    },
    exportAll: () => download("meno-chats.json", exportChats([...state.chats.values()])),
    exportOne: () => download(fileName(state.chat.title, "json"), exportChats([state.chat])),
    exportMarkdown: () => download(fileName(state.chat.title, "md"), chatAsMarkdown(state.chat), "text/markdown"),
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
}
