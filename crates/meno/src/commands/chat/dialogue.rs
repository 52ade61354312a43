//! Questions and their answers: asks the backend, shows the answer, and remembers both.

use super::answer_view::AnswerView;
use super::backend::ChatBackend;
use super::conversation::{Conversation, Turn};
use super::rescue::Rescue;
use crate::exit::one_line;
use crate::interrupt;
use crate::ranks;
use crate::remote::RemoteAnswer;
use crate::session::SamplingArgs;
use crate::terminal::{self, bold, dim, wrap};
use anyhow::{Context, Result, bail};
use meno_engine::reasoning::{Piece, Split};
use meno_engine::{Error, Finish, Message, Request, StreamKey};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A question for a [`ChatBackend`].
enum Question {
    /// A prompt, and true if a chat template wrote it.
    Prompt(String, bool),
    /// A conversation, for a server.
    Messages(Vec<Message>),
}

/// A conversation in progress.
pub(super) struct Chat {
    pub(super) backend: ChatBackend,
    pub(super) sampling: SamplingArgs,
    pub(super) seed: u64,
    /// Questions asked so far, including forgotten ones: each draws its own random numbers.
    pub(super) asked: u64,
    pub(super) talk: Conversation,
    pub(super) rescue: Rescue,
    pub(super) think: bool,
    /// True if the answer goes to a terminal.
    pub(super) live: bool,
}

impl Chat {
    /// Answers one question. Ctrl-C stops it and keeps the text written so far.
    pub(super) fn one_shot(&mut self, question: &str) -> Result<()> {
        interrupt::ask(self.backend.cancel_flag());
        if self.ask(question)? == Some(Finish::Cancelled) {
            ranks::exit_stopped();
        }
        Ok(())
    }

    /// Says which model answers, and what it can do.
    pub(super) fn greet(&self) {
        let about = match &self.backend {
            ChatBackend::Local(session) => size(session.text.model.layout().count()),
            ChatBackend::Remote(_) => "on a server".to_owned(),
        };
        println!("{}  {}", bold(self.backend.name()), dim(format!("{about} · /help")));
        if let Some(profile) = self.backend.task_profile() {
            println!("{}", self.worded(&profile.description));
            for example in &profile.examples {
                println!("  {}", dim(example));
            }
        } else if matches!(&self.backend, ChatBackend::Local(session) if session.text.template.is_none()) {
            println!("{}", dim("This model has no chat template: it continues your text."));
        }
        println!();
    }

    /// Breaks lines between words if the output is a terminal.
    fn worded(&self, text: &str) -> String {
        if self.live { wrap(text, terminal::size().0.saturating_sub(1)).join("\n") } else { text.to_owned() }
    }

    /// Dimmed text if the output is a terminal.
    pub(super) fn faint(&self, text: &str) -> String {
        if self.live { dim(text) } else { text.to_owned() }
    }

    /// Like [`Chat::ask`], but an error does not end the conversation, and the question can be asked again.
    pub(super) fn ask_and_go_on(&mut self, line: &str) -> Result<()> {
        let Err(e) = self.ask(line) else { return Ok(()) };
        match e.downcast_ref::<Error>() {
            Some(Error::PromptTooLong { .. }) if !self.talk.turns.is_empty() => {
                println!(
                    "The conversation no longer fits the context ({e}). Use /save to keep it and /clear to start a new \
                     one."
                );
            }
            Some(Error::PromptTooLong { .. } | Error::Template { .. }) => println!("{e}"),
            _ => println!("error: {}; /retry asks again", one_line(&e)),
        }
        self.talk.unanswered = Some(line.to_owned());
        Ok(())
    }

    /// Builds the question; `None` if the model was not trained on such questions.
    fn question(&self, line: &str) -> Result<Option<Question>> {
        if let Some(profile) = self.backend.task_profile() {
            return Ok(profile.prompt(line).map(|p| Question::Prompt(p, false)));
        }
        let messages = self.talk.messages(line);
        match &self.backend {
            ChatBackend::Local(session) => {
                Ok(Some(Question::Prompt(session.text.prompt(&messages)?, session.text.template.is_some())))
            }
            ChatBackend::Remote(_) => Ok(Some(Question::Messages(messages))),
        }
    }

    /// Asks, shows the answer and stores both. Returns how the answer ended, if there is one.
    fn ask(&mut self, line: &str) -> Result<Option<Finish>> {
        let Some(question) = self.question(line)? else {
            self.refuse();
            return Ok(None);
        };
        let start = Instant::now();
        let mut view = AnswerView::new(self.live, self.think);
        // An earlier Ctrl-C at the prompt must not stop this answer.
        self.backend.cancel_flag().store(false, Ordering::Relaxed);
        self.rescue.asked(&self.talk, line);
        let rescue = self.rescue.clone();
        let mut shown = Ok(());
        let answer = self.answer(question, &mut |piece, tokens| {
            rescue.piece(&piece);
            if shown.is_ok() {
                shown = view.piece(piece, tokens);
            }
        });
        self.asked += 1;
        let answer = answer?;
        shown.and_then(|()| view.end(&answer, start)).context("cannot write to standard output")?;
        let finish = answer.finish;
        let Split { thought, answer, .. } = answer.split;
        self.talk.turns.push(Turn { user: line.to_owned(), thought, answer: answer.trim().to_owned() });
        (self.talk.unanswered, self.talk.unsaved) = (None, true);
        Ok(Some(finish))
    }

    fn answer(&mut self, question: Question, on_piece: &mut dyn FnMut(Piece, usize)) -> Result<RemoteAnswer> {
        match (&mut self.backend, question) {
            (ChatBackend::Local(session), Question::Prompt(prompt, templated)) => {
                let text = &session.text;
                let ids = if templated { text.encode_prompt(&prompt) } else { text.encode_text(&prompt) }?;
                let sampling = self.sampling.sampling(&session.text);
                let key = StreamKey { seed: self.seed, step: self.asked, sequence: 0 };
                let request = Request { prompt: ids, n: 1, sampling, key };
                let answer = session.answer(&prompt, request, &self.sampling.stop, on_piece)?.pop();
                let answer = answer.context("invariant: one answer was asked for")?;
                let (tokens, finish) = (answer.completion.tokens.len(), answer.completion.finish);
                Ok(RemoteAnswer { split: answer.split, tokens, finish })
            }
            (ChatBackend::Remote(remote), Question::Messages(messages)) => {
                let mut request = self.sampling.request();
                request["messages"] = serde_json::to_value(messages)?;
                request["seed"] = (self.seed.wrapping_add(self.asked) as i64 & i64::MAX).into();
                remote.answer(request, on_piece)
            }
            _ => bail!("invariant: a prompt is for a model here, a conversation for a server"),
        }
    }

    fn refuse(&self) {
        let Some(profile) = self.backend.task_profile() else { return };
        println!("{}", self.worded(&profile.fallback));
        for example in &profile.examples {
            println!("  {}", self.faint(example));
        }
        if self.live {
            println!();
        }
    }
}

fn size(parameters: usize) -> String {
    let parameters = parameters as f64;
    if parameters >= 1e9 {
        format!("{:.1} billion parameters", parameters / 1e9)
    } else {
        format!("{:.1} million parameters", parameters / 1e6)
    }
}
