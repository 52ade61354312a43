//! `meno chat`: a conversation with a model in the terminal.

mod answer_view;
mod backend;
mod command_table;
mod commands;
mod conversation;
mod dialogue;
mod editor;
mod interactive;
mod rescue;
mod settings;
mod state_dir;

use crate::remote::Remote;
use crate::session::{ModelArgs, SamplingArgs};
use crate::terminal;
use anyhow::{Result, ensure};
use backend::ChatBackend;
use conversation::Conversation;
use dialogue::Chat;
use rescue::Rescue;
use std::io::{IsTerminal, stdin, stdout};
use std::time::{SystemTime, UNIX_EPOCH};

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
        let mut chat = args.open()?;
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

    fn backend(&self) -> Result<ChatBackend> {
        if let Some(url) = &self.url {
            let key = self.api_key.clone().or_else(|| std::env::var("OPENAI_API_KEY").ok());
            let model = self.model.name.given().map(|m| m.to_string_lossy());
            return Ok(ChatBackend::Remote(Remote::open(url, key, model.as_deref())?));
        }
        let path = self.model.name.or_newest()?;
        let mut session = self.model.session(&path, 1)?;
        session.generator.set_reuse_prefixes(true);
        Ok(ChatBackend::Local(Box::new(session)))
    }

    /// Opens the backend and starts a conversation.
    fn open(&self) -> Result<Chat> {
        let backend = self.backend();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        Ok(Chat {
            backend: backend?,
            sampling: self.sampling.clone(),
            seed: self.seed.unwrap_or(now),
            asked: 0,
            talk: Conversation { system: self.system.clone(), ..Conversation::default() },
            rescue: Rescue::default(),
            think: self.think,
            live: terminal::redraws(&stdout()),
        })
    }
}

/// Reads all of standard input and trims the white space around it.
fn read_stdin() -> Result<String> {
    Ok(crate::stdin::read()?.trim().to_owned())
}
