//! `meno logits`: writes logits, to check the network against other programs.

use crate::arguments::{DeviceArg, ModelName, Threads};
use crate::interrupt;
use crate::open;
use crate::output::{self, Inputs};
use crate::session;
use anyhow::{Context, Result, ensure};
use meno_model::safetensors::{self, Dtype, Tensor};
use meno_model::{InferOptions, LoadPrecision, Model};
use meno_tensor::backend::Pass;
use meno_tensor::finite::first_not_below;
use meno_tensor::precision::Precision;
use meno_tensor::tape::Batch;
use std::path::PathBuf;

/// Tokens per pass through the network; the logits do not depend on it.
const CHUNK: usize = 256;

/// Arguments of `meno logits`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Token ids, separated by commas
    #[arg(long, value_delimiter = ',', required = true, value_name = "IDS")]
    tokens: Vec<u32>,
    /// The safetensors file to write: tensor `logits`, [tokens, vocabulary], f32
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite FILE if it already exists
    #[arg(long)]
    force: bool,
    /// Number format of the matrix products (auto: f32, on a GPU bf16, for matrices that are not quantized)
    #[arg(long, value_parser = session::load_precision(), value_name = "TYPE", default_value = "auto")]
    precision: LoadPrecision,
    #[command(flatten)]
    device: DeviceArg,
    /// Compute MLA over the latent vectors (absorbed); the logits then agree to 1e-5 instead of bit by bit
    #[arg(long)]
    absorbed: bool,
    #[command(flatten)]
    threads: Threads,
}

/// Runs `meno logits`.
pub(crate) fn run(args: Args) -> Result<()> {
    args.threads.run(|| write(&args))
}

fn write(args: &Args) -> Result<()> {
    let path = open::model(&args.model.or_newest()?)?;
    let out = output::file("--out", &args.out, args.force, &Inputs::default().with(&path))?;
    interrupt::end_cleanly();
    let (mut model, precision) = session::load(&path, args.precision, args.device.device)?;
    let (tokens, vocab) = (&args.tokens, model.config.vocab_size);
    let context = model.config.max_position_embeddings;
    ensure!(
        tokens.len() <= context,
        "--tokens: {} tokens are more than the model's context of {context} (max_position_embeddings)",
        tokens.len()
    );
    if let Some(token) = tokens.iter().find(|&&t| t as usize >= vocab) {
        anyhow::bail!("--tokens: {token} is not below the vocabulary's size {vocab}");
    }
    let options = InferOptions { absorbed: args.absorbed };
    let logits = compute(&mut model, tokens, precision, options)?;
    if let Some(at) = first_not_below(&logits, f32::INFINITY) {
        anyhow::bail!(
            "the logits after token {} are not finite (row {} is {}); the weights may be broken, or too large for the \
             precision: try --precision f32",
            at / vocab,
            at % vocab,
            logits[at]
        );
    }
    let shape = vec![tokens.len(), vocab];
    let tensor = Tensor { name: "logits".into(), shape, data: &logits, dtype: Dtype::F32 };
    safetensors::write(&out, &[tensor]).context("cannot write the logits")
}

/// The logits after every token, `[tokens, vocab]`.
fn compute(model: &mut Model, tokens: &[u32], precision: Precision, options: InferOptions) -> Result<Vec<f32>> {
    let mut executor = model.infer_executor(CHUNK.min(tokens.len()), options)?;
    let mut cache = model.backend().kv_cache_with_slots(&model.cache_specs(options), 1, tokens.len())?;
    let mut logits = Vec::with_capacity(tokens.len() * model.config.vocab_size);
    for (i, chunk) in tokens.chunks(CHUNK).enumerate() {
        let mut batch = Batch::default();
        batch.logit_rows = batch.push(chunk, i * CHUNK, Some(0)).collect();
        let out = executor.forward(&mut *model.weights, Pass::new(precision, &batch), Some(&mut cache))?;
        logits.extend_from_slice(&out.logits);
    }
    Ok(logits)
}
