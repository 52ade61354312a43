//! Clocks of the C library: the local time, formatted as by Python's `datetime.now().strftime` (both call `strftime`),
//! and the CPU time of a thread.

use std::ffi::CString;
use std::time::Duration;

/// Returns the CPU time used by this thread. Other threads and processes do not count.
pub(crate) fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid to write. The clock of the calling thread always exists, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Maximum length of the formatted text, in bytes.
const MAX: usize = 1024;

/// Formats the current time. Returns an empty text if the format is longer than 128 bytes, contains a NUL, or gives too
/// long a text.
pub(crate) fn strftime_now(format: &str) -> String {
    let Ok(format) = CString::new(format) else { return String::new() };
    if format.as_bytes().len() > MAX / 8 {
        return String::new();
    }
    let mut out = vec![0u8; MAX];
    // SAFETY: `now` and `tm` are valid to read and write; tm is plain data for which zeros are a value; localtime_r
    // fills it; strftime writes at most `MAX` bytes to `out` and reads `format` up to its NUL.
    let len = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut tm: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&now, &mut tm).is_null() {
            return String::new();
        }
        libc::strftime(out.as_mut_ptr().cast(), MAX, format.as_ptr(), &tm)
    };
    out.truncate(len);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_bounds() {
        let year: u32 = strftime_now("%Y").parse().unwrap();
        assert!((2025..3000).contains(&year));
        assert_eq!(strftime_now("100%%"), "100%");
        assert_eq!(strftime_now(""), "");
        assert_eq!(strftime_now("a\0b"), "");
        assert_eq!(strftime_now(&"%c".repeat(1000)), "");
    }
}
