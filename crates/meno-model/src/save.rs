//! Writes a checkpoint as a Hugging Face directory.

use crate::safetensors::Dtype;
use crate::shared_file::{SharedFile, SharedTensor};
use crate::source::mtp_copies;
use crate::temporary::replace;
use crate::{Config, Error, Model};
use meno_comm::{Communicator, Solo};
use meno_tensor::backend::Weights;
use meno_tensor::tape::Param;
use std::collections::HashMap;
use std::path::Path;

/// A parameter to write. It is read from the device when it is written.
struct Saved<'a> {
    name: String,
    p: Param,
    dtype: Dtype,
    weights: &'a dyn Weights,
}

impl Saved<'_> {
    fn shape(&self) -> &[usize] {
        &self.weights.layout().info(self.p).shape
    }
}

impl Model {
    /// Writes `config.json` and `model.safetensors` into `dir`, first under temporary names; other files in `dir` stay
    /// unchanged.
    pub fn save(&self, dir: &Path, dtype: Dtype) -> Result<(), Error> {
        self.save_together(dir, dtype, &Solo)
    }

    /// Like [`Model::save`], by all ranks of a run: each writes a part of the tensors. All ranks call it.
    pub fn save_together(&self, dir: &Path, dtype: Dtype, comm: &dyn Communicator) -> Result<(), Error> {
        let layout = self.layout();
        assert!(layout.is_f32(), "invariant: a saved network has all its values");
        assert!(layout.is_complete() || comm.size() > 1, "invariant: all ranks save experts that are dealt out");
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
        let shared =
            |t: &Saved| SharedTensor { name: t.name.clone(), dtype: t.dtype.stored(), shape: t.shape().to_vec() };
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let file = SharedFile::new(tensors.iter().map(shared).collect(), Some(metadata));
        let placement = (!layout.is_complete()).then(|| self.expert_placement(comm.size())).transpose()?;
        let writer = |t: &Saved| {
            let holder = placement.as_ref().and_then(|p| p.rank_of(layout.info(t.p).range().start));
            holder.unwrap_or_else(|| file.writer(&t.name, comm.size()))
        };
        let own: Vec<&Saved> = tensors.iter().filter(|t| writer(t) == comm.rank()).collect();
        for t in &own {
            t.dtype.check(&path, &t.name, &t.weights.read(t.p)?)?;
        }
        file.write(&path, comm, |writer| {
            own.iter().try_for_each(|t| writer.write(&t.name, 0, &t.dtype.bytes(&t.weights.read(t.p)?)))
        })?;
        if comm.is_first() {
            write_config(&self.config, dir, dtype)?;
        }
        Ok(())
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
