//! Atoms: numbers, names, words.

use super::parser::Parser;
use crate::verify::math::token::{Kind, Token, quoted};
use crate::verify::math::tree::{Constant, Expr, Function, Literal};
use crate::verify::math::units;
use num_bigint::BigInt;
use num_traits::{ToPrimitive, Zero};

impl Parser<'_> {
    /// Parses an atom with its powers, subscripts and marks.
    pub(super) fn factor(&mut self) -> Option<Expr> {
        let atom = self.nested(Self::atom)?;
        self.postfix(atom)
    }

    pub(super) fn atom(&mut self) -> Option<Expr> {
        self.tries = self.tries.checked_sub(1)?;
        if self.letter > 0 {
            return self.rest();
        }
        if let Some((number, used)) = lettered_base(&self.tokens[self.at..]) {
            self.at += used;
            return Some(number);
        }
        if let Some(e) = self.counting() {
            return Some(e);
        }
        match self.peek()? {
            Kind::Number { .. } => self.number(),
            Kind::Letter(c) => {
                self.at += 1;
                Some(self.name(*c))
            }
            Kind::Word(_) => self.word(),
            Kind::Text(text) => self.multiplier().or_else(|| {
                self.at += 1;
                Some(Expr::Text(quoted(text).unwrap_or(text).to_owned()))
            }),
            Kind::Command(name) => {
                self.at += 1;
                self.command_atom(name)
            }
            Kind::Open(c) => self.bracketed(*c),
            Kind::Close(']') => self.bracketed(']'),
            Kind::SetOpen => {
                self.at += 1;
                self.set(&Kind::SetClose)
            }
            Kind::GroupOpen => {
                self.at += 1;
                self.group()
            }
            Kind::Bar => self.between_bars(&Kind::Bar, |x| Expr::Call(Function::Abs, vec![x])),
            Kind::DoubleBar => self.between_bars(&Kind::DoubleBar, |x| Expr::Apply("\\norm".into(), vec![x])),
            Kind::Begin(environment) => {
                self.at += 1;
                self.environment(environment)
            }
            Kind::Currency(unit) => {
                self.at += 1;
                let value = self.signed()?;
                let value = match self.peek() {
                    Some(Kind::Word(_)) => Expr::Mul(vec![value, self.multiplier()?]),
                    _ => value,
                };
                Some(Expr::Quantity(Box::new(value), (*unit).to_owned()))
            }
            _ => None,
        }
    }

    /// Parses `_{10}C_3`, `^{10}C_3` and `10C3` as `C(10, 3)`; with P likewise as permutations.
    fn counting(&mut self) -> Option<Expr> {
        let whole = |k: Option<&Kind>| match k {
            Some(Kind::Number { digits: Some(_), literal, .. }) => Some(Expr::Number(literal.clone())),
            _ => None,
        };
        // The number `ahead` tokens from here, with or without braces, and the offset of the next token.
        let at = |ahead: usize| match self.peek_at(ahead) {
            Some(Kind::GroupOpen) if self.peek_at(ahead + 2) == Some(&Kind::GroupClose) => {
                Some((whole(self.peek_at(ahead + 1))?, ahead + 3))
            }
            k => Some((whole(k)?, ahead + 1)),
        };
        let raised = matches!(self.peek(), Some(Kind::Sign('^' | '_')));
        let (n, next) = at(usize::from(raised))?;
        let Some(Kind::Letter(c @ ('C' | 'P'))) = self.peek_at(next) else { return None };
        let lowered = self.peek_at(next + 1) == Some(&Kind::Sign('_'));
        if raised && !lowered || !raised && (lowered || self.spaced(next) || self.spaced(next + 1)) {
            return None;
        }
        let (k, end) = at(next + 1 + usize::from(lowered))?;
        self.at += end;
        Some(Expr::Apply(c.to_string(), vec![n, k]))
    }

    /// The rest of a word, or of a number whose first digits were arguments.
    fn rest(&mut self) -> Option<Expr> {
        let Some(Kind::Number { digits: Some(digits), .. }) = self.peek() else { return self.word() };
        let value = BigInt::parse_bytes(digits.get(self.letter..)?.as_bytes(), 10)?;
        (self.letter, self.at) = (0, self.at + 1);
        Some(Expr::Number(Literal::integer(value)))
    }

    fn number(&mut self) -> Option<Expr> {
        let Kind::Number { literal, exponent, digits } = self.peek()? else { return None };
        self.at += 1;
        let value = Expr::Number(literal.clone());
        if *exponent != 0 {
            let ten = Expr::Number(Literal::integer(10));
            let power = Expr::Number(Literal::integer(exponent.unsigned_abs()));
            let power = if *exponent < 0 { Expr::Neg(Box::new(power)) } else { power };
            return Some(Expr::Mul(vec![value, Expr::Pow(Box::new(ten), Box::new(power))]));
        }
        if digits.is_some()
            && let Some(part) = self.proper_fraction()
        {
            return Some(Expr::Mixed(Box::new(value), Box::new(part)));
        }
        Some(value)
    }

    /// The fraction of a mixed number: `1/2` after a space, or `\frac{1}{2}`.
    fn proper_fraction(&mut self) -> Option<Expr> {
        let start = self.at;
        let integer = |k: Option<&Kind>| match k {
            Some(Kind::Number { digits: Some(_), literal, exponent: 0 }) => Some(literal.clone()),
            _ => None,
        };
        let part = if let Some(Kind::Command(c)) = self.peek() {
            if !matches!(c.as_str(), "frac" | "dfrac" | "tfrac" | "cfrac") {
                return None;
            }
            self.at += 1;
            self.command_atom(c)
        } else {
            let numerator = integer(self.peek()).filter(|_| self.spaced(0));
            let denominator = integer(self.peek_at(2)).filter(|_| self.peek_at(1) == Some(&Kind::Sign('/')));
            numerator.zip(denominator).map(|(n, d)| {
                self.at += 3;
                Expr::Div(Box::new(Expr::Number(n)), Box::new(Expr::Number(d)))
            })
        };
        let proper = match &part {
            Some(Expr::Div(n, d)) => match (n.as_ref(), d.as_ref()) {
                (Expr::Number(n), Expr::Number(d)) => {
                    n.decimals + d.decimals == 0 && n.value < d.value && !n.value.is_zero()
                }
                _ => false,
            },
            _ => false,
        };
        if !proper {
            self.at = start;
            return None;
        }
        part
    }

    /// Parses a letter. e and i are constants, unless a mark turns them into names.
    fn name(&self, c: char) -> Expr {
        let marked = self.letter == 0 && matches!(self.peek(), Some(Kind::Sign('_' | '\'')));
        match c {
            'e' if !marked => Expr::Constant(Constant::E),
            'i' if !marked => Expr::Constant(Constant::I),
            c => Expr::Symbol(c.to_string()),
        }
    }

    /// The next letter of a word, or the whole word if it is a number.
    fn word(&mut self) -> Option<Expr> {
        let Some(Kind::Word(word)) = self.peek() else { return None };
        if self.letter == 0
            && let Some(number) = self.multiplier()
        {
            return Some(number);
        }
        // dx is a differential.
        let differential = word.len() == 2 && word.starts_with('d') && "xyztursvw".contains(&word[1..]);
        if differential && self.letter == 0 {
            self.at += 1;
            return Some(Expr::Symbol(word.clone()));
        }
        if self.letter == 0 && self.is_plain_word(word) {
            self.at += 1;
            // Unit symbols are case-sensitive.
            return Some(Expr::Text(word.clone()));
        }
        let c = char::from(*word.as_bytes().get(self.letter)?);
        self.letter += 1;
        if self.letter == word.len() {
            self.letter = 0;
            self.at += 1;
            return Some(self.name(c));
        }
        // Only the last letter can carry a mark.
        Some(match c {
            'e' => Expr::Constant(Constant::E),
            'i' => Expr::Constant(Constant::I),
            c => Expr::Symbol(c.to_string()),
        })
    }

    /// True if the next letters are a word, not a product of variables: `3 to 5`, but `2ab`. Long runs are words. Short
    /// runs are words if a space separates them from what they would multiply and they do not look like variables.
    fn is_plain_word(&self, word: &str) -> bool {
        let variables = !word.contains(|c: char| "aeiouAEIOU".contains(c))
            || word.as_bytes().windows(2).all(|p| p[0] < p[1]) && (word.len() > 3 || word.bytes().all(|c| c <= b'd'));
        let beside = |at: Option<usize>| {
            at.and_then(|i| self.tokens.get(i)).is_some_and(|t| {
                matches!(t.kind, Kind::Number { .. } | Kind::Letter(_) | Kind::Word(_) | Kind::Text(_) | Kind::Close(_))
            })
        };
        // \frac12 ah: the number belongs to the command. at^2: words have no powers.
        let argument = self.at > 1 && matches!(self.tokens[self.at - 2].kind, Kind::Command(_));
        let raised = matches!(self.peek_at(1), Some(Kind::Sign('^' | '_')));
        let apart = !raised && !argument && self.spaced(0) && beside(self.at.checked_sub(1))
            || self.spaced(1) && beside(Some(self.at + 1));
        let usual = matches!(word, "vs" | "by" | "my") || units::parse(word).is_some();
        match word.len() {
            0..=1 => false,
            2..=3 if apart && usual => true,
            // AB, ABC: points.
            _ if word.bytes().all(|c| c.is_ascii_uppercase()) => false,
            2..=3 => apart && !variables,
            _ => !variables,
        }
    }

    /// Parses "million" and similar words.
    fn multiplier(&mut self) -> Option<Expr> {
        let Some(Kind::Word(word) | Kind::Text(word)) = self.peek() else { return None };
        let value: u64 = match word.to_lowercase().as_str() {
            "dozen" => 12,
            "百" => 100,
            "千" => 1000,
            "万" => 10_000,
            "亿" => 100_000_000,
            "hundred" => 100,
            "thousand" => 1000,
            "million" => 1_000_000,
            "billion" => 1_000_000_000,
            "trillion" => 1_000_000_000_000,
            _ => return None,
        };
        self.at += 1;
        Some(Expr::Number(Literal::integer(value)))
    }
}

/// Parses digits and capital letters with a base from 11 to 36 as subscript, e.g. `A3F_{16}`, at the start of `tokens`.
/// Also returns the number of tokens.
fn lettered_base(tokens: &[Token]) -> Option<(Expr, usize)> {
    let mut digits = String::new();
    let mut len = 0;
    for token in tokens.iter().take(12) {
        match &token.kind {
            Kind::Number { digits: Some(d), .. } => digits.push_str(d),
            Kind::Letter(c) if c.is_ascii_uppercase() => digits.push(*c),
            Kind::Word(w) if w.chars().all(|c| c.is_ascii_uppercase()) => digits.push_str(w),
            _ => break,
        }
        len += 1;
    }
    let (base, used) = match tokens.get(len..)? {
        [
            Token { kind: Kind::Sign('_'), .. },
            Token { kind: Kind::GroupOpen, .. },
            Token { kind: Kind::Number { literal, .. }, .. },
            Token { kind: Kind::GroupClose, .. },
            ..,
        ] => (literal, 4),
        [Token { kind: Kind::Sign('_'), .. }, Token { kind: Kind::Number { literal, .. }, .. }, ..] => (literal, 2),
        _ => return None,
    };
    let base = base.value.to_integer().to_u32().filter(|b| (11..=36).contains(b))?;
    let letters = digits.bytes().filter(u8::is_ascii_uppercase).count();
    // FF_{16} counts as a number; A_{16} is a name.
    let mixed = letters > 0 && (letters < digits.len() || base == 16 && letters > 1);
    let value = BigInt::parse_bytes(digits.as_bytes(), base).filter(|_| mixed)?;
    Some((Expr::Based(value, base), len + used))
}
