//! Measures the speed of this machine on a short piece of the planned work.

use super::device::{MEMORY_SHARE, Speed};
use super::time::Flops;
use super::work::Work;
use crate::error::Error;
use crate::time::Training;
use meno_model::{Config, Model};
use meno_tensor::cpu::roofline;
use meno_tensor::cuda::cards;
use meno_tensor::device::Device;
use meno_tensor::pool;
use serde_json::{Map, Value};
use std::time::Instant;

/// Parameters of the measured network, at most: about a GiB with gradients and optimizer.
const PARAMETERS: u64 = 48 << 20;
/// Bytes of the memory that is read and written for the bandwidth: more than caches hold.
const BYTES: usize = 1 << 28;

/// Measures this machine with `pool::threads` threads: training passes of the network, or of a part of it, on
/// `device`, and the bandwidth of the memory. `memory` is that of a rank.
pub fn measure(work: &Work, device: Device, memory: u64) -> Result<Speed, Error> {
    let (config, part) = piece(&work.config)?;
    let mtp = work.mtp && config.num_nextn_predict_layers > 0;
    let parameters = config.counts().stored();
    let mut model = Model::random_on(device, config.clone(), 0)?;
    let training = Training::measure(&mut model, &work.train, mtp, work.length)?;
    // A piece has passes that fit its second, not those of the recipe.
    let length = work.length.min(training.rows);
    let executed = Flops::of_network(&config, mtp).executed(length, work.train.gradient_checkpointing);
    let (flops, threads) = (executed / training.token, pool::threads());
    let card = match device {
        Device::Cuda(number) => cards().ok().and_then(|cards| cards.into_iter().nth(number)),
        _ => None,
    };
    let (peak, memory_bandwidth) = match card {
        Some(card) => (card.bf16_flops.unwrap_or(flops), MEMORY_SHARE * card.bandwidth),
        None => (1e9 * roofline::gflops(work.train.precision) * threads as f64, memory_bandwidth()),
    };
    Ok(Speed {
        name: device.to_string(),
        device,
        memory,
        flops,
        peak,
        memory_bandwidth,
        source: format!(
            "measured on this machine, {device} with {threads} {}: {:.1} GFLOP/s in {} ({:.0} % of the peak), by \
             training passes of {part}, {:.1} M parameters; every rank is assumed to be as fast",
            if threads == 1 { "thread" } else { "threads" },
            flops / 1e9,
            work.train.precision,
            100.0 * flops / peak,
            parameters as f64 / 1e6,
        ),
    })
}

/// Returns the bytes per second that all threads read and write.
fn memory_bandwidth() -> f64 {
    let mut values = vec![0f32; BYTES / size_of::<f32>()];
    let mut run = || {
        let start = Instant::now();
        pool::for_chunks(&mut values, 1 << 16, |_, chunk| chunk.iter_mut().for_each(|x| *x += 1.0));
        2.0 * BYTES as f64 / start.elapsed().as_secs_f64()
    };
    // The first run also gets the pages from the system.
    run();
    (0..3).map(|_| run()).fold(0.0, f64::max)
}

/// Returns the network, or a part of it that a few seconds can measure, and describes it: two layers with their share
/// of the vocabulary; if they are too large, with fewer experts, then with smaller widths.
fn piece(config: &Config) -> Result<(Config, String), Error> {
    if config.counts().stored() <= PARAMETERS {
        return Ok((config.clone(), "the whole network".to_owned()));
    }
    let Value::Object(mut keys) = config.to_value() else { return Ok((config.clone(), String::new())) };
    let layers = config.num_hidden_layers.min(2);
    keys.insert("num_hidden_layers".into(), layers.into());
    lower(&mut keys, "first_k_dense_replace", 1);
    lower(&mut keys, "num_nextn_predict_layers", 0);
    let vocabulary = (config.vocab_size * layers / config.num_hidden_layers).max(256);
    keys.insert("vocab_size".into(), vocabulary.into());
    if keys.contains_key("mlp_only_layers") {
        keys.insert("mlp_only_layers".into(), Value::Array(Vec::new()));
    }
    let read = |keys: &Map<String, Value>| Config::from_value("the measured part", Value::Object(keys.clone()));
    let mut piece = read(&keys)?;
    let mut halvings = 0;
    while piece.counts().stored() > PARAMETERS {
        let gate = piece.moe().map(|moe| (moe.gate.n_routed_experts, moe.gate.num_experts_per_tok));
        match gate.filter(|(experts, used)| experts / 2 >= 2 * used) {
            Some((experts, _)) => {
                for key in ["n_routed_experts", "num_experts"] {
                    lower(&mut keys, key, experts / 2);
                }
                lower(&mut keys, "n_group", 1);
                lower(&mut keys, "topk_group", 1);
            }
            None => {
                halve(&mut keys, &piece);
                halvings += 1;
            }
        }
        match read(&keys) {
            Ok(smaller) if smaller.counts().stored() < piece.counts().stored() => piece = smaller,
            _ => break, // sizes that cannot be halved
        }
    }
    let mut text = format!("{layers} of its {} layers", config.num_hidden_layers);
    if let (Some(few), Some(all)) = (piece.moe(), config.moe()) {
        text += &format!(" with {} of {} experts", few.gate.n_routed_experts, all.gate.n_routed_experts);
    }
    if halvings > 0 {
        text += &format!(" and 1/{} of its widths", 1 << halvings);
    }
    Ok((piece, text))
}

/// Sets a key that is present to at most `most`.
fn lower(keys: &mut Map<String, Value>, key: &str, most: usize) {
    if let Some(value) = keys.get_mut(key)
        && value.as_u64().is_some_and(|n| n > most as u64)
    {
        *value = most.into();
    }
}

/// Halves the widths and the number of heads.
fn halve(keys: &mut Map<String, Value>, config: &Config) {
    let widths = ["hidden_size", "intermediate_size", "moe_intermediate_size", "q_lora_rank", "vocab_size"];
    let heads = ["num_attention_heads", "num_key_value_heads"];
    let fits = |n: u64| n > 1 && n.is_multiple_of(2);
    for key in widths.into_iter().chain(heads.into_iter().filter(|_| config.num_attention_heads > 1)) {
        if let Some(n) = keys.get(key).and_then(Value::as_u64).filter(|&n| fits(n)) {
            keys.insert(key.into(), (n / 2).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_piece_is_small_and_keeps_the_kind_of_network() {
        let v3: Value = serde_json::from_str(include_str!("../../../../recipes/v3/config.json")).unwrap();
        let (v3, text) = piece(&Config::from_value("v3", v3).unwrap()).unwrap();
        assert!(v3.counts().stored() <= PARAMETERS && v3.deepseek().is_some(), "{text}");
        assert_eq!((v3.num_hidden_layers, v3.is_moe(0), v3.is_moe(1)), (2, false, true));
        assert!(text.starts_with("2 of its 61 layers with 16 of 256 experts and 1/"), "{text}");
        let qwen = json!({
            "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
            "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
            "max_position_embeddings": 32768, "tie_word_embeddings": true
        });
        let (qwen, text) = piece(&Config::from_value("qwen", qwen).unwrap()).unwrap();
        // A twelfth of the layers and of the vocabulary: the head keeps its share of the work.
        assert_eq!((qwen.num_hidden_layers, qwen.vocab_size, qwen.hidden_size), (2, 12661, 896), "{text}");
        let tiny: Value = serde_json::from_str(include_str!("../../../../recipes/tiny/model/config.json")).unwrap();
        let tiny = Config::from_value("tiny", tiny).unwrap();
        assert_eq!(piece(&tiny).unwrap(), (tiny, "the whole network".to_owned()));
    }
}
