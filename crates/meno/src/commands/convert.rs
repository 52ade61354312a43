//! `meno convert`: between Hugging Face directories and GGUF files, merging adapters on the way.

use super::quantize;
use crate::hub;
use crate::writing::Bar;
use anyhow::{Context, Result, bail, ensure};
use meno_engine::{ChatTemplate, GenerationConfig, Tokenizer, generation_config};
use meno_model::Dtype;
use meno_model::convert::Checkpoint;
use meno_model::gguf::FileType;
use std::path::{Path, PathBuf};

/// Arguments of `meno convert`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A Hugging Face directory, a GGUF file, or ORG/NAME:QUANT of the hub
    input: PathBuf,
    /// A name that ends with .gguf is a GGUF file to write, any other a directory
    out: PathBuf,
    /// How to store the weights: f32, f16 or bf16; for GGUF any type of `meno quantize`
    #[arg(long = "type", value_name = "TYPE", default_value = "bf16", value_parser = quantize::file_type)]
    file_type: FileType,
    /// Merge this LoRA adapter (a directory that PEFT saved)
    #[arg(long, value_name = "DIR")]
    lora: Option<PathBuf>,
}

/// Runs `meno convert`.
pub fn run(mut args: Args) -> Result<()> {
    args.input = hub::locate(&args.input)?;
    if args.out.extension().is_some_and(|e| e == "gguf") {
        return quantize::write(&args.input, &args.out, args.file_type, args.lora.as_deref());
    }
    let dtype = match args.file_type.name {
        "f32" => Dtype::F32,
        "f16" => Dtype::F16,
        "bf16" => Dtype::Bf16,
        other => bail!("--type {other}: a directory holds f32, f16 or bf16; name the output FILE.gguf for {other}"),
    };
    ensure!(!args.out.is_file(), "{}: is a file; expected a directory to write", args.out.display());
    let same = args.input.canonicalize().ok().zip(args.out.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    ensure!(!same, "{}: is the input; name another directory to write", args.out.display());
    let checkpoint = Checkpoint::open(&args.input, args.lora.as_deref())?;
    // A tokenizer that is not read is an error before anything is written.
    let tokenizer = checkpoint.gguf().map(|_| Tokenizer::load(&args.input)).transpose()?;
    let generation = GenerationConfig::load(&args.input)?;
    let mut bar = Bar::new();
    checkpoint.write_directory(&args.out, dtype, &mut |name, done, of| bar.tell(name, done, of))?;
    drop(bar);
    match &tokenizer {
        Some(tokenizer) => {
            let template = ChatTemplate::load(&args.input, tokenizer.special())?;
            tokenizer.save(&args.out, template.as_ref().map(ChatTemplate::source))?;
        }
        None => copy_others(&args.input, &args.out)?,
    }
    // A directory's own has been copied. One whose tokenizer is not read goes without.
    let file = args.out.join(generation_config::FILE);
    let missing = !args.input.join(generation_config::FILE).is_file();
    if let Some(tokenizer) = tokenizer.or_else(|| Tokenizer::load(&args.input).ok()).filter(|_| missing) {
        std::fs::write(&file, generation.to_json(&tokenizer)).with_context(|| file.display().to_string())?;
    }
    let adapted = match checkpoint.adapted() {
        0 => String::new(),
        n => format!(", {n} weights merged with the adapter"),
    };
    println!("{}: {} in {}{adapted}", args.out.display(), checkpoint.config().model_type.name(), dtype.name());
    Ok(())
}

/// What a directory has beside config and weights: tokenizer, templates, generation settings.
fn copy_others(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = [".json", ".jinja", ".txt", ".model"].iter().any(|end| name.ends_with(end));
        let own = name == "config.json" || name.ends_with(".safetensors.index.json");
        if path.is_file() && text && !own {
            std::fs::copy(&path, to.join(&name))?;
        }
    }
    Ok(())
}
