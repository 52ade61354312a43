//! LaTeX commands: fractions, roots, functions with their arguments, sums, accents, unknown commands.

use super::factors::{is_numeral, is_numeric};
use super::parser::Parser;
use crate::verify::math::symbols::{constant_of, function_of, inverse_of, is_accent, is_font, is_greek};
use crate::verify::math::token::Kind;
use crate::verify::math::tree::{Constant, Expr, Function, Literal, Relation, Series};
use crate::verify::math::units;

impl Parser<'_> {
    /// Parses the atom of a command whose name has been consumed.
    pub(super) fn command_atom(&mut self, name: &str) -> Option<Expr> {
        match name {
            "frac" | "dfrac" | "tfrac" | "cfrac" | "nicefrac" | "sfrac" => {
                let numerator = self.argument()?;
                Some(Expr::Div(Box::new(numerator), Box::new(self.argument()?)))
            }
            "binom" | "dbinom" | "tbinom" => {
                let above = self.argument()?;
                Some(Expr::Call(Function::Binomial, vec![above, self.argument()?]))
            }
            "sqrt" => self.root(),
            "surd" | "cbrt" | "fourthroot" => {
                let degree = if name == "surd" { 2 } else { 3 + usize::from(name == "fourthroot") };
                let radicand = match self.peek()? {
                    Kind::Number { .. } => self.nested(Self::factor)?,
                    _ => self.argument()?,
                };
                Some(Expr::Root(Box::new(Expr::Number(Literal::integer(degree))), Box::new(radicand)))
            }
            "sum" | "prod" => self.series(name),
            "lfloor" => self.between(&["rfloor"], Function::Floor),
            "lceil" => self.between(&["rceil"], Function::Ceil),
            "emptyset" | "varnothing" => Some(Expr::Set(Vec::new())),
            "cdots" => Some(Expr::Opaque("\\cdots".into())),
            "Gamma" if matches!(self.peek(), Some(Kind::Open('('))) => {
                Some(Expr::Call(Function::Gamma, self.arguments()?))
            }
            "lg" => self.logarithm(Some(Expr::Number(Literal::integer(10)))),
            "log" => self.logarithm(None),
            _ if function_of(name).is_some() => self.function(function_of(name)?),
            _ if constant_of(name).is_some() => Some(Expr::Constant(constant_of(name)?)),
            _ if is_accent(name) => {
                let under = self.argument()?;
                // The conjugate of a number.
                if matches!(name, "overline" | "bar") && is_numeric(&under) && !is_numeral(&under) && has_i(&under) {
                    return Some(conjugate(&under));
                }
                Some(Expr::Symbol(format!("\\{name}{{{}}}", under.to_string().trim())))
            }
            _ if is_font(name) => self.nested(Self::argument),
            _ if is_greek(name) => Some(Expr::Symbol(format!("\\{}", variant(name)))),
            _ => self.unknown(name),
        }
    }

    /// Parses an unknown command. With groups or a bracket it is an unknown function; otherwise an opaque mark that
    /// does not commute with its neighbours. Its bounds are part of its name.
    fn unknown(&mut self, name: &str) -> Option<Expr> {
        let mut name = format!("\\{name}");
        for (sign, c) in [('_', '_'), ('^', '^'), ('_', '_')] {
            if self.sign(sign) {
                // The exponent of 0 in \int_0^1 is the other bound.
                let bound = match self.peek() {
                    Some(Kind::Number { literal, .. }) => {
                        self.at += 1;
                        Expr::Number(literal.clone())
                    }
                    _ => self.argument()?,
                };
                name += &format!("{c}{{{}}}", bound.to_string().trim());
            }
        }
        let mut arguments = Vec::new();
        while matches!(self.peek(), Some(Kind::GroupOpen)) {
            arguments.push(self.argument()?);
        }
        if arguments.is_empty() && matches!(self.peek(), Some(Kind::Open('('))) && !self.spaced(0) {
            arguments = self.arguments()?;
        }
        Some(if arguments.is_empty() { Expr::Opaque(name) } else { Expr::Apply(name, arguments) })
    }

    fn root(&mut self) -> Option<Expr> {
        let degree = if self.take(&Kind::Open('[')) {
            let degree = self.nested(Self::operand)?;
            if !self.take(&Kind::Close(']')) {
                return None;
            }
            degree
        } else {
            Expr::Number(Literal::integer(2))
        };
        let radicand = match self.peek()? {
            Kind::Open('(') if self.letter == 0 => {
                let mut arguments = self.arguments()?;
                (arguments.len() == 1).then(|| arguments.remove(0))?
            }
            _ => self.argument()?,
        };
        Some(Expr::Root(Box::new(degree), Box::new(radicand)))
    }

    fn between(&mut self, close: &[&str], function: Function) -> Option<Expr> {
        let inner = self.nested(Self::operand)?;
        self.command(close).then(|| Expr::Call(function, vec![inner]))
    }

    /// Parses `\sum_{k=1}^{n}` with its term.
    fn series(&mut self, name: &str) -> Option<Expr> {
        let start = self.at;
        let Some((variable, from, to)) = self.bounds() else {
            self.at = start;
            self.letter = 0;
            return self.unknown(name);
        };
        let term = named(&self.nested(Self::product)?, &variable);
        let series = Box::new(Series { variable, from, to, term });
        Some(if name == "sum" { Expr::Sum(series) } else { Expr::Product(series) })
    }

    fn bounds(&mut self) -> Option<(String, Expr, Expr)> {
        if !self.sign('_') || self.peek() != Some(&Kind::GroupOpen) {
            return None;
        }
        let Some(Kind::Letter(c)) = self.peek_at(1) else { return None };
        if self.peek_at(2) != Some(&Kind::Relation(Relation::Equal)) {
            return None;
        }
        self.at += 3;
        let from = self.nested(Self::operand)?;
        if !self.take(&Kind::GroupClose) || !self.sign('^') {
            return None;
        }
        let to = match self.peek()? {
            Kind::Number { literal, .. } => {
                let to = Expr::Number(literal.clone());
                self.at += 1;
                to
            }
            _ => self.argument()?,
        };
        Some((c.to_string(), from, to))
    }

    /// Parses `\log`, with a subscript as its base.
    fn logarithm(&mut self, base: Option<Expr>) -> Option<Expr> {
        let mut base = base;
        let mut power = None;
        loop {
            if base.is_none() && self.sign('_') {
                base = Some(self.log_base()?);
            } else if power.is_none() && self.sign('^') {
                power = Some(self.nested(|p| p.log_power())?);
            } else {
                break;
            }
        }
        let value = self.applied()?;
        let call = match base {
            Some(base) => Expr::Call(Function::LogBase, vec![base, value]),
            None => Expr::Call(Function::Log, vec![value]),
        };
        Some(match power {
            Some(power) => Expr::Pow(Box::new(call), Box::new(power)),
            None => call,
        })
    }

    /// Parses a base. Without braces it is one digit, as in TeX, unless no argument would be left for the logarithm.
    fn log_base(&mut self) -> Option<Expr> {
        if let Some(Kind::Number { digits: Some(digits), literal, .. }) = self.peek()
            && digits.len() > 1
        {
            self.at += 1;
            if self.starts_factor() {
                return Some(Expr::Number(literal.clone()));
            }
            self.at -= 1;
        }
        self.argument()
    }

    fn log_power(&mut self) -> Option<Expr> {
        match self.peek()? {
            Kind::Number { .. } => self.factor_number(),
            Kind::Sign('-') => {
                self.at += 1;
                Some(Expr::Neg(Box::new(self.factor_number()?)))
            }
            _ => self.argument(),
        }
    }

    fn factor_number(&mut self) -> Option<Expr> {
        let Some(Kind::Number { literal, .. }) = self.peek() else { return None };
        self.at += 1;
        Some(Expr::Number(literal.clone()))
    }

    /// Parses a function with its power and its arguments.
    fn function(&mut self, function: Function) -> Option<Expr> {
        let power = if self.sign('^') { Some(self.nested(|p| p.log_power())?) } else { None };
        let minus_one = Expr::Neg(Box::new(Expr::Number(Literal::integer(1))));
        let (function, power) = match (&power, inverse_of(function)) {
            (Some(p), Some(inverse)) if *p == minus_one => (inverse, None),
            _ => (function, power),
        };
        if self.sign('_') {
            // A bound, as in \max_{x}: this is not a function of numbers alone.
            let bound = self.argument()?;
            let name = format!("\\{}_{{{}}}", super::super::symbols::name_of(function), bound.to_string().trim());
            return Some(Expr::Apply(name, vec![self.applied()?]));
        }
        let many = matches!(function, Function::Gcd | Function::Lcm | Function::Min | Function::Max);
        let arguments = match self.peek()? {
            Kind::Open('(' | '[') | Kind::SetOpen if many => self.arguments()?,
            _ if self.peek() == Some(&Kind::Bar) && self.bars == 0 => vec![self.factor()?],
            _ => vec![self.applied()?],
        };
        let call = Expr::Call(function, arguments);
        Some(match power {
            Some(power) => Expr::Pow(Box::new(call), Box::new(power)),
            None => call,
        })
    }

    /// The argument of a function without brackets: the implied product up to the next function, bracket or explicit
    /// operator. A bracket after a coefficient still belongs to it: `\sin 2(x+1)`.
    fn applied(&mut self) -> Option<Expr> {
        self.nested(|p| {
            if matches!(p.peek(), Some(Kind::Open('(' | '['))) && p.letter == 0 {
                let mut arguments = p.arguments()?;
                return Some(if arguments.len() == 1 { arguments.remove(0) } else { Expr::List(arguments) });
            }
            if p.sign('-') {
                return Some(Expr::Neg(Box::new(p.applied()?)));
            }
            let mut factors = vec![p.factor()?];
            while p.starts_factor() && !p.stops_argument(&factors) {
                factors.push(p.factor()?);
            }
            Some(if factors.len() == 1 { factors.remove(0) } else { Expr::Mul(factors) })
        })
    }

    fn stops_argument(&self, factors: &[Expr]) -> bool {
        if self.letter > 0 {
            return false;
        }
        let coefficient = || {
            factors.iter().all(|f| matches!(f, Expr::Number(_) | Expr::Constant(_) | Expr::Mixed(..) | Expr::Div(..)))
        };
        match self.peek() {
            Some(Kind::Command(c)) => {
                function_of(c).is_some() || matches!(c.as_str(), "lg" | "sum" | "prod" | "int" | "cdots")
            }
            Some(Kind::Open(_)) => !coefficient(),
            Some(Kind::Letter(_) | Kind::GroupOpen) => false,
            Some(Kind::Number { .. }) => true,
            Some(Kind::Word(_)) => self.unit_like(),
            _ => true,
        }
    }

    /// True if the next word is a unit rather than letters.
    fn unit_like(&self) -> bool {
        matches!(self.peek(), Some(Kind::Word(w)) if w.len() > 2 || units::parse(w).is_some())
    }
}

/// Replaces the constant i or e with a symbol, in a term that uses it as bound variable.
fn named(term: &Expr, variable: &str) -> Expr {
    match term {
        Expr::Constant(Constant::I) if variable == "i" => Expr::Symbol("i".into()),
        Expr::Constant(Constant::E) if variable == "e" => Expr::Symbol("e".into()),
        other => other.map(|e| named(e, variable)),
    }
}

fn has_i(e: &Expr) -> bool {
    let found = std::cell::Cell::new(*e == Expr::Constant(Constant::I));
    e.map(|x| {
        found.set(found.get() || has_i(x));
        x.clone()
    });
    found.get()
}

/// Replaces i with −i: the conjugate, if everything else is real.
fn conjugate(e: &Expr) -> Expr {
    match e {
        Expr::Constant(Constant::I) => Expr::Neg(Box::new(e.clone())),
        other => other.map(conjugate),
    }
}

/// Maps both shapes of a Greek letter to one name.
fn variant(name: &str) -> &str {
    match name {
        "varepsilon" => "epsilon",
        "vartheta" => "theta",
        "varrho" => "rho",
        "varsigma" => "sigma",
        "varphi" => "phi",
        other => other,
    }
}
