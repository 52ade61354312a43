//! Loads a model from a Hugging Face directory or a GGUF file.

use crate::expert_parallel::{self, ExpertRank};
use crate::network::Network;
use crate::source::{Source, open};
use crate::{Error, Model, init};
use half::bf16;
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use meno_tensor::quant::GgmlType;
use meno_tensor::tape::{Param, ParamInfo, Storage};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Options for loading weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The device that holds them.
    pub device: Device,
    /// If true, quantized matrices stay as they are (inference only) instead of being converted to f32: those of a GGUF
    /// file, and with `bf16_only` FP8 matrices on a GPU.
    pub keep_quantized: bool,
    /// If true, a GPU stores matrices as bf16 alone (inference in bf16 only): a third of the memory of f32 values and
    /// their copies in bf16.
    pub bf16_only: bool,
    /// The rank whose experts are loaded, if the experts are dealt out ([`expert_parallel`]); the tensors of other
    /// experts are not read.
    pub experts: Option<ExpertRank>,
}

/// Which precision a model is loaded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LoadPrecision {
    /// Quantized matrices of a GGUF file stay quantized and are multiplied with 8-bit activations (on a GPU in bf16,
    /// and those in FP8 too); all others use the caller's default.
    #[default]
    Auto,
    /// Quantized matrices are dequantized, and all use this precision.
    Fixed(Precision),
}

/// A text that names no [`LoadPrecision`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown value `{0}`, expected one of `auto`, `f32`, `bf16`")]
pub struct UnknownLoadPrecision(pub String);

impl LoadPrecision {
    /// Returns how weights are loaded for inference, and the precision of matrix products. `default` is that of
    /// matrices that are not quantized, if none is fixed.
    pub fn resolve(self, default: Precision) -> (LoadOptions, Precision) {
        let (keep_quantized, precision) = match self {
            LoadPrecision::Auto => (true, default),
            LoadPrecision::Fixed(precision) => (false, precision),
        };
        let bf16_only = precision == Precision::Bf16;
        (LoadOptions { keep_quantized, bf16_only, ..LoadOptions::default() }, precision)
    }

    fn name(self) -> &'static str {
        match self {
            LoadPrecision::Auto => "auto",
            LoadPrecision::Fixed(precision) => precision.name(),
        }
    }
}

impl fmt::Display for LoadPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for LoadPrecision {
    type Err = UnknownLoadPrecision;

    fn from_str(text: &str) -> Result<LoadPrecision, UnknownLoadPrecision> {
        match text {
            "auto" => Ok(LoadPrecision::Auto),
            _ => text.parse().map(LoadPrecision::Fixed).map_err(|_| UnknownLoadPrecision(text.to_owned())),
        }
    }
}

impl TryFrom<String> for LoadPrecision {
    type Error = UnknownLoadPrecision;

    fn try_from(text: String) -> Result<LoadPrecision, UnknownLoadPrecision> {
        text.parse()
    }
}

impl From<LoadPrecision> for String {
    fn from(precision: LoadPrecision) -> String {
        precision.name().to_owned()
    }
}

impl Model {
    /// Reads a Hugging Face directory or a GGUF file, every weight as f32, on the CPU.
    pub fn load(path: &Path) -> Result<Model, Error> {
        Model::load_with(path, LoadOptions::default(), &mut |_, _| {})
    }

    /// Like [`Model::load`], with options. `on_read` receives the number of values read so far and the total number.
    pub fn load_with(path: &Path, o: LoadOptions, on_read: &mut dyn FnMut(usize, usize)) -> Result<Model, Error> {
        let (config, source) = open(path)?;
        let (network, mut layout) = Network::declare(&config);
        if let Some(own) = o.experts {
            expert_parallel::set_absent(&network, &mut layout, own)?;
        }
        let present = layout.iter().filter(|(_, info)| !info.absent);
        let present: Vec<(Param, String)> = present.map(|(p, info)| (p, info.name.clone())).collect();
        let (mut quantized, mut rounded) = (Vec::new(), Vec::new());
        for (p, name) in present.iter().filter(|(p, _)| network.can_quantize(&layout, *p)) {
            if o.keep_quantized && (source.blocks(name)?.is_some() || stays_fp8(&source, layout.info(*p), o)) {
                quantized.push(*p);
            } else if o.bf16_only && o.device.has_own_memory() {
                rounded.push(*p);
            }
        }
        layout.set_storage(&quantized, Storage::Blocks);
        layout.set_storage(&rounded, Storage::Bf16);
        let (mut read, total) = (0, present.iter().map(|(p, _)| layout.info(*p).len()).sum());
        if !o.device.has_own_memory() {
            // Quantized blocks take about as much memory as in the file.
            let share = total as f64 / layout.count() as f64;
            init::check_memory(match &source {
                Source::Gguf(gguf) if o.keep_quantized => gguf.bytes() as f64 * share,
                _ => init::present_bytes(&layout),
            })?;
        }
        let mut model = Model::new(config, network, layout, o.device)?;
        let layout = model.layout().clone();
        on_read(0, total);
        for (p, name) in present {
            match layout.storage(p) {
                Storage::Blocks => match source.fp8(&name)? {
                    Some(matrix) => model.weights.write_fp8(p, &matrix)?,
                    None => {
                        let blocks = source.blocks(&name)?.expect("invariant: only these are marked as quantized");
                        source.check_finite(&name)?;
                        model.weights.write_quantized(p, blocks.dtype, blocks.data, &*blocks.row)?;
                    }
                },
                Storage::Bf16 => {
                    let mut values = vec![0f32; layout.info(p).len()];
                    source.read_f32(&name, &mut values)?;
                    let rounded: Vec<bf16> = values.par_iter().map(|&x| bf16::from_f32(x)).collect();
                    let bytes = bytemuck::cast_slice(&rounded);
                    model.weights.write_quantized(p, GgmlType::Bf16, bytes, &|row| row)?;
                }
                Storage::F32 => {
                    let mut result = Ok(());
                    model.weights.update(p, &mut |values| result = source.read_f32(&name, values))?;
                    result?;
                }
            }
            read += layout.info(p).len();
            on_read(read, total);
        }
        Ok(model)
    }
}

/// Returns true if an FP8 matrix stays as it is. Experts of sizes that are no multiples of 8 do not: their products are
/// not those of tensor cores, and have other bits.
fn stays_fp8(source: &Source, info: &ParamInfo, o: LoadOptions) -> bool {
    let even = !info.name.contains(".experts.") || info.shape.iter().all(|size| size.is_multiple_of(8));
    source.fp8_block(&info.name).is_some_and(|block| o.bf16_only && o.device.keeps_fp8(block) && even)
}
