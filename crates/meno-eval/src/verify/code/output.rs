//! Compares a program's output with the expected output, with the rules of each benchmark's checker.
//!
//! Whole numbers are always compared exactly. Tolerances apply only to numbers with a decimal point or an exponent.

use super::suite::Rules;

/// True if an output matches the expected output.
pub(super) fn same(got: &str, wanted: &str, rules: Rules) -> bool {
    match rules {
        Rules::LiveCodeBench => by_lines(got, wanted),
        Rules::Apps => apps(got, wanted),
        Rules::CodeContests => by_tokens(got, wanted),
    }
}

/// LiveCodeBench (`grade_stdio`): compares lines without surrounding white space. Lines that differ match if they hold
/// the same decimal numbers.
fn by_lines(got: &str, wanted: &str) -> bool {
    let same = |got: &str, wanted: &str| {
        let (got, wanted) = (got.trim(), wanted.trim());
        got == wanted || paired(got, wanted, |g, w| Decimal::read(g).is_some_and(|g| Some(g) == Decimal::read(w)))
    };
    let (got, wanted) = (got.trim(), wanted.trim());
    got.split('\n').count() == wanted.split('\n').count()
        && got.split('\n').zip(wanted.split('\n')).all(|(g, w)| same(g, w))
}

/// APPS (`run_test`): like LiveCodeBench, but ignores empty lines and compares fractional numbers with the tolerance of
/// `numpy.allclose`. The last attempt of the original (lines and words as sets) is left out, because it accepts
/// permuted output.
fn apps(got: &str, wanted: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.split('\n').map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    let (got, wanted) = (lines(got), lines(wanted));
    let number = |g: &str, w: &str| near(g, w, |g, w| (g - w).abs() <= 1e-8 + 1e-5 * w.abs());
    got.len() == wanted.len() && got.iter().zip(&wanted).all(|(g, w)| g == w || paired(g, w, number))
}

/// code_contests (`OutputsMatch`): compares words, ignoring case; fractional numbers match within 1e-5.
fn by_tokens(got: &str, wanted: &str) -> bool {
    let number = |g: &str, w: &str| g.eq_ignore_ascii_case(w) || near(g, w, |g, w| (g - w).abs() < 1e-5);
    got.split_whitespace().eq_by_words(wanted.split_whitespace(), number)
}

/// True if two lines have the same words, pairwise.
fn paired(got: &str, wanted: &str, same: impl Fn(&str, &str) -> bool) -> bool {
    got.split_whitespace().eq_by_words(wanted.split_whitespace(), same)
}

/// Compares two sequences word by word.
trait Words<'a>: Iterator<Item = &'a str> + Sized {
    fn eq_by_words(mut self, mut other: Self, same: impl Fn(&str, &str) -> bool) -> bool {
        loop {
            match (self.next(), other.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if same(a, b) => {}
                _ => return false,
            }
        }
    }
}

impl<'a, I: Iterator<Item = &'a str>> Words<'a> for I {}

/// True if two decimal numbers are equal, or `close` if one of them is not whole.
fn near(got: &str, wanted: &str, close: impl Fn(f64, f64) -> bool) -> bool {
    let (Some(g), Some(w)) = (Decimal::read(got), Decimal::read(wanted)) else { return false };
    if g == w {
        return true;
    }
    let (Ok(gf), Ok(wf)) = (got.parse::<f64>(), wanted.parse::<f64>()) else { return false };
    !(g.is_whole() && w.is_whole()) && gf.is_finite() && wf.is_finite() && close(gf, wf)
}

/// A decimal number of any size, with the syntax of Python's `Decimal`.
#[derive(Debug)]
struct Decimal<'a> {
    negative: bool,
    /// The digits before and after the point, without zeros at either end.
    before: &'a str,
    after: &'a str,
    /// The power of ten of the last digit; `None` for infinity.
    exponent: Option<i64>,
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.negative, self.exponent) == (other.negative, other.exponent)
            && self.before.bytes().chain(self.after.bytes()).eq(other.before.bytes().chain(other.after.bytes()))
    }
}

impl<'a> Decimal<'a> {
    /// Parses a number. `None` for invalid text and for NaN, which equals nothing.
    fn read(text: &'a str) -> Option<Decimal<'a>> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
            return Some(Decimal { negative, before: "", after: "", exponent: None });
        }
        let (digits, exponent) = match rest.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok().filter(|e| e.abs() < 1 << 40)?),
            None => (rest, 0),
        };
        let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !plain(before) || !plain(after) || before.len() + after.len() == 0 {
            return None;
        }
        let (before, trimmed) = (before.trim_start_matches('0'), after.trim_end_matches('0'));
        Some(Decimal::normal(negative, before, trimmed, exponent))
    }

    /// Moves the zeros next to the point into the exponent.
    fn normal(negative: bool, before: &'a str, after: &'a str, exponent: i64) -> Decimal<'a> {
        match (before, after) {
            ("", "") => Decimal { negative: false, before: "", after: "", exponent: Some(0) },
            (_, "") => {
                let quote = before.trim_end_matches('0');
                let exponent = exponent + (before.len() - quote.len()) as i64;
                Decimal { negative, before: quote, after: "", exponent: Some(exponent) }
            }
            ("", _) => {
                let quote = after.trim_start_matches('0');
                Decimal { negative, before: quote, after: "", exponent: Some(exponent - after.len() as i64) }
            }
            _ => Decimal { negative, before, after, exponent: Some(exponent - after.len() as i64) },
        }
    }

    fn is_whole(&self) -> bool {
        self.exponent.is_none_or(|e| e >= 0)
    }
}

/// Quotes a text for a message and shortens it.
pub(super) fn quote(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= 200 {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(160).collect();
    format!("{start:?}… ({} characters)", text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn livecodebench_compares_lines_and_decimals() {
        let same = |got, wanted| same(got, wanted, Rules::LiveCodeBench);
        for (got, wanted) in [
            ("1 2\n3\n", "1 2 \n3"),
            ("0.50 2", "0.5 2.0"),
            ("yes\n", "yes"),
            ("a\r\nb\r\n", "a\nb"),
            ("1e3", "1000"),
            ("-0", "0"),
            ("+7.0", "7"),
            ("120", "1.2e2"),
            ("00012", "12"),
        ] {
            assert!(same(got, wanted), "{got:?} {wanted:?}");
        }
        for (got, wanted) in [
            ("1\n2", "1 2"),
            ("Yes", "yes"),
            ("", "0"),
            ("1", "1\n1"),
            ("0.1", "0.10001"),
            ("9007199254740993", "9007199254740992"),
            ("100000000000000000000000000000000000001", "1e38"),
            ("0.30000000000000004", "0.3"),
            ("nan", "NaN"),
            ("a\nb", "a\n\nb"),
            ("12", "1.2"),
            ("-1", "1"),
        ] {
            assert!(!same(got, wanted), "{got:?} {wanted:?}");
        }
    }

    #[test]
    fn decimals_with_the_same_value_are_equal() {
        // 1.25 in many notations: any position of the point, any exponent.
        for text in ["1.25", "125e-2", "0.125e1", "12.5e-1", "0.00125e3", "1.250", "+01.25"] {
            assert!(near(text, "1.25", |_, _| false), "{text}");
        }
    }

    #[test]
    fn apps_ignores_blank_lines_and_rounding_of_fractions() {
        let same = |got, wanted| same(got, wanted, Rules::Apps);
        assert!(same("a\n\nb\n", "a\nb") && same("0.333333", "0.3333333333") && same("1\n2", "1\n2\n"));
        assert!(!same("2\n1", "1\n2") && !same("0.334", "0.3333") && !same("1000001", "1000000"));
        assert!(!same("9007199254740993", "9007199254740992"));
    }

    #[test]
    fn code_contests_compares_words() {
        let same = |got, wanted| same(got, wanted, Rules::CodeContests);
        assert!(same("yes 1\n2", "YES\n1 2") && same("0.333333", "0.33333399") && same("1.0", "1"));
        assert!(!same("0.3334", "0.3333") && !same("1 2", "1 2 3") && !same("9007199254740993", "9007199254740992"));
    }
}
