//! Findings that are allowed until they are fixed: a count for each rule and file, which may only shrink.

use crate::Finding;
use std::collections::BTreeMap;

const HEADER: &str = "# Findings that `make lint` allows until they are fixed: rule, count, path.\n\
                      # The counts only shrink:\n\
                      # cargo run -p meno-lint --locked -- --update-baseline\n";

/// How many findings of a rule a file may have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    counts: BTreeMap<(String, String), usize>,
}

/// What a comparison with the baseline says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison<'a> {
    /// All findings of the rules and files that have more than the baseline allows.
    pub failures: Vec<&'a Finding>,
    /// Rules and files that have fewer than that: `(rule, path, found, allowed)`.
    pub improved: Vec<(String, String, usize, usize)>,
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// If a line is not `rule count path`; the message holds its number.
    pub fn parse(text: &str) -> Result<Baseline, String> {
        let mut counts = BTreeMap::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty()) {
            let mut parts = line.splitn(3, ' ');
            let (rule, count, path) = (parts.next(), parts.next().and_then(|c| c.parse().ok()), parts.next());
            let (Some(rule), Some(count), Some(path)) = (rule, count, path) else {
                return Err(format!("line {}: expected `rule count path`, found {line:?}", i + 1));
            };
            counts.insert((rule.to_owned(), path.to_owned()), count);
        }
        Ok(Baseline { counts })
    }

    /// A baseline that allows exactly these findings.
    pub fn of(findings: &[Finding]) -> Baseline {
        let mut counts = BTreeMap::new();
        for finding in findings {
            *counts.entry((finding.rule.to_owned(), finding.path.clone())).or_insert(0) += 1;
        }
        Baseline { counts }
    }

    /// The text of the baseline file.
    pub fn text(&self) -> String {
        let lines = self.counts.iter().map(|((rule, path), count)| format!("{rule} {count} {path}\n"));
        HEADER.to_owned() + &lines.collect::<String>()
    }

    /// Finds what is above and what is below the baseline.
    pub fn compare<'a>(&self, findings: &'a [Finding]) -> Comparison<'a> {
        let now = Baseline::of(findings).counts;
        let allowed =
            |rule: &str, path: &str| self.counts.get(&(rule.to_owned(), path.to_owned())).copied().unwrap_or(0);
        let above = |f: &&Finding| now[&(f.rule.to_owned(), f.path.clone())] > allowed(f.rule, &f.path);
        let improved = self.counts.iter().filter_map(|(key, &allowed)| {
            let found = now.get(key).copied().unwrap_or(0);
            (found < allowed).then(|| (key.0.clone(), key.1.clone(), found, allowed))
        });
        Comparison { failures: findings.iter().filter(above).collect(), improved: improved.collect() }
    }

    /// Lowers every count to what is found now. Never raises one and never adds one.
    pub fn shrink(&mut self, findings: &[Finding]) {
        let now = Baseline::of(findings).counts;
        for (key, count) in &mut self.counts {
            *count = (*count).min(now.get(key).copied().unwrap_or(0));
        }
        self.counts.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(path: &str, line: usize) -> Finding {
        Finding { rule: "r", path: path.to_owned(), line, message: String::new() }
    }

    #[test]
    fn text_and_back() {
        let baseline = Baseline::of(&[finding("a b.rs", 1), finding("a b.rs", 2), finding("c.rs", 1)]);
        assert!(baseline.text().ends_with("\nr 2 a b.rs\nr 1 c.rs\n"));
        assert_eq!(Baseline::parse(&baseline.text()), Ok(baseline));
        assert!(Baseline::parse("# x\nr many a.rs\n").unwrap_err().starts_with("line 2: "));
    }

    #[test]
    fn more_than_the_baseline_fails_and_less_is_reported() {
        let baseline = Baseline::parse("r 1 a.rs\nr 2 b.rs\nr 1 c.rs\n").unwrap();
        let findings =
            [finding("a.rs", 1), finding("a.rs", 2), finding("b.rs", 1), finding("c.rs", 1), finding("d.rs", 1)];
        let comparison = baseline.compare(&findings);
        assert_eq!(comparison.failures, [&findings[0], &findings[1], &findings[4]]);
        assert_eq!(comparison.improved, [("r".to_owned(), "b.rs".to_owned(), 1, 2)]);
    }

    #[test]
    fn it_only_shrinks() {
        let mut baseline = Baseline::parse("r 1 a.rs\nr 2 b.rs\nr 1 c.rs\n").unwrap();
        baseline.shrink(&[finding("a.rs", 1), finding("a.rs", 2), finding("b.rs", 1), finding("d.rs", 1)]);
        assert_eq!(baseline, Baseline::parse("r 1 a.rs\nr 1 b.rs\n").unwrap());
    }
}
