//! Long-lived `f32` memory: page-aligned, zeroed, on 2 MiB pages if the kernel grants them.

use crate::backend::{self, Error};
use crate::device::Device;
use crate::pool;
use std::borrow::Cow;
use std::ops::{Deref, DerefMut, Range};

/// A fixed-size, zeroed block of `f32`, aligned to a page. Large blocks request 2 MiB pages, which nearly double the
/// bandwidth of a streaming read (design.md, decision 4).
pub struct HostBuffer {
    ptr: *mut f32,
    len: usize,
    bytes: usize,
}

// SAFETY: a HostBuffer owns its mapping; sharing it follows the borrow rules of the slices it hands out.
unsafe impl Send for HostBuffer {}
// SAFETY: as above; `&HostBuffer` only gives `&[f32]`.
unsafe impl Sync for HostBuffer {}

const HUGE_PAGE: usize = 1 << 21;

impl HostBuffer {
    /// Allocates a zeroed buffer of `len` values; `what` names its purpose in errors. Pages are not touched before they
    /// are written.
    ///
    /// # Errors
    /// Returns an error if the operating system has no address space left.
    pub fn new(len: usize, what: &'static str) -> Result<Self, Error> {
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
            if p == libc::MAP_FAILED {
                return Err(Error::OutOfMemory { device: Device::Cpu, bytes, free: None, what });
            }
            #[cfg(target_os = "linux")]
            if bytes >= HUGE_PAGE {
                libc::madvise(p, bytes, libc::MADV_HUGEPAGE);
            }
            p.cast::<f32>()
        };
        Ok(HostBuffer { ptr, len, bytes })
    }

    /// Like [`HostBuffer::new`], for callers that bound `len` first.
    ///
    /// # Panics
    /// Panics if the operating system has no address space left.
    pub fn zeroed(len: usize) -> Self {
        HostBuffer::new(len, "host memory").unwrap_or_else(|error| panic!("{error}"))
    }
}

impl backend::Buffer for HostBuffer {
    fn len(&self) -> usize {
        self.len
    }
    fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>, Error> {
        Ok(Cow::Borrowed(&self[range]))
    }
    fn update(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        f(&mut self[range]);
        Ok(())
    }
    fn add(&mut self, other: &dyn backend::Buffer) -> Result<(), Error> {
        let other = other.read(0..self.len)?;
        pool::for_chunks(self, MIX_BLOCK, |i, mine| {
            mine.iter_mut().zip(&other[i * MIX_BLOCK..]).for_each(|(mine, other)| *mine += other);
        });
        Ok(())
    }
    fn zero(&mut self) -> Result<(), Error> {
        pool::for_chunks(self, MIX_BLOCK, |_, mine| mine.fill(0.0));
        Ok(())
    }
    fn mix(&mut self, weights: &dyn backend::Weights, rate: f32) -> Result<(), Error> {
        let weights = weights.read_all()?;
        pool::for_chunks(self, MIX_BLOCK, |i, mine| {
            for (mine, weight) in mine.iter_mut().zip(&weights[i * MIX_BLOCK..]) {
                // At rate 1 the copy has the bits of the weights.
                *mine = if rate == 1.0 { *weight } else { *mine * (1.0 - rate) + rate * weight };
            }
        });
        Ok(())
    }
}

/// Values mixed or added by one task.
const MIX_BLOCK: usize = 1 << 15;

impl Drop for HostBuffer {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `zeroed`, unmapped once.
        unsafe { libc::munmap(self.ptr.cast(), self.bytes) };
    }
}

impl Deref for HostBuffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `ptr` is valid for `len` initialized (zeroed) f32 for as long as the buffer lives.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl DerefMut for HostBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr, self.len) }
    }
}

impl Default for HostBuffer {
    fn default() -> Self {
        HostBuffer::zeroed(0)
    }
}

impl Clone for HostBuffer {
    fn clone(&self) -> Self {
        let mut b = HostBuffer::zeroed(self.len);
        b.copy_from_slice(self);
        b
    }
}

#[cfg(test)]
mod tests {
    use crate::backend::Backend;
    use crate::cpu::Cpu;
    use crate::tape::ParamLayout;
    use std::sync::Arc;

    #[test]
    fn a_copy_moves_towards_the_weights() {
        let mut layout = ParamLayout::default();
        let p = layout.declare("w", &[3]);
        let mut weights = Cpu.weights(Arc::new(layout)).unwrap();
        weights.update(p, &mut |w| w.copy_from_slice(&[3.0, 2.0, -0.0])).unwrap();
        let mut copy = Cpu.buffer(weights.layout().total()).unwrap();
        copy.update(0..3, &mut |c| c.copy_from_slice(&[1.0, -2.0, -0.0])).unwrap();
        copy.mix(&*weights, 0.25).unwrap();
        assert_eq!(*copy.read(0..3).unwrap(), [1.5, -1.0, 0.0]);
        copy.mix(&*weights, 1.0).unwrap();
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&copy.read(0..3).unwrap()), bits(&weights.read(p).unwrap()));
    }
}
