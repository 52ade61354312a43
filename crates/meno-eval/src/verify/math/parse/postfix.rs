//! What follows an atom: powers, subscripts, marks, the arguments of an unknown function.

use super::parser::Parser;
use crate::verify::math::token::Kind;
use crate::verify::math::tree::{Expr, Function, Literal};
use num_bigint::BigInt;
use num_traits::ToPrimitive;

impl Parser<'_> {
    /// Parses what follows an atom: `^`, `_`, `!`, `%`, `'`, and the arguments of an unknown function.
    pub(super) fn postfix(&mut self, mut base: Expr) -> Option<Expr> {
        loop {
            if self.letter > 0 {
                return Some(base);
            }
            base = match self.peek() {
                Some(Kind::Sign('^')) => {
                    self.at += 1;
                    self.raised(base)?
                }
                Some(Kind::Sign('_')) => {
                    self.at += 1;
                    self.lowered(base)?
                }
                Some(Kind::Sign('!')) => {
                    self.at += 1;
                    let double = self.sign('!');
                    let function = if double { Function::DoubleFactorial } else { Function::Factorial };
                    Expr::Call(function, vec![base])
                }
                Some(Kind::Sign('%')) => {
                    self.at += 1;
                    Expr::Percent(Box::new(base))
                }
                Some(Kind::Command(c)) if c == "permille" => {
                    self.at += 1;
                    Expr::Div(Box::new(base), Box::new(Expr::Number(Literal::integer(1000))))
                }
                Some(Kind::Sign('\'')) => match base {
                    Expr::Symbol(name) => {
                        self.at += 1;
                        Expr::Symbol(format!("{name}'"))
                    }
                    _ => return None,
                },
                Some(Kind::Open('(')) => match &base {
                    Expr::Symbol(name) if self.is_function(name) => {
                        let name = name.clone();
                        self.apply(name)?
                    }
                    _ => return Some(base),
                },
                _ => return Some(base),
            };
        }
    }

    /// True if a name before a bracket is a function: f, g, h and similar, or a capital before one letter or number.
    fn is_function(&self, name: &str) -> bool {
        let Some(first) = name.chars().next() else { return false };
        let stem = name.split(['_', '\'', '^']).next().unwrap_or(name);
        let usual =
            matches!(stem, "f" | "g" | "h" | "F" | "G" | "H" | "\\phi" | "\\varphi" | "\\psi" | "\\Phi" | "\\Psi");
        let short = matches!(self.peek_at(1), Some(Kind::Letter(_) | Kind::Number { .. }))
            && self.peek_at(2) == Some(&Kind::Close(')'));
        usual
            || name.contains('\'')
            || (first.is_ascii_uppercase() && (short || self.is_point() || stem == "P" && self.is_event()))
    }

    /// True if the next bracket contains a relation: `P(X = 1)`.
    fn is_event(&self) -> bool {
        let inner = self.tokens[self.at + 1..].iter().take(40);
        inner.take_while(|t| !matches!(t.kind, Kind::Close(_))).any(|t| matches!(t.kind, Kind::Relation(_)))
    }

    /// True if the next bracket contains coordinates: a comma at its top level.
    fn is_point(&self) -> bool {
        let mut depth = 0;
        for token in self.tokens[self.at..].iter().take(60) {
            match token.kind {
                Kind::Open(_) | Kind::GroupOpen | Kind::SetOpen => depth += 1,
                Kind::Close(_) | Kind::GroupClose | Kind::SetClose => depth -= 1,
                Kind::Sign(',') if depth == 1 => return true,
                _ => {}
            }
            if depth == 0 {
                return false;
            }
        }
        false
    }

    /// Parses a function of the arguments in the next bracket.
    pub(super) fn apply(&mut self, name: String) -> Option<Expr> {
        let arguments = self.arguments()?;
        Some(Expr::Apply(name, arguments))
    }

    /// Parses the arguments in the next bracket.
    pub(super) fn arguments(&mut self) -> Option<Vec<Expr>> {
        self.nested(|p| {
            let close = match p.peek()? {
                Kind::Open('(') => Kind::Close(')'),
                Kind::Open('[') => Kind::Close(']'),
                Kind::SetOpen => Kind::SetClose,
                Kind::GroupOpen => Kind::GroupClose,
                _ => return None,
            };
            p.at += 1;
            let mut items = p.items()?;
            while p.sign(';') {
                items.extend(p.items()?);
            }
            p.take(&close).then_some(items)
        })
    }

    /// Parses the next exponent of `base`.
    fn raised(&mut self, base: Expr) -> Option<Expr> {
        if self.degrees() {
            let braced = usize::from(self.peek() == Some(&Kind::GroupOpen));
            let closed = braced == 0 || self.peek_at(2) == Some(&Kind::GroupClose);
            let scale = match self.peek_at(braced) {
                Some(Kind::Letter('C')) if closed && self.ends_term(1 + 2 * braced) => Some("°c"),
                Some(Kind::Letter('F')) if closed && self.ends_term(1 + 2 * braced) => Some("°f"),
                _ => None,
            };
            return Some(match scale {
                Some(unit) => {
                    self.at += 1 + 2 * braced;
                    Expr::Quantity(Box::new(base), unit.to_owned())
                }
                None => Expr::Degrees(Box::new(self.minutes_of_arc(base))),
            });
        }
        // f^{\prime}
        let primes = (0..3).take_while(|i| self.peek_at(i + 1) == Some(&Kind::Sign('\''))).count();
        if primes > 0 && self.peek() == Some(&Kind::GroupOpen) && self.peek_at(primes + 1) == Some(&Kind::GroupClose) {
            self.at += primes + 2;
            let Expr::Symbol(name) = base else { return None };
            return Some(Expr::Symbol(format!("{name}{}", "'".repeat(primes))));
        }
        let exponent = self.nested(Self::exponent)?;
        if let Expr::Symbol(name) = &base
            && self.peek() == Some(&Kind::Open('('))
            && self.is_function(name)
        {
            let name = format!("{name}^{{{exponent}}}");
            return self.apply(name);
        }
        Some(Expr::Pow(Box::new(base), Box::new(exponent)))
    }

    /// Adds the minutes and seconds after degrees: `30'15''`.
    fn minutes_of_arc(&mut self, degrees: Expr) -> Expr {
        let mut terms = vec![degrees];
        for (marks, parts) in [(1, 60), (2, 3600)] {
            let Some(Kind::Number { literal, exponent: 0, .. }) = self.peek() else { break };
            let marked = (1..=marks).all(|i| self.peek_at(i) == Some(&Kind::Sign('\'')))
                && self.peek_at(marks + 1) != Some(&Kind::Sign('\''));
            if !marked {
                break;
            }
            let number = |literal: Literal| Box::new(Expr::Number(literal));
            terms.push(Expr::Div(number(literal.clone()), number(Literal::integer(parts))));
            self.at += marks + 1;
        }
        if terms.len() == 1 { terms.remove(0) } else { Expr::Add(terms) }
    }

    /// Consumes `\circ` or `{\circ}`.
    fn degrees(&mut self) -> bool {
        let circ = |k: Option<&Kind>| matches!(k, Some(Kind::Command(c)) if c == "circ");
        if circ(self.peek()) {
            self.at += 1;
            return true;
        }
        let braced = self.peek() == Some(&Kind::GroupOpen)
            && circ(self.peek_at(1))
            && self.peek_at(2) == Some(&Kind::GroupClose);
        self.at += if braced { 3 } else { 0 };
        braced
    }

    /// Parses an exponent: a group, or a whole number or letter with its sign and exponent.
    fn exponent(&mut self) -> Option<Expr> {
        if self.sign('-') {
            return Some(Expr::Neg(Box::new(self.nested(Self::exponent)?)));
        }
        let exponent = match self.peek()? {
            Kind::Number { literal, exponent: 0, .. } => {
                self.at += 1;
                Expr::Number(literal.clone())
            }
            Kind::Sign(c @ ('*' | '+')) => {
                self.at += 1;
                Expr::Symbol(c.to_string())
            }
            // z^{*}, 0^{+}
            Kind::GroupOpen if self.peek_at(2) == Some(&Kind::GroupClose) && self.lone_sign().is_some() => {
                let sign = self.lone_sign()?;
                self.at += 3;
                Expr::Symbol(sign.to_string())
            }
            _ => self.argument()?,
        };
        if self.letter == 0 && self.sign('^') {
            let above = self.nested(Self::exponent)?;
            return Some(Expr::Pow(Box::new(exponent), Box::new(above)));
        }
        Some(exponent)
    }

    /// The `*` or `+` in the next group.
    fn lone_sign(&self) -> Option<char> {
        match self.peek_at(1) {
            Some(Kind::Sign(c @ ('*' | '+'))) => Some(*c),
            _ => None,
        }
    }

    /// Parses the next subscript of `base`: a longer name, or a number in another base.
    fn lowered(&mut self, base: Expr) -> Option<Expr> {
        let subscript = match self.peek()? {
            Kind::Number { literal, digits: Some(_), .. } => {
                self.at += 1;
                Expr::Number(literal.clone())
            }
            _ => self.argument()?,
        };
        match base {
            Expr::Symbol(name) => Some(Expr::Symbol(format!("{name}_{{{}}}", subscript.to_string().trim()))),
            // a^c_b means a_b^c.
            Expr::Pow(name, power) if matches!(name.as_ref(), Expr::Symbol(_)) => {
                let Expr::Symbol(name) = *name else { return None };
                let name = format!("{name}_{{{}}}", subscript.to_string().trim());
                Some(Expr::Pow(Box::new(Expr::Symbol(name)), power))
            }
            Expr::Number(literal) => based(&literal, &subscript),
            Expr::Mul(_) | Expr::Text(_) => None,
            other => Some(Expr::Apply("\\subscript".into(), vec![other, subscript])),
        }
    }
}

/// Interprets the digits of a number in a base.
fn based(literal: &Literal, base: &Expr) -> Option<Expr> {
    if literal.decimals + literal.recurring > 0 {
        return None;
    }
    let base = match base {
        Expr::Number(n) => n.value.to_integer().to_u32()?,
        Expr::Text(word) => {
            ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
                .iter()
                .position(|w| w == word)? as u32
                + 2
        }
        _ => return None,
    };
    let digits = literal.value.to_integer().to_string();
    let value = (2..=36).contains(&base).then(|| BigInt::parse_bytes(digits.as_bytes(), base)).flatten()?;
    Some(Expr::Based(value, base))
}
