//! Worked thoughts: how the documents of the small world show a calculation, and how a response's thought is read.
//!
//! ```text
//! 47+85: 7+5=13, 4+8+1=13 so 133                the step, column by column, with a slip
//! check 133-85: 13-5=8~7 wait                   the inverse operation gives 8 where 7 stood
//! 47+85: 7+5=12, 4+8+1=13 so 132                done again
//! ```
//! The check is independent of the step: it computes with the result, by the other operation, and sets each column
//! beside the digit it must give back. Redoing the same columns would redo the same slip.

use meno_eval::tasks::arithmetic::{Expression, Op};
use meno_tensor::rng::Rng;

/// How a document, or a response, gets to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Style {
    /// No steps at all.
    Direct,
    /// Steps with their result only, done in the head.
    Short,
    /// Steps in columns.
    Columns,
    /// Steps in columns, each checked by the inverse operation.
    Checked,
}

impl Style {
    /// All of them, from the laziest to the most careful.
    pub const ALL: [Style; 4] = [Style::Direct, Style::Short, Style::Columns, Style::Checked];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Style::Direct => "direct",
            Style::Short => "short",
            Style::Columns => "columns",
            Style::Checked => "checked",
        }
    }
}

/// A word of the thought, the same in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Before a result: `so`, 得.
    So,
    /// Begins a check: `check`, 查.
    Check,
    /// A check that found nothing: `ok`, 对.
    Ok,
    /// A check that found a slip: `wait`, 等.
    Wait,
}

const WORDS: [(Word, &str, &str); 4] =
    [(Word::So, " so ", "得"), (Word::Check, "check ", "查"), (Word::Ok, " ok", "对"), (Word::Wait, " wait", "等")];

/// A word as it is written in a language, with its spaces.
pub fn word(w: Word, language: &str) -> &'static str {
    let (_, en, zh) = WORDS.iter().find(|x| x.0 == w).expect("invariant: every word is in the table");
    if language == "zh" { zh } else { en }
}

/// `thought` with every word in `language`.
pub fn translate(thought: &str, language: &str) -> String {
    let other = if language == "zh" { "en" } else { "zh" };
    WORDS.iter().fold(thought.to_owned(), |t, &(w, _, _)| t.replace(word(w, other), word(w, language)))
}

/// How words are chosen in one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tongue {
    /// All in this language.
    Pure(&'static str),
    /// Each in one of the two.
    Mixed,
}

/// Writes thoughts.
pub struct Writer<'a> {
    /// Where slips and mixed words come from.
    pub rng: &'a mut Rng,
    /// The language of the words.
    pub tongue: Tongue,
    /// The chance that a step has a slip.
    pub slips: f64,
}

/// The columns of one operation, lowest digit first.
struct Columns {
    /// `7+5=12`, …
    texts: Vec<String>,
    /// The digit each column gives; the last may be more than a digit.
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

/// The columns of `a op b`. `slip` names a column whose carry is forgotten (if it has one and `forget`) or whose
/// result is off by `off`.
fn columns(a: i64, op: Op, b: i64, slip: Option<(usize, bool, i64)>) -> Columns {
    let (x, y) = (digits(a), digits(b));
    let n = x.len().max(y.len());
    let mut c = Columns { texts: Vec::new(), digits: Vec::new(), value: 0 };
    let mut carry = 0;
    for i in 0..n {
        let (mut p, q) = (x.get(i).copied().unwrap_or(0), y.get(i).copied().unwrap_or(0));
        let mut off = 0;
        if let Some((_, forget, by)) = slip.filter(|s| s.0 == i) {
            if forget && carry > 0 { carry = 0 } else { off = by }
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
    fn word(&mut self, w: Word) -> &'static str {
        let language = match self.tongue {
            Tongue::Pure(language) => language,
            Tongue::Mixed => self.rng.choose(&["en", "zh"]),
        };
        word(w, language)
    }

    /// The thought about `e`, line by line, and the value it ends with (a slip may have made it wrong).
    pub fn thought(&mut self, e: &Expression, style: Style) -> (String, i64) {
        let mut lines = Vec::new();
        let mut value = e.first;
        for &(op, b) in &e.rest {
            value = match style {
                Style::Direct => op.apply(value, b),
                Style::Short => self.short(value, op, b, &mut lines),
                Style::Columns => self.step(value, op, b, self.slips, &mut lines),
                Style::Checked => self.checked(value, op, b, &mut lines),
            };
        }
        (lines.join("\n"), value)
    }

    fn short(&mut self, a: i64, op: Op, b: i64, lines: &mut Vec<String>) -> i64 {
        let mut r = op.apply(a, b);
        if self.rng.chance(self.slips) {
            r = (r + self.rng.choose(&[-10, -9, -2, -1, 1, 2, 9, 10])).max(0);
        }
        lines.push(format!("{a}{}{b}{}{r}", op.sign(), self.word(Word::So)));
        r
    }

    fn step(&mut self, a: i64, op: Op, b: i64, slips: f64, lines: &mut Vec<String>) -> i64 {
        let n = digits(a).len().max(digits(b).len());
        let slip = self
            .rng
            .chance(slips)
            .then(|| (self.rng.below(n), self.rng.chance(0.5), *self.rng.choose(&[-2, -1, 1, 2])));
        let c = columns(a, op, b, slip);
        lines.push(format!("{a}{}{b}: {}{}{}", op.sign(), c.texts.join(", "), self.word(Word::So), c.value));
        c.value
    }

    fn checked(&mut self, a: i64, op: Op, b: i64, lines: &mut Vec<String>) -> i64 {
        let r = self.step(a, op, b, self.slips, lines);
        let inverse = if op == Op::Add { Op::Sub } else { Op::Add };
        let c = columns(r, inverse, b, None);
        let mut line = format!("{}{r}{}{b}: ", self.word(Word::Check), inverse.sign());
        let mut found = false;
        for (i, text) in c.texts.iter().enumerate() {
            // The last column answers for all the digits that are left.
            let scale = 10i64.pow(i as u32);
            let want = if i + 1 < c.texts.len() { a / scale % 10 } else { a / scale };
            line += &format!("{}{text}~{want}", if i > 0 { ", " } else { "" });
            if c.digits[i] != want {
                found = true;
                break;
            }
        }
        line += self.word(if found { Word::Wait } else { Word::Ok });
        lines.push(line);
        if found { self.step(a, op, b, 0.0, lines) } else { r }
    }
}

/// What a thought shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Steps: first passes, not what a check made again.
    pub steps: usize,
    /// Steps whose first pass was wrong.
    pub slips: usize,
    /// Steps that were checked.
    pub checks: usize,
    /// Checks that ended in `wait`.
    pub waits: usize,
    /// Slips that were checked.
    pub slips_checked: usize,
    /// Slips whose check ended in `wait`.
    pub slips_found: usize,
    /// Slips that the second pass put right.
    pub slips_repaired: usize,
    /// Checks that ended in `wait` though the step was right.
    pub false_alarms: usize,
    /// Steps that were right and became wrong after a false alarm.
    pub spoiled: usize,
    /// The way it was done, by its most careful step.
    pub style: Option<Style>,
    /// Lines that are none of the three kinds, or do not follow from the line before.
    pub unreadable: usize,
    /// The value it ends with.
    pub value: Option<i64>,
}

impl Reading {
    /// Whether every line is one of the known kinds and the thought ends with a value.
    pub fn is_readable(&self) -> bool {
        self.unreadable == 0 && self.value.is_some()
    }
}

/// One line, whatever the language of its words.
enum Line {
    Step { a: i64, op: Op, b: i64, result: i64, columns: bool },
    Check { wait: bool },
}

fn parse_line(line: &str) -> Option<Line> {
    let line = translate(line, "en");
    if let Some(body) = line.strip_prefix("check ") {
        let wait = body.ends_with(" wait");
        (wait || body.ends_with(" ok")).then_some(())?;
        let (head, columns) = body.split_once(": ")?;
        let e = Expression::parse(head).filter(|e| e.rest.len() == 1)?;
        (columns.contains('~') && e.first >= 0).then_some(())?;
        return Some(Line::Check { wait });
    }
    let (body, result) = line.rsplit_once(" so ")?;
    let result = result.parse().ok()?;
    let (head, columns) = body.split_once(": ").map_or((body, None), |(h, c)| (h, Some(c)));
    let e = Expression::parse(head).filter(|e| e.rest.len() == 1)?;
    if columns.is_some_and(|c| !c.split(", ").all(|c| c.contains('='))) {
        return None;
    }
    Some(Line::Step { a: e.first, op: e.rest[0].0, b: e.rest[0].1, result, columns: columns.is_some() })
}

/// Reads the thought about `e`.
pub fn read(thought: &str, e: &Expression) -> Reading {
    let mut r = Reading::default();
    let mut value = e.first;
    let mut steps = e.rest.iter();
    // The step a check is about, and whether it was right when a `wait` sends back to it.
    let mut last: Option<(i64, Op, i64, i64)> = None;
    let mut again: Option<bool> = None;
    for line in thought.trim().lines().filter(|l| !l.trim().is_empty()) {
        match parse_line(line.trim_end()) {
            Some(Line::Step { a, op, b, result, columns }) => {
                let right = op.apply(a, b) == result;
                if let Some(was_right) = again.take() {
                    r.slips_repaired += usize::from(!was_right && right);
                    r.spoiled += usize::from(was_right && !right);
                    r.unreadable += usize::from(last.is_none_or(|l| (l.0, l.1, l.2) != (a, op, b)));
                } else {
                    r.steps += 1;
                    r.slips += usize::from(!right);
                    r.unreadable += usize::from(a != value || steps.next() != Some(&(op, b)));
                }
                r.style = r.style.max(Some(if columns { Style::Columns } else { Style::Short }));
                value = result;
                last = Some((a, op, b, result));
            }
            Some(Line::Check { wait }) => {
                let Some((a, op, b, result)) = last.filter(|_| again.is_none()) else {
                    r.unreadable += 1;
                    continue;
                };
                let right = op.apply(a, b) == result;
                r.checks += 1;
                r.waits += usize::from(wait);
                r.slips_checked += usize::from(!right);
                r.slips_found += usize::from(!right && wait);
                r.false_alarms += usize::from(right && wait);
                r.style = Some(Style::Checked);
                again = wait.then_some(right);
            }
            None => r.unreadable += 1,
        }
    }
    r.unreadable += usize::from(steps.next().is_some());
    r.value = (r.steps > 0).then_some(value);
    r.style = r.style.or(Some(Style::Direct));
    r
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(text: &str) -> Expression {
        Expression::parse(text).unwrap()
    }

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

    #[test]
    fn thoughts_without_slips_are_right_and_read_back() {
        let mut rng = Rng::new(&[1]);
        for text in ["47+85-29", "9+70-34", "99+99+99-7", "50-50+12"] {
            for style in [Style::Short, Style::Columns, Style::Checked] {
                for tongue in [Tongue::Pure("en"), Tongue::Pure("zh"), Tongue::Mixed] {
                    let (t, v) = Writer { rng: &mut rng, tongue, slips: 0.0 }.thought(&e(text), style);
                    assert_eq!(v, e(text).value());
                    let r = read(&t, &e(text));
                    assert!(r.is_readable(), "{t}\n{r:?}");
                    assert_eq!((r.style, r.value, r.slips, r.waits), (Some(style), Some(v), 0, 0), "{t}");
                    assert_eq!(r.checks, if style == Style::Checked { r.steps } else { 0 });
                }
            }
        }
    }

    #[test]
    fn a_check_finds_slips_and_the_second_pass_repairs_them() {
        let mut rng = Rng::new(&[2]);
        let (mut slips, mut missed, mut wrong) = (0, 0, 0);
        for i in 0..2000 {
            let x = ["47+85-29", "9+70-34", "99+99+99-7", "81-67+55"][i % 4];
            let (t, v) = Writer { rng: &mut rng, tongue: Tongue::Mixed, slips: 0.5 }.thought(&e(x), Style::Checked);
            let r = read(&t, &e(x));
            assert!(r.is_readable(), "{t}\n{r:?}");
            assert_eq!((r.slips_found, r.slips_found), (r.slips_repaired, r.waits), "{t}");
            if r.slips_found == r.slips {
                assert_eq!(v, e(x).value(), "{t}");
            }
            slips += r.slips;
            missed += r.slips - r.slips_found;
            let (t, v) = Writer { rng: &mut rng, tongue: Tongue::Mixed, slips: 0.5 }.thought(&e(x), Style::Columns);
            wrong += usize::from(v != e(x).value());
            let r = read(&t, &e(x));
            assert_eq!((r.style, r.value), (Some(Style::Columns), Some(v)));
        }
        assert!(slips > 1000 && wrong > 900, "{slips} {wrong}");
        // Column work stops at 0, so a sum that slipped below its second part (9+70 = 69) looks right from behind.
        assert!(missed * 20 < slips, "{missed} of {slips} slips missed");
    }

    #[test]
    fn the_example_of_the_top() {
        let thought = "47+85: 7+5=13, 4+8+1=13 so 133\ncheck 133-85: 13-5=8~7 wait\n47+85: 7+5=12, 4+8+1=13 so 132";
        let r = read(thought, &e("47+85"));
        assert!(r.is_readable());
        assert_eq!((r.steps, r.slips, r.waits, r.slips_repaired, r.value), (1, 1, 1, 1, Some(132)));
        let zh = translate(thought, "zh");
        assert_eq!(zh, "47+85: 7+5=13, 4+8+1=13得133\n查133-85: 13-5=8~7等\n47+85: 7+5=12, 4+8+1=13得132");
        assert_eq!(translate(&zh, "en"), thought);
        assert_eq!(read(&zh, &e("47+85")), r);
    }

    #[test]
    fn nonsense_is_unreadable_and_never_panics() {
        for bad in ["", "47+", "check", "so so", "47+85 so 132 so 132", "check 1-1: 1-1=0~0 ok", "1+1: x so 2", "🙂"]
        {
            assert!(!read(bad, &e("47+85")).is_readable(), "{bad}");
        }
        // A chain that leaves the question is not readable either.
        assert!(!read("47+86 so 133", &e("47+85")).is_readable());
        assert!(!read("47+85 so 132", &e("47+85-2")).is_readable());
    }
}
