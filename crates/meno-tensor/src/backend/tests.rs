//! Tests of what every device provides apart from ops: weights, buffers, optimizers, pages, the log-softmax of a row.

use super::*;
use crate::ops::embedding::Embedding;
use crate::ops::linear::Linear;
use crate::optim::{CUT, OptimizerKind, divide};
use crate::pool;
use crate::quant::encode;
use crate::rng::Rng;
use crate::tape::PAGE;
use crate::testing::{TestInput, VOCAB, all, build};

fn devices() -> impl Iterator<Item = Arc<dyn Backend>> {
    Device::all().into_iter().map(|device| device.open().unwrap())
}

/// An embedding, a norm, two matrices and a frozen bias with random values, the same on every device.
fn weights(backend: &dyn Backend) -> Box<dyn Weights> {
    weights_with(backend, 901) // more than a device updates at once
}

/// Like [`weights`], with an embedding of `tokens` rows.
fn weights_with(backend: &dyn Backend, tokens: usize) -> Box<dyn Weights> {
    let mut p = ParamLayout::default();
    p.declare("model.embed_tokens.weight", &[tokens, 6]);
    p.declare("norm.weight", &[6]);
    p.declare("a.weight", &[12, 6]);
    p.declare("b.weight", &[5, 7]);
    let frozen = p.declare("mlp.gate.e_score_correction_bias", &[4]);
    p.freeze(frozen);
    let mut weights = backend.weights(Arc::new(p)).unwrap();
    let mut rng = Rng::new(&[1]);
    for (p, _) in weights.layout().clone().iter() {
        weights.update(p, &mut |w| w.iter_mut().for_each(|x| *x = rng.normal())).unwrap();
    }
    weights
}

/// All values, padding included.
fn values(weights: &dyn Weights) -> Vec<f32> {
    weights.read_all().unwrap().into_owned()
}

/// Gradient of ½ Σ (w − 1)²: training drives the weights to 1.
fn grads(backend: &dyn Backend, weights: &dyn Weights) -> Box<dyn Buffer> {
    let mut grads = backend.buffer(weights.layout().total()).unwrap();
    for (p, info) in weights.layout().iter() {
        let w = weights.read(p).unwrap();
        grads.update(info.range(), &mut |g| g.iter_mut().zip(&*w).for_each(|(g, w)| *g = w - 1.0)).unwrap();
    }
    grads
}

/// Random gradients, the same on every device.
fn random_grads(backend: &dyn Backend, layout: &ParamLayout, seed: u64) -> Box<dyn Buffer> {
    let (mut grads, mut rng) = (backend.buffer(layout.total()).unwrap(), Rng::new(&[seed, 8]));
    for (_, info) in layout.iter() {
        grads.update(info.range(), &mut |g| g.iter_mut().for_each(|g| *g = rng.normal())).unwrap();
    }
    grads
}

/// Asserts that all results are within `tolerance` of the first, relative to its largest value.
fn assert_close(results: &[Vec<f32>], tolerance: f32) {
    let scale = results[0].iter().fold(0f32, |m, x| m.max(x.abs()));
    for other in &results[1..] {
        assert_eq!(other.len(), results[0].len());
        for (a, b) in results[0].iter().zip(other) {
            assert!((a - b).abs() <= tolerance * scale, "{a} and {b}, the largest is {scale}");
        }
    }
}

#[test]
fn both_optimizers_descend_and_leave_frozen_parameters_and_no_gradient() {
    for (backend, kind) in devices().flat_map(|b| [(b.clone(), OptimizerKind::AdamW), (b, OptimizerKind::Muon)]) {
        let mut w = weights(&*backend);
        let config = OptimizerConfig { kind, weight_decay: 0.0, ..Default::default() };
        let mut optimizer = backend.optimizer(config, w.layout(), &w.layout().whole()).unwrap();
        let frozen = w.layout().find("mlp.gate.e_score_correction_bias").unwrap();
        let before = w.read(frozen).unwrap().to_vec();
        let norm = |w: &dyn Weights| backend.gradient_norm(w.layout(), &*grads(&*backend, w)).unwrap();
        let start = norm(&*w);
        for step in 0..400 {
            let mut g = grads(&*backend, &*w);
            optimizer.step(&mut *w, &mut *g, 0.1 * (1.0 - step as f32 / 400.0), 1.0).unwrap();
            assert!(all(&*g).iter().all(|&g| g == 0.0));
        }
        assert!(norm(&*w) < 0.05 * start, "{backend:?}, {kind:?}: {} of {start}", norm(&*w));
        assert_eq!(*w.read(frozen).unwrap(), before);
    }
}

#[test]
fn restoring_continues_with_the_same_bits_on_any_number_of_threads() {
    for (backend, kind) in devices().flat_map(|b| [(b.clone(), OptimizerKind::AdamW), (b, OptimizerKind::Muon)]) {
        let config = OptimizerConfig { kind, ..Default::default() };
        let run = |threads: usize, restore_at: usize| {
            pool::with_threads(threads, || {
                let mut w = weights(&*backend);
                let mut current = backend.optimizer(config, w.layout(), &w.layout().whole()).unwrap();
                for step in 0..6 {
                    if step == restore_at {
                        let mut fresh = backend.optimizer(config, w.layout(), &w.layout().whole()).unwrap();
                        let moments = current.state().map(|(_, m)| all(m));
                        fresh.restore(current.steps(), [&moments[0], &moments[1]]).unwrap();
                        current = fresh;
                    }
                    let mut g = grads(&*backend, &*w);
                    current.step(&mut *w, &mut *g, 0.02, 0.7).unwrap();
                }
                values(&*w)
            })
        };
        let expected = run(1, 99);
        assert_eq!(expected, run(3, 99));
        assert_eq!(expected, run(1, 3));
    }
}

#[test]
fn parts_of_an_optimizer_take_the_step_of_the_whole() {
    for (backend, kind) in devices().flat_map(|b| [(b.clone(), OptimizerKind::AdamW), (b, OptimizerKind::Muon)]) {
        let config = OptimizerConfig { kind, ..Default::default() };
        let run = |parts: usize| {
            let mut w = weights_with(&*backend, CUT / 6 + 1000);
            let layout = w.layout().clone();
            let owned = divide(&config, &layout, &w.layout().whole(), parts);
            let mut optimizers: Vec<_> =
                owned.iter().map(|owned| backend.optimizer(config, &layout, owned).unwrap()).collect();
            let mut norms = Vec::new();
            for step in 0..3 {
                let g = random_grads(&*backend, &layout, step);
                let mut squares = Vec::new();
                for range in owned.iter().flatten() {
                    backend.gradient_squares(&layout, &*g, range.clone(), &mut squares).unwrap();
                }
                norms.push(squares);
                for optimizer in &mut optimizers {
                    let mut g = random_grads(&*backend, &layout, step);
                    optimizer.step(&mut *w, &mut *g, 0.05, 0.7).unwrap();
                    assert!(all(&*g).iter().all(|&g| g == 0.0));
                }
            }
            let moments = |i: usize| optimizers.iter().flat_map(|o| all(o.state()[i].1)).collect::<Vec<_>>();
            (values(&*w), norms, moments(0), moments(1))
        };
        let expected = run(1);
        for parts in [2, 3] {
            assert!(run(parts) == expected, "{backend:?}, {kind:?}, {parts} parts");
        }
    }
}

#[test]
fn buffers_add_and_become_zero() {
    for backend in devices() {
        let n = 100_003;
        let [mut a, mut b] = [(); 2].map(|_| backend.buffer(n).unwrap());
        a.update(0..n, &mut |v| v.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32)).unwrap();
        b.update(0..n, &mut |v| v.iter_mut().enumerate().for_each(|(i, v)| *v = 0.5 - i as f32 / 3.0)).unwrap();
        a.add(&*b).unwrap();
        assert!(all(&*a).iter().enumerate().all(|(i, &v)| v == i as f32 + (0.5 - i as f32 / 3.0)), "{backend:?}");
        a.zero().unwrap();
        assert!(all(&*a).iter().all(|&v| v == 0.0));
    }
}

#[test]
fn state_of_another_network_is_refused() {
    for backend in devices() {
        let w = weights(&*backend);
        let mut optimizer = backend.optimizer(OptimizerConfig::default(), w.layout(), &w.layout().whole()).unwrap();
        let error = optimizer.restore(1, [&[0.0; 3], &vec![0.0; w.layout().total()]]).unwrap_err();
        assert!(error.to_string().contains("exp_avg"), "{error}");
    }
}

/// AdamW's update is one chain of f32 operations per value. Muon's five iterations amplify a rounding error in small
/// singular values by up to 3.4⁵ ≈ 500.
#[test]
fn optimizer_steps_agree() {
    for (kind, tolerance) in [(OptimizerKind::AdamW, 1e-6), (OptimizerKind::Muon, 1e-5)] {
        let [mut all_values, mut first, mut second] = [(); 3].map(|_| Vec::new());
        for backend in devices() {
            let mut w = weights(&*backend);
            let config = OptimizerConfig { kind, ..Default::default() };
            let mut optimizer = backend.optimizer(config, w.layout(), &w.layout().whole()).unwrap();
            for step in 0..5 {
                let mut g = random_grads(&*backend, w.layout(), step);
                optimizer.step(&mut *w, &mut *g, 0.05, 0.7).unwrap();
            }
            assert_eq!(optimizer.steps(), 5);
            all_values.push(values(&*w));
            let [(_, m), (_, v)] = optimizer.state();
            first.push(all(m));
            second.push(all(v));
        }
        assert_close(&all_values, tolerance);
        assert_close(&first, 1e-6);
        assert_close(&second, 1e-6);
    }
}

/// Both sums are in f64 and differ only in their order.
#[test]
fn gradient_norms_agree() {
    let norms: Vec<f64> = devices()
        .map(|backend| {
            let w = weights(&*backend);
            backend.gradient_norm(w.layout(), &*random_grads(&*backend, w.layout(), 0)).unwrap()
        })
        .collect();
    assert!(norms.iter().all(|norm| (norm - norms[0]).abs() <= 1e-12 * norms[0]), "{norms:?}");
}

#[test]
fn copies_of_the_weights_agree() {
    let mut mixed = Vec::new();
    for backend in devices() {
        let mut w = weights(&*backend);
        let before = values(&*w);
        assert_eq!(before.len(), w.layout().total());
        for (p, info) in w.layout().iter() {
            assert_eq!(*w.read(p).unwrap(), before[info.range()], "{}", info.name);
        }
        let mut copy = backend.buffer(w.layout().total()).unwrap();
        assert!(all(&*copy).iter().all(|&x| x == 0.0) && !copy.is_empty());
        w.snapshot(&mut *copy).unwrap();
        assert_eq!(all(&*copy), before);
        let p = w.layout().find("a.weight").unwrap();
        let range = w.layout().info(p).range();
        w.update(p, &mut |w| w.iter_mut().for_each(|x| *x += 1.0)).unwrap();
        copy.mix(&*w, 0.3).unwrap();
        mixed.push(all(&*copy));
        w.swap(&mut *copy).unwrap();
        assert_eq!(values(&*w), mixed[mixed.len() - 1]);
        assert_eq!(copy.read(range.clone()).unwrap()[0], before[range.start] + 1.0);
        // At rate 1 the copy equals the weights, whatever it held before.
        copy.update(0..1, &mut |x| x[0] = f32::NAN).unwrap();
        copy.mix(&*w, 1.0).unwrap();
        assert_eq!(all(&*copy), values(&*w));
    }
    // Two products and a sum in f32.
    assert_close(&mixed, 3e-7);
}

/// A layer with one weight.
#[derive(Clone, Copy, PartialEq)]
enum Layer {
    Embedding,
    NextEmbedding,
    Linear,
}

/// A network of one layer with a quantized weight.
fn quantized(dtype: GgmlType, layer: Layer) -> Vec<(Vec<f32>, Vec<f32>)> {
    let (rows, cols) = (VOCAB, 512);
    let mut rng = Rng::new(&[dtype as u64]);
    let plain: Vec<f32> = (0..rows * cols).map(|_| rng.normal()).collect();
    let mut blocks = vec![0; encode::bytes(dtype, plain.len())];
    encode::quantize(dtype, &plain, &mut blocks);
    let nets = build(false, 9, |b, p| {
        let x = (layer == Layer::Linear).then(|| TestInput::input(b, p, cols));
        let weight = p.declare("w", &[rows, cols]);
        p.mark_linear(weight);
        p.set_storage(&[weight], Storage::Blocks);
        match x {
            None if layer == Layer::NextEmbedding => Embedding::push_next(b, p, weight),
            None => Embedding::push(b, p, weight),
            Some(x) => Linear::push(b, p, x, weight, None, None),
        }
    });
    let run = |mut net: crate::testing::Net| {
        let weight = net.weights.layout().find("w").unwrap();
        net.weights.write_quantized(weight, dtype, &blocks, &|row| rows - 1 - row).unwrap();
        assert!(net.weights.quantized_bytes() >= blocks.len());
        // A device may round x to 8 bits for a product with a quantized matrix, but not further.
        (net.output(), net.batch.tokens.iter().map(|&t| t as f32).collect())
    };
    nets.into_iter().map(run).collect()
}

#[test]
fn quantized_weights_agree() {
    use GgmlType::*;
    for dtype in [Q4_0, Q5_0, Q8_0, Q4_K, Q6_K, Iq4_XS] {
        for layer in [Layer::Embedding, Layer::NextEmbedding] {
            let results = quantized(dtype, layer);
            assert!(results.iter().all(|r| *r == results[0]), "{dtype:?}: rows have the file's bits");
        }
        let outputs: Vec<Vec<f32>> = quantized(dtype, Layer::Linear).into_iter().map(|(y, _)| y).collect();
        // Rounding x to 8 bits under a scale has an error of up to 1/254 of the largest x; the sum over k averages it.
        assert_close(&outputs, 1e-2);
    }
}

#[test]
fn pages_are_read_as_written_and_copied() {
    let spec = LayerSpec { kv_heads: 2, qk_dim: 48, v_dim: 32 };
    let other = LayerSpec { kv_heads: 1, qk_dim: 32, v_dim: 64 };
    for (backend, kind) in devices().flat_map(|b| [KvType::F32, KvType::Bf16, KvType::Q8_0].map(|k| (b.clone(), k))) {
        let mut store = backend.kv_store(&[spec, other], kind, 3).unwrap();
        assert_eq!((store.layers(), store.kv_type()), (&[spec, other][..], kind));
        let words: Vec<u32> = (0..store.page_words() as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
        assert!(words.len() * 4 >= PAGE * (2 * (48 + 32) + 32 + 64), "a page holds a byte for every number");
        store.write_page(2, &words).unwrap();
        store.copy_page(2, 0).unwrap();
        for (page, expected) in [(0, words.clone()), (1, vec![0; words.len()]), (2, words.clone())] {
            let mut read = Vec::new();
            store.read_page(page, &mut |piece| read.extend_from_slice(piece)).unwrap();
            assert!(read == expected, "{backend:?}, {kind:?}: page {page}");
        }
        assert_eq!(store.bytes(), 3 * store.page_words() * size_of::<u32>());
        if backend.device() != Device::Reference {
            assert_eq!(store.bytes(), 3 * (spec.page_bytes(kind) + other.page_bytes(kind)), "{backend:?}, {kind:?}");
        }
    }
}

#[test]
fn the_log_softmax_of_a_row_is_that_of_f64() {
    for (backend, n) in devices().flat_map(|b| [1, 7, 513].map(|n| (b.clone(), n))) {
        let (temperature, mut rng) = (0.6, Rng::new(&[n as u64]));
        let logits: Vec<f32> = (0..n).map(|_| 5.0 * rng.normal()).collect();
        let mut exps = logits.clone();
        let row = backend.log_softmax(&mut exps, 1.0 / temperature);
        assert_eq!(row, backend.normalizer(&logits, 1.0 / temperature));
        let z: Vec<f64> = logits.iter().map(|&x| x as f64 / temperature as f64).collect();
        let log_sum = z.iter().map(|z| z.exp()).sum::<f64>().ln();
        let entropy: f64 = z.iter().map(|z| -(z - log_sum) * (z - log_sum).exp()).sum();
        assert!((row.entropy as f64 - entropy).abs() < 1e-5, "{backend:?}: {} {entropy}", row.entropy);
        for (i, z) in z.iter().enumerate() {
            assert!((row.logprob(logits[i]) as f64 - (z - log_sum)).abs() < 2e-6 * (1.0 + z.abs()));
            assert!((row.prob(exps[i]) as f64 - (z - log_sum).exp()).abs() < 2e-6);
        }
    }
}
