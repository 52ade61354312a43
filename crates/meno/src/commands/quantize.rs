//! `meno quantize`: a checkpoint as a GGUF file with fewer bits.

use crate::arguments::ModelName;
use crate::open;
use crate::writing::{self, Bar};
use anyhow::{Result, bail};
use meno_engine::GenerationConfig;
use meno_model::convert::Checkpoint;
use meno_model::gguf::FileType;
use std::path::{Path, PathBuf};

/// Arguments of `meno quantize`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Type of the weights: f32, f16, bf16, q8_0, q6_k, q5_k_m, q5_k_s, q5_1, q5_0, q4_k_m, q4_k_s, q4_1, q4_0, iq4_nl,
    /// iq4_xs, mxfp4, q3_k_l, q3_k_m, q3_k_s or q2_k
    #[arg(long = "type", value_name = "TYPE", value_parser = file_type)]
    file_type: FileType,
    /// The GGUF file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Merge this LoRA adapter: a directory that PEFT saved
    #[arg(long, value_name = "DIR")]
    lora: Option<PathBuf>,
}

/// A file type by its name.
pub(crate) fn file_type(name: &str) -> Result<FileType, String> {
    FileType::parse(name).ok_or_else(|| {
        let names: Vec<_> = FileType::ALL.iter().map(|t| t.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Runs `meno quantize`.
pub fn run(args: Args) -> Result<()> {
    write(&open::model(&args.model.or_newest()?)?, &args.out, args.file_type, args.lora.as_deref())
}

/// Writes a GGUF file and says what it holds.
pub(crate) fn write(model: &Path, out: &Path, file_type: FileType, lora: Option<&Path>) -> Result<()> {
    if out.is_dir() {
        bail!("--out {}: is a directory; expected the GGUF file to write", out.display());
    }
    let checkpoint = Checkpoint::open(model, lora)?;
    let mut metadata = checkpoint.metadata(file_type)?;
    if checkpoint.gguf().is_none() {
        meno_engine::tokenizer::add_tokenizer(model, checkpoint.config().vocab_size, &mut metadata)?;
        GenerationConfig::load(model)?.add_to_gguf(&mut metadata);
    }
    let plan = checkpoint.plan(file_type)?;
    let mut bar = Bar::new();
    checkpoint.write_gguf(out, file_type, &metadata, &mut |name, done, of| bar.tell(name, done, of))?;
    drop(bar);
    let (mut bytes, mut values) = (0, 0);
    for tensor in &plan {
        bytes += tensor.bytes();
        values += tensor.shape.iter().product::<usize>();
    }
    let bits = 8.0 * bytes as f64 / values as f64;
    println!("{}: {}, {bits:.2} bits a weight", out.display(), writing::types(&plan));
    writing::warn(&checkpoint, file_type);
    Ok(())
}
