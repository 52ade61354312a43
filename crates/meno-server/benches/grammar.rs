//! Measures the CPU time of a grammar per token, with a real vocabulary:
//! `MENO_CHECKPOINT=model.gguf cargo bench --workspace --bench grammar`.

use meno_engine::Tokenizer;
use meno_engine::constraint::{Choice, TokenMask};
use meno_server::places::Places;
use meno_server::structured::{Grammars, Structure};
use meno_tensor::cpu::cpu_seconds;
use serde_json::json;
use std::sync::Arc;

fn main() {
    let Ok(model) = std::env::var("MENO_CHECKPOINT") else {
        return println!("MENO_CHECKPOINT names no checkpoint; nothing is measured");
    };
    let tokenizer = Arc::new(Tokenizer::load(model.as_ref()).expect("a checkpoint"));
    let grammars = Grammars::new(tokenizer.clone());
    let begin = cpu_seconds();
    let any = grammars.compiler(&Places::new(1)).compile(&Structure::Regex("a".into()), "regex");
    println!("{} tokens, their table: {:.0} ms", tokenizer.vocab_size(), 1e3 * (cpu_seconds() - begin));
    drop(any);

    let person = |i: usize| {
        json!({"name": format!("Ada Lovelace the {i}th"), "age": 36 + i, "email": "ada@example.org",
        "tags": ["mathematics", "engines", "notes on the analytical engine"],
        "address": {"street": "12 St James's Square", "city": "London"}})
    };
    let text = json!({"people": (0..6).map(person).collect::<Vec<_>>()}).to_string();
    let string = json!({"type": "string"});
    let schema = json!({"type": "object", "required": ["people"], "additionalProperties": false,
        "properties": {"people": {"type": "array",
        "items": {"type": "object", "required": ["name", "age"], "additionalProperties": false, "properties": {
            "name": {"type": "string", "maxLength": 60}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "email": {"type": "string", "pattern": "^[a-z.]+@[a-z.]+$"}, "tags": {"type": "array", "items": string},
            "address": {"type": "object", "properties": {"street": string, "city": string}}}}}}});
    let words = "start: word (\" \" word)* \".\"\nword: /[a-z]+/ | \"<\" word \">\"";
    let prose = format!("{}dog.", "the <quick> brown fox jumps over the lazy ".repeat(20));
    for (name, structure, text) in [
        ("json_schema", Structure::JsonSchema(schema), &text),
        ("json_object", Structure::JsonObject, &text),
        ("regex", Structure::Regex("([a-z<>]+ )+[a-z]+\\.".into()), &prose),
        ("lark", Structure::Lark(words.into()), &prose),
    ] {
        let tokens = tokenizer.encode(text, false).expect("a text");
        let begin = cpu_seconds();
        let compiled = grammars.compiler(&Places::new(1)).compile(&structure, "grammar").expect("a grammar");
        let compile = cpu_seconds() - begin;
        let mut mask = TokenMask::all(tokenizer.vocab_size());
        // The first answer fills the tables of the lexer; others of the same request share them.
        for pass in ["first", "next"] {
            let mut grammar = compiled.another();
            let mut spent: Vec<f64> = Vec::new();
            for &token in &tokens {
                let begin = cpu_seconds();
                assert_eq!(grammar.choose(&mut mask), Choice::Masked);
                assert!(mask.allows(token), "{name} forbids {:?}", tokenizer.decode(&[token], false));
                grammar.accept(token);
                spent.push(1e6 * (cpu_seconds() - begin));
            }
            spent.sort_by(f64::total_cmp);
            let mean = spent.iter().sum::<f64>() / spent.len() as f64;
            println!(
                "{name:12} {pass} answer: compiled in {:.1} ms; {} tokens, each {mean:.0} µs in the mean, {:.0} in the \
                 median, {:.0} at the most",
                1e3 * compile,
                spent.len(),
                spent[spent.len() / 2],
                spent[spent.len() - 1]
            );
        }
    }
}
