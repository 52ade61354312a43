//! GPUs: the card and its driver, measured speeds next to the expected ones, and the check of the numerics contract.

use super::report::{Mark, Section};
use crate::progress::{Unit, Work};
use anyhow::Result;
use meno_model::contract::{self, Comparison};
use meno_model::{Config, Model};
use meno_tensor::backend::Backend;
use meno_tensor::cuda::{Card, Cuda, cards};
use meno_tensor::device::Device;
use serde_json::{Value, json};
use std::path::Path;

/// Below this share of the peak, something is wrong with the card.
const POOR: f64 = 0.5;
/// Bytes that are copied to measure the memory.
const COPY: usize = 1 << 30;
/// Rows and columns of the product that is measured.
const PRODUCT: usize = 8192;
/// Tokens of the batch with which a single sequence is compared.
const CONTRACT_ROWS: usize = 4096;

pub(super) fn section(quick: bool) -> Section {
    let mut s = Section::new("gpu", "GPU");
    let cards = match cards() {
        Ok(cards) => cards,
        Err(reason) => {
            s.value("found", json!([]));
            s.line(Mark::Ok, format!("none that Meno can use: {reason}; Meno runs on CPUs and needs none"));
            if Path::new("/dev/kfd").exists() {
                s.line(Mark::Note, "AMD (/dev/kfd): not used, Meno runs on NVIDIA GPUs only");
            }
            return s;
        }
    };
    s.value("found", cards.iter().map(|card| card.name.clone()).collect());
    for (number, card) in cards.iter().enumerate() {
        describe(&mut s, number, card);
        match Cuda::open(number) {
            Err(e) => s.row(Mark::Missing, &format!("cuda:{number}"), e.to_string(), Value::Null),
            Ok(_) if quick => s.line(Mark::NotTried, "speed and numerics contract"),
            Ok(cuda) => {
                if let Err(e) = measure(&mut s, number, card, &cuda) {
                    s.row(Mark::Missing, &format!("cuda:{number}_failure"), format!("{e:#}"), Value::Null);
                }
            }
        }
    }
    s.line(Mark::Note, "the CUDA backend has not yet run on a GPU, only on an emulated one: check its results");
    s
}

fn describe(s: &mut Section, number: usize, card: &Card) {
    let Card { name, compute: (major, minor), memory, multiprocessors, driver, .. } = card;
    let (gib, cuda) = (*memory as f64 / (1u64 << 30) as f64, format!("{}.{}", driver / 1000, driver % 1000 / 10));
    let text = format!(
        "cuda:{number}: {name}, {gib:.0} GiB, compute capability {major}.{minor}, {multiprocessors} multiprocessors, \
         driver for CUDA {cuda}"
    );
    let value = json!({ "name": name, "memory": memory, "compute": [major, minor],
                        "multiprocessors": multiprocessors, "driver": driver });
    s.row(Mark::Ok, &format!("cuda:{number}"), text, value);
}

fn measure(s: &mut Section, number: usize, card: &Card, cuda: &Cuda) -> Result<()> {
    let work = Work::new(format!("measuring cuda:{number}"), Unit::Count);
    if let Some([free, total]) = cuda.memory()? {
        let text = format!("{:.1} of {:.1} GB of memory are free", free as f64 / 1e9, total as f64 / 1e9);
        s.row(Mark::Ok, &format!("cuda:{number}_free"), text, free.into());
    }
    let copy = cuda.copy_bandwidth(COPY)?;
    speed(s, &format!("cuda:{number}_copy"), "copying memory", (copy, card.bandwidth), (1e9, "GB/s"));
    let product = cuda.product_rate(PRODUCT)?;
    speed(s, &format!("cuda:{number}_bf16"), "bf16 products", (product, card.bf16_flops), (1e12, "TFLOP/s"));
    work.next(format!("checking the numerics contract of cuda:{number}"));
    for (name, config) in networks() {
        let mut model = Model::random_on(Device::Cuda(number), Config::from_value(name, config)?, 1)?;
        let precision = Device::Cuda(number).default_precision();
        let comparisons = contract::check(&mut model, precision, CONTRACT_ROWS)?;
        let broken: Vec<&str> = comparisons.iter().filter(|c| !c.equal).map(|c| c.with).collect();
        let (mark, text) = match broken.is_empty() {
            true => (Mark::Ok, format!("numerics contract, {name}: equal bits {}", list(&comparisons))),
            false => (Mark::Missing, format!("numerics contract, {name}: other bits when {}", broken.join(", "))),
        };
        s.row(mark, &format!("cuda:{number}_contract_{name}"), text, broken.is_empty().into());
        if !broken.is_empty() {
            s.advise("a GPU on which the contract does not hold trains, but not exactly on-policy; please report it");
        }
    }
    Ok(())
}

fn list(comparisons: &[Comparison]) -> String {
    comparisons.iter().map(|c| c.with).collect::<Vec<_>>().join(", ")
}

fn speed(s: &mut Section, key: &str, label: &str, (measured, peak): (f64, f64), (unit, name): (f64, &str)) {
    let share = measured / peak;
    let text = format!("{label}: {:.0} {name} of {:.0} ({:.0} %)", measured / unit, peak / unit, 100.0 * share);
    s.row(if share < POOR { Mark::Note } else { Mark::Ok }, key, text, measured.into());
}

/// Small networks with the shapes of Qwen2.5-0.5B and of a DeepSeek-V3 with latent attention and experts.
fn networks() -> [(&'static str, Value); 2] {
    let common = json!({ "vocab_size": 16384, "num_hidden_layers": 2, "hidden_act": "silu", "rms_norm_eps": 1e-6,
                         "rope_theta": 1e4, "max_position_embeddings": 4096 });
    let with = |more: Value| {
        let mut config = common.clone();
        let (config, more) = (config.as_object_mut().expect("an object"), more);
        config.extend(more.as_object().expect("an object").clone());
        Value::Object(config.clone())
    };
    [
        (
            "qwen2",
            with(json!({ "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
                               "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": true })),
        ),
        (
            "deepseek_v3",
            with(json!({ "model_type": "deepseek_v3", "hidden_size": 1024, "intermediate_size": 2816,
            "moe_intermediate_size": 384, "num_attention_heads": 16, "num_key_value_heads": 16, "n_shared_experts": 1,
            "n_routed_experts": 32, "num_experts_per_tok": 4, "n_group": 1, "topk_group": 1,
            "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": true,
            "routed_scaling_factor": 2.5, "kv_lora_rank": 256, "q_lora_rank": 384, "qk_rope_head_dim": 32,
            "qk_nope_head_dim": 64, "v_head_dim": 64, "first_k_dense_replace": 1, "moe_layer_freq": 1,
            "num_nextn_predict_layers": 0, "tie_word_embeddings": false })),
        ),
    ]
}
