//! Selects the type of each tensor: a "Q4_K_M" file is mostly Q4_K, with more bits for the more sensitive tensors
//! (llama.cpp, src/llama-quant.cpp, `llama_tensor_get_type`, without an importance matrix).

use super::GgmlType::{self, *};

/// A storage format of a whole model, under `llama-quantize`'s name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType {
    /// Its name, in lower case.
    pub name: &'static str,
    /// llama.cpp's number (`enum llama_ftype`), for `general.file_type`.
    pub code: u32,
    /// The type of most tensors.
    pub main: GgmlType,
}

impl FileType {
    /// All formats that can be written.
    pub const ALL: [FileType; 20] = {
        const fn f(name: &'static str, code: u32, main: GgmlType) -> FileType {
            FileType { name, code, main }
        }
        [
            f("f32", 0, F32),
            f("f16", 1, F16),
            f("bf16", 32, Bf16),
            f("q8_0", 7, Q8_0),
            f("q6_k", 18, Q6_K),
            f("q5_k_m", 17, Q5_K),
            f("q5_k_s", 16, Q5_K),
            f("q5_1", 9, Q5_1),
            f("q5_0", 8, Q5_0),
            f("q4_k_m", 15, Q4_K),
            f("q4_k_s", 14, Q4_K),
            f("q4_1", 3, Q4_1),
            f("q4_0", 2, Q4_0),
            f("iq4_nl", 25, Iq4_NL),
            f("iq4_xs", 30, Iq4_XS),
            f("mxfp4", 38, Mxfp4),
            f("q3_k_l", 13, Q3_K),
            f("q3_k_m", 12, Q3_K),
            f("q3_k_s", 11, Q3_K),
            f("q2_k", 10, Q2_K),
        ]
    };

    /// Finds a format by its name, case-insensitive; a missing size means M.
    pub fn parse(name: &str) -> Option<FileType> {
        let name = name.to_ascii_lowercase();
        let name = match name.as_str() {
            "q3_k" => "q3_k_m",
            "q4_k" => "q4_k_m",
            "q5_k" => "q5_k_m",
            "mxfp4_moe" => "mxfp4",
            name => name,
        };
        Self::ALL.into_iter().find(|t| t.name == name)
    }
}

/// The properties of a network that the rules use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) layers: usize,
    /// Query heads per key head.
    pub(crate) gqa: usize,
    pub(crate) experts: usize,
    /// True if the embedding is also the head.
    pub(crate) tied: bool,
    /// Llama 70B and Qwen2 72B: 80 layers whose v is 8 times smaller than q.
    pub(crate) seventy_b: bool,
}

/// Returns true if a tensor is quantized at all: matrices and stacks of them, but no norms and no routers.
pub(crate) fn is_quantized(name: &str, shape: &[usize]) -> bool {
    shape.len() >= 2
        && name.ends_with("weight")
        && !name.contains("_norm.weight")
        && !name.contains("ffn_gate_inp.weight")
}

/// Returns the type of a tensor for which [`is_quantized`] is true.
pub(crate) fn tensor_type(file: FileType, n: Network, name: &str, shape: &[usize]) -> GgmlType {
    let quantized = !matches!(file.main, F32 | F16 | Bf16);
    let cols = *shape.last().expect("invariant: it has two dimensions or more");
    match quantized {
        true => fallback(chosen(file, n, name, shape, cols), cols),
        false => file.main,
    }
}

/// Returns true for layers that get more bits: the first and last eighth, and every third in between.
fn more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

fn chosen(file: FileType, n: Network, name: &str, shape: &[usize], cols: usize) -> GgmlType {
    let main = file.main;
    let layer = name.strip_prefix("blk.").and_then(|r| r.split('.').next()?.parse().ok()).unwrap_or(0);
    let moe8 = n.experts == 8;
    if name == "output.weight" || (n.tied && name == "token_embd.weight") {
        return match main {
            Mxfp4 => Q8_0,
            _ if !cols.is_multiple_of(main.block_elements()) => Q8_0,
            Q8_0 => Q8_0,
            _ => Q6_K,
        };
    }
    if main == Mxfp4 {
        // Only experts, as in the published models of this kind.
        return if shape.len() > 2 { Mxfp4 } else { Q8_0 };
    }
    if name.contains("attn_v.weight") || name.contains("attn_kv_b.weight") {
        let chosen = match file.name {
            "q2_k" if n.gqa >= 4 => Q4_K,
            "q2_k" => Q3_K,
            "q3_k_m" if layer < 2 => Q5_K,
            "q3_k_m" => Q4_K,
            "q3_k_l" => Q5_K,
            "iq4_nl" | "iq4_xs" if n.gqa >= 4 => Q5_K,
            "q4_k_m" | "q5_k_m" if more_bits(layer, n.layers) => Q6_K,
            "q4_k_s" if layer < 4 => Q5_K,
            _ => main,
        };
        return match chosen {
            _ if moe8 => Q8_0,
            Q3_K | Q4_K if n.seventy_b => Q5_K,
            chosen => chosen,
        };
    }
    if name.contains("attn_k.weight") && moe8 {
        return Q8_0;
    }
    if name.contains("attn_output.weight") {
        return match file.name {
            "q2_k" | "q3_k_s" | "q3_k_m" | "iq4_nl" | "q4_k_s" | "q4_k_m" | "iq4_xs" if moe8 => Q5_K,
            "q2_k" if !moe8 => Q3_K,
            "q3_k_m" if !moe8 => Q4_K,
            "q3_k_l" if !moe8 => Q5_K,
            _ => main,
        };
    }
    if name.contains("ffn_down") {
        return match file.name {
            "q2_k" => Q3_K,
            "q3_k_m" if layer < n.layers / 16 => Q5_K,
            "q3_k_m" => Q4_K,
            "q3_k_l" => Q5_K,
            "q4_k_m" | "q5_k_m" if more_bits(layer, n.layers) => Q6_K,
            "iq4_nl" | "iq4_xs" | "q4_k_s" if layer < n.layers / 8 => Q5_K,
            _ => main,
        };
    }
    main
}

/// Returns the type for rows whose length is not a multiple of the block size.
fn fallback(chosen: GgmlType, cols: usize) -> GgmlType {
    if cols.is_multiple_of(chosen.block_elements()) {
        return chosen;
    }
    let smaller = match chosen {
        Iq4_XS => Iq4_NL,
        Q2_K | Q3_K => Q4_0,
        Q4_K => Q5_0,
        Q5_K => Q5_1,
        Q6_K => Q8_0,
        other => other,
    };
    if cols.is_multiple_of(smaller.block_elements()) { smaller } else { F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(file: &str, n: Network, cols: usize, names: &[&str]) -> Vec<GgmlType> {
        let file = FileType::parse(file).unwrap();
        names.iter().map(|name| tensor_type(file, n, name, &[1024, cols])).collect()
    }

    /// The types that `llama-quantize` chose in the published Qwen2.5-Coder-0.5B and 1.5B (hidden 896 and 1536).
    #[test]
    fn q4_k_m() {
        let n = Network { layers: 24, gqa: 7, experts: 0, tied: true, seventy_b: false };
        let names = ["token_embd.weight", "blk.0.attn_v.weight", "blk.3.attn_v.weight", "blk.4.attn_q.weight"];
        assert_eq!(types("q4_k_m", n, 896, &names), [Q8_0, Q8_0, Q5_0, Q5_0]);
        let names =
            ["blk.0.ffn_down.weight", "blk.3.ffn_down.weight", "blk.5.ffn_down.weight", "blk.21.ffn_down.weight"];
        assert_eq!(types("q4_k_m", n, 4864, &names), [Q6_K, Q4_K, Q6_K, Q6_K]);
        let names = ["token_embd.weight", "blk.0.attn_v.weight", "blk.3.attn_v.weight", "blk.4.attn_output.weight"];
        assert_eq!(types("Q4_K_M", n, 1536, &names), [Q6_K, Q6_K, Q4_K, Q4_K]);
    }

    #[test]
    fn rows_that_are_no_whole_blocks() {
        let n = Network { layers: 24, gqa: 1, experts: 0, tied: false, seventy_b: false };
        for (file, of_32, of_none) in
            [("q2_k", Q4_0, F16), ("q6_k", Q8_0, F16), ("iq4_xs", Iq4_NL, F16), ("q4_0", Q4_0, F16)]
        {
            assert_eq!(types(file, n, 96, &["blk.9.ffn_up.weight"]), [of_32], "{file}");
            assert_eq!(types(file, n, 80, &["blk.9.ffn_up.weight"]), [of_none], "{file}");
        }
        assert_eq!(types("bf16", n, 80, &["blk.9.ffn_up.weight"]), [Bf16]);
    }

    #[test]
    fn names_are_unique_and_found() {
        for t in FileType::ALL {
            assert_eq!(FileType::parse(&t.name.to_uppercase()), Some(t));
        }
        assert_eq!(FileType::parse("q5_k").unwrap().name, "q5_k_m");
        assert_eq!(FileType::parse("q7"), None);
    }

    #[test]
    fn norms_routers_and_biases_stay() {
        assert!(is_quantized("blk.0.ffn_down_exps.weight", &[4, 8, 8]));
        assert!(!is_quantized("blk.0.ffn_gate_inp.weight", &[8, 8]));
        assert!(!is_quantized("blk.0.attn_norm.weight", &[8]));
        assert!(!is_quantized("blk.0.attn_q.bias", &[8]));
    }
}
