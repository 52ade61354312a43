//! What the commands that write checkpoints share.

use indicatif::{ProgressBar, ProgressStyle};
use meno_model::convert::Checkpoint;
use meno_model::gguf::{FileType, GgmlType, Planned};

/// A bar of tensors on a terminal; nothing elsewhere.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Bar {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta:>4} {msg}") {
            bar.set_style(style);
        }
        Bar(bar)
    }

    /// The tensor that is being written.
    pub(crate) fn tell(&mut self, name: &str, done: usize, of: usize) {
        self.0.set_length(of as u64);
        self.0.set_position(done as u64);
        self.0.set_message(name.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
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
