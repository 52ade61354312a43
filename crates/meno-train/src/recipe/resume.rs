//! Decides whether a run may resume, by comparing its original recipe and data with the current ones.

use super::read::{Recipe, flat, parse, resolved};
use crate::checkpoint::RunInputs;
use crate::data::fingerprint::Fingerprint;
use crate::error::Error;
use std::collections::BTreeSet;
use toml::Value;

/// Settings that may change when a run resumes: where results go, when the run ends, what it logs, and its memory and
/// threads. A trailing `*` stands for a whole section.
pub const HARMLESS: [&str; 12] = [
    "run.*",
    "train.max_steps",
    "train.gradient_checkpointing",
    "train.expert_parallel",
    "sft.num_train_epochs",
    "grpo.max_sequences",
    "eval.eval_steps",
    "grpo.logprob_gap_tolerance",
    "sample.num_questions",
    "sample.max_sequences",
    "eval.max_sequences",
    "eval.threads",
];

/// Settings that name files: their contents are compared, not their paths.
const FILES: [&str; 5] = ["data.files", "task.name", "distill.traces", "eval.eval_task", "eval.eval_files"];

/// Returns the recipe and data that a run of this recipe starts with.
pub fn inputs<R: Recipe>(recipe: &R) -> Result<RunInputs, Error> {
    let data = recipe.data_files().iter().map(|path| Fingerprint::of(path)).collect::<Result<_, _>>()?;
    Ok(RunInputs { recipe: resolved(recipe), data })
}

/// Returns the differences between the original and the current run, one per line, without harmless ones: `train.seed:
/// 0 -> 1`.
pub fn differences<R: Recipe>(then: &RunInputs, now: &RunInputs) -> Vec<String> {
    // When this version parses an older recipe, keys missing there get their defaults.
    let read = |text: &str| parse::<R>("", text, &[]).ok().map(|recipe| resolved(&recipe));
    let settings = |text: &str| flat(&read(text).unwrap_or_else(|| text.to_owned()));
    let (was, is) = (settings(&then.recipe), settings(&now.recipe));
    let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let data = data_differences(&then.data, &now.data);
    let mut differences = Vec::new();
    for key in keys {
        let (a, b) = (was.get(key), is.get(key));
        let moved = FILES.contains(&key.as_str()) && data.is_empty() && !then.data.is_empty();
        let same_place = key.as_str() == "model.path" && same_place(a, b);
        if a != b && !harmless(key) && !moved && !same_place {
            let text = |v: Option<&Value>| v.map_or("not set".to_owned(), Value::to_string);
            differences.push(format!("{key}: {} -> {}", text(a), text(b)));
        }
    }
    differences.extend(data);
    differences
}

fn data_differences(then: &[Fingerprint], now: &[Fingerprint]) -> Vec<String> {
    if then.len() != now.len() {
        return vec![format!("data files: {} -> {}", then.len(), now.len())];
    }
    let changed = |(a, b): (&Fingerprint, &Fingerprint)| {
        let text = |f: &Fingerprint| format!("{} bytes, sha256 {}…", f.bytes, f.sha256.get(..8).unwrap_or(""));
        (!a.same(b)).then(|| format!("{}: {} -> {}", b.path.display(), text(a), text(b)))
    };
    then.iter().zip(now).filter_map(changed).collect()
}

/// Returns true if both name the same directory or file.
fn same_place(a: Option<&Value>, b: Option<&Value>) -> bool {
    let place = |v: Option<&Value>| std::fs::canonicalize(v?.as_str()?).ok();
    place(a).is_some_and(|a| Some(a) == place(b))
}

fn harmless(key: &str) -> bool {
    HARMLESS.iter().any(|h| h.strip_suffix('*').map_or(key == *h, |section| key.starts_with(section)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{GrpoRecipe, SftRecipe};

    fn inputs(text: &str, data: &[(&str, &str)]) -> RunInputs {
        let fingerprint =
            |&(path, sha256): &(&str, &str)| Fingerprint { path: path.into(), bytes: 3, sha256: sha256.into() };
        let recipe: SftRecipe = parse("", text, &[]).unwrap();
        RunInputs { recipe: resolved(&recipe), data: data.iter().map(fingerprint).collect() }
    }

    #[test]
    fn other_settings_and_other_data_are_listed() {
        let was = inputs("[train]\nlearning_rate = 0.25\n[data]\nfiles = [\"a\"]\n", &[("a", "1111111111")]);
        assert_eq!(differences::<SftRecipe>(&was, &was), Vec::<String>::new());
        let harmless = "[train]\nlearning_rate = 0.25\nmax_steps = 7\n[run]\nsave_steps = 3\nthreads = 1\n";
        let now = inputs(&format!("{harmless}[data]\nfiles = [\"moved\"]\n"), &[("moved", "1111111111")]);
        assert_eq!(differences::<SftRecipe>(&was, &now), Vec::<String>::new());
        let now = inputs("[train]\nlearning_rate = 0.5\n[data]\nfiles = [\"a\"]\n", &[("a", "2222222222")]);
        let found = differences::<SftRecipe>(&was, &now);
        assert_eq!(found[0], "train.learning_rate: 0.25 -> 0.5");
        assert!(found[1].starts_with("a: 3 bytes, sha256 11111111… -> 3 bytes"), "{found:?}");
        let weighted = "[train]\nlearning_rate = 0.25\n[data]\nfiles = [{ path = \"a\", weight = 2.0 }]\n";
        let found = differences::<SftRecipe>(&was, &inputs(weighted, &[("a", "1111111111")]));
        assert_eq!(found, ["data weights: [1.0] -> [2.0]"]);
    }

    #[test]
    fn an_older_recipe_has_the_defaults_of_newer_keys() {
        let now: GrpoRecipe = parse("", "", &[]).unwrap();
        let now = RunInputs { recipe: resolved(&now), data: Vec::new() };
        let was = RunInputs { recipe: "[grpo]\nbeta = 0.5\n".into(), data: Vec::new() };
        assert_eq!(differences::<GrpoRecipe>(&was, &now), ["grpo.beta: 0.5 -> 0.0"]);
    }
}
