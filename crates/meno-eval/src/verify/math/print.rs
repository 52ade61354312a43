//! Prints trees as LaTeX that parses back to the same tree.

use super::parse::is_connective;
use super::symbols::{function_of, name_of};
use super::tree::{Bracket, Constant, Expr, Function, Literal, Relation, Series};
use num_bigint::BigInt;
use num_traits::ToPrimitive;
use std::fmt::{Display, Formatter, Result};

/// The precedence of an expression, from loose to tight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    List,
    Logic,
    Chain,
    Sets,
    Ratio,
    Sum,
    Product,
    Sign,
    Postfix,
    Atom,
}

impl Expr {
    fn level(&self) -> Level {
        match self {
            Expr::List(_) => Level::List,
            Expr::Logic(..) => Level::Logic,
            Expr::Chain(..) => Level::Chain,
            Expr::Union(_) | Expr::Intersection(_) | Expr::Difference(..) => Level::Sets,
            Expr::Ratio(_) => Level::Ratio,
            Expr::Add(_) => Level::Sum,
            Expr::PlusMinus(_) | Expr::MinusPlus(_) | Expr::Neg(_) => Level::Sign,
            Expr::Mul(_) | Expr::Sequence(_) | Expr::Sum(_) | Expr::Product(_) => Level::Product,
            Expr::Quantity(..) | Expr::Call(Function::Mod, _) => Level::Product,
            Expr::Pow(..) | Expr::Percent(_) | Expr::Degrees(_) | Expr::Div(..) => Level::Postfix,
            Expr::Call(Function::Factorial | Function::DoubleFactorial, _) => Level::Postfix,
            // The name of points of a figure must stand alone.
            Expr::Symbol(name) if name.len() > 1 && name.bytes().all(|b| b.is_ascii_uppercase()) => Level::Sets,
            _ => Level::Atom,
        }
    }

    /// Writes the expression, in brackets if it binds more loosely than `least`.
    fn at(&self, f: &mut Formatter<'_>, least: Level) -> Result {
        if self.level() >= least {
            return self.fmt(f);
        }
        write!(f, "\\left({self}\\right)")
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.decimals == 0 && self.recurring == 0 {
            return write!(f, "{}", self.value.to_integer());
        }
        let whole = self.value.to_integer();
        let mut rest = &self.value - num_rational::BigRational::from_integer(whole.clone());
        write!(f, "{whole}.")?;
        for i in 0..self.decimals + self.recurring {
            if i == self.decimals {
                f.write_str("\\overline{")?;
            }
            rest *= BigInt::from(10);
            let digit = rest.to_integer();
            write!(f, "{}", digit.to_u8().unwrap_or(0))?;
            rest -= num_rational::BigRational::from_integer(digit);
        }
        if self.recurring > 0 { f.write_str("}") } else { Ok(()) }
    }
}

impl Display for Constant {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Constant::Pi => "\\pi ",
            Constant::E => "e",
            Constant::I => "i",
            Constant::Infinity => "\\infty ",
        })
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Relation::Equal => "=",
            Relation::NotEqual => "\\ne ",
            Relation::Less => "<",
            Relation::LessEqual => "\\le ",
            Relation::Greater => ">",
            Relation::GreaterEqual => "\\ge ",
            Relation::Approx => "\\approx ",
            Relation::Equivalent => "\\equiv ",
            Relation::In => "\\in ",
            Relation::NotIn => "\\notin ",
            Relation::Subset => "\\subset ",
            Relation::SubsetEqual => "\\subseteq ",
            Relation::Superset => "\\supset ",
            Relation::SupersetEqual => "\\supseteq ",
            Relation::Similar => "\\sim ",
            Relation::Congruent => "\\cong ",
            Relation::Parallel => "\\parallel ",
            Relation::Perpendicular => "\\perp ",
            Relation::Implies => "\\Rightarrow ",
            Relation::ImpliedBy => "\\Leftarrow ",
            Relation::Iff => "\\Leftrightarrow ",
            Relation::To => "\\to ",
            Relation::From => "\\leftarrow ",
            Relation::MapsTo => "\\mapsto ",
            Relation::Divides => "\\mid ",
            Relation::Proportional => "\\propto ",
            Relation::If => "\\text{ if }",
        })
    }
}

/// Writes items with a separator, each at a level or in brackets.
fn joined(f: &mut Formatter<'_>, items: &[Expr], separator: &str, least: Level) -> Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        item.at(f, least)?;
    }
    Ok(())
}

/// Writes a prefix and its operand. After a sign, a second sign belongs to the first factor of a product: -±ab is
/// -((±a)b), so the signed product in -(±ab) keeps its brackets.
fn prefixed(f: &mut Formatter<'_>, prefix: &str, operand: &Expr, least: Level) -> Result {
    f.write_str(prefix)?;
    match operand {
        Expr::Neg(x) | Expr::PlusMinus(x) | Expr::MinusPlus(x) if x.level() == Level::Product => {
            operand.at(f, Level::Postfix)
        }
        _ => operand.at(f, least),
    }
}

/// Writes an operand and its suffix.
fn suffixed(f: &mut Formatter<'_>, operand: &Expr, least: Level, suffix: &str) -> Result {
    operand.at(f, least)?;
    f.write_str(suffix)
}

/// Writes the application of a function with this name.
fn applied(f: &mut Formatter<'_>, name: &str, args: &[Expr]) -> Result {
    write!(f, "{name}\\left(")?;
    joined(f, args, ", ", Level::Logic)?;
    f.write_str("\\right)")
}

/// True if `\text{…}` with this content parses as words without quotes: it contains a word and has no other meaning.
fn reads_as_words(text: &str) -> bool {
    let has_word = text.split(|c: char| !c.is_alphabetic()).any(|word| word.chars().nth(1).is_some());
    has_word && function_of(text).is_none() && !is_connective(text)
}

/// True if the printed expression has a colon outside brackets.
fn has_colon(e: &Expr) -> bool {
    match e {
        Expr::Ratio(_) => true,
        Expr::Union(items) | Expr::Intersection(items) | Expr::Chain(items, _) | Expr::Logic(_, items) => {
            items.iter().any(has_colon)
        }
        Expr::Difference(a, b) => has_colon(a) || has_colon(b),
        _ => false,
    }
}

fn bracket(bracket: Bracket, open: bool) -> &'static str {
    match (bracket, open) {
        (Bracket::Round, true) => "(",
        (Bracket::Round, false) => ")",
        (Bracket::Square, true) => "[",
        (Bracket::Square, false) => "]",
        (Bracket::Angle, true) => "\\langle ",
        (Bracket::Angle, false) => "\\rangle ",
    }
}

fn sum(f: &mut Formatter<'_>, terms: &[Expr]) -> Result {
    for (i, term) in terms.iter().enumerate() {
        match term {
            Expr::Neg(x) => prefixed(f, " - ", x, Level::Product),
            Expr::PlusMinus(x) => prefixed(f, " \\pm ", x, Level::Product),
            Expr::MinusPlus(x) => prefixed(f, " \\mp ", x, Level::Product),
            _ => prefixed(f, if i > 0 { " + " } else { "" }, term, Level::Product),
        }?;
    }
    Ok(())
}

fn series(f: &mut Formatter<'_>, command: &str, s: &Series) -> Result {
    write!(f, "\\{command}_{{{}={}}}^{{{}}} ", s.variable, s.from, s.to)?;
    s.term.at(f, Level::Sign)
}

/// Writes the rows of a matrix.
pub(super) fn rows(f: &mut Formatter<'_>, rows: &[Vec<Expr>]) -> Result {
    for (i, row) in rows.iter().enumerate() {
        f.write_str(if i > 0 { " \\\\ " } else { "" })?;
        joined(f, row, " & ", Level::Chain)?;
    }
    Ok(())
}

fn matrix(f: &mut Formatter<'_>, environment: &str, m: &[Vec<Expr>]) -> Result {
    write!(f, "\\begin{{{environment}}}")?;
    rows(f, m)?;
    write!(f, "\\end{{{environment}}}")
}

fn set(f: &mut Formatter<'_>, items: &[Expr]) -> Result {
    f.write_str("\\{")?;
    // A colon in a set means "such that".
    let colon = items.iter().any(has_colon);
    joined(f, items, ", ", if colon { Level::Sum } else { Level::Logic })?;
    f.write_str("\\}")
}

fn cycle(f: &mut Formatter<'_>, items: &[Expr]) -> Result {
    f.write_str("(")?;
    joined(f, items, "\\ ", Level::Atom)?;
    f.write_str(")")
}

fn chain(f: &mut Formatter<'_>, operands: &[Expr], relations: &[Relation]) -> Result {
    for (i, operand) in operands.iter().enumerate() {
        if let Some(relation) = i.checked_sub(1).and_then(|i| relations.get(i)) {
            write!(f, " {relation}")?;
        }
        operand.at(f, Level::Sets)?;
    }
    Ok(())
}

fn logic(f: &mut Formatter<'_>, name: &str, operands: &[Expr]) -> Result {
    match operands {
        [x] => prefixed(f, &format!("\\{name} "), x, Level::Chain),
        _ => joined(f, operands, &format!(" \\{name} "), Level::Chain),
    }
}

fn call(f: &mut Formatter<'_>, function: Function, args: &[Expr]) -> Result {
    match (function, args) {
        (Function::Factorial, [x]) => suffixed(f, x, Level::Atom, "!"),
        (Function::DoubleFactorial, [x]) => suffixed(f, x, Level::Atom, "!!"),
        (Function::Binomial, [n, k]) => write!(f, "\\binom{{{n}}}{{{k}}}"),
        (Function::LogBase, [base, x]) => write!(f, "\\log_{{{base}}}\\left({x}\\right)"),
        (Function::Abs, [x]) => write!(f, "\\left\\lvert {x}\\right\\rvert "),
        (Function::Floor, [x]) => write!(f, "\\lfloor {x}\\rfloor "),
        (Function::Ceil, [x]) => write!(f, "\\lceil {x}\\rceil "),
        (Function::Mod, [a, b]) => {
            a.at(f, Level::Postfix)?;
            f.write_str(" \\bmod ")?;
            b.at(f, Level::Postfix)
        }
        (Function::Det, [Expr::Matrix(m)]) => matrix(f, "vmatrix", m),
        _ => applied(f, &format!("\\operatorname{{{}}}", name_of(function)), args),
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Expr::Number(n) => n.fmt(f),
            Expr::Constant(c) => c.fmt(f),
            Expr::Symbol(name) => {
                // A space ends a command, so that letters can follow.
                let space = if name.starts_with('\\') && !name.ends_with('}') { " " } else { "" };
                write!(f, "{name}{space}")
            }
            Expr::Add(terms) => sum(f, terms),
            Expr::Mul(factors) => joined(f, factors, " \\cdot ", Level::Postfix),
            Expr::Neg(x) => prefixed(f, "-", x, Level::Product),
            Expr::PlusMinus(x) => prefixed(f, "\\pm ", x, Level::Product),
            Expr::MinusPlus(x) => prefixed(f, "\\mp ", x, Level::Product),
            Expr::Div(a, b) => write!(f, "\\frac{{{a}}}{{{b}}}"),
            Expr::Pow(a, b) => {
                a.at(f, Level::Atom)?;
                write!(f, "^{{{b}}}")
            }
            Expr::Root(n, x) => match n.as_ref() {
                Expr::Number(two) if *two == Literal::integer(2) => write!(f, "\\sqrt{{{x}}}"),
                _ => write!(f, "\\sqrt[{n}]{{{x}}}"),
            },
            Expr::Mixed(whole, part) => write!(f, "{whole}{part}"),
            Expr::Percent(x) => suffixed(f, x, Level::Atom, "\\%"),
            Expr::Degrees(x) => suffixed(f, x, Level::Atom, "^{\\circ}"),
            Expr::Call(function, args) => call(f, *function, args),
            Expr::Apply(name, args) => applied(f, name, args),
            Expr::Sum(s) => series(f, "sum", s),
            Expr::Product(s) => series(f, "prod", s),
            Expr::Based(value, base) => write!(f, "{}_{{{base}}}", value.to_str_radix(*base).to_uppercase()),
            Expr::Sequence(items) => joined(f, items, "\\ ", Level::Atom),
            Expr::Opaque(text) => write!(f, "{text} "),
            Expr::Text(text) if !reads_as_words(text) => write!(f, "\\text{{“{text}”}}"),
            Expr::Text(text) => write!(f, "\\text{{{text}}}"),
            Expr::Quantity(x, unit) => {
                x.at(f, Level::Sign)?;
                write!(f, "\\text{{ {unit}}}")
            }
            Expr::Ratio(parts) => joined(f, parts, " : ", Level::Sum),
            Expr::List(items) => {
                let nested = items.iter().any(|e| matches!(e, Expr::List(_)));
                joined(f, items, if nested { "; " } else { ", " }, if nested { Level::List } else { Level::Logic })
            }
            Expr::Set(items) => set(f, items),
            Expr::Where(element, condition) => write!(f, "\\{{{element} \\mid {condition}\\}}"),
            Expr::Tuple(left, items, right) => {
                f.write_str(bracket(*left, true))?;
                joined(f, items, ", ", Level::Logic)?;
                f.write_str(bracket(*right, false))
            }
            Expr::Matrix(m) => matrix(f, "pmatrix", m),
            Expr::Cycles(cycles) => cycles.iter().try_for_each(|items| cycle(f, items)),
            Expr::Union(parts) => joined(f, parts, " \\cup ", Level::Ratio),
            Expr::Intersection(parts) => joined(f, parts, " \\cap ", Level::Ratio),
            Expr::Difference(a, b) => {
                a.at(f, Level::Ratio)?;
                f.write_str(" \\setminus ")?;
                b.at(f, Level::Ratio)
            }
            Expr::Chain(operands, relations) => chain(f, operands, relations),
            Expr::Logic(name, operands) => logic(f, name, operands),
        }
    }
}
