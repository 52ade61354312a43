//! `meno perplexity`: measures how well a model predicts a text, with the method of llama-perplexity: the
//! text is cut into windows of the context length, and the second half of each window is predicted.

use crate::arguments::{DeviceArg, ModelName, Threads, size};
use crate::open;
use crate::progress::{Unit, Work};
use crate::session;
use anyhow::{Context, Result, ensure};
use meno_model::{LoadPrecision, input};
use meno_tensor::backend::Pass;
use meno_tensor::tape::Batch;
use std::path::PathBuf;

/// Arguments of `meno perplexity`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// The text file to predict
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Window length: number of tokens that are scored together
    #[arg(long, default_value = "512", value_name = "TOKENS", value_parser = size)]
    context: usize,
    /// Maximum number of windows [default: the whole text]
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Number format of the matrix products (auto: f32, on a GPU bf16, for matrices that are not quantized)
    #[arg(long, value_parser = session::load_precision(), value_name = "TYPE", default_value = "auto")]
    precision: LoadPrecision,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    threads: Threads,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Maximum size of a text in bytes.
const MAX_TEXT: u64 = 1 << 30;

/// Runs `meno perplexity`.
pub(crate) fn run(args: Args) -> Result<()> {
    args.threads.run(|| perplexity(&args))
}

fn perplexity(args: &Args) -> Result<()> {
    let (path, tokenizer) = open::with_tokenizer(&args.model.or_newest()?)?;
    let text = input::read_text(&args.file, MAX_TEXT).with_context(|| args.file.display().to_string())?;
    let (mut model, precision) = session::load(&path, args.precision, args.device.device)?;
    let (n, own) = (args.context, model.config.max_position_embeddings);
    ensure!(n >= 4 && n <= own, "--context {n}: expected 4 to {own}");
    let tokens = tokenizer.encode(&text, true)?;
    model.check_tokens(&tokens)?;
    let windows = (tokens.len() / n).min(args.chunks.unwrap_or(usize::MAX));
    ensure!(windows > 0, "{}: {} tokens do not fill one window of {n}", args.file.display(), tokens.len());
    let begins = tokens.first().copied().filter(|&t| Some(t) == tokenizer.bos());
    let mut executor = model.score_executor(n)?;
    let work = Work::new("windows", Unit::Count);
    work.set(0, windows as u64);
    let (mut sum, mut squares, mut count) = (0f64, 0f64, 0usize);
    for (i, window) in tokens.chunks_exact(n).take(windows).enumerate() {
        let mut window = window.to_vec();
        // Like llama-perplexity: a model whose texts begin with a special token sees it at the start of every window.
        if let Some(begin) = begins {
            window[0] = begin;
        }
        let mut batch = Batch::default();
        batch.push_training(&window, |_| 1.0);
        let out = executor.forward(&mut *model.weights, Pass::new(precision, &batch), None)?;
        // The tokens from n/2 + 1 on, each predicted from all tokens before it.
        for (at, &logprob) in out.logprobs[..n - 1].iter().enumerate().skip(n / 2) {
            ensure!(
                logprob.is_finite(),
                "window {}, token {at}: the log-probability is {logprob}: the model's logits are not finite; its \
                 weights may be broken, or too large for the precision: try --precision f32",
                i + 1
            );
            sum -= f64::from(logprob);
            squares += f64::from(logprob).powi(2);
            count += 1;
        }
        work.set(i as u64 + 1, windows as u64);
        work.detail(format!("perplexity {:.4}", (sum / count as f64).exp()));
    }
    drop(work);
    let mean = sum / count as f64;
    let variance = (squares / count as f64 - mean * mean).max(0.0);
    let (value, error) = (mean.exp(), mean.exp() * (variance / (count.max(2) - 1) as f64).sqrt());
    if args.json {
        let result = serde_json::json!({
            "perplexity": value, "error": error, "nats_per_token": mean, "tokens": count, "windows": windows,
            "context": n,
        });
        println!("{result}");
    } else {
        println!("perplexity {value:.4} ± {error:.4} over {count} tokens in {windows} windows of {n}");
    }
    Ok(())
}
