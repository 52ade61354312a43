//! Verifiers: whether a response answers its question rightly.

pub mod choice;
pub mod code;
pub mod countdown;
pub mod math;

use serde::{Deserialize, Serialize};

/// What a verifier says of a response. The four are counted apart: a truncated response is not a wrong thought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer is right.
    Right,
    /// There is an answer and it is wrong.
    #[default]
    Wrong,
    /// The response ran into the length limit.
    Truncated,
    /// No answer could be found in the response.
    Unparsable,
}

/// What stands in the one pair of `<answer>` tags. Several answers are no answer: a guess in each would pay.
pub fn tagged(response: &str) -> Option<&str> {
    let (_, rest) = response.split_once("<answer>")?;
    let (answer, after) = rest.split_once("</answer>")?;
    (!answer.contains("<answer>") && !after.contains("<answer>")).then_some(answer)
}

/// What stands in the last `\boxed{…}`, braces matched.
pub fn boxed(response: &str) -> Option<&str> {
    let start = response.rfind("\\boxed{")? + "\\boxed{".len();
    let mut depth = 1usize;
    for (i, c) in response[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&response[start..start + i]);
        }
    }
    None
}

/// The part of a response after its reasoning: what follows the last `</think>`, or all of it.
pub fn after_thinking(response: &str) -> &str {
    response.rsplit_once("</think>").map_or(response, |(_, rest)| rest)
}

/// The answer of a response in free text: the tags, else the last box, else what follows "answer is" (or 答案是), in
/// what stands after the reasoning. `None` if there is nothing of the kind.
pub fn final_answer(response: &str) -> Option<&str> {
    let text = after_thinking(response);
    if text.contains("<answer>") {
        return tagged(text).map(str::trim);
    }
    if let Some(answer) = boxed(text) {
        return Some(answer.trim());
    }
    // Lower-casing keeps byte positions for ASCII only, which is all that is sought in it.
    let lower = text.to_ascii_lowercase();
    let (at, len) =
        ["answer is", "answer:", "答案是", "答案："].iter().filter_map(|m| Some((lower.rfind(m)?, m.len()))).max()?;
    let line = text[at + len..].lines().next()?.trim().trim_start_matches(':').trim();
    let line = line.trim_end_matches(['.', '。', '!']).trim();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found() {
        assert_eq!(final_answer("<think>\\boxed{1}</think>so \\boxed{\\frac{1}{2}} ok"), Some("\\frac{1}{2}"));
        assert_eq!(final_answer("<think>a</think><answer> 7 </answer>"), Some("7"));
        assert_eq!(final_answer("The answer is: 42."), Some("42"));
        assert_eq!(final_answer("所以答案是 42。"), Some("42"));
        assert_eq!(final_answer("\\boxed{1"), None);
        assert_eq!(final_answer("nothing"), None);
        assert_eq!(final_answer("<answer>1</answer><answer>2</answer>"), None);
        assert_eq!(boxed("\\boxed{\\boxed{3}}"), Some("3"));
    }
}
