//! Prompt formats for questions.

use crate::error::Error;
use meno_engine::{ChatTemplate, Message};
use meno_eval::Problem;
use serde::{Deserialize, Serialize};

/// The form of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// The model's chat template, with the question as the user's turn.
    #[default]
    Chat,
    /// R1-Zero's plain preamble for a base model (R1 Table 1).
    R1Zero,
    /// The question alone.
    Plain,
}

/// R1 Table 1: requires thought and answer in their tags and does not prescribe how to think.
const R1_ZERO: &str = "A conversation between User and Assistant. The user asks a question, and the Assistant solves \
it. The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. The \
reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., \
<think> reasoning process here </think> <answer> answer here </answer>. User: {question}. Assistant:";

impl PromptStyle {
    /// Returns true if the tokenizer adds its special tokens (a chat template writes them itself).
    pub fn add_special(self) -> bool {
        self != PromptStyle::Chat
    }

    /// Builds the prompt of a problem.
    pub fn render(
        self,
        problem: &Problem,
        system: Option<&str>,
        template: Option<&ChatTemplate>,
    ) -> Result<String, Error> {
        match self {
            PromptStyle::Plain => Ok(problem.question.clone()),
            PromptStyle::R1Zero => Ok(R1_ZERO.replace("{question}", problem.question.trim_end_matches('.'))),
            PromptStyle::Chat => {
                let template = template.ok_or_else(|| Error::Setting {
                    key: "task.prompt",
                    value: "\"chat\"".into(),
                    expected: "the model has no chat template: use \"r1_zero\" or \"plain\"".into(),
                })?;
                let system = system.map(|s| Message::new("system", s));
                let turns: Vec<Message> = system.into_iter().chain([Message::new("user", &problem.question)]).collect();
                Ok(template.render(&turns, true, &serde_json::Map::new())?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_zero_ends_where_the_assistant_begins() {
        let problem = Problem { question: "What is 1+1?".into(), ..Problem::default() };
        let text = PromptStyle::R1Zero.render(&problem, None, None).unwrap();
        assert!(text.ends_with("User: What is 1+1?. Assistant:"), "{text}");
        assert!(PromptStyle::Chat.render(&problem, None, None).unwrap_err().to_string().contains("r1_zero"));
    }
}
