//! The grammar from ratios down to signed factors.

use super::super::token::Kind;
use super::super::tree::{Expr, Function};
use super::connectives::{CONDITIONS, SIGNS, is_approximately};
use super::factors::{Factors, is_capital, is_numeral, is_vector};
use super::parser::Parser;

impl Parser<'_> {
    /// Parses `a : b : c`, or a time of day.
    pub(super) fn ratio(&mut self) -> Option<Expr> {
        if let Some(time) = self.time() {
            return Some(time);
        }
        let mut parts = vec![self.sum()?];
        while !self.no_colon && self.sign(':') {
            parts.push(self.sum()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Expr::Ratio(parts) })
    }

    /// Consumes "minus" or "negative".
    fn minus_in_words(&mut self) -> bool {
        let minus = matches!(self.peek(), Some(Kind::Text(t) | Kind::Word(t)) if SIGNS.contains(&t.as_str()));
        self.at += usize::from(minus && self.letter == 0);
        minus && self.letter == 0
    }

    fn sum(&mut self) -> Option<Expr> {
        if let Some(compound) = self.compound() {
            return Some(compound);
        }
        let mut terms = Vec::new();
        loop {
            let first = terms.is_empty();
            let term: fn(Box<Expr>) -> Expr = if self.sign('-') || first && self.minus_in_words() {
                Expr::Neg
            } else if self.sign('+') {
                |x| *x
            } else if self.command(&["pm"]) {
                Expr::PlusMinus
            } else if self.command(&["mp"]) {
                Expr::MinusPlus
            } else if first {
                |x| *x
            } else {
                break;
            };
            let bracket = matches!(self.peek(), Some(Kind::Open(_) | Kind::GroupOpen));
            terms.push(match (self.product()?, term(Box::new(Expr::Text(String::new())))) {
                // -7 mod 3 means (-7) mod 3.
                (Expr::Call(Function::Mod, mut of), Expr::Neg(_)) if first && !bracket && of.len() == 2 => {
                    let dividend = Expr::Neg(Box::new(of.remove(0)));
                    Expr::Call(Function::Mod, vec![dividend, of.remove(0)])
                }
                // The sign belongs to the number, not to the number with its unit.
                (Expr::Quantity(x, unit), Expr::Text(_)) => Expr::Quantity(x, unit),
                (Expr::Quantity(x, unit), _) => Expr::Quantity(Box::new(term(x)), unit),
                (x, _) => term(Box::new(x)),
            });
        }
        Some(if terms.len() == 1 { terms.remove(0) } else { Expr::Add(terms) })
    }

    /// Parses factors separated by `*`, `/`, `\bmod` or nothing.
    pub(super) fn product(&mut self) -> Option<Expr> {
        let mut factors = Factors::default();
        factors.push(self.signed()?);
        loop {
            if self.sign('*') {
                factors.push(self.signed()?);
            } else if self.sign('×') {
                let right = self.signed()?;
                // Cross products and products of sets do not commute.
                let sided = |e: &Expr| is_vector(e) || is_capital(e);
                if sided(&right) && factors.items.last().is_some_and(sided) {
                    factors.push(Expr::Opaque("\\times".into()));
                }
                factors.push(right);
            } else if self.sign('/') {
                let divisor = self.signed()?;
                let dividend = factors.finish();
                factors = Factors::default();
                factors.push(Expr::Div(Box::new(dividend), Box::new(divisor)));
            } else if self.command(&["bmod", "mod"]) {
                let divisor = self.signed()?;
                let dividend = factors.finish();
                factors = Factors::default();
                factors.push(Expr::Call(Function::Mod, vec![dividend, divisor]));
            } else if self.starts_factor() {
                if let Some(unit) = self.unit_after(&factors) {
                    let value = Box::new(factors.finish());
                    return Some(match unit.as_str() {
                        "percent" | "pct" | "percentage" | "per cent" => Expr::Percent(value),
                        "degree" | "degrees" => Expr::Degrees(value),
                        _ => Expr::Quantity(value, unit),
                    });
                }
                // 2 3 and {2}{3} are not products; (2)3 and x 3 are.
                let bracket =
                    matches!(self.peek(), Some(Kind::Open(_) | Kind::Word(_) | Kind::Text(_))) || self.after_bracket();
                let after_letter = self.number_after_letter()
                    && matches!(factors.items.last(), Some(Expr::Symbol(_) | Expr::Constant(_)));
                let factor = self.factor()?;
                factors.ordered |= !bracket && is_numeral(&factor) && factors.items.last().is_some_and(is_numeral);
                // 6 R 2 and C6H12 are not products.
                factors.ordered |= after_letter && factors.items.iter().any(is_numeral);
                factors.push(factor);
            } else {
                return Some(factors.finish());
            }
        }
    }

    /// True if `(mod n)` comes next.
    pub(super) fn bracketed_modulus(&self) -> bool {
        self.peek() == Some(&Kind::Open('('))
            && matches!(self.peek_at(1), Some(Kind::Command(c)) if matches!(c.as_str(), "bmod" | "mod"))
    }

    /// True if a number comes next, directly after a letter or a word.
    fn number_after_letter(&self) -> bool {
        matches!(self.peek(), Some(Kind::Number { .. }))
            && self.letter == 0
            && matches!(self.at.checked_sub(1).map(|i| &self.tokens[i].kind), Some(Kind::Letter(_) | Kind::Word(_)))
    }

    /// True if the last token closes a bracket.
    fn after_bracket(&self) -> bool {
        matches!(self.at.checked_sub(1).map(|i| &self.tokens[i].kind), Some(Kind::Close(_)))
    }

    /// True if the next token continues a product.
    pub(super) fn starts_factor(&self) -> bool {
        if self.letter > 0 {
            return true;
        }
        match self.peek() {
            Some(Kind::Command(c)) => !matches!(
                c.as_str(),
                "land"
                    | "lor"
                    | "cup"
                    | "cap"
                    | "bigcup"
                    | "bigcap"
                    | "setminus"
                    | "backslash"
                    | "smallsetminus"
                    | "pmod"
                    | "choose"
                    | "over"
                    | "pm"
                    | "mp"
                    | "rfloor"
                    | "rceil"
                    | "rvert"
            ),
            Some(Kind::Text(t)) => {
                !(CONDITIONS.contains(&t.as_str()) || matches!(t.as_str(), "in" | "is") || is_approximately(t))
                    || t == "in" && (self.ends_term(1) || self.peek_at(1) == Some(&Kind::Sign('^')))
            }
            Some(Kind::Bar | Kind::DoubleBar) => self.bars == 0,
            Some(Kind::Open('[')) => !self.reversed,
            Some(Kind::Open('(')) => !self.bracketed_modulus(),
            Some(
                Kind::Number { .. }
                | Kind::Letter(_)
                | Kind::Word(_)
                | Kind::Open(_)
                | Kind::SetOpen
                | Kind::GroupOpen
                | Kind::Begin(_)
                | Kind::Currency(_),
            ) => true,
            _ => false,
        }
    }

    /// Parses a factor with its sign.
    pub(super) fn signed(&mut self) -> Option<Expr> {
        if self.sign('-') {
            return Some(Expr::Neg(Box::new(self.nested(Self::signed)?)));
        }
        if self.sign('+') {
            return self.nested(Self::signed);
        }
        if self.command(&["pm"]) {
            return Some(Expr::PlusMinus(Box::new(self.nested(Self::signed)?)));
        }
        if self.command(&["mp"]) {
            return Some(Expr::MinusPlus(Box::new(self.nested(Self::signed)?)));
        }
        self.factor()
    }
}
