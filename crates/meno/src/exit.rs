//! How the command begins and ends: signals, the allocator, exit codes, one-line messages, panics.

use meno_model::plain::plain;
use std::io::{IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

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

/// The error output of a silenced process, as a file descriptor; -1 if the process is not silenced.
static ERRORS: AtomicI32 = AtomicI32::new(-1);

/// Drops everything that this process prints, except for [`errors`].
pub(crate) fn silence() {
    #[cfg(unix)]
    // SAFETY: descriptors 1 and 2 belong to this process; the null device is opened here and its descriptor is checked.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
        if null >= 0 {
            ERRORS.store(libc::dup(2), Ordering::Relaxed);
            libc::dup2(null, 1);
            libc::dup2(null, 2);
            libc::close(null);
        }
    }
}

/// Returns where errors are written, also by a silenced process.
pub(crate) fn errors() -> Box<dyn std::io::Write> {
    #[cfg(unix)]
    if ERRORS.load(Ordering::Relaxed) >= 0 {
        use std::os::fd::FromRawFd;
        // SAFETY: the descriptor was made by `dup` above and stays open: `ManuallyDrop` never closes it.
        let file = unsafe { std::fs::File::from_raw_fd(ERRORS.load(Ordering::Relaxed)) };
        return Box::new(Kept(std::mem::ManuallyDrop::new(file)));
    }
    Box::new(std::io::stderr())
}

/// A file that is not closed.
#[cfg(unix)]
struct Kept(std::mem::ManuallyDrop<std::fs::File>);

#[cfg(unix)]
impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// The number of processors of this machine, also of those that this process may not use.
pub(crate) fn processors() -> usize {
    #[cfg(unix)]
    // SAFETY: reads a number.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    #[cfg(not(unix))]
    let online = 1;
    usize::try_from(online).unwrap_or(1).max(1)
}

/// Makes a panic print one line: it states that this is a bug in meno, and what to report.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = message(info);
        if let Some(reason) = message.strip_prefix("failed printing to stdout: ") {
            OUTPUT_FAILED.store(true, Ordering::Relaxed);
            let _ = writeln!(errors(), "error: cannot write to standard output: {reason}");
            return;
        }
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(
            errors(),
            "internal error: {message}{place}\nThis is a bug in meno {version}. Please report it with this message."
        );
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
            let _ = writeln!(errors(), "{}", std::backtrace::Backtrace::force_capture());
        }
    }));
}

fn message(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

/// The exit code after a panic that [`report_panics`] has reported.
pub(crate) fn after_panic() -> i32 {
    if OUTPUT_FAILED.load(Ordering::Relaxed) { 1 } else { 2 }
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
