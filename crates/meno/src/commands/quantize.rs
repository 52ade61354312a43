//! `meno quantize`: writes a checkpoint as a GGUF file with fewer bits.

use crate::arguments::ModelName;
use crate::interrupt;
use crate::open;
use crate::output::{self, Inputs};
use crate::writing::{self, Bar};
use anyhow::{Result, bail};
use meno_engine::GenerationConfig;
use meno_model::convert::Checkpoint;
use meno_model::gguf::FileType;
use std::path::{Path, PathBuf};

/// Arguments of `meno quantize`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
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
    #[command(flatten)]
    over: Over,
}

/// What only explicit options permit, because it destroys data or quality.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Over {
    /// Overwrite an output that already exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Allow weights that are already quantized; start from the original weights for better quality
    #[arg(long)]
    pub(crate) allow_requantize: bool,
}

/// Parses the name of a file type.
pub(crate) fn file_type(name: &str) -> Result<FileType, String> {
    FileType::parse(name).ok_or_else(|| {
        let names: Vec<_> = FileType::ALL.iter().map(|t| t.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Runs `meno quantize`.
pub(crate) fn run(args: Args) -> Result<()> {
    let model = open::model(&args.model.or_newest()?)?;
    write("--out", (&model, &args.out), args.file_type, args.lora.as_deref(), args.over)
}

/// All files of a model and of the adapter to merge into it.
pub(crate) fn inputs(model: &Path, lora: Option<&Path>) -> Inputs {
    lora.into_iter().fold(Inputs::default().with(model), Inputs::with)
}

/// Writes a GGUF file and reports its contents.
pub(crate) fn write(
    flag: &str,
    (model, out): (&Path, &Path),
    file_type: FileType,
    lora: Option<&Path>,
    over: Over,
) -> Result<()> {
    let target = output::file(flag, out, over.force, &inputs(model, lora))?;
    interrupt::end_cleanly();
    let checkpoint = Checkpoint::open(model, lora)?;
    let mut metadata = checkpoint.metadata(file_type)?;
    if checkpoint.gguf().is_none() {
        meno_engine::tokenizer::add_tokenizer(model, checkpoint.config().vocab_size, &mut metadata)?;
        GenerationConfig::load(model)?.add_to_gguf(&mut metadata);
    }
    let plan = checkpoint.plan(file_type)?;
    let again =
        if over.allow_requantize { Vec::new() } else { writing::requantized(&checkpoint, &plan, lora.is_some()) };
    if let Some(first) = again.first() {
        bail!(
            "{}: is quantized already ({} of {} tensors; {first} is the first): quantizing it again as {} loses \
             quality. Start from the original weights, or use --allow-requantize",
            model.display(),
            again.len(),
            plan.len(),
            file_type.name
        );
    }
    let mut bar = Bar::new();
    checkpoint.write_gguf(&target, file_type, &metadata, &mut |name, done, of| bar.tell(name, done, of))?;
    drop(bar);
    let (mut bytes, mut values) = (0, 0);
    for tensor in &plan {
        bytes += tensor.bytes();
        values += tensor.shape.iter().product::<usize>();
    }
    let bits = 8.0 * bytes as f64 / values as f64;
    println!("{}: {}, {bits:.2} bits a weight", out.display(), writing::types(&plan));
    Ok(())
}
