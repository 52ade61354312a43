use super::device::Published;
use super::*;
use crate::grpo::Grpo;
use crate::memory::Estimate;
use crate::train::Reduce;
use crate::train::{Optim, Train};
use crate::trainer::Trainer;
use meno_comm::threads::ranks;
use meno_comm::{Comm, Solo};
use meno_model::expert_parallel::ExpertRank;
use meno_model::{Config, Model, TrainOptions};
use meno_tensor::backend::Pass;
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, CrossEntropy, ExpertTraffic};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// One layer whose parameters fill the layout without padding: 512 of the embedding, 1,024 of attention, 1,536 of the
/// MLP, 48 of norms.
fn llama() -> Config {
    let config = json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true,
    });
    Config::from_value("llama", config).unwrap()
}

fn tiny_v3() -> Config {
    let config: Value = serde_json::from_str(include_str!("../../../../recipes/tiny/model/config.json")).unwrap();
    Config::from_value("tiny", config).unwrap()
}

fn pretrain(config: Config, tokens: usize, length: usize) -> Work {
    let recipe = format!("[train]\nmax_tokens = 64\n[pretrain]\ntokens_per_step = {tokens}\n");
    let recipe = PlannedRecipe::Pretrain(crate::recipe::parse("p.toml", &recipe, &[]).unwrap());
    recipe.work(config, Some(length)).unwrap()
}

fn grpo(config: Config, sets: &[&str]) -> Work {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    let text = "[train]\nmax_tokens = 128\n[grpo]\nmax_prompt_length = 16\nmax_completion_length = 48\n";
    PlannedRecipe::Grpo(crate::recipe::parse("g.toml", text, &sets).unwrap()).work(config, None).unwrap()
}

fn cluster(nodes: usize, ranks_per_node: usize) -> Cluster {
    Cluster {
        nodes,
        ranks_per_node,
        expert_parallel: 1,
        pipeline_parallel: 1,
        bandwidth: 1e6,
        node_bandwidth: 1e7,
        latency: 1e-3,
        overlap: 0.0,
    }
}

fn cpu() -> Speed {
    Speed {
        name: "cpu".into(),
        device: Device::Cpu,
        memory: 1 << 30,
        flops: 1e9,
        peak: 2e9,
        memory_bandwidth: 1e9,
        source: "by hand".into(),
    }
}

fn solo() -> Comm {
    Arc::new(Solo)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs()
}

fn collective<'a>(plan: &'a Plan, name: &str) -> &'a Collective {
    plan.traffic.iter().find(|c| c.name.starts_with(name)).unwrap()
}

#[test]
fn a_tiny_network_on_two_nodes_by_hand() {
    let plan = plan(&pretrain(llama(), 128, 8), &cluster(2, 2), &cpu()).unwrap();
    assert_eq!((plan.network.parameters, plan.ranks.data_parallel), (3120, 4));
    let bytes = ["weights (f32)", "gradients", "optimizer state"].map(|name| plan.memory.bytes(name));
    assert_eq!(bytes, [4 * 3120, 4 * 3120, 2 * 4 * 780]);
    // Half of the vector goes to the neighbour in the node, a quarter to the other node; each is one message.
    for name in ["gradients", "weights"] {
        let c = collective(&plan, name);
        assert_eq!((c.bytes_inside_node, c.bytes_between_nodes, c.rounds), (2.0 * 3120.0, 3120.0, 2.0));
        assert!(near(c.seconds, 6240.0 / 1e7 + 3120.0 / 1e6 + 2e-3), "{c:?}");
    }
    // Two per weight outside the norms, and the head again; attention: 2 heads of 8 + 8 columns, for 8 tokens.
    let forward = 2.0 * (1024.0 + 1536.0 + 512.0) + 2.0 * 16.0 * 8.0;
    assert!(near(plan.network.flops_per_token, 3.0 * forward), "{}", plan.network.flops_per_token);
    let part = |name: &str| plan.time.parts.iter().find(|part| part.name == name).unwrap().seconds;
    assert!(near(part("training passes"), 128.0 * 3.0 * forward / (4.0 * 1e9)));
    // 32 bytes per updated parameter; the packed copies read and write 4 bytes for all.
    assert!(near(part("updating the weights"), (32.0 * 780.0 + 8.0 * 3120.0) / 1e9));
    assert!(near(part("communication that is not hidden"), 2.0 * (6240.0 / 1e7 + 3120.0 / 1e6 + 2e-3)));
    // Muon: four matrices of 16 × 16, three of 16 × 32, dealt out to four ranks.
    let mut muon = pretrain(llama(), 128, 8);
    muon.train.optim = Optim::Muon;
    let flops = 5.0 * (4.0 * 6.0 * 4096.0 + 3.0 * (4.0 * 256.0 * 32.0 + 2.0 * 4096.0));
    let muon = super::plan(&muon, &cluster(2, 2), &cpu()).unwrap();
    assert!(near(muon.time.step_seconds - plan.time.step_seconds, flops / 4.0 / 1e9));
    assert!(muon.assumptions.iter().any(|text| text.contains("Muon")));
    let total: f64 = plan.time.parts.iter().map(|part| part.seconds).sum();
    assert!(near(plan.time.step_seconds, total) && near(plan.time.tokens_per_second, 128.0 / total));
    assert_eq!(plan.limit.binds, Binds::Network);
    assert!(plan.limit.sentence.contains("more tokens per step"), "{}", plan.limit.sentence);
    // On one node nothing goes to others.
    let one = super::plan(&pretrain(llama(), 128, 8), &cluster(1, 4), &cpu()).unwrap();
    let c = collective(&one, "gradients");
    assert_eq!((c.bytes_inside_node, c.bytes_between_nodes), (3.0 * 3120.0, 0.0));
}

#[test]
fn hidden_communication_takes_no_time_while_there_is_computation() {
    let work = pretrain(llama(), 128, 8);
    let step = |overlap| plan(&work, &Cluster { overlap, ..cluster(2, 2) }, &cpu()).unwrap().time.step_seconds;
    let computing = plan(&work, &cluster(2, 2), &cpu()).unwrap().time;
    let sending = computing.parts.last().unwrap().seconds;
    let computing = computing.step_seconds - sending;
    assert!(computing < sending, "the network is the bottleneck here");
    assert!(near(step(1.0), sending) && near(step(0.001), computing + 0.999 * sending));
}

/// The plan of one rank is the estimate of `--dry-run`, which allocates everything.
#[test]
fn one_rank_needs_what_a_dry_run_estimates() {
    for precision in [Precision::F32, Precision::Bf16] {
        for config in [llama(), tiny_v3()] {
            let model = Model::random(config.clone(), 1).unwrap();
            for recompute in [false, true] {
                let mut work = pretrain(config.clone(), 128, 8);
                work.train = Train { precision, gradient_checkpointing: recompute, ..work.train };
                let planned = plan(&work, &cluster(1, 1), &cpu()).unwrap().memory;
                let estimate = Estimate::new(&model, &work.train, work.mtp, None, &solo()).unwrap();
                let parts: Vec<(&str, usize)> = planned.parts.iter().map(|p| (p.name, p.bytes as usize)).collect();
                assert_eq!(parts, estimate.parts);
            }
            let sets = [format!("train.precision={precision}"), "grpo.beta=0.1".into()];
            let work = grpo(config.clone(), &sets.each_ref().map(String::as_str));
            let planned = plan(&work, &cluster(1, 1), &cpu()).unwrap().memory;
            let settings: Grpo = work.rollout.as_ref().unwrap().grpo.clone();
            let estimate = Estimate::new(&model, &work.train, false, Some(&settings), &solo()).unwrap();
            assert_eq!(planned.total as usize, estimate.total());
            let generation = planned.bytes("KV cache") + planned.bytes("activations of generation");
            assert!(estimate.parts.contains(&("KV cache and activations of generation", generation as usize)));
        }
    }
}

/// Ranks that run allocate what is planned, and send the planned bytes.
#[test]
fn ranks_need_and_send_what_is_planned() {
    let (ordered, fast) = (Reduce::Ordered, Reduce::Fast);
    for (reduce, gradient_shards, sums, expert_parallel) in
        [(ordered, 4, 1, false), (ordered, 16, 3, false), (fast, 16, 1, false), (ordered, 8, 2, true)]
    {
        let mut work = pretrain(tiny_v3(), 1024, 8);
        work.train = Train { reduce, gradient_shards, expert_parallel, ..work.train };
        let dealt = Cluster { expert_parallel: if expert_parallel { 4 } else { 1 }, ..cluster(2, 2) };
        let planned = plan(&work, &dealt, &cpu()).unwrap();
        let results = ranks(4, |comm| {
            let own = expert_parallel.then_some(ExpertRank { rank: comm.rank(), ranks: 4 });
            let mut model = Model::random_with(Device::Cpu, work.config.clone(), 1, own).unwrap();
            let mut trainer = Trainer::new(&work.train, &model, work.mtp, &comm).unwrap();
            let before = comm.bytes_sent();
            trainer.update(&mut model, 0).unwrap();
            (trainer.memory(), comm.bytes_sent() - before)
        });
        let alone = plan(&work, &cluster(2, 2), &cpu()).unwrap();
        assert_eq!(planned.memory.bytes("gradients"), sums * alone.memory.bytes("weights (f32)"));
        for (memory, _) in &results {
            assert_eq!(memory.gradients as u64, planned.memory.bytes("gradients"));
            assert_eq!(memory.activations as u64, planned.memory.bytes("activations of a pass"));
        }
        // Parameters are cut at certain places, so shares are not quite equal; their sum is, but for the padding next
        // to experts.
        let state: usize = results.iter().map(|(memory, _)| memory.optimizer).sum();
        let expected = 4 * planned.memory.bytes("optimizer state") as usize;
        assert!(state <= expected && state + 1000 > expected, "{state} {expected}");
        // The norm of the gradients sends a few numbers more.
        let sent = results.iter().map(|(_, sent)| *sent as f64).sum::<f64>() / 4.0;
        let expected: f64 = {
            let fixed = planned.traffic.iter().filter(|c| c.fixed);
            fixed.map(|c| c.bytes_between_nodes + c.bytes_inside_node).sum()
        };
        assert!(sent > 0.999 * expected && sent < 1.02 * expected || reduce == Reduce::Fast, "{sent} {expected}");
    }
}

#[test]
fn more_ranks_share_more() {
    let work = pretrain(tiny_v3(), 1024, 8);
    let plans: Vec<Plan> = [1, 2, 4, 8].map(|ranks| plan(&work, &cluster(1, ranks), &cpu()).unwrap()).into();
    for pair in plans.windows(2) {
        let bytes = |name: &str| [&pair[0], &pair[1]].map(|plan| plan.memory.bytes(name));
        let [before, after] = bytes("optimizer state");
        assert!(after < before && after >= before / 2, "{before} {after}");
        let [before, after] = bytes("gradients");
        assert_eq!(before, after);
        let seconds = |i: usize| pair[i].time.parts[0].seconds;
        assert!(near(seconds(0), 2.0 * seconds(1)), "training passes are divided");
    }
    // Ten sequences in eight shards: the rank with the first four shards has six of them.
    let mut uneven = pretrain(tiny_v3(), 80, 8);
    uneven.train.gradient_shards = 8;
    assert!(near(cluster(1, 2).busiest_tokens(&uneven), 48.0));
    assert!(near(cluster(1, 8).busiest_tokens(&uneven), 16.0));
    let idle = plan(&pretrain(tiny_v3(), 16, 8), &cluster(1, 4), &cpu()).unwrap();
    assert!(idle.assumptions.iter().any(|text| text.contains("2 of 4 ranks have nothing to train on")));
    assert!(idle.assumptions.iter().any(|text| text.contains("planned with 4, set it")));
    // Experts are dealt out: two of four for each rank, and their optimizer state over the ranks that have the same.
    let experts = |ranks| Cluster { expert_parallel: ranks, ..cluster(1, 4) };
    let [whole, half] = [1, 2].map(|ranks| plan(&work, &experts(ranks), &cpu()).unwrap());
    let one_expert = 3 * 64 * 48;
    let layers = 3; // with the multi-token prediction module
    let dealt = 4 * (2 * one_expert * layers) as u64;
    assert_eq!(whole.memory.bytes("weights (f32)") - half.memory.bytes("weights (f32)"), dealt);
    assert_eq!(whole.memory.bytes("optimizer state"), half.memory.bytes("optimizer state"));
    assert_eq!(whole.memory.bytes("gradients"), half.memory.bytes("gradients"));
    assert!(half.memory.bytes("rows of other ranks") > 0);
}

#[test]
fn dispatch_and_combine_by_hand() {
    let work = pretrain(tiny_v3(), 2048, 8);
    let all = |cluster: &Cluster, work: &Work| {
        let plan = plan(work, cluster, &cpu()).unwrap();
        let c = collective(&plan, "experts");
        (c.bytes_between_nodes, c.bytes_inside_node, c.rounds)
    };
    // Three layers, 512 tokens a rank. A token goes to two ranks, two results come back, with an index each; backward
    // the same, and two weights with their gradients. Half of the rows leave the node, a quarter stays on its rank.
    let four = Cluster { expert_parallel: 4, ..cluster(2, 2) };
    let row = 64.0 * 4.0;
    let (forward, backward) = (4.0 * row + 2.0 * 4.0, 4.0 * row + 4.0 * 4.0);
    let bytes = 3.0 * 512.0 * (forward + backward);
    assert_eq!(all(&four, &work), (bytes / 2.0, bytes / 4.0, 3.0 * 8.0 * 7.0 * 3.0));
    // In one node: three of four rows leave their rank.
    let inside = Cluster { expert_parallel: 4, ..cluster(1, 4) };
    assert_eq!((all(&inside, &work).0, all(&inside, &work).1), (0.0, 0.75 * bytes));
    // Recomputed layers dispatch and combine again.
    let mut again = work.clone();
    again.train.gradient_checkpointing = true;
    assert_eq!(all(&four, &again).0, 3.0 * 512.0 * (2.0 * forward + backward) / 2.0);
}

/// Experts that are dealt out to ranks send what is planned, up to the imbalance of a random router.
#[test]
fn dealt_experts_send_what_is_planned() {
    let work = pretrain(tiny_v3(), 4 * 64, 64);
    let planned = plan(&work, &Cluster { expert_parallel: 4, ..cluster(1, 4) }, &cpu()).unwrap();
    let sent = ranks(4, |comm| {
        let own = ExpertRank { rank: comm.rank(), ranks: comm.size() };
        let mut model = Model::random_with(Device::Cpu, work.config.clone(), 1, Some(own)).unwrap();
        let options = TrainOptions { recompute: false, mtp: true };
        let mut executor = model.train_executor(64, options).unwrap();
        executor.deal_experts(comm.clone()).unwrap();
        let mut batch = Batch::default();
        let token = |i: u32| (17 * i + 31 * comm.rank() as u32) % 108;
        batch.push_training(&(0..64).map(token).collect::<Vec<_>>(), |_| 1.0 / 64.0);
        let mut grads = model.backend().buffer(model.layout().total()).unwrap();
        let loss = CrossEntropy { head_scale: [1.0, 0.3] };
        let pass = Pass::new(Precision::F32, &batch).with_objective(&loss);
        let out = executor.step(&mut *model.weights, pass, &mut *grads).unwrap();
        let ExpertTraffic { dispatch_bytes, combine_bytes, backward_bytes, .. } = out.expert_traffic;
        (dispatch_bytes + combine_bytes + backward_bytes) as f64
    });
    let mean = sent.iter().sum::<f64>() / 4.0;
    let expected = collective(&planned, "experts").bytes_inside_node;
    assert!((mean / expected - 1.0).abs() < 0.1, "{mean} {expected}");
}

#[test]
fn groups_bound_where_a_token_goes() {
    let v3 = serde_json::from_str(include_str!("../../../../recipes/v3/pretrain.json")).unwrap();
    let v3 = Config::from_value("v3", v3).unwrap();
    let work = |config: &Config| pretrain(config.clone(), 64 * 64, 64);
    let between = |config: &Config, pipeline_parallel: usize| {
        let cluster = Cluster { expert_parallel: 8, pipeline_parallel, ..cluster(8 * pipeline_parallel, 1) };
        let plan = plan(&work(config), &cluster, &cpu()).unwrap();
        collective(&plan, "experts").bytes_between_nodes / (59.0 / pipeline_parallel as f64 * 512.0 * 7168.0)
    };
    let free = v3.with("topk_group", 1).unwrap().with("n_group", 1).unwrap();
    // Eight experts in four of eight groups (V3 §2.1.2), one of eight already where it must be: four rows and eight
    // results, forward and backward, in f32, and three small numbers for each expert.
    let numbers = 3.0 * 4.0 * 8.0 / 7168.0;
    assert!(near(between(&v3, 1), (2.0 * 12.0 * 4.0 + numbers) * 7.0 / 8.0), "{}", between(&v3, 1));
    assert!(near(between(&free, 1), (2.0 * 16.0 * 4.0 + numbers) * 7.0 / 8.0));
    // As in V3: dispatch in FP8 and combine in bf16, both once for each node.
    assert!(near(between(&v3, 2), 2.0 * 4.0 * 3.0 * 7.0 / 8.0));
    assert!(near(between(&free, 2), 2.0 * 8.0 * 3.0 * 7.0 / 8.0));
}

#[test]
fn impossible_divisions_are_refused_by_name() {
    let work = pretrain(tiny_v3(), 1024, 8);
    let one = cluster(1, 1);
    for (cluster, message) in [
        (Cluster { nodes: 0, ..one.clone() }, "`--nodes` = 0: expected 1 or above"),
        (Cluster { ranks_per_node: 0, ..one.clone() }, "`--gpus` = 0"),
        (Cluster { expert_parallel: 0, ..one.clone() }, "`--expert-parallel` = 0"),
        (Cluster { bandwidth: 0.0, ..one.clone() }, "`--bandwidth` = 0: expected a finite number above 0"),
        (Cluster { overlap: 1.5, ..one.clone() }, "`--overlap` = 1.5: expected 0 to 1"),
        (Cluster { latency: -1.0, ..one.clone() }, "`--latency` = -1000000: expected"),
        (Cluster { nodes: usize::MAX, ..cluster(1, 2) }, "expected at most 16,777,216 ranks"),
        (cluster(3, 1), "`--nodes × --gpus` = 3: expected a power of two"),
        (
            Cluster { expert_parallel: 3, ..cluster(1, 4) },
            "`--expert-parallel` = 3: expected a divisor of the 4 routed",
        ),
        (Cluster { expert_parallel: 4, ..cluster(1, 2) }, "`--expert-parallel` = 4: expected a divisor of the 2 ranks"),
        (Cluster { pipeline_parallel: 3, ..cluster(1, 4) }, "`--pipeline-parallel` = 3: expected a divisor of the 4"),
        (Cluster { pipeline_parallel: 8, ..cluster(1, 8) }, "`--pipeline-parallel` = 8: expected at most 4"),
    ] {
        let error = plan(&work, &cluster, &cpu()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let dense = Cluster { expert_parallel: 2, ..cluster(1, 2) };
    let error = plan(&pretrain(llama(), 1024, 8), &dense, &cpu()).unwrap_err().to_string();
    assert!(error.contains("expected 1: the network has no experts"), "{error}");
    let mut odd = pretrain(llama(), 1024, 8);
    odd.train.gradient_shards = 3;
    let error = plan(&odd, &one, &cpu()).unwrap_err().to_string();
    assert!(error.contains("`train.gradient_shards` = 3: expected a power of two"), "{error}");
}

#[test]
fn what_binds_is_named_with_what_to_change() {
    let work = pretrain(llama().with("num_hidden_layers", 8).unwrap(), 1024, 8);
    let total = |work: &Work| plan(work, &cluster(1, 1), &cpu()).unwrap().memory.total;
    let mut recomputed = work.clone();
    recomputed.train.gradient_checkpointing = true;
    assert!(total(&recomputed) < total(&work));
    let small = |memory| Speed { memory, ..cpu() };
    let limit = |memory| plan(&work, &cluster(1, 1), &small(memory)).unwrap().limit;
    let enough = limit(total(&work));
    assert_eq!(enough.binds, Binds::Compute);
    assert!(enough.sentence.ends_with("is: training passes."), "{}", enough.sentence);
    let little = limit(total(&recomputed));
    assert_eq!(little.binds, Binds::Memory);
    assert!(little.sentence.contains("It fits with train.gradient_checkpointing = true"), "{}", little.sentence);
    assert!(little.sentence.contains("train.max_tokens = "), "{}", little.sentence);
    // What is proposed fits.
    let rows = little.sentence.split("train.max_tokens = ").nth(1).unwrap();
    let rows: usize = rows.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    let mut fewer = work.clone();
    fewer.train.max_tokens = rows;
    assert!(total(&fewer) <= total(&recomputed));
    assert!(limit(1000).sentence.contains("No setting makes it fit"), "{}", limit(1000).sentence);
}

#[test]
fn answers_are_shared() {
    let work = grpo(tiny_v3(), &["grpo.steps_per_generation=4", "grpo.num_iterations=2"]);
    // 256 answers of 64 tokens, a quarter of them in each step.
    assert_eq!((work.tokens, work.length), (64.0 * 64.0, 64));
    let [one, eight] = [1, 8].map(|ranks| plan(&work, &cluster(1, ranks), &cpu()).unwrap());
    // Every rank has room for 64 concurrent sequences of one page, and a spare page.
    let page = one.memory.bytes("KV cache") / 65;
    assert_eq!([&one, &eight].map(|plan| plan.memory.bytes("KV cache")), [65 * page; 2]);
    let part =
        |plan: &Plan, name: &str| plan.time.parts.iter().find(|part| part.name.starts_with(name)).unwrap().seconds;
    assert!(part(&eight, "sampling") < part(&one, "sampling"));
    // Three of four mini-batches pass the gate separately, once in eight steps.
    let forward = part(&one, "training passes") / 3.0 / work.tokens;
    assert!(near(part(&one, "scoring"), forward * 0.75 * 256.0 * 64.0 / 8.0));
}

/// DeepSeek-V3 on 2,048 H800s, compared with its report (arXiv 2412.19437, §1 and §3).
#[test]
fn v3_is_as_published() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let recipe = PlannedRecipe::load(&root.join("recipes/v3-pretrain.toml"), &[]).unwrap();
    let config = Config::load(&root.join(recipe.model().config.as_ref().unwrap())).unwrap();
    let work = recipe.work(config, None).unwrap();
    let h800 = Published::find("h800").unwrap();
    let paper = Cluster {
        expert_parallel: 64,
        pipeline_parallel: 16,
        bandwidth: h800.bandwidth,
        node_bandwidth: h800.node_bandwidth,
        latency: 20e-6,
        overlap: 1.0,
        ..cluster(256, 8)
    };
    let planned = plan(&work, &paper, &h800.speed(Precision::Bf16, 0.4)).unwrap();

    // "671B total parameters with 37B activated"; 14.8 T tokens.
    assert_eq!((planned.network.parameters as f64 / 1e9).round(), 671.0);
    assert_eq!((planned.network.active_parameters as f64 / 1e9).floor(), 37.0);
    assert!((work.tokens * work.steps.unwrap() as f64 / 14.8e12 - 1.0).abs() < 1e-4);
    assert_eq!(work.tokens, 15360.0 * 4096.0);

    // Operations: 6 for each weight that a token is multiplied with (the head twice, for MTP), and attention.
    let counts = work.config.counts();
    let vectors = |layers: u64| 2 * 7168 * layers + (1536 + 512) * layers;
    let main = counts.active - counts.embedding - 7168 - vectors(61);
    let moe = 9 * 3 * 7168 * 2048 + 7168 * 256;
    let mtp = 2 * 7168 * 7168 + counts.attention - 2048 + moe + counts.embedding;
    let attention = 3.0 * 62.0 * 128.0 * (192.0 + 128.0) * 4096.0;
    let expected = 6.0 * (main + mtp) as f64 + attention;
    assert!(near(planned.network.flops_per_token, expected), "{} {expected}", planned.network.flops_per_token);

    // 180 K hours per trillion tokens are 41 % of the peak in bf16, by this count.
    let mfu = planned.network.flops_per_token * 1e12 / (180e3 * 3600.0 * h800.bf16);
    assert!((0.39..0.43).contains(&mfu), "{mfu}");
    // With the bubble of DualPipe, hidden communication, and without Meno's recomputation of whole layers, kernels at
    // 42 % of the peak give the published hours and days.
    let mut kept = work.clone();
    kept.train.gradient_checkpointing = false;
    let time = plan(&kept, &paper, &h800.speed(Precision::Bf16, 0.422)).unwrap().time;
    let hours = time.device_hours.unwrap() / 14.8;
    assert!((hours / 180e3 - 1.0).abs() < 0.02, "{hours} hours per trillion tokens");
    assert!((time.device_hours.unwrap() / 2664e3 - 1.0).abs() < 0.02, "{:?}", time.device_hours);
    let days = time.run_seconds.unwrap() / 86400.0 / 14.8;
    assert!((days - 3.7).abs() < 0.1, "{days} days per trillion tokens");
    assert!((time.model_flops_utilization - mfu).abs() < 0.01);

    // The paper's layout fits its GPUs, data parallelism alone does not, and experts over 64 GPUs alone do not either.
    assert!(!planned.memory.exceeds(), "{:?}", planned.memory);
    let gib = |cluster: &Cluster| {
        let plan = plan(&work, cluster, &h800.speed(Precision::Bf16, 0.4)).unwrap();
        assert_eq!(plan.limit.binds, Binds::Memory);
        plan.memory.total >> 30
    };
    assert!(gib(&Cluster { pipeline_parallel: 1, expert_parallel: 1, ..paper.clone() }) > 6000);
    assert!(gib(&Cluster { pipeline_parallel: 1, ..paper.clone() }) > 2000);
    // The rank with most parameters has the first stage (embedding, three dense layers, one with experts) and the last
    // (two layers with experts, the MTP module, the head), with 4 of 256 experts of each; a router has a bias.
    let moe_of_a_rank = counts.moe - 252 * 3 * 7168 * 2048 + 256;
    let layers = 6 * (counts.attention + 2 * 7168) + 3 * counts.mlp + 3 * moe_of_a_rank;
    let mtp = counts.mtp - counts.moe + moe_of_a_rank;
    let parameters = 2 * counts.embedding + 7168 + layers + mtp;
    assert_eq!(planned.memory.bytes("weights (f32)"), 4 * parameters);
    assert_eq!(planned.memory.bytes("gradients"), 4 * parameters);
}

#[test]
fn recipes_are_recognized_by_their_sections() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    for (file, verb) in [
        ("tiny/pretrain.toml", "pretrain"),
        ("tiny/1-cold-start-sft.toml", "sft"),
        ("tiny/r1-zero.toml", "grpo"),
        ("r1-zero.toml", "grpo"),
        ("r1/3-rejection-sampling-sft.toml", "sft"),
        ("distill/qwen2.5-32b.toml", "distill"),
    ] {
        let recipe = PlannedRecipe::load(&root.join(file), &[]).unwrap();
        assert_eq!(recipe.work(tiny_v3(), None).unwrap().verb, verb, "{file}");
    }
    for file in ["r1/3-rejection-sampling.toml", "eval-r1.toml"] {
        let error = PlannedRecipe::load(&root.join(file), &[]).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("expected exactly one of [pretrain], [sft]"), "{error}");
    }
    let work = PlannedRecipe::load(&root.join("tiny/r1-zero.toml"), &[]).unwrap();
    let error = work.work(tiny_v3(), Some(1 << 20)).unwrap_err().to_string();
    assert!(error.contains("`--length` = ") && error.contains("train.max_tokens"), "{error}");
}
