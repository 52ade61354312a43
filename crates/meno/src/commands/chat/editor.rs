//! The line that is typed: several lines in one, completion of commands, and a history that outlives the session.

use super::commands::COMMANDS;
use super::settings;
use crate::terminal;
use anyhow::{Context as _, Result};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Begins and ends a text of several lines.
const QUOTES: &str = "\"\"\"";

/// What the person did.
#[derive(Debug, PartialEq)]
pub(super) enum Typed {
    /// Wrote something and pressed Enter.
    Line(String),
    /// Pressed Ctrl-C on a line that was not empty: the line is gone.
    Cleared,
    /// Pressed Ctrl-C on an empty line.
    Interrupted,
    /// Pressed Ctrl-D, or the terminal is gone.
    End,
}

/// Reads a question, of several lines if need be, from a terminal that only prints.
fn plain_line(prompt: &str) -> std::io::Result<Typed> {
    print!("{prompt}");
    std::io::stdout().flush()?;
    let mut text = String::new();
    while std::io::stdin().read_line(&mut text)? > 0 {
        let line = text.trim_end_matches(['\n', '\r']);
        if !has_more(line) {
            return Ok(Typed::Line(line.to_owned()));
        }
    }
    Ok(Typed::End)
}

/// Reads lines from a terminal.
pub(super) struct LineEditor {
    editor: Editor<Typing, FileHistory>,
    /// Where the history is kept, as long as that works.
    history: Option<PathBuf>,
}

impl LineEditor {
    /// An editor with the history of earlier sessions, if it shall be kept.
    pub(super) fn open(keep_history: bool) -> Result<LineEditor> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .max_history_size(10_000)
            .context("invariant: the size of the history is a number")?
            .build();
        let mut editor = Editor::with_config(config).context("cannot read from this terminal")?;
        editor.set_helper(Some(Typing { empty: Cell::new(true), files: FilenameCompleter::new() }));
        let history = if keep_history { state_dir().map(|dir| dir.join("chat_history")) } else { None };
        let mut editor = LineEditor { editor, history };
        if let Some(file) = editor.history.clone().filter(|file| file.exists()) {
            let loaded = editor.editor.load_history(&file);
            editor.told(loaded, "cannot be read");
        }
        Ok(editor)
    }

    /// Asks for a line, which the history keeps.
    pub(super) fn line(&mut self) -> Result<Typed> {
        let typed = self.answer("› ")?;
        if let Typed::Line(line) = &typed
            && !line.trim().is_empty()
        {
            let _ = self.editor.add_history_entry(line.trim_end());
            self.append_history();
        }
        Ok(match typed {
            Typed::Line(line) => Typed::Line(whole(&line)),
            other => other,
        })
    }

    /// Asks something with this prompt.
    pub(super) fn answer(&mut self, prompt: &str) -> Result<Typed> {
        if let Some(typing) = self.editor.helper() {
            typing.empty.set(true);
        }
        if !terminal::redraws(&std::io::stdout()) {
            return plain_line(prompt).context("cannot read from this terminal");
        }
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Typed::Line(line)),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(ReadlineError::Interrupted) => {
                let empty = self.editor.helper().is_none_or(|typing| typing.empty.get());
                Ok(if empty { Typed::Interrupted } else { Typed::Cleared })
            }
            Err(e) => Err(e).context("cannot read from this terminal"),
        }
    }

    /// Line by line, so that a session that ends by force has kept its own; other sessions' lines stay too.
    fn append_history(&mut self) {
        let Some(file) = self.history.clone() else { return };
        let made = file.parent().map_or(Ok(()), private_directory).map_err(ReadlineError::from);
        let kept = made.and_then(|()| self.editor.append_history(&file));
        self.told(kept, "cannot be written");
    }

    /// Says once that the history is not kept.
    fn told(&mut self, result: rustyline::Result<()>, what: &str) {
        if let Err(error) = result
            && let Some(file) = self.history.take()
        {
            eprintln!("note: {}: {what}, so no history is kept: {error}", file.display());
        }
    }
}

/// `meno` in the directory for state (XDG base directories).
pub(super) fn state_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("meno"))
}

/// Makes a directory that only its owner can look into.
pub(super) fn private_directory(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// What was meant by what was typed: lines joined by `\` at their ends, or all between quotes.
fn whole(line: &str) -> String {
    if let Some(quoted) = line.trim_start().strip_prefix(QUOTES) {
        let quoted = quoted.trim_end();
        return quoted.strip_suffix(QUOTES).unwrap_or(quoted).trim_matches('\n').to_owned();
    }
    line.replace("\\\n", "\n")
}

/// Whether more lines belong to it.
fn has_more(line: &str) -> bool {
    match line.trim_start().strip_prefix(QUOTES) {
        Some(quoted) => !quoted.trim_end().ends_with(QUOTES),
        None => line.ends_with('\\'),
    }
}

/// Helps while a line is typed.
struct Typing {
    /// Whether the line is empty.
    empty: Cell<bool>,
    files: FilenameCompleter,
}

impl Helper for Typing {}
impl Highlighter for Typing {}

impl Hinter for Typing {
    type Hint = String;

    /// Hints nothing. It sees every change, which is how the editor knows what Ctrl-C has cleared.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.empty.set(line.is_empty());
        None
    }
}

impl Validator for Typing {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let more = has_more(context.input());
        Ok(if more { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Completer for Typing {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        match typed.split_once(' ') {
            None if typed.starts_with('/') => Ok((0, beginning(typed, &COMMANDS.map(|c| c.name)))),
            Some(("/save" | "/load", _)) => self.files.complete(line, at, context),
            Some(("/set", name)) => Ok((5, beginning(name, &settings::NAMES))),
            Some(("/think", word)) => Ok((7, beginning(word, &["on", "off"]))),
            _ => Ok((0, Vec::new())),
        }
    }
}

/// Those words that begin so.
fn beginning(typed: &str, words: &[&str]) -> Vec<Pair> {
    let fitting = words.iter().filter(|w| w.starts_with(typed));
    fitting.map(|w| Pair { display: w.to_string(), replacement: format!("{w} ") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_are_one_question() {
        assert!(has_more("a\\") && has_more("\"\"\"a\nb") && has_more("\"\"\""));
        assert!(!has_more("a") && !has_more("\"\"\"a\nb\"\"\"") && !has_more("say \"\"\"a"));
        assert_eq!(whole("a\\\nb"), "a\nb");
        assert_eq!(whole("\"\"\"\na\n b\"\"\" "), "a\n b");
        assert_eq!(whole("a\\nb"), "a\\nb");
    }

    #[test]
    fn commands_are_completed() {
        let names = |typed: &str, words: &[&str]| -> Vec<String> {
            beginning(typed, words).into_iter().map(|p| p.replacement).collect()
        };
        assert_eq!(names("/re", &COMMANDS.map(|c| c.name)), ["/retry "]);
        assert_eq!(names("to", &settings::NAMES), ["top_p ", "top_k "]);
    }
}
