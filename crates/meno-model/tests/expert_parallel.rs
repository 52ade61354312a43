//! Experts dealt out to ranks: forward passes and training steps have the bits of one rank.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/networks.rs"]
mod networks;

use meno_comm::{Comm, ordered, threads};
use meno_model::expert_parallel::{ExpertPlacement, ExpertRank};
use meno_model::{Config, Dtype, InferOptions, LoadOptions, Model, TrainOptions};
use meno_tensor::backend::{Executor, Pass};
use meno_tensor::device::Device;
use meno_tensor::pool;
use meno_tensor::precision::Precision;
use meno_tensor::rng::Rng;
use meno_tensor::tape::{Batch, CrossEntropy, ExpertTraffic, Losses};
use networks::{VOCAB, config, deepseek_v3, tokens, training_batch};
use serde_json::{Value, json};

const LOSS: CrossEntropy = CrossEntropy { head_scale: [1.0, 0.3] };

/// Runs `f` on `ranks` ranks of one thread each.
fn on_ranks<R: Send>(ranks: usize, f: impl Fn(Comm) -> R + Sync) -> Vec<R> {
    threads::ranks(ranks, |comm| pool::with_threads(1, || f(comm)))
}

/// A random model with the experts of one rank, whose norms are not one and whose biases are not zero.
fn model(config: Config, comm: &Comm) -> Model {
    let own = ExpertRank { rank: comm.rank(), ranks: comm.size() };
    let mut model = Model::random_with(Device::Cpu, config, 5, Some(own)).unwrap();
    let mut rng = Rng::new(&[99]);
    for (p, _) in model.layout().clone().iter().filter(|(_, info)| info.shape.len() == 1) {
        model.weights.update(p, &mut |w| w.iter_mut().for_each(|x| *x += 0.1 * rng.normal())).unwrap();
    }
    model
}

fn dealt(mut executor: Box<dyn Executor>, comm: &Comm) -> Box<dyn Executor> {
    executor.deal_experts(comm.clone()).unwrap();
    executor
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Networks with different kinds of experts, and how many ranks they can be dealt out to.
fn kinds() -> Vec<(&'static str, Value, &'static [usize])> {
    let mut ungrouped = deepseek_v3();
    (ungrouped["n_group"], ungrouped["topk_group"]) = (json!(1), json!(1));
    // All experts of a token can be on one rank, and it takes many.
    ungrouped["num_experts_per_tok"] = json!(5);
    let mut unfused = deepseek_v3();
    (unfused["hidden_size"], unfused["moe_intermediate_size"]) = (json!(20), json!(15));
    vec![
        ("deepseek_v3", deepseek_v3(), &[1, 2, 4]),
        ("without groups", ungrouped, &[2, 8]),
        ("odd sizes", unfused, &[2]),
    ]
}

/// The logits of every token of `sequence`, fed to a cache in two chunks.
fn logits(model: &mut Model, comm: &Comm, precision: Precision, sequence: &[u32]) -> Vec<f32> {
    let o = InferOptions::default();
    let mut executor = dealt(model.infer_executor(32, o).unwrap(), comm);
    let mut cache = model.backend().kv_cache_with_slots(&model.cache_specs(o), 1, 64).unwrap();
    let mut logits = Vec::new();
    for chunk in [0..sequence.len().min(9), sequence.len().min(9)..sequence.len()] {
        let mut batch = Batch::default();
        if !chunk.is_empty() {
            batch.logit_rows = batch.push(&sequence[chunk.clone()], chunk.start, Some(0)).collect();
        }
        let pass = Pass::new(precision, &batch);
        logits.extend_from_slice(&executor.forward(&mut *model.weights, pass, Some(&mut cache)).unwrap().logits);
    }
    assert_eq!(logits.len(), sequence.len() * VOCAB);
    logits
}

#[test]
fn logits_have_the_bits_of_one_rank() {
    for (name, value, ranks) in kinds() {
        for precision in [Precision::F32, Precision::Bf16] {
            // The sequence of each rank; the second chunk of some is empty, and one has no tokens at all.
            let lengths = [23, 9, 30, 0, 10, 1, 13, 20];
            let sequence = |rank: usize| tokens(lengths[rank], rank as u64);
            let solo = meno_comm::solo();
            let mut alone = model(config(&value), &solo);
            let expected: Vec<_> = (0..8).map(|r| logits(&mut alone, &solo, precision, &sequence(r))).collect();
            for &ranks in ranks {
                let results = on_ranks(ranks, |comm| {
                    logits(&mut model(config(&value), &comm), &comm, precision, &sequence(comm.rank()))
                });
                for (rank, logits) in results.iter().enumerate() {
                    assert!(bits(logits) == bits(&expected[rank]), "{name}, {precision:?}, rank {rank} of {ranks}");
                }
            }
        }
    }
}

/// The passes of a shard of a step: two, which may be empty.
fn passes(shard: usize) -> [Batch; 2] {
    let lengths: [[&[usize]; 2]; 8] = [
        [&[], &[]],
        [&[21], &[]],
        [&[13, 8], &[5]],
        [&[3], &[17, 9, 4]],
        [&[], &[6]],
        [&[1, 2], &[30]],
        [&[11], &[12]],
        [&[2], &[2]],
    ];
    let batch = |pass: usize| {
        let sequences = lengths[shard][pass].iter().enumerate();
        let sequences: Vec<_> = sequences.map(|(i, &n)| tokens(n, (shard * 10 + pass * 5 + i) as u64)).collect();
        training_batch(&sequences)
    };
    [batch(0), batch(1)]
}

/// The results of a step on one rank.
struct Step {
    grads: Vec<f32>,
    placement: ExpertPlacement,
    /// The log-probabilities and losses of each pass.
    passes: Vec<(Vec<f32>, Losses)>,
    traffic: ExpertTraffic,
    bytes_sent: u64,
}

/// Computes `shards` one after the other, each into its own buffer, and adds the buffers in the order of the tree.
fn shards(
    model: &mut Model,
    executor: &mut dyn Executor,
    precision: Precision,
    shards: std::ops::Range<usize>,
    each: &mut impl FnMut(&dyn Executor),
) -> Vec<f32> {
    if shards.len() == 1 {
        let mut grads = model.backend().buffer(model.layout().total()).unwrap();
        for batch in passes(shards.start) {
            let pass = Pass::new(precision, &batch).with_objective(&LOSS);
            executor.step(&mut *model.weights, pass, &mut *grads).unwrap();
            each(executor);
        }
        return grads.read(0..grads.len()).unwrap().into_owned();
    }
    let middle = shards.start + shards.len() / 2;
    let mut half = |shards| self::shards(model, executor, precision, shards, each);
    let (low, high) = (half(shards.start..middle), half(middle..shards.end));
    low.iter().zip(high).map(|(a, b)| a + b).collect()
}

/// A step of `count` shards on all ranks; a rank computes `count` / ranks of them.
fn step(value: &Value, comm: &Comm, count: usize, precision: Precision, recompute: bool) -> Step {
    let mut model = model(config(value), comm);
    let o = TrainOptions { recompute, mtp: true };
    let mut executor = dealt(model.train_executor(32, o).unwrap(), comm);
    let placement = ExpertPlacement::new(model.network(), model.layout(), comm.size()).unwrap();
    let (mut passes, mut traffic) = (Vec::new(), ExpertTraffic::default());
    let own = count / comm.size() * comm.rank()..count / comm.size() * (comm.rank() + 1);
    let grads = shards(&mut model, &mut *executor, precision, own, &mut |executor| {
        let out = executor.outputs();
        passes.push((out.logprobs.clone(), out.losses));
        traffic += out.expert_traffic;
    });
    let bytes_sent = comm.bytes_sent();
    let mut buffer = model.backend().buffer(grads.len()).unwrap();
    buffer.update(0..grads.len(), &mut |g| g.copy_from_slice(&grads)).unwrap();
    placement.sum_gradients(comm.rank(), &mut *buffer).unwrap();
    let mut grads = buffer.read(0..grads.len()).unwrap().into_owned();
    for range in placement.dense() {
        ordered::all_reduce(&**comm, &mut grads[range.clone()]);
    }
    // Nothing wrote to the weights of other ranks' experts.
    let weights = model.weights.read_all().unwrap();
    for rank in (0..comm.size()).filter(|rank| *rank != comm.rank()) {
        for range in placement.experts(rank) {
            assert!(weights[range.clone()].iter().chain(&grads[range]).all(|x| x.to_bits() == 0));
        }
    }
    Step { grads, placement, passes, traffic, bytes_sent }
}

/// Compares a step on `ranks` ranks with the same step on one.
fn compare_steps(name: &str, value: &Value, ranks: usize, precision: Precision, recompute: bool) {
    let count = ranks.max(4);
    let expected = step(value, &meno_comm::solo(), count, precision, recompute);
    let what = format!("{name}, {precision:?}, recompute {recompute}, {ranks} ranks");
    let steps = on_ranks(ranks, |comm| step(value, &comm, count, precision, recompute));
    for (rank, step) in steps.iter().enumerate() {
        for range in step.placement.experts(rank).iter().chain(step.placement.dense()) {
            let (grads, expected) = (&step.grads[range.clone()], &expected.grads[range.clone()]);
            assert!(expected.iter().any(|&g| g != 0.0));
            assert!(bits(grads) == bits(expected), "{what}: gradients {range:?} of rank {rank}");
        }
        let passes = &expected.passes[rank * step.passes.len()..][..step.passes.len()];
        assert!(step.passes == passes, "{what}: log-probabilities and losses of rank {rank}");
        let ExpertTraffic { dispatch_bytes, combine_bytes, backward_bytes, .. } = step.traffic;
        assert_eq!(dispatch_bytes + combine_bytes + backward_bytes, step.bytes_sent, "{what}");
    }
}

#[test]
fn a_training_step_has_the_bits_of_one_rank() {
    for (name, value, ranks) in kinds() {
        for (precision, recompute) in [(Precision::F32, false), (Precision::F32, true), (Precision::Bf16, true)] {
            ranks.iter().for_each(|&ranks| compare_steps(name, &value, ranks, precision, recompute));
        }
    }
}

#[test]
fn a_step_of_the_v3_preset_on_four_ranks_has_the_bits_of_one_rank() {
    let preset = include_str!("../../meno/src/commands/bench/presets/v3.json");
    let value = serde_json::from_str(preset).unwrap();
    compare_steps("v3", &value, 4, Precision::F32, false);
}

/// Returns what all ranks exchanged in one step.
fn traffic(value: &Value, ranks: usize) -> ExpertTraffic {
    let mut sum = ExpertTraffic::default();
    let steps = on_ranks(ranks, |comm| step(value, &comm, ranks, Precision::F32, false).traffic);
    steps.into_iter().for_each(|t| sum += t);
    sum
}

/// DeepSeek-V3 §2.1.2: a token is sent to the ranks of at most `topk_group` groups.
#[test]
fn node_limited_routing_bounds_the_traffic() {
    let grouped = deepseek_v3();
    assert_eq!([&grouped["n_group"], &grouped["topk_group"]], [&json!(4), &json!(2)]);
    let mut free = grouped.clone();
    (free["n_group"], free["topk_group"]) = (json!(1), json!(1));
    let [limited, free] = [traffic(&grouped, 4), traffic(&free, 4)];
    let mean = |t: ExpertTraffic| t.ranks as f64 / t.tokens as f64;
    // Three of eight experts, two on each rank: at least two ranks.
    assert_eq!(limited.ranks, 2 * limited.tokens);
    assert!(mean(free) > 2.1 && mean(free) <= 3.0, "{}", mean(free));
    for t in [limited, free] {
        // Two MoE layers, the MTP module's included.
        let rows = (0..4).flat_map(passes).map(|batch| batch.len()).sum::<usize>();
        assert_eq!(t.tokens, 2 * rows as u64);
        // A token is sent once to each rank, its results are not merged.
        assert!(t.dispatch_bytes < t.combine_bytes && t.backward_bytes > t.dispatch_bytes, "{t:?}");
    }
    assert!(limited.dispatch_bytes < free.dispatch_bytes);
    assert_eq!(traffic(&grouped, 1), ExpertTraffic::default());
}

#[test]
fn a_rank_loads_its_own_experts() {
    let dir = tempfile::tempdir().unwrap();
    let solo = meno_comm::solo();
    let whole = model(config(&deepseek_v3()), &solo);
    whole.save(dir.path(), Dtype::F32).unwrap();
    let all = whole.weights.read_all().unwrap().into_owned();
    for rank in 0..4 {
        let experts = Some(ExpertRank { rank, ranks: 4 });
        let mut last = (0, 0);
        let options = LoadOptions { experts, ..LoadOptions::default() };
        let loaded = Model::load_with(dir.path(), options, &mut |read, total| last = (read, total)).unwrap();
        assert!(last.0 == last.1 && last.0 < loaded.layout().count());
        let placement = ExpertPlacement::new(loaded.network(), loaded.layout(), 4).unwrap();
        let weights = loaded.weights.read_all().unwrap();
        for range in placement.experts(rank).iter().chain(placement.dense()) {
            assert!(bits(&weights[range.clone()]) == bits(&all[range.clone()]), "{range:?} of rank {rank}");
        }
        for range in (0..4).filter(|other| *other != rank).flat_map(|other| placement.experts(other)) {
            assert!(weights[range].iter().all(|&x| x == 0.0));
        }
    }
}

/// Returns true if the kernel has given memory to a page in the range `bytes` of addresses, by
/// `/proc/self/pagemap`. Pages at the ends that can belong to a huge page outside of the range do not count.
#[cfg(target_os = "linux")]
fn is_resident(bytes: std::ops::Range<usize>) -> bool {
    use std::os::unix::fs::FileExt;
    const PAGE: usize = 4096;
    const HUGE_PAGE: usize = 1 << 21;
    let (first, end) = (bytes.start.next_multiple_of(HUGE_PAGE), bytes.end / HUGE_PAGE * HUGE_PAGE);
    assert!(first < end, "the range has a whole huge page");
    let mut entries = vec![0; (end - first) / PAGE * 8];
    std::fs::File::open("/proc/self/pagemap").unwrap().read_exact_at(&mut entries, (first / PAGE * 8) as u64).unwrap();
    // Bit 63: the page is present.
    entries.chunks(8).any(|entry| entry[7] >> 7 == 1)
}

#[test]
#[cfg(target_os = "linux")]
fn experts_of_other_ranks_take_no_memory() {
    let mut value = deepseek_v3();
    (value["hidden_size"], value["moe_intermediate_size"]) = (json!(256), json!(1024));
    on_ranks(4, |comm| {
        let mut model = model(config(&value), &comm);
        let mut executor = dealt(model.train_executor(32, TrainOptions::default()).unwrap(), &comm);
        let mut grads = model.backend().buffer(model.layout().total()).unwrap();
        executor.step(&mut *model.weights, Pass::new(Precision::F32, &passes(1)[0]), &mut *grads).unwrap();
        let placement = ExpertPlacement::new(model.network(), model.layout(), 4).unwrap();
        let start = model.weights.read_all().unwrap().as_ptr() as usize;
        for rank in 0..4 {
            for range in placement.experts(rank) {
                let resident = is_resident(start + range.start * 4..start + range.end * 4);
                assert_eq!(resident, rank == comm.rank(), "experts of rank {rank} on rank {}", comm.rank());
            }
        }
    });
}

#[test]
fn every_parameter_is_on_one_rank_or_on_all() {
    for (_, value, ranks) in kinds() {
        let model = Model::random(config(&value), 1).unwrap();
        for &ranks in ranks {
            let placement = ExpertPlacement::new(model.network(), model.layout(), ranks).unwrap();
            let experts = (0..ranks).flat_map(|rank| {
                let experts = placement.experts(rank);
                assert!(experts.is_sorted_by(|a, b| a.end <= b.start) && experts.len() == 2);
                experts
            });
            let all: Vec<_> = placement.dense().iter().cloned().chain(experts).collect();
            for (_, info) in model.layout().iter() {
                let holders = all.iter().filter(|r| r.start <= info.range().start && info.range().end <= r.end);
                assert_eq!(holders.count(), 1, "{}", info.name);
            }
            let expert = |range: &std::ops::Range<usize>| {
                let inside = |r: &std::ops::Range<usize>| r.start < range.end && range.start < r.end;
                placement.dense().iter().any(inside)
            };
            let routed = model.layout().iter().filter(|(_, info)| info.name.contains(".experts."));
            assert!(!routed.map(|(_, info)| info.range()).any(|range| expert(&range)));
        }
    }
}

#[test]
fn experts_that_cannot_be_dealt_out_are_an_error() {
    let model = Model::random(config(&deepseek_v3()), 1).unwrap();
    let expected = "the experts cannot be dealt out to 3 ranks: a layer has 8 experts";
    let error = ExpertPlacement::new(model.network(), model.layout(), 3).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
    let own = Some(ExpertRank { rank: 0, ranks: 3 });
    let error = Model::random_with(Device::Cpu, config(&deepseek_v3()), 1, own).err().unwrap().to_string();
    assert!(error.starts_with(expected), "{error}");
    let errors = threads::ranks(3, |comm| {
        let mut executor = model.score_executor(4).unwrap();
        executor.deal_experts(comm).unwrap_err().to_string()
    });
    assert!(errors.iter().all(|error| error.starts_with(expected)), "{errors:?}");
    let model = Model::random_on(Device::Reference, config(&deepseek_v3()), 1).unwrap();
    let errors = threads::ranks(2, |comm| {
        let mut executor = model.score_executor(4).unwrap();
        executor.deal_experts(comm).unwrap_err().to_string()
    });
    assert!(errors[0].contains("use the device cpu"), "{errors:?}");
}
