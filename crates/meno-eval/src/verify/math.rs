//! Whether two mathematical answers are the same: numbers, fractions, simple LaTeX, tuples and sets.
//!
//! Both sides are normalised; equal text is equal; otherwise both are evaluated, exactly as fractions where they are
//! rational, else in f64 to 1e-9. Time is bounded: texts above [`MAX_LEN`] characters are compared as text only, and
//! the evaluator's depth and powers are limited.

/// Longest answer that is evaluated.
pub const MAX_LEN: usize = 500;

/// A fraction in lowest terms, denominator positive. Operations give `None` on overflow and division by zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    /// `numerator / denominator`.
    pub fn new(numerator: i128, denominator: i128) -> Option<Fraction> {
        if denominator == 0 || numerator == i128::MIN || denominator == i128::MIN {
            return None;
        }
        let (mut a, mut b) = (numerator.unsigned_abs(), denominator.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = (a.max(1) as i128) * denominator.signum();
        Some(Fraction { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// The sum.
    pub fn checked_add(self, b: Fraction) -> Option<Fraction> {
        let left = self.numerator.checked_mul(b.denominator)?;
        let right = b.numerator.checked_mul(self.denominator)?;
        Fraction::new(left.checked_add(right)?, self.denominator.checked_mul(b.denominator)?)
    }

    /// The difference.
    pub fn checked_sub(self, b: Fraction) -> Option<Fraction> {
        self.checked_add(Fraction { numerator: -b.numerator, ..b })
    }

    /// The product.
    pub fn checked_mul(self, b: Fraction) -> Option<Fraction> {
        Fraction::new(self.numerator.checked_mul(b.numerator)?, self.denominator.checked_mul(b.denominator)?)
    }

    /// The quotient.
    pub fn checked_div(self, b: Fraction) -> Option<Fraction> {
        self.checked_mul(Fraction::new(b.denominator, b.numerator)?)
    }

    /// As f64.
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

impl std::fmt::Display for Fraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            d => write!(f, "{}/{d}", self.numerator),
        }
    }
}

/// A value: exact while it can be.
#[derive(Clone, Copy, Debug)]
enum Value {
    Exact(Fraction),
    Real(f64),
}

impl Value {
    fn real(self) -> f64 {
        match self {
            Value::Exact(f) => f.to_f64(),
            Value::Real(x) => x,
        }
    }

    fn with(
        self,
        b: Value,
        exact: impl Fn(Fraction, Fraction) -> Option<Fraction>,
        real: impl Fn(f64, f64) -> f64,
    ) -> Option<Value> {
        if let (Value::Exact(x), Value::Exact(y)) = (self, b)
            && let Some(z) = exact(x, y)
        {
            return Some(Value::Exact(z));
        }
        let z = real(self.real(), b.real());
        z.is_finite().then_some(Value::Real(z))
    }

    fn equals(self, b: Value) -> bool {
        match (self, b) {
            (Value::Exact(x), Value::Exact(y)) => x == y,
            _ => {
                let (x, y) = (self.real(), b.real());
                (x - y).abs() <= 1e-9 * x.abs().max(y.abs()).max(1e-9)
            }
        }
    }
}

/// Whether `a` and `b` are the same answer.
pub fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (normalise(a), normalise(b));
    if a == b {
        return true;
    }
    if a.len() > MAX_LEN || b.len() > MAX_LEN {
        return false;
    }
    let (x, y) = (parts(&a), parts(&b));
    if x.len() != y.len() || x.first().map(|p| p.0) != y.first().map(|p| p.0) {
        return false;
    }
    x.iter()
        .zip(&y)
        .all(|((_, p), (_, q))| p == q || matches!((evaluate(p), evaluate(q)), (Some(p), Some(q)) if p.equals(q)))
}

/// One text for all ways to write an answer, as votes are counted by.
pub fn canonical(answer: &str) -> String {
    let text = normalise(answer);
    if text.len() > MAX_LEN {
        return text;
    }
    match evaluate(&text) {
        Some(Value::Exact(f)) => f.to_string(),
        Some(Value::Real(x)) => format!("{x:.9e}"),
        None => text,
    }
}

/// The members of a tuple, interval or set with its opening bracket; a single value is one part.
fn parts(text: &str) -> Vec<(char, String)> {
    let open = text.chars().next().filter(|c| matches!(c, '(' | '[' | '{'));
    let inner = match open {
        Some(_) if text.ends_with([')', ']', '}']) => &text[1..text.len() - 1],
        _ => text,
    };
    let (mut depth, mut pieces, mut start) = (0i32, Vec::new(), 0);
    for (i, c) in inner.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' | ';' if depth == 0 => {
                pieces.push(inner[start..i].to_owned());
                start = i + 1;
            }
            _ => {}
        }
        if depth < 0 {
            // "(1)+(2)": the first bracket does not embrace it all.
            return vec![(' ', text.to_owned())];
        }
    }
    if pieces.is_empty() {
        return vec![(' ', text.to_owned())];
    }
    pieces.push(inner[start..].to_owned());
    let kind = open.unwrap_or(' ');
    if kind == '{' {
        pieces.sort();
    }
    pieces.into_iter().map(|p| (kind, p)).collect()
}

/// Takes markup away: dollars, spaces, `\left`, `\text{…}`, units of degree and percent, thousands commas, a variable
/// before `=`.
fn normalise(text: &str) -> String {
    let mut s = text.trim().trim_end_matches(['.', '。']).to_owned();
    for (from, to) in [
        ("\\left", ""),
        ("\\right", ""),
        ("\\!", ""),
        ("\\,", ""),
        ("\\;", ""),
        ("\\ ", ""),
        ("\\$", ""),
        ("$", ""),
        ("\\%", ""),
        ("%", ""),
        ("^{\\circ}", ""),
        ("^\\circ", ""),
        ("°", ""),
        ("\\dfrac", "\\frac"),
        ("\\tfrac", "\\frac"),
        ("\\{", "{"),
        ("\\}", "}"),
        ("\\cdot", "*"),
        ("\\times", "*"),
        ("\\div", "/"),
        ("×", "*"),
        ("÷", "/"),
        ("−", "-"),
        ("，", ","),
    ] {
        s = s.replace(from, to);
    }
    for markup in ["\\text{", "\\mathrm{", "\\textbf{", "\\mbox{"] {
        while let Some(at) = s.find(markup) {
            let Some(len) = s[at + markup.len()..].find('}') else { break };
            let inner = s[at + markup.len()..at + markup.len() + len].to_owned();
            s.replace_range(at..at + markup.len() + len + 1, &inner);
        }
    }
    let mut s: String = s.chars().filter(|c| !c.is_whitespace()).collect();
    if let Some((left, right)) = s.split_once('=')
        && left.len() <= 2
        && left.chars().all(char::is_alphabetic)
    {
        s = right.to_owned();
    }
    without_thousands(&s)
}

/// `1,234,567` without its commas; anything else as it is.
fn without_thousands(s: &str) -> String {
    let body = s.strip_prefix('-').unwrap_or(s);
    let whole = body.split('.').next().unwrap_or(body);
    let groups: Vec<&str> = whole.split(',').collect();
    let digits = |g: &&str| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit());
    let grouped = groups.len() > 1
        && groups.iter().all(digits)
        && (1..=3).contains(&groups[0].len())
        && groups[1..].iter().all(|g| g.len() == 3);
    if grouped { s.replace(',', "") } else { s.to_owned() }
}

fn evaluate(text: &str) -> Option<Value> {
    let mut p = Parser { rest: text, depth: 0 };
    let value = p.sum()?;
    p.rest.is_empty().then_some(value)
}

/// Recursive descent over `+ - * / ^ ( )`, decimals, `\frac`, `\sqrt`, `\pi`.
struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn take(&mut self, prefix: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(prefix) else { return false };
        self.rest = rest;
        true
    }

    fn sum(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > 40 {
            return None;
        }
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let mut value = self.product()?;
        if negative {
            value = negate(value)?;
        }
        loop {
            value = if self.take("+") {
                value.with(self.product()?, Fraction::checked_add, |a, b| a + b)?
            } else if self.take("-") {
                value.with(self.product()?, Fraction::checked_sub, |a, b| a - b)?
            } else {
                self.depth -= 1;
                return Some(value);
            };
        }
    }

    fn product(&mut self) -> Option<Value> {
        let mut value = self.power()?;
        loop {
            value = if self.take("*") {
                value.with(self.power()?, Fraction::checked_mul, |a, b| a * b)?
            } else if self.take("/") {
                value.with(self.power()?, Fraction::checked_div, |a, b| a / b)?
            } else if self.rest.starts_with(['(', '\\']) {
                // 2\sqrt{3}, 3\pi, 2(1+1): a product without its sign.
                value.with(self.power()?, Fraction::checked_mul, |a, b| a * b)?
            } else {
                return Some(value);
            };
        }
    }

    fn power(&mut self) -> Option<Value> {
        let base = self.atom()?;
        if !self.take("^") {
            return Some(base);
        }
        let exponent = if self.rest.starts_with('{') { self.braced()? } else { self.signed_atom()? };
        if let (Value::Exact(b), Value::Exact(e)) = (base, exponent)
            && e.denominator == 1
            && e.numerator.abs() <= 64
        {
            let mut value = Fraction::new(1, 1)?;
            for _ in 0..e.numerator.abs() {
                value = value.checked_mul(b)?;
            }
            return Some(Value::Exact(if e.numerator < 0 { Fraction::new(1, 1)?.checked_div(value)? } else { value }));
        }
        let x = base.real().powf(exponent.real());
        x.is_finite().then_some(Value::Real(x))
    }

    fn signed_atom(&mut self) -> Option<Value> {
        if self.take("-") { negate(self.atom()?) } else { self.atom() }
    }

    fn atom(&mut self) -> Option<Value> {
        if self.take("(") {
            let value = self.sum()?;
            return self.take(")").then_some(value);
        }
        if self.take("\\frac") {
            let (a, b) = (self.argument()?, self.argument()?);
            return a.with(b, Fraction::checked_div, |a, b| a / b);
        }
        if self.take("\\sqrt") || self.take("√") {
            let x = self.argument()?.real();
            return (x >= 0.0).then(|| Value::Real(x.sqrt()));
        }
        if self.take("\\pi") || self.take("π") {
            return Some(Value::Real(std::f64::consts::PI));
        }
        self.number()
    }

    fn braced(&mut self) -> Option<Value> {
        self.take("{").then_some(())?;
        let value = self.sum()?;
        self.take("}").then_some(value)
    }

    /// `{…}`, or one digit: `\frac12`.
    fn argument(&mut self) -> Option<Value> {
        if self.rest.starts_with('{') {
            return self.braced();
        }
        if self.take("(") {
            let value = self.sum()?;
            return self.take(")").then_some(value);
        }
        let digit = self.rest.chars().next()?.to_digit(10)?;
        self.rest = &self.rest[1..];
        Some(Value::Exact(Fraction::new(digit as i128, 1)?))
    }

    fn number(&mut self) -> Option<Value> {
        let bytes = self.rest.as_bytes();
        let len = bytes.iter().take_while(|c| c.is_ascii_digit() || **c == b'.').count();
        let (text, rest) = self.rest.split_at(len);
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        if text.is_empty() || decimals.contains('.') || whole.len() + decimals.len() == 0 {
            return None;
        }
        self.rest = rest;
        if whole.len() + decimals.len() > 30 {
            return text.parse().ok().map(Value::Real);
        }
        let digits: i128 = format!("{whole}{decimals}").parse().ok()?;
        Some(Value::Exact(Fraction::new(digits, 10i128.pow(decimals.len() as u32))?))
    }
}

fn negate(v: Value) -> Option<Value> {
    Value::Exact(Fraction::new(0, 1)?).with(v, Fraction::checked_sub, |a, b| a - b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn same_answers() {
        for (a, b) in [
            ("42", "42.0"),
            ("1/2", "\\frac{1}{2}"),
            ("0.5", "\\dfrac12"),
            ("$1,234$", "1234"),
            ("x = 5", "5"),
            ("-\\frac{3}{4}", "-0.75"),
            ("2\\sqrt{3}", "\\sqrt{12}"),
            ("\\frac{\\sqrt{2}}{2}", "1/\\sqrt{2}"),
            ("2^{10}", "1024"),
            ("3\\pi", "\\pi*3"),
            ("90^\\circ", "90"),
            ("50\\%", "50"),
            ("(1, 2)", "\\left(1, \\frac{4}{2}\\right)"),
            ("\\{1,2\\}", "\\{2, 1\\}"),
            ("\\text{yes}", "yes"),
            ("2(1+1)", "4"),
            ("1.50", "3/2"),
        ] {
            assert!(equal(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn different_answers() {
        for (a, b) in [
            ("42", "43"),
            ("1/2", "1/3"),
            ("(1,2)", "(2,1)"),
            ("(1,2)", "[1,2]"),
            ("12", "1,2"),
            ("yes", "no"),
            ("1/0", "2/0"),
            ("0.333333", "1/3"),
            ("", "0"),
            ("x", "y"),
        ] {
            assert!(!equal(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn votes_share_a_form() {
        assert_eq!(canonical("0.50"), canonical("\\frac{2}{4}"));
        assert_eq!(canonical("1{,}000"), canonical("1{,}000"));
        assert_ne!(canonical("2"), canonical("3"));
    }

    #[test]
    fn hostile_text_ends_soon() {
        let start = std::time::Instant::now();
        for text in ["(".repeat(100_000), "9^".repeat(200) + "9", "\\frac".repeat(5000), "{".repeat(90)] {
            assert!(!equal(&text, "1"));
            canonical(&text);
        }
        assert!(start.elapsed().as_secs_f64() < 1.0);
    }

    proptest! {
        #[test]
        fn any_text_is_itself(a in "\\PC{0,40}") {
            prop_assert!(equal(&a, &a));
        }
        #[test]
        fn fractions_agree_with_their_decimal(n in -9999i64..9999, d in 1u32..6) {
            let p = 10i64.pow(d);
            let decimal = format!("{}{}.{:0width$}", if n < 0 { "-" } else { "" }, n.abs() / p, n.abs() % p, width = d as usize);
            let fraction = format!("\\frac{{{n}}}{{{p}}}");
            prop_assert!(equal(&decimal, &fraction), "{} {}", decimal, fraction);
        }
    }
}
