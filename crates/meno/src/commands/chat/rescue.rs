//! Rescues an unsaved conversation. When the terminal closes (SIGHUP) or the process is ended (SIGTERM), the
//! conversation is written to a file, which the next chat mentions. This includes the current question and
//! the part of its answer written so far.

use super::conversation::{Conversation, Turn};
use super::state_dir::{private_directory, state_dir};
use meno_engine::reasoning::Piece;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const PREFIX: &str = "interrupted-chat-";

/// The unsaved conversation.
#[derive(Clone, Default)]
pub(super) struct Rescue(Arc<Mutex<Unsaved>>);

#[derive(Default)]
struct Unsaved {
    talk: Conversation,
    /// The question being answered, with the answer so far.
    open: Option<Turn>,
}

impl Unsaved {
    /// The contents of the file, if there is anything to save.
    fn text(&self) -> Option<String> {
        let mut talk = self.talk.clone();
        match &self.open {
            Some(turn) if turn.thought.is_empty() && turn.answer.is_empty() => {
                talk.unanswered = Some(turn.user.clone())
            }
            Some(turn) => talk.turns.push(turn.clone()),
            None if !talk.unsaved => return None,
            None => {}
        }
        talk.json().ok()
    }
}

impl Rescue {
    /// Waits for the signals that close the terminal or end the process.
    pub(super) fn watch(&self) {
        let rescue = self.clone();
        let wanted = [SIGHUP, SIGTERM].into_iter().filter(|s| !crate::exit::is_ignored(*s));
        // Without a thread, the signals end the process as usual.
        if let Ok(mut signals) = Signals::new(wanted) {
            let _ = std::thread::Builder::new().name("rescue".into()).spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    if let Some(text) = rescue.lock().text() {
                        // An error cannot be shown any more because the terminal is closed.
                        let _ = write(&text);
                    }
                    signal_hook::low_level::exit(128 + signal);
                }
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Unsaved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the conversation between two questions.
    pub(super) fn note(&self, talk: &Conversation) {
        *self.lock() = Unsaved { talk: talk.clone(), open: None };
    }

    /// Records a question that is about to be answered.
    pub(super) fn asked(&self, talk: &Conversation, question: &str) {
        let open = Turn { user: question.to_owned(), thought: String::new(), answer: String::new() };
        *self.lock() = Unsaved { talk: Conversation { unanswered: None, ..talk.clone() }, open: Some(open) };
    }

    /// Records the next piece of its answer.
    pub(super) fn piece(&self, piece: &Piece) {
        if let Some(turn) = &mut self.lock().open {
            match piece {
                Piece::Thought(text) => turn.thought.push_str(text),
                Piece::Answer(text) => turn.answer.push_str(text),
                Piece::Retract => turn.thought.push_str(&std::mem::take(&mut turn.answer)),
            }
        }
    }
}

/// The interrupted conversations, oldest first.
pub(super) fn all() -> Vec<PathBuf> {
    let files = state_dir().and_then(|dir| std::fs::read_dir(dir).ok());
    let paths = files.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = paths.filter(|path| is_rescued(path)).collect();
    found.sort();
    found
}

/// True if a file is an interrupted conversation.
pub(super) fn is_rescued(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX) && path.parent() == state_dir().as_deref()
}

/// Writes the text to a new file that only its owner can read.
fn write(text: &str) -> std::io::Result<()> {
    let Some(dir) = state_dir() else { return Ok(()) };
    private_directory(&dir)?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(dir.join(format!("{PREFIX}{seconds}-{}.json", std::process::id())))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_being_written_is_saved_too() {
        let rescue = Rescue::default();
        let text = || rescue.lock().text();
        assert!(text().is_none());
        rescue.asked(&Conversation::default(), "why?");
        let question = text().unwrap();
        assert!(question.contains("why?") && !question.contains("assistant"), "{question}");
        rescue.piece(&Piece::Answer("because".into()));
        rescue.piece(&Piece::Retract);
        rescue.piece(&Piece::Answer("so".into()));
        let messages: serde_json::Value = serde_json::from_str(&text().unwrap()).unwrap();
        assert_eq!(messages[1]["reasoning_content"], "because");
        assert_eq!(messages[1]["content"], "so");
        rescue.note(&Conversation::default());
        assert!(text().is_none());
    }
}
