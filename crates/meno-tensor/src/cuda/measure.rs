//! The measured speed of a card, to compare with its peak.

use super::Cuda;
use super::context::Tensor;
use super::product::{Factor, Product};
use crate::backend::Error;
use crate::precision::Precision;
use crate::tape::Dtype;

/// Measurements of which the median counts.
const REPEAT: usize = 7;

impl Cuda {
    /// Returns the median of the card's seconds for `f`, after one run that does not count.
    fn median_time(&self, f: impl Fn() -> Result<(), Error>) -> Result<f64, Error> {
        self.gpu.time(&f)?;
        let mut times = (0..REPEAT).map(|_| self.gpu.time(&f)).collect::<Result<Vec<f64>, Error>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    /// Returns the bytes per second, read and written, of a copy of `bytes` bytes.
    pub fn copy_bandwidth(&self, bytes: usize) -> Result<f64, Error> {
        let [from, to] = [self.gpu.allocate(bytes, "a measurement")?, self.gpu.allocate(bytes, "a measurement")?];
        Ok(2.0 * bytes as f64 / self.median_time(|| to.copy_from(&from, bytes))?)
    }

    /// Returns the floating-point operations per second of a bf16 product of two matrices of `n` × `n`.
    pub fn product_rate(&self, n: usize) -> Result<f64, Error> {
        let matrix = || self.gpu.zeroed(n * n * Dtype::Bf16.bytes(), "a measurement");
        let memory = [matrix()?, matrix()?, matrix()?];
        let [a, b, y] = memory.each_ref().map(|memory| Tensor::new(memory.at(), Dtype::Bf16, n));
        let product = Product {
            a: Factor::plain(a),
            b: Factor::transposed(b),
            blocks: None,
            y,
            shape: [n, n, n],
            precision: Precision::Bf16,
            bias: 0,
            residual: 0,
            add: false,
        };
        Ok(2.0 * (n as f64).powi(3) / self.median_time(|| product.run_on(&self.gpu))?)
    }
}
