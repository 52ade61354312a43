//! Hugging Face directories: `config.json`, and `model.safetensors` or its shards.

use crate::gguf::Gguf;
use crate::temporary::replace;
use crate::weights::{Dtype, Safetensors, Tensor, write};
use crate::{Config, Error, Model, fp8, init, input, recognize};
use meno_tensor::finite::first_not_below;
use meno_tensor::quant::QuantMatrix;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Weights that a model is read from.
pub(crate) enum Source {
    Directory(Directory),
    Gguf(Gguf),
}

/// The safetensors files of a directory.
pub(crate) struct Directory {
    path: PathBuf,
    files: Vec<Safetensors>,
    /// Which file holds a tensor.
    index: BTreeMap<String, usize>,
    /// Rows and columns of FP8 weights that share a factor.
    block: Option<[usize; 2]>,
}

impl Directory {
    fn open(path: &Path, block: Option<[usize; 2]>) -> Result<Directory, Error> {
        let (single, index) = (path.join("model.safetensors"), path.join("model.safetensors.index.json"));
        let names = if single.exists() { vec!["model.safetensors".to_owned()] } else { shards(&index)? };
        let missing: Vec<&String> = names.iter().filter(|name| !path.join(name).exists()).collect();
        if let Some(first) = missing.first() {
            let what = format!(
                "lacks {} of its {} files of weights, {first} the first of them; fetch what \
                 model.safetensors.index.json names",
                missing.len(),
                names.len()
            );
            return Err(Error::malformed(path, what));
        }
        let files = names.iter().map(|name| Safetensors::open(&path.join(name))).collect::<Result<Vec<_>, _>>()?;
        let mut index = BTreeMap::new();
        for (i, file) in files.iter().enumerate() {
            for name in file.names() {
                if index.insert(name.clone(), i).is_some() {
                    return Err(Error::malformed(&path.join(&names[i]), format!("tensor `{name}` is in two files")));
                }
            }
        }
        Ok(Directory { path: path.to_owned(), files, index, block })
    }

    /// The FP8 weight that a tensor holds the factors of.
    fn scaled_by<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_suffix(fp8::SCALE).filter(|weight| self.index.contains_key(*weight))
    }

    /// What is wrong with the factors of an FP8 weight.
    fn fp8_problem(&self, name: &str) -> Option<String> {
        let file = &self.files[self.index[name]];
        if !file.is_fp8(name) {
            return None;
        }
        let Some(block) = self.block else {
            return Some(format!("`{name}` is FP8, but config.json has no `quantization_config`"));
        };
        let scale = format!("{name}{}", fp8::SCALE);
        let expected = fp8::scale_shape(file.shape(name)?, block);
        let found = self.index.get(&scale).map(|&i| self.files[i].shape(&scale).unwrap_or_default());
        match (expected, found) {
            (None, _) => Some(format!("`{name}` is FP8, expected a matrix")),
            (Some(e), None) => Some(format!("`{scale}` is missing, expected {e:?}, the factors of FP8 blocks")),
            (Some(e), Some(f)) if f != e => Some(format!("`{scale}` has shape {f:?}, expected {e:?}")),
            _ => None,
        }
    }

    fn read_f32(&self, name: &str, out: &mut [f32]) -> Result<(), Error> {
        let file = &self.files[self.index[name]];
        file.read_f32(name, out)?;
        if !file.is_fp8(name) {
            return Ok(());
        }
        if let Some(problem) = self.fp8_problem(name) {
            return Err(Error::Tensors { path: self.path.clone(), problems: vec![problem] });
        }
        let (Some(block), Some(&[_, cols])) = (self.block, file.shape(name)) else { return Ok(()) };
        let scale = format!("{name}{}", fp8::SCALE);
        let file = &self.files[self.index[&scale]];
        let mut scales = vec![0.0; file.shape(&scale).unwrap_or_default().iter().product()];
        file.read_f32(&scale, &mut scales)?;
        fp8::scale(out, cols, &scales, block);
        match first_not_below(out, f32::INFINITY) {
            Some(index) => Err(Error::not_finite(&self.path, name, index)),
            None => Ok(()),
        }
    }
}

/// The shards that `model.safetensors.index.json` names, each once: files beside it. A name that leads elsewhere is an
/// error.
pub fn shards(path: &Path) -> Result<Vec<String>, Error> {
    let text = input::read_text(path, input::SMALL).map_err(Error::io(path))?;
    let index: Value = serde_json::from_str(&text).map_err(|e| Error::malformed(path, format!("not JSON: {e}")))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::malformed(path, "has no object `weight_map` from tensors to files"))?;
    let mut names = std::collections::BTreeSet::new();
    for (tensor, file) in map {
        // A file beside the index and nowhere else.
        let name = file.as_str().filter(|f| Path::new(f).file_name() == Some(f.as_ref()));
        let Some(name) = name else {
            let what = format!("gives {file} for `{tensor}`: expected the name of a file in the same directory");
            return Err(Error::malformed(path, what));
        };
        names.insert(name.to_owned());
    }
    Ok(names.into_iter().collect())
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
    /// What is wrong with how a tensor is stored.
    fn problem(&self, name: &str) -> Option<String> {
        match self {
            Source::Directory(d) => d.fp8_problem(name),
            Source::Gguf(_) => None,
        }
    }
    /// A matrix that can stay quantised.
    fn matrix(&self, name: &str) -> Result<Option<QuantMatrix>, Error> {
        match self {
            Source::Directory(_) => Ok(None),
            Source::Gguf(g) => {
                let matrix = g.matrix(name)?;
                if matrix.is_some() {
                    g.check_finite(name)?;
                }
                Ok(matrix)
            }
        }
    }
    /// The names of all tensors (a GGUF file's are translated one way only, so they are not checked for unknown ones).
    fn names(&self) -> impl Iterator<Item = &str> {
        let directory = match self {
            Source::Directory(d) => Some(d),
            Source::Gguf(_) => None,
        };
        directory.into_iter().flat_map(|d| d.index.keys().map(String::as_str).filter(move |n| d.scaled_by(n).is_none()))
    }
}

/// Opens a directory or a GGUF file: its config, and its weights, which fit it.
pub(crate) fn open(path: &Path) -> Result<(Config, Source), Error> {
    let (config, source) = open_unchecked(path)?;
    let config = without_missing_mtp(config, &source)?;
    check(&Model::declare(config.clone()), &source)?;
    Ok((config, source))
}

/// As [`open`], without checking that the weights fit the config.
pub(crate) fn open_unchecked(path: &Path) -> Result<(Config, Source), Error> {
    recognize::check_kind(path)?;
    if path.is_file() {
        let gguf = Gguf::open(path)?;
        return Ok((Config::from_value(&path.display().to_string(), gguf.config()?)?, Source::Gguf(gguf)));
    }
    let config = Config::load(&path.join("config.json"))?;
    let block = config.quantization.map(|q| q.weight_block_size);
    Ok((config, Source::Directory(Directory::open(path, block)?)))
}

/// Reads a directory or a GGUF file; matrices that can stay quantised do if `keep`.
pub(crate) fn load(path: &Path, keep: bool, on_read: &mut dyn FnMut(usize, usize)) -> Result<Model, Error> {
    let (config, source) = open(path)?;
    let mut model = Model::declare(config);
    // What stays quantised takes about as much memory as in the file.
    let bytes = match &source {
        Source::Gguf(gguf) if keep => gguf.bytes() as f64,
        _ => model.params.total() as f64 * 4.0,
    };
    init::check_memory(bytes)?;
    let all: Vec<_> = model.params.iter().map(|(p, info)| (p, info.name.clone())).collect();
    let size = |model: &Model, p| model.params.info(p).shape.iter().product::<usize>();
    let (mut read, total) = (0, all.iter().map(|(p, _)| size(&model, *p)).sum());
    on_read(0, total);
    for (p, name) in &all {
        if keep
            && model.can_keep(*p)
            && let Some(matrix) = source.matrix(name)?
        {
            read += size(&model, *p);
            model.params.keep(*p, matrix);
            on_read(read, total);
        }
    }
    model.params.allocate();
    for (p, name) in all {
        if model.params.kept(p).is_none() {
            source.read_f32(&name, model.params.get_mut(p))?;
            read += size(&model, p);
            on_read(read, total);
        }
    }
    Ok(model)
}

/// transformers says `num_nextn_predict_layers: 1` in what it saves but leaves the module out: then there is none.
fn without_missing_mtp(config: Config, source: &Source) -> Result<Config, Error> {
    let eh_proj = format!("model.layers.{}.eh_proj.weight", config.num_hidden_layers);
    if config.num_nextn_predict_layers == 0 || source.contains(&eh_proj) {
        return Ok(config);
    }
    config.with("num_nextn_predict_layers", 0)
}

/// Most problems that an error lists.
const LISTED: usize = 16;

/// Every declared tensor is there in its shape, and no other is.
fn check(model: &Model, source: &Source) -> Result<(), Error> {
    let mut problems = Vec::new();
    let mut known = std::collections::HashSet::new();
    for (_, info) in model.params.iter() {
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
    for name in source.names().filter(|&n| !known.contains(n) && !is_copy(model, n)) {
        problems.push(format!("`{name}` is unknown to a {} network of this config", model.config.model_type.name()));
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

/// Tensors of published files that repeat others: embedding and head within the MTP module, a tied head, the rotary
/// frequencies of old Llamas.
fn is_copy(model: &Model, name: &str) -> bool {
    let tied_head = model.config.tie_word_embeddings && name == "lm_head.weight";
    let in_mtp = mtp_copies(&model.config).is_some_and(|copies| copies.contains(&name.to_owned()));
    tied_head || in_mtp || name.ends_with(".rotary_emb.inv_freq")
}

/// The names of embedding and head within the MTP module.
pub(crate) fn mtp_copies(config: &Config) -> Option<[String; 2]> {
    let layer = config.num_hidden_layers;
    (config.num_nextn_predict_layers > 0)
        .then(|| ["embed_tokens", "shared_head.head"].map(|n| format!("model.layers.{layer}.{n}.weight")))
}

/// Writes `config.json` and `model.safetensors`; other files in `dir` stay as they are.
pub(crate) fn save(model: &Model, dir: &Path, dtype: Dtype) -> Result<(), Error> {
    assert!(!model.params.any_kept(), "invariant: what is saved was loaded with all its values");
    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let mut tensors: Vec<Tensor> = model
        .params
        .iter()
        .map(|(p, info)| Tensor {
            name: info.name.clone(),
            shape: info.shape.clone(),
            data: model.params.get(p),
            // Rounding the selection bias would change the routing (V3.1 model card).
            dtype: if info.name.ends_with("e_score_correction_bias") { Dtype::F32 } else { dtype },
        })
        .collect();
    if let Some(names) = mtp_copies(&model.config) {
        let (embed_tokens, head) = model.shared();
        for (name, p) in names.into_iter().zip([embed_tokens, head]) {
            let shape = model.params.info(p).shape.clone();
            tensors.push(Tensor { name, shape, data: model.params.get(p), dtype });
        }
    }
    let path = dir.join("model.safetensors");
    tensors.iter().try_for_each(|t| t.dtype.check(&path, &t.name, t.data))?;
    write(&path, &tensors)?;
    write_config(&model.config, dir, dtype)
}

/// Writes `config.json` for weights of this type.
pub(crate) fn write_config(config: &Config, dir: &Path, dtype: Dtype) -> Result<(), Error> {
    let mut config = config.to_value_unquantised();
    let key = if config.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    config[key] = dtype.name().into();
    let path = dir.join("config.json");
    replace(&path, |temporary| {
        let text = serde_json::to_string_pretty(&config).expect("invariant: a JSON value has a text");
        std::fs::write(temporary, text + "\n").map_err(Error::io(&path))
    })
}
