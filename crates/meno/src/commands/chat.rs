//! `meno chat`: talk to a model in the terminal.

use crate::remote::{Remote, RemoteAnswer};
use crate::session::{ModelArgs, SamplingArgs, Session, newest_run};
use crate::terminal::{self, Fold, Wrapped, bold, dim, printable};
use anyhow::{Context, Result, bail};
use meno_engine::reasoning::{Piece, Split};
use meno_engine::taught::Taught;
use meno_engine::{Error, Finish, Message, Request};
use rustyline::error::ReadlineError;
use signal_hook::consts::SIGINT;
use std::io::{IsTerminal, Stdout, Write, stdin, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const HELP: &str = "\
/help            this
/reset           forget the conversation
/think on|off    show thoughts in full, or fold them away when they end
/think           show the last thought
/save FILE       write the conversation (.json: messages, else Markdown)
/exit            leave (also Ctrl-D, or Ctrl-C at the prompt)
Ctrl-C           while the model writes: stop this answer";

/// Arguments of `meno chat`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Talk to a server that is compatible with OpenAI's (`meno serve`) instead; -m names a model there
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Key for that server (default: the variable OPENAI_API_KEY)
    #[arg(long, value_name = "KEY", requires = "url")]
    api_key: Option<String>,
    /// Ask this, print the answer, leave
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Instructions before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Same seed and same questions, same answers (default: another every time)
    #[arg(long)]
    seed: Option<u64>,
    /// Show thoughts in full
    #[arg(long)]
    think: bool,
}

/// Runs `meno chat`.
pub fn run(args: Args) -> Result<()> {
    args.model.with_threads(|| {
        let mut chat = Chat::open(&args)?;
        match &args.prompt {
            Some(prompt) => chat.one_shot(prompt),
            None if stdin().is_terminal() => chat.terminal(),
            None => chat.lines(),
        }
    })?
}

/// One question and its answer.
struct Turn {
    user: String,
    thought: String,
    answer: String,
}

impl Args {
    fn voice(&self) -> Result<Voice> {
        if let Some(url) = &self.url {
            let key = self.api_key.clone().or_else(|| std::env::var("OPENAI_API_KEY").ok());
            let model = self.model.model.as_ref().map(|m| m.to_string_lossy());
            return Ok(Voice::There(Remote::open(url, key, model.as_deref())?));
        }
        let path = self.model.model.clone().map_or_else(newest_run, Ok)?;
        let mut session = Session::open(&path, &self.model, 1)?;
        session.generator.set_reuse_prefixes(true);
        Ok(Voice::Here(Box::new(session)))
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

/// Who answers.
enum Voice {
    /// A model of this process.
    Here(Box<Session>),
    /// A server.
    There(Remote),
}

impl Voice {
    fn name(&self) -> &str {
        match self {
            Voice::Here(session) => &session.name,
            Voice::There(remote) => &remote.name,
        }
    }

    fn taught(&self) -> Option<&Taught> {
        match self {
            Voice::Here(session) => session.taught.as_ref(),
            Voice::There(_) => None,
        }
    }

    /// Setting this ends the answer that is being written.
    fn cancel_flag(&self) -> Arc<AtomicBool> {
        match self {
            Voice::Here(session) => session.generator.cancel_flag(),
            Voice::There(remote) => remote.cancel.clone(),
        }
    }
}

/// What is asked.
enum Question {
    /// A prompt, and whether a template wrote it.
    Prompt(String, bool),
    /// A conversation, for a server.
    Messages(Vec<Message>),
}

struct Chat {
    voice: Voice,
    sampling: SamplingArgs,
    seed: u64,
    /// Questions asked so far, forgotten ones included: each draws its own random numbers.
    asked: u64,
    system: Option<String>,
    turns: Vec<Turn>,
    think: bool,
    /// Whether the answer goes to a terminal.
    live: bool,
    /// Whether no answer is being written.
    idle: Arc<AtomicBool>,
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
            system: args.system.clone(),
            turns: Vec::new(),
            think: args.think,
            live: terminal::redraws(&stdout()),
            idle: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Ctrl-C stops the answer being written; else it leaves.
    fn watch_ctrl_c(&self) -> Result<()> {
        let watch = || {
            signal_hook::flag::register_conditional_shutdown(SIGINT, 130, self.idle.clone())?;
            signal_hook::flag::register(SIGINT, self.voice.cancel_flag())
        };
        watch().map(drop).context("cannot watch for Ctrl-C")
    }

    fn one_shot(&mut self, prompt: &str) -> Result<()> {
        self.watch_ctrl_c()?;
        self.ask(prompt)
    }

    /// Questions from a file or pipe, one a line.
    fn lines(&mut self) -> Result<()> {
        self.watch_ctrl_c()?;
        for line in stdin().lines() {
            let line = line.context("cannot read standard input")?;
            if !line.trim().is_empty() && !self.line(line.trim())? {
                break;
            }
        }
        Ok(())
    }

    fn terminal(&mut self) -> Result<()> {
        self.greet();
        let mut editor = rustyline::DefaultEditor::new().context("cannot read from this terminal")?;
        self.watch_ctrl_c()?;
        loop {
            match editor.readline("› ") {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => {
                    let _ = editor.add_history_entry(line.trim());
                    if !self.line(line.trim())? {
                        return Ok(());
                    }
                }
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(()),
                Err(e) => return Err(e).context("cannot read from this terminal"),
            }
        }
    }

    fn greet(&self) {
        let about = match &self.voice {
            Voice::Here(session) => size(session.model.params.count()),
            Voice::There(_) => "on a server".to_owned(),
        };
        println!("{}  {}", bold(self.voice.name()), dim(format!("{about} · /help")));
        if let Some(taught) = self.voice.taught() {
            println!("{}", taught.description);
            for example in &taught.examples {
                println!("  {}", dim(example));
            }
        } else if matches!(&self.voice, Voice::Here(session) if session.template.is_none()) {
            println!("{}", dim("It has no chat template: it continues your text."));
        }
        println!();
    }

    /// Does what a line says; `false` to leave.
    fn line(&mut self, line: &str) -> Result<bool> {
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, argument.trim()) {
            ("/exit" | "/quit", _) => return Ok(false),
            ("/help", _) => println!("{HELP}"),
            ("/reset", _) => {
                self.turns.clear();
                println!("The conversation is forgotten.");
            }
            ("/think", "on") => self.think = true,
            ("/think", "off") => self.think = false,
            ("/think", "") => match self.turns.last().map(|t| t.thought.trim()) {
                Some(thought) if !thought.is_empty() => println!("{}", self.faint(&printable(thought))),
                _ => println!("There was no thought."),
            },
            ("/think", other) => println!("/think {other}: expected on or off"),
            ("/save", "") => println!("/save needs a file name"),
            ("/save", file) => match self.save(Path::new(file)) {
                Ok(()) => println!("{} turns written to {file}", self.turns.len()),
                Err(e) => println!("{file}: {e}"),
            },
            (command, _) if command.starts_with('/') && command[1..].chars().all(char::is_alphabetic) => {
                println!("{command} is not a command; /help lists them");
            }
            _ => self.ask_and_go_on(line)?,
        }
        Ok(true)
    }

    fn faint(&self, text: &str) -> String {
        if self.live { dim(text) } else { text.to_owned() }
    }

    /// As [`Chat::ask`]; what the person can mend does not end the conversation.
    fn ask_and_go_on(&mut self, line: &str) -> Result<()> {
        match self.ask(line) {
            Err(e) => match e.downcast_ref::<Error>() {
                Some(Error::PromptTooLong { .. }) if !self.turns.is_empty() => {
                    println!("The conversation no longer fits the context ({e}). /reset starts a new one.");
                    Ok(())
                }
                Some(Error::PromptTooLong { .. } | Error::Template { .. }) => {
                    println!("{e}");
                    Ok(())
                }
                _ => Err(e),
            },
            ok => ok,
        }
    }

    /// What is asked; `None` if the model was not taught this.
    fn question(&self, line: &str) -> Result<Option<Question>> {
        if let Some(taught) = self.voice.taught() {
            return Ok(taught.prompt(line).map(|p| Question::Prompt(p, false)));
        }
        let mut messages: Vec<Message> = self.system.iter().map(|s| Message::new("system", s.as_str())).collect();
        for turn in &self.turns {
            messages.push(Message::new("user", turn.user.as_str()));
            messages.push(Message::new("assistant", turn.answer.as_str()));
        }
        messages.push(Message::new("user", line));
        match &self.voice {
            Voice::Here(session) => Ok(Some(Question::Prompt(session.prompt(&messages)?, session.template.is_some()))),
            Voice::There(_) => Ok(Some(Question::Messages(messages))),
        }
    }

    fn ask(&mut self, line: &str) -> Result<()> {
        let Some(question) = self.question(line)? else {
            self.refuse();
            return Ok(());
        };
        let start = Instant::now();
        let mut view = View::new(self.live, self.think);
        self.voice.cancel_flag().store(false, Ordering::Relaxed);
        self.idle.store(false, Ordering::Relaxed);
        let mut shown = Ok(());
        let answer = self.answer(question, &mut |piece, tokens| {
            if shown.is_ok() {
                shown = view.piece(piece, tokens);
            }
        });
        self.idle.store(true, Ordering::Relaxed);
        self.asked += 1;
        let answer = answer?;
        shown.and_then(|()| view.end(&answer, start)).context("cannot write to the terminal")?;
        let Split { thought, answer, .. } = answer.split;
        self.turns.push(Turn { user: line.to_owned(), thought, answer: answer.trim().to_owned() });
        Ok(())
    }

    fn answer(&mut self, question: Question, on_piece: &mut dyn FnMut(Piece, usize)) -> Result<RemoteAnswer> {
        match (&mut self.voice, question) {
            (Voice::Here(session), Question::Prompt(prompt, templated)) => {
                let ids = session.encode(&prompt, templated)?;
                let sampling = self.sampling.sampling(&session.tokenizer, &session.generation);
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
        println!("{}", taught.otherwise);
        for example in &taught.examples {
            println!("  {}", self.faint(example));
        }
        if self.live {
            println!();
        }
    }

    fn save(&self, file: &Path) -> Result<()> {
        let text = if file.extension().is_some_and(|e| e == "json") {
            let mut messages = Vec::new();
            if let Some(system) = &self.system {
                messages.push(serde_json::json!({ "role": "system", "content": system }));
            }
            for t in &self.turns {
                messages.push(serde_json::json!({ "role": "user", "content": t.user }));
                messages.push(serde_json::json!({
                    "role": "assistant", "content": t.answer, "reasoning_content": t.thought.trim()
                }));
            }
            serde_json::to_string_pretty(&messages)? + "\n"
        } else {
            let mut text = format!("# {}\n", self.voice.name());
            for t in &self.turns {
                text += &format!("\n**You:** {}\n", t.user);
                if !t.thought.trim().is_empty() {
                    let quoted: Vec<String> = t.thought.trim().lines().map(|l| format!("> {l}")).collect();
                    text += &format!("\n{}\n", quoted.join("\n"));
                }
                text += &format!("\n**Model:** {}\n", t.answer);
            }
            text
        };
        Ok(std::fs::write(file, text)?)
    }
}

/// How an answer is shown as it comes.
struct View {
    live: bool,
    think: bool,
    fold: Option<Fold<Stdout>>,
    thought: bool,
    /// Whether anything but white space of the answer was shown.
    answered: bool,
    thought_tokens: usize,
    /// Breaks the text's lines.
    lines: Wrapped,
}

impl View {
    fn new(live: bool, think: bool) -> View {
        View { live, think, fold: None, thought: false, answered: false, thought_tokens: 0, lines: Wrapped::default() }
    }

    fn piece(&mut self, piece: Piece, tokens: usize) -> std::io::Result<()> {
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
                let note = "(that was still thought)";
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
                let fold = self.fold.get_or_insert_with(|| Fold::new(stdout(), width, true));
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

    /// Ends the thought, if one is being shown.
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

    fn end(mut self, answer: &RemoteAnswer, start: Instant) -> std::io::Result<()> {
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
