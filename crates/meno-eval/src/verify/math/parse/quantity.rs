//! Numbers with units, and times of day.

use super::factors::{Factors, is_numeric};
use super::parser::Parser;
use crate::verify::math::token::Kind;
use crate::verify::math::tree::Expr;
use crate::verify::math::units;

impl<'a> Parser<'a> {
    /// Parses `10:30`: digits, a colon, two digits, without spaces.
    pub(super) fn time(&mut self) -> Option<Expr> {
        if self.no_colon {
            return None;
        }
        let digits = |k: Option<&'a Kind>| match k {
            Some(Kind::Number { digits: Some(d), literal, .. }) => Some((d.len(), Expr::Number(literal.clone()))),
            _ => None,
        };
        let mut parts = vec![digits(self.peek()).filter(|(n, _)| *n <= 2)?.1];
        let mut ahead = 1;
        while self.peek_at(ahead) == Some(&Kind::Sign(':')) && !self.spaced(ahead) && !self.spaced(ahead + 1) {
            parts.push(digits(self.peek_at(ahead + 1)).filter(|(n, _)| *n == 2)?.1);
            ahead += 2;
        }
        if !(2..=3).contains(&parts.len()) {
            return None;
        }
        self.at += ahead;
        let time = Expr::Apply("\\time".into(), parts);
        Some(match self.unit() {
            Some(unit) => Expr::Quantity(Box::new(time), unit),
            None => time,
        })
    }

    /// Parses `5 ft 6 in`, `1 hour and 30 minutes`: numbers with units of one dimension, from large to small, as a sum.
    pub(super) fn compound(&mut self) -> Option<Expr> {
        let start = self.at;
        let parts = if self.units { self.compound_parts() } else { None };
        if parts.is_none() {
            self.at = start;
        }
        parts.map(Expr::Add)
    }

    fn compound_parts(&mut self) -> Option<Vec<Expr>> {
        let (mut parts, mut last) = (Vec::new(), None::<units::Unit>);
        while let Some(Kind::Number { literal, exponent: 0, .. }) = self.peek() {
            let name = match self.peek_at(1)? {
                Kind::Word(name) | Kind::Text(name) => name.clone(),
                Kind::Letter(c) => c.to_string(),
                _ => return None,
            };
            let unit = units::parse(&name).filter(|unit| !unit.is_generic())?;
            if last.is_some_and(|last| last.dimension != unit.dimension || last.factor <= unit.factor) {
                return None;
            }
            last = Some(unit);
            parts.push(Expr::Quantity(Box::new(Expr::Number(literal.clone())), name));
            self.at += 2;
            let more = |at: usize| matches!(self.peek_at(at), Some(Kind::Number { .. }));
            let skip = matches!(self.peek(), Some(Kind::Sign('.') | Kind::And)) && more(1);
            self.at += usize::from(skip);
        }
        (parts.len() > 1 && self.ends_term(0)).then_some(parts)
    }

    /// Parses a unit that ends the term, if the factors are a number (any value before `\text{…}`).
    pub(super) fn unit_after(&mut self, factors: &Factors) -> Option<String> {
        let text = matches!(self.peek(), Some(Kind::Text(_)));
        if let Some(Kind::Currency(name)) = self.peek() {
            self.at += 1;
            if self.ends_term(0) {
                return Some((*name).to_owned());
            }
            self.at -= 1;
            return None;
        }
        (self.letter == 0 && (text || self.units && factors.items.iter().all(is_numeric)))
            .then(|| self.unit())
            .flatten()
    }

    /// Parses the unit at this position, up to the end of the term.
    pub(super) fn unit(&mut self) -> Option<String> {
        let (mut text, mut ahead) = (String::new(), 0);
        let mut bracket = false;
        loop {
            let open = text.is_empty() || text.ends_with(['/', '*', '(']);
            match self.peek_at(ahead) {
                Some(Kind::Text(t)) => text += &format!(" {t}"),
                Some(Kind::Word(w)) if self.units => text += &format!(" {w}"),
                Some(Kind::Letter(c)) if self.units && (self.spaced(ahead) || open && !text.is_empty()) => {
                    text += &format!(" {c}");
                }
                // kΩ
                Some(Kind::Command(c)) if c == "Omega" && text.ends_with(['k', 'M']) && !self.spaced(ahead) => {
                    text += "ohm";
                }
                Some(Kind::Command(c)) if c == "Omega" => text += " ohm",
                // µm, in any number of pieces
                Some(Kind::Command(c)) if c == "mu" && open && self.units => {
                    ahead += 1;
                    text += &match self.peek_at(ahead) {
                        Some(Kind::Letter(c)) => format!(" u{c}"),
                        Some(Kind::Word(w) | Kind::Text(w)) => format!(" u{w}"),
                        _ => return None,
                    };
                }
                Some(Kind::Sign('^')) if !open => {
                    let (digits, used) = self.unit_power(ahead + 1)?;
                    text += &format!("^{digits}");
                    ahead += used;
                }
                Some(Kind::Sign(c @ ('/' | '*'))) if !open => text.push(*c),
                // J/(mol K)
                Some(Kind::Open('(')) if text.ends_with('/') && !bracket => {
                    bracket = true;
                    text.push('(');
                }
                Some(Kind::Close(')')) if bracket && !open => {
                    ahead += 1;
                    break;
                }
                _ => break,
            }
            ahead += 1;
            if text.len() > 80 {
                return None;
            }
        }
        let text = text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace("/ ", "/")
            .replace("* ", "*")
            .replace("( ", "(");
        let word = matches!(text.as_str(), "percent" | "pct" | "percentage" | "per cent" | "degree" | "degrees");
        if !self.ends_term(ahead) || !(word || units::parse(&text).is_some()) {
            return None;
        }
        self.at += ahead;
        Some(text)
    }

    /// The integer exponent at `ahead`, and its number of tokens.
    pub(super) fn unit_power(&self, ahead: usize) -> Option<(String, usize)> {
        let digits = |k: Option<&Kind>| match k {
            Some(Kind::Number { digits: Some(d), .. }) => Some(d.clone()),
            _ => None,
        };
        if let Some(d) = digits(self.peek_at(ahead)) {
            return Some((d, 1));
        }
        let minus = usize::from(self.peek_at(ahead + 1) == Some(&Kind::Sign('-')));
        let d = digits(self.peek_at(ahead + 1 + minus))?;
        let closed =
            self.peek_at(ahead) == Some(&Kind::GroupOpen) && self.peek_at(ahead + 2 + minus) == Some(&Kind::GroupClose);
        closed.then(|| (format!("{}{d}", if minus > 0 { "-" } else { "" }), 3 + minus))
    }

    /// True if the term ends here.
    pub(super) fn ends_term(&self, ahead: usize) -> bool {
        match self.peek_at(ahead) {
            None => true,
            Some(Kind::Bar | Kind::DoubleBar) => self.bars > 0,
            Some(Kind::Sign(c)) => matches!(c, ',' | ';' | '&' | '.' | ':' | '+' | '-'),
            Some(Kind::Command(c)) => matches!(c.as_str(), "cup" | "cap" | "pm" | "mp"),
            Some(
                Kind::Close(_)
                | Kind::SetClose
                | Kind::GroupClose
                | Kind::And
                | Kind::Or
                | Kind::RowBreak
                | Kind::Relation(_)
                | Kind::End(_)
                | Kind::Mid,
            ) => true,
            Some(_) => false,
        }
    }
}
