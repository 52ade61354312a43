//! Units of measurement: the meaning of a unit's text and its conversion factor.
//!
//! A unit is a product of powers of named units, e.g. `km/h` or `cm^2`. Known units have a dimension over seven base
//! units and an exact factor. A plural noun counts things and forms a separate dimension with its name. Currencies do
//! not convert into each other.

mod tables;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::One;
use std::collections::BTreeMap;
use tables::{DERIVED, FUNCTION_WORDS, NAME_PREFIXES, NO_NOUNS, PREFIXES, SYMBOLS, UNITS};

/// A unit: its dimension as powers of base units, and its factor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    /// Base name to power; zero powers are omitted.
    pub(super) dimension: BTreeMap<String, i32>,
    /// The number of base units in this unit.
    pub(super) factor: BigRational,
}

/// Parses the name of a unit (in lower case or as written); `None` if it is not a unit.
pub(super) fn parse(text: &str) -> Option<Unit> {
    let text = text.trim().trim_matches(|c| c == '(' || c == ')').trim_end_matches('.').trim();
    if text.is_empty() || text.len() > 60 {
        return None;
    }
    let mut unit = Unit { dimension: BTreeMap::new(), factor: BigRational::one() };
    let text = text.replace("**", "^").replace(['·', '⋅'], "*").replace(" per ", "/");
    let text = match text.to_lowercase().as_str() {
        "degrees celsius" | "degree celsius" | "degrees c" | "degree c" => "celsius".to_owned(),
        "degrees fahrenheit" | "degree fahrenheit" | "degrees f" | "degree f" => "fahrenheit".to_owned(),
        _ => text,
    };
    let mut sign = 1;
    for (i, part) in text.split('/').enumerate() {
        for piece in part.split('*') {
            unit.multiply(product(piece.trim_matches(|c| matches!(c, '(' | ')' | ' ')))?, sign)?;
        }
        if i == 0 {
            sign = -1;
        }
    }
    unit.dimension.retain(|_, power| *power != 0);
    Some(unit)
}

/// Parses space-separated units, with "square" and "cubic" before and powers after their names, or counted things.
fn product(text: &str) -> Option<Unit> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut unit = Unit { dimension: BTreeMap::new(), factor: BigRational::one() };
    let mut power = 1;
    for (i, word) in words.iter().enumerate() {
        match *word {
            "square" | "sq" | "sq." if i + 1 < words.len() => power = 2,
            "cubic" | "cu" if i + 1 < words.len() => power = 3,
            "squared" if i > 0 => unit = unit.power(2)?,
            "cubed" if i > 0 => unit = unit.power(3)?,
            // "ton" alone can mean any of these.
            "short" | "long" | "metric" if words.get(i + 1).is_some_and(|w| is_ton(w)) => {}
            _ if i > 0 && is_ton(word) && matches!(words[i - 1], "short" | "long" | "metric") => {
                let pounds = |n: u64| rational((n * 45_359_237, 100_000));
                let factor = match words[i - 1] {
                    "short" => pounds(2000),
                    "long" => pounds(2240),
                    _ => rational((1_000_000, 1)),
                };
                unit.multiply(Unit { dimension: BTreeMap::from([("g".to_owned(), 1)]), factor }, power)?;
                power = 1;
            }
            _ => match named(word) {
                Some(named) => {
                    unit.multiply(named, power)?;
                    power = 1;
                }
                None => return counted(&words),
            },
        }
    }
    (!words.is_empty()).then_some(unit)
}

fn is_ton(word: &str) -> bool {
    matches!(word, "ton" | "tons")
}

/// `apples`, `red apples`: at most three words; the last is a plural.
fn counted(words: &[&str]) -> Option<Unit> {
    let last = words.last()?;
    let letters = words.iter().all(|w| w.chars().all(|c| c.is_alphabetic() || c == '-'));
    let plural = last.len() > 3 && last.ends_with('s') && !last.ends_with("ss");
    let plain = words.iter().all(|w| !NO_NOUNS.contains(w) && !FUNCTION_WORDS.contains(w));
    (words.len() <= 3 && letters && plural && plain)
        .then(|| Unit { dimension: BTreeMap::from([((*last).to_owned(), 1)]), factor: BigRational::one() })
}

/// Parses a unit name, including `cm^2` and `cm2`.
fn named(word: &str) -> Option<Unit> {
    let (name, power) = match word.split_once('^') {
        Some((name, power)) => (name, power.trim_matches(|c| c == '{' || c == '}').parse().ok()?),
        None => match word.as_bytes() {
            [.., b'a'..=b'z', digit @ (b'2' | b'3')] => (&word[..word.len() - 1], i32::from(digit - b'0')),
            _ => (word, 1),
        },
    };
    if !(-9..=9).contains(&power) || power == 0 {
        return None;
    }
    let unit = match symbol(name) {
        Some(unit) => unit,
        None => full_name(&name.to_lowercase())?,
    };
    unit.power(power)
}

fn rational((n, d): (u64, u64)) -> BigRational {
    BigRational::new(BigInt::from(n), BigInt::from(d))
}

/// Parses a symbol with its prefix.
fn symbol(name: &str) -> Option<Unit> {
    let find = |name: &str, prefixed: bool| {
        let (_, _, bases, factor) = SYMBOLS.iter().find(|row| row.0 == name && (row.1 || !prefixed))?;
        let dimension = bases.iter().map(|&(base, power)| (base.to_owned(), power)).collect();
        Some(Unit { dimension, factor: rational(*factor) })
    };
    // F, b and B without a prefix are more likely variables than farad, bit and byte.
    find(name, false).filter(|_| !matches!(name, "F" | "b" | "B")).or_else(|| {
        let (prefix, factor) = PREFIXES.iter().find(|(p, _)| {
            name.strip_prefix(p).is_some_and(|rest| takes_prefix(rest, p) && find(rest, true).is_some())
        })?;
        let mut unit = find(&name[prefix.len()..], true)?;
        unit.factor *= rational(*factor);
        Some(unit)
    })
}

/// True if a prefix is common with a symbol: dV and nb are not units.
fn takes_prefix(symbol: &str, prefix: &str) -> bool {
    match prefix {
        "d" | "c" => matches!(symbol, "m" | "g" | "l" | "L"),
        "m" | "u" | "n" => !matches!(symbol, "b" | "B"),
        _ => true,
    }
}

/// Parses a full name or a common abbreviation in lower case, with its prefix.
fn full_name(lower: &str) -> Option<Unit> {
    plain_name(lower).or_else(|| {
        let (prefix, factor) = NAME_PREFIXES.iter().find(|(p, _)| lower.starts_with(p))?;
        let rest = &lower[prefix.len()..];
        let mut unit = plain_name(rest).filter(|_| rest.len() > 2)?;
        unit.factor *= rational(*factor);
        Some(unit)
    })
}

fn plain_name(lower: &str) -> Option<Unit> {
    Some(if let Some((_, base, of, factor)) = UNITS.iter().find(|row| row.0.contains(&lower)) {
        Unit { dimension: BTreeMap::from([((*base).to_owned(), *of)]), factor: rational(*factor) }
    } else {
        let (_, bases, factor) = DERIVED.iter().find(|row| row.0.contains(&lower))?;
        let dimension = bases.iter().map(|&(base, power)| (base.to_owned(), power)).collect();
        Unit { dimension, factor: rational(*factor) }
    })
}

impl Unit {
    fn power(mut self, power: i32) -> Option<Unit> {
        for of in self.dimension.values_mut() {
            *of = of.checked_mul(power)?;
        }
        self.factor = self.factor.pow(power);
        Some(self)
    }

    fn multiply(&mut self, other: Unit, power: i32) -> Option<()> {
        let other = other.power(power)?;
        for (base, of) in other.dimension {
            let power = self.dimension.entry(base).or_default();
            *power = power.checked_add(of)?;
        }
        self.factor *= other.factor;
        Some(())
    }

    /// For a temperature scale: its zero in kelvins, and the size of its degree.
    pub(super) fn temperature(&self) -> Option<(BigRational, BigRational)> {
        let ratio = |n: i64, d: i64| BigRational::new(n.into(), d.into());
        let [(base, 1)] = self.dimension.iter().map(|(b, p)| (b.as_str(), *p)).collect::<Vec<_>>()[..] else {
            return None;
        };
        match base {
            "K" => Some((ratio(0, 1), ratio(1, 1))),
            "celsius" => Some((ratio(27315, 100), ratio(1, 1))),
            "fahrenheit" => Some((ratio(45967 * 5, 900), ratio(5, 9))),
            _ => None,
        }
    }

    /// True if it counts things or is a generic "unit". Answers often leave out the power of such a unit.
    pub(super) fn is_generic(&self) -> bool {
        self.dimension.keys().all(|base| base == "unit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_convert() {
        let factor = |a: &str, b: &str| {
            let (a, b) = (parse(a).unwrap(), parse(b).unwrap());
            (a.dimension == b.dimension).then(|| a.factor / b.factor)
        };
        let ratio = |n: i64, d: i64| Some(BigRational::new(n.into(), d.into()));
        assert_eq!(factor("km", "m"), ratio(1000, 1));
        assert_eq!(factor("km/h", "m/s"), ratio(5, 18));
        assert_eq!(factor("cm^2", "m^2"), ratio(1, 10_000));
        assert_eq!(factor("square feet", "square inches"), ratio(144, 1));
        assert_eq!(factor("liters", "cm^3"), ratio(1000, 1));
        assert_eq!(factor("miles per hour", "mph"), ratio(1, 1));
        assert_eq!(factor("N", "kg m/s^2"), ratio(1, 1));
        assert_eq!(factor("hours", "minutes"), ratio(60, 1));
        assert_eq!(factor("dollars", "cents"), ratio(100, 1));
        assert_eq!(factor("cm", "cm^2"), None);
        assert_eq!(factor("dollars", "euros"), None);
        assert_eq!(factor("red apples", "apples"), ratio(1, 1));
        assert_eq!(factor("apples", "oranges"), None);
    }

    #[test]
    fn words_are_not_units() {
        for text in ["or more", "nonsense", "is wrong", "negated", "", "x", "or less", "to 6", "cm^99", "guess"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
