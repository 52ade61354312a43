//! `meno chat`: a conversation with a model in the terminal.

mod commands;
mod conversation;
mod editor;
mod rescue;
mod settings;
mod view;

use crate::exit::one_line;
use crate::interrupt;
use crate::remote::{Remote, RemoteAnswer};
use crate::session::{ModelArgs, SamplingArgs};
use crate::terminal::{self, bold, dim, wrap};
use anyhow::{Context, Result, bail, ensure};
use commands::Next;
use conversation::{Conversation, Turn};
use editor::{LineEditor, Typed};
use meno_engine::reasoning::{Piece, Split};
use meno_engine::taught::Taught;
use meno_engine::{Error, Finish, Message, Request, Session};
use rescue::Rescue;
use signal_hook::consts::SIGINT;
use std::io::{IsTerminal, stdin, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use view::View;

/// The end of the `--help` text.
const MORE: &str = "\
At the prompt, Ctrl-C clears the line; Ctrl-C twice or Ctrl-D exits and offers to save the conversation. While the \
model writes, Ctrl-C stops the answer. Input lines are saved in $XDG_STATE_HOME/meno/chat_history (by default in \
~/.local/state), readable by you alone; lines that begin with a space are not saved.";

/// Arguments of `meno chat`.
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Use a server with an OpenAI-compatible API (`meno serve`) instead; -m then names a model of that server
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// API key of that server [default: the environment variable OPENAI_API_KEY]
    #[arg(long, value_name = "KEY", requires = "url")]
    api_key: Option<String>,
    /// Answer this prompt, followed by standard input if it is piped, then exit; `-` reads the prompt from standard
    /// input
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// System prompt: instructions that come before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Seed of the sampling: the same seed and questions give the same answers [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Show the model's thinking in full instead of folding it away
    #[arg(long)]
    think: bool,
    /// Neither read nor write the history of input lines
    #[arg(long)]
    no_history: bool,
}

/// Runs `meno chat`.
pub(crate) fn run(args: Args) -> Result<()> {
    // Read the question before loading a model for it.
    let question = args.question()?;
    args.model.threads.run(|| {
        let mut chat = Chat::open(&args)?;
        match &question {
            Some(question) => chat.one_shot(question),
            None => chat.terminal(!args.no_history),
        }
    })
}

impl Args {
    /// The single question of a non-interactive call: the prompt, the piped input, or both in this order.
    fn question(&self) -> Result<Option<String>> {
        let piped = !stdin().is_terminal();
        match self.prompt.as_deref() {
            None if !piped => Ok(None),
            Some(prompt) if prompt != "-" => {
                let input = if piped { read_stdin()? } else { String::new() };
                let both = if input.is_empty() { prompt.to_owned() } else { format!("{prompt}\n\n{input}") };
                Ok(Some(both))
            }
            _ => {
                let input = read_stdin()?;
                ensure!(!input.is_empty(), "standard input is empty; expected a question, or give one with -p");
                Ok(Some(input))
            }
        }
    }

    fn voice(&self) -> Result<Voice> {
        if let Some(url) = &self.url {
            let key = self.api_key.clone().or_else(|| std::env::var("OPENAI_API_KEY").ok());
            let model = self.model.name.given().map(|m| m.to_string_lossy());
            return Ok(Voice::There(Remote::open(url, key, model.as_deref())?));
        }
        let path = self.model.name.or_newest()?;
        let mut session = self.model.session(&path, 1)?;
        session.generator.set_reuse_prefixes(true);
        Ok(Voice::Here(Box::new(session)))
    }
}

/// Reads all of standard input and trims the white space around it.
fn read_stdin() -> Result<String> {
    Ok(crate::stdin::read()?.trim().to_owned())
}

fn size(parameters: usize) -> String {
    let parameters = parameters as f64;
    if parameters >= 1e9 {
        format!("{:.1} billion parameters", parameters / 1e9)
    } else {
        format!("{:.1} million parameters", parameters / 1e6)
    }
}

/// The source of the answers.
enum Voice {
    /// A model in this process.
    Here(Box<Session>),
    /// A server.
    There(Remote),
}

impl Voice {
    fn name(&self) -> &str {
        match self {
            Voice::Here(session) => &session.text.name,
            Voice::There(remote) => &remote.name,
        }
    }

    fn taught(&self) -> Option<&Taught> {
        match self {
            Voice::Here(session) => session.text.taught.as_ref(),
            Voice::There(_) => None,
        }
    }

    /// The flag that stops the current answer when set.
    fn cancel_flag(&self) -> Arc<AtomicBool> {
        match self {
            Voice::Here(session) => session.generator.cancel_flag(),
            Voice::There(remote) => remote.cancel.clone(),
        }
    }
}

/// A question for a [`Voice`].
enum Question {
    /// A prompt, and true if a chat template wrote it.
    Prompt(String, bool),
    /// A conversation, for a server.
    Messages(Vec<Message>),
}

struct Chat {
    voice: Voice,
    sampling: SamplingArgs,
    seed: u64,
    /// Questions asked so far, including forgotten ones: each draws its own random numbers.
    asked: u64,
    talk: Conversation,
    rescue: Rescue,
    think: bool,
    /// True if the answer goes to a terminal.
    live: bool,
}

impl Chat {
    fn open(args: &Args) -> Result<Chat> {
        let voice = args.voice();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        Ok(Chat {
            voice: voice?,
            sampling: args.sampling.clone(),
            seed: args.seed.unwrap_or(now),
            asked: 0,
            talk: Conversation { system: args.system.clone(), ..Conversation::default() },
            rescue: Rescue::default(),
            think: args.think,
            live: terminal::redraws(&stdout()),
        })
    }

    /// Answers one question. Ctrl-C stops it and keeps the text written so far.
    fn one_shot(&mut self, question: &str) -> Result<()> {
        interrupt::ask(self.voice.cancel_flag());
        if self.ask(question)? == Some(Finish::Cancelled) {
            std::process::exit(interrupt::exit_code());
        }
        Ok(())
    }

    fn terminal(&mut self, keep_history: bool) -> Result<()> {
        self.greet();
        if let [others @ .., newest] = &rescue::all()[..] {
            let others = if others.is_empty() { String::new() } else { format!(", and {} earlier ones", others.len()) };
            println!("A conversation was interrupted{others}; continue it with /load {}\n", newest.display());
        }
        let mut editor = LineEditor::open(keep_history)?;
        self.rescue.watch();
        // At the prompt Ctrl-C is a key; while the model writes it is a signal.
        signal_hook::flag::register(SIGINT, self.voice.cancel_flag()).context("cannot watch for Ctrl-C")?;
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

    fn greet(&self) {
        let about = match &self.voice {
            Voice::Here(session) => size(session.text.model.layout().count()),
            Voice::There(_) => "on a server".to_owned(),
        };
        println!("{}  {}", bold(self.voice.name()), dim(format!("{about} · /help")));
        if let Some(taught) = self.voice.taught() {
            println!("{}", self.worded(&taught.description));
            for example in &taught.examples {
                println!("  {}", dim(example));
            }
        } else if matches!(&self.voice, Voice::Here(session) if session.text.template.is_none()) {
            println!("{}", dim("This model has no chat template: it continues your text."));
        }
        println!();
    }

    /// Breaks lines between words if the output is a terminal.
    fn worded(&self, text: &str) -> String {
        if self.live { wrap(text, terminal::size().0.saturating_sub(1)).join("\n") } else { text.to_owned() }
    }

    fn faint(&self, text: &str) -> String {
        if self.live { dim(text) } else { text.to_owned() }
    }

    /// Like [`Chat::ask`], but an error does not end the conversation, and the question can be asked again.
    fn ask_and_go_on(&mut self, line: &str) -> Result<()> {
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
        if let Some(taught) = self.voice.taught() {
            return Ok(taught.prompt(line).map(|p| Question::Prompt(p, false)));
        }
        let messages = self.talk.messages(line);
        match &self.voice {
            Voice::Here(session) => {
                Ok(Some(Question::Prompt(session.text.prompt(&messages)?, session.text.template.is_some())))
            }
            Voice::There(_) => Ok(Some(Question::Messages(messages))),
        }
    }

    /// Asks, shows the answer and stores both. Returns how the answer ended, if there is one.
    fn ask(&mut self, line: &str) -> Result<Option<Finish>> {
        let Some(question) = self.question(line)? else {
            self.refuse();
            return Ok(None);
        };
        let start = Instant::now();
        let mut view = View::new(self.live, self.think);
        // An earlier Ctrl-C at the prompt must not stop this answer.
        self.voice.cancel_flag().store(false, Ordering::Relaxed);
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
        match (&mut self.voice, question) {
            (Voice::Here(session), Question::Prompt(prompt, templated)) => {
                let ids = session.text.encode(&prompt, templated)?;
                let sampling = self.sampling.sampling(&session.text);
                let request = Request { prompt: ids, n: 1, sampling, key: [self.seed, self.asked, 0] };
                let answer = session.answer(&prompt, request, &self.sampling.stop, on_piece)?.pop();
                let answer = answer.context("invariant: one answer was asked for")?;
                let (tokens, finish) = (answer.completion.tokens.len(), answer.completion.finish);
                Ok(RemoteAnswer { split: answer.split, tokens, finish })
            }
            (Voice::There(remote), Question::Messages(messages)) => {
                let mut request = self.sampling.request();
                request["messages"] = serde_json::to_value(messages)?;
                request["seed"] = (self.seed.wrapping_add(self.asked) as i64 & i64::MAX).into();
                remote.answer(request, on_piece)
            }
            _ => bail!("invariant: a prompt is for a model here, a conversation for a server"),
        }
    }

    fn refuse(&self) {
        let Some(taught) = self.voice.taught() else { return };
        println!("{}", self.worded(&taught.otherwise));
        for example in &taught.examples {
            println!("  {}", self.faint(example));
        }
        if self.live {
            println!();
        }
    }
}
