//! `meno generate`: completes a prompt.

use crate::interrupt;
use crate::ranks;
use crate::session::{ModelArgs, SamplingArgs, SpeculativeArg};
use crate::terminal::printable;
use anyhow::{Result, ensure};
use meno_engine::generator::Stats;
use meno_engine::reasoning::Piece;
use meno_engine::{Answer, Finish, Message, Request, StreamKey};
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// The end of the `--help` text.
const MORE: &str = "\
Ctrl-C stops the answer: the text so far stays on standard output (finish_reason \"cancelled\" with --json), \
and the exit code is 130.";

/// Arguments of `meno generate`.
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The prompt; reads standard input if it is `-` or missing
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Number of answers
    #[arg(short, default_value_t = 1, value_name = "N")]
    n: usize,
    /// Seed of the sampling: the same seed gives the same answers
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Print one JSON object per answer
    #[arg(long)]
    json: bool,
    /// Continue the prompt as it is, without a chat template (the default for models that have none)
    #[arg(long, conflicts_with = "chat")]
    raw: bool,
    /// Send the prompt as a user's message through the chat template (the default for models that have one)
    #[arg(long)]
    chat: bool,
}

/// Runs `meno generate`.
pub(crate) fn run(args: Args) -> Result<()> {
    args.model.threads.run(|| generate(&args))
}

fn generate(args: &Args) -> Result<()> {
    ensure!(args.n > 0, "-n 0: expected at least 1");
    let text = prompt(args)?;
    let path = args.model.name.or_newest()?;
    let mut session = args.model.session(&path, args.n.min(64))?;
    let templated = !args.raw && (args.chat || session.text.template.is_some());
    ensure!(!templated || session.text.template.is_some(), "--chat: this model has no chat template; use --raw");
    let prompt = if templated { session.text.prompt(&[Message::new("user", text)])? } else { text };
    let ids = if templated { session.text.encode_prompt(&prompt) } else { session.text.encode_text(&prompt) }?;
    let prompt_tokens = ids.len();
    let sampling = args.sampling.sampling(&session.text);
    let request = Request { prompt: ids, n: args.n, sampling, key: StreamKey::seeded(args.seed) };

    let cancel = session.generator.cancel_flag();
    interrupt::ask(cancel);
    let start = Instant::now();
    let stream = args.n == 1 && !args.json;
    let dim = std::io::stdout().is_terminal();
    let mut out = Printer { dim, dimmed: false, shown: false };
    let answers = session.answer(&prompt, request, &args.sampling.stop, &mut |piece, _| {
        if stream {
            out.piece(&piece);
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    out.end();
    let tokens: usize = answers.iter().map(|a| a.completion.tokens.len()).sum();
    let rate = tokens as f64 / seconds;
    for answer in answers.iter().filter(|_| args.json) {
        let mut line = json(answer, prompt_tokens, seconds, rate);
        if args.model.speculative != SpeculativeArg::Off {
            let stats = session.generator.stats();
            (line["drafted"], line["accepted"]) = (stats.drafted.into(), stats.accepted.into());
        }
        println!("{line}");
    }
    if !args.json {
        for (i, answer) in answers.iter().enumerate().filter(|_| !stream) {
            println!("{}[{}] {}", if i > 0 { "\n" } else { "" }, i + 1, whole(answer));
        }
        let guesses = match session.generator.stats() {
            Stats { drafted: 0, .. } => String::new(),
            Stats { drafted, accepted, .. } => format!(", {accepted} of {drafted} drafted tokens accepted"),
        };
        eprintln!("{prompt_tokens} prompt tokens, {tokens} tokens in {seconds:.1} s: {rate:.1} tokens/s{guesses}");
    }
    if answers.iter().any(|a| a.completion.finish == Finish::Cancelled) {
        ranks::exit_stopped();
    }
    Ok(())
}

/// The prompt of `-p`, or the contents of standard input.
fn prompt(args: &Args) -> Result<String> {
    if let Some(text) = args.prompt.as_ref().filter(|text| *text != "-") {
        return Ok(text.clone());
    }
    let piped = !std::io::stdin().is_terminal();
    ensure!(args.prompt.is_some() || piped, "no prompt given; use -p, or pipe it in");
    let text = crate::stdin::read()?;
    ensure!(!text.is_empty(), "standard input holds no prompt; give one with -p, or pipe it in");
    Ok(text)
}

/// Thought and answer exactly as the model wrote them.
fn whole(answer: &Answer) -> String {
    let split = &answer.split;
    match (split.thought.is_empty(), split.unfinished) {
        (true, _) => split.answer.clone(),
        (false, true) => format!("<think>{}", split.thought),
        (false, false) => format!("<think>{}</think>{}", split.thought, split.answer),
    }
}

fn json(answer: &Answer, prompt_tokens: usize, seconds: f64, rate: f64) -> serde_json::Value {
    let Answer { completion, split } = answer;
    let finish = match completion.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Cancelled => "cancelled",
        Finish::NotFinite => "error",
    };
    serde_json::json!({
        "index": completion.sample,
        "text": split.answer,
        "reasoning": (!split.thought.is_empty()).then_some(&split.thought),
        "finish_reason": finish,
        "tokens": completion.tokens,
        "logprobs": completion.logprobs,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion.tokens.len(),
        "seconds": seconds,
        "tokens_per_second": rate,
    })
}

/// Prints an answer as it arrives: the thought is dimmed on a terminal and between tags elsewhere.
struct Printer {
    dim: bool,
    dimmed: bool,
    shown: bool,
}

impl Printer {
    fn piece(&mut self, piece: &Piece) {
        let mut out = std::io::stdout().lock();
        let (text, thought) = match piece {
            Piece::Thought(text) => (text, true),
            Piece::Answer(text) => (text, false),
            Piece::Retract => return,
        };
        // Ignore write errors here: a full disk or a closed terminal ends the command elsewhere.
        if thought != self.dimmed {
            let mark = match (self.dim, thought) {
                (true, true) => "\x1b[2m",
                (true, false) => "\x1b[0m\n",
                (false, true) => "<think>",
                (false, false) => "</think>",
            };
            let _ = write!(out, "{mark}");
            self.dimmed = thought;
        }
        let text = if self.dim { printable(text) } else { text.clone() };
        let _ = write!(out, "{text}");
        let _ = out.flush();
        self.shown = true;
    }

    fn end(&mut self) {
        if self.shown {
            println!("{}", if self.dim && self.dimmed { "\x1b[0m" } else { "" });
        }
    }
}
