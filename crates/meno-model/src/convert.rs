//! Converts a checkpoint to another format, tensor by tensor: Hugging Face directories and GGUF in any type, optionally
//! with an adapter merged. Only the largest tensor (one expert of a stack) is in memory at a time.

use crate::gguf::mixture::{self, tensor_type};
use crate::gguf::{
    Export, ExportedTensor, FileType, GgmlType, Gguf, Metadata, Part, Planned, permute, split_kv_b, writer,
};
use crate::lora::Lora;
use crate::safetensors::{Dtype, write_views};
use crate::save;
use crate::source::{self, Source};
use crate::temporary::replace;
use crate::{Arch, Config, Error, Model, ModelType};
use meno_tensor::finite::first_bad_block;
use meno_tensor::quant::encode;
use safetensors::tensor::View;
use std::borrow::Cow;
use std::cell::RefCell;
use std::path::Path;

/// Called before each tensor with its name, the number of tensors done, and their total number.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

/// Maximum bytes of one safetensors file, as in transformers.
const SHARD: usize = 5_000_000_000;

/// A checkpoint to convert.
pub struct Checkpoint {
    config: Config,
    source: Source,
    lora: Option<Lora>,
}

impl Checkpoint {
    /// Opens a Hugging Face directory or a GGUF file, and optionally an adapter to merge.
    pub fn open(path: &Path, lora: Option<&Path>) -> Result<Checkpoint, Error> {
        let (config, source) = source::open(path)?;
        let shape = |name: &str| if source.contains(name) { source.shape(name).ok() } else { None };
        let lora = lora.map(|dir| Lora::open(dir, shape)).transpose()?;
        Ok(Checkpoint { config, source, lora })
    }

    /// Returns its config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the number of weights that the adapter changes.
    pub fn adapted(&self) -> usize {
        self.lora.as_ref().map_or(0, Lora::len)
    }

    /// Returns the GGUF file, if it is one.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.source {
            Source::Gguf(gguf) => Some(gguf),
            Source::Directory(_) => None,
        }
    }

    /// Reads a tensor by its Hugging Face name, with the adapter merged.
    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; self.source.shape(name)?.iter().product()];
        self.source.read_f32(name, &mut values)?;
        if let Some(lora) = &self.lora {
            lora.apply(name, &mut values)?;
        }
        Ok(values)
    }

    /// Returns everything of a GGUF file except its types. An adapter changes tensors by their Hugging Face names;
    /// without an adapter, the tensors of a GGUF file are used as they are.
    fn export(&self) -> Result<Export, Error> {
        let stem = self.source.path().file_stem().unwrap_or_default().to_string_lossy();
        match (self.gguf(), &self.lora) {
            (Some(file), None) => Ok(Export::from_gguf(file)),
            (Some(file), Some(_)) => {
                let mut export = Export::from_config(&self.config, &stem)?;
                export.metadata.copy_tokenizer(file);
                Ok(export)
            }
            (None, _) => Export::from_config(&self.config, &stem),
        }
    }

    /// Returns the metadata of a GGUF file of this type. For a directory it does not yet include a tokenizer.
    pub fn metadata(&self, file_type: FileType) -> Result<Metadata, Error> {
        let mut metadata = self.export()?.metadata;
        // The version of the block types.
        metadata.u32("general.quantization_version", 2);
        metadata.u32("general.file_type", file_type.code);
        Ok(metadata)
    }

    /// Returns the tensors of a GGUF file of this type.
    pub fn plan(&self, file_type: FileType) -> Result<Vec<Planned>, Error> {
        Ok(planned(&self.config, file_type, &self.export()?.tensors))
    }

    /// Writes a GGUF file.
    pub fn write_gguf(
        &self,
        path: &Path,
        file_type: FileType,
        metadata: &Metadata,
        progress: Progress,
    ) -> Result<(), Error> {
        let tensors = self.export()?.tensors;
        let planned = planned(&self.config, file_type, &tensors);
        let mut bytes = Vec::new();
        writer::write(path, metadata, &planned, |i, sink| {
            progress(&planned[i].name, i, planned.len());
            for part in &tensors[i].parts {
                // A stored tensor that keeps its type is copied.
                if let (Part::Stored { tensor, slice, of }, Some(file)) = (part, self.gguf())
                    && file.tensors()[*tensor].dtype == planned[i].dtype
                {
                    if let Some(index) = file.first_bad_block(*tensor, *slice, *of) {
                        return Err(Error::not_finite(file.path(), &planned[i].name, index));
                    }
                    sink(file.slice(*tensor, *slice, *of)).map_err(Error::io(path))?;
                    continue;
                }
                let values = self.part(part)?;
                bytes.resize(encode::bytes(planned[i].dtype, values.len()), 0);
                encode::quantize(planned[i].dtype, &values, &mut bytes);
                if let Some(index) = first_bad_block(planned[i].dtype, &bytes) {
                    let (tensor, dtype) = (&planned[i].name, planned[i].dtype.name());
                    let what = format!("tensor `{tensor}` is too large for {dtype} at element {index}: use BF16");
                    return Err(Error::malformed(path, what));
                }
                sink(&bytes).map_err(Error::io(path))?;
            }
            Ok(())
        })
    }

    /// Returns the values of a part of a tensor.
    fn part(&self, part: &Part) -> Result<Cow<'_, [f32]>, Error> {
        Ok(Cow::Owned(match part {
            Part::Whole(hf) => self.read(hf)?,
            Part::Permuted { hf, heads } => permute(&self.read(hf)?, self.source.shape(hf)?[0], *heads),
            Part::KeyHalf(hf) => split_kv_b(&self.config, &self.read(hf)?, true),
            Part::ValueHalf(hf) => split_kv_b(&self.config, &self.read(hf)?, false),
            Part::Given(values) => values.clone(),
            Part::Stored { tensor, slice, of } => {
                let file = self.gguf().expect("invariant: stored parts are those of a GGUF file");
                if let Some(index) = file.first_bad_block(*tensor, *slice, *of) {
                    return Err(Error::not_finite(file.path(), &file.tensors()[*tensor].name, index));
                }
                file.dequantized_slice(*tensor, *slice, *of)
            }
        }))
    }

    /// Writes `config.json` and the weights, split over several files if they are large.
    pub fn write_directory(&self, dir: &Path, dtype: Dtype, progress: Progress) -> Result<(), Error> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let state = RefCell::new(Writing { progress, done: 0, error: None });
        let mut tensors: Vec<Lazy> = Vec::new();
        for (name, shape) in Model::tensor_shapes(&self.config) {
            // Rounding the selection bias would change the routing (V3.1 model card).
            let dtype = if name.ends_with("e_score_correction_bias") { Dtype::F32 } else { dtype };
            tensors.push(Lazy { checkpoint: self, state: &state, of: 0, read: name.clone(), name, shape, dtype });
        }
        let head = if self.config.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
        for (name, read) in
            source::mtp_copies(&self.config).into_iter().flatten().zip(["model.embed_tokens.weight", head])
        {
            let shape = vec![self.config.vocab_size, self.config.hidden_size];
            tensors.push(Lazy { checkpoint: self, state: &state, of: 0, read: read.into(), name, shape, dtype });
        }
        let total = tensors.len();
        tensors.iter_mut().for_each(|t| t.of = total);
        let shards = shards(&tensors);
        let name = |i: usize| match shards.len() {
            1 => "model.safetensors".to_owned(),
            n => format!("model-{:05}-of-{n:05}.safetensors", i + 1),
        };
        let mut rest = &tensors[..];
        let mut map = serde_json::Map::new();
        for (i, &n) in shards.iter().enumerate() {
            let (shard, others) = rest.split_at(n);
            rest = others;
            let path = dir.join(name(i));
            let written = write_views(&path, shard.iter().map(|t| (t.name.as_str(), t)));
            if let Some(error) = state.borrow_mut().error.take() {
                let _ = std::fs::remove_file(&path);
                return Err(error);
            }
            written?;
            map.extend(shard.iter().map(|t| (t.name.clone(), name(i).into())));
        }
        if shards.len() > 1 {
            let size: usize = tensors.iter().map(Lazy::bytes).sum();
            let index = serde_json::json!({"metadata": {"total_size": size}, "weight_map": map});
            let path = dir.join("model.safetensors.index.json");
            replace(&path, |temporary| std::fs::write(temporary, format!("{index:#}\n")).map_err(Error::io(&path)))?;
        }
        save::write_config(&self.config, dir, dtype)
    }
}

/// Returns the tensors of a GGUF file for a network of this shape.
pub fn plan(config: &Config, file_type: FileType) -> Result<Vec<Planned>, Error> {
    Ok(planned(config, file_type, &Export::from_config(config, "")?.tensors))
}

fn planned(config: &Config, file_type: FileType, tensors: &[ExportedTensor]) -> Vec<Planned> {
    let network = network(config);
    let planned = tensors.iter().map(|t| Planned {
        name: t.name.clone(),
        shape: t.shape.clone(),
        dtype: match mixture::is_quantized(&t.name, &t.shape) {
            true => tensor_type(file_type, network, &t.name, &t.shape),
            false => t.stored.unwrap_or(GgmlType::F32),
        },
    });
    planned.collect()
}

/// Returns the properties that the mixture rules need.
fn network(c: &Config) -> mixture::Network {
    let gqa = match &c.arch {
        Arch::Grouped(g) => c.num_attention_heads / g.num_key_value_heads,
        // The latent is one key for all heads.
        Arch::Deepseek(_) => c.num_attention_heads,
    };
    mixture::Network {
        layers: c.num_hidden_layers,
        gqa,
        experts: c.moe().map_or(0, |m| m.gate.n_routed_experts),
        tied: c.tie_word_embeddings,
        seventy_b: c.num_hidden_layers == 80 && gqa > 1 && matches!(c.model_type, ModelType::Llama | ModelType::Qwen2),
    }
}

/// Returns the number of tensors in each file.
fn shards(tensors: &[Lazy]) -> Vec<usize> {
    let mut shards = vec![0];
    let mut bytes = 0;
    for tensor in tensors {
        let n = tensor.bytes();
        if bytes + n > SHARD && bytes > 0 {
            shards.push(0);
            bytes = 0;
        }
        bytes += n;
        if let Some(last) = shards.last_mut() {
            *last += 1;
        }
    }
    shards
}

/// The state of writing a directory.
struct Writing<'a> {
    progress: Progress<'a>,
    done: usize,
    /// The first error. It is kept here because the safetensors library does not accept errors from its data sources.
    error: Option<Error>,
}

/// A tensor that is read only when it is written.
struct Lazy<'a, 'p> {
    checkpoint: &'a Checkpoint,
    state: &'a RefCell<Writing<'p>>,
    of: usize,
    /// Its name in the checkpoint.
    read: String,
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl Lazy<'_, '_> {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

impl View for &Lazy<'_, '_> {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype.stored()
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let mut state = self.state.borrow_mut();
        let done = state.done;
        (state.progress)(&self.name, done, self.of);
        state.done += 1;
        let checked = self.checkpoint.read(&self.read).and_then(|values| {
            self.dtype.check(self.checkpoint.source.path(), &self.name, &values)?;
            Ok(values)
        });
        match checked {
            Ok(values) => Cow::Owned(self.dtype.bytes(&values).into_owned()),
            Err(error) => {
                state.error.get_or_insert(error);
                Cow::Owned(vec![0; self.bytes()])
            }
        }
    }
    fn data_len(&self) -> usize {
        self.bytes()
    }
}
