//! Long-lived `f32` memory: page-aligned, zeroed, on 2 MiB pages where the kernel grants them.

use std::ops::{Deref, DerefMut};

/// A fixed-size, zeroed block of `f32`, aligned to a page. Large blocks ask for 2 MiB pages, which nearly doubles
/// the bandwidth of a streaming read (design.md, decision 4).
pub struct Buffer {
    ptr: *mut f32,
    len: usize,
    bytes: usize,
}

// SAFETY: a Buffer owns its mapping; sharing it follows the borrow rules of the slices it hands out.
unsafe impl Send for Buffer {}
// SAFETY: as above; `&Buffer` only gives `&[f32]`.
unsafe impl Sync for Buffer {}

const HUGE_PAGE: usize = 1 << 21;

impl Buffer {
    /// A zeroed buffer of `len` values. Pages are not touched before they are written.
    ///
    /// # Panics
    /// If the operating system has no address space left for it; callers bound `len` before they ask.
    pub fn zeroed(len: usize) -> Self {
        let bytes = (len.max(1) * 4).next_multiple_of(if len * 4 >= HUGE_PAGE { HUGE_PAGE } else { 4096 });
        // SAFETY: an anonymous private mapping of `bytes`; the result is checked, and zeroed by the kernel.
        let ptr = unsafe {
            let p = libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            );
            assert!(p != libc::MAP_FAILED, "out of memory: no address space for {bytes} bytes");
            #[cfg(target_os = "linux")]
            if bytes >= HUGE_PAGE {
                libc::madvise(p, bytes, libc::MADV_HUGEPAGE);
            }
            p.cast::<f32>()
        };
        Buffer { ptr, len, bytes }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `zeroed`, unmapped once.
        unsafe { libc::munmap(self.ptr.cast(), self.bytes) };
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `ptr` is valid for `len` initialised (zeroed) f32 for as long as the Buffer lives.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr, self.len) }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer::zeroed(0)
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut b = Buffer::zeroed(self.len);
        b.copy_from_slice(self);
        b
    }
}
