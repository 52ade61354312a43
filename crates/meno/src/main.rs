//! The command `meno`.

mod arguments;
mod bytes;
mod commands;
mod created;
mod exit;
mod help;
mod interrupt;
mod live;
mod locate;
mod nearest;
mod no_address;
mod open;
mod output;
mod progress;
mod ranks;
mod remote;
mod session;
mod stdin;
mod terminal;
mod training;
mod writing;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// DeepSeek-R1, whole, in Rust: run reasoning models, train models to reason, and see how R1 was made.
#[derive(Parser, Debug)]
#[command(name = "meno", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Train a small R1 from scratch: every stage of the paper in minutes, with a report
    Replicate(commands::replicate::Args),
    /// Regenerate the report of a finished `meno replicate`, without training
    Report(commands::report::Args),
    /// Talk to a model in the terminal
    Chat(commands::chat::Args),
    /// Download a model from the Hugging Face hub
    Pull(commands::pull::Args),
    /// Show the models in the cache
    List(commands::list::Args),
    /// Remove models from the cache
    Rm(commands::rm::Args),
    /// Serve a model over HTTP: a chat page and APIs compatible with OpenAI's and Anthropic's
    Serve(commands::serve::Args),
    /// Complete a prompt
    Generate(commands::generate::Args),
    /// Train a base model on packed text
    Pretrain(commands::pretrain::Args),
    /// Fine-tune a model on messages or prompt/completion pairs (SFT)
    Sft(commands::sft::Args),
    /// Train a model by reinforcement learning with verifiable rewards (GRPO)
    Grpo(commands::grpo::Args),
    /// Sample answers and keep the right ones (rejection sampling)
    Sample(commands::sample::Args),
    /// Train a student model on a teacher's answers
    Distill(commands::distill::Args),
    /// Plan a run on a cluster: memory, traffic and time, and what limits it; computed, not run
    Plan(commands::plan::Args),
    /// Measure a model on problems: pass@1, pass@k, majority vote
    Eval(commands::eval::Args),
    /// Judge answers against references, with the verifiers of rewards and scores
    Verify(commands::verify::Args),
    /// Show what a model consists of: config, parameters, tensors, memory
    Inspect(commands::inspect::Args),
    /// Write a model as a GGUF file with fewer bits per weight
    Quantize(commands::quantize::Args),
    /// Convert between Hugging Face directories and GGUF files; merge LoRA adapters
    Convert(commands::convert::Args),
    /// Write the logits of given tokens to a safetensors file
    Logits(commands::logits::Args),
    /// Measure how well a model predicts a text
    Perplexity(commands::perplexity::Args),
    /// Measure the speed of training and inference
    Bench(commands::bench::Args),
    /// Show what this machine has and can do: processor, memory, disk, hub, sandbox, measured speed
    Doctor(commands::doctor::Args),
    /// Print the completion script of a shell
    Completions(commands::completions::Args),
    /// Write manual pages
    Man(commands::man::Args),
}

/// The command with its examples and version.
fn command_line() -> clap::Command {
    help::complete(Cli::command())
}

/// Exit codes: 0 success, 1 a user error (or a full disk, a missing file), 2 a bug in meno.
fn main() -> ExitCode {
    exit::end_quietly_on_closed_pipes();
    exit::report_panics();
    if let Err(error) = ranks::join() {
        eprintln!("error: {}", exit::one_line(&error));
        return ExitCode::from(1);
    }
    let cli = match command_line().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version also arrive here. clap's own exit code for a user error is 2, which means a bug here.
            match error.use_stderr() {
                true => eprint!("{}", exit::usage(&error)),
                false => print!("{}", exit::usage(&error)),
            }
            ranks::exit(i32::from(error.use_stderr()));
        }
    };
    let code =
        match std::panic::catch_unwind(|| ranks::check_shared(cli.command.is_shared()).and_then(|()| run(cli.command)))
        {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                ranks::fail(&format!("error: {}", exit::one_line(&error)), 1);
                1
            }
            Err(_) => {
                let code = exit::after_panic();
                ranks::fail_after_panic(code);
                code
            }
        };
    ranks::exit(code)
}

impl Command {
    /// Returns true if several processes can divide the command's work.
    fn is_shared(&self) -> bool {
        use Command::{Distill, Eval, Grpo, Pretrain, Sample, Sft};
        matches!(self, Pretrain(_) | Sft(_) | Grpo(_) | Sample(_) | Distill(_) | Eval(_))
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Replicate(args) => commands::replicate::run(args),
        Command::Report(args) => commands::report::run(args),
        Command::Chat(args) => commands::chat::run(args),
        Command::Pull(args) => commands::pull::run(args),
        Command::List(args) => commands::list::run(args),
        Command::Rm(args) => commands::rm::run(args),
        Command::Serve(args) => commands::serve::run(args),
        Command::Generate(args) => commands::generate::run(args),
        Command::Pretrain(args) => commands::pretrain::run(args),
        Command::Sft(args) => commands::sft::run(args),
        Command::Grpo(args) => commands::grpo::run(args),
        Command::Sample(args) => commands::sample::run(args),
        Command::Distill(args) => commands::distill::run(args),
        Command::Plan(args) => commands::plan::run(args),
        Command::Eval(args) => commands::eval::run(args),
        Command::Verify(args) => commands::verify::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Quantize(args) => commands::quantize::run(args),
        Command::Convert(args) => commands::convert::run(args),
        Command::Logits(args) => commands::logits::run(args),
        Command::Perplexity(args) => commands::perplexity::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Completions(args) => commands::completions::run(args, command_line()),
        Command::Man(args) => commands::man::run(args, command_line()),
    }
}

#[cfg(test)]
mod help_tests;
