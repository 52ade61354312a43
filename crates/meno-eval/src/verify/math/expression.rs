//! Values of mathematical expressions in LaTeX or plain: `+ - * / ^ !`, brackets, `\frac`, `\sqrt`, `\pi`, functions,
//! products without their sign, and letters, which stand for fixed odd numbers: two expressions that agree at several
//! such points are taken to be the same (polynomial identity testing).

use super::fraction::Fraction;

/// How many points expressions with letters are compared at.
pub(super) const POINTS: u32 = 3;

/// A value: exact while it can be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Exact(Fraction),
    Real(f64),
}

impl Value {
    fn integer(n: i128) -> Option<Value> {
        Fraction::new(n, 1).map(Value::Exact)
    }

    fn real(self) -> f64 {
        match self {
            Value::Exact(f) => f.to_f64(),
            Value::Real(x) => x,
        }
    }

    fn of(x: f64) -> Option<Value> {
        x.is_finite().then_some(Value::Real(x))
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
        Value::of(real(self.real(), b.real()))
    }

    fn times(self, b: Value) -> Option<Value> {
        self.with(b, Fraction::checked_mul, |a, b| a * b)
    }

    fn over(self, b: Value) -> Option<Value> {
        self.with(b, Fraction::checked_div, |a, b| a / b)
    }

    fn negated(self) -> Option<Value> {
        Value::integer(0)?.with(self, Fraction::checked_sub, |a, b| a - b)
    }

    /// A whole number that is not negative.
    fn count(self) -> Option<u32> {
        match self {
            Value::Exact(f) if f.denominator == 1 => u32::try_from(f.numerator).ok(),
            _ => None,
        }
    }

    pub(super) fn equals(self, b: Value) -> bool {
        match (self, b) {
            (Value::Exact(x), Value::Exact(y)) => x == y,
            _ => {
                let (x, y) = (self.real(), b.real());
                (x - y).abs() <= 1e-9 * x.abs().max(y.abs()).max(1e-9)
            }
        }
    }
}

/// The value of an expression at one of the points; whether a letter stands in it.
pub(super) fn evaluate(text: &str, point: u32) -> Option<(Value, bool)> {
    let mut p = Parser { rest: text, depth: 0, point, letters: false };
    let value = p.sum()?;
    p.rest.is_empty().then_some((value, p.letters))
}

type Function = fn(f64) -> f64;

const FUNCTIONS: [(&str, Function); 10] = [
    ("\\arcsin", f64::asin),
    ("\\arccos", f64::acos),
    ("\\arctan", f64::atan),
    ("\\sin", f64::sin),
    ("\\cos", f64::cos),
    ("\\tan", f64::tan),
    ("\\cot", |x| 1.0 / x.tan()),
    ("\\ln", f64::ln),
    ("\\log", f64::ln),
    ("\\exp", f64::exp),
];

/// Recursive descent.
struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    point: u32,
    letters: bool,
}

impl Parser<'_> {
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
            value = value.negated()?;
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
                value.times(self.power()?)?
            } else if self.take("/") {
                value.over(self.power()?)?
            } else if self.rest.starts_with(|c: char| matches!(c, '(' | '\\' | 'π' | '√') || c.is_ascii_alphabetic())
            {
                // 2\sqrt{3}, 3\pi, 2(1+1), 6r: a product without its sign.
                value.times(self.power()?)?
            } else {
                return Some(value);
            };
        }
    }

    fn power(&mut self) -> Option<Value> {
        let mut base = self.atom()?;
        while self.take("!") {
            let n = base.count().filter(|&n| n <= 30)?;
            base = Value::integer((1..=n as i128).product())?;
        }
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
                match value.checked_mul(b) {
                    Some(v) => value = v,
                    None => return Value::of(b.to_f64().powi(e.numerator as i32)),
                }
            }
            return Some(Value::Exact(if e.numerator < 0 { Fraction::new(1, 1)?.checked_div(value)? } else { value }));
        }
        Value::of(base.real().powf(exponent.real()))
    }

    fn signed_atom(&mut self) -> Option<Value> {
        if self.take("-") { self.atom()?.negated() } else { self.atom() }
    }

    fn atom(&mut self) -> Option<Value> {
        if self.take("(") {
            let value = self.sum()?;
            return self.take(")").then_some(value);
        }
        if self.rest.starts_with('{') {
            return self.braced();
        }
        if self.take("\\frac") {
            return self.argument()?.over(self.argument()?);
        }
        if self.take("\\binom") {
            let (n, k) = (self.argument()?.count()? as i128, self.argument()?.count()? as i128);
            return if n > 60 { None } else { Value::integer((0..k).fold(1, |c, i| c * (n - i) / (i + 1))) };
        }
        if self.take("\\sqrt") || self.take("√") {
            let root = if self.take("[") { self.number()?.count().filter(|_| self.take("]"))? } else { 2 };
            let x = self.argument()?.real();
            let even = root % 2 == 0;
            return match root {
                2 => Value::of(x.sqrt()),
                0 => None,
                _ if even => Value::of(x.powf(1.0 / root as f64)),
                _ => Value::of(x.signum() * x.abs().powf(1.0 / root as f64)),
            };
        }
        if self.take("\\pi") || self.take("π") {
            return Some(Value::Real(std::f64::consts::PI));
        }
        if let Some((_, f)) = FUNCTIONS.iter().find(|(name, _)| self.take(name)) {
            return self.function(*f);
        }
        if self.rest.starts_with('\\') || self.rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.letter();
        }
        self.number()
    }

    /// `\sin x`, `\sin^2 x`, `\log_2 8`.
    fn function(&mut self, f: fn(f64) -> f64) -> Option<Value> {
        let base = if self.take("_") { Some(self.argument()?.real().ln()) } else { None };
        let exponent = if self.take("^") { self.argument()?.real() } else { 1.0 };
        let y = f(self.power()?.real());
        Value::of(base.map_or(y, |base| y / base).powf(exponent))
    }

    /// A letter, or a symbol that is written as one (`\theta`, `\infty`), with its index if it has one.
    fn letter(&mut self) -> Option<Value> {
        let name =
            self.rest.starts_with('\\').then(|| 1 + self.rest[1..].bytes().take_while(u8::is_ascii_alphabetic).count());
        let (name, rest) = self.rest.split_at(name.unwrap_or(1));
        if name == "\\" {
            return None;
        }
        self.rest = rest;
        let mut hash = name.bytes().fold(17u64, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        if self.take("_") {
            let digit = self.rest.chars().next().filter(char::is_ascii_alphanumeric)?;
            self.rest = &self.rest[1..];
            hash = hash.wrapping_mul(131).wrapping_add(digit as u64);
        }
        self.letters = true;
        // Between 1 and 3, odd enough that no two expressions meet by chance.
        let x = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / (1u64 << 24) as f64;
        Some(Value::Real(1.0 + (x + 0.37 * f64::from(self.point)) % 2.0))
    }

    fn braced(&mut self) -> Option<Value> {
        self.take("{").then_some(())?;
        let value = self.sum()?;
        self.take("}").then_some(value)
    }

    /// `{…}`, or one digit or letter: `\frac12`, `\sqrt x`.
    fn argument(&mut self) -> Option<Value> {
        if self.rest.starts_with('{') {
            return self.braced();
        }
        if self.take("(") {
            let value = self.sum()?;
            return self.take(")").then_some(value);
        }
        let Some(digit) = self.rest.chars().next()?.to_digit(10) else { return self.atom() };
        self.rest = &self.rest[1..];
        Value::integer(digit as i128)
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
        let value = Value::Exact(Fraction::new(digits, 10i128.pow(decimals.len() as u32))?);
        if decimals.is_empty() && self.rest.starts_with("\\frac") {
            return self.mixed(value);
        }
        Some(value)
    }

    /// `1\frac{1}{2}` is one and a half; before anything but a proper fraction it is a product.
    fn mixed(&mut self, whole: Value) -> Option<Value> {
        let before = self.rest;
        self.take("\\frac");
        if let (Some(a), Some(b)) = (self.argument().and_then(Value::count), self.argument().and_then(Value::count))
            && a < b
        {
            let part = Value::Exact(Fraction::new(a.into(), b.into())?);
            return whole.with(part, Fraction::checked_add, |a, b| a + b);
        }
        self.rest = before;
        Some(whole)
    }
}
