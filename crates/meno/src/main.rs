//! The command `meno`.

use clap::{Parser, Subcommand};
use meno::{commands, exit};
use std::process::ExitCode;

/// DeepSeek-R1, whole, in Rust: run reasoning models, teach models to reason, and see how R1 came about.
#[derive(Parser, Debug)]
#[command(name = "meno", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// R1, whole and small, from nothing: every stage of the paper in minutes, with a report
    Replicate(commands::replicate::Args),
    /// Talk to a model in the terminal
    Chat(commands::chat::Args),
    /// Bring a model from the Hugging Face hub
    Pull(commands::pull::Args),
    /// Show the models in the cache
    List(commands::list::Args),
    /// Take models out of the cache
    Rm(commands::rm::Args),
    /// Serve a model over HTTP, compatible with OpenAI's API
    Serve(commands::serve::Args),
    /// Complete a prompt
    Generate(commands::generate::Args),
    /// Train a base model on packed text
    Pretrain(commands::pretrain::Args),
    /// Supervised fine-tuning on messages or prompt/completion pairs
    Sft(commands::sft::Args),
    /// Reinforcement learning with verifiable rewards (GRPO)
    Grpo(commands::grpo::Args),
    /// Rejection sampling: sample, verify, keep
    Sample(commands::sample::Args),
    /// Teach a student with a teacher's traces
    Distill(commands::distill::Args),
    /// Measure a model: pass@1, pass@k, majority vote
    Eval(commands::eval::Args),
    /// Judge responses against references, with the verifiers that reward and score
    Verify(commands::verify::Args),
    /// Show a checkpoint: config, parameters, tensors, memory
    Inspect(commands::inspect::Args),
    /// Write a checkpoint as a GGUF file with fewer bits
    Quantize(commands::quantize::Args),
    /// Between Hugging Face directories and GGUF files; merges LoRA adapters
    Convert(commands::convert::Args),
    /// Write the logits of given tokens to a safetensors file
    Logits(commands::logits::Args),
    /// How well a model predicts a text
    Perplexity(commands::perplexity::Args),
    /// Measure speed
    Bench(commands::bench::Args),
    /// Show what this machine has and can do: processor, memory, disk, hub, sandbox, measured speed
    Doctor(commands::doctor::Args),
}

/// 0 done, 1 the user's mistake (or a full disk, a missing file), 2 a mistake of ours.
fn main() -> ExitCode {
    exit::end_quietly_on_closed_pipes();
    exit::report_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. clap's own exit code for a mistake is 2, which here is ours.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match std::panic::catch_unwind(|| run(cli.command)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("error: {}", exit::one_line(&error));
            ExitCode::from(1)
        }
        Err(_) => exit::after_panic(),
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Replicate(args) => commands::replicate::run(args),
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
        Command::Eval(args) => commands::eval::run(args),
        Command::Verify(args) => commands::verify::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Quantize(args) => commands::quantize::run(args),
        Command::Convert(args) => commands::convert::run(args),
        Command::Logits(args) => commands::logits::run(args),
        Command::Perplexity(args) => commands::perplexity::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
    }
}
