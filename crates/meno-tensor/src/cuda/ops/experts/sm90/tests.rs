use super::super::every_card::{self, EveryCard};
use super::super::matrices::{Matrices, Place, Tables};
use super::*;
use crate::cuda::driver::Memory;
use crate::device::Device;
use crate::rng::Rng;
use crate::tape::Dtype;
use half::bf16;
use std::sync::Arc;

/// The shared memory of a block on these cards in bytes.
const SHARED: usize = 232_448;
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

/// Returns random values.
fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::new(&[seed]);
    (0..n).map(|_| rng.normal()).collect()
}

/// Copies values to the card, in bf16.
fn rounded(gpu: &Arc<Gpu>, values: &[f32]) -> Memory {
    let values: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
    let memory = gpu.allocate(values.len() * size_of::<bf16>(), "a test").unwrap();
    memory.write(0, &values).unwrap();
    memory
}

/// Which kernels run a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Sm90 {
        /// The multiprocessors that the plan counts on: with few, a block has several tiles.
        multiprocessors: usize,
    },
    EveryCard,
}

/// The products that a case computes.
const PRODUCTS: [&str; 7] =
    ["swiglu", "swiglu without gate and up", "forward", "dh", "dx", "gradient of down", "gradient of gate and up"];

/// Experts and the number of rows of each.
#[derive(Clone, Debug)]
struct Case {
    rows: Vec<usize>,
    hidden: usize,
    width: usize,
    /// The expert whose rows are infinite.
    infinite: Option<usize>,
}

impl Case {
    fn new(rows: &[usize], [hidden, width]: [usize; 2]) -> Case {
        Case { rows: rows.to_vec(), hidden, width, infinite: None }
    }

    /// Returns the distance between the weights of two experts in elements: something else lies between them.
    fn stride(&self) -> usize {
        4 * self.hidden * self.width
    }

    /// Returns random rows of all experts.
    fn rows_of(&self, seed: u64, cols: usize) -> Vec<f32> {
        let mut values = random(seed, self.rows.iter().sum::<usize>() * cols);
        if let Some(expert) = self.infinite {
            let first = self.rows[..expert].iter().sum::<usize>();
            values[first * cols..][..self.rows[expert] * cols].fill(f32::INFINITY);
        }
        values
    }

    /// Returns gate over up (0), or down (1), of weights of `bytes` bytes a value that start at `at`.
    fn matrices(&self, gpu: &Arc<Gpu>, at: u64, which: usize, dtype: Dtype, with: With) -> (Matrices, Memory) {
        let (area, bytes) = (self.hidden * self.width, dtype.bytes());
        let start = at + (which * 2 * area * bytes) as u64;
        let shape = if which == 0 { [2 * self.width, self.hidden] } else { [self.hidden, self.width] };
        let split = if which == 0 { self.width } else { self.hidden };
        let address = |expert: usize, index: usize| start + ((expert * self.stride() + index * area) * bytes) as u64;
        let experts = self.rows.len();
        let addresses: Vec<u64> = (0..2).flat_map(|index| (0..experts).map(move |e| address(e, index))).collect();
        let tables = gpu.allocate(addresses.len() * size_of::<u64>(), "a test").unwrap();
        tables.write(0, &addresses).unwrap();
        let (first, second) = (tables.at(), tables.at() + (experts * size_of::<u64>()) as u64);
        let place = match with {
            With::Sm90 { .. } => Place::Stack(Stack { at: start, stride: self.stride() }),
            With::EveryCard => Place::Tables(Tables { first, second, split }),
        };
        (Matrices { place, dtype, shape }, tables)
    }

    /// Computes a product, an index of [`PRODUCTS`]; returns all values that it can change.
    fn run(&self, gpu: &Arc<Gpu>, product: usize, with: With) -> Vec<f32> {
        let (count, experts) = (self.rows.iter().sum::<usize>(), self.rows.len());
        let offsets: Vec<u32> = (0..=experts).map(|e| self.rows[..e].iter().sum::<usize>() as u32).collect();
        let offset_memory = gpu.allocate(offsets.len() * size_of::<u32>(), "a test").unwrap();
        offset_memory.write(0, &offsets).unwrap();
        let tile = if with == With::EveryCard { every_card::TILE } else { TILE };
        let mut rows = Rows { count, experts, offsets: offset_memory.at(), tile, tiles: 0 };
        let tiles = gpu.allocate(rows.most_tiles() * 16, "a test").unwrap();
        rows.tiles = tiles.at();
        rows.list_tiles(gpu).unwrap();

        let (hidden, width) = (self.hidden, self.width);
        let weights = random(1, experts * self.stride());
        let weight_memory = rounded(gpu, &weights);
        let gradient_memory = gpu.allocate(weights.len() * size_of::<f32>(), "a test").unwrap();
        gradient_memory.write(0, &random(2, weights.len())).unwrap();
        let inputs = |seed, cols| rounded(gpu, &self.rows_of(seed, cols));
        let [narrow, wide, both] = [inputs(3, width), inputs(4, hidden), inputs(5, 2 * width)];
        let [h, y, gate_up] = [6, 7, 8].map(|seed| rounded(gpu, &random(seed, count * hidden.max(2 * width))));
        let dw = product >= 5;
        let (at, dtype) = match dw {
            true => (gradient_memory.at(), Dtype::F32),
            false => (weight_memory.at(), Dtype::Bf16),
        };
        let (w, _tables) = self.matrices(gpu, at, usize::from([2, 3, 5].contains(&product)), dtype, with);
        let product = match product {
            0 | 1 => Product::Swiglu { h: h.at(), gate_up: gate_up.at(), read: product == 0, x: wide.at() },
            2 => Product::Forward { y: y.at(), x: narrow.at() },
            3 => Product::InputGradient { dx: y.at(), dy: wide.at() },
            4 => Product::InputGradient { dx: y.at(), dy: both.at() },
            5 => Product::WeightGradient { dy: wide.at(), x: narrow.at() },
            _ => Product::WeightGradient { dy: both.at(), x: wide.at() },
        };
        match (with, w.place) {
            (With::Sm90 { multiprocessors }, Place::Stack(stack)) => {
                plan(product, stack, w.shape, &rows, multiprocessors).run(gpu).unwrap();
            }
            (_, Place::Tables(tables)) => {
                EveryCard { rows, dtype: Dtype::Bf16, tensor_cores: true }.run(gpu, product, tables, w).unwrap();
            }
            other => panic!("{other:?}"),
        }
        if dw {
            let mut values = vec![0f32; weights.len()];
            gradient_memory.read(0, &mut values).unwrap();
            return values;
        }
        let all = [&h, &y, &gate_up].map(|memory| {
            let mut values = vec![bf16::ZERO; count * hidden.max(2 * width)];
            memory.read(0, &mut values).unwrap();
            values.into_iter().map(bf16::to_f32).collect::<Vec<f32>>()
        });
        all.concat()
    }

    /// Checks that all products have the bits of the kernels for every card, and that the rest of the memory stays.
    fn check(&self, gpu: &Arc<Gpu>, multiprocessors: usize) {
        for (product, name) in PRODUCTS.iter().enumerate() {
            let expected = self.run(gpu, product, With::EveryCard);
            let with = With::Sm90 { multiprocessors };
            let found = self.run(gpu, product, with);
            let same = |(x, y): &(&f32, &f32)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
            let differ = found.iter().zip(&expected).filter(|pair| !same(pair)).count();
            assert!(differ == 0, "{self:?}, {name}, {with:?}: {differ} of {} values differ", found.len());
        }
    }
}

#[test]
fn products_have_the_bits_of_the_kernels_for_every_card() {
    for gpu in &gpus() {
        for shape in [[264, 72], [200, 136]] {
            Case::new(&[0, 1, 63, 64, 65, 130, 0], shape).check(gpu, 2);
        }
        // Several rounds of the ring.
        Case::new(&[150, 3], [584, 24]).check(gpu, H100);
    }
}

#[test]
fn one_expert_may_have_all_rows_or_none_may_have_any() {
    for gpu in &gpus() {
        Case::new(&[0, 129, 0], [16, 8]).check(gpu, H100);
        Case::new(&[5], [16, 8]).check(gpu, H100);
    }
}

#[test]
fn rows_of_an_expert_do_not_reach_the_next_one() {
    for gpu in &gpus() {
        Case { infinite: Some(1), ..Case::new(&[10, 70, 3], [40, 24]) }.check(gpu, 2);
    }
}

/// Rows of experts whose lists lie nowhere.
fn rows(count: usize, experts: usize) -> Rows {
    Rows { count, experts, offsets: 1 << 20, tile: TILE, tiles: 2 << 20 }
}

/// All products with addresses of this alignment.
fn products() -> [(Product, usize); 6] {
    let [a, b, c] = [1 << 24, 1 << 25, 1 << 26];
    [
        (Product::Swiglu { h: a, gate_up: b, read: true, x: c }, 0),
        (Product::Swiglu { h: a, gate_up: b, read: false, x: c }, 0),
        (Product::Forward { y: a, x: b }, 1),
        (Product::InputGradient { dx: a, dy: b }, 1),
        (Product::InputGradient { dx: a, dy: b }, 0),
        (Product::WeightGradient { dy: a, x: b }, 1),
    ]
}

#[test]
fn blocks_fit_a_multiprocessor_and_boxes_their_limits() {
    let w = Stack { at: 1 << 30, stride: 1 << 20 };
    for [hidden, width] in [[8, 8], [64, 48], [1024, 384], [2048, 768], [7168, 2048]] {
        for (count, experts) in [(1, 1), (200, 4), (65_536, 32), (131_072, 256)] {
            for (product, which) in products() {
                let shape = [[2 * width, hidden], [hidden, width]][which];
                let plan = plan(product, w, shape, &rows(count, experts), H100);
                assert!(plan.launch.shared <= SHARED && plan.launch.threads == 384, "{plan:?}");
                assert!((1..=H100).contains(&plan.launch.grid[0]), "{plan:?}");
                let boxes = plan.boxes.iter().chain(plan.weights.as_ref().map(|stack| &stack.first));
                for x in boxes {
                    assert!(x.at.is_multiple_of(16) && x.ld.is_multiple_of(8), "{plan:?}");
                    assert!(x.box_rows <= 256 && x.rows > 0 && x.cols > 0, "{plan:?}");
                }
            }
        }
    }
}

#[test]
fn a_plan_describes_the_matrices() {
    let (w, rows) = (Stack { at: 4096, stride: 5000 }, rows(600, 4));
    let described = |x: &MatrixBox| (x.at, x.rows, x.cols, x.ld, x.box_rows);
    let swiglu = plan(Product::Swiglu { h: 256, gate_up: 512, read: true, x: 1024 }, w, [144, 264], &rows, H100);
    assert_eq!((swiglu.kernel.as_str(), swiglu.launch.grid), ("experts_sm90a_swiglu", [8, 1]));
    let boxes: Vec<_> = swiglu.boxes.iter().map(described).collect();
    let expected =
        [(1024, 600, 264, 264, 128), (256, 600, 72, 72, 16), (512, 600, 72, 144, 16), (656, 600, 72, 144, 16)];
    assert_eq!(boxes, expected);
    let stack = swiglu.weights.expect("weights");
    assert_eq!((described(&stack.first), stack.count, stack.stride), ((4096, 144, 264, 264, 128), 4, 5000));
    let dx = plan(Product::InputGradient { dx: 256, dy: 512 }, w, [144, 264], &rows, H100);
    assert_eq!(
        dx.boxes.iter().map(described).collect::<Vec<_>>(),
        [(512, 600, 144, 144, 128), (256, 600, 264, 264, 16)]
    );
    assert_eq!(described(&dx.weights.expect("weights").first), (4096, 144, 264, 264, 64));
}

#[test]
fn wide_results_have_wide_tiles_and_gradients_the_fewest() {
    let w = Stack { at: 4096, stride: 1 << 20 };
    let kernel = |product, shape| plan(product, w, shape, &rows(65_536, 32), H100).kernel;
    let forward = Product::Forward { y: 256, x: 512 };
    assert_eq!(kernel(forward, [1024, 384]), "experts_sm90a_forward_256");
    assert_eq!(kernel(forward, [384, 1024]), "experts_sm90a_forward_128");
    assert_eq!(kernel(Product::InputGradient { dx: 256, dy: 512 }, [768, 1024]), "experts_sm90a_input_gradient_256");
    let gradient = Product::WeightGradient { dy: 256, x: 512 };
    assert_eq!(kernel(gradient, [768, 1024]), "experts_weight_gradient_sm90a");
    assert_eq!(kernel(gradient, [1024, 384]), "experts_weight_gradient_sm90a_transposed");
}

#[test]
fn few_rows_take_the_kernels_for_every_card() {
    assert!(!is_faster(8, 256) && !is_faster(31 * 32, 32));
    assert!(is_faster(32 * 32, 32) && is_faster(65_536, 32));
}
