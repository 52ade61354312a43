//! The commands and the keys of a chat, with their help texts.

/// A command, its argument, and its help text.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) arguments: &'static str,
    pub(super) does: &'static str,
}

const fn command(name: &'static str, arguments: &'static str, does: &'static str) -> Command {
    Command { name, arguments, does }
}

/// All commands, in the order of `/help`.
pub(super) const COMMANDS: [Command; 10] = [
    command("/help", "", "this"),
    command("/retry", "", "answer the last question again"),
    command("/system", "[TEXT|none]", "show or change the instructions before the conversation"),
    command("/set", "[NAME [VALUE]]", "show or change temperature, top_p, top_k, min_p, max_tokens, stop, seed"),
    command("/think", "[on|off]", "show the last thought; thoughts in full, or folded when they end"),
    command("/copy", "", "copy the last answer to the clipboard of the terminal (OSC 52)"),
    command("/save", "[--force] FILE", "write the conversation (.json: messages, else Markdown)"),
    command("/load", "FILE", "continue a conversation that was saved as .json"),
    command("/clear", "", "clear the conversation"),
    command("/exit", "", "exit"),
];

/// The keys, listed below the commands.
pub(super) const KEYS: [(&str, &str); 5] = [
    ("Ctrl-C", "stop the answer; at the prompt: clear the line, press twice to exit"),
    ("Ctrl-D", "leave"),
    ("\\ at the end", "the question continues on the next line; or put it between \"\"\" and \"\"\""),
    ("Tab, ↑", "complete a command or a file; earlier lines, of earlier sessions too"),
    ("//…", "a question that begins with /"),
];
