//! The typed tree of a mathematical answer. [`parse`](super::parse) creates it from text; [`same`](super::same)
//! compares it.
//!
//! The tree keeps the notation: `2/4` is a quotient of two integers, `0.50` a decimal with two digits. Only layout is
//! lost (spaces, `\left`, fonts). [`Display`](std::fmt::Display) prints a tree as LaTeX that parses back to the same
//! tree.

use num_bigint::BigInt;
use num_rational::BigRational;

/// A number as written: an integer, a terminating decimal or a recurring decimal.
#[derive(Clone, Debug)]
pub struct Literal {
    /// Its exact value, never negative; [`Expr::Neg`] holds the sign.
    pub value: BigRational,
    /// Digits after the decimal point that do not recur; 0 for an integer.
    pub decimals: u32,
    /// Digits of the recurring part: 1 for `0.\overline{3}`, 0 if the decimal terminates.
    pub recurring: u32,
}

// `Ratio` compares recursively with continued fractions: numbers with thousands of digits would overflow the stack.
impl PartialEq for Literal {
    fn eq(&self, other: &Literal) -> bool {
        let digits = |l: &Literal| (l.decimals, l.recurring);
        digits(self) == digits(other)
            && self.value.numer() == other.value.numer()
            && self.value.denom() == other.value.denom()
    }
}

impl Eq for Literal {}

impl Literal {
    /// Creates an integer.
    pub fn integer(value: impl Into<BigInt>) -> Literal {
        Literal { value: BigRational::from_integer(value.into()), decimals: 0, recurring: 0 }
    }
}

/// A named constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// π
    Pi,
    /// Euler's number.
    E,
    /// The imaginary unit.
    I,
    /// ∞, positive; −∞ is its [`Expr::Neg`].
    Infinity,
}

/// A function with a fixed meaning. Trigonometric functions take radians.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// sin x
    Sin,
    /// cos x
    Cos,
    /// tan x
    Tan,
    /// cot x
    Cot,
    /// sec x
    Sec,
    /// csc x
    Csc,
    /// arcsin x, also written `\sin^{-1} x`
    Arcsin,
    /// arccos x
    Arccos,
    /// arctan x
    Arctan,
    /// arccot x, with values in (0, π)
    Arccot,
    /// arcsec x
    Arcsec,
    /// arccsc x
    Arccsc,
    /// sinh x
    Sinh,
    /// cosh x
    Cosh,
    /// tanh x
    Tanh,
    /// coth x
    Coth,
    /// sech x
    Sech,
    /// csch x
    Csch,
    /// arsinh x
    Arsinh,
    /// arcosh x
    Arcosh,
    /// artanh x
    Artanh,
    /// e^x, written `\exp`
    Exp,
    /// Natural logarithm, `\ln`.
    Ln,
    /// `\log x` without a base: base 10 or e, which the text leaves open. Two such logarithms with the same argument
    /// are equal. One such logarithm may count as base 10 or as ln, but not as both (docs/verifiers.md).
    Log,
    /// Two arguments: base, then x.
    LogBase,
    /// |x|; for a matrix, its determinant.
    Abs,
    /// ⌊x⌋
    Floor,
    /// ⌈x⌉
    Ceil,
    /// n!
    Factorial,
    /// n!!
    DoubleFactorial,
    /// Two arguments: the binomial coefficient n over k.
    Binomial,
    /// Greatest common divisor of all arguments.
    Gcd,
    /// Least common multiple of all arguments.
    Lcm,
    /// Two arguments: the operation a mod b with a value in [0, b).
    Mod,
    /// Smallest argument.
    Min,
    /// Largest argument.
    Max,
    /// Sign: −1, 0 or 1.
    Sgn,
    /// Real part.
    Re,
    /// Imaginary part.
    Im,
    /// Argument of a complex number, in (−π, π].
    Arg,
    /// Γ(x)
    Gamma,
    /// Determinant.
    Det,
}

/// The relation between two neighbours in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// =
    Equal,
    /// ≠
    NotEqual,
    /// <
    Less,
    /// ≤
    LessEqual,
    /// >
    Greater,
    /// ≥
    GreaterEqual,
    /// ≈
    Approx,
    /// ≡
    Equivalent,
    /// ∈
    In,
    /// ∉
    NotIn,
    /// ⊂
    Subset,
    /// ⊆
    SubsetEqual,
    /// ⊃
    Superset,
    /// ⊇
    SupersetEqual,
    /// ∼
    Similar,
    /// ≅
    Congruent,
    /// ∥
    Parallel,
    /// ⊥
    Perpendicular,
    /// ⇒
    Implies,
    /// ⇐
    ImpliedBy,
    /// ⇔
    Iff,
    /// →
    To,
    /// ←
    From,
    /// ↦
    MapsTo,
    /// ∣, divides
    Divides,
    /// ∝
    Proportional,
    /// A line break or a word between statements without another meaning, e.g. `if`.
    If,
}

/// A delimiter of a bracketed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bracket {
    /// `(` or `)`
    Round,
    /// `[` or `]`
    Square,
    /// `⟨` or `⟩`
    Angle,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    // Scalars.
    /// A number as written.
    Number(Literal),
    /// A constant.
    Constant(Constant),
    /// A letter, or a name with accents and subscripts, e.g. `x`, `\alpha`, `x_{10}`, `\overline{z}`.
    Symbol(String),
    /// A sum of two or more terms; a difference is the sum with [`Expr::Neg`].
    Add(Vec<Expr>),
    /// A product of two or more factors.
    Mul(Vec<Expr>),
    /// −x
    Neg(Box<Expr>),
    /// Numerator and denominator.
    Div(Box<Expr>, Box<Expr>),
    /// Base and exponent.
    Pow(Box<Expr>, Box<Expr>),
    /// Degree and radicand. The root of a negative number with an odd degree is real.
    Root(Box<Expr>, Box<Expr>),
    /// A whole number and a proper fraction: 3½.
    Mixed(Box<Expr>, Box<Expr>),
    /// ±x
    PlusMinus(Box<Expr>),
    /// ∓x
    MinusPlus(Box<Expr>),
    /// x %, that is x/100.
    Percent(Box<Expr>),
    /// x°, that is xπ/180.
    Degrees(Box<Expr>),
    /// A known function of its arguments.
    Call(Function, Vec<Expr>),
    /// An unknown function of its arguments: `f(x)`, or an unknown command with its groups.
    Apply(String, Vec<Expr>),
    /// Σ: variable, from, to, term.
    Sum(Box<Series>),
    /// Π: the same fields.
    Product(Box<Series>),
    /// Digits in a base from 2 to 36, e.g. `2516_8`: the value and the base.
    Based(BigInt, u32),
    /// Factors that do not commute: opaque commands next to anything, vectors, matrices.
    Sequence(Vec<Expr>),
    /// An unknown command, kept as written.
    Opaque(String),

    // Everything else.
    /// Plain words in lower case, separated by single spaces.
    Text(String),
    /// A number with a unit, e.g. `5\text{ cm}`. The unit is kept as written.
    Quantity(Box<Expr>, String),
    /// a : b : c
    Ratio(Vec<Expr>),
    /// A list without brackets: `1, 2`, also joined by "and" or "or".
    List(Vec<Expr>),
    /// `{…}`
    Set(Vec<Expr>),
    /// `{x | …}`: the element and its condition.
    Where(Box<Expr>, Box<Expr>),
    /// A tuple or an interval, with its brackets.
    Tuple(Bracket, Vec<Expr>, Bracket),
    /// Rows of a matrix in brackets; a determinant is `Call(Det, …)` of this node.
    Matrix(Vec<Vec<Expr>>),
    /// Permutation cycles: `(1 2)(3 4)`.
    Cycles(Vec<Vec<Expr>>),
    /// ∪
    Union(Vec<Expr>),
    /// ∩
    Intersection(Vec<Expr>),
    /// Set difference, `\setminus`.
    Difference(Box<Expr>, Box<Expr>),
    /// A chain of relations: `0 < x \leq 5` has three operands and two relations.
    Chain(Vec<Expr>, Vec<Relation>),
    /// The logical connective `\land`, `\lor` or `
    /// eg` by name, and its operands.
    Logic(&'static str, Vec<Expr>),
}

/// A sum or product with bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The bound variable.
    pub variable: String,
    /// First value.
    pub from: Expr,
    /// Last value; may be ∞.
    pub to: Expr,
    /// The term.
    pub term: Expr,
}

impl Expr {
    /// Applies `f` to the operands of the node.
    pub(super) fn map(&self, f: impl Fn(&Expr) -> Expr) -> Expr {
        let all = |items: &[Expr]| items.iter().map(&f).collect::<Vec<_>>();
        let one = |x: &Expr| Box::new(f(x));
        match self {
            Expr::Add(items) => Expr::Add(all(items)),
            Expr::Mul(items) => Expr::Mul(all(items)),
            Expr::Sequence(items) => Expr::Sequence(all(items)),
            Expr::Call(function, items) => Expr::Call(*function, all(items)),
            Expr::Chain(items, relations) => Expr::Chain(all(items), relations.clone()),
            Expr::Tuple(l, items, r) => Expr::Tuple(*l, all(items), *r),
            Expr::List(items) => Expr::List(all(items)),
            Expr::Set(items) => Expr::Set(all(items)),
            Expr::Neg(x) => Expr::Neg(one(x)),
            Expr::Percent(x) => Expr::Percent(one(x)),
            Expr::Degrees(x) => Expr::Degrees(one(x)),
            Expr::Quantity(x, unit) => Expr::Quantity(one(x), unit.clone()),
            Expr::Div(a, b) => Expr::Div(one(a), one(b)),
            Expr::Pow(a, b) => Expr::Pow(one(a), one(b)),
            Expr::Root(a, b) => Expr::Root(one(a), one(b)),
            Expr::Apply(name, items) => Expr::Apply(name.clone(), all(items)),
            Expr::Mixed(a, b) => Expr::Mixed(one(a), one(b)),
            other => other.clone(),
        }
    }
}
