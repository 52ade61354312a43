// A chat as a Markdown file, for people to read and other programs to open.

import { branch } from "./chat.js";
import { withFiles } from "./attachments.js";

/** The branch that is shown: questions and answers under headings, thoughts folded. */
export function chatAsMarkdown(chat) {
  const parts = [`# ${chat.title || "Chat"}`];
  for (const message of branch(chat)) {
    if (message.role === "user") {
      parts.push("## Question", withFiles(message.content, message.files));
      continue;
    }
    parts.push(`## Answer${message.model ? ` (${message.model})` : ""}`);
    if (message.reasoning) parts.push(`<details>\n<summary>Thought</summary>\n\n${message.reasoning.trim()}\n\n</details>`);
    if (message.content) parts.push(message.content.trim());
    const ended = message.error ? message.error.title : { stopped: "stopped", length: "cut at the limit of tokens" }[message.finish];
    if (ended) parts.push(`*(${ended})*`);
  }
  return `${parts.join("\n\n")}\n`;
}

/** A file name of a title. */
export function fileName(title, ending) {
  const words = title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40);
  return `${words || "chat"}.${ending}`;
}
