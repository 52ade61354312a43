//! The training data of `meno sft`: conversations token by token as in transformers (`dev/reference/sft_examples.py`),
//! every data format, masks, long examples.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::tokenizer::Special;
use meno_engine::{ChatTemplate, Tokenizer};
use meno_train::data::{DataFile, Example};
use meno_train::sft::ExampleReader;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(path)).unwrap()).unwrap()
}

const EOS: &str = "<｜end▁of▁sentence｜>";

/// The small tokenizer with the special tokens of a template; the first `ends` of them end an answer.
fn tokenizer(special: &[&str], ends: usize) -> Tokenizer {
    let mut json = read("../meno-engine/tests/fixtures/small_tokenizer/tokenizer.json");
    let added = json["added_tokens"].as_array_mut().unwrap();
    let first = 1 + added.iter().map(|t| t["id"].as_u64().unwrap()).max().unwrap();
    let id = |i: usize| first + i as u64;
    for (i, text) in special.iter().enumerate() {
        added.push(json!({ "id": id(i), "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                           "normalized": false, "special": true }));
    }
    let mut eos: Vec<(String, u32)> = (0..ends).map(|i| (special[i].to_owned(), id(i) as u32)).collect();
    eos.push((EOS.into(), 1));
    let bos = Some(("<｜begin▁of▁sentence｜>".into(), 0));
    Tokenizer::from_json(&json.to_string(), Special { bos, eos, ..Special::default() }).unwrap()
}

#[test]
fn conversations_as_in_transformers() {
    let golden = read("tests/fixtures/sft.json");
    let published = read("../meno-engine/tests/fixtures/published_templates.json");
    let (mut same, mut refused, mut wrong) = (0, 0, Vec::new());
    for row in golden["rows"].as_array().unwrap() {
        let name = row["template"].as_str().unwrap();
        let templates = published["templates"].as_array().unwrap();
        let source = templates.iter().find(|t| t["name"] == name).unwrap()["template"].as_str().unwrap();
        let special: Vec<&str> = row["special"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let tokenizer = tokenizer(&special, row["ends"].as_u64().unwrap() as usize);
        let template = ChatTemplate::new(source, tokenizer.special()).unwrap();
        let mut record = golden["conversations"][row["conversation"].as_u64().unwrap() as usize].clone();
        record["chat_template_kwargs"] = json!({ "date_string": "26 Jul 2024" });
        let reader =
            ExampleReader { tokenizer: &tokenizer, template: Some(&template), max_tokens: 4096, max_length: None };
        let at = format!("{name}, conversation {}", row["conversation"]);
        let expected = row["examples"].as_array().unwrap();
        match (reader.examples(record), expected.iter().any(|e| !e["refused"].is_null())) {
            (Err(_), true) => refused += 1,
            (Err(e), false) => wrong.push(format!("{at}: {e}")),
            (Ok(_), true) => wrong.push(format!("{at}: {expected:?} and yet examples")),
            (Ok(examples), false) => {
                assert_eq!(examples.len(), expected.len(), "{at}");
                for (example, expected) in examples.iter().zip(expected) {
                    let ids = |key: &str| -> Vec<u32> { serde_json::from_value(expected[key].clone()).unwrap() };
                    let (prompt, completion) = example.tokens.split_at(example.prompt);
                    // A prompt that contains today's date changes every day.
                    let dated = source.contains("strftime_now") && !source.contains("date_string");
                    if completion != ids("completion_ids") || !dated && prompt != ids("prompt_ids") {
                        let text = |ids: &[u32]| tokenizer.decode(ids, false);
                        let expected = [text(&ids("prompt_ids")), text(&ids("completion_ids"))];
                        wrong.push(format!(
                            "{at}\n  transformers {expected:?}\n  Meno         {:?}",
                            [text(prompt), text(completion)]
                        ));
                    } else {
                        same += 1;
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {same} the same, {refused} refused:\n{}", wrong.len(), wrong.join("\n"));
    assert!(same > 85 && refused > 15, "{same} the same, {refused} refused");
}

const CHATML: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}\
                      {% if add_generation_prompt %}<|assistant|>{% endif %}";

/// Returns the prompts and completions, as text, of a record with a template of this source.
fn texts(source: Option<&str>, record: Value) -> Result<Vec<(String, String)>, String> {
    let tokenizer = tokenizer(&[], 0);
    let template = source.map(|s| ChatTemplate::new(s, tokenizer.special()).unwrap());
    let reader =
        ExampleReader { tokenizer: &tokenizer, template: template.as_ref(), max_tokens: 4096, max_length: None };
    let text = |ids: &[u32]| tokenizer.decode(ids, false).replace(EOS, "$");
    let both = |e: &Example| (text(&e.tokens[..e.prompt]), text(&e.tokens[e.prompt..]));
    reader.examples(record).map(|examples| examples.iter().map(both).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

#[test]
fn every_form_of_data() {
    let one = pairs(&[("<|user|>q$<|assistant|>", "a$")]);
    let with_system = pairs(&[("<|system|>s$<|user|>q$<|assistant|>", "a$")]);
    let two = pairs(&[("<|user|>q$<|assistant|>", "a$"), ("<|user|>q$<|assistant|>a$<|user|>r$<|assistant|>", "b$")]);
    let message = |role: &str, content: &str| json!({ "role": role, "content": content });
    let (q, a, r, b) =
        (message("user", "q"), message("assistant", "a"), message("user", "r"), message("assistant", "b"));
    let from = |from: &str, value: &str| json!({ "from": from, "value": value });
    for (record, expected) in [
        (json!({ "messages": [q, a] }), &one),
        (json!({ "messages": [q, a, r, b] }), &two),
        (json!({ "messages": [q, a], "system": "s", "id": 7, "tools": [], "score": null }), &with_system),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "q" }], "name": null }, a] }),
            &one,
        ),
        (json!({ "prompt": [q], "completion": [a], "messages": null }), &one),
        (json!({ "prompt": [q, a, r], "completion": [b] }), &pairs(&[(&two[1].0, "b$")])),
        (json!({ "question": "q", "answer": "a" }), &one),
        (json!({ "question": 1, "answer": 2.5 }), &pairs(&[("<|user|>1$<|assistant|>", "2.5$")])),
        (json!({ "problem": "q", "solution": "a", "answer": "x" }), &one),
        (json!({ "problem": "q", "solution": null, "answer": "a" }), &one),
        (json!({ "conversations": [from("human", "q"), from("gpt", "a")] }), &one),
        (json!({ "conversations": [from("system", "s"), from("user", "q"), from("assistant", "a")] }), &with_system),
        (json!({ "conversations": [q, a, r, b], "system": null }), &two),
        (json!({ "instruction": "q", "output": "a" }), &one),
        (json!({ "instruction": "q", "input": "", "output": "a", "system": "s" }), &with_system),
        (json!({ "instruction": "q", "input": "i", "output": "a" }), &pairs(&[("<|user|>q\ni$<|assistant|>", "a$")])),
        (json!({ "instruction": "r", "output": "b", "history": [["q", "a"]] }), &two),
        // The cells of a CSV file are texts.
        (json!({ "messages": json!([q, a]).to_string() }), &one),
        (json!({ "prompt": json!([q]).to_string(), "completion": json!([a]).to_string() }), &one),
        (json!({ "instruction": "r", "output": "b", "history": "[[\"q\", \"a\"]]" }), &two),
        (json!({ "prompt": "as it", "completion": " is" }), &pairs(&[("as it", " is$")])),
    ] {
        assert_eq!(texts(Some(CHATML), record.clone()).as_ref(), Ok(expected), "{record}");
    }
    // Without a template, a single question is asked plainly, as with `task.prompt = "plain"`.
    for record in [json!({ "question": "q", "answer": "a" }), json!({ "instruction": "q", "output": "a" })] {
        assert_eq!(texts(None, record), Ok(pairs(&[("q", "a$")])));
    }
    for record in [json!({ "messages": [q, a] }), json!({ "instruction": "q", "output": "a", "system": "s" })] {
        assert!(texts(None, record).unwrap_err().contains("no chat template"));
    }
}

#[test]
fn masks_choose_the_answers_that_are_trained_on() {
    let q = json!({ "role": "user", "content": "q", "weight": null });
    let first = pairs(&[("<|user|>q$<|assistant|>", "a$")]);
    let second = pairs(&[("<|user|>q$<|assistant|>a$<|user|>q$<|assistant|>", "b$")]);
    let both = [first.clone(), second.clone()].concat();
    for (a, b, expected) in [
        (json!({}), json!({}), &both),
        (json!({ "weight": 1 }), json!({ "loss_mask": 1.0 }), &both),
        (json!({ "weight": 0 }), json!({ "weight": 1 }), &second),
        (json!({ "loss_mask": 0 }), json!({}), &second),
        (json!({}), json!({ "train": false }), &first),
        (json!({ "loss": true }), json!({ "loss": false }), &first),
        (json!({ "weight": 0 }), json!({ "weight": 0.0 }), &vec![]),
    ] {
        let turn = |mut m: Value, text: &str| {
            m["role"] = "assistant".into();
            m["content"] = text.into();
            m
        };
        let record = json!({ "messages": [q, turn(a.clone(), "a"), q, turn(b.clone(), "b")] });
        assert_eq!(texts(Some(CHATML), record).as_ref(), Ok(expected), "{a} {b}");
    }
    let sharegpt = json!({ "conversations": [
        { "from": "human", "value": "q" }, { "from": "gpt", "value": "a", "weight": 0 },
        { "from": "human", "value": "q" }, { "from": "gpt", "value": "b" },
    ] });
    assert_eq!(texts(Some(CHATML), sharegpt), Ok(second));
}

#[test]
fn nothing_of_a_message_is_ignored() {
    let error = |record: Value| texts(Some(CHATML), record.clone()).expect_err(&record.to_string());
    let with = |key: &str, value: Value| {
        let mut answer = json!({ "role": "assistant", "content": "a" });
        answer[key] = value;
        json!({ "messages": [{ "role": "user", "content": "q" }, answer] })
    };
    for (record, expected) in [
        (with("contnet", "x".into()), "`messages[1]`: unknown key `contnet`; expected role, content, tool_calls"),
        (with("weight", 0.5.into()), "`messages[1].weight` is 0.5; expected 0 or 1"),
        (with("role", "asistant".into()), "`messages[1].role` is \"asistant\"; expected system, developer, user"),
        (with("content", Value::Null), "`messages[1]`: there is no `content`; its keys are `role`"),
        (with("content", json!([{ "type": "image_url", "image_url": "x" }])), "only text parts are trained on"),
        (with("reasoning_content", "why".into()), "message 2: the chat template drops its thought"),
        (with("reasoning_content", 1.into()), "`messages[1].reasoning_content` is 1, expected a string"),
        (
            with("tool_calls", json!([{ "function": { "name": "f", "arguments": "{" } }])),
            "`messages[1].tool_calls[0].function.arguments` is not JSON",
        ),
        (
            with("tool_calls", json!([{ "function": { "name": "fn_name", "arguments": "{}" } }])),
            "message 2: the chat template does not write the call of \"fn_name\"",
        ),
        (json!({ "messages": [{ "role": "user", "content": "q", "weight": 1 }] }), "only answers of the assistant"),
        (json!({ "messages": [{ "role": "user", "content": "q", "reasoning": "w" }] }), "only the assistant thinks"),
        (json!({ "messages": [{ "role": "user", "content": "q" }] }), "no message whose `role` is \"assistant\""),
        (json!({ "messages": [7] }), "`messages[0]` is 7, expected a message"),
        (json!({ "messages": 7 }), "`messages` is not a list"),
        (json!({ "conversations": [{ "from": "alien", "value": "q" }] }), "`conversations[0].from` is \"alien\""),
        (json!({ "conversations": [{ "from": "human", "value": "q", "markdown": 1 }] }), "unknown key `markdown`"),
        (json!({ "prompt": "q", "completion": [] }), "expected two strings, or two lists of messages"),
        (json!({ "prompt": "q", "completion": "a", "reasoning": "w" }), "`reasoning` next to a string"),
        (json!({ "question": "q", "answer": "a", "tools": [{ "name": "fn_name" }] }), "does not write `tools`"),
        (json!({ "prompt": "q", "completion": "a", "system": "s" }), "`system` next to a string: put it into `prompt`"),
        (json!({ "question": "q" }), "its keys are `question`"),
        (
            json!({ "question": "q", "answer": "a", "reasoning": "one", "reasoning_content": "two" }),
            "`reasoning_content` and `reasoning` hold different thoughts",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "q" },
                { "role": "assistant", "content": "a", "reasoning": "one", "thinking": "two" }] }),
            "`messages[1].reasoning` and `messages[1].thinking` hold different thoughts",
        ),
        (json!({ "question": "q", "answer": "a", "weight": 0.5 }), "`weight` is 0.5; expected 0 or 1"),
        (json!({ "prompt": "q", "completion": "a", "loss_mask": "x" }), "`loss_mask` is \"x\"; expected 0 or 1"),
        (
            json!({ "prompt": "q", "completion": "a", "messages": [{ "role": "assistant", "content": "b" }] }),
            "has `messages` together with `prompt` and `completion`",
        ),
        (
            json!({ "conversations": [], "messages": [{ "role": "assistant", "content": "b" }] }),
            "has `messages` and `conversations`, and they differ",
        ),
        (json!([1]), "expected an object, found a list"),
    ] {
        let error = error(record);
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
    // The order of the messages: an answer must follow a message that is not an answer.
    let (user, answer) = (json!({ "role": "user", "content": "q" }), json!({ "role": "assistant", "content": "a" }));
    let system = json!({ "role": "system", "content": "s" });
    for (list, expected) in [
        (json!([user, answer, answer]), "messages 2 and 3 are both the assistant's"),
        (json!([answer, user, answer]), "message 1 is an answer, and no message of a user comes before it"),
        (json!([system, answer]), "message 2 is an answer, and no message of a user"),
    ] {
        let error = error(json!({ "messages": list }));
        assert!(error.contains(expected), "{error}");
    }
    let greeting = json!({ "role": "assistant", "content": "hi", "weight": 0 });
    let record = json!({ "messages": [greeting, user, answer] });
    assert_eq!(texts(Some(CHATML), record), Ok(pairs(&[("<|assistant|>hi$<|user|>q$<|assistant|>", "a$")])));
    // A template that fails on tool calls with its own error.
    let no_calls = CHATML.replace("{{ m.content }}", "{{ m.content | length }}{{ m.tool_calls.first }}{{ m.x.y }}");
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [{ "function": { "name": "f" } }] });
    let error = texts(Some(&no_calls), json!({ "messages": [user, call] })).unwrap_err();
    assert!(error.starts_with("message 2: ") && error.contains("does the chat template know them?"), "{error}");
    // A template that writes only some roles drops the others. This is detected even if the text occurs elsewhere.
    let some = "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}<|{{ m.role }}|>{{ m.content }}$\
                {% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
    let system = json!({ "question": "q", "answer": "a", "system": "u" });
    let error = texts(Some(some), system).unwrap_err();
    assert!(error.contains("does not write the message of role \"system\""), "{error}");
    let tool = json!({ "question": "q", "answer": "a", "tools": [{ "name": "s" }] });
    let error = texts(Some(some), tool).unwrap_err();
    assert!(error.contains("does not write `tools`"), "{error}");
    // A key that the template reads is supported.
    let reads = CHATML.replace("{{ m.content }}", "{{ m.content }}{{ m.mood }}");
    let record = with("mood", "!".into());
    assert_eq!(texts(Some(&reads), record), Ok(pairs(&[("<|user|>q$<|assistant|>", "a!$")])));
}

#[test]
fn thoughts_of_earlier_answers_are_as_generation_sees_them() {
    // As in R1's template: answers in the history have no thought, and the prompt opens the next one.
    let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% endfor \
                  %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}";
    let thinks = |a: &str, t: &str| json!({ "role": "assistant", "content": a, "reasoning": t });
    let q = json!({ "role": "user", "content": "q" });
    let expected = pairs(&[
        ("<|user|>q$<|assistant|><think>\n", "one\n</think>\n\na$"),
        ("<|user|>q$<|assistant|>a$<|user|>q$<|assistant|><think>\n", "two\n</think>\n\nb$"),
        ("<|user|>q$<|assistant|>a$<|user|>q$<|assistant|>b$<|user|>q$<|assistant|><think>\n\n</think>\n\n", "c$"),
    ]);
    let last = json!({ "role": "assistant", "content": "c" });
    let record = json!({ "messages": [q, thinks("a", "one"), q, thinks("b", "\ntwo\n"), q, last] });
    assert_eq!(texts(Some(source), record), Ok(expected));
    let record = json!({ "question": "q", "answer": "a", "reasoning_content": "one" });
    assert_eq!(texts(Some(source), record).unwrap()[0].1, "one\n</think>\n\na$");
    // As R1 writes it, with or without the opening tag.
    for content in ["<think>\none\n</think>\n\na", "one\n</think>\n\na"] {
        let record = json!({ "question": "q", "answer": content });
        assert_eq!(texts(Some(source), record).unwrap()[0].1, "one\n</think>\n\na$");
    }
}

#[test]
fn long_examples_are_counted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.jsonl");
    let line = |n: usize| json!({ "prompt": "p", "completion": "x y ".repeat(n) }).to_string();
    let lines: Vec<String> = [1, 50, 1, 60, 70, 80].map(line).into();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let tokenizer = tokenizer(&[], 0);
    let reader = ExampleReader { tokenizer: &tokenizer, template: None, max_tokens: 40, max_length: None };
    let files = [DataFile::from(&path)];
    let data = reader.read(&files).unwrap();
    assert_eq!((data.examples.len(), data.account.too_long.count, data.account.total), (2, 4, 6));
    let [note] = &data.account.notes()[..] else { panic!("{:?}", data.account.notes()) };
    for part in
        ["4 of 6 examples have more than train.max_tokens = 40 tokens", "d.jsonl:2 (", "d.jsonl:5 (", "and 1 more"]
    {
        assert!(note.contains(part), "{note}");
    }
    assert!(!note.contains("d.jsonl:6"), "{note}");
    let cut = ExampleReader { max_length: Some(30), ..reader }.read(&files).unwrap();
    assert_eq!((cut.examples.len(), cut.account.cut.count), (6, 4));
    assert!(cut.examples.iter().all(|e| e.tokens.len() <= 30));
    assert!(cut.account.notes()[0].contains("sft.max_length = 30 tokens and are cut off"));
    let error = ExampleReader { max_tokens: 2, ..reader }.read(&files).unwrap_err().to_string();
    assert!(error.contains("6 of 6 examples") && error.contains("nothing to train on"), "{error}");
}

#[test]
fn what_is_not_trained_on_is_counted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.jsonl");
    let user = json!({ "role": "user", "content": "q" });
    let answer = |text: &str| json!({ "role": "assistant", "content": text });
    let lines = [
        json!({ "question": "q", "answer": "a", "level": 1 }),
        json!({ "question": "q", "answer": " " }),
        json!({ "prompt": "q", "completion": "", "level": 2, "source": "x" }),
        json!({ "prompt": "q", "completion": "a", "weight": 0 }),
        json!({ "messages": [user, answer("a")], "loss_mask": "0", "train": 1 }),
        json!({ "messages": [user, answer("a"), user, answer("")] }),
        json!({ "messages": [user, answer("a"), user] }),
        json!({ "messages": [user, answer("a")], "prompt": "p", "level": null }),
    ];
    std::fs::write(&path, lines.map(|l| l.to_string()).join("\n")).unwrap();
    let tokenizer = tokenizer(&[], 0);
    let template = ChatTemplate::new(CHATML, tokenizer.special()).unwrap();
    let reader = ExampleReader { tokenizer: &tokenizer, template: Some(&template), max_tokens: 40, max_length: None };
    let data = reader.read(&[DataFile::from(&path)]).unwrap();
    assert_eq!(data.examples.len(), 4, "lines 1, 6, 7 and 8");
    let notes = data.account.notes().join("\n").replace(&path.display().to_string(), "d");
    assert_eq!(
        notes,
        "2 records have no answer to train on, by their masks: d:4, d:5\n\
         3 records have an empty answer, which is left out: d:2, d:3, d:6\n\
         1 conversations end with messages that no answer follows; these messages are not trained on: d:7\n\
         columns that are not trained on: `level` (in 2 of 8 records), `prompt` (in 1 of 8 records), \
         `source` (in 1 of 8 records)"
    );
    // A file with nothing else is an error with that message.
    std::fs::write(&path, "{\"prompt\": \"q\", \"completion\": \"\"}\n").unwrap();
    let error = reader.read(&[DataFile::from(&path)]).unwrap_err().to_string();
    assert!(error.contains("1 records have an empty answer") && error.contains("nothing to train on"), "{error}");
}

#[test]
fn files_have_weights() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, n: usize, weight: f64| {
        let path = dir.path().join(name);
        let line = |i: usize| json!({ "prompt": name, "completion": i.to_string() }).to_string();
        std::fs::write(&path, (0..n).map(line).collect::<Vec<_>>().join("\n")).unwrap();
        DataFile { path, weight }
    };
    let tokenizer = tokenizer(&[], 0);
    let reader = ExampleReader { tokenizer: &tokenizer, template: None, max_tokens: 40, max_length: None };
    let data = reader.read(&[file("a.jsonl", 4, 3.0), file("b.jsonl", 6, 0.5)]).unwrap();
    assert_eq!(data.mixture.epoch(), 4 * 3 + 3);
    let mut seen = [0; 10];
    (0..15).for_each(|at| seen[data.mixture.index(1, at).unwrap()] += 1);
    assert!(seen[..4] == [3; 4] && seen[4..].iter().sum::<i32>() == 3, "{seen:?}");
}
