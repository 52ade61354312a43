//! `quantization_config`: the storage format of the published weights. Only FP8 in blocks is supported.

use super::keys::Keys;
use crate::Error;
use serde_json::Value;

/// DeepSeek's FP8 format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fp8 {
    /// Rows and columns that share a factor.
    pub weight_block_size: [usize; 2],
}

pub(super) fn parse(k: Keys) -> Result<Option<Fp8>, Error> {
    let key = "quantization_config";
    let map = match k.get(key) {
        None => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(value) => return Err(k.error(key, format!("is {value}: expected an object or null"))),
    };
    let q = Keys { prefix: "quantization_config.", map, ..k };
    if q.opt_string("quant_method")? != Some("fp8") {
        let method = q.get("quant_method").unwrap_or(&Value::Null);
        let what = format!("is {method}: only \"fp8\" is supported; use the model in bf16 or as GGUF");
        return Err(q.error("quant_method", what));
    }
    q.only("fmt", &"e4m3".into(), "the published models use it")?;
    let whole = |v: &Value| v.as_u64().filter(|n| (1..=1 << 16).contains(n)).map(|n| n as usize);
    let weight_block_size = match q.get("weight_block_size") {
        None => [128, 128],
        Some(value) => match value.as_array().map(|a| a.iter().map(whole).collect::<Vec<_>>()).as_deref() {
            Some([Some(rows), Some(cols)]) => [*rows, *cols],
            _ => return Err(q.error("weight_block_size", format!("is {value}: expected two sizes, as [128, 128]"))),
        },
    };
    // `scale_fmt` specifies how the factors were rounded (ue8m0: to powers of two); it is not needed, because the
    // values are already rounded.
    Ok(Some(Fp8 { weight_block_size }))
}
