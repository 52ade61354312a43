//! What the commands that write checkpoints share.

use crate::progress::{Unit, Work};
use meno_model::convert::Checkpoint;
use meno_model::gguf::{FileType, GgmlType, Planned};

/// How many tensors are written.
pub(crate) struct Bar(Work);

impl Bar {
    pub(crate) fn new() -> Bar {
        Bar(Work::new("writing tensors", Unit::Count))
    }

    /// The tensor that is being written.
    pub(crate) fn tell(&mut self, name: &str, done: usize, of: usize) {
        self.0.set(done as u64, of as u64);
        self.0.detail(name);
    }
}

/// `Q4_K 120, Q6_K 25, F32 97`: how many tensors have which type.
pub(crate) fn types(plan: &[Planned]) -> String {
    let count = |t: GgmlType| plan.iter().filter(|p| p.dtype == t).count();
    let mut counts: Vec<(usize, &str)> = GgmlType::ALL.iter().map(|&t| (count(t), t.name())).collect();
    counts.retain(|c| c.0 > 0);
    counts.sort_by_key(|c| std::cmp::Reverse(c.0));
    counts.iter().map(|(n, name)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

/// Says so if weights are quantised a second time.
pub(crate) fn warn(checkpoint: &Checkpoint, file_type: FileType) {
    let Some(file) = checkpoint.gguf() else { return };
    let plain = |t: GgmlType| matches!(t, GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16);
    if !plain(file_type.main) && file.tensors().iter().any(|t| !plain(t.dtype) && t.dtype != file_type.main) {
        eprintln!(
            "note: {} is quantised already; a file made from the original weights is better",
            file.path().display()
        );
    }
}
