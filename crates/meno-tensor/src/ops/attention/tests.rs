use super::*;
use crate::batch::Batch;
use crate::check::{Probe, build};
use crate::gemm::Precision;
use crate::kv_cache::{KvCache, KvType, LayerSpec};
use crate::params::Params;
use crate::rng::Rng;
use crate::tape::{Builder, CrossEntropy, Mode, Tape};

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

/// q, k, v side by side in one activation, as a fused projection writes them.
fn push(b: &mut Builder, params: &mut Params, s: Shape) -> (Act, Act) {
    let widths = [s.heads * s.qk_dim, s.kv_heads * s.qk_dim, s.kv_heads * s.v_dim];
    let act = Probe::input(b, params, widths.iter().sum());
    let view = |i: usize, head_stride| HeadView { act, offset: widths[..i].iter().sum(), head_stride };
    let (q, k, v) = (view(0, s.qk_dim), view(1, s.qk_dim), view(2, s.v_dim));
    let (out, lse) = (b.act(s.heads * s.v_dim), b.act(s.heads));
    let Shape { heads, kv_heads, qk_dim, v_dim } = s;
    b.push(Attention { q, k, v, out, lse, heads, kv_heads, qk_dim, v_dim, scale: 0.3, layer: 0 });
    (act, out)
}

#[test]
fn gradients_and_bits() {
    for shape in SHAPES {
        let mut net = build(true, 21, |b, p| push(b, p, shape).1);
        net.check_gradients(2e-3);
        net.check_bits();
    }
}

fn infer(rows: usize, shape: Shape) -> (Params, Tape, Act, Act) {
    let mut params = Params::default();
    let mut b = Builder::new(Mode { rows, train: false, recompute: false });
    let (input, out) = push(&mut b, &mut params, shape);
    params.allocate();
    (params, b.finish(), input, out)
}

/// Plain attention in f64.
fn plain(x: &[f32], n: usize, s: Shape) -> Vec<f64> {
    let ld = s.heads * s.qk_dim + s.kv_heads * (s.qk_dim + s.v_dim);
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

/// Two sequences in one pass; both in random chunks (or token by token, or the second late) from the cache.
#[test]
fn equals_plain_attention_and_does_not_depend_on_chunks() {
    let lens = [301, 40];
    for shape in SHAPES {
        let (mut params, mut tape, _, out) = infer(lens.iter().sum(), shape);
        let mut rng = Rng::new(&[3]);
        params.data_mut().iter_mut().for_each(|x| *x = rng.normal());
        let input = params.iter().next().unwrap().0;
        let x = params.get(input).to_vec();
        let loss = CrossEntropy { head_scale: [1.0, 0.0] };
        let mut batch = Batch::default();
        for n in lens {
            batch.push(&vec![0; n], 0, None);
        }
        tape.forward(&mut params, Precision::F32, &batch, &loss, None);
        let total = batch.len();
        let whole = tape.values(out, total).to_vec();
        let (ld, cols) = (x.len() / total, whole.len() / total);
        let x = [&x[..lens[0] * ld], &x[lens[0] * ld..]];
        let whole = [&whole[..lens[0] * cols], &whole[lens[0] * cols..]];
        for (x, (whole, n)) in x.iter().zip(whole.iter().zip(lens)) {
            for (a, b) in whole.iter().zip(plain(x, n, shape)) {
                assert!((*a as f64 - b).abs() < 1e-5, "{a} {b}");
            }
        }
        let spec = LayerSpec { kv_heads: shape.kv_heads, qk_dim: shape.qk_dim, v_dim: shape.v_dim };
        for seed in 0..4 {
            let mut rng = Rng::new(&[seed]);
            let mut cache = KvCache::new(&[spec], 3, lens[0]);
            // What an earlier sequence left in the cache must not be seen.
            cache.layers[0].keys.fill(f32::NAN);
            cache.layers[0].values.fill(f32::NAN);
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
                        let new = &x[s][past[s] * ld..(past[s] + count[s]) * ld];
                        params.get_mut(input)[rows.start * ld..rows.end * ld].copy_from_slice(new);
                    }
                }
                if batch.is_empty() {
                    continue;
                }
                let threads = 1 + rng.below(3);
                pool::with_threads(threads, || {
                    tape.forward(&mut params, Precision::F32, &batch, &loss, Some(&mut cache))
                });
                let values = tape.values(out, batch.len());
                for (segment, s) in batch.segments.iter().zip((0..2).filter(|&s| count[s] > 0)) {
                    let expected = &whole[s][past[s] * cols..(past[s] + count[s]) * cols];
                    let rows = segment.rows.start * cols..segment.rows.end * cols;
                    assert!(values[rows] == *expected, "seed {seed}, sequence {s} at {}", past[s]);
                }
                (0..2).for_each(|s| past[s] += count[s]);
            }
        }
    }
}

/// A prompt prefilled once and forked decodes as if it had been prefilled in place.
#[test]
fn forked_places_decode_alike() {
    let (n, shape) = (37, SHAPES[1]);
    let spec = LayerSpec { kv_heads: shape.kv_heads, qk_dim: shape.qk_dim, v_dim: shape.v_dim };
    let (mut params, mut tape, _, out) = infer(n, shape);
    let mut rng = Rng::new(&[8]);
    params.data_mut().iter_mut().for_each(|x| *x = rng.normal());
    let loss = CrossEntropy { head_scale: [1.0, 0.0] };
    let mut cache = KvCache::new(&[spec], 3, 64);
    let mut batch = Batch::default();
    batch.push(&vec![0; n], 0, Some(1));
    tape.forward(&mut params, Precision::F32, &batch, &loss, Some(&mut cache));
    cache.fork(1, 0, n);
    cache.fork(1, 2, n);
    let outputs: Vec<Vec<f32>> = (0..3)
        .map(|slot| {
            batch.clear();
            batch.push(&[0], n, Some(slot));
            tape.forward(&mut params, Precision::F32, &batch, &loss, Some(&mut cache));
            tape.values(out, 1).to_vec()
        })
        .collect();
    assert!(outputs[0] == outputs[1] && outputs[2] == outputs[1]);
}

/// Caches of fewer bits: chunks change no bit, and the outputs are f32's up to the rounding.
#[test]
fn packed_caches_are_near_and_do_not_depend_on_chunks() {
    let n = 150;
    for shape in SHAPES {
        let (mut params, mut tape, _, out) = infer(n, shape);
        let mut rng = Rng::new(&[13]);
        params.data_mut().iter_mut().for_each(|x| *x = rng.normal());
        let input = params.iter().next().unwrap().0;
        let x = params.get(input).to_vec();
        let ld = x.len() / n;
        let loss = CrossEntropy { head_scale: [1.0, 0.0] };
        let mut run = |kind: Option<KvType>, chunk: usize| {
            let spec = LayerSpec { kv_heads: shape.kv_heads, qk_dim: shape.qk_dim, v_dim: shape.v_dim };
            let mut cache = kind.map(|kind| KvCache::with_pages(&[spec], kind, 3));
            let place = cache.as_mut().map(KvCache::open);
            let mut result = Vec::new();
            for at in (0..n).step_by(chunk) {
                let end = n.min(at + chunk);
                params.get_mut(input)[..(end - at) * ld].copy_from_slice(&x[at * ld..end * ld]);
                let mut batch = Batch::default();
                batch.push(&vec![0; end - at], at, place);
                tape.forward(&mut params, Precision::F32, &batch, &loss, cache.as_mut());
                result.extend_from_slice(tape.values(out, end - at));
            }
            result
        };
        let exact = run(None, n);
        assert!(run(Some(KvType::F32), 7) == exact);
        for (kind, tolerance) in [(KvType::Bf16, 0.03), (KvType::Q8_0, 0.08)] {
            let whole = run(Some(kind), n);
            let gap = whole.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{kind:?} {} x {}: {gap}", shape.qk_dim, shape.v_dim);
            assert!(gap > 1e-4 && gap < tolerance, "{kind:?}: {gap}");
            for chunk in [1, 7, 64] {
                assert!(run(Some(kind), chunk) == whole, "{kind:?} in chunks of {chunk}");
            }
        }
    }
}

/// More rows than a block of backward has, more keys too.
#[test]
fn gradients_over_several_blocks() {
    for shape in [SHAPES[0], SHAPES[3]] {
        let mut net = build(true, 270, |b, p| push(b, p, shape).1);
        net.check_gradients(4e-3);
    }
}
