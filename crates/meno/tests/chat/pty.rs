//! Runs `meno` in a pseudo terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The time that a slow machine may need for one action.
const PATIENCE: Duration = Duration::from_secs(120);

/// The start of an editing prompt: the request to mark pasted text.
pub(crate) const PROMPT: &str = "\u{1b}[?2004h";

/// A command with its own terminal as input, output and error output.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    /// Output that no call has waited for yet.
    seen: String,
}

impl Terminal {
    /// Starts `meno` with these arguments; `state` is the directory of its history.
    pub(crate) fn start(args: &[&str], state: &Path) -> Terminal {
        let (master, slave) = open();
        let copy = || slave.try_clone().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_meno"));
        command.args(args).env("TERM", "xterm-256color").env("XDG_STATE_HOME", state);
        command.stdin(copy()).stdout(copy()).stderr(copy());
        // SAFETY: setsid and ioctl are async-signal-safe; descriptor 0 is the terminal.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY as _, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(command);
        drop(slave);
        let keys = File::from(master);
        let (mut output, (sender, screen)) = (keys.try_clone().unwrap(), channel());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Reading fails when the last process that uses the terminal has closed it.
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keys, screen, seen: String::new() }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the next prompt, then types a line.
    pub(crate) fn line(&mut self, line: &str) {
        self.wait_for(PROMPT);
        self.keys(&format!("{line}\r"));
    }

    /// Waits until `text` is written; returns what was written before it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let before = self.seen[..at].to_owned();
                self.seen.drain(..at + text.len());
                return before;
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} did not come; the terminal has {:?}", self.seen)
                }
            }
        }
    }

    /// Waits for the process to end; returns the exit code and the last output.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = self.child.kill();
                    panic!("it does not end; the terminal has {:?}", self.seen);
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        while let Ok(bytes) = self.screen.recv_timeout(Duration::from_millis(200)) {
            self.seen += &String::from_utf8_lossy(&bytes);
        }
        (status.code(), self.seen)
    }
}

/// Opens a pseudo terminal; returns its two ends.
fn open() -> (OwnedFd, OwnedFd) {
    let mut name = [0 as libc::c_char; 128];
    // SAFETY: posix_openpt creates a descriptor that nothing else uses; ptsname_r writes at most 128 bytes to
    // `name`, with a zero at the end.
    let (master, path) = unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        assert!(master >= 0, "no pseudo terminal");
        let master = OwnedFd::from_raw_fd(master);
        assert_eq!(libc::grantpt(master.as_raw_fd()), 0);
        assert_eq!(libc::unlockpt(master.as_raw_fd()), 0);
        assert_eq!(libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr(), name.len()), 0);
        (master, std::ffi::CStr::from_ptr(name.as_ptr()).to_str().unwrap().to_owned())
    };
    let size = libc::winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize.
    unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    let slave = File::options().read(true).write(true).open(path).unwrap();
    (master, slave.into())
}
