//! The command `meno`.

use clap::{Parser, Subcommand};
use meno::commands;
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
    /// Show a checkpoint: config, parameters, tensors, memory
    Inspect(commands::inspect::Args),
    /// Write the logits of given tokens to a safetensors file
    Logits(commands::logits::Args),
    /// Measure speed
    Bench(commands::bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Replicate(args) => commands::replicate::run(args),
        Command::Chat(args) => commands::chat::run(args),
        Command::Generate(args) => commands::generate::run(args),
        Command::Pretrain(args) => commands::pretrain::run(args),
        Command::Sft(args) => commands::sft::run(args),
        Command::Grpo(args) => commands::grpo::run(args),
        Command::Sample(args) => commands::sample::run(args),
        Command::Distill(args) => commands::distill::run(args),
        Command::Eval(args) => commands::eval::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Logits(args) => commands::logits::run(args),
        Command::Bench(args) => commands::bench::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}
