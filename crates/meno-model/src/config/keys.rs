//! Reads the keys of a config.json, each with its type and its bounds.

use crate::Error;
use serde_json::{Map, Value};

/// The keys of one object of a config.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// The file, for errors.
    pub(super) file: &'a str,
    /// Prefix of every key in errors, e.g. `rope_scaling.`.
    pub(super) prefix: &'a str,
    pub(super) map: &'a Map<String, Value>,
}

/// Maximum size of one dimension: beyond any published model, and small enough that products of a few do not overflow.
pub(super) const MAX_SIZE: usize = 1 << 22;

impl Keys<'_> {
    /// Returns an error about `key`.
    pub(super) fn error(&self, key: &str, what: impl Into<String>) -> Error {
        Error::Config { file: self.file.to_owned(), key: format!("{}{key}", self.prefix), what: what.into() }
    }

    fn missing(&self, key: &str, expected: &str) -> Error {
        self.error(key, format!("is missing: expected {expected}; add it as the model's authors published it"))
    }

    /// Returns the value of `key`. As in transformers, null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// Returns an integer in `1..=max`, or `None` if absent.
    pub(super) fn opt_size_up_to(&self, key: &str, max: usize) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_u64() {
            Some(n) if (1..=max as u64).contains(&n) => Ok(Some(n as usize)),
            _ => Err(self.error(key, format!("is {value}: expected a whole number from 1 to {max}"))),
        }
    }

    pub(super) fn opt_size(&self, key: &str) -> Result<Option<usize>, Error> {
        self.opt_size_up_to(key, MAX_SIZE)
    }

    pub(super) fn size_up_to(&self, key: &str, max: usize) -> Result<usize, Error> {
        let size = self.opt_size_up_to(key, max)?;
        size.ok_or_else(|| self.missing(key, &format!("a whole number from 1 to {max}")))
    }

    pub(super) fn size(&self, key: &str) -> Result<usize, Error> {
        self.size_up_to(key, MAX_SIZE)
    }

    /// Returns an integer in `0..=max`, or 0 if absent.
    pub(super) fn count(&self, key: &str, max: usize) -> Result<usize, Error> {
        match self.get(key).map(|v| (v, v.as_u64())) {
            None => Ok(0),
            Some((_, Some(n))) if n <= max as u64 => Ok(n as usize),
            Some((value, _)) => Err(self.error(key, format!("is {value}: expected a whole number from 0 to {max}"))),
        }
    }

    /// Returns a finite number that satisfies `ok`, or `None` if absent.
    pub(super) fn opt_number(&self, key: &str, expected: &str, ok: fn(f64) -> bool) -> Result<Option<f64>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64() {
            Some(x) if x.is_finite() && ok(x) => Ok(Some(x)),
            _ => Err(self.error(key, format!("is {value}: expected {expected}"))),
        }
    }

    pub(super) fn opt_positive(&self, key: &str) -> Result<Option<f64>, Error> {
        self.opt_number(key, "a positive number", |x| x > 0.0)
    }

    pub(super) fn positive(&self, key: &str) -> Result<f64, Error> {
        self.opt_positive(key)?.ok_or_else(|| self.missing(key, "a positive number"))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(*b),
            Some(value) => Err(self.error(key, format!("is {value}: expected true or false"))),
        }
    }

    pub(super) fn opt_string(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(value) => Err(self.error(key, format!("is {value}: expected a string"))),
        }
    }

    /// Returns one of the named values.
    pub(super) fn choice<T: Copy>(&self, key: &str, default: Option<T>, choices: &[(&str, T)]) -> Result<T, Error> {
        let names: Vec<&str> = choices.iter().map(|c| c.0).collect();
        match (self.opt_string(key)?, default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.missing(key, &format!("one of {}", names.join(", ")))),
            (Some(given), _) => match choices.iter().find(|c| c.0 == given) {
                Some(&(_, value)) => Ok(value),
                None => Err(self.error(key, format!("is \"{given}\": expected one of {}", names.join(", ")))),
            },
        }
    }

    /// Rejects a key whose value requires an unsupported feature.
    pub(super) fn only(&self, key: &str, expected: &Value, why: &str) -> Result<(), Error> {
        match self.get(key) {
            Some(value) if value != expected => {
                Err(self.error(key, format!("is {value}: only {expected} is supported ({why})")))
            }
            _ => Ok(()),
        }
    }
}
