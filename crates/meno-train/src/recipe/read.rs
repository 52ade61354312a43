//! Reads and writes recipes.

use super::conditions::Condition;
use super::explain::{explain, near, with_suggestion};
use super::sections::ModelSection;
use super::size::size;
use crate::error::Error;
use meno_model::plain::plain;
use meno_tensor::precision::Precision;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The recipe of one command.
pub trait Recipe: DeserializeOwned + Serialize + Default {
    /// Checks the settings.
    fn check(&self) -> Result<(), Error>;
    /// Returns which settings have an effect, given the others; for [`super::notes()`].
    fn conditions(&self) -> Vec<Condition>;
    /// Returns the data files that determine what is learned.
    fn data_files(&self) -> Vec<PathBuf>;
    /// Returns the model to start from.
    fn model(&self) -> &ModelSection;
}

/// Reads the recipe at `path` and applies `--set` arguments (`a.b=value`, the value as in TOML; bare words are
/// strings).
pub fn load<R: Recipe>(path: &Path, sets: &[String]) -> Result<R, Error> {
    let file = path.display().to_string();
    let text = meno_model::input::read_text(path, meno_model::input::SMALL).map_err(Error::io(path))?;
    parse(&file, &text, sets)
}

/// Like [`load`], from text; `file` is its name in errors.
pub fn parse<R: Recipe>(file: &str, text: &str, sets: &[String]) -> Result<R, Error> {
    let explain = |file: &str, e: toml::de::Error| Error::Recipe { file: file.to_owned(), message: explain(&e, text) };
    let mut recipe: R = toml::from_str(text).map_err(|e| explain(file, e))?;
    for set in sets {
        recipe = with_set(file, &recipe, set)?;
    }
    if let Some(set) = precision_of_device(text, sets, &recipe) {
        recipe = with_set(file, &recipe, &set)?;
    }
    finite(file, &recipe)?;
    recipe.check()?;
    Ok(recipe)
}

/// Returns the recipe with one setting changed.
fn with_set<R: Recipe>(file: &str, recipe: &R, set: &str) -> Result<R, Error> {
    let mut table =
        toml::Table::try_from(recipe).map_err(|e| Error::Recipe { file: file.to_owned(), message: e.to_string() })?;
    apply(&mut table, set)?;
    table.try_into().map_err(|e: toml::de::Error| Error::Recipe {
        file: format!("--set {set}"),
        message: plain(&with_suggestion(e.message())),
    })
}

/// Returns the setting of the precision in which the recipe's device runs, if that is not the default of recipes and
/// neither the text nor a `--set` names a precision.
fn precision_of_device<R: Recipe>(text: &str, sets: &[String], recipe: &R) -> Option<String> {
    let precision = recipe.model().device.default_precision();
    let (all, given) = (flat(&resolved(recipe)), flat(text));
    let key = ["train.precision", "precision"].into_iter().find(|key| all.contains_key(*key))?;
    let set = |set: &String| set.split_once('=').is_some_and(|(name, _)| name.trim() == key);
    let named = given.contains_key(key) || sets.iter().any(set);
    (!named && precision != Precision::default()).then(|| format!("{key}=\"{precision}\""))
}

/// Fails if any number is NaN or infinite.
fn finite<R: Recipe>(file: &str, recipe: &R) -> Result<(), Error> {
    fn first(key: String, value: &toml::Value) -> Option<String> {
        match value {
            toml::Value::Float(v) if !v.is_finite() => Some(format!("`{key}` = {v}: expected a finite number")),
            toml::Value::Array(items) => items.iter().find_map(|v| first(key.clone(), v)),
            toml::Value::Table(table) => {
                let full = |k: &str| if key.is_empty() { k.to_owned() } else { format!("{key}.{k}") };
                table.iter().find_map(|(k, v)| first(full(k), v))
            }
            _ => None,
        }
    }
    let table = toml::Value::try_from(recipe);
    let wrong = table.ok().and_then(|table| first(String::new(), &table));
    wrong.map_or(Ok(()), |message| Err(Error::Recipe { file: file.to_owned(), message }))
}

/// Returns the recipe as TOML with all defaults written out.
pub fn resolved<R: Serialize>(recipe: &R) -> String {
    toml::to_string_pretty(recipe).expect("invariant: a recipe is plain data")
}

fn apply(table: &mut toml::Table, set: &str) -> Result<(), Error> {
    let bad = |message: String| Error::Recipe { file: format!("--set {set}"), message };
    let (key, value) = set.split_once('=').ok_or_else(|| bad("expected KEY=VALUE, e.g. train.seed=1".into()))?;
    let value = value.trim();
    let parsed: Result<toml::Table, _> = toml::from_str(&format!("v = {value}"));
    let value = match parsed {
        Ok(mut t) => t.remove("v").expect("invariant: it was just written"),
        Err(_) => toml::Value::String(value.to_owned()),
    };
    let parts: Vec<&str> = key.trim().split('.').collect();
    let (last, sections) = parts.split_last().expect("invariant: split gives at least one part");
    let mut place = table;
    for section in sections {
        let known: Vec<String> = place.keys().cloned().collect();
        place = match place.get_mut(*section) {
            Some(toml::Value::Table(t)) => t,
            Some(_) => return Err(bad(format!("`{section}` is a value, not a section"))),
            None => return Err(bad(format!("unknown section `{section}`{}", near(section, &known)))),
        };
    }
    // An integer for a fraction, as on a command line.
    let value = match (place.get(*last), value) {
        (Some(toml::Value::Float(_)), toml::Value::Integer(i)) => toml::Value::Float(i as f64),
        // A size such as 8k.
        (Some(toml::Value::Integer(_)), toml::Value::String(text)) => match size(&text) {
            Ok(n) => toml::Value::Integer(n as i64),
            Err(_) => toml::Value::String(text),
        },
        (_, value) => value,
    };
    place.insert((*last).to_owned(), value);
    Ok(())
}

/// Returns the settings of a recipe by their full names. For data files it keeps only the weights.
pub(super) fn flat(text: &str) -> BTreeMap<String, toml::Value> {
    fn walk(prefix: &str, table: &toml::Table, out: &mut BTreeMap<String, toml::Value>) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                toml::Value::Table(table) => walk(&key, table, out),
                toml::Value::Array(files) if key == "data.files" => {
                    let weight = |f: &toml::Value| f.get("weight").cloned().unwrap_or(toml::Value::Float(1.0));
                    out.insert("data weights".into(), files.iter().map(weight).collect::<Vec<_>>().into());
                    out.insert(key, value.clone());
                }
                value => drop(out.insert(key, value.clone())),
            }
        }
    }
    let mut out = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        walk("", &table, &mut out);
    }
    out
}
