//! The command under test, hearing signals: a shell that runs tests in the background lets them ignore SIGINT, `nohup` lets
//! them ignore SIGHUP, and what is ignored at the start of a process stays ignored, as it should.

use std::process::Command;

/// `meno`, with SIGINT and SIGHUP as a terminal gives them.
pub(crate) fn meno() -> Command {
    for signal in [libc::SIGINT, libc::SIGHUP] {
        // SAFETY: sets the default action, which no other thread of the test relies on.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Command::new(env!("CARGO_BIN_EXE_meno"))
}
