//! Format (R1 §2.2.2): the reasoning and the answer are enclosed in their tags, with nothing else around them.

use super::{Input, Reward};

/// 1 for `<think>…</think><answer>…</answer>` (or without the answer tags, if they are not required), else 0.
///
/// An empty thought gets 0, because it would be the easiest thing to learn.
#[derive(Clone, Debug)]
pub struct FormatReward {
    /// Opening and closing tag of the reasoning.
    pub think: (String, String),
    /// Opening and closing tag of the answer; `None` accepts any text after the reasoning.
    pub answer: Option<(String, String)>,
}

impl Default for FormatReward {
    fn default() -> Self {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        FormatReward { think: pair("<think>", "</think>"), answer: Some(pair("<answer>", "</answer>")) }
    }
}

impl FormatReward {
    /// Returns true if `text`, the response to a prompt that ends with `prompt`, has the format.
    pub fn matches(&self, prompt: &str, text: &str) -> bool {
        let opened = prompt.trim_end().ends_with(&self.think.0);
        let Some(rest) = (if opened { Some(text) } else { text.trim_start().strip_prefix(self.think.0.as_str()) })
        else {
            return false;
        };
        let Some((thought, rest)) = rest.split_once(self.think.1.as_str()) else { return false };
        let answer = match &self.answer {
            None => Some(rest),
            Some((open, close)) => rest.trim().strip_prefix(open.as_str()).and_then(|r| r.strip_suffix(close.as_str())),
        };
        let tags = [Some(&self.think), self.answer.as_ref()];
        let clean = |part: &str| {
            !part.trim().is_empty()
                && tags.iter().flatten().all(|(a, b)| !part.contains(a.as_str()) && !part.contains(b.as_str()))
        };
        clean(thought) && answer.is_some_and(clean)
    }
}

impl Reward for FormatReward {
    fn name(&self) -> &str {
        "format"
    }
    fn score(&self, input: &Input) -> f32 {
        if !input.truncated && self.matches(&input.question.prompt_text, input.text) { 1.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_right_and_wrong() {
        let f = FormatReward::default();
        let yes = ["<think>a</think><answer>b</answer>", " <think>\na\n</think>\n\n<answer> b </answer>\n"];
        let no = [
            "",
            "a",
            "<think></think><answer>b</answer>",
            "<think> \n</think><answer>b</answer>",
            "<think>a</think><answer></answer>",
            "<think>a</think>b",
            "<think>a<answer>b</answer>",
            "x <think>a</think><answer>b</answer>",
            "<think>a</think><answer>b</answer> more",
            "<think>a</think><think>c</think><answer>b</answer>",
            "<think>a</think><answer>b</answer><answer>c</answer>",
            "<think>a<think>c</think><answer>b</answer>",
        ];
        for text in yes {
            assert!(f.matches("", text), "{text}");
        }
        for text in no {
            assert!(!f.matches("", text), "{text}");
        }
        // If the prompt opened the thought, the response must not open it again.
        assert!(f.matches("Assistant: <think>\n", "a</think><answer>b</answer>"));
        assert!(!f.matches("Assistant: <think>\n", "<think>a</think><answer>b</answer>"));
        let free = FormatReward { answer: None, ..FormatReward::default() };
        assert!(free.matches("", "<think>a</think> so b"));
        assert!(!free.matches("", "<think>a</think>"));
    }
}
