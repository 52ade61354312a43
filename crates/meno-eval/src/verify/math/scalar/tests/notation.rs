//! A small plain-text notation for the tests: `2*x^2 + sqrt(3)`, `sum(k, 1, n, k)`, `f(x)`.

use std::iter::Peekable;
use std::vec::IntoIter;

use num_bigint::BigInt;
use num_rational::BigRational;

use crate::verify::math::tree::{Constant, Expr, Function, Literal, Series};

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(String),
    Name(String),
    Sign(char),
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
}

/// Parses an expression. Panics on errors, which are mistakes in the test.
pub(super) fn expr(text: &str) -> Expr {
    let mut parser = Parser { tokens: tokens(text).into_iter().peekable() };
    let e = parser.sum();
    assert_eq!(parser.tokens.next(), None, "{text}");
    e
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        let mut word = |accept: fn(char) -> bool| {
            let mut s = String::new();
            while let Some(c) = chars.next_if(|&c| accept(c)) {
                s.push(c);
            }
            s
        };
        if c.is_ascii_digit() || c == '.' {
            tokens.push(Token::Number(word(|c| c.is_ascii_digit() || c == '.')));
        } else if c.is_alphabetic() || c == '_' {
            tokens.push(Token::Name(word(|c| c.is_alphanumeric() || c == '_')));
        } else {
            chars.next();
            if c == '*' && chars.next_if_eq(&'*').is_some() {
                tokens.push(Token::Sign('^'));
            } else if !c.is_whitespace() {
                tokens.push(Token::Sign(c));
            }
        }
    }
    tokens
}

fn boxed(e: Expr) -> Box<Expr> {
    Box::new(e)
}

impl Parser {
    fn sign(&mut self, c: char) -> bool {
        self.tokens.next_if_eq(&Token::Sign(c)).is_some()
    }

    fn sum(&mut self) -> Expr {
        let mut terms = vec![self.product()];
        loop {
            if self.sign('+') {
                terms.push(self.product());
            } else if self.sign('-') {
                terms.push(Expr::Neg(boxed(self.product())));
            } else if terms.len() == 1 {
                return terms.remove(0);
            } else {
                return Expr::Add(terms);
            }
        }
    }

    fn product(&mut self) -> Expr {
        let mut e = self.unary();
        loop {
            e = if self.sign('*') {
                Expr::Mul(vec![e, self.unary()])
            } else if self.sign('/') {
                Expr::Div(boxed(e), boxed(self.unary()))
            } else {
                return e;
            }
        }
    }

    fn unary(&mut self) -> Expr {
        if self.sign('-') { Expr::Neg(boxed(self.unary())) } else { self.power() }
    }

    fn power(&mut self) -> Expr {
        let base = self.postfix();
        if self.sign('^') { Expr::Pow(boxed(base), boxed(self.unary())) } else { base }
    }

    fn postfix(&mut self) -> Expr {
        let mut e = self.primary();
        loop {
            e = if self.sign('!') {
                Expr::Call(Function::Factorial, vec![e])
            } else if self.sign('%') {
                Expr::Percent(boxed(e))
            } else if self.sign('°') {
                Expr::Degrees(boxed(e))
            } else {
                return e;
            }
        }
    }

    fn primary(&mut self) -> Expr {
        match self.tokens.next() {
            Some(Token::Number(digits)) => number(&digits),
            Some(Token::Sign('(')) => {
                let e = self.sum();
                assert!(self.sign(')'));
                e
            }
            Some(Token::Sign('|')) => {
                let e = self.sum();
                assert!(self.sign('|'));
                Expr::Call(Function::Abs, vec![e])
            }
            Some(Token::Name(name)) => {
                if !self.sign('(') {
                    return constant(name);
                }
                let mut args = vec![self.sum()];
                while self.sign(',') {
                    args.push(self.sum());
                }
                assert!(self.sign(')'));
                call(name, args)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn number(digits: &str) -> Expr {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let n: BigInt = format!("{whole}{fraction}").parse().unwrap();
    let value = BigRational::new(n, BigInt::from(10).pow(fraction.len() as u32));
    Expr::Number(Literal { value, decimals: fraction.len() as u32, recurring: 0 })
}

fn constant(name: String) -> Expr {
    match name.as_str() {
        "pi" => Expr::Constant(Constant::Pi),
        "e" | "E" => Expr::Constant(Constant::E),
        "i" | "I" => Expr::Constant(Constant::I),
        "oo" => Expr::Constant(Constant::Infinity),
        _ => Expr::Symbol(name),
    }
}

fn call(name: String, mut args: Vec<Expr>) -> Expr {
    use Function as F;
    let f = match name.as_str() {
        "sqrt" => return Expr::Root(boxed(number("2")), boxed(args.remove(0))),
        "cbrt" => return Expr::Root(boxed(number("3")), boxed(args.remove(0))),
        "root" => return Expr::Root(boxed(args[0].clone()), boxed(args[1].clone())),
        "mixed" => return Expr::Mixed(boxed(args[0].clone()), boxed(args[1].clone())),
        "opaque" => return Expr::Opaque(format!("{args:?}")),
        "sum" | "prod" => {
            let Expr::Symbol(variable) = args[0].clone() else { panic!("{args:?}") };
            let series =
                Box::new(Series { variable, from: args[1].clone(), to: args[2].clone(), term: args[3].clone() });
            return if name == "sum" { Expr::Sum(series) } else { Expr::Product(series) };
        }
        "det" => {
            let n = args.len().isqrt();
            return Expr::Call(F::Det, vec![Expr::Matrix(args.chunks(n).map(<[Expr]>::to_vec).collect())]);
        }
        "sin" => F::Sin,
        "cos" => F::Cos,
        "tan" => F::Tan,
        "cot" => F::Cot,
        "sec" => F::Sec,
        "csc" => F::Csc,
        "asin" => F::Arcsin,
        "acos" => F::Arccos,
        "atan" => F::Arctan,
        "acot" => F::Arccot,
        "sinh" => F::Sinh,
        "cosh" => F::Cosh,
        "tanh" => F::Tanh,
        "asinh" => F::Arsinh,
        "acosh" => F::Arcosh,
        "atanh" => F::Artanh,
        "exp" => F::Exp,
        "ln" => F::Ln,
        "log" if args.len() == 1 => F::Log,
        "log" => F::LogBase,
        "abs" | "Abs" => F::Abs,
        "floor" => F::Floor,
        "ceil" | "ceiling" => F::Ceil,
        "factorial" => F::Factorial,
        "factorial2" => F::DoubleFactorial,
        "binomial" => F::Binomial,
        "gcd" => F::Gcd,
        "lcm" => F::Lcm,
        "mod" => F::Mod,
        "min" => F::Min,
        "max" => F::Max,
        "sgn" => F::Sgn,
        "re" => F::Re,
        "im" => F::Im,
        "arg" => F::Arg,
        "gamma" => F::Gamma,
        _ => return Expr::Apply(name, args),
    };
    Expr::Call(f, args)
}
