//! Numbers: thousands separators, decimal points and commas, recurring digits, scientific notation.

use super::super::tree::Literal;
use super::kind::{Commas, Kind};
use super::scanner::Scanner;
use num_bigint::BigInt;
use num_rational::BigRational;

/// Maximum number of digits in a number.
const MAX_DIGITS: usize = 4096;
/// From this many digits, a decimal with dots stands for an irrational number, as one without dots does.
const ENOUGH_DIGITS: usize = 6;
/// Maximum power of ten in scientific notation.
const MAX_EXPONENT: i64 = 4096;

impl Scanner {
    /// Scans a number: its digits, separators, recurring digits and exponent.
    pub(super) fn number(&mut self) -> Option<()> {
        let mut whole = String::new();
        let mut plain = true;
        loop {
            let n = self.digits(self.at);
            whole.extend(&self.chars[self.at..self.at + n]);
            self.at += n;
            let Some(skip) = self.joint(&whole, n) else { break };
            self.at += skip;
            plain = false;
        }
        let mut fraction = String::new();
        if let Some(skip) = self.point() {
            self.at += skip;
            plain = false;
            loop {
                let n = self.digits(self.at);
                fraction.extend(&self.chars[self.at..self.at + n]);
                self.at += n;
                // 0.\!5 and 3.141\,592
                if (self.starts(self.at, "\\!") || self.starts(self.at, "\\,")) && self.digits(self.at + 2) > 0 && n > 0
                {
                    self.at += 2;
                } else {
                    break;
                }
            }
        }
        let mut recurring = if plain { String::new() } else { self.recurring(&fraction) };
        if recurring.is_empty()
            && let Some(dots) = self.dots().filter(|_| !fraction.is_empty())
        {
            if let Some(block) = repeated(&fraction) {
                recurring = fraction.split_off(fraction.len() - block);
                self.at += dots;
            } else if whole.trim_start_matches('0').len() + fraction.len() >= ENOUGH_DIGITS {
                self.at += dots; // dots of an irrational number
            }
        }
        let exponent = self.exponent();
        if whole.len() + fraction.len() + recurring.len() > MAX_DIGITS || exponent.abs() > MAX_EXPONENT {
            return None;
        }
        let literal = literal(&whole, &fraction, &recurring)?;
        let digits = (plain && exponent == 0).then_some(whole);
        self.push(Kind::Number { literal, exponent, digits });
        Some(())
    }

    /// The length of the dots that mark a continuation.
    fn dots(&self) -> Option<usize> {
        ["...", "\\ldots", "\\dots", "\\cdots"].into_iter().find(|dots| self.starts(self.at, dots)).map(str::len)
    }

    /// The length of the separator between the digits so far and the next ones.
    fn joint(&self, whole: &str, group: usize) -> Option<usize> {
        let three = |at: usize| self.digits(at) == 3;
        // TeX sets digits with thin spaces as one number; 1\,1/2 is a mixed number.
        let touches = |at: usize| self.digits(at) > 0 && self.chars.get(at + self.digits(at)) != Some(&'/');
        let at = self.at;
        // Groups of three, after a first group of one to three digits.
        let first_groups = whole.len() == group && group <= 3 || whole.len() > group && group == 3;
        for comma in ["{,}", ",\\!", "\\!", "{{,}}", "{, }", " {, }"] {
            if self.starts(at, comma) {
                let spaces = self.chars[at + comma.len()..].iter().take_while(|c| **c == ' ').count();
                let next = at + comma.len() + spaces;
                let fits = if comma == "\\!" { touches(next) } else { three(next) && first_groups };
                return fits.then_some(comma.len() + spaces);
            }
        }
        if self.starts(at, "\\,") {
            let fits = if self.depth > 0 { three(at + 2) && first_groups } else { touches(at + 2) };
            return fits.then_some(2);
        }
        if !first_groups || whole.starts_with('0') || !three(at + 1) {
            return None;
        }
        let separator = self.peek(0)?;
        match self.commas {
            // In brackets, a comma separates items.
            Commas::Thousands => {
                // 1.234.567, but not 1.234
                let points = separator == '.'
                    && (whole.len() > group && self.chars[at - group - 1] == '.'
                        || self.chars.get(at + 4) == Some(&'.') && three(at + 5));
                (separator == ',' && self.depth == 0 || matches!(separator, ' ' | '\'') || points).then_some(1)
            }
            // Only if a comma with decimals follows, as in 1.234,5: 1.234 alone is a decimal.
            Commas::Decimal => {
                let mut end = at;
                while self.chars.get(end) == Some(&'.') && three(end + 1) {
                    end += 4;
                }
                (separator == '.' && self.chars.get(end) == Some(&',') && self.digits(end + 1) > 0 || separator == ' ')
                    .then_some(1)
            }
            Commas::List => None,
        }
    }

    /// The length of a decimal point, or of a decimal comma. All digits after the point may recur.
    fn point(&self) -> Option<usize> {
        // 1{,}41 is neither a list nor a group of three.
        if self.starts(self.at, "{,}") && self.digits(self.at + 3) > 0 {
            return Some(3);
        }
        let point = if self.commas == Commas::Decimal { [',', '.'] } else { ['.', '.'] };
        let c = self.peek(0).filter(|c| point.contains(c))?;
        let mut skip = 1;
        while self.starts(self.at + skip, "\\!") || self.starts(self.at + skip, "\\,") {
            skip += 2;
        }
        let marks = ["\\overline{", "\\bar{", "\\dot", "\\overline "];
        let marked = marks.iter().any(|mark| self.starts(self.at + skip, mark));
        let recurs = c == '.' && (marked || self.bracketed(self.at + skip).is_some());
        (self.digits(self.at + skip) > 0 || recurs).then_some(skip)
    }

    /// The number of digits in round brackets at `at`.
    fn bracketed(&self, at: usize) -> Option<usize> {
        let n = self.digits(at + 1);
        (self.chars.get(at) == Some(&'(') && n > 0 && self.chars.get(at + 1 + n) == Some(&')')).then_some(n)
    }

    /// Scans recurring digits: `\overline{36}`, `\dot{1}4\dot{2}`, `(36)`.
    fn recurring(&mut self, fraction: &str) -> String {
        for mark in ["\\overline{", "\\bar{", "\\overline ", "\\bar "] {
            let at = self.at + mark.len();
            let n = self.digits(at).min(if mark.ends_with(' ') { 1 } else { MAX_DIGITS });
            if self.starts(self.at, mark) && n > 0 && (mark.ends_with(' ') || self.chars.get(at + n) == Some(&'}')) {
                self.at = at + n + usize::from(!mark.ends_with(' '));
                return self.chars[at..at + n].iter().collect();
            }
        }
        if let Some(n) = self.bracketed(self.at).filter(|_| !fraction.is_empty() || self.chars[self.at - 1] == '.') {
            let digits = self.chars[self.at + 1..self.at + 1 + n].iter().collect();
            self.at += n + 2;
            return digits;
        }
        let Some(first) = self.dotted() else { return String::new() };
        let mut digits = first.to_string();
        let between = self.digits(self.at);
        let end = self.at;
        let middle: String = self.chars[end..end + between].iter().collect();
        self.at += between;
        match self.dotted() {
            Some(last) => {
                digits.push_str(&middle);
                digits.push(last);
            }
            None => self.at = end,
        }
        digits
    }

    /// Scans the digit of `\dot{3}` or `\dot3`.
    fn dotted(&mut self) -> Option<char> {
        let mut at = self.at;
        if !self.starts(at, "\\dot") {
            return None;
        }
        at += 4;
        let braced = matches!(self.chars.get(at), Some('{'));
        at += usize::from(braced || self.chars.get(at) == Some(&' '));
        let digit = self.chars.get(at).copied().filter(char::is_ascii_digit)?;
        at += 1;
        if braced {
            if self.chars.get(at) != Some(&'}') {
                return None;
            }
            at += 1;
        }
        self.at = at;
        Some(digit)
    }

    /// Scans the power of ten in `1e3`, `2.5E-7`.
    fn exponent(&mut self) -> i64 {
        if !matches!(self.peek(0), Some('e' | 'E')) {
            return 0;
        }
        let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
        let n = self.digits(self.at + 1 + sign);
        let after = self.chars.get(self.at + 1 + sign + n);
        if n == 0 || after.is_some_and(|c| c.is_ascii_alphabetic()) {
            return 0;
        }
        let digits: String = self.chars[self.at + 1 + sign..self.at + 1 + sign + n].iter().collect();
        let value = digits.parse().unwrap_or(i64::MAX / 2);
        let negative = self.peek(1) == Some('-');
        self.at += 1 + sign + n;
        if negative { -value } else { value }
    }
}

/// The length of the recurring block at the end: a block that occurs three times there, or a long one twice. Shorter
/// repeats occur by chance: e is 2.718281828...
fn repeated(fraction: &str) -> Option<usize> {
    let digits = fraction.as_bytes();
    let ends_with = |block: usize, times: usize| {
        digits.len() >= block * times
            && digits[digits.len() - block * times..].chunks(block).all(|c| *c == digits[digits.len() - block..])
    };
    (1..=digits.len().min(64) / 2).find(|&block| ends_with(block, if block < 5 { 3 } else { 2 }))
}

/// Builds the number from its digits.
fn literal(whole: &str, fraction: &str, recurring: &str) -> Option<Literal> {
    let big = |digits: &str| {
        if digits.is_empty() { Some(BigInt::from(0)) } else { BigInt::parse_bytes(digits.as_bytes(), 10) }
    };
    let shift = |n: usize| BigInt::from(10).pow(n as u32);
    let mut value = BigRational::new(big(&format!("{whole}{fraction}"))?, shift(fraction.len()));
    if !recurring.is_empty() {
        let denominator = shift(fraction.len()) * (shift(recurring.len()) - 1);
        value += BigRational::new(big(recurring)?, denominator);
    }
    Some(Literal { value, decimals: fraction.len() as u32, recurring: recurring.len() as u32 })
}
