//! Right-hand sides laid out for the kernels: blocks of k, in each block panels of columns, in each panel one row per
//! k.

use super::f32::interleave;
#[cfg(target_arch = "x86_64")]
use super::layout::bf16_unit;
use super::layout::{K_BLOCK, PANEL, View, panel_width};
use super::mat::Mat;
use crate::cpu::HostBuffer;
use crate::cpu::row_kernels::round_to_bf16;
use crate::pool;
use crate::precision::Precision;
use std::cell::RefCell;

/// A right-hand side B of shape [k, n], laid out once for the kernels and used many times.
pub struct Packed {
    precision: Precision,
    k: usize,
    n: usize,
    data: HostBuffer,
}

fn packed_len(precision: Precision, b: Mat) -> usize {
    #[cfg(target_arch = "x86_64")]
    if bf16_unit(precision).is_some() {
        return super::bf16::packed_len(b.rows, b.cols);
    }
    b.rows * b.cols.next_multiple_of(panel_width())
}

/// Writes `b` to `data`, with one task per panel.
fn fill(precision: Precision, b: Mat, data: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if bf16_unit(precision).is_some() {
        return super::bf16::pack(b, data);
    }
    match panel_width() {
        16 => fill_panels::<16>(precision, b, data),
        _ => fill_panels::<PANEL>(precision, b, data),
    }
}

fn fill_panels<const P: usize>(precision: Precision, b: Mat, data: &mut [f32]) {
    let padded = b.cols.next_multiple_of(P);
    let mut rest = data;
    for block in (0..b.rows).step_by(K_BLOCK) {
        let len = K_BLOCK.min(b.rows - block);
        let (this, next) = rest.split_at_mut(len * padded);
        rest = next;
        pool::for_chunks(this, len * P, |p, panel| {
            let j0 = p * P;
            let width = P.min(b.cols - j0);
            if width < P {
                panel.fill(0.0);
            }
            if b.col_stride == 1 {
                for (l, out) in panel.as_chunks_mut::<P>().0.iter_mut().enumerate() {
                    let row = &b.data[(block + l) * b.row_stride + j0..][..width];
                    match row.first_chunk::<P>() {
                        Some(row) => *out = *row,
                        None => out[..width].copy_from_slice(row),
                    }
                }
            } else {
                for c in (0..width).step_by(16) {
                    let count = 16.min(width - c);
                    let columns = &b.data[(j0 + c) * b.col_stride + block..];
                    interleave(columns, b.col_stride, count, len, &mut panel[c..], P);
                }
            }
            if precision == Precision::Bf16 {
                round_to_bf16(panel);
            }
        });
    }
}

impl Packed {
    /// Packs `b` into `slot` and reuses its memory if the shape is the same.
    pub fn pack(slot: &mut Option<Packed>, precision: Precision, b: Mat) {
        let mut data = slot.take().map(|p| p.data).unwrap_or_default();
        let len = packed_len(precision, b);
        if data.len() != len {
            data = HostBuffer::zeroed(len);
        }
        fill(precision, b, &mut data);
        *slot = Some(Packed { precision, k: b.rows, n: b.cols, data });
    }

    /// Packs `b` into this thread's memory for the duration of `f`.
    pub(super) fn with_temporary<R>(precision: Precision, b: Mat, f: impl FnOnce(View) -> R) -> R {
        thread_local! { static BUFFERS: RefCell<Vec<HostBuffer>> = const { RefCell::new(Vec::new()) }; }
        // While a task waits for others, its thread may run another GEMM: each call takes its own buffer.
        let mut data = BUFFERS.with_borrow_mut(|b| b.pop()).unwrap_or_default();
        let len = packed_len(precision, b);
        if data.len() < len {
            data = HostBuffer::zeroed(len);
        }
        fill(precision, b, &mut data[..len]);
        let result = f(View { k: b.rows, n: b.cols, data: &data[..len] });
        BUFFERS.with_borrow_mut(|b| b.push(data));
        result
    }

    pub(super) fn view(&self) -> View<'_> {
        View { k: self.k, n: self.n, data: &self.data }
    }
    /// Returns the precision it was packed for.
    pub fn precision(&self) -> Precision {
        self.precision
    }
    /// Returns the number of rows of B.
    pub fn k(&self) -> usize {
        self.k
    }
    /// Returns the number of columns of B.
    pub fn n(&self) -> usize {
        self.n
    }
}
