//! The tensor types of a GGUF file: ggml's numbers and names, and their block sizes.

/// Elements in a block of the K types and of IQ4_XS.
pub(super) const QK_K: usize = 256;
/// Elements in a block of the other block types.
pub(super) const QK: usize = 32;

/// The storage type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum GgmlType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// bfloat16.
    Bf16,
    /// 4 bits, scale per 32.
    Q4_0,
    /// 4 bits, scale and minimum per 32.
    Q4_1,
    /// 5 bits, scale per 32.
    Q5_0,
    /// 5 bits, scale and minimum per 32.
    Q5_1,
    /// 8 bits, scale per 32.
    Q8_0,
    /// 2 bits, scale and minimum per 16 within 256.
    Q2_K,
    /// 3 bits, scale per 16 within 256.
    Q3_K,
    /// 4 bits, scale and minimum per 32 within 256.
    Q4_K,
    /// 5 bits, scale and minimum per 32 within 256.
    Q5_K,
    /// 6 bits, scale per 16 within 256.
    Q6_K,
    /// 4-bit codes of unevenly spaced values, scale per 32.
    Iq4_NL,
    /// The codes of `Iq4_NL`, scale per 32 within 256.
    Iq4_XS,
    /// 4-bit floats (e2m1), power of two per 32 (OCP Microscaling).
    Mxfp4,
}

use GgmlType::*;

/// Type, ggml's number (`enum ggml_type`), ggml's name, elements and bytes of a block.
const TABLE: [(GgmlType, u32, &str, usize, usize); 16] = [
    (F32, 0, "F32", 1, 4),
    (F16, 1, "F16", 1, 2),
    (Bf16, 30, "BF16", 1, 2),
    (Q4_0, 2, "Q4_0", QK, 2 + QK / 2),
    (Q4_1, 3, "Q4_1", QK, 2 + 2 + QK / 2),
    (Q5_0, 6, "Q5_0", QK, 2 + 4 + QK / 2),
    (Q5_1, 7, "Q5_1", QK, 2 + 2 + 4 + QK / 2),
    (Q8_0, 8, "Q8_0", QK, 2 + QK),
    (Q2_K, 10, "Q2_K", QK_K, QK_K / 16 + QK_K / 4 + 2 + 2),
    (Q3_K, 11, "Q3_K", QK_K, QK_K / 8 + QK_K / 4 + 12 + 2),
    (Q4_K, 12, "Q4_K", QK_K, 2 + 2 + 12 + QK_K / 2),
    (Q5_K, 13, "Q5_K", QK_K, 2 + 2 + 12 + QK_K / 8 + QK_K / 2),
    (Q6_K, 14, "Q6_K", QK_K, QK_K / 2 + QK_K / 4 + QK_K / 16 + 2),
    (Iq4_NL, 20, "IQ4_NL", QK, 2 + QK / 2),
    (Iq4_XS, 23, "IQ4_XS", QK_K, 2 + 2 + QK_K / 64 + QK_K / 2),
    (Mxfp4, 39, "MXFP4", QK, 1 + QK / 2),
];

impl GgmlType {
    /// All supported types, in the order of their declaration.
    pub const ALL: [GgmlType; TABLE.len()] = {
        let (mut all, mut i) = ([F32; TABLE.len()], 0);
        while i < TABLE.len() {
            assert!(TABLE[i].0 as usize == i, "the table has the order of the types");
            all[i] = TABLE[i].0;
            i += 1;
        }
        all
    };

    /// Returns the type with ggml's number (`enum ggml_type`).
    pub fn new(code: u32) -> Option<GgmlType> {
        TABLE.iter().find(|t| t.1 == code).map(|t| t.0)
    }

    /// Returns ggml's number.
    pub fn code(self) -> u32 {
        TABLE[self as usize].1
    }

    /// Returns ggml's name.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].2
    }

    /// Returns true if a block holds codes and scales rather than floating-point numbers.
    pub fn is_quantized(self) -> bool {
        !matches!(self, GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16)
    }

    /// Returns the number of elements in a block.
    pub const fn block_elements(self) -> usize {
        TABLE[self as usize].3
    }

    /// Returns the size of a block in bytes.
    pub const fn block_bytes(self) -> usize {
        TABLE[self as usize].4
    }
}
