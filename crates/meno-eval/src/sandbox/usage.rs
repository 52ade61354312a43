//! What all processes of a sandbox use together, read from /proc.
//!
//! Limits of the kernel bind single processes: a program that forks one child after the other would keep a processor
//! busy and sixteen would hold sixteen times the memory. Signals about ended children cannot be ignored in a sandbox
//! (`calls`), so the CPU time of a dead process is always counted by the one that waited for it.

use nix::unistd::Pid;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// The unit of times in /proc, the same on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// CPU time, dead processes included.
    pub(super) cpu: Duration,
    /// Bytes of memory of their own; what two processes share counts once where the kernel says so.
    pub(super) memory_bytes: u64,
}

/// A line of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    ticks: u64,
}

/// What a process and all its descendants use.
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
    let mut usage = Usage::default();
    let mut left = vec![root.as_raw()];
    while let Some(pid) = left.pop() {
        usage.cpu += processes.get(&pid).map_or(Duration::ZERO, |p| TICK * p.ticks.min(u64::from(u32::MAX)) as u32);
        if pid != root.as_raw() {
            usage.memory_bytes += memory(pid);
        }
        left.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(usage)
}

/// Whether /proc shows this process, and therefore its descendants.
pub(super) fn is_visible() -> bool {
    std::fs::read_link("/proc/self").is_ok_and(|pid| pid.as_os_str() == std::process::id().to_string().as_str())
}

/// The fields of a process; its name, in brackets, may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    // utime, stime and those of the children that it waited for.
    let ticks = (11..15).map(|index| number(index).and_then(|n| u64::try_from(n).ok())).sum::<Option<u64>>()?;
    Some(Process { parent: number(1)? as i32, ticks })
}

/// A process's share of the memory, or, where that cannot be read, what it holds beside files.
fn memory(pid: i32) -> u64 {
    let share = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    };
    let held = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let pages: Vec<u64> = text.split_whitespace().map_while(|n| n.parse().ok()).collect();
        Some(pages.get(1)?.saturating_sub(*pages.get(2)?) * 4096)
    };
    share().or_else(held).unwrap_or(0)
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
}
