//! Multiple choice: the letter of the answer.

use super::final_answer;

/// The letter, A to J, that a response chooses.
pub fn letter(response: &str) -> Option<char> {
    let answer = final_answer(response)?;
    let inner = answer.trim_start_matches("\\text{").trim_start_matches("\\mathrm{");
    // The letter stands first, alone: "C", "(C)", "C. Paris", not the C of "Cats".
    let mut chars = inner.chars().skip_while(|c| matches!(c, '(' | '[' | '*' | '"' | '$' | ' '));
    let letter = chars.next()?.to_ascii_uppercase();
    let alone = chars.next().is_none_or(|c| !c.is_alphanumeric());
    (alone && ('A'..='J').contains(&letter)).then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters() {
        for (text, want) in [
            ("The answer is (C).", Some('C')),
            ("\\boxed{b}", Some('B')),
            ("\\boxed{\\text{D}}", Some('D')),
            ("<answer>A. Paris</answer>", Some('A')),
            ("The answer is Cats", None),
            ("A B C", None),
            ("\\boxed{7}", None),
        ] {
            assert_eq!(letter(text), want, "{text}");
        }
    }
}
