//! Grammars and schemas that are small to send and large to compile: each gets a response, in limited time
//! and memory.

use crate::process::{PATIENCE, Server, question, wire};
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn lark(grammar: String) -> Value {
    json!({"type": "grammar", "grammar": grammar})
}

fn regex(regex: String) -> Value {
    json!({"type": "regex", "regex": regex})
}

fn schema(schema: Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
}

fn properties(n: usize, value: &Value) -> Value {
    let all: Map<String, Value> = (0..n).map(|i| (format!("p{i}"), value.clone())).collect();
    json!({"type": "object", "properties": all})
}

fn chain(n: usize, upper: bool) -> String {
    let name = |i: usize| if upper { format!("R{i}") } else { format!("r{i}") };
    let rules = (0..n).map(|i| format!("{}: {} \"a\"\n", name(i), name(i + 1)));
    format!("start: {}\n{}{}: \"x\"\n", name(0), rules.collect::<String>(), name(n))
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("name{i}")).collect()
}

fn references(n: usize) -> Value {
    let mut all: Map<String, Value> =
        (0..n).map(|i| (format!("d{i}"), json!({"$ref": format!("#/$defs/d{}", i + 1)}))).collect();
    all.insert(format!("d{n}"), json!({"type": "string"}));
    json!({"$ref": "#/$defs/d0", "$defs": all})
}

/// Name and response format of each attack.
pub(crate) fn attacks() -> Vec<(&'static str, Value)> {
    let any = json!({});
    let nested = (0..100).fold(json!({"type": "string"}), |inner, _| properties_of(inner));
    let objects: Vec<Value> = (0..2000).map(|i| properties(1 + i % 3, &any)).collect();
    let terminals: String = (0..800).map(|i| format!("T{i}: /[a-z]*{i}[a-z]*/\n")).collect();
    let choice = (0..800).map(|i| format!("T{i}")).collect::<Vec<_>>().join(" | ");
    vec![
        ("1,000 chained rules", lark(chain(1000, false))),
        ("10,000 chained rules", lark(chain(10_000, false))),
        ("1,000 chained terminals", lark(chain(1000, true))),
        ("7,000 optional properties", schema(properties(7000, &any))),
        ("7,000 optional numbers", schema(properties(7000, &json!({"type": "number"})))),
        ("many stars", regex("(a|b|c)*".repeat(25_000))),
        ("many stars in a schema", schema(json!({"type": "string", "pattern": "(a|b|c)*".repeat(25_000)}))),
        ("many stars in a terminal", lark(format!("start: A\nA: /{}/", "(a|b|c)*".repeat(25_000)))),
        ("many stars in a tool", json!("tool")),
        ("nested repeats", regex("(a{0,1000}b){0,1000}".repeat(100))),
        ("a huge repeat", regex("a{0,1000000000}".to_owned())),
        ("a huge repeat of a rule", lark("start: (\"a\" \"b\"){0,100000000}".to_owned())),
        ("repeats of repeats", lark("start: r{9999}\nr: s{9999}\ns: t{9999}\nt: \"a\"{9999}".to_owned())),
        ("a distance", regex(format!(".*a.{{{}}}", 2000))),
        ("many dots", regex(format!("{}x", ".*a".repeat(2000)))),
        ("many classes", regex("\\p{L}+".repeat(5000))),
        ("nested brackets", regex(format!("{}a{}", "(".repeat(50_000), ")*".repeat(50_000)))),
        ("nested brackets of rules", lark(format!("start: {}\"a\"{}", "(".repeat(50_000), ")".repeat(50_000)))),
        ("an ambiguous grammar", lark("start: e\ne: e e | e e e | \"a\" | \"\"".to_owned())),
        ("many terminals", lark(format!("start: {choice}\n{terminals}"))),
        ("a nested schema", schema(nested)),
        ("any of many", schema(json!({"anyOf": objects}))),
        ("all of many", schema(json!({"allOf": objects}))),
        ("a long text", schema(json!({"type": "string", "minLength": 100_000_000, "maxLength": 200_000_000}))),
        ("a long list", schema(json!({"type": "array", "minItems": 10_000_000, "maxItems": 20_000_000}))),
        ("22,000 required names", schema(json!({"type": "object", "required": names(22_000)}))),
        ("2,000 required names", schema(json!({"type": "object", "required": names(2000)}))),
        ("2,000 required properties", {
            let mut all = properties(2000, &any);
            all["required"] = (0..2000).map(|i| format!("p{i}")).collect();
            schema(all)
        }),
        ("5,000 chained references", schema(references(5000))),
        ("900 chained references", schema(references(900))),
        (
            "120,000 brackets of a pattern",
            schema(json!({"pattern": format!("{}a{}", "(".repeat(60_000), ")".repeat(60_000))})),
        ),
        ("a schema of itself", schema(json!({"$ref": "#"}))),
        (
            "schemas of each other",
            schema(json!({"$ref": "#/$defs/a", "$defs": {
            "a": {"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]},
            "b": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}})),
        ),
        ("complements", lark("start: A\nA: /(a|b)*a(a|b){20}/ & ~/(a|b)*b(a|b){20}/ & ~/(a|b)*a(a|b){19}/".to_owned())),
        ("a substring", lark(format!("start: S\nS: %regex {{ \"substring_chars\": \"{}\" }}", "ab".repeat(50_000)))),
    ]
}

fn properties_of(inner: Value) -> Value {
    json!({"type": "object", "properties": {"a": inner}})
}

#[test]
fn no_grammar_ends_the_server_or_takes_its_memory() {
    let server = Server::start(&[]);
    let alone = server.chat("1 + 1");
    let mut slow = Vec::new();
    for (name, format) in attacks() {
        let mut body = question("x");
        if format == "tool" {
            let pattern = "(a|b|c)*".repeat(20_000);
            let parameters = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}});
            body["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": parameters}}]);
            body["tool_choice"] = "required".into();
        } else {
            body["response_format"] = format;
        }
        let begin = server.processor_time();
        let reply = server.post("/v1/chat/completions", &body);
        let (time, status) = (server.processor_time() - begin, reply.status());
        println!("{status} {:6.2} s {:5} MiB  {name}", time.as_secs_f64(), server.memory("VmHWM:"));
        assert!(matches!(status, 200 | 400), "{name}: {}", reply.0);
        assert!(status == 200 || reply.message().len() < 900, "{name}");
        if time > Duration::from_secs(6) {
            slow.push((name, time));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
    assert_eq!(server.chat("1 + 1"), alone);
    let peak = server.memory("VmHWM:");
    assert!(peak < 1500, "{peak} MiB");
}

#[test]
fn grammars_of_useful_size_are_taken() {
    let server = Server::start(&[]);
    let numbers: Vec<String> = (0..300).map(|i| format!("\"item {i}\"")).collect();
    for format in [
        schema(properties(100, &json!({"type": "integer"}))),
        schema((0..20).fold(json!({"type": "string"}), |inner, _| properties_of(inner))),
        schema(json!({"enum": numbers})),
        lark(chain(100, false)),
        lark(format!("start: {}", numbers.join(" | "))),
        regex("[a-z]{1,200}@[a-z]{1,60}\\.(com|org|net)".to_owned()),
        regex("(\\d{4})-(\\d\\d)-(\\d\\d)T(\\d\\d):(\\d\\d)".to_owned()),
    ] {
        let mut body = question("x");
        body["response_format"] = format.clone();
        let reply = server.post("/v1/chat/completions", &body);
        assert_eq!(reply.status(), 200, "{format}: {}", reply.0);
    }
}

#[test]
fn many_large_grammars_at_once_are_bounded() {
    let server = Server::start(&["--parallel", "1", "--queue", "400", "--per-client", "400"]);
    let mut long = question("answers that run meanwhile");
    (long["max_tokens"], long["n"], long["stream"]) = (900.into(), 128.into(), true.into());
    long["logit_bias"] = json!({"1": -100});
    let mut running = server.connect();
    running.write_all(&wire("/v1/chat/completions", "", &long)).unwrap();
    let before = server.memory("VmHWM:");
    let mut body = question("x");
    body["response_format"] = lark(chain(1900, false));
    let mut waiting = Vec::new();
    for _ in 0..24 {
        let mut stream = server.connect();
        stream.write_all(&wire("/v1/chat/completions", "", &body)).unwrap();
        waiting.push(stream);
    }
    let (mut refused, end) = (0, Instant::now() + PATIENCE);
    while refused < 4 && Instant::now() < end {
        for stream in &mut waiting {
            let mut reply = String::new();
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let _ = stream.read_to_string(&mut reply);
            refused += usize::from(reply.starts_with("HTTP/1.1 429") && reply.contains("large grammars"));
        }
    }
    let grown = server.memory("VmHWM:") - before;
    println!("{refused} of 24 rejected, {grown} MiB more");
    assert!((4..24).contains(&refused), "{refused} of 24 were rejected");
    assert!(grown < 400, "{grown} MiB more");
}
