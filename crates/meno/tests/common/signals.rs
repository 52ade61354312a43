//! The command under test, with default signal handling. A shell that runs tests in the background makes them
//! ignore SIGINT, and `nohup` makes them ignore SIGHUP. The command intentionally keeps ignoring a signal
//! that is ignored when it starts.

use std::process::Command;

/// `meno`, with the default actions for SIGINT and SIGHUP, as in a terminal.
pub(crate) fn meno() -> Command {
    for signal in [libc::SIGINT, libc::SIGHUP] {
        // SAFETY: sets the default action, which no other thread of the test relies on.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Command::new(env!("CARGO_BIN_EXE_meno"))
}
