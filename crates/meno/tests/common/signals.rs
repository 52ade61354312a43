//! The command under test with default signal handlers: a shell that runs tests in the background makes them ignore
//! SIGINT, `nohup` makes them ignore SIGHUP, and a process inherits which signals are ignored.

use std::process::Command;

/// `meno`, with SIGINT and SIGHUP as a terminal gives them.
pub(crate) fn meno() -> Command {
    for signal in [libc::SIGINT, libc::SIGHUP] {
        // SAFETY: sets the default action, which no other thread of the test relies on.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Command::new(env!("CARGO_BIN_EXE_meno"))
}
