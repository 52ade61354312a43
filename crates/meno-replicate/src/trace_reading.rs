//! Reads the thought of a response: its steps, slips and checks, in the notation of [`crate::worked_steps`].

use crate::worked_steps::{ReasoningStyle, translate};
use meno_eval::tasks::arithmetic::{Expression, Op};

/// What a thought contains.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceReading {
    /// Steps, not counting the repetition after a check.
    pub steps: usize,
    /// Steps that were wrong at first.
    pub slips: usize,
    /// Steps that were checked.
    pub checks: usize,
    /// Checks that ended in `wait`.
    pub waits: usize,
    /// Slips that were checked.
    pub slips_checked: usize,
    /// Slips whose check ended in `wait`.
    pub slips_found: usize,
    /// Slips that the second attempt corrected.
    pub slips_repaired: usize,
    /// Checks that ended in `wait` although the step was right.
    pub false_alarms: usize,
    /// Right steps that became wrong after a false alarm.
    pub spoiled: usize,
    /// The style of the most careful step.
    pub style: Option<ReasoningStyle>,
    /// Lines that are neither a step nor a check, or do not follow from the line before.
    pub unreadable: usize,
    /// The result of the last step; `None` without steps.
    pub value: Option<i64>,
}

impl TraceReading {
    /// Returns true if every line can be read and the thought ends with a value.
    pub fn is_readable(&self) -> bool {
        self.unreadable == 0 && self.value.is_some()
    }

    /// Adds the counts of steps, checks and slips of another reading.
    pub(crate) fn add_counts(&mut self, other: &TraceReading) {
        self.steps += other.steps;
        self.slips += other.slips;
        self.checks += other.checks;
        self.waits += other.waits;
        self.slips_checked += other.slips_checked;
        self.slips_found += other.slips_found;
        self.slips_repaired += other.slips_repaired;
        self.false_alarms += other.false_alarms;
        self.spoiled += other.spoiled;
        self.unreadable += other.unreadable;
    }
}

/// A step as written: `a op b`, and the result it claims.
#[derive(Clone, Copy)]
struct WorkedStep {
    a: i64,
    op: Op,
    b: i64,
    result: i64,
    columns: bool,
}

impl WorkedStep {
    fn is_right(&self) -> bool {
        self.op.apply(self.a, self.b) == self.result
    }
}

/// One line of a thought, in either language.
enum Line {
    Step(WorkedStep),
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
    let (op, b) = e.rest[0];
    Some(Line::Step(WorkedStep { a: e.first, op, b, result, columns: columns.is_some() }))
}

/// Reads a thought line by line.
struct Reader<'e> {
    reading: TraceReading,
    /// The value so far.
    value: i64,
    /// The operations that have no step yet.
    remaining: std::slice::Iter<'e, (Op, i64)>,
    last: Option<WorkedStep>,
    /// After a `wait`, until the step is repeated: whether the checked step was right.
    repeating: Option<bool>,
}

impl Reader<'_> {
    fn step(&mut self, step: WorkedStep) {
        let r = &mut self.reading;
        let right = step.is_right();
        if let Some(was_right) = self.repeating.take() {
            r.slips_repaired += usize::from(!was_right && right);
            r.spoiled += usize::from(was_right && !right);
            r.unreadable += usize::from(self.last.is_none_or(|l| (l.a, l.op, l.b) != (step.a, step.op, step.b)));
        } else {
            r.steps += 1;
            r.slips += usize::from(!right);
            let follows = step.a == self.value && self.remaining.next() == Some(&(step.op, step.b));
            r.unreadable += usize::from(!follows);
        }
        let style = if step.columns { ReasoningStyle::Columns } else { ReasoningStyle::Short };
        r.style = r.style.max(Some(style));
        self.value = step.result;
        self.last = Some(step);
    }

    fn check(&mut self, wait: bool) {
        let r = &mut self.reading;
        let Some(step) = self.last.filter(|_| self.repeating.is_none()) else {
            r.unreadable += 1;
            return;
        };
        let right = step.is_right();
        r.checks += 1;
        r.waits += usize::from(wait);
        r.slips_checked += usize::from(!right);
        r.slips_found += usize::from(!right && wait);
        r.false_alarms += usize::from(right && wait);
        r.style = Some(ReasoningStyle::Checked);
        self.repeating = wait.then_some(right);
    }
}

/// Reads the thought about `e`.
pub fn read(thought: &str, e: &Expression) -> TraceReading {
    let mut reader = Reader {
        reading: TraceReading::default(),
        value: e.first,
        remaining: e.rest.iter(),
        last: None,
        repeating: None,
    };
    for line in thought.trim().lines().filter(|l| !l.trim().is_empty()) {
        match parse_line(line.trim_end()) {
            Some(Line::Step(step)) => reader.step(step),
            Some(Line::Check { wait }) => reader.check(wait),
            None => reader.reading.unreadable += 1,
        }
    }
    let Reader { reading: mut r, value, mut remaining, .. } = reader;
    r.unreadable += usize::from(remaining.next().is_some());
    r.value = (r.steps > 0).then_some(value);
    r.style = r.style.or(Some(ReasoningStyle::Direct));
    r
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worked_steps::{WordLanguage, Writer};
    use meno_tensor::rng::Rng;

    fn e(text: &str) -> Expression {
        Expression::parse(text).unwrap()
    }

    #[test]
    fn thoughts_without_slips_are_right_and_read_back() {
        let mut rng = Rng::new(&[1]);
        for text in ["47+85-29", "9+70-34", "99+99+99-7", "50-50+12"] {
            for style in [ReasoningStyle::Short, ReasoningStyle::Columns, ReasoningStyle::Checked] {
                for language in [WordLanguage::Pure("en"), WordLanguage::Pure("zh"), WordLanguage::Mixed] {
                    let (t, v) = Writer { rng: &mut rng, language, slips: 0.0 }.thought(&e(text), style);
                    assert_eq!(v, e(text).value());
                    let r = read(&t, &e(text));
                    assert!(r.is_readable(), "{t}\n{r:?}");
                    assert_eq!((r.style, r.value, r.slips, r.waits), (Some(style), Some(v), 0, 0), "{t}");
                    assert_eq!(r.checks, if style == ReasoningStyle::Checked { r.steps } else { 0 });
                }
            }
        }
    }

    #[test]
    fn a_check_finds_slips_and_the_second_attempt_repairs_them() {
        let mut rng = Rng::new(&[2]);
        let (mut slips, mut missed, mut wrong) = (0, 0, 0);
        for i in 0..2000 {
            let x = ["47+85-29", "9+70-34", "99+99+99-7", "81-67+55"][i % 4];
            let mut write =
                |style| Writer { rng: &mut rng, language: WordLanguage::Mixed, slips: 0.5 }.thought(&e(x), style);
            let (t, v) = write(ReasoningStyle::Checked);
            let r = read(&t, &e(x));
            assert!(r.is_readable(), "{t}\n{r:?}");
            assert_eq!((r.slips_found, r.slips_found), (r.slips_repaired, r.waits), "{t}");
            if r.slips_found == r.slips {
                assert_eq!(v, e(x).value(), "{t}");
            }
            slips += r.slips;
            missed += r.slips - r.slips_found;
            let (t, v) = write(ReasoningStyle::Columns);
            wrong += usize::from(v != e(x).value());
            let r = read(&t, &e(x));
            assert_eq!((r.style, r.value), (Some(ReasoningStyle::Columns), Some(v)));
        }
        assert!(slips > 1000 && wrong > 900, "{slips} {wrong}");
        // Columns never go below 0, so the check cannot see a sum that slipped below its second operand (9+70 = 69).
        assert!(missed * 20 < slips, "{missed} of {slips} slips missed");
    }

    #[test]
    fn the_documented_example_is_read_in_both_languages() {
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
        // Steps that leave the question are not readable either.
        assert!(!read("47+86 so 133", &e("47+85")).is_readable());
        assert!(!read("47+85 so 132", &e("47+85-2")).is_readable());
    }
}
