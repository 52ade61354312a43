//! The process of a reward program: pipes, timeouts, exit.

use crate::error::Error;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Maximum length of a line in bytes; the rest is dropped.
const LINE: u64 = 64 << 10;
/// Number of standard error lines in an error message.
const LAST: usize = 5;
/// Maximum number of unread lines in the queue.
const QUEUE: usize = 1024;
/// Time between two checks for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// Time for a program to exit after the end of its input.
const GRACE: Duration = Duration::from_secs(2);

/// A running program.
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    replies: Receiver<String>,
    said: Receiver<String>,
    last: VecDeque<String>,
    /// The exit status was collected. Until then the process id cannot be reused.
    reaped: bool,
}

/// An event while waiting for replies.
pub(super) enum Event {
    /// It wrote a line.
    Line(String),
    /// It wrote a line to standard error.
    Said(String),
    /// Nothing happened for a short time.
    Waiting,
    /// It wrote no line within the timeout.
    TimedOut,
    /// It closed its output; contains how the process ended.
    Ended(String),
}

impl Process {
    /// Starts a program; the error explains why it failed.
    pub(super) fn spawn(path: &Path) -> Result<Process, String> {
        let mut command = Command::new(path);
        command.env("PYTHONUNBUFFERED", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A separate process group: children are killed with it, and Ctrl-C reaches the run but not the program.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|e| refusal(path, &e))?;
        let stdout = child.stdout.take().expect("invariant: it is piped");
        let stderr = child.stderr.take().expect("invariant: it is piped");
        let stdin = child.stdin.take();
        let (to_replies, replies) = sync_channel(QUEUE);
        let (to_said, said) = sync_channel(QUEUE);
        // The threads end when the pipes close.
        std::thread::spawn(move || read_lines(stdout, |line| to_replies.send(line).is_ok()));
        std::thread::spawn(move || read_lines(stderr, |line| offer(&to_said, line)));
        Ok(Process { child, stdin, replies, said, last: VecDeque::new(), reaped: false })
    }

    /// Returns a line that arrived without a request.
    pub(super) fn unasked(&mut self) -> Option<String> {
        self.replies.try_recv().ok()
    }

    /// Returns a line that arrives within this time.
    pub(super) fn unasked_within(&mut self, time: Duration) -> Option<String> {
        self.replies.recv_timeout(time).ok()
    }

    /// Writes `lines` and passes events to `see` until it returns a value. Kills the process unless the last event was
    /// a reply.
    pub(super) fn exchange<R>(
        &mut self,
        lines: &[String],
        timeout: Duration,
        mut see: impl FnMut(Event) -> Result<Option<R>, Error>,
    ) -> Result<R, Error> {
        let mut stdin = self.stdin.take();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                if let Some(pipe) = &mut stdin {
                    // A program that stops reading is detected by its timeout or its end.
                    let _ =
                        lines.iter().try_for_each(|line| pipe.write_all(line.as_bytes())).and_then(|()| pipe.flush());
                }
                stdin
            });
            let result = self.watch(timeout, &mut see);
            // After the last reply the writer has finished or is about to. Otherwise it may block on a program that
            // does not read: killing the program unblocks it.
            let since = Instant::now();
            let replied = matches!(result, Ok((_, true)));
            while replied && !writer.is_finished() && since.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(1));
            }
            if !(replied && writer.is_finished()) {
                self.kill();
            }
            self.stdin = writer.join().ok().flatten();
            result.map(|(value, _)| value)
        })
    }

    /// Reports events until `see` returns a value. Also returns true if the last event was a reply.
    fn watch<R>(
        &mut self,
        timeout: Duration,
        see: &mut impl FnMut(Event) -> Result<Option<R>, Error>,
    ) -> Result<(R, bool), Error> {
        let mut since = Instant::now();
        loop {
            let event = match self.replies.recv_timeout(TICK) {
                Ok(line) => {
                    since = Instant::now();
                    Event::Line(line)
                }
                Err(RecvTimeoutError::Timeout) if since.elapsed() >= timeout => Event::TimedOut,
                Err(RecvTimeoutError::Timeout) => Event::Waiting,
                Err(RecvTimeoutError::Disconnected) => Event::Ended(self.end()),
            };
            self.listen(see)?;
            let replied = matches!(event, Event::Line(_));
            if let Some(value) = see(event)? {
                return Ok((value, replied));
            }
        }
    }

    /// Reports new lines of standard error.
    fn listen<R>(&mut self, see: &mut impl FnMut(Event) -> Result<Option<R>, Error>) -> Result<(), Error> {
        while let Ok(line) = self.said.try_recv() {
            self.last.push_back(line.clone());
            if self.last.len() > LAST {
                self.last.pop_front();
            }
            see(Event::Said(line))?;
        }
        Ok(())
    }

    /// Returns the last lines of standard error, for an error message.
    pub(super) fn last_said(&mut self) -> String {
        // Its last output may not have arrived yet.
        while let Ok(line) = self.said.recv_timeout(TICK) {
            self.last.push_back(line);
        }
        let last: Vec<&str> = self.last.iter().rev().take(LAST).rev().map(String::as_str).collect();
        if last.is_empty() { String::new() } else { format!("; its standard error ends with {:?}", last.join(" | ")) }
    }

    /// Waits for a program that has closed its output; returns how it ended.
    fn end(&mut self) -> String {
        self.stdin = None;
        match self.wait(GRACE) {
            Some(status) => status.to_string(),
            None => {
                self.kill();
                "it closed its output".into()
            }
        }
    }

    fn wait(&mut self, at_most: Duration) -> Option<std::process::ExitStatus> {
        let since = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.reaped = true;
                    return Some(status);
                }
                Ok(None) if since.elapsed() < at_most => std::thread::sleep(Duration::from_millis(5)),
                _ => return None,
            }
        }
    }

    /// Kills the program and its children.
    fn kill(&mut self) {
        if !self.reaped {
            #[cfg(unix)]
            let _ = nix::sys::signal::killpg(
                nix::unistd::Pid::from_raw(self.child.id().cast_signed()),
                nix::sys::signal::Signal::SIGKILL,
            );
            let _ = self.child.kill();
            self.reaped = self.child.wait().is_ok();
        }
    }
}

impl Drop for Process {
    /// Closing its input asks the program to exit; then it is killed.
    fn drop(&mut self) {
        self.stdin = None;
        if self.wait(GRACE).is_none() {
            self.kill();
        }
    }
}

/// Adds a line to the queue if there is room. Returns false if the receiver is gone.
fn offer(to: &SyncSender<String>, line: String) -> bool {
    !matches!(to.try_send(line), Err(TrySendError::Disconnected(_)))
}

/// Reads lines until the end or until `take` returns false.
fn read_lines(from: impl Read, take: impl Fn(String) -> bool) {
    let mut reader = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = line.last() == Some(&b'\n');
        let text = String::from_utf8_lossy(&line);
        if !take(text.trim_end_matches(['\n', '\r']).to_owned()) || (!whole && !skip_line(&mut reader)) {
            return;
        }
    }
}

/// Skips the rest of a line; returns false at the end.
fn skip_line(reader: &mut impl BufRead) -> bool {
    loop {
        let Ok(buffer) = reader.fill_buf() else { return false };
        let (found, len) = match buffer.iter().position(|&b| b == b'\n') {
            Some(i) => (true, i + 1),
            None => (false, buffer.len()),
        };
        reader.consume(len);
        if found || len == 0 {
            return found;
        }
    }
}

/// Explains why a program does not start, and how to fix it.
fn refusal(path: &Path, error: &std::io::Error) -> String {
    use std::io::ErrorKind::*;
    match error.kind() {
        NotFound if path.exists() => {
            "cannot be started: the interpreter in its first line (`#!…`) does not exist".into()
        }
        NotFound => {
            let here = std::env::current_dir().map_or_else(|_| ".".into(), |d| d.display().to_string());
            format!("does not exist; paths are relative to the working directory, {here}")
        }
        PermissionDenied if path.is_dir() => "is a directory, expected a program".into(),
        PermissionDenied => {
            "cannot be started: it is not executable (chmod +x, and `#!/usr/bin/env python3` as its first line)".into()
        }
        _ => format!("cannot be started: {error}"),
    }
}
