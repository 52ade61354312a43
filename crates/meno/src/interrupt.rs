//! Signals that ask the command to end: Ctrl-C (SIGINT), `kill` (SIGTERM), a terminal that closes (SIGHUP).
//!
//! A command that only writes an output ends at the first ([`end_cleanly`]). One that has work to save is asked at the
//! first and ended at the second ([`ask`]). Either way nothing with a temporary name is left behind. A signal that was
//! ignored when the command began (`nohup`, a job in the background of a script) stays ignored.

use meno_model::temporary;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A second signal sooner than this is the first one again: `timeout` and some schedulers send theirs to the process
/// and to its group.
const SAME: Duration = Duration::from_millis(250);

/// The first signal; 0 before.
static FIRST: AtomicI32 = AtomicI32::new(0);
/// Whether a thread waits for signals.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// What the first signal sets; without any it ends the process.
static ASKED: Mutex<Vec<Arc<AtomicBool>>> = Mutex::new(Vec::new());

/// The first signal sets `stop`, so that what was done is saved; the second ends the process at once.
pub(crate) fn ask(stop: Arc<AtomicBool>) {
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if FIRST.load(Ordering::Relaxed) != 0 {
        stop.store(true, Ordering::Relaxed);
    }
    asked.push(stop);
    drop(asked);
    watch();
}

/// The first signal ends the process, which leaves nothing half-written.
pub(crate) fn end_cleanly() {
    watch();
}

/// The exit code of a command that was asked to stop and did: 128 and the number of the signal, as a shell has it.
pub(crate) fn exit_code() -> i32 {
    128 + Some(FIRST.load(Ordering::Relaxed)).filter(|s| *s != 0).unwrap_or(SIGINT)
}

fn watch() {
    if WATCHED.swap(true, Ordering::Relaxed) {
        return;
    }
    // Without a handler a file that grows beyond its limit (`ulimit -f`) would end the process; with one, writing fails.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|s| !crate::exit::is_ignored(*s));
    // Only a forbidden signal could be refused. Without a thread, signals end the process as ever.
    if let Ok(signals) = Signals::new(wanted) {
        let _ = std::thread::Builder::new().name("signals".into()).spawn(move || wait(signals));
    }
}

fn wait(mut signals: Signals) {
    let mut first: Option<Instant> = None;
    for signal in signals.forever() {
        if first.is_some_and(|first| first.elapsed() < SAME) {
            continue;
        }
        let asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_some() || asked.is_empty() {
            end(signal, first.is_none());
        }
        first = Some(Instant::now());
        FIRST.store(signal, Ordering::Relaxed);
        asked.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
    }
}

/// Ends the process without unwinding: other threads may be in the middle of anything.
fn end(signal: i32, writing: bool) -> ! {
    let _removed = temporary::remove_all();
    if stderr().is_terminal() {
        // A live view or a bar has hidden the cursor.
        eprint!("\r\x1b[?25h");
    }
    if writing {
        eprintln!("interrupted; nothing was written");
    }
    signal_hook::low_level::exit(128 + signal)
}
