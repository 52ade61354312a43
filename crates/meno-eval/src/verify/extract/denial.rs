//! Words that deny or doubt an answer. Boxes, phrases, unmarked answers and choices use the same lists.

use super::text::{tail_of, words as plain_words};

/// Words that deny their context. A word that ends in "n't" does too.
const DENIALS: [&str; 23] = [
    "not",
    "cannot",
    "never",
    "no",
    "neither",
    "nor",
    "wrong",
    "wrongly",
    "false",
    "falsely",
    "incorrect",
    "incorrectly",
    "mistaken",
    "mistakenly",
    "untrue",
    "impossible",
    "invalid",
    "than",
    "except",
    "without",
    "doubt",
    "doubtful",
    "deny",
];

/// Words that deny only the words after them.
const DENIALS_BEFORE: [&str; 6] = ["mistake", "error", "nobody", "fails", "failed", "far"];

/// Words after an answer that deny it by themselves.
const VERDICTS: [&str; 8] = ["wrong", "false", "incorrect", "mistaken", "untrue", "impossible", "invalid", "nonsense"];

/// Words that leave it open whether their context is the answer.
const DOUBTS: [&str; 19] = [
    "maybe",
    "perhaps",
    "possibly",
    "probably",
    "could",
    "might",
    "may",
    "unsure",
    "uncertain",
    "unknown",
    "guess",
    "either",
    "unlikely",
    // A vague amount is not a value.
    "about",
    "around",
    "roughly",
    "nearly",
    "almost",
    "close",
];

/// Words between a denial and the denied answer: "it is false that the answer is".
const BEFORE: [&str; 47] = [
    "be", "is", "are", "was", "been", "have", "has", "equal", "equals", "to", "the", "a", "an", "answer", "answers",
    "final", "value", "result", "solution", "choice", "option", "simply", "actually", "really", "just", "that", "it",
    "of", "correct", "right", "true", "case", "say", "claim", "state", "conclude", "think", "believe", "this", "from",
    "says", "thinks", "believes", "claims", "our", "my", "would",
];

/// Words between an answer and its denial: ", but that would be".
const AFTER: [&str; 44] = [
    "no",
    "but",
    "however",
    "although",
    "though",
    "and",
    "which",
    "that",
    "that's",
    "this",
    "it",
    "it's",
    "answer",
    "is",
    "was",
    "would",
    "be",
    "are",
    "must",
    "to",
    "clearly",
    "obviously",
    "definitely",
    "certainly",
    "actually",
    "really",
    "of",
    "course",
    "the",
    "has",
    "seems",
    "looks",
    "simply",
    "also",
    "value",
    "result",
    "i",
    "think",
    "believe",
    "wait",
    "oh",
    "hmm",
    "can",
    "should",
];

/// True if a word, in lower case, denies.
pub(in crate::verify) fn is_denial(word: &str) -> bool {
    DENIALS.contains(&word) || is_contraction(word)
}

/// True if a word, in lower case, doubts.
pub(in crate::verify) fn is_doubt(word: &str) -> bool {
    DOUBTS.contains(&word)
}

/// True if a text contains words that deny or doubt.
pub(in crate::verify) fn has_denial_or_doubt(text: &str) -> bool {
    let words: Vec<String> = words(text).collect();
    let says = |index: usize| {
        let word = words[index].as_str();
        is_denial(word) || is_doubt(word) && !is_of_the_subject(&words, index)
    };
    (0..words.len()).any(says) || ["不是", "并非", "不等于", "不对"].iter().any(|w| text.contains(w))
}

/// True if a sentence gives no definite answer.
pub(super) fn is_unsure(sentence: &str) -> bool {
    let open = |w: &str| matches!(w, "between" | "or" | "least" | "most" | "more" | "less" | "fewer" | "but");
    has_denial_or_doubt(sentence) || plain_words(sentence).any(|w| open(&w)) || sentence.trim_end().ends_with('?')
}

/// True if a doubt is in a clause about the question: "the number of points that could be in the domain is".
fn is_of_the_subject(words: &[String], index: usize) -> bool {
    let relative = index > 0 && ["that", "which", "who"].contains(&words[index - 1].as_str());
    let verb = |word: &String| ["is", "are", "equals"].contains(&word.as_str());
    relative
        && index > 1
        && !["think", "believe", "say", "guess"].contains(&words[index - 2].as_str())
        && words[index + 1..].iter().any(verb)
}

fn is_contraction(word: &str) -> bool {
    word.ends_with("n't")
}

/// The words of a text in lower case, including apostrophes.
fn words(text: &str) -> impl DoubleEndedIterator<Item = String> {
    text.split(|c: char| !c.is_alphabetic() && c != '\'' && c != '’')
        .map(|w| w.replace('’', "'").to_lowercase())
        .map(|w| w.trim_matches('\'').to_owned())
        .filter(|w| !w.is_empty())
}

fn is_border(c: char) -> bool {
    c.is_whitespace() || matches!(c, '$' | '(' | ')' | '[' | ']' | '\\' | '*' | '_' | '}' | '"' | '”' | '“')
}

/// True if the words before an answer deny it: "not …", "it is false that the answer is …", "6 rather than …".
pub(in crate::verify) fn denied_before(before: &str) -> bool {
    let end = tail_of(before, 160).trim_end_matches(is_border);
    if end.ends_with("~~") || end.ends_with(['不', '非', '别', '勿']) {
        return true;
    }
    let Some(word) = governing_word(end) else { return false };
    // "No: 5" denies the previous statement.
    (is_denial(&word) || DENIALS_BEFORE.contains(&word.as_str())) && (word != "no" || !end.ends_with(':'))
}

/// True if the words before an answer doubt it: "perhaps the answer is …".
pub(in crate::verify) fn doubted_before(before: &str) -> bool {
    governing_word(tail_of(before, 160).trim_end_matches(is_border)).is_some_and(|word| is_doubt(&word))
}

/// The last word of the clause before an answer that affects the answer.
fn governing_word(end: &str) -> Option<String> {
    let end = end.trim_end_matches(':').trim_end_matches(is_border);
    let clause = end.rsplit(['.', ',', ';', '!', '?', '\n', ':']).next().unwrap_or(end);
    let mut next = String::new();
    let mut words = words(clause).rev().peekable();
    while let Some(word) = words.next() {
        // "There is no doubt that".
        if word == "doubt" && words.peek().is_some_and(|w| matches!(w.as_str(), "no" | "without")) {
            return None;
        }
        if word == "instead" && next == "of" {
            return Some("not".to_owned());
        }
        if !BEFORE.contains(&word.as_str()) {
            // "The largest prime less than 7 is": the bound is a different value.
            let bound = word == "than"
                && clause.rsplit("than").next().is_some_and(|rest| {
                    rest.trim_end().ends_with(char::is_alphabetic)
                        && rest.contains(|c: char| c.is_ascii_digit() || c == '$')
                });
            return (!bound).then_some(word);
        }
        next = word;
    }
    None
}

/// Words at the start of a sentence that retract the previous statement.
const RETRACTS: [&str; 14] = [
    "wait",
    "correction",
    "oops",
    "scratch that",
    "hold on",
    "i disagree",
    "we disagree",
    "i made a mistake",
    "i was wrong",
    "my mistake",
    "on second thought",
    "let me correct",
    "i take that back",
    "that is wrong",
];

/// True if a sentence soon after an answer retracts it: "Wait, …", "No, it is …", "Correction: …", "I disagree."
pub(in crate::verify) fn retracted(after: &str) -> bool {
    let near: String = after.chars().take(400).collect::<String>().replace('’', "'").to_lowercase();
    let sentences = near.split(['.', '!', '?', '\n', ';', '—', '(', '}', '$']);
    // Text after a comma or a dash continues the sentence of the answer.
    sentences.enumerate().any(|(index, sentence)| {
        let text = sentence.trim_start_matches(|c: char| !c.is_alphabetic());
        if index == 0 && text.len() < sentence.len() && sentence.trim_start().starts_with(|c: char| c.is_ascii_digit())
        {
            return false;
        }
        let follows = |word: &str| {
            let rest = text.strip_prefix(word)?;
            (!rest.starts_with(char::is_alphabetic)).then_some(rest)
        };
        let next = |rest: &str| words(rest).next().unwrap_or_default();
        RETRACTS.iter().any(|word| follows(word).is_some())
            || follows("no").is_some_and(|rest| {
                rest.trim().is_empty()
                    || rest.starts_with([',', ':'])
                    || ["wait", "i", "it", "it's", "that", "that's", "this"].contains(&next(rest).as_str())
            })
            || follows("actually").is_some_and(|rest| {
                let value = rest.trim_start_matches([',', ' ']).starts_with(|c: char| c.is_ascii_digit() || c == '\\');
                value || ["it", "it's", "no", "that", "that's", "i", "wait", "the"].contains(&next(rest).as_str())
            })
    })
}

/// True if the words after an answer deny it: "… is wrong", "…, but that is incorrect". A question mark denies it too.
pub(in crate::verify) fn denied_after(after: &str) -> bool {
    if retracted(after) {
        return true;
    }
    let whole: String = after.chars().take(160).collect();
    let text = whole.trim_start_matches(|c: char| is_border(c) && c != '(');
    let line = whole[..whole.len() - text.len()].contains('\n');
    if text.starts_with(['?', '？', '✗', '✘', '❌', '☒']) || text.starts_with("~~") || text.starts_with("不对")
    {
        return true;
    }
    // In a separate clause only plain words deny: ", which is not 6" is an explanation.
    let apart = line || text.starts_with(|c: char| !c.is_alphabetic());
    let text = text.trim_start_matches(|c: char| !c.is_alphabetic());
    let mut rest = text;
    while let Some(start) = rest.find(char::is_alphabetic) {
        let (gap, word) = rest.split_at(start);
        if gap.contains(['.', ';', '\n']) {
            return false;
        }
        let len = word.find(|c: char| !c.is_alphabetic() && c != '\'' && c != '’').unwrap_or(word.len());
        rest = &word[len..];
        let word = word[..len].replace('’', "'").to_lowercase();
        if AFTER.contains(&word.as_str()) {
            continue;
        }
        let clause = rest.split(['.', ',', ';', '!', '\n']).next().unwrap_or(rest);
        let following: Vec<String> = words(clause).take(3).collect();
        let reason = following.first().is_some_and(|w| matches!(w.as_str(), "because" | "since" | "as"));
        if VERDICTS.contains(&word.as_str()) {
            return !apart || following.is_empty() || reason;
        }
        let right = following.iter().any(|w| {
            matches!(w.as_str(), "correct" | "right" | "true" | "valid" | "possible" | "answer" | "solution" | "case")
        });
        return (is_contraction(&word) || matches!(word.as_str(), "not" | "cannot" | "never")) && (!apart || right);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_before_an_answer() {
        for before in [
            "The answer is not ",
            "It is false that the answer is $",
            "It would be incorrect to say that the answer is ",
            "It isn't true that the answer is ",
            "I don't think the answer is ",
            "The answer cannot be ",
            "I doubt that the answer is ",
            "The wrong answer: ",
            "It is 6 rather than ",
            "It is 6 instead of ",
            "~~",
        ] {
            assert!(denied_before(before), "{before}");
        }
        for before in [
            "Since 3 is not a root, the answer is ",
            "It is not hard to see that we get ",
            "6 does not work. The answer is ",
            "This is wrong: the answer is ",
            "No, the answer is ",
            "There is no doubt that the answer is ",
            "The largest prime less than 7 is $",
            "",
        ] {
            assert!(!denied_before(before), "{before}");
        }
    }

    #[test]
    fn denials_after_an_answer() {
        for after in [
            " is wrong",
            "$ is not the answer",
            ", but that is incorrect.",
            " would be wrong",
            " can't be right",
            " cannot be the answer",
            ". But that is wrong.",
            ", which is incorrect because 6 fits",
            "? No.",
            ". Wait, no: 6.",
            ". No wait, it is 6.",
            "\nCorrection: 6",
            " No, I made a mistake.",
            ". I disagree.",
            ". Actually, it is 6.",
            "$ isn't right",
        ] {
            assert!(denied_after(after), "{after}");
        }
        for after in [
            ", which is not divisible by 3.",
            ". It is wrong to divide by 2 here.",
            ". It is not necessary to check more.",
            " because 6 is wrong",
            ", not 6",
            ". No other value fits.",
            ". We do not have to wait long.",
            "\n\nWrong answers come from a sign error.",
            "",
        ] {
            assert!(!denied_after(after), "{after}");
        }
    }
}
