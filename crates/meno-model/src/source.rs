//! The source of weights: a Hugging Face directory or a GGUF file, checked against its config.

use crate::gguf::{Blocks, Gguf};
use crate::hf::Directory;
use crate::network::Network;
use crate::{Config, Error, recognize};
use meno_tensor::quant::fp8::Fp8Matrix;
use meno_tensor::tape::ParamLayout;
use std::path::Path;

/// The weights that a model is loaded from.
pub(crate) enum Source {
    Directory(Directory),
    Gguf(Gguf),
}

impl Source {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Source::Directory(d) => &d.path,
            Source::Gguf(g) => g.path(),
        }
    }
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Source::Directory(d) => d.index.contains_key(name),
            Source::Gguf(g) => g.contains(name),
        }
    }
    pub(crate) fn shape(&self, name: &str) -> Result<Vec<usize>, Error> {
        match self {
            Source::Directory(d) => Ok(d.files[d.index[name]].shape(name).unwrap_or_default().to_vec()),
            Source::Gguf(g) => Ok(g.shape(name)?),
        }
    }
    pub(crate) fn read_f32(&self, name: &str, out: &mut [f32]) -> Result<(), Error> {
        match self {
            Source::Directory(d) => d.read_f32(name, out),
            Source::Gguf(g) => {
                g.check_finite(name)?;
                Ok(g.read_f32(name, out)?)
            }
        }
    }
    /// Returns what is wrong with the storage of a tensor, if anything.
    fn problem(&self, name: &str) -> Option<String> {
        match self {
            Source::Directory(d) => d.fp8_problem(name),
            Source::Gguf(_) => None,
        }
    }
    /// Returns the quantized blocks of a matrix, if it is stored in blocks.
    pub(crate) fn blocks(&self, name: &str) -> Result<Option<Blocks<'_>>, Error> {
        match self {
            Source::Directory(_) => Ok(None),
            Source::Gguf(g) => Ok(g.blocks(name)?),
        }
    }
    /// Returns rows and columns of the blocks of an FP8 matrix, if a matrix is stored as FP8.
    pub(crate) fn fp8_block(&self, name: &str) -> Option<[usize; 2]> {
        match self {
            Source::Directory(d) => d.fp8_block(name),
            Source::Gguf(_) => None,
        }
    }
    /// Returns a matrix that is stored as FP8.
    pub(crate) fn fp8(&self, name: &str) -> Result<Option<Fp8Matrix<'_>>, Error> {
        match (self, self.fp8_block(name)) {
            (Source::Directory(d), Some(block)) => d.read_fp8(name, block).map(Some),
            _ => Ok(None),
        }
    }
    /// Rejects quantized blocks with a scale that is not finite.
    pub(crate) fn check_finite(&self, name: &str) -> Result<(), Error> {
        match self {
            Source::Directory(_) => Ok(()),
            Source::Gguf(g) => Ok(g.check_finite(name)?),
        }
    }
    /// Returns the names of all tensors of a directory. A GGUF file's names are translated one way only, so they are
    /// not checked for unknown ones.
    fn names(&self) -> impl Iterator<Item = &str> {
        let directory = match self {
            Source::Directory(d) => Some(d),
            Source::Gguf(_) => None,
        };
        directory.into_iter().flat_map(|d| d.index.keys().map(String::as_str).filter(move |n| d.scaled_by(n).is_none()))
    }
}

/// Opens a directory or a GGUF file: its config, and weights that fit it.
pub(crate) fn open(path: &Path) -> Result<(Config, Source), Error> {
    let (config, source) = open_unchecked(path)?;
    let config = without_missing_mtp(config, &source)?;
    check(&config, &Network::declare(&config).1, &source)?;
    Ok((config, source))
}

/// Like [`open`], without checking that the weights fit the config.
pub(crate) fn open_unchecked(path: &Path) -> Result<(Config, Source), Error> {
    recognize::kind::check_kind(path)?;
    if path.is_file() {
        let gguf = Gguf::open(path)?;
        return Ok((Config::from_value(&path.display().to_string(), gguf.config()?)?, Source::Gguf(gguf)));
    }
    let config = Config::load(&path.join("config.json"))?;
    let block = config.quantization.map(|q| q.weight_block_size);
    Ok((config, Source::Directory(Directory::open(path, block)?)))
}

/// transformers writes `num_nextn_predict_layers: 1` when it saves a model but omits the module: the key is then set to
/// 0.
fn without_missing_mtp(config: Config, source: &Source) -> Result<Config, Error> {
    let eh_proj = format!("model.layers.{}.eh_proj.weight", config.num_hidden_layers);
    if config.num_nextn_predict_layers == 0 || source.contains(&eh_proj) {
        return Ok(config);
    }
    config.with("num_nextn_predict_layers", 0)
}

/// Maximum number of problems listed in an error.
const LISTED: usize = 16;

/// Checks that every declared tensor is present in its shape, and that there are no others.
fn check(config: &Config, layout: &ParamLayout, source: &Source) -> Result<(), Error> {
    let mut problems = Vec::new();
    let mut known = std::collections::HashSet::new();
    for (_, info) in layout.iter() {
        known.insert(info.name.as_str());
        if !source.contains(&info.name) {
            let hint = if info.name == "lm_head.weight" { " (tie_word_embeddings may have to be true)" } else { "" };
            problems.push(format!("`{}` is missing, expected {:?}{hint}", info.name, info.shape));
            continue;
        }
        problems.extend(source.problem(&info.name));
        let shape = source.shape(&info.name)?;
        if shape != info.shape {
            problems.push(format!("`{}` has shape {shape:?}, expected {:?}", info.name, info.shape));
        }
    }
    for name in source.names().filter(|&n| !known.contains(n) && !is_copy(config, n)) {
        problems.push(format!("`{name}` is unknown to a {} network of this config", config.model_type.name()));
    }
    if problems.is_empty() {
        return Ok(());
    }
    if problems.len() > LISTED {
        let more = problems.len() - LISTED;
        problems.truncate(LISTED);
        problems.push(format!("and {more} more"));
    }
    Err(Error::Tensors { path: source.path().to_owned(), problems })
}

/// Returns true for tensors of published files that repeat others: embedding and head within the MTP module, a tied
/// head, the rotary frequencies of old Llamas.
fn is_copy(config: &Config, name: &str) -> bool {
    let tied_head = config.tie_word_embeddings && name == "lm_head.weight";
    let in_mtp = mtp_copies(config).is_some_and(|copies| copies.contains(&name.to_owned()));
    tied_head || in_mtp || name.ends_with(".rotary_emb.inv_freq")
}

/// Returns the names of embedding and head within the MTP module.
pub(crate) fn mtp_copies(config: &Config) -> Option<[String; 2]> {
    let layer = config.num_hidden_layers;
    (config.num_nextn_predict_layers > 0)
        .then(|| ["embed_tokens", "shared_head.head"].map(|n| format!("model.layers.{layer}.{n}.weight")))
}
