//! Units of measurement: the meaning of a unit's text and its conversion factor.
//!
//! A unit is a product of powers of named units, e.g. `km/h` or `cm^2`. Known units have a dimension over seven base
//! units and an exact factor. A plural noun counts things and forms a separate dimension with its name. Currencies do
//! not convert into each other.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::One;
use std::collections::BTreeMap;

/// A unit: its dimension as powers of base units, and its factor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    /// Base name to power; zero powers are omitted.
    pub(super) dimension: BTreeMap<String, i32>,
    /// The number of base units in this unit.
    pub(super) factor: BigRational,
}

/// Names, base, power of the base, factor as numerator and denominator.
type Row = (&'static [&'static str], &'static str, i32, (u64, u64));

const UNITS: &[Row] = &[
    (&["meter", "meters", "metre", "metres"], "m", 1, (1, 1)),
    (&["km", "kms", "kilometer", "kilometers", "kilometre", "kilometres"], "m", 1, (1000, 1)),
    (&["decimeter", "decimeters"], "m", 1, (1, 10)),
    (&["cm", "cms", "centimeter", "centimeters", "centimetre", "centimetres"], "m", 1, (1, 100)),
    (&["mm", "millimeter", "millimeters", "millimetre", "millimetres"], "m", 1, (1, 1000)),
    (&["micrometer", "micrometers", "micron", "microns"], "m", 1, (1, 1_000_000)),
    (&["nanometer", "nanometers"], "m", 1, (1, 1_000_000_000)),
    (&["in", "inch", "inches"], "m", 1, (254, 10_000)),
    (&["ft", "foot", "feet"], "m", 1, (3048, 10_000)),
    (&["yd", "yds", "yard", "yards"], "m", 1, (9144, 10_000)),
    (&["mi", "mile", "miles"], "m", 1, (1_609_344, 1000)),
    (&["liter", "liters", "litre", "litres"], "m", 3, (1, 1000)),
    (&["deciliter", "deciliters"], "m", 3, (1, 10_000)),
    (&["centiliter", "centiliters"], "m", 3, (1, 100_000)),
    (&["milliliter", "milliliters", "millilitre", "millilitres"], "m", 3, (1, 1_000_000)),
    (&["gal", "gallon", "gallons"], "gallon", 1, (1, 1)),
    (&["quart", "quarts", "qt"], "gallon", 1, (1, 4)),
    (&["pint", "pints", "pt"], "gallon", 1, (1, 8)),
    (&["cup", "cups"], "gallon", 1, (1, 16)),
    (&["ha", "hectare", "hectares"], "m", 2, (10_000, 1)),
    (&["acre", "acres"], "m", 2, (40_468_564_224, 10_000_000)),
    (&["kg", "kgs", "kilogram", "kilograms", "kilogramme", "kilogrammes", "kilo", "kilos"], "g", 1, (1000, 1)),
    (&["gram", "grams", "gramme", "grammes"], "g", 1, (1, 1)),
    (&["milligram", "milligrams"], "g", 1, (1, 1000)),
    (&["microgram", "micrograms"], "g", 1, (1, 1_000_000)),
    (&["tonne", "tonnes"], "g", 1, (1_000_000, 1)),
    (&["ton", "tons"], "ton", 1, (1, 1)),
    (&["lb", "lbs", "pound-mass"], "g", 1, (45_359_237, 100_000)),
    (&["oz", "ounce", "ounces"], "g", 1, (45_359_237, 1_600_000)),
    (&["sec", "secs", "second", "seconds"], "s", 1, (1, 1)),
    (&["millisecond", "milliseconds"], "s", 1, (1, 1000)),
    (&["min", "mins", "minute", "minutes"], "s", 1, (60, 1)),
    (&["h", "hr", "hrs", "hour", "hours"], "s", 1, (3600, 1)),
    (&["day", "days"], "s", 1, (86_400, 1)),
    (&["week", "weeks"], "s", 1, (604_800, 1)),
    (&["month", "months"], "month", 1, (1, 1)),
    (&["year", "years", "yr", "yrs"], "month", 1, (12, 1)),
    (&["decade", "decades"], "month", 1, (120, 1)),
    (&["century", "centuries"], "month", 1, (1200, 1)),
    (&["amp", "amps", "ampere", "amperes"], "A", 1, (1, 1)),
    (&["milliamp", "milliamps"], "A", 1, (1, 1000)),
    (&["kelvin", "kelvins"], "K", 1, (1, 1)),
    (&["mole", "moles"], "mol", 1, (1, 1)),
    (&["degc", "°c", "celsius", "degrees celsius"], "celsius", 1, (1, 1)),
    (&["degf", "°f", "fahrenheit", "degrees fahrenheit"], "fahrenheit", 1, (1, 1)),
    (&["dollar", "dollars", "usd", "bucks"], "dollar", 1, (1, 1)),
    (&["cent", "cents", "penny", "pennies"], "dollar", 1, (1, 100)),
    (&["euro", "euros", "eur"], "euro", 1, (1, 1)),
    (&["pound", "pounds", "gbp"], "pound", 1, (1, 1)),
    (&["yuan", "rmb", "cny", "yen", "jpy"], "yuan", 1, (1, 1)),
    (&["rupee", "rupees", "inr", "rs"], "rupee", 1, (1, 1)),
    (&["ruble", "rubles"], "ruble", 1, (1, 1)),
    (&["rad", "radian", "radians"], "radian", 1, (1, 1)),
    (&["rev", "revolution", "revolutions"], "revolution", 1, (1, 1)),
    (&["bit", "bits"], "bit", 1, (1, 1)),
    (&["byte", "bytes"], "bit", 1, (8, 1)),
    (&["unit", "units"], "unit", 1, (1, 1)),
    (&["people", "person", "persons"], "person", 1, (1, 1)),
    (&["child", "children"], "child", 1, (1, 1)),
    (&["man", "men"], "man", 1, (1, 1)),
    (&["woman", "women"], "woman", 1, (1, 1)),
    (&["sheep"], "sheep", 1, (1, 1)),
    (&["fish"], "fish", 1, (1, 1)),
    (&["time", "times"], "time", 1, (1, 1)),
    (&["元", "块"], "yuan", 1, (1, 1)),
    (&["米"], "m", 1, (1, 1)),
    (&["厘米"], "m", 1, (1, 100)),
    (&["千米", "公里"], "m", 1, (1000, 1)),
    (&["平方米"], "m", 2, (1, 1)),
    (&["平方厘米"], "m", 2, (1, 10_000)),
    (&["千克", "公斤"], "g", 1, (1000, 1)),
    (&["克"], "g", 1, (1, 1)),
    (&["升"], "m", 3, (1, 1000)),
    (&["秒"], "s", 1, (1, 1)),
    (&["分钟", "分"], "s", 1, (60, 1)),
    (&["小时"], "s", 1, (3600, 1)),
    (&["天"], "s", 1, (86_400, 1)),
    (&["年", "岁"], "month", 1, (12, 1)),
    (&["个", "只", "人", "种", "次", "条", "本", "张", "名", "位", "辆", "件", "棵"], "unit", 1, (1, 1)),
    (&["am", "a.m.", "a.m"], "am", 1, (1, 1)),
    (&["pm", "p.m.", "p.m"], "pm", 1, (1, 1)),
];

/// Case-sensitive symbols: symbol, true if it takes prefixes, bases, factor. Full names ignore case.
type Symbol = (&'static str, bool, &'static [(&'static str, i32)], (u64, u64));

const SYMBOLS: &[Symbol] = &[
    ("m", true, &[("m", 1)], (1, 1)),
    ("g", true, &[("g", 1)], (1, 1)),
    ("s", true, &[("s", 1)], (1, 1)),
    ("A", true, &[("A", 1)], (1, 1)),
    ("K", true, &[("K", 1)], (1, 1)),
    ("mol", true, &[("mol", 1)], (1, 1)),
    ("t", false, &[("g", 1)], (1_000_000, 1)),
    ("L", true, &[("m", 3)], (1, 1000)),
    ("l", true, &[("m", 3)], (1, 1000)),
    ("N", true, &[("g", 1), ("m", 1), ("s", -2)], (1000, 1)),
    ("Nm", false, &[("g", 1), ("m", 2), ("s", -2)], (1000, 1)),
    ("J", true, &[("g", 1), ("m", 2), ("s", -2)], (1000, 1)),
    ("Wh", true, &[("g", 1), ("m", 2), ("s", -2)], (3_600_000, 1)),
    ("W", true, &[("g", 1), ("m", 2), ("s", -3)], (1000, 1)),
    ("Pa", true, &[("g", 1), ("m", -1), ("s", -2)], (1000, 1)),
    ("V", true, &[("g", 1), ("m", 2), ("s", -3), ("A", -1)], (1000, 1)),
    ("ohm", true, &[("g", 1), ("m", 2), ("s", -3), ("A", -2)], (1000, 1)),
    ("F", true, &[("g", -1), ("m", -2), ("s", 4), ("A", 2)], (1, 1000)),
    ("C", true, &[("A", 1), ("s", 1)], (1, 1)),
    ("Hz", true, &[("s", -1)], (1, 1)),
    ("eV", true, &[("eV", 1)], (1, 1)),
    ("b", true, &[("bit", 1)], (1, 1)),
    ("B", true, &[("bit", 1)], (8, 1)),
];

/// Prefixes of symbols with their factors. K for k is common and unambiguous.
const PREFIXES: &[(&str, (u64, u64))] = &[
    ("k", (1000, 1)),
    ("K", (1000, 1)),
    ("M", (1_000_000, 1)),
    ("G", (1_000_000_000, 1)),
    ("T", (1_000_000_000_000, 1)),
    ("d", (1, 10)),
    ("c", (1, 100)),
    ("m", (1, 1000)),
    ("u", (1, 1_000_000)),
    ("n", (1, 1_000_000_000)),
];

/// Prefixes of full names.
const NAME_PREFIXES: &[(&str, (u64, u64))] = &[
    ("kilo", (1000, 1)),
    ("mega", (1_000_000, 1)),
    ("giga", (1_000_000_000, 1)),
    ("tera", (1_000_000_000_000, 1)),
    ("deci", (1, 10)),
    ("centi", (1, 100)),
    ("milli", (1, 1000)),
    ("micro", (1, 1_000_000)),
    ("nano", (1, 1_000_000_000)),
];

/// Units that are products of other units: newtons and similar, over g, m, s, A, mol.
type Derived = (&'static [&'static str], &'static [(&'static str, i32)], (u64, u64));

const DERIVED: &[Derived] = &[
    (&["newton", "newtons"], &[("g", 1), ("m", 1), ("s", -2)], (1000, 1)),
    (&["kilonewton", "kilonewtons"], &[("g", 1), ("m", 1), ("s", -2)], (1_000_000, 1)),
    (&["joule", "joules"], &[("g", 1), ("m", 2), ("s", -2)], (1000, 1)),
    (&["kilojoule", "kilojoules"], &[("g", 1), ("m", 2), ("s", -2)], (1_000_000, 1)),
    (&["cal", "calorie", "calories"], &[("g", 1), ("m", 2), ("s", -2)], (4184, 1)),
    (&["kcal", "kilocalorie", "kilocalories"], &[("g", 1), ("m", 2), ("s", -2)], (4_184_000, 1)),
    (&["watt", "watts"], &[("g", 1), ("m", 2), ("s", -3)], (1000, 1)),
    (&["kilowatt", "kilowatts"], &[("g", 1), ("m", 2), ("s", -3)], (1_000_000, 1)),
    (&["kwh"], &[("g", 1), ("m", 2), ("s", -2)], (3_600_000_000, 1)),
    (&["pascal", "pascals"], &[("g", 1), ("m", -1), ("s", -2)], (1000, 1)),
    (&["kilopascal", "kilopascals"], &[("g", 1), ("m", -1), ("s", -2)], (1_000_000, 1)),
    (&["volt", "volts"], &[("g", 1), ("m", 2), ("s", -3), ("A", -1)], (1000, 1)),
    (&["ohm", "ohms"], &[("g", 1), ("m", 2), ("s", -3), ("A", -2)], (1000, 1)),
    (&["coulomb", "coulombs"], &[("A", 1), ("s", 1)], (1, 1)),
    (&["hertz"], &[("s", -1)], (1, 1)),
    (&["kilohertz"], &[("s", -1)], (1000, 1)),
    (&["mph"], &[("m", 1), ("s", -1)], (1_609_344, 3_600_000)),
    (&["kph", "kmph"], &[("m", 1), ("s", -1)], (1000, 3600)),
    (&["m/s", "mps"], &[("m", 1), ("s", -1)], (1, 1)),
];

/// Words with the ending of a plural noun that are not plural nouns.
const NO_NOUNS: [&str; 77] = [
    "is",
    "was",
    "has",
    "does",
    "this",
    "its",
    "as",
    "us",
    "yes",
    "plus",
    "minus",
    "times",
    "less",
    "thus",
    "because",
    "means",
    "equals",
    "unless",
    "gives",
    "makes",
    "always",
    "across",
    "perhaps",
    "besides",
    "towards",
    "afterwards",
    "sometimes",
    "versus",
    "guess",
    "gas",
    "bus",
    "lies",
    "goes",
    "nonsense",
    "halves",
    "thirds",
    "quarters",
    "fourths",
    "fifths",
    "sixths",
    "sevenths",
    "eighths",
    "ninths",
    "tenths",
    "twentieths",
    "hundredths",
    "thousandths",
    "millionths",
    "billionths",
    "tens",
    "hundreds",
    "thousands",
    "millions",
    "billions",
    "dozens",
    "pairs",
    "scores",
    "roots",
    "factorials",
    "points",
    "powers",
    "logs",
    "multiples",
    "squares",
    "cubes",
    "percents",
    "inverses",
    "fails",
    "works",
    "holds",
    "follows",
    "satisfies",
    "remains",
    "becomes",
    "yields",
    "shows",
    "exists",
];

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

/// Words that make a phrase more than the name of a thing.
const FUNCTION_WORDS: [&str; 28] = [
    "or", "and", "not", "to", "than", "but", "if", "no", "more", "most", "least", "about", "over", "under", "up", "of",
    "in", "from", "with", "without", "except", "wrong", "squared", "cubed", "times", "minus", "plus", "half",
];

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
