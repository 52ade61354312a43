//! FP8 matrices that a GPU stores as they are give the logits of the same matrices in bf16. Checkpoints with errors are
//! refused as on the CPU.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/networks.rs"]
mod networks;

use meno_model::{InferOptions, LoadOptions, Model};
use meno_tensor::backend::Pass;
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use meno_tensor::rng::Rng;
use meno_tensor::tape::Batch;
use networks::{config, deepseek_v3, tokens};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How the matrices of a checkpoint are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// Factors in f32; embedding and head are not FP8, as published.
    F32,
    /// Factors in e8m0, and embedding and head are FP8 too.
    E8m0,
}

/// A tensor of a checkpoint: type, shape and bytes.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);
type Tensors = BTreeMap<String, Tensor>;
/// What a checkpoint has wrong.
type Change<'a> = &'a dyn Fn(&mut Tensors);

/// A network whose matrices end within blocks and tiles.
fn network(block: [usize; 2]) -> Value {
    let mut value = deepseek_v3();
    for (key, size) in
        [("hidden_size", 200), ("intermediate_size", 136), ("q_lora_rank", 72), ("moe_intermediate_size", 56)]
    {
        value[key] = size.into();
    }
    value["quantization_config"] = json!({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": block});
    value
}

/// Returns true if a tensor is FP8 in this form.
fn is_fp8(name: &str, shape: &[usize], form: Form) -> bool {
    let outside = name.contains("embed_tokens") || name.contains("lm_head");
    shape.len() == 2 && !name.ends_with("mlp.gate.weight") && (form == Form::E8m0 || !outside)
}

/// Random tensors for a network: codes of any value but NaN, with factors that make them as large as weights are.
fn tensors(value: &Value, form: Form) -> Tensors {
    let block = [0, 1].map(|i| value["quantization_config"]["weight_block_size"][i].as_u64().unwrap() as usize);
    let mut rng = Rng::new(&[31]);
    let mut all = BTreeMap::new();
    for (_, info) in Model::random(config(value), 31).unwrap().layout().iter() {
        let (name, shape) = (info.name.clone(), info.shape.clone());
        if !is_fp8(&name, &shape, form) {
            let base = if shape.len() == 1 { 1.0 } else { 0.0 };
            let values = (0..info.len()).flat_map(|_| (base + 0.1 * rng.normal()).to_le_bytes()).collect();
            all.insert(name, (Dtype::F32, shape, values));
            continue;
        }
        let codes = (0..info.len()).map(|_| (rng.below(2) * 128 + rng.below(127)) as u8).collect();
        let factors = [shape[0].div_ceil(block[0]), shape[1].div_ceil(block[1])];
        let count = 0..factors[0] * factors[1];
        let scale = match form {
            Form::F32 => {
                (Dtype::F32, factors.to_vec(), count.flat_map(|_| (1e-3 * rng.normal()).to_le_bytes()).collect())
            }
            Form::E8m0 => (Dtype::F8_E8M0, factors.to_vec(), count.map(|_| (116 + rng.below(3)) as u8).collect()),
        };
        all.insert(format!("{name}_scale_inv"), scale);
        all.insert(name, (Dtype::F8_E4M3, shape, codes));
    }
    all
}

fn write(dir: &Path, value: &Value, tensors: &Tensors) {
    std::fs::write(dir.join("config.json"), value.to_string()).unwrap();
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
}

fn load(dir: &Path, device: Device, keep_quantized: bool) -> Result<Model, meno_model::Error> {
    Model::load_with(dir, LoadOptions { device, keep_quantized, bf16_only: true, experts: None }, &mut |_, _| {})
}

/// Returns the logits after every token, which are fed in chunks.
fn logits(model: &mut Model, chunks: &[usize]) -> Vec<f32> {
    let sequence = tokens(chunks.iter().sum(), 4);
    let o = InferOptions { absorbed: true };
    let mut executor = model.infer_executor(sequence.len(), o).unwrap();
    let specs = model.cache_specs(o);
    let mut cache = model.backend().kv_cache_with_slots(&specs, 1, sequence.len()).unwrap();
    let (mut logits, mut past) = (Vec::new(), 0);
    for &chunk in chunks {
        let mut batch = Batch::default();
        batch.logit_rows = batch.push(&sequence[past..past + chunk], past, Some(0)).collect();
        let pass = Pass::new(Precision::Bf16, &batch);
        logits.extend_from_slice(&executor.forward(&mut *model.weights, pass, Some(&mut cache)).unwrap().logits);
        past += chunk;
    }
    logits
}

/// Returns the names of the matrices that stay as they are.
fn kept(model: &Model) -> Vec<&str> {
    let layout = model.layout();
    layout.iter().filter(|(p, _)| layout.is_quantized(*p)).map(|(_, info)| info.name.as_str()).collect()
}

#[test]
fn fp8_on_a_gpu_has_the_bits_of_bf16() {
    for form in [Form::F32, Form::E8m0] {
        let dir = tempfile::tempdir().unwrap();
        let value = network([128, 128]);
        write(dir.path(), &value, &tensors(&value, form));
        for device in Device::all() {
            let [mut rounded, mut quantized] = [false, true].map(|keep| load(dir.path(), device, keep).unwrap());
            let [expected, other] = [&mut rounded, &mut quantized].map(|model| logits(model, &[1, 66, 10]));
            assert!(expected.iter().all(|x| x.is_finite()));
            assert!(expected == other, "{form:?} on {device}");
            assert!(kept(&rounded).is_empty());
            let names = kept(&quantized);
            let has = |part: &str| names.iter().any(|name| name.contains(part));
            let fp8 =
                ["q_a_proj", "o_proj", "layers.0.mlp.up_proj", "shared_experts.down_proj", ".experts.", "eh_proj"];
            assert!(fp8.into_iter().all(|part| has(part) == device.has_own_memory()), "{device}: {names:?}");
            assert_eq!(has("lm_head"), device.has_own_memory() && form == Form::E8m0);
            assert!(!has("kv_b_proj") && !has("mlp.gate."));
            let bytes = [&rounded, &quantized].map(|model| model.weights.bytes() + model.weights.quantized_bytes());
            assert_eq!(bytes[1] < bytes[0], device.has_own_memory(), "{device}: {bytes:?}");
        }
    }
}

#[test]
fn blocks_that_are_no_whole_tiles_become_bf16() {
    let dir = tempfile::tempdir().unwrap();
    let value = network([16, 24]);
    write(dir.path(), &value, &tensors(&value, Form::F32));
    for device in Device::all() {
        assert!(kept(&load(dir.path(), device, true).unwrap()).is_empty(), "{device}");
    }
}

#[test]
fn errors_are_those_of_the_cpu() {
    let value = network([128, 128]);
    let weight = "model.layers.0.self_attn.o_proj.weight";
    let factors = format!("{weight}_scale_inv");
    let f32s = |values: [f32; 2]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let good = tensors(&value, Form::F32);
    // o_proj is [200, 30]: two blocks.
    let changes: [(&str, Change); 6] = [
        ("element 77", &|all| all.get_mut(weight).unwrap().2[77] = 0xFF),
        ("element 1", &|all| all.get_mut(&factors).unwrap().2 = f32s([1.0, f32::INFINITY])),
        ("element 3840", &|all| {
            all.get_mut(weight).unwrap().2[128 * 30..].fill(0x7E);
            all.get_mut(&factors).unwrap().2 = f32s([1.0, 1e36]);
        }),
        ("is missing", &|all| _ = all.remove(&factors)),
        ("has shape [1, 2], expected [2, 1]", &|all| all.get_mut(&factors).unwrap().1 = vec![1, 2]),
        // A large factor of small codes is no error.
        ("", &|all| {
            all.get_mut(weight).unwrap().2[128 * 30..].fill(0x08);
            all.get_mut(&factors).unwrap().2 = f32s([1.0, 1e36]);
        }),
    ];
    for (expected, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        let mut all = good.clone();
        change(&mut all);
        write(dir.path(), &value, &all);
        let of_cpu = Model::load(dir.path()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(of_cpu.contains(expected) && of_cpu.is_empty() == expected.is_empty(), "{of_cpu:?}");
        for device in Device::all() {
            let error = load(dir.path(), device, true).err().map(|e| e.to_string()).unwrap_or_default();
            assert_eq!(error, of_cpu, "{device}");
        }
    }
}
