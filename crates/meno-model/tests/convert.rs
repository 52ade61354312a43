//! Checkpoints in other formats hold the same weights: FP8, adapters, GGUF and back. The golden files are made by
//! `dev/reference/{fp8,lora,networks,gguf_dequant}.py`.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_model::convert::Checkpoint;
use meno_model::gguf::{FileType, GgmlType, Gguf};
use meno_model::safetensors::{Safetensors, Tensor, write};
use meno_model::{Dtype, Model};
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(file: &Safetensors, name: &str) -> Vec<f32> {
    let mut values = vec![0.0; file.shape(name).unwrap().iter().product()];
    file.read_f32(name, &mut values).unwrap();
    values
}

fn quiet(_: &str, _: usize, _: usize) {}

fn write_gguf(from: &Checkpoint, to: &Path, file_type: &str) -> Result<(), meno_model::Error> {
    let file_type = FileType::parse(file_type).unwrap();
    from.write_gguf(to, file_type, &from.metadata(file_type)?, &mut quiet)
}

/// Asserts that all weights of both are equal, bit for bit, as are the values derived from the configs.
fn assert_same(a: &Model, b: &Model) {
    for (p, info) in a.layout().iter() {
        let q = b.layout().find(&info.name).unwrap_or_else(|| panic!("{} is lost", info.name));
        let same = a
            .weights
            .read(p)
            .unwrap()
            .iter()
            .zip(&*b.weights.read(q).unwrap())
            .all(|(x, y)| x.to_bits() == y.to_bits());
        assert!(same && b.layout().info(q).shape == info.shape, "{} differs", info.name);
    }
    assert_eq!(a.layout().iter().count(), b.layout().iter().count());
    let close = |x: f64, y: f64| (x - y).abs() <= 1e-6 * x.abs();
    let (c, d) = (&a.config, &b.config);
    assert!(close(c.softmax_scale().into(), d.softmax_scale().into()));
    assert!(close(c.rope_scaling.magnitude(), d.rope_scaling.magnitude()));
    assert!(c.rope_frequencies().iter().zip(d.rope_frequencies()).all(|(&x, y)| close(x, y)));
    assert_eq!((c.rms_norm_eps, c.max_position_embeddings), (d.rms_norm_eps, d.max_position_embeddings));
    assert_eq!(c.moe().map(|m| m.gate.topk_method), d.moe().map(|m| m.gate.topk_method));
    if let (Some(c), Some(d)) = (c.moe(), d.moe()) {
        assert_eq!((c.gate.scoring_func, c.gate.norm_topk_prob), (d.gate.scoring_func, d.gate.norm_topk_prob));
        assert_eq!((c.gate.n_group, c.gate.topk_group), (d.gate.n_group, d.gate.topk_group));
        assert_eq!(c.gate.routed_scaling_factor, d.gate.routed_scaling_factor);
        assert_eq!(c.gate.num_experts_per_tok, d.gate.num_experts_per_tok);
    }
}

#[test]
fn fp8_is_dequantized_as_torch_does() {
    for name in ["fp8", "fp8_ue8m0"] {
        let model = Model::load(&golden(name)).unwrap();
        let expected = Safetensors::open(&golden(name).join("expected.safetensors")).unwrap();
        assert!(expected.names().len() > 30);
        for tensor in expected.names() {
            let ours = model.weights.read(model.layout().find(&tensor).unwrap()).unwrap();
            let same = ours.iter().zip(read(&expected, &tensor)).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{name}: {tensor}");
        }
        // A saved model is no longer quantized.
        let dir = tempfile::tempdir().unwrap();
        model.save(dir.path(), Dtype::F32).unwrap();
        assert_same(&model, &Model::load(dir.path()).unwrap());
    }
}

/// Copies a golden directory with some tensors changed: new values, a new shape, or removed.
fn changed(name: &str, change: impl Fn(&str, Vec<usize>) -> Option<Vec<usize>>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(golden(name).join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let views = file.tensors().into_iter().filter_map(|(name, view)| {
        let shape = change(&name, view.shape().to_vec())?;
        let bytes = shape.iter().product::<usize>() * view.data().len() / view.shape().iter().product::<usize>();
        let data = view.data().repeat(2)[..bytes].to_vec();
        Some((name, view.dtype(), shape, data))
    });
    let views: Vec<_> = views.collect();
    let views = views.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, &dir.path().join("model.safetensors")).unwrap();
    std::fs::copy(golden(name).join("config.json"), dir.path().join("config.json")).unwrap();
    dir
}

#[test]
fn fp8_with_wrong_factors_is_refused() {
    let scale = "model.layers.0.self_attn.o_proj.weight_scale_inv";
    let refused = |dir: &Path, expected: &str| {
        let error = Model::load(dir).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    // o_proj is [32, 40]: two rows and two columns of blocks of 16×24.
    let dir = changed("fp8", |name, shape| (name != scale).then_some(shape));
    refused(dir.path(), &format!("`{scale}` is missing, expected [2, 2]"));
    let dir = changed("fp8", |name, shape| Some(if name == scale { vec![2, 3] } else { shape }));
    refused(dir.path(), &format!("`{scale}` has shape [2, 3], expected [2, 2]"));
    let dir = changed("fp8", |name, shape| Some(if name == scale { vec![4] } else { shape }));
    refused(dir.path(), "has shape [4], expected [2, 2]");
    let dir = changed("fp8", |_, shape| Some(shape));
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let config = config.replace("quantization_config", "no_quantization_config");
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    refused(dir.path(), "is FP8, but config.json has no `quantization_config`");
}

#[test]
fn adapters_are_merged_as_peft_does() {
    for name in ["lora", "rslora"] {
        let checkpoint = Checkpoint::open(&golden("llama"), Some(&golden(name))).unwrap();
        assert_eq!(checkpoint.adapted(), if name == "lora" { 6 } else { 7 });
        let dir = tempfile::tempdir().unwrap();
        checkpoint.write_directory(dir.path(), Dtype::F32, &mut quiet).unwrap();
        let (ours, base) = (Model::load(dir.path()).unwrap(), Model::load(&golden("llama")).unwrap());
        let expected = Safetensors::open(&golden(name).join("expected.safetensors")).unwrap();
        assert!(expected.names().len() >= 6);
        for (p, info) in ours.layout().iter() {
            let base = base.weights.read(base.layout().find(&info.name).unwrap()).unwrap();
            let expected = match expected.shape(&info.name) {
                Some(_) => read(&expected, &info.name),
                None => base.to_vec(),
            };
            let gap =
                ours.weights.read(p).unwrap().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap <= 1e-6, "{name}: {} differs by {gap}", info.name);
        }
        // The same into a GGUF file, whose rows have another order.
        let path = dir.path().join("merged.gguf");
        write_gguf(&checkpoint, &path, "f32").unwrap();
        assert_same(&ours, &Model::load(&path).unwrap());
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |names: &[(&str, [usize; 2])]| {
        let values = vec![0.0; 4096];
        let tensor = |&(name, shape): &(&str, [usize; 2])| Tensor {
            name: format!("base_model.model.{name}.weight"),
            shape: shape.to_vec(),
            data: &values[..shape[0] * shape[1]],
            dtype: Dtype::F32,
        };
        let tensors: Vec<_> = names.iter().map(tensor).collect();
        write(&dir.path().join("adapter_model.safetensors"), &tensors).unwrap();
    };
    let refused = |expected: &str| {
        let error = Checkpoint::open(&golden("llama"), Some(dir.path())).err().map(|e| e.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    refused("adapter_config.json: No such file");
    std::fs::write(dir.path().join("adapter_config.json"), "{\"lora_alpha\": 8}").unwrap();
    refused("adapter_model.safetensors: No such file");
    let q = "model.layers.0.self_attn.q_proj";
    let (a, b) = (format!("{q}.lora_A"), format!("{q}.lora_B"));
    for (tensors, expected) in [
        (vec![(a.as_str(), [3, 32])], "and its partner do not fit"),
        (vec![(a.as_str(), [3, 31]), (b.as_str(), [32, 3])], "do not fit `model.layers.0.self_attn.q_proj.weight`"),
        (vec![(a.as_str(), [3, 32]), (b.as_str(), [32, 4])], "do not fit"),
        (vec![(b.as_str(), [32, 4])], "changes nothing"),
        (vec![("model.layers.9.self_attn.q_proj.lora_A", [3, 32])], "a weight that the model does not have"),
        (vec![("model.embed_tokens.lora_embedding_A", [3, 32])], "of an unsupported kind"),
    ] {
        write(&tensors);
        refused(expected);
    }
}

/// Every network: safetensors to GGUF (names, row orders, stacks, split kv_b, metadata) and back.
#[test]
fn networks_survive_gguf() {
    let names = [
        "granite",
        "llama",
        "llama_yarn",
        "qwen2",
        "qwen3",
        "qwen3_yarn",
        "deepseek_v3",
        "deepseek_v3_mtp",
        "kimi_k2",
        "deepseek_v2_greedy",
    ];
    for name in names {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(&golden(name), None).unwrap();
        let path = dir.path().join("model.gguf");
        write_gguf(&checkpoint, &path, "f32").unwrap();
        let mut original = Model::load(&golden(name)).unwrap();
        if original.config.num_nextn_predict_layers > 0 {
            // llama.cpp's files have no MTP module.
            let trunk = dir.path().join("trunk");
            let mut config = original.config.to_value();
            config["num_nextn_predict_layers"] = 0.into();
            let mut model = Model::random(meno_model::Config::from_value("c", config).unwrap(), 0).unwrap();
            let all: Vec<_> = model.layout().iter().map(|(p, info)| (p, info.name.clone())).collect();
            for (p, name) in all {
                let from = original.layout().find(&name).unwrap();
                let values = original.weights.read(from).unwrap().to_vec();
                model.weights.update(p, &mut |w| w.copy_from_slice(&values)).unwrap();
            }
            model.save(&trunk, Dtype::F32).unwrap();
            original = Model::load(&trunk).unwrap();
        }
        let back = Model::load(&path).unwrap();
        assert_same(&original, &back);
        let checkpoint = Checkpoint::open(&path, None).unwrap();
        checkpoint.write_directory(&dir.path().join("hf"), Dtype::F32, &mut quiet).unwrap();
        assert_same(&original, &Model::load(&dir.path().join("hf")).unwrap());
    }
}

/// Files of llama.cpp's converter, converted to directories and back to files: the same tensors.
#[test]
fn gguf_survives_directories() {
    for name in ["qwen2", "llama", "deepseek_v3", "deepseek_v2", "qwen3", "qwen3_moe"] {
        let dir = tempfile::tempdir().unwrap();
        let original = golden(&format!("gguf/{name}.gguf"));
        Checkpoint::open(&original, None).unwrap().write_directory(dir.path(), Dtype::F32, &mut quiet).unwrap();
        let original = Model::load(&original).unwrap();
        assert_same(&original, &Model::load(dir.path()).unwrap());
        let path = dir.path().join("again.gguf");
        write_gguf(&Checkpoint::open(dir.path(), None).unwrap(), &path, "f32").unwrap();
        assert_same(&original, &Model::load(&path).unwrap());
    }
}

#[test]
fn what_gguf_cannot_express_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for (name, key) in [
        ("qwen3_moe", "decoder_sparse_step"),
        ("qwen3_moe_unnormed", "norm_topk_prob"),
        ("deepseek_v2_groups", "rope_scaling.mscale"),
    ] {
        let checkpoint = Checkpoint::open(&golden(name), None).unwrap();
        let error = write_gguf(&checkpoint, &dir.path().join("x.gguf"), "f32").unwrap_err().to_string();
        assert!(error.contains(&format!("key `{key}`")) && error.contains("cannot express"), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing half-written is left");
}

/// A GGUF file in other types: unchanged metadata, types by the mixture, approximately equal values.
#[test]
fn gguf_in_other_types() {
    let dir = tempfile::tempdir().unwrap();
    let from = golden("gguf/qwen3_moe.gguf");
    let (checkpoint, original) = (Checkpoint::open(&from, None).unwrap(), Gguf::open(&from).unwrap());
    for (name, limit) in [("f16", 3e-4), ("q8_0", 2e-3), ("q4_0", 0.05), ("q4_k_m", 0.05), ("mxfp4", 0.15)] {
        let path = dir.path().join(format!("{name}.gguf"));
        write_gguf(&checkpoint, &path, name).unwrap();
        let file = Gguf::open(&path).unwrap();
        let keys: Vec<&str> = original.keys().collect();
        assert!(keys.iter().all(|k| file.get(k).is_some()) && keys.len() > 10);
        assert_eq!(file.u64("general.file_type").unwrap(), u64::from(FileType::parse(name).unwrap().code));
        let stack = "blk.1.ffn_up_exps.weight";
        let expected = match name {
            "f16" => GgmlType::F16,
            "q8_0" => GgmlType::Q8_0,
            "q4_0" => GgmlType::Q4_0,
            // Rows of 64 values are not a multiple of the 256-value block.
            "q4_k_m" => GgmlType::Q5_0,
            _ => GgmlType::Mxfp4,
        };
        assert_eq!(file.info(stack).unwrap().dtype, expected, "{name}");
        assert_eq!(file.info("blk.1.ffn_gate_inp.weight").unwrap().dtype, GgmlType::F32);
        let (a, b) = (Model::load(&from).unwrap(), Model::load(&path).unwrap());
        for (p, info) in a.layout().iter() {
            let (a, b) = (a.weights.read(p).unwrap(), b.weights.read(b.layout().find(&info.name).unwrap()).unwrap());
            let gap = a.iter().zip(&*b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap <= limit, "{name}: {} differs by {gap}", info.name);
        }
    }
}

/// A GGUF file states how many coordinates of a head are rotated. llama.cpp would rotate that many, so another number
/// changes the result.
#[test]
fn heads_that_are_rotated_in_part_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.gguf");
    write_gguf(&Checkpoint::open(&golden("llama"), None).unwrap(), &path, "f32").unwrap();
    assert!(Model::load(&path).is_ok());
    let good = std::fs::read(&path).unwrap();
    for key in ["llama.rope.dimension_count", "llama.attention.value_length"] {
        // The key, the type (four bytes), the value (four bytes).
        let at = good.windows(key.len()).position(|w| w == key.as_bytes()).unwrap() + key.len() + 4;
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&2u32.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let error = Model::load(&path).err().unwrap().to_string();
        assert!(error.contains(key) && error.contains("is 2, but a head is"), "{error}");
    }
}
