//! The golden prompts of published chat templates. The tests of meno-server use them too.

use meno_engine::ChatTemplate;
use meno_engine::tokenizer::Special;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The committed file, or a larger one made by `dev/reference/published_templates.py` (`MENO_TEMPLATES`).
pub(crate) fn golden() -> Value {
    let committed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-engine/tests/fixtures/published_templates.json");
    let path = std::env::var_os("MENO_TEMPLATES").map_or(committed, PathBuf::from);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Inserts the current time into the golden text where the template asks for it.
pub(crate) fn with_time(text: &str) -> String {
    let mut parts = text.split("<<");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |all, part| match part.split_once(">>") {
        Some((format, rest)) if format.contains('%') => {
            let template = ChatTemplate::new("{{ strftime_now(f) }}", &Special::default()).unwrap();
            let Value::Object(extras) = json!({"f": format}) else { unreachable!() };
            all + &template.render(&[], false, &extras).unwrap() + rest
        }
        _ => all + "<<" + part,
    })
}
