//! Products with blocks against products with the matrix that the host dequantizes and rounds.

use super::super::quantized::plan;
use super::*;
use crate::cuda::blocks::{Blocks, FP8, Format};
use crate::quant::fp8::{E4M3, Fp8Matrix, TILE};
use crate::quant::{GgmlType, dequant};

/// The types that the kernels read, and where the scales in f16 lie in a block.
const TYPES: [(GgmlType, &[usize]); 5] = [
    (GgmlType::Q4_0, &[0]),
    (GgmlType::Q5_0, &[0]),
    (GgmlType::Q8_0, &[0]),
    (GgmlType::Q4_K, &[0, 2]),
    (GgmlType::Q6_K, &[208]),
];

/// A matrix in blocks, and dense.
struct Matrix {
    blocks: Blocks,
    _memory: Memory,
    dense: Stored,
}

impl Matrix {
    /// Random blocks: all codes, and scales of either sign up to 2, with subnormal numbers.
    fn random(gpu: &Arc<Gpu>, (dtype, scales): (GgmlType, &[usize]), [rows, cols]: [usize; 2]) -> Matrix {
        let mut rng = Rng::new(&[dtype as u64]);
        let row_bytes = cols / dtype.block_elements() * dtype.block_bytes();
        let mut bytes: Vec<u8> = (0..rows * row_bytes).map(|_| rng.below(256) as u8).collect();
        for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
            scales.iter().for_each(|at| block[at + 1] &= 0xbf);
        }
        let mut values = vec![0.0; rows * cols];
        dequant::dequantize(dtype, &bytes, &mut values);
        let row = |r: usize| &bytes[r * row_bytes..][..row_bytes];
        let (blocks, memory) = Blocks::upload(gpu, dtype, [rows, cols], row).unwrap();
        assert!(memory.bytes() >= bytes.len() && memory.bytes() < bytes.len() * 2 + (64 << 10));
        Matrix { blocks, _memory: memory, dense: Stored::new(gpu, &values, Dtype::Bf16, [rows, cols], cols) }
    }

    /// An FP8 matrix of random codes, all but NaN, with random factors of either sign.
    fn random_fp8(gpu: &Arc<Gpu>, shape: [usize; 2], block: [usize; 2]) -> Matrix {
        let mut rng = Rng::new(&[8]);
        let codes: Vec<u8> = (0..shape[0] * shape[1]).map(|_| (rng.below(2) * 128 + rng.below(127)) as u8).collect();
        let factors = (0..shape[0].div_ceil(block[0]) * shape[1].div_ceil(block[1])).map(|_| 0.01 * rng.normal());
        Matrix::fp8(gpu, &Fp8Matrix { codes: &codes, factors: factors.collect(), block }, shape)
    }

    fn fp8(gpu: &Arc<Gpu>, matrix: &Fp8Matrix, [rows, cols]: [usize; 2]) -> Matrix {
        let value = |(i, &code): (usize, &u8)| E4M3[usize::from(code)] * matrix.factor([i / cols, i % cols], cols);
        let values: Vec<f32> = matrix.codes.iter().enumerate().map(value).collect();
        let (blocks, memory) = Blocks::upload_fp8(gpu, matrix, [rows, cols]).unwrap();
        Matrix { blocks, _memory: memory, dense: Stored::new(gpu, &values, Dtype::Bf16, [rows, cols], cols) }
    }

    /// Returns bits of y of both products. `types`: of x and y.
    fn products(&self, gpu: &Arc<Gpu>, m: usize, precision: Precision, types: [Dtype; 2], add: bool) -> [Vec<u32>; 2] {
        let [n, k] = [self.blocks.rows, self.blocks.cols];
        let x = Stored::random(gpu, 1, types[0], [m, k], k + 3);
        let bias = Stored::random(gpu, 2, Dtype::F32, [1, n], n);
        let residual = Stored::random(gpu, 3, Dtype::F32, [m, n], n);
        [None, Some(self.blocks)].map(|blocks| {
            let y = Stored::random(gpu, 4, types[1], [m, n], n);
            let product = Product {
                a: Factor::plain(x.tensor()),
                b: Factor::transposed(self.dense.tensor()),
                blocks,
                y: y.tensor(),
                shape: [m, n, k],
                precision,
                bias: if add { 0 } else { bias.tensor().at },
                residual: if add { 0 } else { residual.tensor().at },
                add,
            };
            product.launch(gpu, Some(&mut Scratch::new(gpu))).unwrap();
            y.values(m).iter().map(|y| y.to_bits()).collect()
        })
    }

    fn check(&self, gpu: &Arc<Gpu>, m: usize, precision: Precision, types: [Dtype; 2], add: bool) {
        let [dense, blocks] = self.products(gpu, m, precision, types, add);
        let Blocks { format, rows, cols, .. } = self.blocks;
        let different = dense.iter().zip(&blocks).position(|(a, b)| a != b);
        assert!(
            different.is_none(),
            "{} [{rows}, {cols}], {m} rows, {precision:?}, {types:?}: element {different:?}",
            format.name
        );
        assert!(dense.iter().all(|&y| f32::from_bits(y).is_finite()));
    }
}

#[test]
fn blocks_have_the_bits_of_the_dense_matrix() {
    for gpu in &gpus() {
        for dtype in TYPES {
            let widths: &[usize] = if dtype.0.block_elements() == 256 { &[256, 768] } else { &[32, 96, 256, 320] };
            for &k in widths {
                let matrix = Matrix::random(gpu, dtype, [37, k]);
                for m in [1, 8, 9, 64, 65, 200] {
                    matrix.check(gpu, m, Precision::Bf16, [Dtype::Bf16, Dtype::F32], false);
                }
            }
        }
    }
}

/// Rows and columns that end within a tile, within a block, and with one.
#[test]
fn fp8_has_the_bits_of_the_dense_matrix() {
    for gpu in &gpus() {
        for (shape, block) in [([37, 20], [128, 128]), ([130, 200], [128, 128]), ([48, 257], [32, 64])] {
            let matrix = Matrix::random_fp8(gpu, shape, block);
            for m in [1, 9, 64, 65] {
                matrix.check(gpu, m, Precision::Bf16, [Dtype::Bf16, Dtype::F32], false);
            }
        }
    }
}

/// Every code but NaN, with factors whose products are rounded, subnormal, large or zero.
#[test]
fn all_codes_of_fp8_have_the_bits_of_the_host() {
    let factors = vec![1.0, 0.37e-3, -1.7, 0.0, 1e-39, f32::from_bits(1), 2f32.powi(-126), 2f32.powi(119), 7.5e35];
    let shape = [factors.len() * TILE[0], 256];
    let codes: Vec<u8> = (0..shape[0] * 256).map(|i| if i & 127 == 127 { 0 } else { i as u8 }).collect();
    let matrix = Fp8Matrix { codes: &codes, factors, block: [TILE[0], 256] };
    for gpu in &gpus() {
        let matrix = Matrix::fp8(gpu, &matrix, shape);
        let y = Stored::random(gpu, 1, Dtype::Bf16, shape, 256);
        matrix.blocks.dequantize(gpu, y.tensor().at, 256).unwrap();
        let bits = |x: &Stored| x.values(shape[0]).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&y), bits(&matrix.dense));
    }
}

#[test]
fn types_and_epilogues_have_the_bits_of_the_dense_matrix() {
    for gpu in &gpus() {
        // Several parts of 16 rows, in pairs of columns.
        let matrices = TYPES.into_iter().map(|dtype| Matrix::random(gpu, dtype, [70, 1024]));
        for matrix in matrices.chain([Matrix::random_fp8(gpu, [70, 1000], [128, 128])]) {
            for m in [3, 33, 66] {
                for (y, add) in [(Dtype::F32, true), (Dtype::Bf16, false), (Dtype::Bf16, true)] {
                    matrix.check(gpu, m, Precision::Bf16, [Dtype::F32, y], add);
                }
            }
            for m in [1, 17] {
                matrix.check(gpu, m, Precision::F32, [Dtype::F32; 2], false);
            }
        }
    }
}

#[test]
fn blocks_of_wide_matrices_have_the_bits_of_the_dense_matrix() {
    for gpu in &gpus() {
        // Four warps in a block, the last of which has none but one.
        let matrix = Matrix::random(gpu, TYPES[0], [4 * 264 * 16 + 5, 64]);
        assert_eq!(plan(matrix.blocks.format, [1, matrix.blocks.rows]).1.threads, 128);
        for m in [1, 20, 40] {
            matrix.check(gpu, m, Precision::Bf16, [Dtype::Bf16, Dtype::F32], false);
        }
    }
}

#[test]
fn shared_memory_fits_every_card() {
    for format in TYPES.iter().map(|(dtype, _)| Format::of(*dtype).unwrap()).chain([&FP8]) {
        for (m, n) in [1, 9, 33].into_iter().flat_map(|m| [16, 1 << 20].map(|n| (m, n))) {
            let (_, launch) = plan(format, [m, n]);
            assert!(launch.shared <= 99 << 10, "{format:?}: {} bytes", launch.shared);
        }
    }
}
