//! Medians, and the memory of this process and of a device.

use meno_tensor::backend::{Backend, Error};

/// The median of at least one value.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Peak memory of this process, in MiB.
pub(super) fn peak_rss_mb() -> f64 {
    // SAFETY: an all-zero rusage is valid, and getrusage writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let unit = if cfg!(target_os = "macos") { 1.0 } else { 1024.0 };
    usage.ru_maxrss as f64 * unit / (1 << 20) as f64
}

/// The memory in use of a device that has memory of its own, in MB.
pub(super) fn device_memory_mb(backend: &dyn Backend) -> Result<Option<f64>, Error> {
    Ok(backend.memory()?.map(|[free, total]| (total - free) as f64 / 1e6))
}
