//! Loads a model from a Hugging Face directory or a GGUF file.

use crate::network::Network;
use crate::source::{Source, open};
use crate::{Error, Model, init};
use meno_tensor::device::Device;
use meno_tensor::tape::Param;
use std::path::Path;

/// Options for loading weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The device that holds them.
    pub device: Device,
    /// If true, matrices of a GGUF file stay in their quantized blocks (inference only) instead of being converted to
    /// f32.
    pub keep_quantized: bool,
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
        let all: Vec<(Param, String)> = layout.iter().map(|(p, info)| (p, info.name.clone())).collect();
        let mut quantized = Vec::new();
        for (p, name) in all.iter().filter(|(p, _)| o.keep_quantized && network.can_quantize(&layout, *p)) {
            if source.blocks(name)?.is_some() {
                quantized.push(*p);
            }
        }
        layout.set_quantized(&quantized);
        // Quantized blocks take about as much memory as in the file.
        let bytes = match &source {
            Source::Gguf(gguf) if o.keep_quantized => gguf.bytes() as f64,
            _ => layout.total() as f64 * 4.0,
        };
        init::check_memory(bytes)?;
        let mut model = Model::new(config, network, layout, o.device)?;
        let layout = model.layout().clone();
        let (mut read, total) = (0, layout.count());
        on_read(0, total);
        for (p, name) in all {
            if layout.is_quantized(p) {
                let blocks = source.blocks(&name)?.expect("invariant: only matrices in blocks are marked as quantized");
                source.check_finite(&name)?;
                model.weights.write_quantized(p, blocks.dtype, blocks.data, &*blocks.row)?;
            } else {
                let mut result = Ok(());
                model.weights.update(p, &mut |values| result = source.read_f32(&name, values))?;
                result?;
            }
            read += layout.info(p).len();
            on_read(read, total);
        }
        Ok(model)
    }
}
