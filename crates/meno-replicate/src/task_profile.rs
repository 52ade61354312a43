//! `meno.json` of the trained models: which questions they understand, for `meno chat`.

use crate::tokenizer::prompt;
use meno_engine::task_profile::{QuestionPattern, TaskProfile};

/// What the models of a replication understand.
pub fn task_profile() -> TaskProfile {
    let sum = r"(\d{1,2}(?:[-+]\d{1,2}){1,4})";
    let question = |pattern: String, text: &str| QuestionPattern {
        pattern,
        ignore: Some(r"[\s?？=.。,!]".into()),
        prompt: prompt(text),
    };
    TaskProfile {
        description: "A miniature of DeepSeek-R1. It was taught sums and differences of numbers below 100, in English \
                      and in Chinese, worked out from left to right, every result between 0 and 499."
            .into(),
        examples: vec!["What is 47+85-29?".into(), "83-57+46".into(), "25+98-76等于多少？".into()],
        patterns: vec![
            question(format!("(?:[Ww]hatis|[Ww]hat's|[Cc]alc(?:ulate)?|[Cc]ompute)?{sum}"), "What is {1}?"),
            question(format!("(?:算|计算|请问)?{sum}(?:等于多少|是多少|等于几|得多少)?"), "{1}等于多少？"),
        ],
        fallback: "I was taught one thing: sums and differences of numbers below 100, up to four of them in a row, \
                    in English or in Chinese. Everything else is beyond my million parameters."
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_questions_become_prompts_and_other_lines_do_not() {
        let t = task_profile();
        assert_eq!(t.prompt("what is 47 + 85 - 29 ?"), Some(prompt("What is 47+85-29?")));
        assert_eq!(t.prompt("12+3="), Some(prompt("What is 12+3?")));
        assert_eq!(t.prompt("25+98-76等于多少？"), Some(prompt("25+98-76等于多少？")));
        assert_eq!(t.prompt("计算 1+2"), Some(prompt("1+2等于多少？")));
        for no in ["hello", "3*4", "1000+1", "12", "1+1; rm -rf /"] {
            assert_eq!(t.prompt(no), None, "{no}");
        }
    }
}
