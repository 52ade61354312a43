//! Shows an answer as it arrives: the thought folded, the answer in full.

use crate::remote::RemoteAnswer;
use crate::terminal::{self, FoldedThought, Wrapped, dim, printable};
use meno_engine::Finish;
use meno_engine::reasoning::Piece;
use std::io::{Stdout, Write, stdout};
use std::time::Instant;

/// Shows an answer as it arrives.
pub(super) struct AnswerView {
    live: bool,
    think: bool,
    fold: Option<FoldedThought<Stdout>>,
    thought: bool,
    /// True if any part of the answer other than white space was shown.
    answered: bool,
    thought_tokens: usize,
    /// Wraps the lines of the text.
    lines: Wrapped,
}

impl AnswerView {
    pub(super) fn new(live: bool, think: bool) -> AnswerView {
        AnswerView {
            live,
            think,
            fold: None,
            thought: false,
            answered: false,
            thought_tokens: 0,
            lines: Wrapped::default(),
        }
    }

    pub(super) fn piece(&mut self, piece: Piece, tokens: usize) -> std::io::Result<()> {
        let mut out = stdout();
        match piece {
            Piece::Thought(text) => self.thinking(&text, tokens),
            Piece::Answer(text) => {
                self.close(false)?;
                let text = if self.answered { &text } else { text.trim_start() };
                self.answered |= !text.is_empty();
                let text =
                    if self.live { self.lines.push(&printable(text), terminal::size().0) } else { text.to_owned() };
                write!(out, "{text}")?;
                out.flush()
            }
            Piece::Retract => {
                self.answered = false;
                let note = "(the text above was still part of the thought)";
                if self.live { write!(out, "\r\n{}\r\n", dim(note)) } else { writeln!(out, "\n{note}") }
            }
        }
    }

    fn thinking(&mut self, text: &str, tokens: usize) -> std::io::Result<()> {
        let mut out = stdout();
        let first = !self.thought;
        if first && text.trim().is_empty() {
            return Ok(());
        }
        self.thought = true;
        self.thought_tokens = tokens;
        match (self.live, self.think) {
            (true, false) => {
                let (width, _) = terminal::size();
                let fold = self.fold.get_or_insert_with(|| FoldedThought::new(stdout(), width, true));
                fold.resize(width);
                fold.push(text, tokens)
            }
            (true, true) => {
                let text = if first { text.trim_start() } else { text };
                let text = self.lines.push(&printable(text), terminal::size().0);
                write!(out, "{}", dim(text))?;
                out.flush()
            }
            (false, true) => {
                write!(out, "{}{text}", if first { "<think>" } else { "" })?;
                out.flush()
            }
            (false, false) => Ok(()),
        }
    }

    /// Ends the thought, if one is on the screen.
    fn close(&mut self, cut_off: bool) -> std::io::Result<()> {
        if !std::mem::take(&mut self.thought) {
            return Ok(());
        }
        self.lines = Wrapped::default();
        match self.fold.take() {
            Some(fold) => fold.end(cut_off),
            None if self.live && self.think => write!(stdout(), "\r\n\r\n"),
            None if self.think => writeln!(stdout(), "{}", if cut_off { "" } else { "</think>" }),
            None => Ok(()),
        }
    }

    pub(super) fn end(mut self, answer: &RemoteAnswer, start: Instant) -> std::io::Result<()> {
        self.close(answer.split.unfinished)?;
        let mut out = stdout();
        if self.answered {
            writeln!(out)?;
        }
        let count = answer.tokens;
        let why = match answer.finish {
            Finish::Stop => "",
            Finish::Length => " · cut off: the limit of tokens",
            Finish::Cancelled => " · stopped",
            Finish::NotFinite => " · failed",
        };
        let rate = count as f64 / start.elapsed().as_secs_f64();
        if self.live {
            writeln!(out, "{}\n", dim(format!("{count} tokens · {rate:.0} tokens/s{why}")))?;
        } else if !why.is_empty() {
            eprintln!("{}", why.trim_start_matches(" · "));
        }
        out.flush()
    }
}
