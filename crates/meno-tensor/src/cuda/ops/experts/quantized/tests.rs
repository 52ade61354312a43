//! Experts in blocks against experts whose matrices are dense: the same bits.

use super::*;
use crate::device::Device;
use crate::ops::dispatch::Dispatch;
use crate::ops::router::{Gate, Router, Scoring, TopkMethod};
use crate::precision::Precision;
use crate::quant::GgmlType::{self, *};
use crate::quant::{dequant, encode};
use crate::rng::Rng;
use crate::tape::{Mode, Storage};
use crate::testing::{Net, TestInput};
use half::bf16;
use std::cell::Cell;

/// Experts of a test: the types of gate, up and down, and sizes.
struct Case {
    types: [GgmlType; 3],
    hidden: usize,
    width: usize,
    /// The rows of each expert.
    rows: &'static [usize],
}

const FEW: &[usize] = &[9, 0, 17, 1];

impl Case {
    const fn new(types: [GgmlType; 3], [hidden, width]: [usize; 2], rows: &'static [usize]) -> Case {
        Case { types, hidden, width, rows }
    }

    /// Returns the bits of the experts' outputs for a row of each token, with the matrices stored so.
    fn run(&self, device: Device, storage: Storage, precision: Precision) -> Vec<u32> {
        let (experts, tokens) = (self.rows.len(), self.rows.iter().sum());
        let y = Cell::new(None);
        let mut net = Net::new(device, Mode { rows: tokens, train: false, recompute: false }, &|b, p| {
            let x = TestInput::input(b, p, self.hidden);
            let router = p.declare("router", &[experts, self.hidden]);
            let routes = Router::push(b, p, x, router, None, gate(experts));
            let sorted = Dispatch::push(b, x, routes, experts);
            let (wide, narrow) = ([self.width, self.hidden], [self.hidden, self.width]);
            let all = (0..experts).map(|e| {
                let [gate, up, down] = [("gate", wide), ("up", wide), ("down", narrow)].map(|(name, shape)| {
                    let matrix = p.declare(format!("mlp.experts.{e}.{name}"), &shape);
                    p.mark_linear(matrix);
                    p.set_storage(&[matrix], storage);
                    matrix
                });
                Expert { gate, up, down }
            });
            let all = all.collect();
            y.set(Some(Experts::push(b, p, sorted, all)));
            y.get()
        });
        self.route(&mut net);
        for (p, info) in net.weights.layout().clone().iter().filter(|(_, info)| info.name.contains("experts")) {
            let kind = ["gate", "up", "down"].iter().position(|kind| info.name.ends_with(kind)).unwrap();
            let (dtype, mut rng) = (self.types[kind], Rng::new(&[p.index() as u64]));
            let mut values: Vec<f32> = (0..info.len()).map(|_| 0.3 * rng.normal()).collect();
            let mut blocks = vec![0; encode::bytes(dtype, values.len())];
            encode::quantize(dtype, &values, &mut blocks);
            if storage == Storage::Blocks {
                net.weights.write_quantized(p, dtype, &blocks, &|row| row).unwrap();
                continue;
            }
            dequant::dequantize(dtype, &blocks, &mut values);
            let rounded: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
            net.weights.write_quantized(p, Bf16, bytemuck::cast_slice(&rounded), &|row| row).unwrap();
        }
        net.forward(precision);
        let y = net.executor.values(y.get().unwrap(), tokens).unwrap();
        y.iter().map(|y| y.to_bits()).collect()
    }

    /// Sends the tokens, in some order, to the experts.
    fn route(&self, net: &mut Net) {
        let mut chosen: Vec<usize> = self.rows.iter().enumerate().flat_map(|(e, &n)| vec![e; n]).collect();
        let mut rng = Rng::new(&[7]);
        (1..chosen.len()).for_each(|i| chosen.swap(i, rng.below(i + 1)));
        let (router, hidden) = (net.weights.layout().find("router").unwrap(), self.hidden);
        net.update(router, |w| {
            w.fill(0.0);
            w.chunks_exact_mut(hidden).enumerate().for_each(|(e, row)| row[e] = 1.0);
        });
        net.update(net.inputs[0], |x| {
            for (row, &expert) in x.chunks_exact_mut(hidden).zip(&chosen) {
                row[..self.rows.len()].fill(-1.0);
                row[expert] = 1.0;
            }
        });
    }

    fn check(&self, precision: Precision) {
        for device in Device::all().into_iter().filter(|device| matches!(device, Device::Cuda(_))) {
            let [dense, blocks] = [Storage::Bf16, Storage::Blocks].map(|storage| self.run(device, storage, precision));
            let different = dense.iter().zip(&blocks).position(|(a, b)| a != b);
            let Case { types, hidden, width, .. } = self;
            assert!(different.is_none(), "{types:?} [{width}, {hidden}], {precision:?}: element {different:?}");
            assert!(dense.iter().all(|&y| f32::from_bits(y).is_finite()));
            assert!(dense.iter().any(|&y| f32::from_bits(y) != 0.0));
        }
    }
}

/// One expert for each token.
fn gate(experts: usize) -> Gate {
    Gate {
        scoring_func: Scoring::Sigmoid,
        topk_method: TopkMethod::Greedy,
        n_routed_experts: experts,
        num_experts_per_tok: 1,
        n_group: 1,
        topk_group: 1,
        norm_topk_prob: false,
        routed_scaling_factor: 1.0,
        aux_loss_alpha: 0.0,
    }
}

#[test]
fn blocks_have_the_bits_of_dense_experts() {
    let most = &[1, 64, 0, 63, 65];
    for case in [
        Case::new([Q4_K, Q4_K, Q8_0], [256, 96], most),
        Case::new([Q6_K, Q6_K, Q5_0], [512, 32], FEW),
        Case::new([Q5_0, Q5_0, Q4_0], [96, 160], most),
        Case::new([Q4_0, Q4_0, Q6_K], [32, 256], FEW),
        Case::new([Q8_0, Q8_0, Q4_K], [72 * 4, 256], FEW),
    ] {
        case.check(Precision::Bf16);
    }
}

#[test]
fn experts_of_several_types_have_the_bits_of_dense_experts() {
    for case in [
        Case::new([Q8_0, Q4_0, Q4_1], [64, 32], FEW),
        Case::new([Q4_1, Q5_0, Q8_0], [32, 96], FEW),
        // Sizes that tensor cores do not multiply.
        Case::new([Q8_0, Q8_0, F16], [32, 12], FEW),
    ] {
        case.check(Precision::Bf16);
    }
}

#[test]
fn experts_in_f32_have_the_bits_of_dense_experts() {
    for case in [Case::new([Q4_K, Q4_K, Q6_K], [256, 256], FEW), Case::new([Q4_1, Q5_0, Q8_0], [32, 64], FEW)] {
        case.check(Precision::F32);
    }
}

#[test]
fn shared_memory_fits_every_card() {
    for dtype in [Q4_0, Q5_0, Q8_0, Q4_K, Q6_K] {
        let format = Format::of(dtype).unwrap();
        for (tokens, tiles) in [(1, 8), (9, 72), (64, 136), (4096, 640)] {
            let launch = plan(format, 96, tokens, tiles);
            assert!(launch.shared <= 101_376, "{dtype:?}: {} bytes", launch.shared);
            assert!(launch.threads / 32 * launch.grid[0] as u32 >= 96 && launch.grid[1] == tiles);
        }
    }
}
