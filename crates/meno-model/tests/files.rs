//! Checkpoints: files read back as written, and errors name what is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/networks.rs"]
mod networks;

use meno_model::safetensors::{Safetensors, Tensor, write};
use meno_model::{Dtype, Error, InferOptions, Model, TrainOptions};
use meno_tensor::backend::Pass;
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, CrossEntropy};
use networks::{config, deepseek_v3, llama, model, qwen2, tokens, train_step, training_batch};
use serde_json::{Value, json};
use std::path::Path;

fn saved(value: &Value, dtype: Dtype) -> (tempfile::TempDir, Model) {
    let dir = tempfile::tempdir().unwrap();
    let model = model(value, 11);
    model.save(dir.path(), dtype).unwrap();
    (dir, model)
}

fn load_error(path: &Path) -> String {
    Model::load(path).err().expect("refused").to_string()
}

#[test]
fn f32_round_trips_to_the_bit() {
    for value in [deepseek_v3(), llama(), qwen2()] {
        let (dir, model) = saved(&value, Dtype::F32);
        let again = Model::load(dir.path()).unwrap();
        assert_eq!(again.weights.read_all().unwrap(), model.weights.read_all().unwrap());
        let names = |m: &Model| m.layout().iter().map(|(_, i)| (i.name.clone(), i.shape.clone())).collect::<Vec<_>>();
        assert_eq!(names(&again), names(&model));
        // Saving a loaded model changes no byte.
        let second = tempfile::tempdir().unwrap();
        again.save(second.path(), Dtype::F32).unwrap();
        for file in ["config.json", "model.safetensors"] {
            assert_eq!(std::fs::read(dir.path().join(file)).unwrap(), std::fs::read(second.path().join(file)).unwrap());
        }
    }
}

/// Writes the input of `dev/reference/load_saved.py`.
#[test]
#[ignore = "writes target/saved for a script that needs Python"]
fn keep_saved_models() {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/saved");
    for (name, value) in [("deepseek_v3", deepseek_v3()), ("llama", llama()), ("qwen2", qwen2())] {
        let dir = out.join(name);
        model(&value, 21).save(&dir, Dtype::Bf16).unwrap();
        let mut saved = Model::load(&dir).unwrap();
        let ids = tokens(50, 3);
        let o = InferOptions::default();
        let mut batch = Batch::default();
        let mut cache = saved.backend().kv_cache_with_slots(&saved.cache_specs(o), 1, ids.len()).unwrap();
        batch.logit_rows = batch.push(&ids, 0, Some(0)).collect();
        let mut executor = saved.infer_executor(ids.len(), o).unwrap();
        let loss = CrossEntropy { head_scale: [1.0, 0.0] };
        executor
            .forward(&mut *saved.weights, Pass::new(Precision::F32, &batch).with_objective(&loss), Some(&mut cache))
            .unwrap();
        let ids: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        let tensor = |name: &str, shape: Vec<usize>, data| Tensor { name: name.into(), shape, data, dtype: Dtype::F32 };
        let tensors = [tensor("tokens", vec![50], &ids), tensor("logits", vec![50, 96], &executor.outputs().logits)];
        std::fs::create_dir_all(dir.join("expected")).unwrap();
        write(&dir.join("expected/logits.safetensors"), &tensors).unwrap();
    }
}

#[test]
fn bf16_rounds_weights_but_not_the_selection_bias() {
    let (dir, model) = saved(&deepseek_v3(), Dtype::Bf16);
    let again = Model::load(dir.path()).unwrap();
    for ((p, info), (q, _)) in model.layout().iter().zip(again.layout().iter()) {
        let (a, b) = (model.weights.read(p).unwrap(), again.weights.read(q).unwrap());
        if info.name.ends_with("e_score_correction_bias") {
            assert!(a == b && !info.trainable, "{}", info.name);
        } else {
            assert!(a.iter().zip(&*b).all(|(a, b)| half::bf16::from_f32(*a).to_f32() == *b), "{}", info.name);
        }
    }
}

#[test]
fn other_files_and_unknown_keys_survive() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("generation_config.json"), "{\"temperature\": 0.6}").unwrap();
    model(&deepseek_v3(), 1).save(dir.path(), Dtype::Bf16).unwrap();
    let config: Value = serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["an_unknown_key"], json!({"kept": [1, 2, 3]}));
    assert_eq!(config["torch_dtype"], json!("bfloat16"));
    let generation = std::fs::read_to_string(dir.path().join("generation_config.json")).unwrap();
    assert_eq!(generation, "{\"temperature\": 0.6}");
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "generation_config.json", "model.safetensors"], "no temporary file stays");
}

#[test]
fn the_mtp_module_is_written_as_published() {
    let (dir, model) = saved(&deepseek_v3(), Dtype::F32);
    let file = Safetensors::open(&dir.path().join("model.safetensors")).unwrap();
    for (name, shape) in [
        ("enorm.weight", vec![32]),
        ("hnorm.weight", vec![32]),
        ("eh_proj.weight", vec![32, 64]),
        ("embed_tokens.weight", vec![96, 32]),
        ("shared_head.norm.weight", vec![32]),
        ("shared_head.head.weight", vec![96, 32]),
        ("mlp.gate.e_score_correction_bias", vec![8]),
        ("mlp.experts.7.down_proj.weight", vec![32, 16]),
        ("self_attn.kv_a_proj_with_mqa.weight", vec![28, 32]),
    ] {
        assert_eq!(file.shape(&format!("model.layers.2.{name}")), Some(&shape[..]), "{name}");
    }
    let mut copy = vec![0.0; 96 * 32];
    file.read_f32("model.layers.2.shared_head.head.weight", &mut copy).unwrap();
    assert_eq!(copy, *model.weights.read(model.layout().find("lm_head.weight").unwrap()).unwrap());
}

/// transformers omits the MTP module when it saves a model.
#[test]
fn without_its_tensors_there_is_no_mtp_module() {
    let mut value = deepseek_v3();
    value["num_nextn_predict_layers"] = json!(0);
    let (dir, _) = saved(&value, Dtype::F32);
    std::fs::write(dir.path().join("config.json"), deepseek_v3().to_string()).unwrap();
    let mut model = Model::load(dir.path()).unwrap();
    assert_eq!(model.config.num_nextn_predict_layers, 0);
    let loss = CrossEntropy { head_scale: [1.0, 0.3] };
    let o = TrainOptions { recompute: false, mtp: true };
    let (executor, _) = train_step(&mut model, o, 32, &training_batch(&[tokens(20, 1)]), &loss);
    assert!(executor.outputs().losses.next_token > 0.0 && executor.outputs().losses.mtp == 0.0);
}

/// Rewrites the tensors of a saved model after `change`.
fn rewrite(dir: &Path, change: impl Fn(&mut Vec<(String, Vec<usize>, Vec<f32>)>)) {
    let path = dir.join("model.safetensors");
    let mut tensors: Vec<_> = {
        let file = Safetensors::open(&path).unwrap();
        let read = |name: String| {
            let shape = file.shape(&name).unwrap().to_vec();
            let mut data = vec![0.0; shape.iter().product()];
            file.read_f32(&name, &mut data).unwrap();
            (name, shape, data)
        };
        file.names().into_iter().map(read).collect()
    };
    change(&mut tensors);
    let tensors: Vec<Tensor> = tensors
        .iter()
        .map(|(name, shape, data)| Tensor { name: name.clone(), shape: shape.clone(), data, dtype: Dtype::F32 })
        .collect();
    write(&path, &tensors).unwrap();
}

#[test]
fn missing_unknown_and_misshapen_tensors_are_named() {
    let (dir, _) = saved(&llama(), Dtype::F32);
    rewrite(dir.path(), |tensors| {
        for (name, shape, _) in tensors.iter_mut() {
            match name.as_str() {
                "model.norm.weight" => *name = "model.morn.weight".into(),
                "model.layers.1.mlp.up_proj.weight" => shape.swap(0, 1),
                "lm_head.weight" => *name = "lm_tail.weight".into(),
                _ => {}
            }
        }
    });
    let error = load_error(dir.path());
    for part in [
        "`model.norm.weight` is missing, expected [32]",
        "`model.morn.weight` is unknown",
        "`model.layers.1.mlp.up_proj.weight` has shape [32, 48], expected [48, 32]",
        "`lm_head.weight` is missing, expected [96, 32] (tie_word_embeddings may have to be true)",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_list_of_problems_stays_short() {
    let (dir, _) = saved(&llama(), Dtype::F32);
    rewrite(dir.path(), |tensors| tensors.truncate(1));
    let Err(Error::Tensors { problems, .. }) = Model::load(dir.path()) else { panic!("refused for its tensors") };
    assert_eq!(problems.len(), 17);
    assert_eq!(problems[16], "and 4 more");
}

#[test]
fn damaged_files_are_refused() {
    let (dir, _) = saved(&qwen2(), Dtype::F32);
    let path = dir.path().join("model.safetensors");
    let good = std::fs::read(&path).unwrap();
    for len in [0, 4, 8, 100, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..len]).unwrap();
        let error = load_error(dir.path());
        assert!(error.contains("model.safetensors"), "{len}: {error}");
    }
    let mut forged = good.clone();
    forged[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, &forged).unwrap();
    assert!(load_error(dir.path()).contains("not a usable safetensors file"));
    // An unsupported type.
    let text = String::from_utf8_lossy(&good[8..]).replacen("\"F32\"", "\"I32\"", 1);
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut integers = good.clone();
    integers[8..8 + header].copy_from_slice(&text.as_bytes()[..header]);
    std::fs::write(&path, &integers).unwrap();
    let error = load_error(dir.path());
    assert!(error.contains("I32") && error.contains("BF16"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(load_error(dir.path()).contains("has a config.json but no weights"));
}

#[test]
fn a_tensor_of_many_dimensions_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let header = format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{}1],\"data_offsets\":[0,4]}}}}", "1,".repeat(30_000));
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    std::fs::write(&path, bytes).unwrap();
    let error = meno_model::safetensors::Safetensors::open(&path).map(drop).unwrap_err().to_string();
    assert!(error.contains("tensor `a` has 30001 dimensions, expected at most 8"), "{error}");
}

#[test]
fn a_lying_index_is_refused() {
    let (dir, _) = saved(&qwen2(), Dtype::F32);
    std::fs::rename(dir.path().join("model.safetensors"), dir.path().join("model-00001-of-00001.safetensors")).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::write(&index, json!({"weight_map": {"x": "model-00001-of-00001.safetensors"}}).to_string()).unwrap();
    assert!(Model::load(dir.path()).is_ok());
    for (text, says) in [
        ("{".to_owned(), "not JSON"),
        ("{}".to_owned(), "weight_map"),
        (json!({"weight_map": {"x": "../secret"}}).to_string(), "../secret"),
        (json!({"weight_map": {"x": 7}}).to_string(), "the name of a file"),
        (json!({"weight_map": {"x": "model-00002-of-00002.safetensors"}}).to_string(), "model-00002-of-00002"),
    ] {
        std::fs::write(&index, text).unwrap();
        let error = load_error(dir.path());
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_config_that_does_not_fit_allocates_nothing() {
    let (dir, _) = saved(&llama(), Dtype::F32);
    let mut forged = llama();
    forged["vocab_size"] = json!(1 << 22);
    forged["hidden_size"] = json!(1 << 17);
    std::fs::write(dir.path().join("config.json"), forged.to_string()).unwrap();
    assert!(load_error(dir.path()).contains("has shape"));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = model(&llama(), 1).save(&file.join("model"), Dtype::F32).unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
    assert!(load_error(&file).contains("is text, not a model"));
    assert!(load_error(&dir.path().join("nowhere")).contains("nowhere"));
}

#[test]
fn the_selection_bias_moves_against_the_load() {
    let mut model = Model::random(config(&deepseek_v3()), 1).unwrap();
    let names = ["model.layers.1", "model.layers.2"].map(|l| format!("{l}.mlp.gate.e_score_correction_bias"));
    // Means 3 and 2.5; the second router is the MTP module's.
    let load = [vec![5, 3, 1, 3, 3, 3, 3, 3], vec![0, 5, 2, 3, 4, 1, 2, 3]];
    model.update_router_bias(&load, 0.5).unwrap();
    model.update_router_bias(&load, 0.0).unwrap();
    let biases = names.map(|n| model.weights.read(model.layout().find(&n).unwrap()).unwrap().to_vec());
    assert_eq!(biases[0], [-0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(biases[1], [0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5, -0.5]);
    // An executor without the MTP module has one router.
    model.update_router_bias(&load[..1], 0.5).unwrap();
    let first =
        model.weights.read(model.layout().find("model.layers.1.mlp.gate.e_score_correction_bias").unwrap()).unwrap();
    assert_eq!(first[..3], [-1.0, 0.0, 1.0]);
}

#[test]
fn random_weights_follow_their_seed_and_range() {
    let weights = |seed| Model::random(config(&deepseek_v3()), seed).unwrap();
    let (a, b, c) = (weights(1), weights(1), weights(2));
    assert_eq!(a.weights.read_all().unwrap(), b.weights.read_all().unwrap());
    assert_ne!(a.weights.read_all().unwrap(), c.weights.read_all().unwrap());
    for (p, info) in a.layout().iter() {
        let values = a.weights.read(p).unwrap();
        match info.shape.len() {
            1 if info.name.contains("norm") => assert!(values.iter().all(|&x| x == 1.0), "{}", info.name),
            1 => assert!(values.iter().all(|&x| x == 0.0), "{}", info.name),
            _ => {
                let n = values.len() as f32;
                let std = (values.iter().map(|x| x * x).sum::<f32>() / n).sqrt();
                // Five standard errors of a standard deviation.
                assert!((std / 0.2 - 1.0).abs() < 5.0 / (2.0 * n).sqrt(), "{}: {std}", info.name);
            }
        }
    }
}
