//! Every committed recipe can be read, and its data files give the expected examples.

#![allow(clippy::unwrap_used)]

use meno_engine::{ChatTemplate, Tokenizer};
use meno_eval::tasks;
use meno_train::prompt::PromptStyle;
use meno_train::recipe::{self, DistillRecipe, EvalRecipe, GrpoRecipe, PretrainRecipe, SampleRecipe, SftRecipe};
use meno_train::sft::ExampleReader;
use serde_json::json;
use std::path::{Path, PathBuf};

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes")
}

fn toml_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(toml_files(&path));
        } else if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_recipe_is_read_by_its_verb() {
    let files = toml_files(&recipes());
    assert!(files.len() >= 20, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let verb = text.lines().find_map(|l| l.strip_prefix("#   meno ")).and_then(|l| l.split(' ').next());
        let result = match verb {
            // A recipe at full size shows how to plan it.
            Some("pretrain" | "plan") => recipe::load::<PretrainRecipe>(&path, &[]).map(drop),
            Some("sft") => recipe::load::<SftRecipe>(&path, &[]).map(drop),
            Some("grpo") => recipe::load::<GrpoRecipe>(&path, &[]).map(drop),
            Some("sample") => recipe::load::<SampleRecipe>(&path, &[]).map(drop),
            Some("eval") => recipe::load::<EvalRecipe>(&path, &[]).map(drop),
            Some("distill") => recipe::load::<DistillRecipe>(&path, &[]).map(drop),
            other => panic!("{}: its head should show its command, found {other:?}", path.display()),
        };
        result.unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn paper_values_stand_in_their_recipes() {
    let r: GrpoRecipe = recipe::load(&recipes().join("r1-zero.toml"), &[]).unwrap();
    let per_step = r.grpo.num_questions / r.grpo.steps_per_generation;
    assert_eq!((per_step, r.grpo.num_generations, r.grpo.ref_model_sync_steps), (32, 16, 400));
    assert_eq!((r.train.learning_rate, r.grpo.beta, r.grpo.epsilon), (3e-6, 0.001, 10.0));
    let r: SftRecipe = recipe::load(&recipes().join("r1/1-cold-start-sft.toml"), &[]).unwrap();
    assert!((r.train.learning_rate * r.train.min_lr_rate - 5e-6).abs() < 1e-9);
}

#[test]
fn the_tiny_data_is_whole() {
    let tokenizer = Tokenizer::load(&recipes().join("tiny/model")).unwrap();
    let reader = ExampleReader { tokenizer: &tokenizer, template: None, max_tokens: 256, max_length: None };
    let data = reader.read(&[recipes().join("tiny/cold-start.jsonl").into()]).unwrap();
    let examples = data.examples;
    assert_eq!((examples.len() > 100, data.account.notes().len()), (true, 0));
    let eos = tokenizer.eos()[0];
    for e in &examples {
        assert!(e.prompt > 0 && e.prompt < e.tokens.len() && e.tokens.last() == Some(&eos));
        let (prompt, answer) = e.tokens.split_at(e.prompt);
        assert!(
            tokenizer.decode(prompt, false).starts_with("What is ") || tokenizer.decode(prompt, false).contains("等于")
        );
        assert!(tokenizer.decode(answer, false).starts_with("<think>"));
    }
    let questions =
        tasks::open(&recipes().join("tiny/questions.jsonl").display().to_string(), &tasks::TaskOptions::default())
            .unwrap();
    let problem = questions.problem(meno_eval::Split::Train, 0);
    let prompt = PromptStyle::Plain.render(&problem, None, None).unwrap();
    let response = format!("<think>x</think><answer>{}</answer>", problem.answer);
    assert_eq!(questions.verify(&problem, &response, false), meno_eval::Verdict::Right, "{prompt}");
}

#[test]
fn every_assistant_turn_is_an_example_as_generation_sees_it() {
    let tokenizer = Tokenizer::load(&recipes().join("tiny/model")).unwrap();
    // Drops the thoughts of earlier turns, as in R1's template, and opens the thought of the next.
    let source = "{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] }}{% endfor %}\
                  {% if add_generation_prompt %}[assistant]<think>{% endif %}";
    let template = ChatTemplate::new(source, tokenizer.special()).unwrap();
    let line = json!({"messages": [
        {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "<think>a</think>2"},
        {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "<think>b</think>4"},
    ]});
    let reader = |template| ExampleReader { tokenizer: &tokenizer, template, max_tokens: 256, max_length: None };
    let examples = reader(Some(&template)).examples(line.clone()).unwrap();
    let text = |tokens: &[u32]| tokenizer.decode(tokens, false);
    let split: Vec<(String, String)> =
        examples.iter().map(|e| (text(&e.tokens[..e.prompt]), text(&e.tokens[e.prompt..]))).collect();
    assert_eq!(split[0].0, "[user]1+1?[assistant]<think>");
    assert!(split[0].1.starts_with("a</think>2"), "{}", split[0].1);
    assert_eq!(split[1].0, "[user]1+1?[assistant]2[user]2+2?[assistant]<think>");
    assert!(split[1].1.starts_with("b</think>4"), "{}", split[1].1);
    let error = |line| reader(Some(&template)).examples(line).unwrap_err();
    assert!(error(json!({"messages": []})).contains("assistant"));
    assert!(error(json!({"messages": [{"role": "assistant"}]})).contains("there is no `content`"));
    assert!(error(json!({"text": "x"})).contains("its keys are `text`"));
    assert!(reader(None).examples(line).unwrap_err().contains("no chat template"));
}
