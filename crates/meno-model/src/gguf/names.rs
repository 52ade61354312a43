//! Maps llama.cpp's tensor names and layouts to Hugging Face's and undoes the changes of its converter (llama.cpp
//! `conversion/{llama,qwen,deepseek}.py`, `gguf-py/gguf/tensor_mapping.py`).
//!
//! Besides the names, the converter changes:
//! - `llama`: the rows of q_proj and k_proj are reordered per head from half-split to interleaved rotation.
//! - `deepseek2`: the experts of a layer are stacked into one tensor; newer files split kv_b_proj into k_b (transposed
//!   per head) and v_b, for absorbed decoding.

use super::{Error, Gguf, TensorInfo};
use meno_tensor::quant::{GgmlType, dequant};
use rayon::prelude::*;

/// Names outside the blocks: (Hugging Face, GGUF).
const TOP: [(&str, &str); 3] = [
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// Modules of a block: (`model.layers.N.` + this, `blk.N.` + this), both followed by `.weight` or `.bias`.
pub(super) const BLOCK: [(&str, &str); 21] = [
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_a_proj", "attn_q_a"),
    ("self_attn.q_a_layernorm", "attn_q_a_norm"),
    ("self_attn.q_b_proj", "attn_q_b"),
    ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
    ("self_attn.kv_a_layernorm", "attn_kv_a_norm"),
    ("self_attn.kv_b_proj", "attn_kv_b"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate", "ffn_gate_inp"),
    ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"),
    ("mlp.shared_experts.up_proj", "ffn_up_shexp"),
    ("mlp.shared_experts.down_proj", "ffn_down_shexp"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
];

/// The stacked experts: (`mlp.experts.E.` + this, `blk.N.` + this + `.weight`).
pub(super) const EXPERTS: [(&str, &str); 3] =
    [("gate_proj.weight", "ffn_gate_exps"), ("up_proj.weight", "ffn_up_exps"), ("down_proj.weight", "ffn_down_exps")];

/// The location of a Hugging Face tensor in the file.
pub(super) enum Source<'a> {
    /// Stored unchanged.
    Whole(&'a TensorInfo),
    /// Rows of each of `heads` heads, to be reordered from interleaved to half-split rotation.
    Unpermuted { info: &'a TensorInfo, heads: usize },
    /// One expert of a stack.
    Slice { info: &'a TensorInfo, index: usize },
    /// kv_b_proj from its two halves: k_b [heads, kv_lora_rank, qk_nope], v_b [heads, v_head, kv_lora_rank].
    KvB { k: &'a TensorInfo, v: &'a TensorInfo },
}

/// Returns the GGUF name of a Hugging Face tensor that is stored whole.
pub(super) fn plain(hf: &str) -> Option<String> {
    if let Some((_, name)) = TOP.iter().find(|(h, _)| *h == hf) {
        return Some((*name).to_owned());
    }
    let (layer, rest) = hf.strip_prefix("model.layers.")?.split_once('.')?;
    if rest == "mlp.gate.e_score_correction_bias" {
        return Some(format!("blk.{layer}.exp_probs_b.bias"));
    }
    let (module, kind) = rest.rsplit_once('.')?;
    let (_, name) = BLOCK.iter().find(|(h, _)| *h == module)?;
    Some(format!("blk.{layer}.{name}.{kind}"))
}

/// Returns the Hugging Face name of a stored tensor: experts' stacks with `*` for the expert, k_b and v_b as
/// `kv_b_proj`. `None` if there is no counterpart (`rope_freqs.weight`).
pub fn hf_name(ggml: &str) -> Option<String> {
    if let Some((name, _)) = TOP.iter().find(|(_, g)| *g == ggml) {
        return Some((*name).to_owned());
    }
    let (layer, rest) = ggml.strip_prefix("blk.")?.split_once('.')?;
    let (module, kind) = rest.rsplit_once('.')?;
    let layer = format!("model.layers.{layer}");
    if let Some((name, _)) = EXPERTS.iter().find(|(_, g)| *g == module) {
        return Some(format!("{layer}.mlp.experts.*.{name}"));
    }
    match module {
        "exp_probs_b" => Some(format!("{layer}.mlp.gate.e_score_correction_bias")),
        "attn_k_b" | "attn_v_b" => Some(format!("{layer}.self_attn.kv_b_proj.{kind}")),
        _ => BLOCK.iter().find(|(_, g)| *g == module).map(|(h, _)| format!("{layer}.{h}.{kind}")),
    }
}

/// Granite's factors: Hugging Face's key and llama.cpp's. llama.cpp reads 0 as absent.
pub(super) const GRANITE: [(&str, &str); 4] = [
    ("embedding_multiplier", "embedding_scale"),
    ("attention_multiplier", "attention.scale"),
    ("residual_multiplier", "residual_scale"),
    ("logits_scaling", "logit_scale"),
];

/// Returns true if an architecture's files hold the rows of q and k in the order of interleaved rotation.
pub(super) fn is_interleaved(arch: &str) -> bool {
    matches!(arch, "llama" | "granite")
}

/// Finds a Hugging Face tensor in the file.
pub(super) fn source<'a>(file: &'a Gguf, hf: &str) -> Result<Source<'a>, Error> {
    if let Some(found) = expert(file, hf)? {
        return Ok(found);
    }
    let unknown = || file.tensor(hf, "has no counterpart in GGUF".into());
    let name = plain(hf).ok_or_else(unknown)?;
    let Some(info) = file.info(&name) else {
        return kv_b(file, hf)?.ok_or_else(|| file.tensor(hf, format!("is missing (`{name}` in the file)")));
    };
    let arch = file.architecture()?;
    let heads_key = match hf {
        _ if !is_interleaved(arch) => None,
        _ if hf.contains(".self_attn.q_proj.") => Some(format!("{arch}.attention.head_count")),
        _ if hf.contains(".self_attn.k_proj.") => Some(format!("{arch}.attention.head_count_kv")),
        _ => None,
    };
    let Some(key) = heads_key else { return Ok(Source::Whole(info)) };
    let heads = match file.opt_u64(&key)? {
        Some(heads) => heads,
        None => file.u64(&format!("{arch}.attention.head_count"))?,
    };
    let rows = info.shape[0];
    match usize::try_from(heads) {
        Ok(heads) if heads > 0 && rows % heads == 0 && rows / heads % 2 == 0 => Ok(Source::Unpermuted { info, heads }),
        _ => Err(file.tensor(hf, format!("has {rows} rows, not {heads} heads of an even size (`{key}`)"))),
    }
}

fn expert<'a>(file: &'a Gguf, hf: &str) -> Result<Option<Source<'a>>, Error> {
    let parts = hf.strip_prefix("model.layers.").and_then(|r| r.split_once(".mlp.experts."));
    let Some((layer, (index, module))) = parts.and_then(|(l, r)| Some((l, r.split_once('.')?))) else {
        return Ok(None);
    };
    let Some((_, name)) = EXPERTS.iter().find(|(h, _)| *h == module) else { return Ok(None) };
    let name = format!("blk.{layer}.{name}.weight");
    let missing = |what| file.tensor(hf, what);
    let info = file.info(&name).ok_or_else(|| missing(format!("is missing (`{name}` in the file)")))?;
    let index: usize = index.parse().map_err(|_| missing(format!("names the expert `{index}`, expected a number")))?;
    if info.shape.len() != 3 || index >= info.shape[0] {
        return Err(missing(format!("is not in `{name}` of shape {:?}", info.shape)));
    }
    Ok(Some(Source::Slice { info, index }))
}

fn kv_b<'a>(file: &'a Gguf, hf: &str) -> Result<Option<Source<'a>>, Error> {
    let layer = hf.strip_prefix("model.layers.").and_then(|r| r.strip_suffix(".self_attn.kv_b_proj.weight"));
    let Some(layer) = layer else { return Ok(None) };
    let half = |name: &str| file.info(&format!("blk.{layer}.{name}.weight"));
    let (Some(k), Some(v)) = (half("attn_k_b"), half("attn_v_b")) else { return Ok(None) };
    match (&k.shape[..], &v.shape[..]) {
        ([k_heads, k_rank, _], [v_heads, _, v_rank]) if k_heads == v_heads && k_rank == v_rank => {
            Ok(Some(Source::KvB { k, v }))
        }
        (k, v) => Err(file.tensor(hf, format!("is split into k_b of shape {k:?} and v_b of shape {v:?}"))),
    }
}

/// Returns the shape of a Hugging Face tensor.
pub(super) fn shape(file: &Gguf, hf: &str) -> Result<Vec<usize>, Error> {
    Ok(match source(file, hf)? {
        Source::Whole(info) | Source::Unpermuted { info, .. } => info.shape.clone(),
        Source::Slice { info, .. } => info.shape[1..].to_vec(),
        Source::KvB { k, v } => vec![k.shape[0] * (k.shape[2] + v.shape[1]), k.shape[1]],
    })
}

impl<'a> Source<'a> {
    /// Returns the stored tensors that it consists of, with their bytes.
    pub(super) fn stored(&self, file: &'a Gguf) -> Vec<(&'a TensorInfo, &'a [u8])> {
        match *self {
            Source::Whole(info) | Source::Unpermuted { info, .. } => vec![(info, file.data(info))],
            Source::Slice { info, index } => {
                let bytes = info.bytes / info.shape[0];
                vec![(info, &file.data(info)[index * bytes..][..bytes])]
            }
            Source::KvB { k, v } => vec![(k, file.data(k)), (v, file.data(v))],
        }
    }
}

impl Source<'_> {
    /// Dequantizes into `out`, whose length was checked against [`shape`].
    pub(super) fn read(&self, file: &Gguf, out: &mut [f32]) {
        match *self {
            Source::Whole(info) => dequant::dequantize(info.dtype, file.data(info), out),
            Source::Unpermuted { info, heads } => {
                let mut stored = vec![0.0; out.len()];
                dequant::dequantize(info.dtype, file.data(info), &mut stored);
                unpermute(&stored, info.shape[0], heads, out);
            }
            Source::Slice { info, index } => {
                // Rows consist of whole blocks, so an expert does too.
                let bytes = info.bytes / info.shape[0];
                dequant::dequantize(info.dtype, &file.data(info)[index * bytes..][..bytes], out);
            }
            Source::KvB { k, v } => {
                let (mut k_b, mut v_b) = (vec![0.0; k.elements], vec![0.0; v.elements]);
                dequant::dequantize(k.dtype, file.data(k), &mut k_b);
                dequant::dequantize(v.dtype, file.data(v), &mut v_b);
                join_kv_b(&k_b, &v_b, k.shape[1], k.shape[2], v.shape[1], out);
            }
        }
    }
}

/// A matrix in quantized blocks along its rows.
pub struct Blocks<'a> {
    /// The type of the blocks.
    pub dtype: GgmlType,
    /// The rows of the file, in sequence.
    pub data: &'a [u8],
    /// Maps row r of the matrix to a row of the file.
    pub row: Box<dyn Fn(usize) -> usize + Sync>,
}

impl Source<'_> {
    /// Returns the matrix in its stored form; `None` if it is not stored in blocks along its rows.
    pub(super) fn blocks<'a>(&self, file: &'a Gguf) -> Option<Blocks<'a>> {
        let info = match self {
            Source::Whole(info) | Source::Unpermuted { info, .. } | Source::Slice { info, .. } => *info,
            Source::KvB { .. } => return None,
        };
        let ([.., rows, _], true) = (&info.shape[..], info.dtype.is_quantized()) else { return None };
        let (data, rows) = (file.data(info), *rows);
        let row: Box<dyn Fn(usize) -> usize + Sync> = match *self {
            Source::Unpermuted { heads, .. } => Box::new(move |row| permuted(row, rows / heads)),
            _ => Box::new(|row| row),
        };
        let data = match *self {
            Source::Slice { index, .. } => {
                let len = info.bytes / info.shape[0];
                &data[index * len..][..len]
            }
            _ => data,
        };
        Some(Blocks { dtype: info.dtype, data, row })
    }
}

/// Returns the position to which llama.cpp's `permute` moves a row, in heads of `head` rows: row j·(head/2) + i of a
/// head (j in 0..2) moves to 2i + j.
fn permuted(row: usize, head: usize) -> usize {
    let (within, half) = (row % head, head / 2);
    row - within + 2 * (within % half) + within / half
}

/// Moves rows back from the positions given by [`permuted`].
fn unpermute(stored: &[f32], rows: usize, heads: usize, out: &mut [f32]) {
    let cols = stored.len() / rows;
    for (row, values) in out.chunks_exact_mut(cols).enumerate() {
        values.copy_from_slice(&stored[permuted(row, rows / heads) * cols..][..cols]);
    }
}

/// Joins kv_b_proj [heads·(nope + v_head), rank]: per head the transposed k_b [rank, nope], then v_b [v_head, rank].
fn join_kv_b(k_b: &[f32], v_b: &[f32], rank: usize, nope: usize, v_head: usize, out: &mut [f32]) {
    let heads = out.par_chunks_exact_mut((nope + v_head) * rank);
    let parts = k_b.par_chunks_exact(rank * nope).zip(v_b.par_chunks_exact(v_head * rank));
    heads.zip(parts).for_each(|(out, (k_b, v_b))| {
        let (k_out, v_out) = out.split_at_mut(nope * rank);
        for (n, row) in k_out.chunks_exact_mut(rank).enumerate() {
            for (r, value) in row.iter_mut().enumerate() {
                *value = k_b[r * nope + n];
            }
        }
        v_out.copy_from_slice(v_b);
    });
}
