//! Rewrites library messages in plain words. Messages of the system, of serde and of Rust's number parsers contain type
//! names and error numbers that mean nothing to the user.

/// Removes the system's error numbers and replaces serde's and Rust's type names by words, in messages such as
/// `No such file or directory (os error 2)`, `invalid type: string "big", expected f32`,
/// `invalid digit found in string`.
pub fn plain(text: &str) -> String {
    let text = replace_types(&without_variants(&without_numbers(text)));
    PHRASES.iter().fold(text, |text, (phrase, plain)| match text.contains(phrase) {
        true => text.replace(phrase, plain),
        false => text,
    })
}

/// Library phrases and their meanings.
const PHRASES: [(&str, &str); 15] = [
    // From Rust's number parsers.
    ("invalid digit found in string", "expected a whole number, 0 or more"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("number would be zero for non-zero type", "expected 1 or more"),
    ("cannot parse integer from empty string", "expected a whole number"),
    ("cannot parse float from empty string", "expected a number"),
    ("invalid float literal", "expected a number"),
    // From serde_json.
    ("EOF while parsing a value", "it ends where a value is expected"),
    ("EOF while parsing an object", "it ends within an object"),
    ("EOF while parsing a list", "it ends within a list"),
    ("EOF while parsing a string", "it ends within a string"),
    (
        "control character (\\u0000-\\u001F) found while parsing a string",
        "a string holds a line break or another control character, which must be escaped",
    ),
    ("unknown variant", "unknown value"),
    ("unknown field", "unknown key"),
    ("trailing characters", "more follows after the end"),
];

/// Removes ` (os error 2)`.
fn without_numbers(text: &str) -> String {
    const MARK: &str = " (os error ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let after = &rest[at + MARK.len()..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let end = at + MARK.len() + digits;
        if digits > 0 && rest[end..].starts_with(')') {
            out.push_str(&rest[..at]);
            rest = &rest[end + 1..];
        } else {
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out + rest
}

/// Removes the type name from `data did not match any variant of untagged enum Size`.
fn without_variants(text: &str) -> String {
    const MARK: &str = "data did not match any variant of untagged enum ";
    let Some(at) = text.find(MARK) else { return text.to_owned() };
    let rest = text[at + MARK.len()..].trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    format!("{}the value has a type that is not expected here{}", &text[..at], without_variants(rest))
}

/// Rewrites `invalid type: string "big", expected f32` as `found the text "big", expected a number`.
fn replace_types(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let marks = ["invalid type: ", "invalid value: "];
    while let Some((at, mark)) = marks.iter().filter_map(|m| rest.find(m).map(|at| (at, *m))).min() {
        let after = &rest[at + mark.len()..];
        let Some(comma) = after.find(", expected ") else { break };
        let expected = &after[comma + ", expected ".len()..];
        let (word, read) = type_in_words(expected);
        out.push_str(&rest[..at]);
        out.push_str(&format!("found {}, expected {word}", found_in_words(&after[..comma])));
        rest = &expected[read..];
    }
    out + rest
}

/// Converts serde's description of what it found to plain words.
fn found_in_words(found: &str) -> String {
    const NAMES: [(&str, &str); 6] = [
        ("string ", "the string "),
        ("integer ", "the number "),
        ("floating point ", "the number "),
        ("boolean ", ""),
        ("character ", "the character "),
        ("Option value", "a value that may be absent"),
    ];
    match found {
        "sequence" => "a list".into(),
        "map" => "an object".into(),
        "unit value" | "null" => "nothing".into(),
        _ => match NAMES.iter().find_map(|(name, plain)| found.strip_prefix(name).map(|rest| (plain, rest))) {
            Some((plain, rest)) => format!("{plain}{}", rest.trim_matches('`')),
            None => found.to_owned(),
        },
    }
}

/// Converts serde's description of what it expected to plain words; also returns how many bytes of the text it took.
fn type_in_words(text: &str) -> (String, usize) {
    const NUMBER: &str = "a number";
    const WHOLE: &str = "a whole number";
    const COUNT: &str = "a whole number, 0 or more";
    const OBJECT: &str = "an object (keys with values)";
    const TYPES: [(&str, &str); 23] = [
        ("f32", NUMBER),
        ("f64", NUMBER),
        ("usize", COUNT),
        ("u8", COUNT),
        ("u16", COUNT),
        ("u32", COUNT),
        ("u64", COUNT),
        ("nonzero usize", "a whole number, 1 or more"),
        ("isize", WHOLE),
        ("i8", WHOLE),
        ("i16", WHOLE),
        ("i32", WHOLE),
        ("i64", WHOLE),
        ("a boolean", "true or false"),
        ("a borrowed string", "a string"),
        ("a string", "a string"),
        ("path string", "a path"),
        ("str", "a string"),
        ("a sequence", "a list"),
        ("a map", OBJECT),
        ("map", OBJECT),
        ("unit", "nothing"),
        ("string or table", "a string or a table"),
    ];
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let known = TYPES.iter().find(|(name, _)| text.strip_prefix(name).is_some_and(ends));
    if let Some((name, plain)) = known {
        return ((*plain).to_owned(), name.len());
    }
    // `struct Answer`, `struct variant Message::Text`, `internally tagged enum Tool`, `tuple struct Pair`.
    let kinds = ["struct variant ", "tuple struct ", "newtype struct ", "struct ", "internally tagged enum ", "enum "];
    if let Some(kind) = kinds.iter().find(|kind| text.starts_with(**kind)) {
        let name = text[kind.len()..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let end = name.map_or(text.len(), |n| kind.len() + n);
        let plain = if kind.starts_with("enum") { "one of the known values" } else { OBJECT };
        return (plain.to_owned(), end);
    }
    (String::new(), 0)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_of_types_and_numbers_of_errors_are_put_in_words() {
        for (text, expected) in [
            ("a.gguf: No such file or directory (os error 2)", "a.gguf: No such file or directory"),
            ("x (os error 20): y (os error 5)", "x: y"),
            ("x (os error )", "x (os error )"),
            (
                "r.toml: line 2: invalid type: string \"big\", expected f32, in `x`",
                "r.toml: line 2: found the string \"big\", expected a number, in `x`",
            ),
            ("invalid value: integer `-1`, expected usize", "found the number -1, expected a whole number, 0 or more"),
            (
                "invalid type: map, expected a string at line 1 column 5",
                "found an object, expected a string at line 1 column 5",
            ),
            (
                "invalid type: integer `3`, expected struct ModelSection",
                "found the number 3, expected an object (keys with values)",
            ),
            ("invalid type: null, expected u64range", "found nothing, expected u64range"),
            ("invalid type: boolean `true`, expected one of a, b", "found true, expected one of a, b"),
            (
                "invalid value 'x' for '--top-k': invalid digit found in string",
                "invalid value 'x' for '--top-k': expected a whole number, 0 or more",
            ),
            ("invalid type: something", "invalid type: something"),
            (
                "not JSON: EOF while parsing a value at line 1 column 8",
                "not JSON: it ends where a value is expected at line 1 column 8",
            ),
            (
                "x: data did not match any variant of untagged enum Size at line 1",
                "x: the value has a type that is not expected here at line 1",
            ),
            ("plain", "plain"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
