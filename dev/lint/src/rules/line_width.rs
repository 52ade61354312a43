//! Lines of at most 120 columns: code, comments and strings, in tests too.
//!
//! rustfmt leaves long comments and strings alone, so they are checked here. A line that is too long only because of
//! a URL in it is fine, since a URL cannot be broken.
//!
//! A published regular expression or a payload that is clearer in one piece may stay long: the line above it is the
//! comment `// lint: long line`. Such a comment above a line that is not too long is a finding.

use crate::Workspace;
use crate::rule::{Finding, Rule};

const LIMIT: usize = 120;

/// Allows the next line to be longer.
const MARKER: &str = "// lint: long line";

pub(super) const RULE: Rule = Rule {
    name: "line-width",
    summary: "a line of a Rust file has at most 120 columns, unless a URL makes it longer or a comment allows it",
    check,
};

fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &workspace.files {
        let mut marked = false;
        for (i, line) in file.text.lines().enumerate() {
            let long = width_without_urls(line) > LIMIT;
            if marked && !long {
                let message = format!("the line below this comment has at most {LIMIT} columns: remove the comment");
                findings.push(RULE.finding(&file.path, i, message));
            } else if long && !marked {
                let message = format!(
                    "{} columns, at most {LIMIT}: wrap the comment, or break the string with `\\` or `concat!`",
                    line.chars().count()
                );
                findings.push(RULE.finding(&file.path, i + 1, message));
            }
            marked = line.trim() == MARKER;
        }
    }
    findings
}

fn width_without_urls(line: &str) -> usize {
    let urls = line.split_whitespace().filter(|word| word.contains("https://") || word.contains("http://"));
    line.chars().count() - urls.map(|url| url.chars().count()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::places;

    #[test]
    fn long_lines_are_found_but_not_long_urls() {
        let wide = format!("// {}\n", "x".repeat(118));
        let fits = format!("// {}\n", "é".repeat(117));
        let url = format!("// See https://example.com/{}\n", "x".repeat(200));
        let beside_url = format!("// {} https://example.com/\n", "x ".repeat(60));
        let source = format!("{fits}{url}{wide}{beside_url}");
        assert_eq!(
            places(&RULE, &[("crates/x/src/lib.rs", &source)]),
            ["crates/x/src/lib.rs:3", "crates/x/src/lib.rs:4"]
        );
    }

    #[test]
    fn a_comment_allows_one_long_line() {
        let wide = format!("// {}\n", "x".repeat(118));
        let source = format!("{MARKER}\n{wide}{wide}{MARKER}\n// short\n");
        assert_eq!(
            places(&RULE, &[("crates/x/src/lib.rs", &source)]),
            ["crates/x/src/lib.rs:3", "crates/x/src/lib.rs:4"]
        );
    }
}
