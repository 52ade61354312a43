//! The meanings of Unicode characters and LaTeX commands: tables of the tokenizer and the parser.

use super::tree::{Constant, Function, Relation};

/// The LaTeX equivalent of a Unicode character, which the tokenizer substitutes. `None` for any other character.
pub(super) fn latex_of(c: char) -> Option<&'static str> {
    Some(match c {
        '−' | '–' | '—' | '﹣' | '－' => "-",
        '＋' => "+",
        '×' | '✕' | '⨯' => "\\times ",
        '·' | '⋅' | '∙' | '•' | '∗' | '＊' => "\\cdot ",
        '÷' => "\\div ",
        '∕' | '⁄' | '／' => "/",
        '＝' => "=",
        '＜' => "<",
        '＞' => ">",
        '±' => "\\pm ",
        '∓' => "\\mp ",
        '≤' | '⩽' | '≦' => "\\le ",
        '≥' | '⩾' | '≧' => "\\ge ",
        '≠' => "\\ne ",
        '≈' => "\\approx ",
        '≡' => "\\equiv ",
        '≅' => "\\cong ",
        '∼' => "\\sim ",
        '∝' => "\\propto ",
        '∈' => "\\in ",
        '∉' => "\\notin ",
        '⊂' => "\\subset ",
        '⊆' => "\\subseteq ",
        '⊃' => "\\supset ",
        '⊇' => "\\supseteq ",
        '∪' => "\\cup ",
        '∩' => "\\cap ",
        '∖' => "\\setminus ",
        '∅' | '⌀' | 'Ø' => "\\emptyset ",
        '∞' => "\\infty ",
        '√' => "\\surd ",
        '∛' => "\\cbrt ",
        '∜' => "\\fourthroot ",
        '°' | '∘' | '˚' | 'º' => "^\\circ ",
        '′' | '’' | 'ʹ' => "'",
        '″' => "''",
        '⌊' => "\\lfloor ",
        '⌋' => "\\rfloor ",
        '⌈' => "\\lceil ",
        '⌉' => "\\rceil ",
        '⟨' | '〈' => "\\langle ",
        '⟩' | '〉' => "\\rangle ",
        '→' | '⟶' => "\\to ",
        '←' | '⟵' => "\\leftarrow ",
        '⇒' | '⟹' => "\\Rightarrow ",
        '⇐' | '⟸' => "\\Leftarrow ",
        '⇔' | '⟺' => "\\Leftrightarrow ",
        '↦' => "\\mapsto ",
        '∣' | '｜' => "|",
        '∥' | '‖' => "\\parallel ",
        '⊥' => "\\perp ",
        '∧' => "\\land ",
        '∨' => "\\lor ",
        '¬' => "\\neg ",
        '∀' => "\\forall ",
        '∃' => "\\exists ",
        '∑' | 'Σ' => "\\sum ",
        '∏' => "\\prod ",
        '∫' => "\\int ",
        '∂' => "\\partial ",
        '∇' => "\\nabla ",
        '∠' => "\\angle ",
        '△' => "\\triangle ",
        '…' | '⋯' => "\\cdots ",
        'ℝ' => "\\mathbb{R}",
        'ℚ' => "\\mathbb{Q}",
        'ℤ' => "\\mathbb{Z}",
        'ℕ' => "\\mathbb{N}",
        'ℂ' => "\\mathbb{C}",
        '½' => "\\frac12 ",
        '⅓' => "\\frac13 ",
        '⅔' => "\\frac23 ",
        '¼' => "\\frac14 ",
        '¾' => "\\frac34 ",
        '⅕' => "\\frac15 ",
        '⅖' => "\\frac25 ",
        '⅗' => "\\frac35 ",
        '⅘' => "\\frac45 ",
        '⅙' => "\\frac16 ",
        '⅚' => "\\frac56 ",
        '⅐' => "\\frac17 ",
        '⅛' => "\\frac18 ",
        '⅜' => "\\frac38 ",
        '⅝' => "\\frac58 ",
        '⅞' => "\\frac78 ",
        '⅑' => "\\frac19 ",
        '⅒' => "\\frac1{10}",
        '，' | '、' => ",",
        '；' => ";",
        '：' => ":",
        '（' => "(",
        '）' => ")",
        '［' | '【' => "[",
        '］' | '】' => "]",
        '％' | '﹪' => "\\%",
        '‰' => "\\permille ",
        '！' => "!",
        '。' | '．' => ".",
        '\u{a0}' | '\u{2009}' | '\u{202f}' | '\u{3000}' | '\u{2002}'..='\u{2006}' => " ",
        'α' => "\\alpha ",
        'β' => "\\beta ",
        'γ' => "\\gamma ",
        'δ' => "\\delta ",
        'ε' | 'ϵ' => "\\epsilon ",
        'ζ' => "\\zeta ",
        'η' => "\\eta ",
        'θ' | 'ϑ' => "\\theta ",
        'ι' => "\\iota ",
        'κ' => "\\kappa ",
        'λ' => "\\lambda ",
        'μ' | 'µ' => "\\mu ",
        'ν' => "\\nu ",
        'ξ' => "\\xi ",
        'π' => "\\pi ",
        'ρ' => "\\rho ",
        'σ' | 'ς' => "\\sigma ",
        'τ' => "\\tau ",
        'υ' => "\\upsilon ",
        'φ' | 'ϕ' => "\\phi ",
        'χ' => "\\chi ",
        'ψ' => "\\psi ",
        'ω' => "\\omega ",
        'Γ' => "\\Gamma ",
        'Δ' => "\\Delta ",
        'Θ' => "\\Theta ",
        'Λ' => "\\Lambda ",
        'Ξ' => "\\Xi ",
        'Φ' => "\\Phi ",
        'Ψ' => "\\Psi ",
        'Ω' => "\\Omega ",
        _ => return None,
    })
}

/// True if a character has no glyph: format characters and all others that Unicode ignores by default.
pub(in crate::verify) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{70f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The base character of a superscript (`true`) or subscript (`false`) character.
pub(super) fn script_of(c: char) -> Option<(bool, char)> {
    let sup = |d| Some((true, d));
    let sub = |d| Some((false, d));
    match c {
        '⁰' => sup('0'),
        '¹' => sup('1'),
        '²' => sup('2'),
        '³' => sup('3'),
        '⁴'..='⁹' => sup(char::from(b'4' + (c as u32 - '⁴' as u32) as u8)),
        '⁺' => sup('+'),
        '⁻' => sup('-'),
        '⁽' => sup('('),
        '⁾' => sup(')'),
        'ⁿ' => sup('n'),
        'ⁱ' => sup('i'),
        'ˣ' => sup('x'),
        '₀'..='₉' => sub(char::from(b'0' + (c as u32 - '₀' as u32) as u8)),
        '₊' => sub('+'),
        '₋' => sub('-'),
        'ₐ' => sub('a'),
        'ₓ' => sub('x'),
        'ₙ' => sub('n'),
        'ᵢ' => sub('i'),
        'ⱼ' => sub('j'),
        'ₖ' => sub('k'),
        _ => None,
    }
}

/// The value of a decimal digit of any script (Unicode category Nd). Each script has ten consecutive digits.
pub(super) fn digit_of(c: char) -> Option<u8> {
    if c.is_ascii_digit() {
        return Some(c as u8 - b'0');
    }
    // The zero digits of all scripts, in ascending order.
    const ZEROS: [u32; 37] = [
        0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50,
        0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50,
        0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x1D7CE,
    ];
    let at = ZEROS.partition_point(|&zero| zero <= c as u32).checked_sub(1)?;
    let offset = c as u32 - ZEROS[at];
    // The mathematical digits from U+1D7CE have five styles of ten.
    let styles = if ZEROS[at] == 0x1D7CE { 50 } else { 10 };
    (offset < styles).then_some((offset % 10) as u8)
}

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
