//! The loop of an interactive chat: reads lines, executes them, and offers to save at the end.

use super::commands::Next;
use super::dialogue::Chat;
use super::editor::{LineEditor, Typed};
use super::rescue;
use anyhow::{Context, Result};
use signal_hook::consts::SIGINT;
use std::path::Path;

impl Chat {
    /// Talks with the user until they leave.
    pub(super) fn terminal(&mut self, keep_history: bool) -> Result<()> {
        self.greet();
        if let [others @ .., newest] = &rescue::all()[..] {
            let others = if others.is_empty() { String::new() } else { format!(", and {} earlier ones", others.len()) };
            println!("A conversation was interrupted{others}; continue it with /load {}\n", newest.display());
        }
        let mut editor = LineEditor::open(keep_history)?;
        self.rescue.watch();
        // At the prompt Ctrl-C is a key; while the model writes it is a signal.
        signal_hook::flag::register(SIGINT, self.backend.cancel_flag()).context("cannot watch for Ctrl-C")?;
        let mut interrupted = false;
        loop {
            let typed = editor.line()?;
            let again = matches!(typed, Typed::Interrupted) && interrupted;
            interrupted = matches!(typed, Typed::Interrupted | Typed::Cleared);
            match typed {
                Typed::Line(line) if line.trim().is_empty() => {}
                Typed::Line(line) => {
                    let next = self.line(line.trim())?;
                    self.rescue.note(&self.talk);
                    if next == Next::Leave {
                        break;
                    }
                }
                Typed::End => break,
                _ if again => break,
                Typed::Interrupted | Typed::Cleared => println!("{}", self.faint("Ctrl-C again or Ctrl-D exits")),
            }
        }
        self.offer_to_save(&mut editor)
    }

    fn offer_to_save(&mut self, editor: &mut LineEditor) -> Result<()> {
        while self.talk.unsaved {
            println!(
                "The conversation is not saved. Enter a file name (.json to continue it later, otherwise Markdown), or \
                 nothing to discard it:"
            );
            match editor.answer("save as › ")? {
                Typed::Line(file) if file.trim().is_empty() => break,
                Typed::Line(file) => {
                    self.save_to(Path::new(file.trim()), false);
                }
                _ => break,
            }
        }
        Ok(())
    }
}
