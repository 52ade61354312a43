mod quantized;

use super::super::driver::Memory;
use super::*;
use crate::device::Device;
use crate::rng::Rng;
use std::sync::Arc;

/// Returns the cards there are, real or emulated.
fn gpus() -> Vec<Arc<Gpu>> {
    let cards = Device::all().into_iter().filter_map(|device| match device {
        Device::Cuda(number) => Some(Gpu::open(number).expect("the card opens")),
        _ => None,
    });
    cards.collect()
}

/// Values of a matrix with rows of `ld` elements, on the card.
struct Stored {
    memory: Memory,
    dtype: Dtype,
    cols: usize,
    ld: usize,
}

impl Stored {
    fn new(gpu: &Arc<Gpu>, values: &[f32], dtype: Dtype, [rows, cols]: [usize; 2], ld: usize) -> Stored {
        let memory = gpu.allocate(values.len() * dtype.bytes(), "a test").unwrap();
        assert!(values.len() == rows * ld);
        match dtype {
            Dtype::F32 => memory.write(0, values).unwrap(),
            Dtype::Bf16 => {
                let rounded: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
                memory.write(0, &rounded).unwrap();
            }
        }
        Stored { memory, dtype, cols, ld }
    }
    fn random(gpu: &Arc<Gpu>, seed: u64, dtype: Dtype, [rows, cols]: [usize; 2], ld: usize) -> Stored {
        let mut rng = Rng::new(&[seed]);
        let values: Vec<f32> = (0..rows * ld).map(|_| rng.normal()).collect();
        Stored::new(gpu, &values, dtype, [rows, cols], ld)
    }
    fn tensor(&self) -> Tensor {
        Tensor { at: self.memory.at(), dtype: self.dtype, cols: self.cols, ld: self.ld }
    }
    fn values(&self, rows: usize) -> Vec<f32> {
        let n = rows * self.ld;
        let mut values = vec![0f32; n];
        match self.dtype {
            Dtype::F32 => self.memory.read(0, &mut values).unwrap(),
            Dtype::Bf16 => {
                let mut rounded = vec![bf16::ZERO; n];
                self.memory.read(0, &mut rounded).unwrap();
                values.iter_mut().zip(rounded).for_each(|(value, x)| *value = x.to_f32());
            }
        }
        values
    }
}

/// A product to test: element types, shape and epilogue.
#[derive(Clone, Copy, Debug)]
struct Case {
    form: Form,
    precision: Precision,
    types: [Dtype; 3],
    shape: [usize; 3],
    /// Elements between the end of a row and the next one.
    gap: usize,
    bias: bool,
    residual: bool,
    add: bool,
}

impl Case {
    /// A product in bf16 of bf16 matrices.
    fn bf16(form: Form, shape: [usize; 3]) -> Case {
        let types = [Dtype::Bf16, Dtype::Bf16, Dtype::F32];
        Case { form, precision: Precision::Bf16, types, shape, gap: 0, bias: false, residual: false, add: false }
    }
    fn f32(form: Form, shape: [usize; 3]) -> Case {
        Case { precision: Precision::F32, types: [Dtype::F32; 3], ..Case::bf16(form, shape) }
    }

    /// Returns the results of the first `rows` rows: of the fast kernel, and of the plain one.
    fn run(self, gpu: &Arc<Gpu>, rows: usize) -> [Vec<f32>; 2] {
        let Case { form, precision, types, shape: [m, n, k], gap, bias, residual, add } = self;
        let (a_transposed, b_transposed) = (form == Form::WeightGradient, form == Form::Forward);
        let stored = |transposed, [rows, cols]: [usize; 2]| if transposed { [cols, rows] } else { [rows, cols] };
        let (a_shape, b_shape) = (stored(a_transposed, [m, k]), stored(b_transposed, [k, n]));
        let a = Stored::random(gpu, 1, types[0], a_shape, a_shape[1] + gap);
        let b = Stored::random(gpu, 2, types[1], b_shape, b_shape[1] + gap);
        let biases = Stored::random(gpu, 3, Dtype::F32, [1, n], n);
        let residuals = Stored::random(gpu, 4, Dtype::F32, [m, n], n + gap);
        [false, true].map(|plain| {
            let y = Stored::random(gpu, 5, types[2], [m, n], n + gap);
            let before = y.values(m);
            let product = Product {
                a: Factor { matrix: a.tensor(), transposed: a_transposed },
                b: Factor { matrix: b.tensor(), transposed: b_transposed },
                blocks: None,
                y: y.tensor(),
                shape: [rows, n, k],
                precision,
                bias: if bias { biases.tensor().at } else { 0 },
                residual: if residual { residuals.tensor().at } else { 0 },
                add,
            };
            match plain {
                true => product.launch_plain(gpu).unwrap(),
                false if precision == Precision::Bf16 => {
                    // The kernels of every card, whatever this card is; product_sm90 tests the others.
                    let mut scratch = Scratch::new(gpu);
                    let product = product.with_rounded_factors(gpu, Some(&mut scratch)).unwrap();
                    product.launch_sm80(gpu, Some(&mut scratch)).unwrap();
                }
                false => product.launch(gpu, Some(&mut Scratch::new(gpu))).unwrap(),
            }
            let after = y.values(m);
            // What lies between and behind the rows stays.
            for i in 0..m {
                let kept = if i < rows { n } else { 0 };
                let outside = i * y.ld + kept..(i + 1) * y.ld;
                assert_eq!(after[outside.clone()], before[outside], "{self:?}, {rows} rows: row {i}");
            }
            (0..rows).flat_map(|i| after[i * y.ld..][..n].to_vec()).collect()
        })
    }

    /// Checks the fast kernel against the plain one.
    fn check(self, gpu: &Arc<Gpu>) {
        let [fast, plain] = self.run(gpu, self.shape[0]);
        if self.precision == Precision::F32 {
            assert_eq!(fast, plain, "{self:?}");
            return;
        }
        // A chain of k products of normal numbers is of size √k; the order within 16 products is the tensor cores'.
        let tolerance = if self.types[2] == Dtype::F32 { 1e-5 } else { 1e-2 } * (self.shape[2] as f32).sqrt();
        for (i, (fast, plain)) in fast.iter().zip(&plain).enumerate() {
            assert!((fast - plain).abs() <= tolerance, "{self:?}: {fast}, not {plain}, at {i}");
        }
    }

    /// Checks that a row has the same bits in batches of these sizes.
    fn check_rows(self, gpu: &Arc<Gpu>, sizes: &[usize]) {
        let [all, _] = self.run(gpu, self.shape[0]);
        for &rows in sizes {
            let [some, _] = self.run(gpu, rows);
            assert_eq!(some, all[..some.len()], "{self:?}: bits of {rows} rows");
        }
    }
}

const FORMS: [Form; 3] = [Form::Forward, Form::InputGradient, Form::WeightGradient];

/// Sizes that are multiples of nothing, and sizes of whole tiles.
const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [5, 37, 19], [70, 130, 75], [64, 64, 128], [17, 16, 100], [129, 72, 64]];

#[test]
fn fast_kernels_agree_with_the_plain_one() {
    for gpu in &gpus() {
        for form in FORMS {
            for shape in SHAPES {
                for gap in [0, 3, 8] {
                    Case { gap, ..Case::bf16(form, shape) }.check(gpu);
                    Case { gap, ..Case::f32(form, shape) }.check(gpu);
                }
            }
        }
    }
}

#[test]
fn large_tiles_agree_with_the_plain_kernel() {
    for gpu in &gpus() {
        for form in FORMS {
            // Twelve tiles down: more than one band, and a band that is not full.
            let tiles = Case::bf16(form, [12 * 128 - 5, 12 * 128 - 3, 70]);
            assert_eq!(plan::plan_bf16(form, tiles.shape).tile, "128x128");
            tiles.check(gpu);
        }
    }
}

#[test]
fn types_and_epilogues_agree_with_the_plain_kernel() {
    const F32: Dtype = Dtype::F32;
    const BF16: Dtype = Dtype::Bf16;
    for gpu in &gpus() {
        for shape in [[3, 21, 33], [66, 40, 48]] {
            for a in [F32, BF16] {
                for b in [F32, BF16] {
                    for (y, add) in [(F32, false), (F32, true), (BF16, false), (BF16, true)] {
                        for form in [Form::Forward, Form::InputGradient] {
                            for case in [Case::bf16(form, shape), Case::f32(form, shape)] {
                                Case { types: [a, b, y], add, bias: !add, residual: !add, ..case }.check(gpu);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    for gpu in &gpus() {
        for form in [Form::Forward, Form::InputGradient] {
            for [n, k] in [[48, 200], [37, 50]] {
                let shape = [200, n, k];
                for case in [Case::bf16(form, shape), Case::f32(form, shape)] {
                    Case { bias: true, residual: true, ..case }.check_rows(gpu, &[1, 8, 9, 16, 32, 33, 64, 65]);
                }
                let types = [Dtype::F32, Dtype::Bf16, Dtype::Bf16];
                Case { types, add: true, ..Case::bf16(form, shape) }.check_rows(gpu, &[1, 16, 64]);
            }
        }
    }
}

#[test]
fn wide_matrices_with_few_rows_have_the_same_bits() {
    for gpu in &gpus() {
        let n = 264 * 64 + 5;
        let case = Case::bf16(Form::Forward, [66, n, 40]);
        for (rows, tile) in [(1, "few_8x64"), (20, "few_32x64"), (64, "few_64x64")] {
            assert_eq!(plan::plan_bf16(Form::Forward, [rows, n, 40]).tile, tile);
        }
        case.check_rows(gpu, &[1, 20, 64]);
    }
}

#[test]
fn weight_gradients_over_several_spans_of_rows() {
    for gpu in &gpus() {
        let case = Case::bf16(Form::WeightGradient, [24, 19, 2 * 2048 + 37]);
        assert_eq!(plan::plan_bf16(case.form, case.shape).spans, 3);
        for add in [false, true] {
            Case { add, gap: 2, ..case }.check(gpu);
        }
        Case { shape: [9, 9, 0], add: true, ..case }.check(gpu);
    }
}
