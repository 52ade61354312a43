//! `meno convert`: converts between Hugging Face directories and GGUF files and can merge adapters.

use super::quantize;
use crate::interrupt;
use crate::open;
use crate::output;
use crate::writing::Bar;
use anyhow::{Context, Result, bail};
use meno_engine::{ChatTemplate, GenerationConfig, Tokenizer, generation_config};
use meno_model::Dtype;
use meno_model::convert::Checkpoint;
use meno_model::gguf::FileType;
use meno_model::temporary::Temporary;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Arguments of `meno convert`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Model: a Hugging Face directory, a GGUF file, or a hub name, ORG/NAME or ORG/NAME:QUANT
    #[arg(value_name = "MODEL")]
    first: Option<PathBuf>,
    /// Output: a GGUF file if the name ends with .gguf, else a directory
    #[arg(value_name = "OUT")]
    second: Option<PathBuf>,
    /// The same as MODEL
    #[arg(short, long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// The same as OUT
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Type of the weights: f32, f16 or bf16; for GGUF any type of `meno quantize`
    #[arg(long = "type", value_name = "TYPE", default_value = "bf16", value_parser = quantize::file_type)]
    file_type: FileType,
    /// Merge this LoRA adapter: a directory that PEFT saved
    #[arg(long, value_name = "DIR")]
    lora: Option<PathBuf>,
    #[command(flatten)]
    over: quantize::Over,
}

impl Args {
    /// The model and the output, from positional arguments or flags.
    fn paths(&self) -> Result<(PathBuf, PathBuf)> {
        let mut places = self.first.iter().chain(&self.second);
        let model = self.model.as_ref().or_else(|| places.next()).context("no model given: name one as MODEL or -m")?;
        let out = self.out.as_ref().or_else(|| places.next()).context("no output given: name one as OUT or --out")?;
        match places.next() {
            Some(third) => bail!("{}: one argument too many, model and output are given already", third.display()),
            None => Ok((model.clone(), out.clone())),
        }
    }
}

/// Runs `meno convert`.
pub(crate) fn run(args: Args) -> Result<()> {
    let (input, out) = args.paths()?;
    let input = open::model(&input)?;
    convert(&args, &input, &out)
}

fn convert(args: &Args, input: &Path, out: &Path) -> Result<()> {
    let extension = out.extension().unwrap_or_default().to_ascii_lowercase();
    if let Some(other) = ["safetensors", "bin", "pt", "pth", "json"].iter().find(|other| extension == **other) {
        bail!("{}: cannot write a single .{other} file; expected a directory or FILE.gguf", out.display());
    }
    if extension == "gguf" {
        return quantize::write("", (input, out), args.file_type, args.lora.as_deref(), args.over);
    }
    let dtype = match args.file_type.name {
        "f32" => Dtype::F32,
        "f16" => Dtype::F16,
        "bf16" => Dtype::Bf16,
        other => bail!("--type {other}: a directory holds f32, f16 or bf16; name the output FILE.gguf for {other}"),
    };
    let inputs = quantize::inputs(input, args.lora.as_deref());
    let target = output::directory("", out, args.over.force, &inputs)?;
    interrupt::end_cleanly();
    let checkpoint = Checkpoint::open(input, args.lora.as_deref())?;
    // Write everything under a temporary name first. An existing target may be the root of a file system, so
    // the temporary directory goes inside it.
    let temporary = Temporary::beside(&if target.is_dir() { target.join("model.safetensors") } else { target.clone() });
    write(input, &checkpoint, dtype, temporary.path())?;
    install(temporary, &target).with_context(|| out.display().to_string())?;
    let adapted = match checkpoint.adapted() {
        0 => String::new(),
        n => format!(", {n} weights merged with the adapter"),
    };
    println!("{}: {} in {}{adapted}", out.display(), checkpoint.config().model_type.name(), dtype.name());
    Ok(())
}

/// Writes the checkpoint and all files that belong to it to a directory.
fn write(input: &Path, checkpoint: &Checkpoint, dtype: Dtype, dir: &Path) -> Result<()> {
    // Fail on an unreadable tokenizer before writing anything.
    let tokenizer = checkpoint.gguf().map(|_| Tokenizer::load(input)).transpose()?;
    let generation = GenerationConfig::load(input)?;
    let mut bar = Bar::new();
    checkpoint.write_directory(dir, dtype, &mut |name, done, of| bar.tell(name, done, of))?;
    drop(bar);
    match &tokenizer {
        Some(tokenizer) => {
            let template = ChatTemplate::load(input, tokenizer.special())?;
            tokenizer.save(dir, template.as_ref().map(ChatTemplate::source))?;
        }
        None => copy_others(input, dir)?,
    }
    // A directory's own file has been copied. If the tokenizer cannot be read, none is written.
    let file = dir.join(generation_config::FILE);
    let missing = !input.join(generation_config::FILE).is_file();
    if let Some(tokenizer) = tokenizer.or_else(|| Tokenizer::load(input).ok()).filter(|_| missing) {
        std::fs::write(&file, generation.to_json(&tokenizer)).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Renames the written directory to its final name, or moves its files into an existing directory. Weights of
/// a model that was there before are removed; other files stay.
fn install(temporary: Temporary, target: &Path) -> std::io::Result<()> {
    if !target.is_dir() {
        return temporary.persist(target);
    }
    let names = |dir: &Path| -> std::io::Result<Vec<OsString>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let new = names(temporary.path())?;
    temporary.persist_into(target)?;
    for name in names(target)?.into_iter().filter(|name| !new.contains(name)) {
        let text = name.to_string_lossy();
        let shard = text.starts_with("model-") && text.contains("-of-") && text.ends_with(".safetensors");
        if shard || text == "model.safetensors" || text == "model.safetensors.index.json" {
            std::fs::remove_file(target.join(&name))?;
        }
    }
    Ok(())
}

/// Copies the files of a directory other than config and weights: tokenizer, templates, generation settings.
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
