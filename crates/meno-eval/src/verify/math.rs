//! Whether two mathematical answers are the same: numbers, fractions, LaTeX expressions with letters, tuples,
//! intervals, sets, lists, matrices, equations.
//!
//! Both sides are normalised; equal text is equal; otherwise both are evaluated, exactly as fractions where they are
//! rational, else in f64 to 1e-9, at several points if letters stand in them. Time is bounded: texts above [`MAX_LEN`]
//! characters are compared as text only, and the evaluator's depth and powers are limited.

mod expression;
mod fraction;
pub mod scalar;
pub mod tree;

use expression::{POINTS, Value, evaluate};
pub use fraction::Fraction;

/// Longest answer that is evaluated.
pub const MAX_LEN: usize = 500;

/// Whether `a` and `b` are the same answer.
pub fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (normalise(a), normalise(b));
    if a == b {
        return true;
    }
    a.len() <= MAX_LEN && b.len() <= MAX_LEN && (same_value(&a, &b) || same_parts(&a, &b) || same_words(&a, &b))
}

/// Whether two expressions have the same value wherever it is looked.
fn same_value(a: &str, b: &str) -> bool {
    // xy is yx, but ABC is not BAC: three letters and more are a word.
    let word = |s: &str| s.len() > 2 && s.bytes().all(|b| b.is_ascii_alphabetic());
    if word(a) || word(b) {
        return false;
    }
    (0..POINTS).all(|point| match (evaluate(a, point), evaluate(b, point)) {
        (Some((x, _)), Some((y, _))) => x.equals(y),
        _ => false,
    })
}

/// Names and such: no capitals, nothing that could be a formula.
fn same_words(a: &str, b: &str) -> bool {
    let word = |s: &str| s.len() > 1 && s.chars().all(char::is_alphabetic);
    word(a) && word(b) && a.eq_ignore_ascii_case(b)
}

/// Whether two answers of several parts have the same parts, in order or in any order as their kind demands.
fn same_parts(a: &str, b: &str) -> bool {
    let (Some((kind, x)), Some((other, y))) = (parts(a), parts(b)) else { return false };
    if kind != other || x.len() != y.len() || x.len() > 64 {
        return false;
    }
    let same = |p: &str, q: &str| p == q || same_value(p, q) || same_parts(p, q);
    match kind {
        Kind::Ordered(..) | Kind::Rows(_) => x.iter().zip(&y).all(|(p, q)| same(p, q)),
        Kind::Set | Kind::Union | Kind::Equation => {
            let mut left: Vec<&String> = y.iter().collect();
            x.iter().all(|p| left.iter().position(|q| same(p, q)).map(|i| left.swap_remove(i)).is_some())
        }
    }
}

/// One text for all ways to write an answer, as votes are counted by.
pub fn canonical(answer: &str) -> String {
    let text = normalise(answer);
    if text.len() > MAX_LEN {
        return text;
    }
    match evaluate(&text, 0) {
        Some((Value::Exact(f), false)) => f.to_string(),
        // Twelve digits: more than `equal` asks for, less than the noise of f64.
        Some((Value::Real(x), false)) => format!("{x:.11e}").parse().map_or(text, |x: f64| x.to_string()),
        _ => text,
    }
}

/// What an answer of several parts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A tuple or an interval, with its brackets.
    Ordered(char, char),
    /// `{…}`, or a list without brackets: in any order.
    Set,
    /// Sets or intervals joined by `\cup`.
    Union,
    /// The two sides of `=`.
    Equation,
    /// The entries of a matrix of so many rows.
    Rows(usize),
}

/// The parts of an answer, if it has several.
fn parts(text: &str) -> Option<(Kind, Vec<String>)> {
    let owned = |pieces: Vec<&str>| pieces.into_iter().map(str::to_owned).collect::<Vec<_>>();
    if let Some(inner) = text.strip_prefix("\\begin{pmatrix}").and_then(|t| t.strip_suffix("\\end{pmatrix}")) {
        let rows: Vec<&str> = inner.trim_end_matches("\\cr").split("\\cr").collect();
        return Some((Kind::Rows(rows.len()), owned(rows.iter().flat_map(|r| r.split('&')).collect())));
    }
    if text.contains("\\cup") {
        return Some((Kind::Union, owned(text.split("\\cup").collect())));
    }
    if let Some((left, right)) = text.split_once('=') {
        return Some((Kind::Equation, owned(vec![left, right])));
    }
    if let Some((left, right)) = text.split_once("\\pm") {
        return Some((Kind::Set, vec![format!("{left}+{right}"), format!("{left}-{right}")]));
    }
    let (first, last) = (text.chars().next()?, text.chars().next_back()?);
    if matches!(first, '(' | '[' | '{')
        && matches!(last, ')' | ']' | '}')
        && let Some(pieces) = split(&text[1..text.len() - 1])
        && (pieces.len() > 1 || first == '{')
    {
        return Some((if first == '{' { Kind::Set } else { Kind::Ordered(first, last) }, owned(pieces)));
    }
    split(text).filter(|pieces| pieces.len() > 1).map(|pieces| (Kind::Set, owned(pieces)))
}

/// Splits at the commas and semicolons outside brackets; `None` if the brackets do not match.
fn split(inner: &str) -> Option<Vec<&str>> {
    let (mut depth, mut pieces, mut start) = (0i32, Vec::new(), 0);
    for (i, c) in inner.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' | ';' if depth == 0 => {
                pieces.push(&inner[start..i]);
                start = i + 1;
            }
            _ => {}
        }
        if depth < 0 {
            return None; // "(1)+(2)": the first bracket does not embrace it all
        }
    }
    pieces.push(&inner[start..]);
    (depth == 0).then_some(pieces)
}

/// Markup that means nothing, and other ways to write the same.
const REPLACED: [(&str, &str); 41] = [
    ("\\\\", "\\cr"),
    ("\\left", ""),
    ("\\right", ""),
    ("\\displaystyle", ""),
    ("\\!", ""),
    ("\\,", ""),
    ("\\;", ""),
    ("\\:", ""),
    ("\\ ", ""),
    ("~", " "),
    ("\\$", ""),
    ("$", ""),
    ("\\%", ""),
    ("%", ""),
    ("^{\\circ}", ""),
    ("^\\circ", ""),
    ("\\degree", ""),
    ("°", ""),
    ("{,}", ""),
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("\\dbinom", "\\binom"),
    ("\\{", "{"),
    ("\\}", "}"),
    ("\\cdot", "*"),
    ("\\times", "*"),
    ("\\div", "/"),
    ("×", "*"),
    ("÷", "/"),
    ("−", "-"),
    ("，", ","),
    ("∞", "\\infty"),
    ("+\\infty", "\\infty"),
    ("∪", "\\cup"),
    ("±", "\\pm"),
    ("bmatrix", "pmatrix"),
    ("vmatrix", "pmatrix"),
    ("\\mathbf", ""),
    ("\\mathbb", ""),
    ("\\operatorname", ""),
];

/// Units that may follow a number in plain words.
const UNITS: [&str; 24] = [
    "cm",
    "mm",
    "km",
    "m",
    "meters",
    "metres",
    "inches",
    "inch",
    "feet",
    "ft",
    "miles",
    "hours",
    "hour",
    "minutes",
    "seconds",
    "days",
    "years",
    "degrees",
    "dollars",
    "cents",
    "units",
    "square units",
    "mph",
    "kg",
];

/// One way to write an answer: without markup, spaces, units, thousands commas, and what stands before `=` or `\in`
/// when it only names the unknown.
fn normalise(text: &str) -> String {
    let mut s = text.trim().trim_end_matches(['.', '。']).to_owned();
    for (from, to) in REPLACED {
        s = s.replace(from, to);
    }
    s = without_units(s.trim());
    for markup in ["\\text{", "\\mathrm{", "\\textbf{", "\\mbox{", "\\mathit{", "\\textit{"] {
        while let Some(at) = s.find(markup) {
            let Some(len) = s[at + markup.len()..].find('}') else { break };
            let inner = s[at + markup.len()..at + markup.len() + len].to_owned();
            s.replace_range(at..at + markup.len() + len + 1, &inner);
        }
    }
    s = without_thousands(&s);
    s.retain(|c| !c.is_whitespace());
    s = without_name(&s).to_owned();
    // (C) is C; x_{1} is x_1.
    let bytes = s.as_bytes();
    if let [b'(', letter, b')'] = bytes
        && letter.is_ascii_alphabetic()
    {
        s = char::from(*letter).to_string();
    }
    while let Some(at) = s.find("_{").filter(|&at| s.as_bytes().get(at + 3) == Some(&b'}')) {
        s.remove(at + 3);
        s.remove(at + 1);
    }
    s
}

/// `12\text{ cm}^2`, `5 hours`: the number alone. Text without a number before it is not a unit.
fn without_units(s: &str) -> String {
    let body = s.strip_suffix("^2").or(s.strip_suffix("^3")).or(s.strip_suffix("^{2}")).or(s.strip_suffix("^{3}"));
    let body = body.filter(|b| b.ends_with('}') || UNITS.iter().any(|u| b.ends_with(u))).unwrap_or(s).trim_end();
    let number = |before: &str| before.trim_end().ends_with(|c: char| c.is_ascii_digit() || matches!(c, '}' | ')'));
    let markup = ["\\text{", "\\mathrm{", "\\mbox{"].iter().filter_map(|m| body.rfind(m)).max();
    if let Some(at) = markup.filter(|&at| body[at..].find('}') == Some(body.len() - at - 1))
        && number(&body[..at])
    {
        return body[..at].trim_end().to_owned();
    }
    let unit = UNITS.iter().filter(|u| body.ends_with(*u)).max_by_key(|u| u.len());
    match unit.map(|u| &body[..body.len() - u.len()]) {
        Some(before) if before.ends_with(' ') && number(before) => before.trim_end().to_owned(),
        _ => s.to_owned(),
    }
}

/// `x=5`, `f(x)=5`, `x\in[1,2]`: what follows.
fn without_name(s: &str) -> &str {
    let name = |left: &str| match left.as_bytes() {
        [a] | [a, b'_', _] | [a, b'(', _, b')'] => a.is_ascii_alphabetic(),
        [a, b] => a.is_ascii_alphabetic() && b.is_ascii_alphabetic(),
        _ => false,
    };
    match s.split_once('=').or_else(|| s.split_once("\\in").filter(|(_, rest)| !rest.starts_with("fty"))) {
        Some((left, right)) if name(left) && !right.contains('=') => right,
        _ => s,
    }
}

/// `1,234,567` without its commas; anything else as it is.
fn without_thousands(s: &str) -> String {
    let body = s.strip_prefix('-').unwrap_or(s);
    let whole = body.split('.').next().unwrap_or(body);
    let groups: Vec<&str> = whole.split(',').collect();
    let digits = |g: &&str| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit());
    let grouped = groups.len() > 1
        && groups.iter().all(digits)
        && (1..=3).contains(&groups[0].len())
        && groups[1..].iter().all(|g| g.len() == 3);
    if grouped { s.replace(',', "") } else { s.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn same_answers() {
        for (a, b) in [
            ("42", "42.0"),
            ("1/2", "\\frac{1}{2}"),
            ("0.5", "\\dfrac12"),
            ("$1,234$", "1234"),
            ("x = 5", "5"),
            ("-\\frac{3}{4}", "-0.75"),
            ("2\\sqrt{3}", "\\sqrt{12}"),
            ("\\frac{\\sqrt{2}}{2}", "1/\\sqrt{2}"),
            ("2^{10}", "1024"),
            ("3\\pi", "\\pi*3"),
            ("90^\\circ", "90"),
            ("50\\%", "50"),
            ("(1, 2)", "\\left(1, \\frac{4}{2}\\right)"),
            ("\\{1,2\\}", "\\{2, 1\\}"),
            ("\\text{yes}", "yes"),
            ("2(1+1)", "4"),
            ("1.50", "3/2"),
            // As Math-Verify and the graders of MATH have them.
            ("1\\frac{1}{2}", "\\frac{3}{2}"),
            ("\\sqrt[3]{8}", "2"),
            ("\\sqrt2", "\\sqrt{2}"),
            ("5!", "120"),
            ("\\binom{5}{2}", "10"),
            ("10{,}000", "10,000"),
            ("1.2 \\times 10^{3}", "1200"),
            ("6r^2-4r-24", "6 r^{2} - 24 - 4r"),
            ("(x+1)^2", "x^2 + 2x + 1"),
            ("2xy", "2yx"),
            ("\\frac{x}{2}", "0.5x"),
            ("y = 2x + 3", "3+2x"),
            ("f(x) = x^2", "x \\cdot x"),
            ("x^2+y^2=1", "1 = y^2 + x^2"),
            ("x \\in [-2,7]", "[-2, 7]"),
            ("(-\\infty, 3) \\cup (3, +\\infty)", "(3,\\infty)\\cup(-\\infty,3)"),
            ("3 \\pm 2\\sqrt{2}", "3-\\sqrt{8}, 3+\\sqrt{8}"),
            ("1, -2", "-2,1"),
            ("\\frac{1}{2}, 0.3", "0.3, 0.5"),
            ("12\\text{ cm}^2", "12"),
            ("5 \\text{ hours}", "5"),
            ("5 hours", "5"),
            ("\\$18.90", "18.9"),
            ("\\text{(C)}", "C"),
            ("\\text{Evelyn}", "evelyn"),
            (
                "\\begin{pmatrix} 1 & \\frac{2}{4} \\\\ 3 & 4 \\end{pmatrix}",
                "\\begin{bmatrix}1&0.5\\\\3&4\\end{bmatrix}",
            ),
            ("2516_8", "2516_{8}"),
            ("6 - 5i", "-5i + 6"),
            ("\\sin^2 x", "1-\\cos^2 x"),
            ("\\log_2 8", "3"),
            ("x_1 + x_2", "x_{2}+x_{1}"),
            ("\\left\\{1, 2\\right\\}", "\\{2,1\\}"),
            ("p - q", "-q+p"),
            ("\\frac43", "1\\frac13"),
            ("0.\\!5", ".5"),
            ("e^{2x}", "(e^x)^2"),
        ] {
            assert!(equal(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn different_answers() {
        for (a, b) in [
            ("42", "43"),
            ("1/2", "1/3"),
            ("(1,2)", "(2,1)"),
            ("(1,2)", "[1,2]"),
            ("12", "1,2"),
            ("yes", "no"),
            ("1/0", "2/0"),
            ("0.333333", "1/3"),
            ("", "0"),
            ("x", "y"),
            ("(1,2)", "(1,2]"),
            ("x^2", "x^3"),
            ("6r^2-4r-24", "6r^2-4r+24"),
            ("1, 2", "1, 3"),
            ("1, 2", "1, 2, 2"),
            ("(1,2)\\cup(3,4)", "(1,2)\\cup(3,5)"),
            ("x=5", "x=6"),
            ("x^2+y^2=1", "x^2+y^2=2"),
            ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2&3&4\\end{pmatrix}"),
            ("\\infty", "-\\infty"),
            ("2516_8", "2516_9"),
            ("ab", "ac"),
            ("ABC", "BAC"),
            ("12\\text{ cm}", "13"),
            ("\\frac{1}{x}", "x"),
            ("1,234", "(1,234)"),
            ("3\\pm1", "4"),
        ] {
            assert!(!equal(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn votes_share_a_form() {
        assert_eq!(canonical("0.50"), canonical("\\frac{2}{4}"));
        assert_eq!(canonical("1{,}000"), canonical("1{,}000"));
        assert_ne!(canonical("2"), canonical("3"));
        assert_eq!(canonical("2\\sqrt{3}"), canonical("\\sqrt{12}"));
    }

    #[test]
    fn a_vote_is_still_the_answer() {
        for answer in ["\\sqrt{2}", "10^{-7}\\pi", "\\frac{22}{7}", "x^2+1", "(1,\\pi)", "{2,1}", "3\\pm\\sqrt2", "1/0"]
        {
            assert!(equal(&canonical(answer), answer), "{answer}: {}", canonical(answer));
        }
    }

    #[test]
    fn hostile_text_ends_soon() {
        let start = std::time::Instant::now();
        for text in ["(".repeat(100_000), "9^".repeat(200) + "9", "\\frac".repeat(5000), "{".repeat(90)] {
            assert!(!equal(&text, "1"));
            canonical(&text);
        }
        assert!(start.elapsed().as_secs_f64() < 1.0);
    }

    proptest! {
        #[test]
        fn any_text_is_itself(a in "\\PC{0,40}") {
            prop_assert!(equal(&a, &a));
        }
        #[test]
        fn fractions_agree_with_their_decimal(n in -9999i64..9999, d in 1u32..6) {
            let p = 10i64.pow(d);
            let decimal = format!("{}{}.{:0width$}", if n < 0 { "-" } else { "" }, n.abs() / p, n.abs() % p, width = d as usize);
            let fraction = format!("\\frac{{{n}}}{{{p}}}");
            prop_assert!(equal(&decimal, &fraction), "{} {}", decimal, fraction);
        }
    }
}
