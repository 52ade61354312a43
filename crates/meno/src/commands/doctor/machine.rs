//! Processor, memory, disks and GPUs, as reported by the system.

use super::report::{Mark, Section};
use crate::progress::bytes;
use meno_tensor::cpu::features::kernels;
use meno_tensor::cpu::features::processor as features;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Less memory than this is little for a 4-bit model with several billion parameters.
const LITTLE_MEMORY: u64 = 4 << 30;
/// Less free space than this is little for checkpoints.
const LITTLE_DISK: u64 = 2_000_000_000;

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The first value of a key of /proc/cpuinfo or /proc/meminfo.
fn field(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The clock of a core in MHz: the maximum that the system allows, otherwise the current value.
pub(super) fn megahertz() -> Option<f64> {
    let most = read("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").and_then(|s| s.trim().parse::<f64>().ok());
    most.map(|khz| khz / 1e3).or_else(|| field(&read("/proc/cpuinfo")?, "cpu MHz")?.parse().ok())
}

pub(super) fn processor() -> Section {
    let mut s = Section::new("processor", "Processor");
    let info = read("/proc/cpuinfo").unwrap_or_default();
    let name = field(&info, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all = info.lines().filter(|l| l.starts_with("processor")).count().max(threads);
    let clock = megahertz().map_or_else(String::new, |m| format!(", {:.1} GHz", m / 1e3));
    s.ok("name", "name", format!("{name}{clock}"));
    let of = if all > threads { format!(" of {all}, as this process may use") } else { String::new() };
    s.row(Mark::Ok, "threads", format!("threads: {threads}{of}"), json!(threads));
    let (k, asked) = (kernels(), std::env::var("MENO_CPU").ok());
    let by = asked.as_ref().map_or_else(String::new, |v| format!(" (MENO_CPU={v})"));
    let slow = k.f32 == "portable" && cfg!(target_arch = "x86_64");
    let text = format!("kernels: f32 {}, bf16 {}, quantized {}{by}", k.f32, k.bf16, k.int8);
    let value = json!({ "f32": k.f32, "bf16": k.bf16, "quantized": k.int8, "MENO_CPU": asked });
    s.row(if slow { Mark::Note } else { Mark::Ok }, "kernels", text, value);
    if slow {
        s.advise(
            "no AVX2 kernels are in use, so everything is several times slower: use a processor with AVX2 (any since \
             2015), or leave MENO_CPU unset",
        );
    }
    let has: Vec<&str> = features().into_iter().filter(|f| f.1).map(|f| f.0).collect();
    let lacks: Vec<&str> = features().into_iter().filter(|f| !f.1).map(|f| f.0).collect();
    let without = if lacks.is_empty() { String::new() } else { format!("; without {}", lacks.join(" ")) };
    let value = json!({ "has": has, "lacks": lacks });
    s.row(Mark::Ok, "features", format!("features: {}{without}", has.join(" ")), value);
    s
}

/// The smallest memory limit that a control group (version 1 or 2) sets for this process.
fn memory_limit() -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let number = |path: PathBuf| read(path)?.trim().parse::<u64>().ok();
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            c if c.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // A container sees its own group as the root.
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            limits.extend(number(Path::new(root).join(group).join(file)));
        }
    }
    // Version 1 writes an impossibly large number if there is no limit.
    limits.into_iter().min().filter(|l| *l < 1 << 60)
}

/// The bytes of a key of /proc/meminfo.
fn meminfo(key: &str) -> Option<u64> {
    let kib: u64 = field(&read("/proc/meminfo")?, key)?.trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// The memory that this process may use in bytes: that of the machine, or the limit of its control group.
pub(crate) fn total_memory() -> Option<u64> {
    Some(meminfo("MemTotal")?.min(memory_limit().unwrap_or(u64::MAX)))
}

pub(super) fn memory() -> Section {
    let mut s = Section::new("memory", "Memory");
    let (total, available, limit) = (meminfo("MemTotal"), meminfo("MemAvailable"), memory_limit());
    let Some((total, available)) = total.zip(available) else {
        s.line(Mark::NotTried, "unknown: /proc/meminfo cannot be read");
        return s;
    };
    let usable = available.min(limit.unwrap_or(u64::MAX));
    let little = usable < LITTLE_MEMORY;
    let text = format!("memory: {} in all, {} available", bytes(total), bytes(available));
    s.row(if little { Mark::Note } else { Mark::Ok }, "total_bytes", text, json!(total));
    s.value("available_bytes", json!(available));
    let text = limit.map_or("none".to_owned(), bytes);
    s.row(Mark::Ok, "limit_bytes", format!("limit of the control group: {text}"), json!(limit));
    if little {
        s.advise(format!(
            "{} of memory are available: use a smaller or more quantized model, a smaller --context, --kv-type q8_0",
            bytes(usable)
        ));
    }
    if let Some(text) = read("/sys/kernel/mm/transparent_hugepage/enabled") {
        let chosen = text.split('[').nth(1).and_then(|t| t.split(']').next()).unwrap_or("unknown").to_owned();
        let never = chosen == "never";
        let mark = if never { Mark::Note } else { Mark::Ok };
        s.row(mark, "huge_pages", format!("huge pages: {chosen}"), json!(chosen));
        if never {
            s.advise(
                "huge pages are off, so weights are read more slowly: echo madvise | sudo tee \
                 /sys/kernel/mm/transparent_hugepage/enabled",
            );
        }
    }
    s
}

/// Bytes that this user can still write at `path`, which need not exist yet.
pub(super) fn free(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|p| p.exists())?;
    let name = std::ffi::CString::new(there.as_os_str().as_encoded_bytes()).ok()?;
    // SAFETY: `name` ends with a NUL, an all-zero statvfs is valid, and statvfs writes to it.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(name.as_ptr(), &mut stat) == 0).then_some(stat)
    }?;
    #[allow(clippy::unnecessary_cast)] // the types differ between systems
    Some(stat.f_bavail as u64 * stat.f_frsize as u64)
}

pub(super) fn disks() -> Section {
    let mut s = Section::new("disk", "Disk");
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    for (key, path) in [("here", here), ("temporary", std::env::temp_dir())] {
        let room = free(&path);
        let little = room.is_some_and(|b| b < LITTLE_DISK);
        let text = format!("{}: {} free", path.display(), room.map_or("unknown".into(), bytes));
        let mark = if little { Mark::Note } else { Mark::Ok };
        s.row(mark, key, text, json!({ "path": path, "free_bytes": room }));
        if little {
            s.advise(format!("{}: little room; checkpoints and quantized files need a few GB", path.display()));
        }
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemTotal:       24580 kB\nMemFree: 1 kB\ncpu MHz\t\t: 2595.124\n";
        assert_eq!(field(text, "MemTotal").as_deref(), Some("24580 kB"));
        assert_eq!(field(text, "cpu MHz").as_deref(), Some("2595.124"));
        assert_eq!(field(text, "Mem"), None);
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_on_its_parents_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free(&dir.path().join("a/b/c")).unwrap() > 0);
    }
}
