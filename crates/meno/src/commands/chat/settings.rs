//! `/set`: changes the sampling settings during a chat.

use crate::arguments;
use crate::session::SamplingArgs;

/// The settings that can be changed.
pub(super) const NAMES: [&str; 7] = ["temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed"];

/// Changes a setting; `default` restores the model's own value. Returns the text to print.
pub(super) fn set(sampling: &mut SamplingArgs, seed: &mut u64, name: &str, value: &str) -> Result<String, String> {
    let name = name.replace('-', "_");
    match name.as_str() {
        "temperature" => sampling.temperature = or_default(value, arguments::temperature)?,
        "top_p" => sampling.top_p = or_default(value, arguments::top_p)?,
        "min_p" => sampling.min_p = or_default(value, arguments::min_p)?,
        "top_k" => sampling.top_k = or_default(value, arguments::whole)?,
        "max_tokens" => sampling.max_tokens = or_default(value, arguments::token_count)?,
        "stop" if value == "default" => sampling.stop.clear(),
        "stop" => sampling.stop = vec![value.to_owned()],
        "seed" => match or_default(value, |text| text.parse().map_err(|_| "expected a whole number".to_owned()))? {
            Some(new) => *seed = new,
            None => return Err("seed has no default; give a number".into()),
        },
        _ => return Err(format!("there is no setting `{name}`; expected one of {}", NAMES.join(", "))),
    }
    Ok(format!("{name} = {}", shown(sampling, *seed, &name)))
}

/// All settings, one per line.
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
        "max_tokens" => sampling.max_tokens.map_or_else(|| "up to the context length".into(), |v| v.to_string()),
        "stop" if sampling.stop.is_empty() => "none".into(),
        "stop" => sampling.stop.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" "),
        _ => seed.to_string(),
    }
}

/// Parses a value as the command line does; `None` for `default`.
fn or_default<T>(value: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if value == "default" {
        return Ok(None);
    }
    parse(value).map(Some).map_err(|expected| format!("{value}: {expected}, or default"))
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
        assert_eq!(try_set("max-tokens", "8k").unwrap(), "max_tokens = 8192");
        assert_eq!(try_set("stop", "a b").unwrap(), "stop = \"a b\"");
        assert_eq!(try_set("temperature", "default").unwrap(), "temperature = the model's default");
        assert_eq!((sampling.temperature, sampling.max_tokens), (None, Some(8192)));
    }
}
