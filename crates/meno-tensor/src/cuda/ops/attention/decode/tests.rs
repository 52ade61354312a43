use super::super::mma;
use super::*;
use crate::cuda::driver::{Arg, Gpu, Memory};
use crate::device::Device;
use crate::kv_cache::Q8_GROUP;
use crate::rng::Rng;
use crate::tape::PAGE;
use half::{bf16, f16};
use std::sync::Arc;

/// The multiprocessors of an H100.
const H100: usize = 132;

/// The widths of the kernels, and the types of pages.
const WIDTHS: [[usize; 2]; 4] = [[64, 64], [128, 128], [192, 128], [256, 256]];
const PAGES: [&str; 3] = ["bf16", "f32", "q8_0"];

fn queries(segments: usize, each: usize, group: usize, kv_heads: usize) -> Queries {
    Queries { queries: segments * each, segments, longest: each, group, kv_heads }
}

#[test]
fn a_plan_fits_every_card_and_does_not_depend_on_the_context() {
    for ([qk, v], threads) in WIDTHS.into_iter().zip([192, 256, 256, 256]) {
        let Kernel { name, launch } = plan(Mma([qk, v]), "bf16", queries(64, 1, 7, 2), H100).expect("a plan");
        assert_eq!(name, format!("attention_decode_bf16_{qk}_{v}"));
        assert_eq!((launch.grid, launch.threads, launch.shared), ([28 + 64, 2], threads, 101_376));
    }
}

#[test]
fn few_rows_of_each_sequence_or_few_tiles_have_a_plan() {
    let has = |queries| plan(Mma([64, 64]), "f32", queries, H100).is_some();
    assert!(has(queries(1, 1, 16, 2)) && has(queries(4096, 1, 16, 2)) && has(queries(4096, 2, 8, 2)));
    // Five queries of 14 heads, a chunk of a prompt: one block for each multiprocessor, or more.
    assert!(has(queries(1, 5, 14, 2)) && has(queries(12, 5, 14, 2)) && !has(queries(13, 5, 14, 2)));
    assert!(has(queries(1, 64, 7, 2)) && !has(queries(1, 512, 7, 2)));
}

/// Sequences with keys and values in the cache, on the card.
struct Stored {
    q: Memory,
    keys: Memory,
    values: Memory,
    segments: Memory,
    pages: Memory,
}

/// Attention to test.
#[derive(Clone, Copy, Debug)]
struct Case {
    pages: &'static str,
    dims: [usize; 2],
    widths: Mma,
    group: usize,
    kv_heads: usize,
    /// Queries, and keys that the last one sees, of each segment.
    segments: &'static [[usize; 2]],
}

fn upload<T: bytemuck::Pod>(gpu: &Arc<Gpu>, values: &[T]) -> Memory {
    let memory = gpu.allocate(size_of_val(values), "a test").unwrap();
    memory.write(0, values).unwrap();
    memory
}

impl Case {
    fn queries(self) -> Queries {
        let each = self.segments.iter().map(|&[queries, _]| queries);
        let (group, kv_heads) = (self.group, self.kv_heads);
        Queries {
            queries: each.clone().sum(),
            segments: self.segments.len(),
            longest: each.max().unwrap(),
            group,
            kv_heads,
        }
    }

    /// Returns random pages of vectors of width `dim`; `ends` has the vectors of every page. What follows them is NaN.
    fn random_pages(self, rng: &mut Rng, ends: &[usize], dim: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &end in ends.iter().flat_map(|end| std::iter::repeat_n(end, self.kv_heads)) {
            let mut value = |i: usize| if i / dim < end { 2.0 * rng.normal() } else { f32::NAN };
            let numbers = (0..PAGE * dim).map(&mut value);
            match self.pages {
                "f32" => bytes.extend(numbers.flat_map(f32::to_le_bytes)),
                "bf16" => bytes.extend(numbers.flat_map(|x| bf16::from_f32(x).to_le_bytes())),
                _ => {
                    bytes.extend(numbers.map(|x| if x.is_nan() { 0x80 } else { (30.0 * x) as i8 as u8 }));
                    let groups = dim.div_ceil(Q8_GROUP);
                    let scale =
                        |i: usize| if i / groups < end { f16::from_f32(rng.uniform() / 30.0) } else { f16::NAN };
                    bytes.extend((0..PAGE * groups).map(scale).flat_map(f16::to_le_bytes));
                }
            }
        }
        bytes
    }

    fn store(self, gpu: &Arc<Gpu>) -> Stored {
        let (rng, [qk, v]) = (&mut Rng::new(&[9]), self.dims);
        let total: usize = self.segments.iter().map(|[_, keys]| keys.div_ceil(PAGE)).sum();
        // Each sequence's pages lie anywhere; the last page belongs to none.
        let mut free: Vec<usize> = (0..total).collect();
        rng.shuffle(&mut free);
        let (mut segments, mut pages, mut ends, mut first) = (Vec::new(), Vec::new(), vec![0; total + 1], 0);
        for &[queries, keys] in self.segments {
            segments.extend([first, queries, keys - queries, pages.len()].map(|n| n as i32));
            for at in (0..keys).step_by(PAGE) {
                let page = free.pop().unwrap();
                ends[page] = PAGE.min(keys - at);
                pages.push(page as i32);
            }
            first += queries;
        }
        let q: Vec<bf16> = (0..first * self.group * self.kv_heads * qk).map(|_| bf16::from_f32(rng.normal())).collect();
        Stored {
            q: upload(gpu, &q),
            keys: upload(gpu, &self.random_pages(rng, &ends, qk)),
            values: upload(gpu, &self.random_pages(rng, &ends, v)),
            segments: upload(gpu, &segments),
            pages: upload(gpu, &pages),
        }
    }

    /// Returns the bits of the output and of the log-sum-exp.
    fn run(self, gpu: &Arc<Gpu>, stored: &Stored, Kernel { name, launch }: Kernel, aligned: bool) -> [Vec<u32>; 2] {
        let (heads, [qk, v]) = (self.group * self.kv_heads, self.dims);
        let rows = self.queries().queries;
        let out = gpu.allocate(rows * heads * v * 2, "a test").unwrap();
        let lse = gpu.allocate(rows * heads * 4, "a test").unwrap();
        let mut args: Vec<Arg> = vec![
            out.at().into(),
            lse.at().into(),
            stored.q.at().into(),
            (heads * qk).into(),
            qk.into(),
            stored.keys.at().into(),
            0.into(),
            0.into(),
            stored.values.at().into(),
            0.into(),
            0.into(),
            heads.into(),
            self.kv_heads.into(),
            qk.into(),
            v.into(),
            0.2f32.into(),
            stored.segments.at().into(),
            self.segments.len().into(),
            stored.pages.at().into(),
            aligned.into(),
        ];
        gpu.launch(&name, launch, &mut args).unwrap();
        let (mut halves, mut words) = (vec![0u16; rows * heads * v], vec![0u32; rows * heads]);
        out.read(0, &mut halves).unwrap();
        lse.read(0, &mut words).unwrap();
        assert!(halves.iter().all(|&x| bf16::from_bits(x).is_finite()), "{self:?}: {name}");
        [halves.into_iter().map(u32::from).collect(), words]
    }

    /// Checks that both kernels have the same bits.
    fn check(self, gpu: &Arc<Gpu>) {
        let stored = self.store(gpu);
        let few = plan(self.widths, self.pages, self.queries(), H100).expect("a plan");
        let many = mma::plan(self.widths, self.pages, self.queries());
        let expected = self.run(gpu, &stored, many, true);
        for aligned in [true, false] {
            let found = self.run(gpu, &stored, few.clone(), aligned);
            for (what, found, expected) in [("o", &found[0], &expected[0]), ("lse", &found[1], &expected[1])] {
                let differ = found.iter().zip(expected).filter(|(a, b)| a != b).count();
                assert!(differ == 0, "{self:?}: {differ} of {} numbers of {what} differ", found.len());
            }
        }
    }
}

/// One query of each sequence, contexts on both sides of the borders of pages and of rounds.
const STEPS: &[[usize; 2]] = &[[1, 200], [1, 1], [1, 63], [1, 700], [1, 64], [1, 65], [1, 2], [1, 257]];
/// Several queries, whose rows fill several tiles.
const CHUNKS: &[[usize; 2]] = &[[3, 65], [1, 300], [9, 9], [4, 130]];

/// Returns the cards there are, real or emulated.
fn gpus() -> impl Iterator<Item = Arc<Gpu>> {
    Device::all().into_iter().filter_map(|device| match device {
        Device::Cuda(number) => Some(Gpu::open(number).expect("the card opens")),
        _ => None,
    })
}

#[test]
fn both_kernels_have_the_same_bits() {
    for gpu in gpus() {
        let heads = [(1, 2, STEPS), (2, 1, STEPS), (7, 2, CHUNKS), (14, 1, CHUNKS), (16, 1, STEPS)];
        for (i, (group, kv_heads, segments)) in heads.into_iter().enumerate() {
            for (j, pages) in PAGES.into_iter().enumerate() {
                let dims = WIDTHS[(i + j) % WIDTHS.len()];
                Case { pages, dims, widths: Mma(dims), group, kv_heads, segments }.check(&gpu);
            }
        }
    }
}

#[test]
fn both_kernels_have_the_same_bits_for_narrower_heads() {
    for gpu in gpus() {
        for (dims, widths) in [[16, 48], [80, 112], [144, 16], [240, 208]].into_iter().zip(WIDTHS) {
            for (pages, segments) in PAGES.into_iter().zip([CHUNKS, &STEPS[..4], CHUNKS]) {
                Case { pages, dims, widths: Mma(widths), group: 2, kv_heads: 1, segments }.check(&gpu);
            }
        }
    }
}
