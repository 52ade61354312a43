//! Initializes weights, and checks that they fit in memory.

use crate::Error;
use meno_tensor::backend::{self, Weights};
use meno_tensor::pool;
use meno_tensor::rng::Rng;
use meno_tensor::tape::ParamLayout;

/// Values drawn from one stream of random numbers.
const STREAM: usize = 1 << 14;

/// Fills matrices from N(0, std²), gains with 1, biases with 0, except parameters that another process holds. A value
/// depends only on seed, parameter and position.
pub(crate) fn fill(weights: &mut dyn Weights, std: f32, seed: u64) -> Result<(), backend::Error> {
    for (i, (p, info)) in weights.layout().clone().iter().enumerate().filter(|(_, (_, info))| !info.absent) {
        let gain = if info.name.contains("norm") { 1.0 } else { 0.0 };
        weights.update(p, &mut |values| match info.shape.len() {
            1 => values.fill(gain),
            _ => pool::for_chunks(values, STREAM, |task, chunk| {
                let mut rng = Rng::new(&[seed, i as u64, task as u64]);
                chunk.iter_mut().for_each(|w| *w = rng.normal() * std);
            }),
        })?;
    }
    Ok(())
}

/// Returns the size in bytes of the f32 values that this process holds.
pub(crate) fn present_bytes(layout: &ParamLayout) -> f64 {
    layout.iter().filter(|(_, info)| !info.absent).map(|(_, info)| info.range().len() as f64 * 4.0).sum()
}

/// Returns an error if the weights alone, `bytes`, exceed the memory of this machine.
pub(crate) fn check_memory(bytes: f64) -> Result<(), Error> {
    const GIB: f64 = (1u64 << 30) as f64;
    let needed = bytes / GIB;
    match total_memory() {
        Some(all) if bytes > all as f64 => Err(Error::Memory { needed, available: all as f64 / GIB }),
        _ => Ok(()),
    }
}

/// Returns the memory of this machine in bytes, if the system reports it.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
