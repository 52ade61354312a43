//! Countdown: an expression that uses each given number once and evaluates to the target.
//!
//! Evaluation is exact: big rationals, so division is lossless and nothing overflows.

use super::extract::{Extracted, Marker, after_thinking, extract, strip};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;

/// Maximum length of an expression in bytes.
const MAX_LEN: usize = 400;

/// The answer of a response: its marked answer, or its whole text after the reasoning if that is only an expression or
/// equation. With several lines, the last one counts if all others are such equations too.
pub fn answer(response: &str) -> Option<Extracted> {
    let found = extract(response);
    if found.as_ref().is_some_and(|f| f.marker != Marker::None) {
        return found;
    }
    let text = after_thinking(response)?;
    let bare = text.len() <= 4 * MAX_LEN && text.lines().all(|line| is_statement(strip(line)));
    let last = text.lines().map(strip).rfind(|line| !line.is_empty())?;
    bare.then(|| Extracted { text: last.to_owned(), boxes: None, marker: Marker::None })
}

/// True if a line is empty, an expression, or an equation of expressions.
fn is_statement(line: &str) -> bool {
    line.is_empty() || line.split('=').all(|side| evaluate(side).is_some())
}

/// The value and the numbers of an expression of `+ - * / ( )`, with signs before numbers and brackets. `None` if the
/// text is not such an expression, or divides by zero.
pub fn evaluate(expression: &str) -> Option<(BigRational, Vec<i64>)> {
    if expression.len() > MAX_LEN {
        return None;
    }
    let text = expression.replace("\\left", "").replace("\\right", "").replace("\\dfrac", "\\frac");
    let text = text.replace("\\tfrac", "\\frac").replace("\\times", "*").replace("\\cdot", "*").replace("\\div", "/");
    let text = text.replace(['×', '·', '⋅'], "*").replace('÷', "/").replace('−', "-");
    let mut p = Parser { rest: text.as_bytes(), numbers: Vec::new(), depth: 0 };
    let value = p.sum()?;
    (p.peek().is_none()).then_some((value, p.numbers))
}

/// True if `expression` makes `target` with exactly `numbers`. An equation such as `(8-3)*4 = 20` or `20 = (8-3)*4` is
/// accepted if every side equals the target and the first or the last side uses the numbers.
pub fn is_solution(expression: &str, numbers: &[i64], target: i64) -> bool {
    let target = BigRational::from_integer(target.into());
    let Some(sides) = expression.split('=').map(evaluate).collect::<Option<Vec<_>>>() else { return false };
    let mut given = numbers.to_vec();
    given.sort_unstable();
    let uses = |side: Option<&(BigRational, Vec<i64>)>| {
        let mut used = side.map(|(_, used)| used.clone()).unwrap_or_default();
        used.sort_unstable();
        used == given
    };
    sides.iter().all(|(value, _)| *value == target) && (uses(sides.first()) || uses(sides.last()))
}

struct Parser<'a> {
    rest: &'a [u8],
    numbers: Vec<i64>,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\t' | b'\n' | b'\r', tail @ ..] = self.rest {
            self.rest = tail;
        }
        self.rest.first().copied()
    }

    fn take(&mut self, wanted: &[u8]) -> Option<u8> {
        let c = self.peek().filter(|c| wanted.contains(c))?;
        self.rest = &self.rest[1..];
        Some(c)
    }

    fn sum(&mut self) -> Option<BigRational> {
        let mut value = self.product()?;
        while let Some(sign) = self.take(b"+-") {
            let b = self.product()?;
            value = if sign == b'+' { value + b } else { value - b };
        }
        Some(value)
    }

    fn product(&mut self) -> Option<BigRational> {
        let mut value = self.signed()?;
        loop {
            let sign = self.take(b"*/xX");
            // 3(4) and (3)(4) are products.
            if sign.is_none() && !matches!(self.peek(), Some(b'(' | b'[')) {
                break;
            }
            let b = if sign.is_none() { self.atom()? } else { self.signed()? };
            if sign != Some(b'/') {
                value *= b;
            } else if b.is_zero() {
                return None;
            } else {
                value /= b;
            }
        }
        Some(value)
    }

    /// Parses an atom with preceding signs.
    fn signed(&mut self) -> Option<BigRational> {
        let mut negative = false;
        while let Some(sign) = self.take(b"+-") {
            negative ^= sign == b'-';
        }
        let value = self.atom()?;
        Some(if negative { -value } else { value })
    }

    /// Parses `{8}{4}` after `\frac`.
    fn fraction(&mut self) -> Option<BigRational> {
        let braced = |p: &mut Self| if p.peek() == Some(b'{') { p.atom() } else { None };
        let (above, below) = (braced(self)?, braced(self)?);
        (!below.is_zero()).then(|| above / below)
    }

    fn atom(&mut self) -> Option<BigRational> {
        if let Some(open) = self.take(b"([{") {
            self.depth += 1;
            if self.depth > 32 {
                return None;
            }
            let value = self.sum()?;
            self.depth -= 1;
            let close = match open {
                b'(' => b")",
                b'[' => b"]",
                _ => b"}",
            };
            return self.take(close).map(|_| value);
        }
        self.peek()?;
        if let Some(rest) = self.rest.strip_prefix(b"\\frac") {
            self.rest = rest;
            return self.fraction();
        }
        let len = self.rest.iter().take_while(|c| c.is_ascii_digit()).count();
        if len == 0 || len > 9 {
            return None;
        }
        let n = self.rest[..len].iter().fold(0i64, |n, c| n * 10 + (c - b'0') as i64);
        self.rest = &self.rest[len..];
        // 20.0 counts as the whole number 20.
        if let [b'.', b'0', ..] = self.rest {
            self.rest = &self.rest[1..];
            let zeros = self.rest.iter().take_while(|c| **c == b'0').count();
            self.rest = &self.rest[zeros..];
            if self.rest.first().is_some_and(u8::is_ascii_digit) {
                return None;
            }
        }
        self.numbers.push(n);
        Some(BigRational::from_integer(BigInt::from(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_expression_is_an_answer() {
        let text = |response: &str| answer(response).map(|f| f.text);
        assert_eq!(text("(8-3)*4").as_deref(), Some("(8-3)*4"));
        assert_eq!(text("<think>8-3 is 5</think>\n\n(8-3)*4 = 20\n").as_deref(), Some("(8-3)*4 = 20"));
        assert_eq!(text("8-3=5\n(8-3)*4=20").as_deref(), Some("(8-3)*4=20"));
        for bare in ["20=3*4+8", "8+3(4)", "3x4+8", "\\frac{8}{4}\\cdot3"] {
            assert_eq!(text(bare).as_deref(), Some(bare));
        }
        assert_eq!(text("<answer>3*4+8=20.0</answer>").as_deref(), Some("3*4+8=20.0"));
        assert_eq!(text("$(8-3)*4$").as_deref(), Some("(8-3)*4"));
        assert_eq!(text("I tried (8-3)*5.\n\\boxed{(8-3)*4}").as_deref(), Some("(8-3)*4"));
        for none in ["I tried\n(8-3)*4", "(8-3)*4 or 8-3*4", "<think>(8-3)*4", "", "not\n(8-3)*4"] {
            assert_eq!(text(none), None, "{none}");
        }
    }

    #[test]
    fn right_and_wrong_expressions() {
        assert!(is_solution("(8-3)*4", &[3, 4, 8], 20));
        assert!(is_solution("8/(3-8/3)", &[8, 8, 3, 3], 24));
        assert!(is_solution("4 × (8 − 3) = 20", &[3, 4, 8], 20));
        assert!(is_solution("4 \\times (8 - 3) = 4 \\cdot 5 = 20", &[3, 4, 8], 20));
        assert!(is_solution("-3 + 8 + 4", &[3, 4, 8], 9));
        assert!(is_solution("4*(-3 + 8)", &[3, 4, 8], 20));
        assert!(is_solution("-(3-8)*4", &[3, 4, 8], 20));
        assert!(!is_solution("4*(8-3) = 21", &[3, 4, 8], 20));
        assert!(!is_solution("4*(8-3) = 20 = 21", &[3, 4, 8], 20));
        assert!(!is_solution("4*(8-3) = twenty", &[3, 4, 8], 20));
        assert!(!is_solution("4*(8-3) =", &[3, 4, 8], 20));
        assert!(is_solution("20 = 4*(8-3)", &[3, 4, 8], 20));
        assert!(!is_solution("21 = 4*(8-3)", &[3, 4, 8], 20));
        assert!(!is_solution("20 = 4*(8-3) = 20", &[3, 4, 8], 20));
        assert!(is_solution("8+3(4)", &[3, 4, 8], 20));
        assert!(is_solution("(3)(4)+8", &[3, 4, 8], 20));
        assert!(is_solution("3x4+8", &[3, 4, 8], 20));
        assert!(is_solution("3*4+8=20.0", &[3, 4, 8], 20));
        assert!(!is_solution("3*4+8=20.01", &[3, 4, 8], 20));
        assert!(is_solution("\\frac{8}{4}\\cdot3", &[3, 4, 8], 6));
        assert!(is_solution("3\\left(\\frac{8}{4}\\right)", &[3, 4, 8], 6));
        assert!(!is_solution("\\frac{8}{4-4}+3", &[3, 4, 4, 8], 6));
        assert!(!is_solution("3(4)8", &[3, 4, 8], 96));
        assert!(!is_solution("4*5", &[3, 4, 8], 20));
        assert!(!is_solution("8*3-4", &[3, 4, 8, 1], 20));
        assert!(!is_solution("20", &[3, 4, 8], 20));
        assert!(!is_solution("4+8+3+8-3", &[3, 4, 8], 20));
        for bad in [
            "",
            "(",
            "4+",
            "4/(3-3)",
            "4**2",
            "(4",
            "4)",
            "(4]",
            "x",
            "9999999999",
            &"(".repeat(300),
            "--",
            "\\frac84",
            "3 4",
            "x3",
            "3.5",
        ] {
            assert!(evaluate(bad).is_none(), "{bad}");
        }
    }
}
