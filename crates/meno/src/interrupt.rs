//! Signals that ask the command to end: Ctrl-C (SIGINT), `kill` (SIGTERM), a closing terminal (SIGHUP), and SIGUSR1,
//! which job schedulers send before the end of a job's time.
//!
//! A command that only writes an output ends at the first signal ([`end_cleanly`]). A command that has work
//! to save stops at the first signal after saving, and ends immediately at the second ([`ask`]). In both
//! cases no temporary file is left behind. A signal that was ignored when the command started (`nohup`, a
//! background job of a script) stays ignored.

use meno_model::temporary;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A second signal within this time counts as the first one: `timeout` and some schedulers signal both the
/// process and its group.
const SAME: Duration = Duration::from_millis(250);

/// The first signal; 0 if none has arrived.
static FIRST: AtomicI32 = AtomicI32::new(0);
/// True if a thread waits for signals.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// The flags that the first signal sets; if there are none, it ends the process.
static ASKED: Mutex<Vec<Arc<AtomicBool>>> = Mutex::new(Vec::new());

/// Makes the first signal set `stop`, so that finished work is saved; the second signal ends the process immediately.
pub(crate) fn ask(stop: Arc<AtomicBool>) {
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if FIRST.load(Ordering::Relaxed) != 0 {
        stop.store(true, Ordering::Relaxed);
    }
    asked.push(stop);
    drop(asked);
    watch();
}

/// Makes the first signal end the process without leaving half-written files.
pub(crate) fn end_cleanly() {
    watch();
}

/// The first signal; 0 if none has arrived.
pub(crate) fn signal() -> i32 {
    FIRST.load(Ordering::Relaxed)
}

/// The exit code of a command that stopped on request by `signal`: 128 plus its number, as in a shell.
pub(crate) fn exit_code(signal: i32) -> i32 {
    128 + if signal == 0 { SIGINT } else { signal }
}

fn watch() {
    if WATCHED.swap(true, Ordering::Relaxed) {
        return;
    }
    // Without a handler, a file that grows beyond its limit (`ulimit -f`) would end the process; with one,
    // writing fails.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let wanted = [SIGINT, SIGTERM, SIGHUP, SIGUSR1].into_iter().filter(|s| !crate::exit::is_ignored(*s));
    // Registration fails only for a forbidden signal. Without a thread, signals end the process as usual.
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

/// Ends the process without unwinding, because other threads may be in the middle of an operation.
fn end(signal: i32, writing: bool) -> ! {
    let _removed = temporary::remove_all();
    if stderr().is_terminal() {
        // A live view or a progress bar has hidden the cursor.
        eprint!("\r\x1b[?25h");
    }
    if writing {
        eprintln!("interrupted; nothing was written");
    }
    signal_hook::low_level::exit(128 + signal)
}
