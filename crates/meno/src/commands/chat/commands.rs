//! The commands of a chat, which begin with `/`.

use super::command_table::{COMMANDS, KEYS};
use super::conversation::Conversation;
use super::dialogue::Chat;
use super::{rescue, settings};
use crate::exit::one_line;
use crate::open::at_home;
use crate::terminal::printable;
use anyhow::Result;
use meno_train::recipe::near;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    GoOn,
    Leave,
}

impl Chat {
    /// Executes a line.
    pub(super) fn line(&mut self, line: &str) -> Result<Next> {
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        match command {
            "/exit" | "/quit" | "/bye" => return Ok(Next::Leave),
            "/help" | "/?" => self.help(),
            "/clear" | "/reset" => self.clear(),
            "/think" => self.think(argument),
            "/set" => self.set(argument),
            "/system" => self.system(argument),
            "/copy" => self.copy()?,
            "/save" => self.save(argument),
            "/load" => self.load(argument),
            "/retry" => self.retry()?,
            _ => match line.strip_prefix("//") {
                Some(rest) => self.ask_and_go_on(&format!("/{rest}"))?,
                None if is_command(command) => {
                    let names = COMMANDS.map(|c| c.name.to_owned());
                    println!("{command} is not a command{}", near(command, &names));
                    println!("/help lists the commands; start a question that begins with / with //");
                }
                None => self.ask_and_go_on(line)?,
            },
        }
        Ok(Next::GoOn)
    }

    fn help(&self) {
        for c in COMMANDS {
            println!("{:<24} {}", format!("{} {}", c.name, c.arguments), c.does);
        }
        for (key, does) in KEYS {
            println!("{key:<24} {does}");
        }
    }

    fn clear(&mut self) {
        self.talk = Conversation { system: self.talk.system.take(), ..Conversation::default() };
        println!("The conversation is cleared.");
    }

    fn think(&mut self, argument: &str) {
        match (argument, self.talk.turns.last().map(|t| t.thought.trim())) {
            ("on", _) => self.think = true,
            ("off", _) => self.think = false,
            ("", Some(thought)) if !thought.is_empty() => println!("{}", self.faint(&printable(thought))),
            ("", _) => println!("There was no thought."),
            (other, _) => println!("/think {other}: expected on or off"),
        }
    }

    fn set(&mut self, argument: &str) {
        let (name, value) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
        match (name, value.trim()) {
            ("", _) => println!("{}", settings::list(&self.sampling, self.seed)),
            (name, "") if settings::NAMES.contains(&name) => {
                println!("{name} = {}", settings::shown(&self.sampling, self.seed, name));
            }
            (name, value) => match settings::set(&mut self.sampling, &mut self.seed, name, value) {
                Ok(set) => println!("{set}"),
                Err(why) => println!("/set {name}: {why}"),
            },
        }
    }

    fn system(&mut self, argument: &str) {
        match argument {
            "" => match &self.talk.system {
                Some(system) => println!("{}", printable(system)),
                None => println!("There are no instructions; /system TEXT gives some."),
            },
            "none" => {
                self.talk.system = None;
                println!("There are no instructions from now on.");
            }
            text => {
                self.talk.system = Some(text.to_owned());
                println!("The instructions apply from the next answer on.");
            }
        }
        if self.backend.task_profile().is_some() && !argument.is_empty() {
            println!("This model was trained for one task and accepts no instructions.");
        }
    }

    fn copy(&self) -> Result<()> {
        match self.talk.turns.last() {
            None => println!("There is no answer yet."),
            Some(_) if !self.live => println!("/copy needs a terminal, but standard output is not one"),
            Some(turn) => {
                print!("{}", clipboard(&turn.answer));
                stdout().flush()?;
                println!("{} characters are sent to the terminal's clipboard.", turn.answer.chars().count());
            }
        }
        Ok(())
    }

    fn save(&mut self, argument: &str) {
        let (force, file) = match argument.strip_prefix("--force") {
            Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => (true, rest.trim()),
            _ => (false, argument),
        };
        if file.is_empty() {
            println!("/save needs a file name");
            return;
        }
        self.save_to(Path::new(file), force);
    }

    /// Saves the conversation and reports it; returns true on success.
    pub(super) fn save_to(&mut self, file: &Path, force: bool) -> bool {
        let file = at_home(file);
        match self.talk.save(&file, force, self.backend.name()) {
            Ok(()) => println!("{} written to {}", turns(self.talk.turns.len()), file.display()),
            Err(e) => {
                println!("{}", one_line(&e));
                return false;
            }
        }
        true
    }

    fn load(&mut self, argument: &str) {
        if argument.is_empty() {
            println!("/load needs a file name");
            return;
        }
        if self.talk.unsaved {
            println!("The conversation so far is not saved: /save it or /clear it first.");
            return;
        }
        let file: PathBuf = at_home(Path::new(argument));
        match Conversation::load(&file) {
            Err(e) => println!("{}", one_line(&e)),
            Ok(talk) => {
                println!("{} read from {}", turns(talk.turns.len()), file.display());
                if talk.unanswered.is_some() {
                    println!("The last question has no answer; /retry asks it.");
                }
                self.talk = talk;
                if rescue::is_rescued(&file) {
                    // The conversation is in memory again; leaving offers to save it.
                    let _ = std::fs::remove_file(&file);
                    (self.talk.file, self.talk.unsaved) = (None, true);
                }
            }
        }
    }

    fn retry(&mut self) -> Result<()> {
        if let Some(question) = self.talk.unanswered.take() {
            return self.ask_and_go_on(&question);
        }
        let Some(turn) = self.talk.turns.pop() else {
            println!("There is no question yet.");
            return Ok(());
        };
        let before = self.talk.turns.len();
        let asked = self.ask_and_go_on(&turn.user);
        if self.talk.turns.len() == before {
            // The new answer failed, so the old answer is restored.
            self.talk.turns.push(turn);
            self.talk.unanswered = None;
        }
        asked
    }
}

fn turns(n: usize) -> String {
    if n == 1 { "1 turn".to_owned() } else { format!("{n} turns") }
}

/// True if a word looks like a command; a path or a fraction does not.
fn is_command(word: &str) -> bool {
    word.strip_prefix('/').is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_alphabetic() || c == '-'))
}

/// The sequence that makes a terminal put text on the clipboard (xterm's control sequence OSC 52).
fn clipboard(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", base64(text.as_bytes()))
}

/// Base64 encoding (RFC 4648, with padding).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(clipboard("ÿ?"), "\x1b]52;c;w78/\x07");
    }

    #[test]
    fn paths_are_no_commands() {
        assert!(is_command("/svae") && is_command("/set-up"));
        assert!(!is_command("/etc/passwd") && !is_command("/2") && !is_command("/"));
    }
}
