use super::super::driver::Memory;
use super::super::product::Factor;
use super::*;
use crate::device::Device;
use crate::rng::Rng;
use half::bf16;
use std::sync::Arc;

const BF16: Dtype = Dtype::Bf16;
const F32: Dtype = Dtype::F32;

/// The multiprocessors of an H100.
const H100: usize = 132;

/// Returns the cards there are that run these kernels, real or emulated.
fn gpus() -> Vec<Arc<Gpu>> {
    let cards = Device::all().into_iter().filter_map(|device| match device {
        Device::Cuda(number) => Some(Gpu::open(number).expect("the card opens")),
        _ => None,
    });
    cards.filter(|gpu| gpu.card.runs_sm90a()).collect()
}

/// A random matrix on the card. Elements between its rows are NaN.
struct Stored {
    memory: Memory,
    dtype: Dtype,
    shape: [usize; 2],
    ld: usize,
}

impl Stored {
    fn random(gpu: &Arc<Gpu>, seed: u64, dtype: Dtype, [rows, cols]: [usize; 2], gap: usize) -> Stored {
        let (mut rng, ld) = (Rng::new(&[seed]), cols + gap);
        let value = |i: usize| if i % ld < cols { rng.normal() } else { f32::NAN };
        let values: Vec<f32> = (0..rows * ld).map(value).collect();
        let memory = gpu.allocate(values.len() * dtype.bytes(), "a test").unwrap();
        match dtype {
            Dtype::F32 => memory.write(0, &values).unwrap(),
            Dtype::Bf16 => {
                let rounded: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
                memory.write(0, &rounded).unwrap();
            }
        }
        Stored { memory, dtype, shape: [rows, cols], ld }
    }
    fn tensor(&self) -> Tensor {
        Tensor { at: self.memory.at(), dtype: self.dtype, cols: self.shape[1], ld: self.ld }
    }
    /// Returns the bits of all elements, also of those between rows.
    fn bits(&self) -> Vec<u32> {
        let n = self.shape[0] * self.ld;
        match self.dtype {
            Dtype::F32 => {
                let mut values = vec![0u32; n];
                self.memory.read(0, &mut values).unwrap();
                values
            }
            Dtype::Bf16 => {
                let mut values = vec![0u16; n];
                self.memory.read(0, &mut values).unwrap();
                values.into_iter().map(|x| u32::from(x) << 16).collect()
            }
        }
    }
}

/// A product to test. For a weight's gradient, the last number of the shape is the rows of the batch.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// The transposed factors.
    form: [bool; 2],
    y: Dtype,
    shape: [usize; 3],
    /// Elements between the end of a row and the next one.
    gap: usize,
    bias: bool,
    residual: bool,
    add: bool,
    /// The multiprocessors that the plan counts on: with few, a block has several tiles.
    multiprocessors: usize,
}

/// y = x · wᵀ, dx = dy · w and dw += dyᵀ · x.
const FORWARD: [bool; 2] = [false, true];
const INPUT_GRADIENT: [bool; 2] = [false, false];
const WEIGHT_GRADIENT: [bool; 2] = [true, false];

/// Which kernels run a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Sm90,
    Sm80,
}

impl Case {
    fn new(form: [bool; 2], y: Dtype, shape: [usize; 3]) -> Case {
        let add = form == WEIGHT_GRADIENT;
        Case { form, y, shape, gap: 0, bias: false, residual: false, add, multiprocessors: H100 }
    }

    /// Returns the bits of the result of the first `rows` rows, after checking that all else stays.
    fn run(self, gpu: &Arc<Gpu>, with: With, rows: usize) -> Vec<u32> {
        let Case { form, shape: [m, n, k], gap, .. } = self;
        let stored = |transposed, [rows, cols]: [usize; 2]| if transposed { [cols, rows] } else { [rows, cols] };
        let a = Stored::random(gpu, 1, BF16, stored(form[0], [m, k]), gap);
        let b = Stored::random(gpu, 2, BF16, stored(form[1], [k, n]), gap);
        let biases = Stored::random(gpu, 3, F32, [1, n], 0);
        let residuals = Stored::random(gpu, 4, F32, [m, n], gap);
        let y = Stored::random(gpu, 5, self.y, [m, n], gap);
        let before = y.bits();
        let factor = |x: &Stored, transposed| Factor { matrix: x.tensor(), transposed };
        let product = Product {
            a: factor(&a, form[0]),
            b: factor(&b, form[1]),
            blocks: None,
            y: y.tensor(),
            shape: [rows, n, k],
            precision: Precision::Bf16,
            bias: if self.bias { biases.tensor().at } else { 0 },
            residual: if self.residual { residuals.tensor().at } else { 0 },
            add: self.add,
        };
        let scratch = &mut Scratch::new(gpu);
        match with {
            With::Sm90 => plan(&product, self.multiprocessors).expect("a plan").run(gpu, Some(scratch)).unwrap(),
            With::Sm80 => product.launch_sm80(gpu, Some(scratch)).unwrap(),
        }
        let after = y.bits();
        for i in 0..m {
            let outside = i * y.ld + if i < rows { n } else { 0 }..(i + 1) * y.ld;
            assert_eq!(after[outside.clone()], before[outside], "{self:?}, {rows} rows: row {i}");
        }
        (0..rows).flat_map(|i| after[i * y.ld..][..n].to_vec()).collect()
    }

    /// Checks that the kernels of both capabilities give the same bits.
    fn check(self, gpu: &Arc<Gpu>) -> Vec<u32> {
        let [new, old] = [With::Sm90, With::Sm80].map(|with| self.run(gpu, with, self.shape[0]));
        let differ = new.iter().zip(&old).filter(|(x, y)| x != y).count();
        assert!(differ == 0, "{self:?}: {differ} of {} elements differ", new.len());
        new
    }

    /// Checks that the kernels of both capabilities nearly agree, and that a second run has the same bits.
    fn check_nearly(self, gpu: &Arc<Gpu>) {
        let [new, again] = [(); 2].map(|()| self.run(gpu, With::Sm90, self.shape[0]));
        assert_eq!(new, again, "{self:?}: bits of a second run");
        let old = self.run(gpu, With::Sm80, self.shape[0]);
        let tolerance = 1e-5 * (self.shape[2] as f32).sqrt();
        for (&x, &y) in new.iter().zip(&old) {
            let [x, y] = [x, y].map(f32::from_bits);
            assert!((x - y).abs() <= tolerance, "{self:?}: {x}, not {y}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    for gpu in &gpus() {
        for form in [FORWARD, INPUT_GRADIENT] {
            for n in [8, 200, 256] {
                for k in [64, 72, 896] {
                    let case = Case { gap: 8, ..Case::new(form, F32, [200, n, k]) };
                    let all = case.check(gpu);
                    for rows in [1, 7, 8, 16, 63, 64, 65] {
                        let some = case.run(gpu, With::Sm90, rows);
                        assert!(some == all[..some.len()], "{case:?}: bits of {rows} rows");
                    }
                }
            }
        }
    }
}

#[test]
fn every_tile_and_epilogue_has_the_bits_of_the_kernels_for_every_card() {
    for gpu in &gpus() {
        for form in [FORWARD, INPUT_GRADIENT] {
            // With two multiprocessors, all tiles occur, and a block has several.
            for shape in [[300, 256, 72], [150, 376, 136], [130, 120, 80], [260, 56, 104], [3, 296, 200], [33, 328, 72]]
            {
                for (y, gap) in [(F32, 0), (F32, 8), (BF16, 0), (BF16, 8)] {
                    let case = Case { gap, multiprocessors: 2, ..Case::new(form, y, shape) };
                    case.check(gpu);
                    Case { bias: true, residual: true, ..case }.check(gpu);
                    Case { add: true, ..case }.check(gpu);
                }
            }
        }
    }
}

#[test]
fn every_tile_of_few_rows_has_the_same_bits() {
    for gpu in &gpus() {
        for m in [1, 9, 17, 40] {
            // With one multiprocessor, the largest tiles and rings that go round several times.
            for (multiprocessors, k) in [(1, 1352), (2, 328), (6, 328), (132, 328)] {
                let case = Case::new(FORWARD, BF16, [m, 200, k]);
                Case { multiprocessors, bias: true, add: true, ..case }.check(gpu);
            }
        }
    }
}

#[test]
fn sizes_need_not_be_multiples_of_eight() {
    for gpu in &gpus() {
        for m in [11, 70] {
            for y in [F32, BF16] {
                for form in [FORWARD, INPUT_GRADIENT] {
                    Case { gap: 4, residual: true, ..Case::new(form, y, [m, 148, 36]) }.check(gpu);
                }
            }
        }
        Case { gap: 4, ..Case::new(WEIGHT_GRADIENT, F32, [132, 268, 77]) }.check(gpu);
    }
}

#[test]
fn a_gradient_of_one_chain_has_the_bits_of_the_kernels_for_every_card() {
    for gpu in &gpus() {
        // The second is computed transposed.
        for shape in [[136, 264, 100], [264, 120, 72], [8, 8, 5]] {
            let case = Case::new(WEIGHT_GRADIENT, F32, shape);
            case.check(gpu);
            Case { gap: 8, ..case }.check(gpu);
        }
    }
}

#[test]
fn a_split_gradient_nearly_agrees_and_has_the_same_bits_in_every_run() {
    for gpu in &gpus() {
        for shape in [[136, 264, 1300], [264, 120, 1100], [8, 16, 2050]] {
            assert!(Split::new(shape).unwrap().slots() > 0);
            Case::new(WEIGHT_GRADIENT, F32, shape).check_nearly(gpu);
        }
    }
}

#[test]
fn a_large_gradient_has_whole_tiles_and_shares() {
    for gpu in &gpus() {
        // 12 x 12 tiles: one round of 132, and 12 tiles in shares.
        Case::new(WEIGHT_GRADIENT, F32, [12 * 128 - 8, 12 * 256 - 8, 70]).check(gpu);
    }
}

/// A product whose matrices lie at these addresses with these row distances: a, b and y.
fn product(form: [bool; 2], y: Dtype, shape: [usize; 3], at: [u64; 3], ld: [usize; 3]) -> Product {
    let tensor = |i: usize, dtype| Tensor { at: at[i], dtype, cols: ld[i], ld: ld[i] };
    let (a, b) = (tensor(0, BF16), tensor(1, BF16));
    Product {
        a: Factor { matrix: a, transposed: form[0] },
        b: Factor { matrix: b, transposed: form[1] },
        blocks: None,
        y: tensor(2, y),
        shape,
        precision: Precision::Bf16,
        bias: 0,
        residual: 0,
        add: form == WEIGHT_GRADIENT,
    }
}

/// A product of contiguous matrices.
fn contiguous(form: [bool; 2], y: Dtype, [m, n, k]: [usize; 3]) -> Product {
    let ld = [if form[0] { m } else { k }, if form[1] { k } else { n }, n];
    product(form, y, [m, n, k], [1 << 20; 3], ld)
}

fn kernel(form: [bool; 2], y: Dtype, shape: [usize; 3]) -> String {
    plan(&contiguous(form, y, shape), H100).expect("a plan").kernel
}

#[test]
fn the_measured_shapes_take_the_tiles_that_were_the_fastest() {
    assert_eq!(kernel(FORWARD, BF16, [8192, 8192, 8192]), "gemm_sm90a_128x256_nt_bf16");
    assert_eq!(kernel(FORWARD, BF16, [16384, 4864, 896]), "gemm_sm90a_128x256_nt_bf16");
    assert_eq!(kernel(FORWARD, F32, [16384, 896, 4864]), "gemm_sm90a_128x192_nt_f32");
    assert_eq!(kernel(INPUT_GRADIENT, BF16, [16384, 4864, 896]), "gemm_sm90a_128x256_nn_bf16");
    assert_eq!(kernel(FORWARD, BF16, [65, 896, 4864]), "gemm_sm90a_128x64_nt_bf16");
    assert_eq!(kernel(WEIGHT_GRADIENT, F32, [4864, 896, 16384]), "weight_gradient_sm90a_transposed");
    assert_eq!(kernel(WEIGHT_GRADIENT, F32, [896, 4864, 16384]), "weight_gradient_sm90a");
}

#[test]
fn few_rows_take_the_tiles_that_were_the_fastest() {
    let warps = |m, n, k| match plan(&contiguous(FORWARD, BF16, [m, n, k]), H100).unwrap().work {
        Work::Few { warps, .. } => warps,
        work => panic!("{work:?}"),
    };
    let shapes = [(896, 4864), (1152, 896), (4096, 7168), (7168, 2048), (9728, 896), (151_936, 896)];
    assert_eq!(shapes.map(|(n, k)| warps(1, n, k)), [1, 1, 2, 4, 8, 8]);
    assert_eq!(shapes.map(|(n, k)| warps(64, n, k)), [4, 4, 4, 4, 8, 8]);
    assert_eq!(kernel(FORWARD, BF16, [1, 896, 896]), "few_sm90a_8_bf16");
    assert_eq!(kernel(FORWARD, F32, [64, 896, 896]), "few_sm90a_64_f32");
    // The gradient of few rows has no separate kernel.
    assert_eq!(kernel(INPUT_GRADIENT, BF16, [1, 896, 896]), "gemm_sm90a_128x64_nn_bf16");
}

#[test]
fn blocks_fit_a_multiprocessor_and_boxes_their_limits() {
    for form in [FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT] {
        for y in [BF16, F32] {
            for m in [1, 9, 17, 64, 65, 200, 4096] {
                for n in [8, 200, 896, 4864, 151_936] {
                    for multiprocessors in [1, 78, 114, H100] {
                        let Some(plan) = plan(&contiguous(form, y, [m, n, 904]), multiprocessors) else {
                            assert!(form == WEIGHT_GRADIENT && (y == BF16 || m % 8 != 0) || m % 2 == 1);
                            continue;
                        };
                        assert!(plan.launch.shared <= SHARED, "{plan:?}");
                        assert!(plan.launch.threads <= 384 && plan.launch.grid[0] >= 1, "{plan:?}");
                        assert!(plan.boxes.iter().all(|x| x.box_rows <= 256 && x.rows > 0), "{plan:?}");
                        if let Work::Few { stages, .. } = plan.work {
                            assert!(stages >= 2, "{plan:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn boxes_describe_the_stored_matrices() {
    let plan = plan(&product(FORWARD, BF16, [100, 56, 72], [256, 512, 1024], [80, 96, 64]), H100).unwrap();
    let described = |x: &MatrixBox| (x.at, x.rows, x.cols, x.ld, x.box_rows);
    let expected = [(256, 100, 72, 80, 128), (512, 56, 72, 96, 64), (1024, 100, 56, 64, 16)];
    assert_eq!(plan.boxes.iter().map(described).collect::<Vec<_>>(), expected);
    assert_eq!(plan.launch.grid, [1, 1]);
}

#[test]
fn what_tma_cannot_reach_has_no_plan() {
    let (shape, at, ld) = ([8, 16, 64], [256; 3], [64, 64, 16]);
    let has = |product: Product| plan(&product, H100).is_some();
    let good = product(FORWARD, BF16, shape, at, ld);
    assert!(has(good));
    for i in 0..3 {
        let (mut far, mut odd) = (at, ld);
        far[i] += 8;
        odd[i] += 4;
        assert!(!has(product(FORWARD, BF16, shape, far, ld)), "an address, {i}");
        assert!(!has(product(FORWARD, BF16, shape, at, odd)), "a row distance, {i}");
    }
    assert!(!has(Product { bias: 4, ..good }));
    assert!(!has(Product { residual: 4, ..good }));
    assert!(!has(Product { precision: Precision::F32, ..good }));
    assert!(!has(Product { shape: [0, 16, 64], ..good }));
    assert!(!has(Product { shape: [8, 15, 64], ..good }));
    let mut f32_factor = good;
    f32_factor.b.matrix.dtype = F32;
    assert!(!has(f32_factor));
    let gradient = contiguous(WEIGHT_GRADIENT, F32, [16, 24, 40]);
    assert!(has(gradient));
    assert!(!has(Product { add: false, ..gradient }));
    assert!(!has(Product { bias: 8, ..gradient }));
}

#[test]
fn a_matrix_that_tma_cannot_read_is_an_error() {
    for gpu in &gpus() {
        let Err(error) = gpu.tensor_map(MatrixBox { at: 8, rows: 1, cols: 8, ld: 8, box_rows: 1 }) else {
            panic!("an address that is no multiple of 16");
        };
        assert!(error.to_string().contains("cuTensorMapEncodeTiled failed"), "{error}");
    }
}
