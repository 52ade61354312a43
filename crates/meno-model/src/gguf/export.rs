//! A checkpoint in llama.cpp's terms: the metadata equivalent to its config, and its tensors under llama.cpp's names
//! and in its layouts. This is the inverse of `config.rs` and `names.rs` (llama.cpp `conversion/`).

use super::names::{EXPERTS, GRANITE, is_interleaved, plain};
use super::{GgmlType, Gguf, Metadata};
use crate::config::{Arch, Deepseek, Grouped, RopeScaling};
use crate::{Config, Error, Model, ModelType};
use meno_tensor::ops::rope::yarn_mscale;
use meno_tensor::ops::router::{Scoring, TopkMethod};

/// A part of a tensor: whole rows, one part after the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// A Hugging Face tensor, unchanged.
    Whole(String),
    /// Rows of each of `heads` heads, reordered from half-split to interleaved rotation.
    Permuted { hf: String, heads: usize },
    /// The key rows of kv_b_proj, transposed by head: [heads, kv_lora_rank, qk_nope].
    KeyHalf(String),
    /// The value rows of kv_b_proj: [heads, v_head, kv_lora_rank].
    ValueHalf(String),
    /// A part of a stored GGUF tensor.
    Stored { tensor: usize, slice: usize, of: usize },
    /// Values that are not in any file.
    Given(Vec<f32>),
}

/// A tensor of the output file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) parts: Vec<Part>,
    /// Its storage type in the input, if that is a GGUF file.
    pub(crate) stored: Option<GgmlType>,
}

/// Everything of the output file except its types.
pub(crate) struct Export {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<Tensor>,
}

impl Export {
    /// Keeps the metadata and tensors of a GGUF file.
    pub(crate) fn from_gguf(file: &Gguf) -> Export {
        let tensor = |(i, t): (usize, &super::TensorInfo)| {
            let of = if t.shape.len() > 2 { t.shape[0] } else { 1 };
            Tensor {
                name: t.name.clone(),
                shape: t.shape.clone(),
                parts: (0..of).map(|slice| Part::Stored { tensor: i, slice, of }).collect(),
                stored: Some(t.dtype),
            }
        };
        Export { metadata: Metadata::copied(file), tensors: file.tensors().iter().enumerate().map(tensor).collect() }
    }

    /// Converts a config and Hugging Face's names. The MTP module is omitted, as in llama.cpp's converter.
    pub(crate) fn from_config(config: &Config, name: &str) -> Result<Export, Error> {
        let arch = architecture(config.model_type);
        let mut metadata = Metadata::default();
        metadata.string("general.architecture", arch);
        metadata.string("general.type", "model");
        metadata.string("general.name", name);
        let mut k = ExportKeys { arch, config, out: metadata };
        k.common();
        match &config.arch {
            Arch::Grouped(g) => k.grouped(g)?,
            Arch::Deepseek(d) => k.deepseek(d)?,
        }
        k.rope_scaling()?;
        Ok(Export { metadata: k.out, tensors: tensors(config) })
    }
}

/// Returns llama.cpp's name of a network.
fn architecture(model_type: ModelType) -> &'static str {
    match model_type {
        ModelType::DeepseekV2 | ModelType::DeepseekV3 | ModelType::KimiK2 => "deepseek2",
        ModelType::Granite => "granite",
        ModelType::Llama => "llama",
        ModelType::Qwen2 => "qwen2",
        ModelType::Qwen3 => "qwen3",
        ModelType::Qwen3Moe => "qwen3moe",
    }
}

/// Hyper-parameters, under llama.cpp's keys.
struct ExportKeys<'a> {
    arch: &'static str,
    config: &'a Config,
    out: Metadata,
}

impl ExportKeys<'_> {
    fn u32(&mut self, key: &str, n: usize) {
        self.out.u32(&format!("{}.{key}", self.arch), n as u32);
    }

    fn f32(&mut self, key: &str, x: f64) {
        self.out.f32(&format!("{}.{key}", self.arch), x as f32);
    }

    /// Returns an error about a setting for which the format has no key.
    fn inexpressible(&self, key: &str, what: impl std::fmt::Display) -> Error {
        let what = format!("is {what}, which GGUF cannot express for {}; keep the model as safetensors", self.arch);
        Error::Config { file: "config.json".into(), key: key.into(), what }
    }

    fn common(&mut self) {
        let c = self.config;
        self.u32("block_count", c.num_hidden_layers);
        self.u32("context_length", c.max_position_embeddings);
        self.u32("embedding_length", c.hidden_size);
        self.u32("feed_forward_length", c.intermediate_size);
        self.u32("attention.head_count", c.num_attention_heads);
        self.f32("attention.layer_norm_rms_epsilon", c.rms_norm_eps.into());
        self.f32("rope.freq_base", c.rope_theta);
        self.u32("vocab_size", c.vocab_size);
    }

    fn grouped(&mut self, g: &Grouped) -> Result<(), Error> {
        self.u32("attention.head_count_kv", g.num_key_value_heads);
        self.u32("attention.key_length", g.head_dim);
        self.u32("attention.value_length", g.head_dim);
        if is_interleaved(self.arch) {
            self.u32("rope.dimension_count", g.head_dim);
        }
        if self.config.model_type == ModelType::Granite {
            let m = g.multipliers;
            let scores = self.config.softmax_scale();
            let factors = [m.embedding_multiplier, scores, m.residual_multiplier, m.logits_scaling];
            GRANITE.iter().zip(factors).for_each(|((_, key), factor)| self.f32(key, factor.into()));
        }
        let Some(sparse) = &g.sparse else { return Ok(()) };
        if let Some(dense) = (0..self.config.num_hidden_layers).find(|&l| !sparse.is_sparse(l)) {
            return Err(self.inexpressible("decoder_sparse_step", format!("such that layer {dense} has no experts")));
        }
        if !sparse.moe.gate.norm_topk_prob {
            return Err(self.inexpressible("norm_topk_prob", false));
        }
        self.u32("expert_count", sparse.moe.gate.n_routed_experts);
        self.u32("expert_used_count", sparse.moe.gate.num_experts_per_tok);
        self.u32("expert_feed_forward_length", sparse.moe.moe_intermediate_size);
        Ok(())
    }

    fn deepseek(&mut self, d: &Deepseek) -> Result<(), Error> {
        if !d.rope_interleave {
            return Err(self.inexpressible("rope_interleave", false));
        }
        let gate = d.moe.gate;
        // Attention over the latent is attention with one key for all heads.
        self.u32("attention.head_count_kv", 1);
        if let Some(rank) = d.q_lora_rank {
            self.u32("attention.q_lora_rank", rank);
        }
        self.u32("attention.kv_lora_rank", d.kv_lora_rank);
        self.u32("attention.key_length", d.kv_lora_rank + d.qk_rope_head_dim);
        self.u32("attention.value_length", d.kv_lora_rank);
        self.u32("attention.key_length_mla", d.qk_nope_head_dim + d.qk_rope_head_dim);
        self.u32("attention.value_length_mla", d.v_head_dim);
        self.u32("rope.dimension_count", d.qk_rope_head_dim);
        self.u32("leading_dense_block_count", d.first_k_dense_replace);
        self.u32("expert_count", gate.n_routed_experts);
        self.u32("expert_used_count", gate.num_experts_per_tok);
        self.u32("expert_shared_count", d.moe.n_shared_experts);
        self.u32("expert_feed_forward_length", d.moe.moe_intermediate_size);
        // V2's gate scales its weights only if it does not normalize them.
        let scaled = gate.topk_method == TopkMethod::NoauxTc || !gate.norm_topk_prob;
        self.f32("expert_weights_scale", if scaled { gate.routed_scaling_factor.into() } else { 1.0 });
        let key = format!("{}.expert_weights_norm", self.arch);
        self.out.bool(&key, gate.norm_topk_prob);
        self.u32("expert_gating_func", if gate.scoring_func == Scoring::Sigmoid { 2 } else { 1 });
        let greedy = gate.topk_method == TopkMethod::Greedy;
        self.u32("expert_group_count", if greedy { 1 } else { gate.n_group });
        self.u32("expert_group_used_count", if greedy { 1 } else { gate.topk_group });
        Ok(())
    }

    fn rope_scaling(&mut self) -> Result<(), Error> {
        let scaling = self.config.rope_scaling;
        let kind = format!("{}.rope.scaling.type", self.arch);
        match scaling {
            RopeScaling::None => {}
            // Llama 3's scaling is stored as a tensor of factors, which determine all of its parameters except one.
            RopeScaling::Llama3(l) if (l.low_freq_factor, l.high_freq_factor) != (1.0, 4.0) => {
                return Err(self.inexpressible("rope_scaling.low_freq_factor", l.low_freq_factor));
            }
            RopeScaling::Llama3(l) if self.arch == "llama" => {
                self.u32("rope.scaling.original_context_length", l.original_max_position_embeddings as usize);
            }
            RopeScaling::Llama3(_) => return Err(self.inexpressible("rope_scaling.rope_type", "llama3")),
            RopeScaling::Linear { factor } => {
                self.out.string(&kind, "linear");
                self.f32("rope.scaling.factor", factor);
            }
            RopeScaling::Yarn { yarn, mscale, mscale_all_dim, .. } => {
                self.out.string(&kind, "yarn");
                self.f32("rope.scaling.factor", yarn.factor);
                self.u32("rope.scaling.original_context_length", yarn.original_max_position_embeddings as usize);
                self.f32("rope.scaling.yarn_beta_fast", yarn.beta_fast);
                self.f32("rope.scaling.yarn_beta_slow", yarn.beta_slow);
                if self.arch == "deepseek2" {
                    if mscale != mscale_all_dim {
                        let what = format!("{mscale} and mscale_all_dim {mscale_all_dim}");
                        return Err(self.inexpressible("rope_scaling.mscale", what));
                    }
                    self.f32("rope.scaling.yarn_log_multiplier", 0.1 * mscale_all_dim);
                } else {
                    // The factor that multiplies YaRN's own magnitude.
                    let factor = scaling.magnitude() / yarn_mscale(yarn.factor, 1.0);
                    if (factor - 1.0).abs() > 1e-6 {
                        self.f32("rope.scaling.attn_factor", factor);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the tensors of a network in the order of its layers.
fn tensors(config: &Config) -> Vec<Tensor> {
    let mut out: Vec<Tensor> = Vec::new();
    for (hf, shape) in Model::tensor_shapes(config) {
        let layer = hf.strip_prefix("model.layers.").and_then(|r| r.split('.').next()?.parse::<usize>().ok());
        if layer.is_some_and(|l| l >= config.num_hidden_layers) {
            continue;
        }
        if let Some((name, true)) = expert_stack(&hf) {
            let n = config.moe().map_or(0, |m| m.gate.n_routed_experts);
            let each = |e: usize| Part::Whole(hf.replacen(".experts.0.", &format!(".experts.{e}."), 1));
            out.push(Tensor {
                name,
                shape: [&[n], &shape[..]].concat(),
                parts: (0..n).map(each).collect(),
                stored: None,
            });
        } else if let Some(block) = hf.strip_suffix(".self_attn.kv_b_proj.weight") {
            out.extend(kv_b(config, &hf, &block["model.layers.".len()..]));
        } else if let Some(name) = plain(&hf) {
            let part = match permuted(config, &hf) {
                Some(heads) => Part::Permuted { hf, heads },
                None => Part::Whole(hf),
            };
            out.push(Tensor { name, shape, parts: vec![part], stored: None });
        }
    }
    if let RopeScaling::Llama3(_) = config.rope_scaling {
        let plain = RopeScaling::None.frequencies(config.rope_theta, config.rope_dim());
        let factors = plain.iter().zip(config.rope_frequencies()).map(|(plain, scaled)| (plain / scaled) as f32);
        let factors: Vec<f32> = factors.collect();
        let shape = vec![factors.len()];
        let parts = vec![Part::Given(factors)];
        out.push(Tensor { name: "rope_freqs.weight".into(), shape, parts, stored: None });
    }
    out
}

/// Returns the stack that contains an expert's tensor, and true if it is the tensor of the first expert.
fn expert_stack(hf: &str) -> Option<(String, bool)> {
    let (layer, rest) = hf.strip_prefix("model.layers.")?.split_once(".mlp.experts.")?;
    let (expert, module) = rest.split_once('.')?;
    let (_, name) = EXPERTS.iter().find(|(h, _)| *h == module)?;
    Some((format!("blk.{layer}.{name}.weight"), expert == "0"))
}

/// Returns the number of heads whose rows llama.cpp's converter reorders.
fn permuted(config: &Config, hf: &str) -> Option<usize> {
    let Arch::Grouped(g) = &config.arch else { return None };
    match hf {
        _ if !is_interleaved(architecture(config.model_type)) => None,
        _ if hf.contains(".self_attn.q_proj.") => Some(config.num_attention_heads),
        _ if hf.contains(".self_attn.k_proj.") => Some(g.num_key_value_heads),
        _ => None,
    }
}

/// Returns kv_b_proj as two halves.
fn kv_b(config: &Config, hf: &str, layer: &str) -> [Tensor; 2] {
    let d = config.deepseek().expect("invariant: only MLA has kv_b_proj");
    let (h, c) = (config.num_attention_heads, d.kv_lora_rank);
    let tensor = |name: &str, shape: [usize; 3], part| Tensor {
        name: format!("blk.{layer}.{name}.weight"),
        shape: shape.to_vec(),
        parts: vec![part],
        stored: None,
    };
    [
        tensor("attn_k_b", [h, c, d.qk_nope_head_dim], Part::KeyHalf(hf.to_owned())),
        tensor("attn_v_b", [h, d.v_head_dim, c], Part::ValueHalf(hf.to_owned())),
    ]
}

/// Inverts `names::unpermute`: row j·(head/2) + i of a head moves to row 2i + j.
pub(crate) fn permute(hf: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (cols, head) = (hf.len() / rows, rows / heads);
    let mut out = Vec::with_capacity(hf.len());
    for row in 0..rows {
        let (h, i, j) = (row / head, row % head / 2, row % 2);
        out.extend_from_slice(&hf[(h * head + j * (head / 2) + i) * cols..][..cols]);
    }
    out
}

/// Returns one half of kv_b_proj `[heads·(nope + v), rank]`: keys transposed by head, or values.
pub(crate) fn split_kv_b(config: &Config, kv_b: &[f32], keys: bool) -> Vec<f32> {
    let d = config.deepseek().expect("invariant: only MLA has kv_b_proj");
    let (rank, nope, v) = (d.kv_lora_rank, d.qk_nope_head_dim, d.v_head_dim);
    let mut out = Vec::new();
    for head in kv_b.chunks_exact((nope + v) * rank) {
        let (k, v) = head.split_at(nope * rank);
        match keys {
            true => out.extend((0..rank).flat_map(|r| (0..nope).map(move |n| k[n * rank + r]))),
            false => out.extend_from_slice(v),
        }
    }
    out
}

/// Every name of a block maps back to itself.
#[cfg(test)]
#[test]
fn names_go_both_ways() {
    for (hf, ggml) in super::names::BLOCK {
        let name = format!("model.layers.3.{hf}.weight");
        assert_eq!(plain(&name).unwrap(), format!("blk.3.{ggml}.weight"));
        assert_eq!(super::hf_name(&format!("blk.3.{ggml}.weight")).unwrap(), name);
    }
}
