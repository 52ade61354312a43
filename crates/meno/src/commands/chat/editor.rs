//! The input line: multi-line input, completion of commands, and a history that persists across sessions.

use super::command_table::COMMANDS;
use super::settings;
use super::state_dir::{private_directory, state_dir};
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
use std::path::PathBuf;

/// Starts and ends a text of several lines.
const QUOTES: &str = "\"\"\"";

/// The user's action.
#[derive(Debug, PartialEq)]
pub(super) enum Typed {
    /// Typed something and pressed Enter.
    Line(String),
    /// Pressed Ctrl-C on a line that was not empty; the line is cleared.
    Cleared,
    /// Pressed Ctrl-C on an empty line.
    Interrupted,
    /// Pressed Ctrl-D, or the terminal has closed.
    End,
}

/// Reads a question, possibly of several lines, from a terminal that cannot redraw lines.
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
    /// The history file; `None` once it cannot be used.
    history: Option<PathBuf>,
}

impl LineEditor {
    /// Opens an editor with the history of earlier sessions, if `keep_history` is set.
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

    /// Asks for a line and adds it to the history.
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

    /// Asks for a line with this prompt.
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

    /// Appends line by line, so that a killed session keeps its lines and the lines of other sessions stay too.
    fn append_history(&mut self) {
        let Some(file) = self.history.clone() else { return };
        let made = file.parent().map_or(Ok(()), private_directory).map_err(ReadlineError::from);
        let kept = made.and_then(|()| self.editor.append_history(&file));
        self.told(kept, "cannot be written");
    }

    /// Reports once that the history is not kept.
    fn told(&mut self, result: rustyline::Result<()>, what: &str) {
        if let Err(error) = result
            && let Some(file) = self.history.take()
        {
            eprintln!("note: {}: {what}, so no history is kept: {error}", file.display());
        }
    }
}

/// The text of a typed input: lines joined by a trailing `\`, or everything between quotes.
fn whole(line: &str) -> String {
    if let Some(quoted) = line.trim_start().strip_prefix(QUOTES) {
        let quoted = quoted.trim_end();
        return quoted.strip_suffix(QUOTES).unwrap_or(quoted).trim_matches('\n').to_owned();
    }
    line.replace("\\\n", "\n")
}

/// True if the input continues on another line.
fn has_more(line: &str) -> bool {
    match line.trim_start().strip_prefix(QUOTES) {
        Some(quoted) => !quoted.trim_end().ends_with(QUOTES),
        None => line.ends_with('\\'),
    }
}

/// Completion, hints and validation while a line is typed.
struct Typing {
    /// True if the line is empty.
    empty: Cell<bool>,
    files: FilenameCompleter,
}

impl Helper for Typing {}
impl Highlighter for Typing {}

impl Hinter for Typing {
    type Hint = String;

    /// Gives no hint. It sees every change, so the editor knows what Ctrl-C has cleared.
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

/// The words that start with `typed`.
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
