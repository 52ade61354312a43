//! Limits on the size of a grammar or schema, checked before it is compiled.
//!
//! llguidance limits the result of compiling, but not the work: it recurses for every rule that refers to the next
//! one, and its time grows with the square of the repetitions in a regular expression, of the optional properties of
//! an object, of the required names and of schemas that refer to each other, and also with the value of `multipleOf`.
//! Therefore all of these are counted first. The limits are far above what is written by hand or generated from the
//! types of a program.

use crate::structure::Structure;
use serde_json::Value;

/// Maximum size of a grammar or schema in bytes.
pub(crate) const MAX_BYTES: usize = 256 << 10;
/// Maximum number of rules and terminals in a Lark grammar.
pub(crate) const MAX_RULES: usize = 2000;
/// Maximum number of properties in all objects of a schema together.
pub(crate) const MAX_PROPERTIES: usize = 2000;
/// Maximum number of names in all `required` and `dependentRequired` of a schema together.
pub(crate) const MAX_REQUIRED: usize = 2000;
/// Maximum number of `$ref` in a schema.
pub(crate) const MAX_REFERENCES: usize = 1000;
/// Maximum nesting depth of brackets in a regular expression or a Lark grammar.
pub(crate) const MAX_DEPTH: usize = 256;
/// Maximum number of schemas in all `allOf`, `anyOf` and `oneOf` of a schema together.
pub(crate) const MAX_BRANCHES: usize = 2000;
/// Maximum number of repetitions (`*`, `+`, `?`, `{…}`) in all regular expressions and rules together.
pub(crate) const MAX_REPEATS: usize = 1000;
/// Maximum value of `multipleOf`, without its decimal point. If several may apply to the same number, it limits their
/// product.
pub(crate) const MAX_MULTIPLE: u64 = 10_000;

/// The counts of one grammar or schema.
#[derive(Debug, Default)]
struct Counts {
    rules: usize,
    properties: usize,
    required: usize,
    references: usize,
    branches: usize,
    repeats: usize,
    depth: usize,
    largest_multiple: u64,
    product_of_multiples: u64,
    /// True if schemas are combined, so that several `multipleOf` may apply to the same number.
    joined: bool,
}

/// Returns the weight of a structure, or an error that names the limit it exceeds.
pub(crate) fn check(structure: &Structure) -> Result<usize, String> {
    let bytes = match structure {
        Structure::JsonObject => return Ok(1),
        Structure::JsonSchema(schema) => schema.to_string().len(),
        Structure::Regex(text) | Structure::Lark(text) => text.len(),
    };
    at_most("bytes", bytes, MAX_BYTES)?;
    let mut counts = Counts { product_of_multiples: 1, ..Counts::default() };
    match structure {
        Structure::JsonObject => {}
        Structure::JsonSchema(schema) => counts.schema(schema),
        Structure::Regex(text) => counts.pattern(text),
        Structure::Lark(text) => counts.lark(text),
    }
    at_most("rules", counts.rules, MAX_RULES)?;
    at_most("properties", counts.properties, MAX_PROPERTIES)?;
    at_most("required names", counts.required, MAX_REQUIRED)?;
    at_most("references ($ref)", counts.references, MAX_REFERENCES)?;
    at_most("levels of nested brackets", counts.depth, MAX_DEPTH)?;
    at_most("schemas in allOf, anyOf and oneOf", counts.branches, MAX_BRANCHES)?;
    at_most("repetitions (*, +, ?, {…})", counts.repeats, MAX_REPEATS)?;
    let multiple = if counts.joined { counts.product_of_multiples } else { counts.largest_multiple };
    if multiple > MAX_MULTIPLE {
        let what = if counts.joined {
            "the product of all multipleOf in a schema with references or combinations"
        } else {
            "it"
        };
        return Err(format!("has a multipleOf that is too large: {what} may be at most {MAX_MULTIPLE}"));
    }
    let names = counts.properties + counts.required + counts.references;
    Ok(1 + counts.rules + names + counts.branches + counts.repeats + bytes / 64)
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count > most { Err(format!("has {count} {what}; at most {most} are allowed")) } else { Ok(()) }
}

/// Counts the repetition operators that are not escaped.
fn repeats(text: &str) -> usize {
    let (mut count, mut escaped) = (0, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'*' | b'+' | b'?' | b'{' | b'~' => count += 1,
            _ => {}
        }
    }
    count
}

/// The nesting depth of brackets, not counting escaped ones.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut escaped) = (0usize, 0, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

impl Counts {
    /// Counts a regular expression.
    fn pattern(&mut self, text: &str) {
        self.repeats += repeats(text);
        self.depth = self.depth.max(depth(text));
    }

    /// Counts a Lark grammar, including the schemas after `%json`.
    fn lark(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find("%json") {
            self.rules_of(&rest[..at]);
            rest = &rest[at + "%json".len()..];
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            if let Some(Ok(schema)) = values.next() {
                self.schema(&schema);
                rest = &rest[values.byte_offset()..];
            }
        }
        self.rules_of(rest);
    }

    fn rules_of(&mut self, text: &str) {
        self.rules += text.matches(':').count();
        self.pattern(text);
    }

    /// Counts a schema. Also counts values in it that are not schemas; that is harmless.
    fn schema(&mut self, schema: &Value) {
        match schema {
            Value::Array(items) => items.iter().for_each(|item| self.schema(item)),
            Value::Object(object) => object.iter().for_each(|(key, value)| {
                self.keyword(key, value);
                self.schema(value);
            }),
            _ => {}
        }
    }

    fn keyword(&mut self, key: &str, value: &Value) {
        match (key, value) {
            ("properties", Value::Object(properties)) => self.properties += properties.len(),
            ("patternProperties", Value::Object(properties)) => {
                self.properties += properties.len();
                properties.keys().for_each(|pattern| self.pattern(pattern));
                self.joined = true;
            }
            ("pattern", Value::String(pattern)) => self.pattern(pattern),
            ("required", Value::Array(names)) => self.required += names.len(),
            ("dependentRequired", Value::Object(names)) => {
                self.required += names.values().filter_map(Value::as_array).map(Vec::len).sum::<usize>();
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(branches)) => {
                self.branches += branches.len();
                self.joined = true;
            }
            ("$ref" | "$dynamicRef", _) => {
                self.references += 1;
                self.joined = true;
            }
            ("if" | "then" | "else" | "not", _) => self.joined = true,
            ("multipleOf", Value::Number(number)) => {
                let multiple = digits(&number.to_string());
                self.largest_multiple = self.largest_multiple.max(multiple);
                self.product_of_multiples = self.product_of_multiples.saturating_mul(multiple.max(1));
            }
            _ => {}
        }
    }
}

/// The digits of a number as an integer: without the decimal point, and negative exponents are ignored.
fn digits(number: &str) -> u64 {
    let mantissa: String = number.split(['e', 'E']).next().unwrap_or_default().replace(['.', '-'], "");
    let exponent = number.split(['e', 'E']).nth(1).and_then(|e| e.parse::<i32>().ok()).unwrap_or(0);
    let significant = mantissa.trim_start_matches('0');
    let scaled = significant.parse::<u64>().unwrap_or(if significant.is_empty() { 0 } else { u64::MAX });
    if exponent > 0 { scaled.saturating_mul(10u64.saturating_pow(exponent as u32)) } else { scaled }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_name_the_exceeded_limit() {
        let rejected = |structure: Structure, words: &str| {
            let error = check(&structure).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        rejected(Structure::Regex("x".repeat(MAX_BYTES + 1)), "bytes");
        rejected(Structure::Regex("(a|b|c)*".repeat(MAX_REPEATS + 1)), "1001 repetitions");
        rejected(Structure::Lark("a: b\n".repeat(MAX_RULES + 1)), "2001 rules");
        let many: serde_json::Map<String, Value> = (0..=MAX_PROPERTIES).map(|i| (i.to_string(), json!({}))).collect();
        let schema = json!({"items": {"properties": many}});
        rejected(Structure::JsonSchema(schema.clone()), "2001 properties");
        rejected(Structure::Lark(format!("start: a %json {schema} b")), "2001 properties");
        rejected(Structure::JsonSchema(json!({"allOf": vec![json!({}); 2001]})), "2001 schemas");
        rejected(Structure::JsonSchema(json!({"pattern": "a?".repeat(1001)})), "1001 repetitions");
        rejected(Structure::JsonSchema(json!({"required": vec!["a"; MAX_REQUIRED + 1]})), "2001 required names");
        rejected(Structure::JsonSchema(json!({"dependentRequired": {"a": vec!["b"; 2001]}})), "2001 required names");
        let chain: serde_json::Map<String, Value> =
            (0..1001).map(|i| (i.to_string(), json!({"$ref": format!("#/$defs/{}", i + 1)}))).collect();
        rejected(Structure::JsonSchema(json!({"$defs": chain})), "1001 references");
        let nested = format!("{}a{}", "(".repeat(257), ")".repeat(257));
        rejected(Structure::Regex(nested.clone()), "257 levels");
        rejected(Structure::Lark(format!("start: {nested}")), "257 levels");
        rejected(Structure::JsonSchema(json!({"pattern": nested})), "257 levels");
        rejected(Structure::JsonSchema(json!({"multipleOf": 10_001})), "multipleOf");
        rejected(Structure::JsonSchema(json!({"multipleOf": 1e15})), "multipleOf");
        rejected(Structure::JsonSchema(json!({"allOf": [{"multipleOf": 101}, {"multipleOf": 103}]})), "product");
        for taken in [
            Structure::JsonSchema(json!({"properties": {"a": {"multipleOf": 9973}, "b": {"multipleOf": 9967}}})),
            Structure::JsonSchema(json!({"anyOf": [{"multipleOf": 0.01}, {"multipleOf": 5}]})),
            Structure::Regex("\\*".repeat(5000)),
            Structure::Regex(r"\(\[".repeat(5000)),
            Structure::JsonObject,
        ] {
            check(&taken).unwrap();
        }
    }

    #[test]
    fn digits_of_numbers() {
        assert_eq!(["0.01", "5", "1e3", "2.50", "0", "1e-7", "1e300"].map(digits), [1, 5, 1000, 250, 0, 1, u64::MAX]);
    }
}
