//! Measures what all processes of a sandbox use together, from /proc.
//!
//! Kernel limits apply to single processes: a program that forks one child after another could keep a processor busy,
//! and sixteen processes could use sixteen times the memory. Programs in a sandbox cannot ignore SIGCHLD (`calls`), so
//! the process that waits for a dead child always accounts for its CPU time.

use nix::unistd::Pid;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// The unit of times in /proc; identical on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// The resource usage of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// CPU time, including dead processes.
    pub(super) cpu: Duration,
    /// Private memory in bytes, including page tables and swap. Memory shared by two processes counts once if the
    /// kernel reports it so.
    pub(super) memory_bytes: u64,
    /// Running processes, and ended ones that no process has waited for.
    pub(super) processes: usize,
}

/// A line of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    ticks: u64,
}

/// The usage of a process and all its descendants. Returns an error if /proc does not show the process.
pub(super) fn of(root: Pid) -> io::Result<Usage> {
    let mut processes = HashMap::new();
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process may end between the two reads.
        let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { continue };
        if let Some(process) = parse(&String::from_utf8_lossy(&stat)) {
            children.entry(process.parent).or_default().push(pid);
            processes.insert(pid, process);
        }
    }
    if !processes.contains_key(&root.as_raw()) {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    let mut usage = Usage::default();
    let mut left = vec![root.as_raw()];
    while let Some(pid) = left.pop() {
        usage.cpu += processes.get(&pid).map_or(Duration::ZERO, |p| TICK * p.ticks.min(u64::from(u32::MAX)) as u32);
        usage.processes += 1;
        if pid != root.as_raw() {
            usage.memory_bytes += memory(pid);
        }
        left.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(usage)
}

/// True if /proc shows this process, and therefore its descendants.
pub(super) fn is_visible() -> bool {
    std::fs::read_link("/proc/self").is_ok_and(|pid| pid.as_os_str() == std::process::id().to_string().as_str())
}

/// Parses the fields of a process. Its name, in brackets, may contain anything.
fn parse(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    // utime, stime, and the same of the children it has waited for.
    let ticks = (11..15).map(|index| number(index).and_then(|n| u64::try_from(n).ok())).sum::<Option<u64>>()?;
    Some(Process { parent: number(1)? as i32, ticks })
}

/// A process's share of the memory (PSS), or its memory that is not backed by files if PSS is unreadable; plus its page
/// tables. Page tables can be large with little memory behind them: all pages that are only read share one zero page.
fn memory(pid: i32) -> u64 {
    let read = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (share, status) = (read("smaps_rollup"), read("status"));
    let held = match (bytes(&share, "Pss"), bytes(&share, "SwapPss")) {
        (Some(memory), swapped) => memory + swapped.unwrap_or(0),
        (None, _) => bytes(&status, "RssAnon").unwrap_or(0) + bytes(&status, "VmSwap").unwrap_or(0),
    };
    held + bytes(&status, "VmPTE").unwrap_or(0)
}

/// Reads a number of bytes from lines of the form `NAME: NUMBER kB`. The process name, which may contain anything, has
/// no line breaks in these files.
fn bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_its_numbers() {
        let numbers = "S 41 0 0 0 -1 0 0 0 0 0 7 3 20 10 20 0 1 0 100 4096 5";
        let wanted = Process { parent: 41, ticks: 40 };
        for name in ["python3", ") R 1 0 0 0 0 0 0 0 0 0 0 0 0 0", "a b) (c"] {
            assert_eq!(parse(&format!("42 ({name}) {numbers}")), Some(wanted), "{name}");
        }
        assert_eq!(parse("42 (x) S 41"), None);
    }

    #[test]
    fn dead_and_living_children_count() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; sleep 60 & read -r _"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(shell.id() as i32);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while of(pid).unwrap().cpu < TICK * 3 {
            assert!(std::time::Instant::now() < deadline, "{:?}", of(pid).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(of(pid).unwrap().memory_bytes > 0);
        shell.kill().unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn page_tables_and_swapped_pages_count() {
        assert_eq!(bytes("Name:\tVmPTE: 9 kB\nVmPTE:\t       8 kB\n", "VmPTE"), Some(8 << 10));
        assert_eq!(bytes("Pss_Dirty: 1 kB\nSwapPss:  3 kB\n", "Pss"), None);
        let before = memory(std::process::id() as i32);
        let size = 3 << 30;
        // SAFETY: a new mapping that nothing else uses; all its pages are the zero page.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let start = libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            for page in (0..size).step_by(4096) {
                start.cast::<u8>().add(page).read_volatile();
            }
            let after = memory(std::process::id() as i32);
            libc::munmap(start, size);
            assert!(after > before + (4 << 20), "{before} {after}");
        }
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert!(of(Pid::from_raw(i32::MAX)).is_err());
    }
}
