//! How the command begins and ends: signals, the allocator, exit codes, one-line messages, panics.

use meno_model::plain::plain;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// True if the last panic came from a failed write to standard output (a full disk), which is not a bug.
static OUTPUT_FAILED: AtomicBool = AtomicBool::new(false);

/// Makes a closed pipe end the command silently, as in `meno … | head`; `cat` behaves the same way. By
/// default Rust ignores SIGPIPE, and the next `println!` would panic.
pub(crate) fn end_quietly_on_closed_pipes() {
    #[cfg(unix)]
    // SAFETY: sets a disposition before any thread is started; SIG_DFL is a valid handler.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Undoes [`end_quietly_on_closed_pipes`]. A server needs this: a client that hangs up is an error of this client's
/// connection only.
pub(crate) fn survive_closed_connections() {
    #[cfg(unix)]
    // SAFETY: sets a disposition; SIG_IGN is a valid handler.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Makes the allocator return every large block to the system as soon as it is freed. By default glibc raises this
/// threshold to 32 MiB once such blocks are freed, and each thread's arena then keeps what large requests left behind.
pub(crate) fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets a parameter of the allocator; 1 MiB is a valid threshold.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// True if the process ignores a signal; for example, a process started by `nohup` ignores SIGHUP.
pub(crate) fn is_ignored(signal: i32) -> bool {
    // SAFETY: an all-zero sigaction is valid; with a null pointer for the new action, sigaction writes the
    // current one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Makes a panic print one line: it states that this is a bug in meno, and what to report.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = message(info);
        if let Some(reason) = message.strip_prefix("failed printing to stdout: ") {
            OUTPUT_FAILED.store(true, Ordering::Relaxed);
            eprintln!("error: cannot write to standard output: {reason}");
            return;
        }
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        eprintln!("internal error: {message}{place}");
        eprintln!("This is a bug in meno {}. Please report it with this message.", env!("CARGO_PKG_VERSION"));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
            eprintln!("{}", std::backtrace::Backtrace::force_capture());
        }
    }));
}

fn message(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

/// The exit code after a panic that [`report_panics`] has reported.
pub(crate) fn after_panic() -> ExitCode {
    ExitCode::from(if OUTPUT_FAILED.load(Ordering::Relaxed) { 1 } else { 2 })
}

/// An error with its causes on one line. A cause that the error's own text already contains is not repeated.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = plain(&cause.to_string());
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The printed form of a command-line error, or of the requested help or version. Type names are replaced by
/// plain words.
pub(crate) fn usage(error: &clap::Error) -> String {
    let text = error.render();
    let terminal = if error.use_stderr() { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
    let text = if terminal { text.ansi().to_string() } else { text.to_string() };
    if error.use_stderr() { plain(&text) } else { text }
}

#[cfg(test)]
mod tests {
    use super::one_line;
    use anyhow::anyhow;

    #[test]
    fn causes_are_told_once_and_in_one_line() {
        let error = anyhow!("no such file").context("a.gguf: no such file").context("cannot load\n  the model");
        assert_eq!(one_line(&error), "cannot load the model: a.gguf: no such file");
        let error = anyhow::Error::from(std::io::Error::from_raw_os_error(2)).context("a.gguf");
        assert_eq!(one_line(&error), "a.gguf: No such file or directory");
    }
}
