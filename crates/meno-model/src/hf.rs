//! Hugging Face directories: `config.json`, and `model.safetensors` or its shards.

use crate::gguf::Gguf;
use crate::weights::{Dtype, Safetensors, Tensor, replace, write};
use crate::{Config, Error, Model, init};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Weights that a model is read from.
enum Source {
    Directory(Directory),
    Gguf(Gguf),
}

/// The safetensors files of a directory.
struct Directory {
    path: PathBuf,
    files: Vec<Safetensors>,
    /// Which file holds a tensor.
    index: BTreeMap<String, usize>,
}

impl Directory {
    fn open(path: &Path) -> Result<Directory, Error> {
        let (single, index) = (path.join("model.safetensors"), path.join("model.safetensors.index.json"));
        let names = match (single.exists(), index.exists()) {
            (true, _) => vec!["model.safetensors".to_owned()],
            (false, true) => shards(&index)?,
            (false, false) => {
                let what = "has neither model.safetensors nor model.safetensors.index.json; expected the weights of a \
                            Hugging Face model beside config.json";
                return Err(Error::malformed(path, what));
            }
        };
        let files = names.iter().map(|name| Safetensors::open(&path.join(name))).collect::<Result<Vec<_>, _>>()?;
        let mut index = BTreeMap::new();
        for (i, file) in files.iter().enumerate() {
            for name in file.names() {
                if index.insert(name.clone(), i).is_some() {
                    return Err(Error::malformed(&path.join(&names[i]), format!("tensor `{name}` is in two files")));
                }
            }
        }
        Ok(Directory { path: path.to_owned(), files, index })
    }
}

/// The shards that an index names, each once.
fn shards(path: &Path) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
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
    fn path(&self) -> &Path {
        match self {
            Source::Directory(d) => &d.path,
            Source::Gguf(g) => g.path(),
        }
    }
    fn contains(&self, name: &str) -> bool {
        match self {
            Source::Directory(d) => d.index.contains_key(name),
            Source::Gguf(g) => g.contains(name),
        }
    }
    fn shape(&self, name: &str) -> Result<Vec<usize>, Error> {
        match self {
            Source::Directory(d) => Ok(d.files[d.index[name]].shape(name).unwrap_or_default().to_vec()),
            Source::Gguf(g) => Ok(g.shape(name)?),
        }
    }
    fn read_f32(&self, name: &str, out: &mut [f32]) -> Result<(), Error> {
        match self {
            Source::Directory(d) => d.files[d.index[name]].read_f32(name, out),
            Source::Gguf(g) => Ok(g.read_f32(name, out)?),
        }
    }
    /// The names of all tensors (a GGUF file's are translated one way only, so they are not checked for unknown ones).
    fn names(&self) -> impl Iterator<Item = &str> {
        let directory = match self {
            Source::Directory(d) => Some(d),
            Source::Gguf(_) => None,
        };
        directory.into_iter().flat_map(|d| d.index.keys().map(String::as_str))
    }
}

/// Reads a directory or a GGUF file.
pub(crate) fn load(path: &Path) -> Result<Model, Error> {
    let (config, source) = if path.is_file() {
        if !Gguf::is_gguf(path) {
            let what = "is neither a GGUF file nor a directory with config.json and model.safetensors";
            return Err(Error::malformed(path, what));
        }
        let gguf = Gguf::open(path)?;
        (Config::from_value(&path.display().to_string(), gguf.config()?)?, Source::Gguf(gguf))
    } else {
        let config = Config::load(&path.join("config.json"))?;
        (config, Source::Directory(Directory::open(path)?))
    };
    let config = without_missing_mtp(config, &source)?;
    let mut model = Model::declare(config);
    check(&model, &source)?;
    init::check_memory(&model.params)?;
    model.params.allocate();
    let all: Vec<_> = model.params.iter().map(|(p, info)| (p, info.name.clone())).collect();
    for (p, name) in all {
        source.read_f32(&name, model.params.get_mut(p))?;
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
    let in_mtp = mtp_copies(model).is_some_and(|copies| copies.contains(&name.to_owned()));
    tied_head || in_mtp || name.ends_with(".rotary_emb.inv_freq")
}

/// The names of embedding and head within the MTP module.
fn mtp_copies(model: &Model) -> Option<[String; 2]> {
    let layer = model.config.num_hidden_layers;
    (model.config.num_nextn_predict_layers > 0)
        .then(|| ["embed_tokens", "shared_head.head"].map(|n| format!("model.layers.{layer}.{n}.weight")))
}

/// Writes `config.json` and `model.safetensors`; other files in `dir` stay as they are.
pub(crate) fn save(model: &Model, dir: &Path, dtype: Dtype) -> Result<(), Error> {
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
    if let Some(names) = mtp_copies(model) {
        let (embed_tokens, head) = model.shared();
        for (name, p) in names.into_iter().zip([embed_tokens, head]) {
            let shape = model.params.info(p).shape.clone();
            tensors.push(Tensor { name, shape, data: model.params.get(p), dtype });
        }
    }
    write(&dir.join("model.safetensors"), &tensors)?;
    let mut config = model.config.to_value();
    let key = if config.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    config[key] = dtype.name().into();
    let path = dir.join("config.json");
    replace(&path, |temporary| {
        let text = serde_json::to_string_pretty(&config).expect("invariant: a JSON value has a text");
        std::fs::write(temporary, text + "\n").map_err(Error::io(&path))
    })
}
