//! `/set`: how tokens are chosen, changed while talking.

use crate::session::SamplingArgs;
use std::str::FromStr;

/// What can be set.
pub(super) const NAMES: [&str; 7] = ["temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed"];

/// Changes a setting, `default` back to the model's own; returns what to tell.
pub(super) fn set(sampling: &mut SamplingArgs, seed: &mut u64, name: &str, value: &str) -> Result<String, String> {
    let name = name.replace('-', "_");
    match name.as_str() {
        "temperature" => sampling.temperature = number(value, "0 or more", |t: &f32| *t >= 0.0 && t.is_finite())?,
        "top_p" => sampling.top_p = number(value, "above 0, at most 1", |p: &f32| *p > 0.0 && *p <= 1.0)?,
        "min_p" => sampling.min_p = number(value, "0 to 1", |p: &f32| (0.0..=1.0).contains(p))?,
        "top_k" => sampling.top_k = number(value, "a whole number; 0 keeps all", |_| true)?,
        "max_tokens" => sampling.max_tokens = number(value, "a whole number above 0", |n: &usize| *n > 0)?,
        "stop" if value == "default" => sampling.stop.clear(),
        "stop" => sampling.stop = vec![value.to_owned()],
        "seed" => match number(value, "a whole number", |_| true)? {
            Some(new) => *seed = new,
            None => return Err("seed has no default; give a number".into()),
        },
        _ => return Err(format!("there is no setting `{name}`; expected one of {}", NAMES.join(", "))),
    }
    Ok(format!("{name} = {}", shown(sampling, *seed, &name)))
}

/// All settings, a line each.
pub(super) fn list(sampling: &SamplingArgs, seed: u64) -> String {
    NAMES.map(|name| format!("{name:12} {}", shown(sampling, seed, name))).join("\n")
}

/// The value of a setting.
pub(super) fn shown(sampling: &SamplingArgs, seed: u64, name: &str) -> String {
    let text = |value: Option<String>| value.unwrap_or_else(|| "the model's default".into());
    match name {
        "temperature" => text(sampling.temperature.map(|v| v.to_string())),
        "top_p" => text(sampling.top_p.map(|v| v.to_string())),
        "min_p" => text(sampling.min_p.map(|v| v.to_string())),
        "top_k" => text(sampling.top_k.map(|v| v.to_string())),
        "max_tokens" => sampling.max_tokens.map_or_else(|| "what the context holds".into(), |v| v.to_string()),
        "stop" if sampling.stop.is_empty() => "none".into(),
        "stop" => sampling.stop.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" "),
        _ => seed.to_string(),
    }
}

/// A value; `None` for `default`.
fn number<T: FromStr>(value: &str, expected: &str, valid: impl Fn(&T) -> bool) -> Result<Option<T>, String> {
    if value == "default" {
        return Ok(None);
    }
    let number = value.parse().ok().filter(valid);
    number.map(Some).ok_or_else(|| format!("{value}: expected {expected}, or default"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_before_they_hold() {
        let mut sampling = SamplingArgs {
            temperature: None,
            top_p: None,
            top_k: None,
            min_p: None,
            max_tokens: None,
            stop: Vec::new(),
        };
        let mut seed = 1;
        let mut try_set = |name: &str, value: &str| set(&mut sampling, &mut seed, name, value);
        for (name, value) in [("temperature", "-1"), ("temperature", "NaN"), ("top_p", "0"), ("min_p", "2")] {
            assert!(try_set(name, value).unwrap_err().contains("expected"), "{name} {value}");
        }
        assert!(try_set("max_tokens", "0").is_err() && try_set("seed", "default").is_err());
        assert!(try_set("warmth", "1").unwrap_err().contains("temperature, top_p"));
        assert_eq!(try_set("temperature", "0.5").unwrap(), "temperature = 0.5");
        assert_eq!(try_set("max-tokens", "7").unwrap(), "max_tokens = 7");
        assert_eq!(try_set("stop", "a b").unwrap(), "stop = \"a b\"");
        assert_eq!(try_set("temperature", "default").unwrap(), "temperature = the model's default");
        assert_eq!((sampling.temperature, sampling.max_tokens), (None, Some(7)));
    }
}
