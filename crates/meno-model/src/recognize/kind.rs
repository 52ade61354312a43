//! Explains, without reading config or weights, why a file or a directory is not a model.

use super::content::{Content, EXPECTED};
use crate::{Error, input};
use std::path::Path;

/// Rejects a file that is not a GGUF model, or a directory without config or weights, before their contents are read.
pub(crate) fn check_kind(path: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_dir() {
        return match Content::of(path)? {
            Content::Gguf => Ok(()),
            content => Err(file_error(path, content)),
        };
    }
    let names = names(path)?;
    let has = |name: &str| names.iter().any(|n| n == name);
    if has("config.json") && (has("model.safetensors") || has("model.safetensors.index.json")) {
        return Ok(());
    }
    Err(directory_error(path, &names))
}

pub(super) fn file_error(path: &Path, content: Content) -> Error {
    Error::malformed(path, content.describe(path))
}

/// Returns the names in a directory, sorted.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = std::fs::read_dir(dir).map_err(Error::io(dir))?;
    let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Returns the first file of PyTorch weights.
pub(super) fn pytorch(names: &[String]) -> Option<&String> {
    let known = [".bin", ".pt", ".pth", ".ckpt"];
    // The optimizer's state and the arguments of a run are pickles too, but not weights.
    let other = ["training_args", "optimizer", "scheduler", "rng_state"];
    names.iter().find(|n| known.iter().any(|e| n.ends_with(e)) && !other.iter().any(|o| n.starts_with(o)))
}

/// Explains why a directory is not a model.
pub(super) fn directory_error(dir: &Path, names: &[String]) -> Error {
    let has = |name: &str| names.iter().any(|n| n == name);
    let ending = |end: &str| names.iter().find(|n| n.ends_with(end));
    let what = if names.is_empty() {
        format!("is an empty directory; {EXPECTED}")
    } else if has("adapter_config.json") && !(has("model.safetensors") || has("model.safetensors.index.json")) {
        adapter(dir)
    } else if has("config.json") {
        without_weights(names)
    } else if let Some(name) = ending(".gguf") {
        let example = dir.join(name);
        format!("is a directory of GGUF files; name one of them, e.g. {}", example.display())
    } else if has("params.json") || names.iter().any(|n| n.starts_with("consolidated.")) {
        "holds a model in its maker's own format (params.json, consolidated.*); use the same model's files in Hugging \
         Face's format (config.json, model.safetensors), or a GGUF file of it"
            .to_owned()
    } else if has("model_index.json") {
        "holds a model of the diffusers library, which makes images; only language models are supported".to_owned()
    } else if let Some(inside) = model_within(dir, names) {
        format!("is not a model itself but holds one; name {}", dir.join(inside).display())
    } else if ending(".safetensors").is_some() || pytorch(names).is_some() {
        "has weights but no config.json, which gives the shape of the network; fetch it from where the weights came \
         from"
            .to_owned()
    } else {
        format!("holds no model: there is neither config.json nor a GGUF file; {EXPECTED}")
    };
    Error::malformed(dir, what)
}

/// Explains why a directory with a config has no usable weights.
fn without_weights(names: &[String]) -> String {
    let shards: Vec<&String> =
        names.iter().filter(|n| n.ends_with(".safetensors") && n.starts_with("model-")).collect();
    let other = names
        .iter()
        .find(|n| [".h5", ".msgpack", ".onnx", ".gguf", ".safetensors"].iter().any(|e| n.ends_with(e)) || *n == "onnx");
    if let Some(first) = shards.first() {
        let of = first.rsplit_once("-of-").and_then(|(_, n)| n.strip_suffix(".safetensors")).unwrap_or("?");
        let of = of.trim_start_matches('0');
        return format!(
            "has {} of {of} weight files ({first} is one), but not model.safetensors.index.json, which lists their \
             tensors; fetch all of the model's files",
            shards.len()
        );
    }
    if let Some(name) = pytorch(names) {
        return format!(
            "has its weights only as a PyTorch pickle ({name}), which can run programs while it is read and is never \
             opened; fetch the model's safetensors files, or write them with transformers: \
             AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)"
        );
    }
    match other {
        Some(name) if name.ends_with(".gguf") => {
            format!("has no model.safetensors; if {name} is the model, name that file")
        }
        Some(name) => {
            format!("has a config.json but its weights ({name}) are not in model.safetensors; fetch that file")
        }
        None => {
            "has a config.json but no weights; fetch model.safetensors, or model.safetensors.index.json and the files \
             it names"
                .to_owned()
        }
    }
}

/// Explains what to do with a directory saved by PEFT.
fn adapter(dir: &Path) -> String {
    let config = input::read_text(&dir.join("adapter_config.json"), input::SMALL).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
    let base = config["base_model_name_or_path"].as_str().filter(|b| !b.is_empty()).unwrap_or("BASE");
    format!(
        "is a LoRA adapter, which changes a model but is not one itself; merge it into its base model with `meno \
         convert {base} OUT --lora {}` and use OUT",
        dir.display()
    )
}

/// Returns a directory below this one that is a model: a stage of `meno replicate`, a checkpoint, a snapshot of the
/// hub's cache.
fn model_within(dir: &Path, names: &[String]) -> Option<String> {
    /// Maximum number of directories to search.
    const MOST: usize = 1000;
    let is_model = |name: &str| dir.join(name).join("config.json").is_file();
    for known in ["r1", "best"] {
        if is_model(known) {
            return Some(known.to_owned());
        }
    }
    if names.iter().any(|n| n == "snapshots") {
        let commit = std::fs::read_to_string(dir.join("refs/main")).ok()?;
        return Some(format!("snapshots/{}", commit.trim())).filter(|name| is_model(name));
    }
    names.iter().take(MOST).rev().find(|name| is_model(name)).cloned()
}
