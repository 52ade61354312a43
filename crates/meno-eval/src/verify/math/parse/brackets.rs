//! Brackets: intervals, tuples, cycles, sets, groups, and the arguments of commands.

use super::parser::Parser;
use crate::verify::math::token::{Kind, Token};
use crate::verify::math::tree::{Bracket, Expr, Function, Literal};

impl Parser<'_> {
    /// True if the next `]` opens `]a, b[`.
    pub(super) fn reversed_interval(&self) -> bool {
        self.peek() == Some(&Kind::Close(']'))
            && self.tokens[self.at + 1..].iter().take(40).any(|t| matches!(t.kind, Kind::Open('[') | Kind::Close(']')))
    }

    /// Parses `( … )` and other brackets: an expression, a tuple, an interval, a permutation cycle.
    pub(super) fn bracketed(&mut self, open: char) -> Option<Expr> {
        self.at += 1;
        if open == '('
            && let Some(cycle) = self.cycle()
        {
            return Some(Expr::Cycles(vec![cycle]));
        }
        self.reversed = open == ']' || self.is_half_open();
        let mut items = self.items()?;
        while self.sign(';') {
            items.extend(self.items()?);
        }
        let close = match self.peek()? {
            Kind::Close(c) => *c,
            Kind::Open('[') if matches!(open, '(' | ']' | '[') => '[',
            _ => return None,
        };
        self.at += 1;
        let single = items.len() == 1 && matches!((open, close), ('(', ')') | ('[', ']'));
        if single {
            return items.pop();
        }
        // ]a, b[ is open at both ends.
        let left = match open {
            '(' | ']' => Bracket::Round,
            '[' => Bracket::Square,
            _ => Bracket::Angle,
        };
        let right = match close {
            ')' | '[' => Bracket::Round,
            ']' => Bracket::Square,
            _ => Bracket::Angle,
        };
        Some(Expr::Tuple(left, items, right))
    }

    /// True if the next bracket is a `[` that ends `[0, 1[`.
    pub(super) fn is_half_open(&self) -> bool {
        let bracket = |t: &Token| matches!(t.kind, Kind::Open(_) | Kind::Close(_) | Kind::SetOpen | Kind::SetClose);
        let Some(at) = self.tokens[self.at..].iter().take(40).position(bracket) else { return false };
        let commas = self.tokens[self.at..self.at + at].iter().filter(|t| matches!(t.kind, Kind::Sign(',' | ';')));
        self.peek_at(at) == Some(&Kind::Open('[')) && commas.count() == 1 && self.ends_term(at + 1)
    }

    /// Parses `1 2 3)`: whole numbers separated by spaces.
    pub(super) fn cycle(&mut self) -> Option<Vec<Expr>> {
        let mut cycle = Vec::new();
        while let Some(Kind::Number { literal, digits: Some(_), .. }) = self.peek_at(cycle.len()) {
            if !cycle.is_empty() && !self.spaced(cycle.len()) {
                return None;
            }
            cycle.push(Expr::Number(literal.clone()));
        }
        if cycle.len() < 2 || self.peek_at(cycle.len()) != Some(&Kind::Close(')')) {
            return None;
        }
        self.at += cycle.len() + 1;
        Some(cycle)
    }

    /// Parses a set after its opening brace: its elements, or one element and a condition.
    pub(super) fn set(&mut self, close: &Kind) -> Option<Expr> {
        self.bars = 1;
        self.no_colon = true;
        let mut items = self.items()?;
        while self.sign(';') {
            items.extend(self.items()?);
        }
        let such_that = items.len() == 1 && (self.take(&Kind::Mid) || self.take(&Kind::Bar) || self.sign(':'));
        if such_that {
            (self.bars, self.no_colon) = (0, false);
            let condition = self.groups()?;
            return self.take(close).then(|| Expr::Where(Box::new(items.remove(0)), Box::new(condition)));
        }
        self.take(close).then_some(Expr::Set(items))
    }

    /// Parses a group after its opening brace: its content, or a set if it has several parts.
    pub(super) fn group(&mut self) -> Option<Expr> {
        let start = self.at;
        if let Some(inner) = self.inner_group() {
            return Some(match inner {
                Expr::List(items) => Expr::Set(items),
                inner => inner,
            });
        }
        self.at = start;
        self.letter = 0;
        self.set(&Kind::GroupClose).filter(|set| *set != Expr::Set(Vec::new()))
    }

    /// Parses a group after its opening brace, as an argument.
    pub(super) fn inner_group(&mut self) -> Option<Expr> {
        let inner = self.groups()?;
        if self.command(&["choose"]) {
            let below = self.groups()?;
            return self.take(&Kind::GroupClose).then(|| Expr::Call(Function::Binomial, vec![inner, below]));
        }
        if self.command(&["over"]) {
            let below = self.groups()?;
            return self.take(&Kind::GroupClose).then(|| Expr::Div(Box::new(inner), Box::new(below)));
        }
        self.take(&Kind::GroupClose).then_some(inner)
    }

    /// Parses the argument of a command: a group, or one digit, letter or command.
    pub(super) fn argument(&mut self) -> Option<Expr> {
        self.nested(|p| {
            if p.take(&Kind::GroupOpen) {
                return p.inner_group();
            }
            match p.peek()? {
                Kind::Number { digits: Some(digits), .. } => {
                    // `letter` counts the digits of one number that are consumed one by one.
                    let digit = char::from(*digits.as_bytes().get(p.letter)?);
                    p.letter += 1;
                    if p.letter == digits.len() {
                        (p.letter, p.at) = (0, p.at + 1);
                    }
                    Some(Expr::Number(Literal::integer(digit.to_digit(10)?)))
                }
                Kind::Open(_) => {
                    let open = p.atom()?;
                    Some(open)
                }
                _ => p.atom(),
            }
        })
    }

    pub(super) fn between_bars(&mut self, bar: &Kind, wrap: fn(Expr) -> Expr) -> Option<Expr> {
        self.at += 1;
        self.bars = 1;
        let inner = self.operand()?;
        self.take(bar).then(|| wrap(inner))
    }
}
