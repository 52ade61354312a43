//! LoRA adapters in PEFT's format (Hu et al., arXiv 2106.09685): `adapter_config.json` and `adapter_model.safetensors`.
//! A merged weight is W + s·B·A with s = alpha / r, or alpha / √r (rsLoRA, arXiv 2312.03732).

use crate::safetensors::Safetensors;
use crate::{Error, input};
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// PEFT's prefix of every name.
const PREFIX: &str = "base_model.model.";

/// The change of one weight.
enum Change {
    /// A `[r, in]`, B `[out, r]`, and the factor.
    LowRank { a: String, b: String, r: usize, scale: f32 },
    /// A complete replacement of the weight (`modules_to_save`).
    Replaced(String),
}

/// An adapter.
pub(crate) struct Lora {
    file: Safetensors,
    /// Changes, by the name of the weight.
    changes: BTreeMap<String, Change>,
}

impl Lora {
    /// Reads an adapter's directory. `shape` returns the shape of a weight of the model, if it exists.
    pub(crate) fn open(dir: &Path, shape: impl Fn(&str) -> Option<Vec<usize>>) -> Result<Lora, Error> {
        let path = dir.join("adapter_config.json");
        let text = input::read_text(&path, input::SMALL).map_err(Error::io(&path))?;
        let config: Value =
            serde_json::from_str(&text).map_err(|e| Error::malformed(&path, format!("not JSON: {e}")))?;
        let scales = Scales::read(&path, &config)?;
        let path = dir.join("adapter_model.safetensors");
        let file = Safetensors::open(&path)?;
        let mut changes = BTreeMap::new();
        for name in file.names() {
            let wrong = |what: &str| Error::malformed(&path, format!("tensor `{name}` {what}"));
            let weight = name.strip_prefix(PREFIX).ok_or_else(|| wrong("does not start with base_model.model."))?;
            if weight.ends_with(".lora_B.weight") {
                continue;
            }
            let (weight, change) = match weight.strip_suffix(".lora_A.weight") {
                None if weight.contains("lora_") => {
                    return Err(wrong("is of an unsupported kind; only adapters of linear layers are supported"));
                }
                None => (weight.replacen(".modules_to_save", "", 1), Change::Replaced(name.clone())),
                Some(module) => {
                    let b = name.replace(".lora_A.weight", ".lora_B.weight");
                    let r = file.shape(&name).and_then(|s| s.first().copied()).unwrap_or(0);
                    let change = Change::LowRank { a: name.clone(), b, r, scale: scales.of(module, r) };
                    (format!("{module}.weight"), change)
                }
            };
            let base = shape(&weight).ok_or_else(|| wrong("changes a weight that the model does not have"))?;
            let fits = match &change {
                Change::Replaced(name) => file.shape(name) == Some(&base),
                Change::LowRank { a, b, .. } => match (file.shape(a), file.shape(b), &base[..]) {
                    (Some(&[r, i]), Some(&[o, r2]), &[out, inputs]) => r == r2 && r > 0 && i == inputs && o == out,
                    _ => false,
                },
            };
            if !fits {
                return Err(wrong(&format!("and its partner do not fit `{weight}` of shape {base:?}")));
            }
            changes.insert(weight, change);
        }
        if changes.is_empty() {
            return Err(Error::malformed(
                &path,
                "changes nothing: expected tensors `….lora_A.weight` and `….lora_B.weight`",
            ));
        }
        Ok(Lora { file, changes })
    }

    /// Returns the number of weights it changes.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Applies the change, if any, to a weight that has been read.
    pub(crate) fn apply(&self, name: &str, weight: &mut [f32]) -> Result<(), Error> {
        match self.changes.get(name) {
            None => Ok(()),
            Some(Change::Replaced(name)) => self.file.read_f32(name, weight),
            Some(Change::LowRank { a, b, r, scale }) => {
                add_product(weight, &self.read(a)?, &self.read(b)?, *r, *scale);
                Ok(())
            }
        }
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; self.file.shape(name).unwrap_or_default().iter().product()];
        self.file.read_f32(name, &mut values)?;
        Ok(values)
    }
}

/// Computes weight `[out, in]` += scale · B `[out, r]` · A `[r, in]`.
fn add_product(weight: &mut [f32], a: &[f32], b: &[f32], r: usize, scale: f32) {
    let inputs = a.len() / r;
    weight.par_chunks_mut(inputs).zip(b.par_chunks(r)).for_each(|(row, b)| {
        for (b, a) in b.iter().zip(a.chunks_exact(inputs)) {
            let factor = scale * b;
            row.iter_mut().zip(a).for_each(|(w, a)| *w += factor * a);
        }
    });
}

/// The factors of the products B·A.
struct Scales {
    alpha: f32,
    rslora: bool,
    /// Exceptions to alpha for some modules.
    alpha_pattern: Map<String, Value>,
}

impl Scales {
    fn read(path: &Path, config: &Value) -> Result<Scales, Error> {
        let error = |key: &str, what: String| Error::Config { file: path.display().to_string(), key: key.into(), what };
        match config["peft_type"].as_str() {
            Some("LORA") | None => {}
            Some(other) => return Err(error("peft_type", format!("is {other:?}; only LORA is supported"))),
        }
        for key in ["use_dora", "fan_in_fan_out"] {
            if config[key].as_bool() == Some(true) {
                return Err(error(key, "is true, which is not supported; merge the adapter with PEFT".into()));
            }
        }
        if let Some(bias) = config["bias"].as_str().filter(|b| *b != "none") {
            return Err(error("bias", format!("is {bias:?}; only \"none\" is supported")));
        }
        let alpha = config["lora_alpha"].as_f64().filter(|x| x.is_finite());
        let alpha = alpha.ok_or_else(|| error("lora_alpha", "is missing: expected a number".into()))?;
        let rslora = config["use_rslora"].as_bool().unwrap_or(false);
        let alpha_pattern = config["alpha_pattern"].as_object().cloned().unwrap_or_default();
        let plain = |key: &String| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        if let Some(key) = alpha_pattern.keys().find(|k| !plain(k)) {
            return Err(error(
                "alpha_pattern",
                format!("has the pattern {key:?}; only names of modules are supported"),
            ));
        }
        Ok(Scales { alpha: alpha as f32, rslora, alpha_pattern })
    }

    /// Returns the factor of a module whose matrices have rank `r`.
    fn of(&self, module: &str, r: usize) -> f32 {
        let names = |key: &str| module == key || module.strip_suffix(key).is_some_and(|rest| rest.ends_with('.'));
        let own = self.alpha_pattern.iter().find(|(key, _)| names(key)).and_then(|(_, v)| v.as_f64());
        let alpha = own.map_or(self.alpha, |x| x as f32);
        alpha / if self.rslora { (r as f32).sqrt() } else { r as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales() {
        let read = |json: Value| Scales::read(Path::new("adapter_config.json"), &json);
        let s = read(serde_json::json!({"lora_alpha": 16, "alpha_pattern": {"q_proj": 4, "layers.1.mlp.up_proj": 2}}))
            .unwrap();
        assert_eq!(s.of("model.layers.0.self_attn.k_proj", 8), 2.0);
        assert_eq!(s.of("model.layers.0.self_attn.q_proj", 8), 0.5);
        assert_eq!(s.of("model.layers.1.mlp.up_proj", 4), 0.5);
        assert_eq!(s.of("model.layers.11.mlp.up_proj", 4), 4.0);
        let s = read(serde_json::json!({"lora_alpha": 16, "use_rslora": true})).unwrap();
        assert_eq!(s.of("x", 16), 4.0);
        for (json, key) in [
            (serde_json::json!({}), "lora_alpha"),
            (serde_json::json!({"lora_alpha": 1, "use_dora": true}), "use_dora"),
            (serde_json::json!({"lora_alpha": 1, "bias": "all"}), "bias"),
            (serde_json::json!({"lora_alpha": 1, "peft_type": "IA3"}), "peft_type"),
            (serde_json::json!({"lora_alpha": 1, "alpha_pattern": {"q.*": 2}}), "alpha_pattern"),
        ] {
            let error = read(json).err().unwrap().to_string();
            assert!(error.contains("adapter_config.json: key `") && error.contains(key), "{error}");
        }
    }

    /// W = 0, A = [[1, 2]], B = [[3], [5]], s = 2: s·B·A = [[6, 12], [10, 20]].
    #[test]
    fn product_by_hand() {
        let mut w = [0.0; 4];
        add_product(&mut w, &[1.0, 2.0], &[3.0, 5.0], 1, 2.0);
        assert_eq!(w, [6.0, 12.0, 10.0, 20.0]);
    }
}
