//! Tests of attention on every device.

use super::*;
use crate::backend::{Backend, Executor, Pass, Weights};
use crate::device::Device;
use crate::kv_cache::{KvCache, KvType, LayerSpec};
use crate::ops::Builder;
use crate::ops::test_ops::WeightedSum;
use crate::pool;
use crate::precision::Precision;
use crate::rng::Rng;
use crate::tape::{Batch, Mode, Param, ParamLayout};
use crate::testing::{Net, TestInput, build, check_agreement};
use std::sync::Arc;

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    qk_dim: usize,
    v_dim: usize,
}

const SHAPES: [Shape; 5] = [
    Shape { heads: 4, kv_heads: 2, qk_dim: 8, v_dim: 8 },
    Shape { heads: 3, kv_heads: 3, qk_dim: 24, v_dim: 16 },
    Shape { heads: 4, kv_heads: 1, qk_dim: 37, v_dim: 33 },
    Shape { heads: 5, kv_heads: 5, qk_dim: 24, v_dim: 64 },
    Shape { heads: 14, kv_heads: 2, qk_dim: 16, v_dim: 16 },
];

/// q, k and v in one activation, in the layout of a fused projection.
fn push(b: &mut Builder, params: &mut ParamLayout, s: Shape) -> (Activation, Activation) {
    let [act, out, _] = push_apart(b, params, s, 0);
    (act, out)
}

/// The same with `gap` columns after v that no head has. Returns the input, the output and the log-sum-exp.
fn push_apart(b: &mut Builder, params: &mut ParamLayout, s: Shape, gap: usize) -> [Activation; 3] {
    let act = TestInput::input(b, params, s.cols() + gap);
    let [out, lse] = push_op(b, act, s);
    [act, out, lse]
}

/// The op over an input that there is.
fn push_op(b: &mut Builder, act: Activation, s: Shape) -> [Activation; 2] {
    let widths = s.widths();
    let view = |i: usize, head_stride| HeadView { act, offset: widths[..i].iter().sum(), head_stride };
    let (q, k, v) = (view(0, s.qk_dim), view(1, s.qk_dim), view(2, s.v_dim));
    let (out, lse) = (b.activation(s.heads * s.v_dim), b.activation(s.heads));
    let Shape { heads, kv_heads, qk_dim, v_dim } = s;
    b.push(Attention { q, k, v, out, lse, heads, kv_heads, qk_dim, v_dim, scale: 0.3, layer: 0 });
    [out, lse]
}

#[test]
fn gradients_and_bits() {
    for shape in SHAPES {
        for mut net in build(true, 21, |b, p| push(b, p, shape).1) {
            net.check_gradients(2e-3);
            net.check_bits();
        }
    }
}

impl Shape {
    /// Returns the columns of q, of k and of v.
    fn widths(self) -> [usize; 3] {
        [self.heads * self.qk_dim, self.kv_heads * self.qk_dim, self.kv_heads * self.v_dim]
    }
    fn cols(self) -> usize {
        self.widths().iter().sum()
    }
    fn spec(self) -> LayerSpec {
        LayerSpec { kv_heads: self.kv_heads, qk_dim: self.qk_dim, v_dim: self.v_dim }
    }
}

/// Attention in inference; its input is a parameter.
struct Infer {
    backend: Arc<dyn Backend>,
    weights: Box<dyn Weights>,
    executor: Box<dyn Executor>,
    input: Param,
    out: Activation,
    lse: Activation,
}

impl Infer {
    /// Builds it for at most `rows` rows, with random inputs.
    fn new(device: Device, rows: usize, shape: Shape, seed: u64) -> Infer {
        Infer::apart(device, rows, shape, seed, 0)
    }

    /// The same with `gap` columns between the rows.
    fn apart(device: Device, rows: usize, shape: Shape, seed: u64, gap: usize) -> Infer {
        let mut params = ParamLayout::default();
        let mut b = Builder::new(Mode { rows, train: false, recompute: false });
        let [_, out, lse] = push_apart(&mut b, &mut params, shape, gap);
        let backend = device.open().unwrap();
        let mut weights = backend.weights(Arc::new(params)).unwrap();
        let input = weights.layout().iter().next().unwrap().0;
        let mut rng = Rng::new(&[seed]);
        weights.update(input, &mut |w| w.iter_mut().for_each(|x| *x = rng.normal())).unwrap();
        let executor = backend.executor(b.finish()).unwrap();
        Infer { backend, weights, executor, input, out, lse }
    }

    fn cache(&self, shape: Shape, slots: usize, max_len: usize) -> KvCache {
        self.backend.kv_cache_with_slots(&[shape.spec()], slots, max_len).unwrap()
    }

    fn input(&self) -> Vec<f32> {
        self.weights.read(self.input).unwrap().into_owned()
    }

    /// Sets the input of the rows starting at `row`.
    fn set_input(&mut self, row: usize, ld: usize, values: &[f32]) {
        let copy = &mut |w: &mut [f32]| w[row * ld..][..values.len()].copy_from_slice(values);
        self.weights.update(self.input, copy).unwrap();
    }

    /// Returns the output of one pass.
    fn run(&mut self, batch: &Batch, cache: Option<&mut KvCache>) -> Vec<f32> {
        self.run_in(Precision::F32, batch, cache)
    }

    fn run_in(&mut self, precision: Precision, batch: &Batch, cache: Option<&mut KvCache>) -> Vec<f32> {
        self.executor.forward(&mut *self.weights, Pass::new(precision, batch), cache).unwrap();
        self.executor.values(self.out, batch.len()).unwrap()
    }
}

/// Attention from the definition, in f64.
fn plain(x: &[f32], n: usize, s: Shape) -> Vec<f64> {
    let ld = s.cols();
    let mut out = vec![];
    for i in 0..n {
        for h in 0..s.heads {
            let kv = h / (s.heads / s.kv_heads);
            let q = &x[i * ld + h * s.qk_dim..][..s.qk_dim];
            let score = |j: usize| {
                let k = &x[j * ld + s.heads * s.qk_dim + kv * s.qk_dim..][..s.qk_dim];
                (q.iter().zip(k).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>() * 0.3).exp()
            };
            let weights: Vec<f64> = (0..=i).map(score).collect();
            let total: f64 = weights.iter().sum();
            for c in 0..s.v_dim {
                let v = |j: usize| x[j * ld + (s.heads + s.kv_heads) * s.qk_dim + kv * s.v_dim + c] as f64;
                out.push((0..=i).map(|j| weights[j] / total * v(j)).sum());
            }
        }
    }
    out
}

/// Runs two sequences in one pass, then both from the cache in random chunks (or token by token, or the second one
/// later).
fn check_chunks(device: Device, shape: Shape, lens: [usize; 2]) {
    let mut infer = Infer::new(device, lens.iter().sum(), shape, 3);
    let x = infer.input();
    let mut batch = Batch::default();
    for n in lens {
        batch.push(&vec![0; n], 0, None);
    }
    let total = batch.len();
    let whole = infer.run(&batch, None);
    let (ld, cols) = (x.len() / total, whole.len() / total);
    let x = [&x[..lens[0] * ld], &x[lens[0] * ld..]];
    let whole = [&whole[..lens[0] * cols], &whole[lens[0] * cols..]];
    for (x, (whole, n)) in x.iter().zip(whole.iter().zip(lens)) {
        for (a, b) in whole.iter().zip(plain(x, n, shape)) {
            assert!((*a as f64 - b).abs() < 1e-5, "{a} {b}");
        }
    }
    for seed in 0..4 {
        let mut rng = Rng::new(&[seed]);
        let mut cache = infer.cache(shape, 3, lens[0]);
        // The contents left in the cache by an earlier sequence must not be read.
        let nan = vec![f32::NAN.to_bits(); cache.store().page_words()];
        (0..cache.table().pages()).for_each(|page| cache.store_mut().unwrap().write_page(page as u32, &nan).unwrap());
        let mut past = [0; 2];
        while past != lens {
            let count: [usize; 2] = std::array::from_fn(|s| {
                let left = lens[s] - past[s];
                if seed == 0 { left.min(1) } else { rng.below(40 * seed as usize).min(left) }
            });
            batch.clear();
            for s in [0, 1] {
                if count[s] > 0 {
                    let rows = batch.push(&vec![0; count[s]], past[s], Some(2 - s));
                    infer.set_input(rows.start, ld, &x[s][past[s] * ld..(past[s] + count[s]) * ld]);
                }
            }
            if batch.is_empty() {
                continue;
            }
            let threads = 1 + rng.below(3);
            let values = pool::with_threads(threads, || infer.run(&batch, Some(&mut cache)));
            for (segment, s) in batch.segments.iter().zip((0..2).filter(|&s| count[s] > 0)) {
                let expected = &whole[s][past[s] * cols..(past[s] + count[s]) * cols];
                let rows = segment.rows.start * cols..segment.rows.end * cols;
                assert!(values[rows] == *expected, "seed {seed}, sequence {s} at {}", past[s]);
            }
            (0..2).for_each(|s| past[s] += count[s]);
        }
    }
}

#[test]
fn equals_plain_attention_and_does_not_depend_on_chunks() {
    for (device, shape) in Device::all().into_iter().flat_map(|d| SHAPES.map(|shape| (d, shape))) {
        check_chunks(device, shape, [301, 40]);
    }
}

/// A prompt that is prefilled once and forked decodes as if it had been prefilled in place.
#[test]
fn forked_slots_decode_alike() {
    for device in Device::all() {
        let (n, shape) = (37, SHAPES[1]);
        let mut infer = Infer::new(device, n, shape, 8);
        let mut cache = infer.cache(shape, 3, 64);
        let mut batch = Batch::default();
        batch.push(&vec![0; n], 0, Some(1));
        infer.run(&batch, Some(&mut cache));
        cache.table_mut().fork(1, 0, n);
        cache.table_mut().fork(1, 2, n);
        let outputs: Vec<Vec<f32>> = (0..3)
            .map(|slot| {
                batch.clear();
                batch.push(&[0], n, Some(slot));
                infer.run(&batch, Some(&mut cache))
            })
            .collect();
        assert!(outputs[0] == outputs[1] && outputs[2] == outputs[1]);
    }
}

/// Caches with fewer bits: chunks change no bit, and the outputs equal those of f32 up to rounding.
#[test]
fn packed_caches_are_near_and_do_not_depend_on_chunks() {
    for (device, shape) in Device::all().into_iter().flat_map(|d| SHAPES.map(|shape| (d, shape))) {
        let n = 150;
        let mut infer = Infer::new(device, n, shape, 13);
        let x = infer.input();
        let ld = x.len() / n;
        let mut run = |kind: Option<KvType>, chunk: usize| {
            let new = |kind| infer.backend.kv_cache(&[shape.spec()], kind, 3).unwrap();
            let mut cache = kind.map(new);
            let slot = cache.as_mut().map(|cache| cache.table_mut().open());
            let mut result = Vec::new();
            for at in (0..n).step_by(chunk) {
                let end = n.min(at + chunk);
                infer.set_input(0, ld, &x[at * ld..end * ld]);
                let mut batch = Batch::default();
                batch.push(&vec![0; end - at], at, slot);
                result.extend(infer.run(&batch, cache.as_mut()));
            }
            result
        };
        let exact = run(None, n);
        assert!(run(Some(KvType::F32), 7) == exact);
        for (kind, tolerance) in [(KvType::Bf16, 0.03), (KvType::Q8_0, 0.08)] {
            let whole = run(Some(kind), n);
            let gap = whole.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap > 1e-4 && gap < tolerance, "{kind:?}: {gap}");
            for chunk in [1, 7, 64] {
                assert!(run(Some(kind), chunk) == whole, "{kind:?} in chunks of {chunk}");
            }
        }
    }
}

/// A cache of any type holds the same numbers on every device, so outputs agree as closely as in training.
#[test]
fn devices_agree_on_what_a_cache_holds() {
    let n = 90;
    for (kind, shape) in [KvType::F32, KvType::Bf16, KvType::Q8_0].into_iter().flat_map(|k| SHAPES.map(|s| (k, s))) {
        let outputs: Vec<Vec<f32>> = Device::all()
            .into_iter()
            .map(|device| {
                let mut infer = Infer::new(device, n, shape, 21);
                let mut cache = infer.backend.kv_cache(&[shape.spec()], kind, 2).unwrap();
                let slot = cache.table_mut().open();
                let mut batch = Batch::default();
                batch.push(&vec![0; n], 0, Some(slot));
                infer.run(&batch, Some(&mut cache))
            })
            .collect();
        for (a, b) in outputs.iter().flat_map(|other| outputs[0].iter().zip(other)) {
            assert!((a - b).abs() < 1e-5, "{kind:?}: {a} {b}");
        }
    }
}

/// More rows and more keys than one block of the backward pass.
#[test]
fn gradients_over_several_blocks() {
    for shape in [SHAPES[0], SHAPES[3]] {
        for mut net in build(true, 270, |b, p| push(b, p, shape).1) {
            net.check_gradients(4e-3);
        }
    }
}

/// Heads that tensor cores can take, of every size of their kernels, and heads that they cannot.
const BF16_SHAPES: [Shape; 7] = [
    Shape { heads: 6, kv_heads: 2, qk_dim: 16, v_dim: 32 },
    Shape { heads: 2, kv_heads: 1, qk_dim: 80, v_dim: 112 },
    Shape { heads: 3, kv_heads: 1, qk_dim: 64, v_dim: 64 },
    Shape { heads: 2, kv_heads: 1, qk_dim: 128, v_dim: 128 },
    Shape { heads: 2, kv_heads: 2, qk_dim: 192, v_dim: 128 },
    Shape { heads: 2, kv_heads: 1, qk_dim: 208, v_dim: 256 },
    Shape { heads: 3, kv_heads: 1, qk_dim: 24, v_dim: 20 },
];

/// Where activations are bf16, a cache of f32 or bf16 holds them unrounded: chunks and single tokens, on both sides of
/// the borders between blocks of keys, have the bits of a pass without a cache; so do sequences that share pages.
#[test]
fn bf16_activations_are_cached_unrounded() {
    let rounds = |device: &Device| matches!(device, Device::Cuda(_));
    let devices = Device::all().into_iter().filter(rounds);
    for (device, shape) in devices.flat_map(|d| BF16_SHAPES.map(|shape| (d, shape))) {
        let (n, prompt) = (130, 70);
        let mut infer = Infer::new(device, n, shape, 5);
        let x = infer.input();
        let ld = x.len() / n;
        let mut batch = Batch::default();
        batch.push(&vec![0; n], 0, None);
        let whole = infer.run_in(Precision::Bf16, &batch, None);
        let cols = whole.len() / n;
        for (kind, chunk) in [KvType::F32, KvType::Bf16].into_iter().flat_map(|k| [1, 63, 70].map(|c| (k, c))) {
            let mut cache = infer.backend.kv_cache(&[shape.spec()], kind, 5).unwrap();
            let slots = [0; 2].map(|_| cache.table_mut().open());
            let mut at = 0;
            while at < n {
                if at == prompt {
                    cache.table_mut().fork(slots[0], slots[1], prompt);
                }
                let end = (at + chunk).min(n).min(if at < prompt { prompt } else { n });
                let sequences = if at < prompt { &slots[..1] } else { &slots[..] };
                batch.clear();
                for &slot in sequences {
                    let rows = batch.push(&vec![0; end - at], at, Some(slot));
                    infer.set_input(rows.start, ld, &x[at * ld..end * ld]);
                }
                let values = infer.run_in(Precision::Bf16, &batch, Some(&mut cache));
                for values in values.chunks_exact((end - at) * cols) {
                    assert!(values == &whole[at * cols..end * cols], "{kind:?} in chunks of {chunk}: {at}..{end}");
                }
                at = end;
            }
        }
    }
}

/// Gradients on tensor cores, over several tiles of queries and of keys.
#[test]
fn bf16_gradients_agree() {
    for shape in BF16_SHAPES {
        check_agreement(build(true, 150, |b, p| push(b, p, shape).1), Precision::Bf16, 1e-3);
    }
}

/// Widths that have kernels of their own on some cards, where heads are aligned.
const ALIGNED_SHAPES: [Shape; 3] = [
    Shape { heads: 6, kv_heads: 2, qk_dim: 64, v_dim: 64 },
    Shape { heads: 4, kv_heads: 1, qk_dim: 128, v_dim: 128 },
    Shape { heads: 2, kv_heads: 2, qk_dim: 192, v_dim: 128 },
];

/// Where the heads lie, which decides about the kernel, changes no bit of the output and of the log-sum-exp: sequences
/// that end on both sides of the borders between blocks of keys and between tiles of queries.
#[test]
fn the_place_of_heads_changes_no_bit() {
    let lens = [200, 1, 63, 64, 65, 130, 128, 330];
    for (device, shape) in Device::all().into_iter().flat_map(|d| ALIGNED_SHAPES.map(|shape| (d, shape))) {
        let rows: usize = lens.iter().sum();
        let cols = shape.cols();
        let mut rng = Rng::new(&[17]);
        let x: Vec<f32> = (0..rows * cols).map(|_| 2.0 * rng.normal()).collect();
        let run = |gap: usize, precision: Precision, lens: &[usize]| {
            let mut infer = Infer::apart(device, rows, shape, 1, gap);
            for (row, values) in x.chunks_exact(cols).enumerate() {
                infer.set_input(row, cols + gap, values);
            }
            let mut batch = Batch::default();
            for &n in lens {
                batch.push(&vec![0; n], 0, None);
            }
            let out = infer.run_in(precision, &batch, None);
            let lse = infer.executor.values(infer.lse, batch.len()).unwrap();
            [out, lse].map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>())
        };
        for lens in [&lens[..], &lens[..1]] {
            let [near, apart] = [0, 4].map(|gap| run(gap, Precision::Bf16, lens));
            assert!(near == apart, "{device}, {} columns, {} sequences", shape.qk_dim, lens.len());
        }
    }
}

/// A sequence whose numbers are not finite spoils no other one.
#[test]
fn sequences_do_not_touch() {
    for (device, shape) in Device::all().into_iter().flat_map(|d| ALIGNED_SHAPES.map(|shape| (d, shape))) {
        let lens = [70, 150, 20, 130];
        let rows: usize = lens.iter().sum();
        let mut infer = Infer::new(device, rows, shape, 4);
        let mut batch = Batch::default();
        for n in lens {
            batch.push(&vec![0; n], 0, None);
        }
        let before = infer.run_in(Precision::Bf16, &batch, None);
        let (ld, cols) = (infer.input().len() / rows, before.len() / rows);
        for (s, value) in [(1, f32::NAN), (3, f32::INFINITY)] {
            let segment = batch.segments[s].rows.clone();
            infer.set_input(segment.start, ld, &vec![value; segment.len() * ld]);
        }
        let after = infer.run_in(Precision::Bf16, &batch, None);
        for s in [0, 2] {
            let rows = batch.segments[s].rows.clone();
            let range = rows.start * cols..rows.end * cols;
            assert!(before[range.clone()] == after[range], "{device}, {} columns: sequence {s}", shape.qk_dim);
        }
    }
}

/// Returns the gradients of the input `x` in bf16, whose rows lie `gap` columns apart. `ops` ops attend to it: the last
/// one writes its gradients, the others add to them. A further op attends to the output of the first one, so that the
/// gradients of outputs are not finite where inputs are not.
fn gradients(device: Device, shape: Shape, ops: u64, gap: usize, lens: &[usize], x: &[f32]) -> Vec<f32> {
    let (cols, rows) = (shape.cols(), x.len() / shape.cols());
    let mode = Mode { rows, train: true, recompute: false };
    let mut net = Net::new(device, mode, &|b, p| {
        let [act, out, _] = push_apart(b, p, shape, gap);
        for seed in 1..ops {
            let [x, _] = push_op(b, act, shape);
            b.push(WeightedSum { x, seed });
        }
        let [out, _] = push_op(b, out, Shape { heads: 1, kv_heads: 1, qk_dim: 16, v_dim: 16 });
        Some(out)
    });
    net.update(net.inputs[0], |w| {
        w.chunks_exact_mut(cols + gap).zip(x.chunks_exact(cols)).for_each(|(to, x)| to[..cols].copy_from_slice(x));
    });
    net.batch.clear();
    for &n in lens {
        net.batch.push_training(&vec![0; n], |_| 1.0);
    }
    let (_, grads) = net.step(Precision::Bf16);
    grads.chunks_exact(cols + gap).flat_map(|row| row[..cols].to_vec()).collect()
}

/// Where the heads lie, which decides about the kernel, changes no bit of the gradients of queries, nor of keys and
/// values whose head has one query head. Others are sums in another order.
#[test]
fn the_place_of_heads_hardly_changes_gradients() {
    let heads = |heads| ALIGNED_SHAPES.map(|shape| Shape { heads, kv_heads: 1, ..shape });
    let cards = || Device::all().into_iter().filter(|device| matches!(device, Device::Cuda(_)));
    for (device, shape) in [heads(2), heads(1)].concat().into_iter().flat_map(|s| cards().map(move |d| (d, s))) {
        // The keys of a long sequence fill the ring of blocks twice.
        let (ops, lens): (u64, &[usize]) = if shape.heads == 1 { (1, &[450, 1]) } else { (2, &[3, 200, 1, 65, 130]) };
        let mut rng = Rng::new(&[19]);
        let rows: usize = lens.iter().sum();
        let x: Vec<f32> = (0..rows * shape.cols()).map(|_| rng.normal()).collect();
        let [near, apart] = [0, 4].map(|gap| gradients(device, shape, ops, gap, lens, &x));
        let largest = apart.iter().fold(0f32, |most, g| most.max(g.abs()));
        let exact = if shape.heads == 1 { shape.cols() } else { shape.widths()[0] };
        for (i, (a, b)) in near.iter().zip(&apart).enumerate() {
            let (row, col) = (i / shape.cols(), i % shape.cols());
            let tolerance = if col < exact { 0.0 } else { 1e-2 * largest };
            assert!((a - b).abs() <= tolerance, "{device}, {} columns, row {row}, column {col}: {a} {b}", shape.qk_dim);
        }
    }
}

/// The gradients of a sequence have the same bits whatever the others hold, also what is not finite, and however many
/// there are.
#[test]
fn gradients_of_sequences_do_not_touch() {
    for (device, shape) in Device::all().into_iter().flat_map(|d| ALIGNED_SHAPES.map(|shape| (d, shape))) {
        let lens = [70, 150, 20, 130];
        let (rows, cols) = (lens.iter().sum::<usize>(), shape.cols());
        let mut rng = Rng::new(&[23]);
        let mut x: Vec<f32> = (0..rows * cols).map(|_| rng.normal()).collect();
        let before = gradients(device, shape, 1, 0, &lens, &x);
        x[70 * cols..220 * cols].fill(f32::NAN);
        x[240 * cols..].fill(f32::INFINITY);
        for lens in [&lens[..], &[70, 149, 1, 20, 60]] {
            let after = gradients(device, shape, 1, 0, lens, &x);
            for (first, n) in [(0, 70), (220, 20)] {
                let range = first * cols..(first + n) * cols;
                assert!(before[range.clone()] == after[range], "{device}, {} columns: row {first}", shape.qk_dim);
            }
        }
    }
}
