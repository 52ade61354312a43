//! A pseudo terminal, and the screen that it shows.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A program in a terminal.
pub(crate) struct Terminal {
    master: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

fn winsize(columns: u16, rows: u16) -> libc::winsize {
    libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    pub(crate) fn start(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let (mut master, mut slave) = (0, 0);
        let mut size = winsize(columns, rows);
        // SAFETY: the pointers are valid or null, as openpty takes them; it fills in two open descriptors.
        let (master, slave) = unsafe {
            let null = std::ptr::null_mut();
            assert_eq!(libc::openpty(&mut master, &mut slave, null, null.cast(), &raw mut size), 0);
            (File::from_raw_fd(master), File::from_raw_fd(slave))
        };
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, into) = (master.try_clone().unwrap(), seen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of the output is an error here: the last program has closed its side.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Terminal { master, child, seen }
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = winsize(columns, rows);
        // SAFETY: the descriptor is open, and the request reads a winsize.
        assert_eq!(unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) }, 0);
    }

    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Waits until the program has written `text` after the first `from` bytes; returns the number of bytes
    /// written by then.
    pub(crate) fn wait_for(&self, text: &str, from: usize) -> usize {
        let begin = Instant::now();
        loop {
            let seen = self.seen();
            if seen.get(from..).is_some_and(|s| s.contains(text)) {
                return seen.len();
            }
            assert!(begin.elapsed() < Duration::from_secs(120), "no {text:?} in {seen:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the program to end; returns its exit code and its entire output.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        std::thread::sleep(Duration::from_millis(200));
        (code, self.seen())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The screen that a terminal with `columns` columns and unlimited rows shows after `text`.
pub(crate) fn screen(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::<char>::new()], 0usize, 0usize);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(chars.next(), Some('['), "{text:?}");
                let mut number = String::new();
                let end = loop {
                    match chars.next().unwrap() {
                        c if c.is_ascii_alphabetic() => break c,
                        c => number.push(c),
                    }
                };
                let n = number.parse::<usize>().unwrap_or(1);
                match end {
                    'A' => row = row.checked_sub(n).unwrap_or_else(|| panic!("above the first line: {text:?}")),
                    'G' => column = n - 1,
                    'D' => column -= n.min(column),
                    'K' => lines[row].truncate(column),
                    'J' => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    'm' | 'h' | 'l' => {}
                    other => panic!("{other} is not used here: {text:?}"),
                }
            }
            c => {
                let width = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
                assert!(column + width <= columns, "a line is longer than {columns}: {:?}", lines[row]);
                let line = &mut lines[row];
                line.resize(line.len().max(column), ' ');
                if column < line.len() {
                    line[column] = c
                } else {
                    line.push(c)
                }
                column += 1;
            }
        }
        while lines.len() <= row {
            lines.push(Vec::new());
        }
    }
    lines.into_iter().map(|l| l.into_iter().collect::<String>().trim_end().to_owned()).collect()
}
