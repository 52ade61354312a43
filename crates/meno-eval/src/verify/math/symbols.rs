//! The meanings of Unicode characters and LaTeX commands: tables of the tokenizer and the parser.

mod unicode;

use super::tree::{Constant, Function, Relation};
pub(in crate::verify) use unicode::is_invisible;
pub(super) use unicode::{digit_of, latex_of, script_of};

/// The relation of a LaTeX command.
pub(super) fn relation_of(command: &str) -> Option<Relation> {
    Some(match command {
        "eq" | "equals" => Relation::Equal,
        "ne" | "neq" => Relation::NotEqual,
        "lt" => Relation::Less,
        "gt" => Relation::Greater,
        "le" | "leq" | "leqslant" | "leqq" => Relation::LessEqual,
        "ge" | "geq" | "geqslant" | "geqq" => Relation::GreaterEqual,
        "approx" | "approxeq" | "thickapprox" | "simeq" => Relation::Approx,
        "equiv" => Relation::Equivalent,
        "in" => Relation::In,
        "notin" => Relation::NotIn,
        "subset" | "subsetneq" | "subsetneqq" => Relation::Subset,
        "subseteq" => Relation::SubsetEqual,
        "supset" | "supsetneq" => Relation::Superset,
        "supseteq" => Relation::SupersetEqual,
        "sim" => Relation::Similar,
        "cong" => Relation::Congruent,
        "parallel" => Relation::Parallel,
        "perp" => Relation::Perpendicular,
        "Rightarrow" | "implies" | "Longrightarrow" => Relation::Implies,
        "Leftarrow" | "impliedby" | "Longleftarrow" => Relation::ImpliedBy,
        "Leftrightarrow" | "iff" | "Longleftrightarrow" | "leftrightarrow" => Relation::Iff,
        "to" | "rightarrow" | "longrightarrow" => Relation::To,
        "gets" | "leftarrow" | "longleftarrow" => Relation::From,
        "mapsto" | "longmapsto" => Relation::MapsTo,
        "propto" => Relation::Proportional,
        _ => return None,
    })
}

/// The function of a LaTeX command, or of the same word in plain text.
pub(super) fn function_of(name: &str) -> Option<Function> {
    Some(match name {
        "sin" => Function::Sin,
        "cos" => Function::Cos,
        "tan" | "tg" => Function::Tan,
        "cot" | "ctg" | "cotg" => Function::Cot,
        "sec" => Function::Sec,
        "csc" | "cosec" => Function::Csc,
        "arcsin" | "asin" => Function::Arcsin,
        "arccos" | "acos" => Function::Arccos,
        "arctan" | "atan" | "arctg" => Function::Arctan,
        "arccot" | "acot" | "arcctg" => Function::Arccot,
        "arcsec" => Function::Arcsec,
        "arccsc" => Function::Arccsc,
        "sinh" | "sh" => Function::Sinh,
        "cosh" => Function::Cosh,
        "tanh" | "th" => Function::Tanh,
        "coth" => Function::Coth,
        "sech" => Function::Sech,
        "csch" => Function::Csch,
        "arcsinh" | "arsinh" | "asinh" => Function::Arsinh,
        "arccosh" | "arcosh" | "acosh" => Function::Arcosh,
        "arctanh" | "artanh" | "atanh" => Function::Artanh,
        "exp" => Function::Exp,
        "ln" => Function::Ln,
        "log" => Function::Log,
        "gcd" => Function::Gcd,
        "lcm" => Function::Lcm,
        "min" => Function::Min,
        "max" => Function::Max,
        "sgn" | "sign" => Function::Sgn,
        "Re" => Function::Re,
        "Im" => Function::Im,
        "arg" | "Arg" => Function::Arg,
        "det" => Function::Det,
        "abs" => Function::Abs,
        "floor" => Function::Floor,
        "ceil" => Function::Ceil,
        _ => return None,
    })
}

/// The printed name of a function, which [`function_of`] can read.
pub(super) fn name_of(function: Function) -> &'static str {
    match function {
        Function::Sin => "sin",
        Function::Cos => "cos",
        Function::Tan => "tan",
        Function::Cot => "cot",
        Function::Sec => "sec",
        Function::Csc => "csc",
        Function::Arcsin => "arcsin",
        Function::Arccos => "arccos",
        Function::Arctan => "arctan",
        Function::Arccot => "arccot",
        Function::Arcsec => "arcsec",
        Function::Arccsc => "arccsc",
        Function::Sinh => "sinh",
        Function::Cosh => "cosh",
        Function::Tanh => "tanh",
        Function::Coth => "coth",
        Function::Sech => "sech",
        Function::Csch => "csch",
        Function::Arsinh => "arsinh",
        Function::Arcosh => "arcosh",
        Function::Artanh => "artanh",
        Function::Exp => "exp",
        Function::Ln => "ln",
        Function::Log | Function::LogBase => "log",
        Function::Abs => "abs",
        Function::Floor => "floor",
        Function::Ceil => "ceil",
        Function::Factorial | Function::DoubleFactorial => "!",
        Function::Binomial => "binom",
        Function::Gcd => "gcd",
        Function::Lcm => "lcm",
        Function::Mod => "bmod",
        Function::Min => "min",
        Function::Max => "max",
        Function::Sgn => "sgn",
        Function::Re => "Re",
        Function::Im => "Im",
        Function::Arg => "arg",
        Function::Gamma => "Gamma",
        Function::Det => "det",
    }
}

/// The inverse of a trigonometric or hyperbolic function, as in `\sin^{-1}`.
pub(super) fn inverse_of(function: Function) -> Option<Function> {
    Some(match function {
        Function::Sin => Function::Arcsin,
        Function::Cos => Function::Arccos,
        Function::Tan => Function::Arctan,
        Function::Cot => Function::Arccot,
        Function::Sec => Function::Arcsec,
        Function::Csc => Function::Arccsc,
        Function::Sinh => Function::Arsinh,
        Function::Cosh => Function::Arcosh,
        Function::Tanh => Function::Artanh,
        _ => return None,
    })
}

/// The constant of a LaTeX command, or of a word in plain text.
pub(super) fn constant_of(name: &str) -> Option<Constant> {
    Some(match name {
        "pi" => Constant::Pi,
        "infty" | "inf" | "infinity" => Constant::Infinity,
        _ => return None,
    })
}

/// True for Greek letters, which are names like `x`.
pub(super) fn is_greek(command: &str) -> bool {
    const LETTERS: [&str; 42] = [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "varrho",
        "sigma",
        "varsigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Upsilon",
        "Phi",
        "Psi",
        "Omega",
        "ell",
        "hbar",
        "aleph",
        "imath",
        "jmath",
    ];
    LETTERS.contains(&command)
}

/// True for commands that only change the typeface of their argument.
pub(super) fn is_font(command: &str) -> bool {
    const FONTS: [&str; 25] = [
        "mathbf",
        "mathrm",
        "mathit",
        "mathsf",
        "mathtt",
        "mathcal",
        "mathscr",
        "mathfrak",
        "boldsymbol",
        "bm",
        "pmb",
        "displaystyle",
        "textstyle",
        "scriptstyle",
        "underline",
        "uline",
        "emph",
        "mathnormal",
        "operatorname",
        "boxed",
        "fbox",
        "ensuremath",
        "mathop",
        "mathord",
        "bold",
    ];
    FONTS.contains(&command)
}

/// True for commands whose argument is words.
pub(super) fn is_text(command: &str) -> bool {
    const TEXTS: [&str; 10] =
        ["text", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "textsc", "mbox", "hbox"];
    TEXTS.contains(&command)
}

/// True for accents and marks that make a different name of their argument.
pub(super) fn is_accent(command: &str) -> bool {
    const ACCENTS: [&str; 19] = [
        "overline",
        "bar",
        "dot",
        "ddot",
        "hat",
        "widehat",
        "tilde",
        "widetilde",
        "vec",
        "overrightarrow",
        "overbrace",
        "underbrace",
        "check",
        "breve",
        "overarc",
        "overleftrightarrow",
        "wideparen",
        "mathbb",
        "acute",
    ];
    ACCENTS.contains(&command)
}

/// True for commands that only add space or change the size of what follows.
pub(super) fn is_layout(command: &str) -> bool {
    const LAYOUT: [&str; 44] = [
        "left",
        "right",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "biggl",
        "biggr",
        "Biggl",
        "Biggr",
        "quad",
        "qquad",
        "displaystyle",
        "textstyle",
        "scriptstyle",
        "limits",
        "nolimits",
        "hfill",
        "large",
        "Large",
        "LARGE",
        "huge",
        "Huge",
        "small",
        "normalsize",
        "bf",
        "it",
        "sf",
        "tt",
        "cal",
        "tiny",
        "footnotesize",
        "middle",
        "nonumber",
        "notag",
        "thinspace",
        "enspace",
        "scriptscriptstyle",
        "mathstrut",
        "strut",
    ];
    LAYOUT.contains(&command)
}

/// True for the commands that occur in answers. After two consecutive backslashes, the second one starts such a
/// command.
pub(super) fn is_known(command: &str) -> bool {
    const COMMON: [&str; 18] = [
        "frac", "dfrac", "tfrac", "sqrt", "cdot", "times", "div", "pm", "mp", "cup", "cap", "binom", "boxed", "circ",
        "infty", "pi", "sum", "mathbb",
    ];
    COMMON.contains(&command)
        || function_of(command).is_some()
        || relation_of(command).is_some()
        || is_text(command)
        || is_greek(command)
        || matches!(command, "left" | "right" | "quad" | "qquad" | "mathrm" | "mathbf" | "overline" | "vec")
}
