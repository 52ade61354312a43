//! Writes worked calculations: the thoughts in the documents of the corpus.
//!
//! ```text
//! 47+85: 7+5=13, 4+8+1=13 so 133                the step, column by column, with a slip
//! check 133-85: 13-5=8~7 wait                   the inverse operation gives 8 where it should give 7
//! 47+85: 7+5=12, 4+8+1=13 so 132                the step again, now right
//! ```
//! The check is independent of the step: it starts from the result, applies the inverse operation, and compares each
//! column with the digit it must give back. Repeating the step's own columns would repeat its slip.

use meno_eval::tasks::arithmetic::{Expression, Op};
use meno_tensor::rng::Rng;

/// How a document or a response gets to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReasoningStyle {
    /// No steps.
    Direct,
    /// Steps that show only their result.
    Short,
    /// Steps in columns.
    Columns,
    /// Steps in columns, each checked by the inverse operation.
    Checked,
}

impl ReasoningStyle {
    /// All styles, from the least to the most careful.
    pub const ALL: [ReasoningStyle; 4] =
        [ReasoningStyle::Direct, ReasoningStyle::Short, ReasoningStyle::Columns, ReasoningStyle::Checked];

    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            ReasoningStyle::Direct => "direct",
            ReasoningStyle::Short => "short",
            ReasoningStyle::Columns => "columns",
            ReasoningStyle::Checked => "checked",
        }
    }
}

/// A word that structures a thought. Each has an English and a Chinese form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Introduces a result: `so`, 得.
    So,
    /// Begins a check: `check`, 查.
    Check,
    /// Ends a check that found nothing: `ok`, 对.
    Ok,
    /// Ends a check that found a slip: `wait`, 等.
    Wait,
}

const MARKERS: [Marker; 4] = [Marker::So, Marker::Check, Marker::Ok, Marker::Wait];

impl Marker {
    /// The marker as written in `language`, including its spaces.
    pub fn text(self, language: &str) -> &'static str {
        let (en, zh) = match self {
            Marker::So => (" so ", "得"),
            Marker::Check => ("check ", "查"),
            Marker::Ok => (" ok", "对"),
            Marker::Wait => (" wait", "等"),
        };
        if language == "zh" { zh } else { en }
    }
}

/// `thought` with every marker in `language`.
pub fn translate(thought: &str, language: &str) -> String {
    let other = if language == "zh" { "en" } else { "zh" };
    MARKERS.iter().fold(thought.to_owned(), |t, m| t.replace(m.text(other), m.text(language)))
}

/// In which language the markers of a document are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordLanguage {
    /// All in this language.
    Pure(&'static str),
    /// Each in a randomly chosen language.
    Mixed,
}

/// Writes thoughts.
pub struct Writer<'a> {
    /// Draws the slips, and the languages of mixed markers.
    pub rng: &'a mut Rng,
    /// The language of the markers.
    pub language: WordLanguage,
    /// The probability that a step has a slip.
    pub slips: f64,
}

/// An error to make in one column of a step.
#[derive(Clone, Copy)]
struct Slip {
    /// The column, from the lowest digit.
    column: usize,
    /// True if the incoming carry, if there is one, is forgotten.
    forget_carry: bool,
    /// Otherwise this is added to the column's result.
    offset: i64,
}

/// The columns of one operation, lowest digit first.
struct Columns {
    /// `7+5=12`, …
    texts: Vec<String>,
    /// The digit that each column gives. The last may be more than one digit.
    digits: Vec<i64>,
    value: i64,
}

fn digits(mut n: i64) -> Vec<i64> {
    let mut d = vec![n % 10];
    while n >= 10 {
        n /= 10;
        d.push(n % 10);
    }
    d
}

/// The columns of `a op b`, with `slip` if there is one.
fn columns(a: i64, op: Op, b: i64, slip: Option<Slip>) -> Columns {
    let (x, y) = (digits(a), digits(b));
    let n = x.len().max(y.len());
    let mut c = Columns { texts: Vec::new(), digits: Vec::new(), value: 0 };
    let mut carry = 0;
    for i in 0..n {
        let (mut p, q) = (x.get(i).copied().unwrap_or(0), y.get(i).copied().unwrap_or(0));
        let mut off = 0;
        if let Some(slip) = slip.filter(|s| s.column == i) {
            if slip.forget_carry && carry > 0 { carry = 0 } else { off = slip.offset }
        }
        if op == Op::Sub && p - q - carry < 0 && i + 1 < n {
            p += 10;
        }
        let borrowed = p >= 10;
        let exact = op.apply(op.apply(p, q), carry);
        let t = (exact + off).clamp(0, 19);
        let tail = if carry > 0 { format!("{}1", op.sign()) } else { String::new() };
        c.texts.push(format!("{p}{}{q}{tail}={t}", op.sign()));
        carry = if op == Op::Add { t / 10 } else { i64::from(borrowed) };
        c.digits.push(if i + 1 < n { t % 10 } else { t });
    }
    c.value = c.digits.iter().rev().fold(0, |v, d| v * 10 + d);
    c
}

impl Writer<'_> {
    fn marker(&mut self, m: Marker) -> &'static str {
        let language = match self.language {
            WordLanguage::Pure(language) => language,
            WordLanguage::Mixed => self.rng.choose(&["en", "zh"]),
        };
        m.text(language)
    }

    /// The thought about `e`, line by line, and the value it ends with, which a slip may have made wrong.
    pub fn thought(&mut self, e: &Expression, style: ReasoningStyle) -> (String, i64) {
        let mut lines = Vec::new();
        let mut value = e.first;
        for &(op, b) in &e.rest {
            value = match style {
                ReasoningStyle::Direct => op.apply(value, b),
                ReasoningStyle::Short => self.short(value, op, b, &mut lines),
                ReasoningStyle::Columns => self.step(value, op, b, self.slips, &mut lines),
                ReasoningStyle::Checked => self.checked(value, op, b, &mut lines),
            };
        }
        (lines.join("\n"), value)
    }

    fn short(&mut self, a: i64, op: Op, b: i64, lines: &mut Vec<String>) -> i64 {
        let mut r = op.apply(a, b);
        if self.rng.chance(self.slips) {
            r = (r + self.rng.choose(&[-10, -9, -2, -1, 1, 2, 9, 10])).max(0);
        }
        lines.push(format!("{a}{}{b}{}{r}", op.sign(), self.marker(Marker::So)));
        r
    }

    fn step(&mut self, a: i64, op: Op, b: i64, slips: f64, lines: &mut Vec<String>) -> i64 {
        let n = digits(a).len().max(digits(b).len());
        let slip = self.rng.chance(slips).then(|| Slip {
            column: self.rng.below(n),
            forget_carry: self.rng.chance(0.5),
            offset: *self.rng.choose(&[-2, -1, 1, 2]),
        });
        let c = columns(a, op, b, slip);
        lines.push(format!("{a}{}{b}: {}{}{}", op.sign(), c.texts.join(", "), self.marker(Marker::So), c.value));
        c.value
    }

    fn checked(&mut self, a: i64, op: Op, b: i64, lines: &mut Vec<String>) -> i64 {
        let r = self.step(a, op, b, self.slips, lines);
        let inverse = if op == Op::Add { Op::Sub } else { Op::Add };
        let c = columns(r, inverse, b, None);
        let mut line = format!("{}{r}{}{b}: ", self.marker(Marker::Check), inverse.sign());
        let mut found = false;
        for (i, text) in c.texts.iter().enumerate() {
            // The last column is compared with all remaining digits.
            let scale = 10i64.pow(i as u32);
            let want = if i + 1 < c.texts.len() { a / scale % 10 } else { a / scale };
            line += &format!("{}{text}~{want}", if i > 0 { ", " } else { "" });
            if c.digits[i] != want {
                found = true;
                break;
            }
        }
        line += self.marker(if found { Marker::Wait } else { Marker::Ok });
        lines.push(line);
        if found { self.step(a, op, b, 0.0, lines) } else { r }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_slips_are_right() {
        for a in 0..500 {
            for b in (0..100).step_by(7) {
                assert_eq!(columns(a, Op::Add, b, None).value, a + b, "{a}+{b}");
                if a >= b {
                    assert_eq!(columns(a, Op::Sub, b, None).value, a - b, "{a}-{b}");
                }
            }
        }
        assert_eq!(columns(132, Op::Sub, 85, None).texts.join(", "), "12-5=7, 13-8-1=4, 1-0-1=0");
    }
}
