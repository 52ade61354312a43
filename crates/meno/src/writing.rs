//! Shared by the commands that write checkpoints.

use crate::progress::{Unit, Work};
use meno_model::convert::Checkpoint;
use meno_model::gguf::{GgmlType, Planned};

/// A progress bar over the written tensors.
pub(crate) struct Bar(Work);

impl Bar {
    pub(crate) fn new() -> Bar {
        Bar(Work::new("writing tensors", Unit::Count))
    }

    /// Reports the tensor that is being written.
    pub(crate) fn tell(&mut self, name: &str, done: usize, of: usize) {
        self.0.set(done as u64, of as u64);
        self.0.detail(name);
    }
}

/// Formats the number of tensors per type: `Q4_K 120, Q6_K 25, F32 97`.
pub(crate) fn types(plan: &[Planned]) -> String {
    let count = |t: GgmlType| plan.iter().filter(|p| p.dtype == t).count();
    let mut counts: Vec<(usize, &str)> = GgmlType::ALL.iter().map(|&t| (count(t), t.name())).collect();
    counts.retain(|c| c.0 > 0);
    counts.sort_by_key(|c| std::cmp::Reverse(c.0));
    counts.iter().map(|(n, name)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

/// The tensors of `plan` whose weights would be quantized a second time: tensors of a GGUF file that have a
/// quantized type and get another one. With an adapter, all tensors are dequantized, so keeping the same type
/// loses precision too.
pub(crate) fn requantized(checkpoint: &Checkpoint, plan: &[Planned], merged: bool) -> Vec<String> {
    let Some(file) = checkpoint.gguf() else { return Vec::new() };
    let quantized = |t: GgmlType| !matches!(t, GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16);
    let stored = |name: &str| file.tensors().iter().find(|t| t.name == name).map(|t| t.dtype).filter(|t| quantized(*t));
    let again = |p: &&Planned| quantized(p.dtype) && stored(&p.name).is_some_and(|dtype| merged || dtype != p.dtype);
    plan.iter().filter(again).map(|p| p.name.clone()).collect()
}
