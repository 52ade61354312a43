//! Hugging Face directories: `config.json`, and `model.safetensors` or its shards.

use crate::safetensors::Safetensors;
use crate::{Error, fp8, input};
use meno_tensor::finite::first_not_below;
use meno_tensor::quant::fp8::Fp8Matrix;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest value of e4m3.
const LARGEST_E4M3: f32 = 448.0;

/// The safetensors files of a directory.
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) files: Vec<Safetensors>,
    /// Maps tensor names to the index of their file.
    pub(crate) index: BTreeMap<String, usize>,
    /// Rows and columns of FP8 weights that share a factor.
    block: Option<[usize; 2]>,
}

impl Directory {
    pub(crate) fn open(path: &Path, block: Option<[usize; 2]>) -> Result<Directory, Error> {
        let (single, index) = (path.join("model.safetensors"), path.join("model.safetensors.index.json"));
        let names = if single.exists() { vec!["model.safetensors".to_owned()] } else { shards(&index)? };
        let missing: Vec<&String> = names.iter().filter(|name| !path.join(name).exists()).collect();
        if let Some(first) = missing.first() {
            let what = format!(
                "lacks {} of its {} weight files ({first} is the first); fetch the files that \
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

    /// Returns the FP8 weight whose factors this tensor holds.
    pub(crate) fn scaled_by<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_suffix(fp8::SCALE).filter(|weight| self.index.contains_key(*weight))
    }

    /// Returns what is wrong with the factors of an FP8 weight.
    pub(crate) fn fp8_problem(&self, name: &str) -> Option<String> {
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

    /// Returns rows and columns of the blocks of an FP8 weight.
    pub(crate) fn fp8_block(&self, name: &str) -> Option<[usize; 2]> {
        self.block.filter(|_| self.files[self.index[name]].is_fp8(name))
    }

    pub(crate) fn read_f32(&self, name: &str, out: &mut [f32]) -> Result<(), Error> {
        let file = &self.files[self.index[name]];
        file.read_f32(name, out)?;
        if !file.is_fp8(name) {
            return Ok(());
        }
        let factors = self.fp8_factors(name)?;
        let (Some(block), Some(&[_, cols])) = (self.block, file.shape(name)) else { return Ok(()) };
        fp8::scale(out, cols, &factors, block);
        match first_not_below(out, f32::INFINITY) {
            Some(index) => Err(Error::not_finite(&self.path, name, index)),
            None => Ok(()),
        }
    }

    /// Returns an FP8 weight as it is stored, checked like its values in [`Directory::read_f32`].
    pub(crate) fn read_fp8(&self, name: &str, block: [usize; 2]) -> Result<Fp8Matrix<'_>, Error> {
        let codes = self.files[self.index[name]].fp8_codes(name)?;
        let factors = self.fp8_factors(name)?;
        if factors.iter().any(|factor| !(factor * LARGEST_E4M3).is_finite()) {
            self.read_f32(name, &mut vec![0.0; codes.len()])?;
        }
        Ok(Fp8Matrix { codes, factors, block })
    }

    /// Returns the factors of an FP8 weight.
    fn fp8_factors(&self, name: &str) -> Result<Vec<f32>, Error> {
        if let Some(problem) = self.fp8_problem(name) {
            return Err(Error::Tensors { path: self.path.clone(), problems: vec![problem] });
        }
        let scale = format!("{name}{}", fp8::SCALE);
        let file = &self.files[self.index[&scale]];
        let mut factors = vec![0.0; file.shape(&scale).unwrap_or_default().iter().product()];
        file.read_f32(&scale, &mut factors)?;
        Ok(factors)
    }
}

/// Returns the shards named in `model.safetensors.index.json`, each once. They must be in the same directory; a name
/// that leads to another place is an error.
pub fn shards(path: &Path) -> Result<Vec<String>, Error> {
    let text = input::read_text(path, input::SMALL).map_err(Error::io(path))?;
    let index: Value = serde_json::from_str(&text).map_err(|e| Error::malformed(path, format!("not JSON: {e}")))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::malformed(path, "has no object `weight_map` from tensors to files"))?;
    let mut names = std::collections::BTreeSet::new();
    for (tensor, file) in map {
        // The name must be a plain file name, in the directory of the index.
        let name = file.as_str().filter(|f| Path::new(f).file_name() == Some(f.as_ref()));
        let Some(name) = name else {
            let what = format!("gives {file} for `{tensor}`: expected the name of a file in the same directory");
            return Err(Error::malformed(path, what));
        };
        names.insert(name.to_owned());
    }
    Ok(names.into_iter().collect())
}
