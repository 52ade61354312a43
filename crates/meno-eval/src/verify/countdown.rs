//! Countdown: an expression that uses each given number once and has the target as its value.
//!
//! The value is computed in fractions of i128, so division is exact and nothing overflows unseen.

use super::math::Fraction;

/// Longest expression that is read.
const MAX_LEN: usize = 400;

/// Value and numbers of an expression of `+ - * / ( )`; `None` if it is not one, or divides by zero.
pub fn evaluate(expression: &str) -> Option<(Fraction, Vec<i64>)> {
    let text = expression.replace(['×', '·'], "*").replace('÷', "/").replace('−', "-");
    if text.len() > MAX_LEN {
        return None;
    }
    let mut p = Parser { rest: text.as_bytes(), numbers: Vec::new(), depth: 0 };
    let value = p.sum()?;
    (p.peek().is_none()).then_some((value, p.numbers))
}

/// Whether `expression` (a `= target` at its end is allowed) makes `target` of exactly `numbers`.
pub fn makes(expression: &str, numbers: &[i64], target: i64) -> bool {
    let (left, right) = expression.split_once('=').unwrap_or((expression, ""));
    if !right.trim().is_empty() && right.trim().parse::<i64>() != Ok(target) {
        return false;
    }
    let Some((value, mut used)) = evaluate(left) else { return false };
    let mut given = numbers.to_vec();
    given.sort_unstable();
    used.sort_unstable();
    given == used && Fraction::new(target as i128, 1).is_some_and(|t| t == value)
}

struct Parser<'a> {
    rest: &'a [u8],
    numbers: Vec<i64>,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\t' | b'\n', tail @ ..] = self.rest {
            self.rest = tail;
        }
        self.rest.first().copied()
    }

    fn take(&mut self, wanted: &[u8]) -> Option<u8> {
        let c = self.peek().filter(|c| wanted.contains(c))?;
        self.rest = &self.rest[1..];
        Some(c)
    }

    fn sum(&mut self) -> Option<Fraction> {
        let mut value = self.product()?;
        while let Some(sign) = self.take(b"+-") {
            let b = self.product()?;
            value = if sign == b'+' { value.checked_add(b)? } else { value.checked_sub(b)? };
        }
        Some(value)
    }

    fn product(&mut self) -> Option<Fraction> {
        let mut value = self.atom()?;
        while let Some(sign) = self.take(b"*/") {
            let b = self.atom()?;
            value = if sign == b'*' { value.checked_mul(b)? } else { value.checked_div(b)? };
        }
        Some(value)
    }

    fn atom(&mut self) -> Option<Fraction> {
        if self.take(b"(").is_some() {
            self.depth += 1;
            if self.depth > 32 {
                return None;
            }
            let value = self.sum()?;
            self.depth -= 1;
            return self.take(b")").map(|_| value);
        }
        self.peek()?;
        let len = self.rest.iter().take_while(|c| c.is_ascii_digit()).count();
        if len == 0 || len > 9 {
            return None;
        }
        let n = self.rest[..len].iter().fold(0i64, |n, c| n * 10 + (c - b'0') as i64);
        self.rest = &self.rest[len..];
        self.numbers.push(n);
        Fraction::new(n as i128, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong_expressions() {
        assert!(makes("(8-3)*4", &[3, 4, 8], 20));
        assert!(makes("8/(3-8/3)", &[8, 8, 3, 3], 24));
        assert!(makes("4 × (8 − 3) = 20", &[3, 4, 8], 20));
        assert!(!makes("4*(8-3) = 21", &[3, 4, 8], 20));
        assert!(!makes("4*5", &[3, 4, 8], 20));
        assert!(!makes("8*3-4", &[3, 4, 8, 1], 20));
        assert!(!makes("20", &[3, 4, 8], 20));
        assert!(!makes("4+8+3+8-3", &[3, 4, 8], 20));
        for bad in ["", "(", "4+", "4/(3-3)", "4**2", "(4", "4)", "-4", "x", "9999999999", &"(".repeat(300)] {
            assert!(evaluate(bad).is_none(), "{bad}");
        }
    }
}
