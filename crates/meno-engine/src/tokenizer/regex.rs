//! Runs the regular expressions of a `tokenizer.json` under limits of time and memory.
//!
//! The patterns are untrusted, and their engine, Oniguruma, backtracks: some patterns take time exponential in the
//! length of the text. The tokenizers library runs them without a time limit and panics when Oniguruma's own limit
//! stops a match. Here the same patterns give the same matches, and an error if one takes too long.

use super::pre_tokenizers::PUBLISHED;
use crate::clock::thread_time;
use onig::{MatchParam, Regex, Region, SearchOptions};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokenizers::pattern::Pattern;
use tokenizers::{Offsets, Result};

/// CPU time allowed per text, and per byte of it: a hundred times what published patterns need.
const TIME: Duration = Duration::from_secs(2);
const TIME_PER_BYTE: Duration = Duration::from_micros(2);
/// Maximum backtracking steps of a match attempt at one position, about 20 ms.
const MAX_RETRIES: u32 = 2_000_000;
/// Maximum size of the backtracking stack of an attempt, about 200 MB.
const MAX_STACK: u32 = 4_000_000;
/// Wall time between two reads of the CPU time, which is a system call.
const PATIENCE: Duration = Duration::from_millis(1);
/// Matches between two reads of the clock.
const MATCHES: usize = 16;

thread_local! {
    /// The CPU time of this thread at which the current text runs out of budget.
    static DEADLINE: Cell<Option<Duration>> = const { Cell::new(None) };
    /// The error of the current text. The library ignores errors of normalizers, so it is stored here.
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `f` with the time budget of a text of `bytes` bytes. Fails if a pattern exceeded it, even if the library
/// ignored the error.
pub(super) fn within_budget<R>(bytes: usize, f: impl FnOnce() -> R) -> Result<R> {
    let before = DEADLINE.replace(Some(deadline(bytes)));
    FAILURE.set(None);
    let result = f();
    DEADLINE.set(before);
    FAILURE.take().map_or(Ok(result), |failure| Err(failure.into()))
}

/// Stores an error, because the library ignores errors of normalizers.
pub(super) fn fail(what: String) -> String {
    FAILURE.set(Some(what.clone()));
    what
}

fn deadline(bytes: usize) -> Duration {
    thread_time() + TIME + TIME_PER_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// A pattern with the same matches as the library's own.
#[derive(Clone, Debug)]
pub(super) struct BoundedRegex {
    pattern: String,
    regex: Arc<Regex>,
    /// True for the published patterns, which run fast on any text.
    harmless: bool,
}

fn limits() -> MatchParam {
    let mut limits = MatchParam::default();
    limits.set_retry_limit_in_match(MAX_RETRIES);
    limits.set_match_stack_limit(MAX_STACK);
    limits
}

impl BoundedRegex {
    pub(super) fn new(pattern: &str) -> Result<BoundedRegex> {
        if let Some(what) = compares_text(pattern) {
            return Err(format!(
                "the regular expression `{}` has {what}, which can take unbounded time",
                short(pattern)
            )
            .into());
        }
        let (regex, harmless) = (Arc::new(Regex::new(pattern)?), PUBLISHED.contains(&pattern));
        Ok(BoundedRegex { pattern: pattern.to_owned(), regex, harmless })
    }

    /// Returns true if the pattern matches the empty text.
    pub(super) fn matches_nothing(&self) -> Result<bool> {
        Ok(self.find("", 0, deadline(0))?.is_some())
    }

    /// Finds the first match that begins at `from` or later. Oniguruma's search has no time limit, so a pattern that is
    /// not known to be harmless is tried position by position.
    fn find(&self, text: &str, from: usize, deadline: Duration) -> Result<Option<(usize, usize)>> {
        let (mut region, options) = (Region::new(), SearchOptions::SEARCH_OPTION_NONE);
        if self.harmless {
            let found = self.regex.search_with_param(text, from, text.len(), options, Some(&mut region), limits());
            return Ok(found.map_err(|e| self.too_slow(&e.to_string()))?.and_then(|_| region.pos(0)));
        }
        let (mut at, mut looked) = (from, Instant::now());
        loop {
            let found = self.regex.match_with_param(text, at, options, Some(&mut region), limits());
            if found.map_err(|e| self.too_slow(&e.to_string()))?.is_some() {
                return Ok(region.pos(0));
            }
            let Some(next) = text[at..].chars().next() else { break };
            at += next.len_utf8();
            if looked.elapsed() > PATIENCE {
                self.check(deadline)?;
                looked = Instant::now();
            }
        }
        Ok(None)
    }

    fn check(&self, deadline: Duration) -> Result<()> {
        if thread_time() < deadline { Ok(()) } else { Err(self.too_slow("out of time").into()) }
    }

    fn too_slow(&self, why: &str) -> String {
        let shown = short(&self.pattern);
        let failure = format!(
            "the regular expression `{shown}` takes too long on this text ({why}); use a tokenizer whose patterns \
             need no backtracking"
        );
        fail(failure)
    }
}

/// Returns the first characters of a pattern.
fn short(pattern: &str) -> String {
    let shown: String = pattern.chars().take(80).collect();
    if shown.len() < pattern.len() { shown + "…" } else { shown }
}

/// Returns the construct, if any, that lets one step of a match compare text of any length or match another pattern:
/// back references and subexpression calls. The step limit does not bound their time, and no published tokenizer uses
/// them.
fn compares_text(pattern: &str) -> Option<&'static str> {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c == '\\').then(|| chars.next()).flatten() {
            Some('1'..='9' | 'k') => return Some("a backreference"),
            Some('g') => return Some("a call of a group"),
            _ => {}
        }
    }
    // `(?~…)`, the absence operator, is matched again at every length.
    pattern.contains("(?~").then_some("an absence operator")
}

impl Pattern for &BoundedRegex {
    /// As in the library: returns all matches and the text between them. An empty match directly after another match is
    /// skipped.
    fn find_matches(&self, inside: &str) -> Result<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let deadline = DEADLINE.get().unwrap_or_else(|| deadline(inside.len()));
        let (mut splits, mut given, mut at, mut last) = (Vec::new(), 0, 0, None);
        let mut matches = 0;
        while at <= inside.len() {
            let Some((start, end)) = self.find(inside, at, deadline)? else { break };
            if start == end && last == Some(end) {
                at += inside[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            (at, last) = (end, Some(end));
            if given != start {
                splits.push(((given, start), false));
            }
            splits.push(((start, end), true));
            given = end;
            matches += 1;
            if matches % MATCHES == 0 {
                self.check(deadline)?;
            }
        }
        if given != inside.len() {
            splits.push(((given, inside.len()), false));
        }
        Ok(splits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds matches with the library's own code.
    fn of_library(pattern: &str, text: &str) -> Vec<(Offsets, bool)> {
        (&Regex::new(pattern).unwrap()).find_matches(text).unwrap()
    }

    #[test]
    fn finds_what_the_library_finds() {
        let long = "日本語 text with  spaces\n\n\tand 12345 numbers' don't ".repeat(40);
        let texts = ["", "a", "aab", "  \n x", "日本語", "a\u{301}é", &long, &" ".repeat(300), &"é".repeat(200)];
        let patterns = [
            // lint: long line
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"\p{N}{1,3}",
            "[一-龥]+",
            r"\s+$",
            "",
            "a*",
            "x*",
            r"\b",
            "$",
            "^",
            r"\z",
            "(?=a)",
            "(?<=t)h",
            "b|a+",
            "numbers' don't $",
        ];
        for pattern in patterns {
            for text in texts {
                let found = (&BoundedRegex::new(pattern).unwrap()).find_matches(text).unwrap();
                assert_eq!(found, of_library(pattern, text), "{pattern:?} in {text:?}");
            }
        }
    }

    #[test]
    fn what_backtracks_without_end_is_an_error_in_time() {
        for (pattern, text) in [
            (r"(a+)+$", "a".repeat(100) + "b"),
            (r"(a|aa)+$", "a".repeat(5000) + "b"),
            (r"(?>a+)c", "a".repeat(300_000) + "bc"),
            (r"(x+x+)+y", "x".repeat(10_000) + "zy"),
            (r"(?:a*a*a*a*a*b|a)", "a".repeat(100_000)),
        ] {
            let start = thread_time();
            let error = (&BoundedRegex::new(pattern).unwrap()).find_matches(&text).unwrap_err().to_string();
            assert!(error.contains("takes too long"), "{pattern}: {error}");
            assert!(thread_time() - start < TIME * 3, "{pattern}: {:?}", thread_time() - start);
        }
    }

    #[test]
    fn patterns_whose_steps_have_no_bound_are_refused() {
        for pattern in [r"(a*)\1b", r"(?<x>a*)\k<x>b", r"(?<x>a|b\g<x>c)", r"a(?~b)c", r"[\\](\w)\1"] {
            let error = BoundedRegex::new(pattern).unwrap_err().to_string();
            assert!(error.contains(pattern) && error.contains("unbounded time"), "{error}");
        }
        for pattern in [r"\\1", r"[\\]k", r"\d\s"] {
            BoundedRegex::new(pattern).unwrap();
        }
    }

    #[test]
    fn the_empty_text_matches_or_not() {
        for (pattern, expected) in [("", true), ("a*", true), ("a+", false), ("^", true), (r"\s", false)] {
            assert_eq!(BoundedRegex::new(pattern).unwrap().matches_nothing().unwrap(), expected, "{pattern}");
        }
    }
}
