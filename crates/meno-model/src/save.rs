//! Writes a checkpoint as a Hugging Face directory.

use crate::safetensors::{Dtype, write_views};
use crate::source::mtp_copies;
use crate::temporary::replace;
use crate::{Config, Error, Model};
use meno_tensor::backend::Weights;
use meno_tensor::tape::Param;
use safetensors::View;
use std::borrow::Cow;
use std::path::Path;

/// A parameter to write. It is read from the device when it is written.
struct Saved<'a> {
    name: String,
    p: Param,
    dtype: Dtype,
    weights: &'a dyn Weights,
}

impl View for &Saved<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype.stored()
    }
    fn shape(&self) -> &[usize] {
        &self.weights.layout().info(self.p).shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        match self.weights.read(self.p).expect("invariant: it was read a moment ago, to check it") {
            Cow::Borrowed(values) => self.dtype.bytes(values),
            Cow::Owned(values) => Cow::Owned(self.dtype.bytes(&values).into_owned()),
        }
    }
    fn data_len(&self) -> usize {
        self.weights.layout().info(self.p).len() * self.dtype.size()
    }
}

impl Model {
    /// Writes `config.json` and `model.safetensors` into `dir`, first under temporary names; other files in `dir` stay
    /// unchanged.
    pub fn save(&self, dir: &Path, dtype: Dtype) -> Result<(), Error> {
        let layout = self.layout();
        assert!(layout.is_f32() && layout.is_complete(), "invariant: a saved network has all its values");
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let tensor = |name: &str, p: Param, dtype| Saved { name: name.to_owned(), p, dtype, weights: &*self.weights };
        let mut tensors: Vec<Saved> = layout
            .iter()
            .map(|(p, info)| {
                // Rounding the selection bias would change the routing (V3.1 model card).
                let exact = info.name.ends_with("e_score_correction_bias");
                tensor(&info.name, p, if exact { Dtype::F32 } else { dtype })
            })
            .collect();
        if let Some(names) = mtp_copies(&self.config) {
            let network = self.network();
            tensors.extend(names.iter().zip(network.shared()).map(|(name, p)| tensor(name, p, dtype)));
        }
        let path = dir.join("model.safetensors");
        for t in &tensors {
            t.dtype.check(&path, &t.name, &t.weights.read(t.p)?)?;
        }
        write_views(&path, tensors.iter().map(|t| (t.name.as_str(), t)))?;
        write_config(&self.config, dir, dtype)
    }
}

/// Writes `config.json` for weights of this type.
pub(crate) fn write_config(config: &Config, dir: &Path, dtype: Dtype) -> Result<(), Error> {
    let mut config = config.to_value_unquantized();
    let key = if config.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    config[key] = dtype.name().into();
    let path = dir.join("config.json");
    replace(&path, |temporary| {
        let text = serde_json::to_string_pretty(&config).expect("invariant: a JSON value has a text");
        std::fs::write(temporary, text + "\n").map_err(Error::io(&path))
    })
}
