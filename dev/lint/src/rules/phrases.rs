//! Phrases that comments and documents do not use, each with a plain alternative.
//!
//! The list holds idioms that are wrong or archaic nearly everywhere; words that only need care are not on it. Code in
//! backticks and fenced blocks is skipped, and so are quotations in “typographic marks”. A phrase is found across the
//! lines of a paragraph.

use crate::Workspace;
use crate::comments::{self, Paragraph};
use crate::rule::{Finding, Rule};
use regex::{Captures, Regex};

/// A regular expression, in which case does not matter and a space matches any white space, and what to write instead.
/// A match in which a group takes part is fine: "told" is found, "told apart" is not.
const PHRASES: &[(&str, &str)] = &[
    ("(?:is|are|was|were|be|been|being) told( apart| from)?", "reported, returned, emitted, passed to"),
    ("tells (?:of|what|whether|which|how|why)", "reports, returns"),
    ("as( if| long| soon| though)? [^.;:,()]{1,40} ha(?:s|ve) (?:it|them)", "as in X, as X defines it"),
    ("so many( \\w+ that| that)?", "the number itself: n, `len`; or \"every n layers\""),
    ("as far as there (?:is|are)", "if there is, up to the number of"),
    ("what (?:became|becomes|has become) of", "the result of, the state of"),
    ("a word (?:on|about)", "a note about, a message that says"),
    ("(?:take|takes|took|taking) leave", "ends, removes, retires"),
    ("(?:make|makes|made|making) do", "uses, needs only"),
    ("anew", "again"),
    ("whoever", "name the role: the caller, the client, the user"),
    ("(user )?nobody( else)?", "no one; or name the role: no caller, no thread"),
    ("anybody", "anyone; or name the role: any caller, any client"),
    ("the one whom", "the one that"),
    ("for nothing", "for free; or: is ignored"),
    ("(?:is|are|be) the matter of", "depends on, is decided by"),
    ("knows? no( more| longer| less)?", "has no, does not support"),
    ("shall", "must, should, will"),
    ("ought", "should"),
    ("words of (?:its|their) own", "its own message"),
    ("(there )?(?:is|are|was|were) none( of)?", "is not one; or say \"there is none\""),
    ("none of (?:ours|theirs)", "not ours"),
    ("com(?:e|es) to (?:this many|that many|more than|at most)", "total, add up to"),
    (
        "(?:stand|stands|stood) (?:in|on|at|beside|under|below|above|there|before|after|between|behind|inside|where)",
        "is, are, comes, appears",
    ),
    ("says that", "states that, declares, marks, reports"),
    ("those that", "the ones that, or repeat the noun: the files that"),
    ("(?:an?|no) (?:[\\w-]+ ){1,3}of (?:its|their|one's) own", "separate, custom: a separate thread"),
    ("^whether", "\"True if\" for a field, \"Returns true if\" for a function"),
    ("\\w*(?:initialis|normalis|quantis|recognis|serialis|summaris)\\w*", "-ize, as in normalize, quantize"),
    ("wherein|whereof|therein|thereof|whereupon|thereupon|whence|thence|lest|ere|upon", "which, from it, so that, on"),
];

pub(super) const RULE: Rule =
    Rule { name: "phrases", summary: "comments and documents are in plain English: see the list in phrases.rs", check };

fn check(workspace: &Workspace) -> Vec<Finding> {
    let phrases: Vec<(Regex, &str)> = PHRASES
        .iter()
        .map(|(phrase, plain)| {
            let pattern = format!("(?i)\\b(?:{})\\b", phrase.replace(' ', r"\s+"));
            (Regex::new(&pattern).expect("the phrases are regular expressions"), *plain)
        })
        .collect();
    let mut findings = Vec::new();
    let rust = workspace.files.iter().map(|file| (&file.path, comments::of_rust(&file.text)));
    let markdown = workspace.documents.iter().map(|(path, text)| (path, comments::of_markdown(text)));
    for (path, paragraphs) in rust.chain(markdown) {
        findings.extend(paragraphs.iter().flat_map(|paragraph| in_paragraph(&phrases, path, paragraph)));
    }
    findings
}

fn in_paragraph(phrases: &[(Regex, &str)], path: &str, paragraph: &Paragraph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (phrase, plain) in phrases {
        let fine = |captures: &Captures| captures.iter().skip(1).any(|group| group.is_some());
        for captures in phrase.captures_iter(&paragraph.text).filter(|captures| !fine(captures)) {
            let found = captures.get_match();
            let message = format!("\"{}\": write instead: {plain}", found.as_str());
            findings.push(RULE.finding(path, paragraph.line_at(found.start()), message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::places;

    fn count(prose: &str) -> usize {
        places(&RULE, &[("docs/a.md", prose)]).len()
    }

    #[test]
    fn phrases_are_found_across_lines_and_not_in_code() {
        let source = "/// The observer is\n/// Told.\nfn is_told() { g(\"is told\") } // `is told`\n";
        let files = [("crates/x/src/lib.rs", source), ("docs/a.md", "a\n\nHe was told.\n")];
        assert_eq!(places(&RULE, &files), ["crates/x/src/lib.rs:1", "docs/a.md:3"]);
    }

    #[test]
    fn bad_phrases() {
        for prose in [
            "As TeX has it, a base is one digit.",
            "Every so many layers.",
            "Whoever sets it clears it.",
            "It is written anew.",
            "A denied letter is none.",
            "What stands in the file.",
            "What became of it.",
            "Whether it is one.",
            "It runs on a thread of its own.",
            "It keeps those that match.",
            "The error says that it fails.",
            "Dequantised weights.",
        ] {
            assert_eq!(count(prose), 1, "{prose}");
        }
    }

    #[test]
    fn good_phrases() {
        for prose in [
            "They cannot be told apart.",
            "It decides whether a mini-batch sees the gap of its own weights; dequantized, not normalized.",
            "So many layers that it fails.",
            "It runs as user nobody, and nobody else writes it.",
            "Empty if there is none; none of its files is read.",
            "It stands for a sum and holds anyone's answer, whatever it is.",
            "As if they did not have it; as long as the files have it.",
            "The paper says “the model shall answer”; the phrase `is told` is code.",
        ] {
            assert_eq!(count(prose), 0, "{prose}");
        }
    }
}
