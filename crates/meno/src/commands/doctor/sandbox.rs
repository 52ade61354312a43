//! The layers of the sandbox, and what can run in it.

use super::report::{Mark, Section};
use meno_eval::Error;
use meno_eval::sandbox::{Language, Limits, Sandbox, layers};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The section, and the reason why `--sandbox` would fail, if any.
pub(super) fn section() -> (Section, Option<Error>) {
    let mut s = Section::new("sandbox", "Sandbox of programs (--sandbox)");
    let opened = Sandbox::open(Path::new("python3"), Limits::default());
    let failed = match &opened {
        Err(Error::Layer { layer, .. }) => layers().iter().position(|name| name == layer),
        // Anything else fails before the first layer.
        Err(_) => Some(0),
        Ok(_) => None,
    };
    let mut states = Map::new();
    for (index, name) in layers().iter().enumerate() {
        let (mark, state) = match failed {
            Some(failed) if index == failed && matches!(opened, Err(Error::Layer { .. })) => (Mark::Missing, "missing"),
            Some(failed) if index >= failed => (Mark::NotTried, "not tried"),
            _ => (Mark::Ok, "ok"),
        };
        s.line(mark, *name);
        states.insert((*name).to_owned(), state.into());
    }
    s.value("walls", Value::Object(states));
    s.value("works", opened.is_ok().into());
    let sandbox = match opened {
        Ok(sandbox) => sandbox,
        Err(error) => {
            s.value("reason", error.to_string().into());
            return (s, Some(error));
        }
    };
    s.line(
        Mark::Ok,
        "memory and CPU time: limits of each process, and a watch over all, every 50 ms; no control group",
    );
    let mut languages = Map::new();
    for language in [Language::Python, Language::Cpp, Language::Rust, Language::JavaScript] {
        let found = sandbox.path_of(language);
        match &found {
            Ok(path) => s.line(Mark::Ok, format!("{language}: {}", path.display())),
            Err(error) => s.line(Mark::Missing, error.to_string()),
        }
        languages.insert(language.to_string(), json!(found.ok().map(|p| p.display().to_string())));
    }
    s.value("languages", Value::Object(languages));
    (s, None)
}
