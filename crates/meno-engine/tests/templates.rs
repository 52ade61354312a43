//! Published chat templates rendered byte for byte as by transformers, with the same rejections
//! (`dev/reference/published_templates.py`).

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/published.rs"]
mod published;

use meno_engine::tokenizer::Special;
use meno_engine::{ChatTemplate, Message};
use proptest::prelude::*;
use published::{golden, with_time};
use serde_json::{Map, Value, json};

#[test]
fn published_templates_as_in_python() {
    let golden = golden();
    let (mut texts, mut refusals, mut wrong) = (0, 0, Vec::new());
    for t in golden["templates"].as_array().unwrap() {
        let name = t["name"].as_str().unwrap();
        let template = match ChatTemplate::new(t["template"].as_str().unwrap(), &Special::default()) {
            Ok(template) => template,
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                continue;
            }
        };
        for case in t["cases"].as_array().unwrap() {
            let conversation = &golden["conversations"][case["conversation"].as_u64().unwrap() as usize];
            let messages: Vec<Message> = serde_json::from_value(conversation["messages"].clone()).unwrap();
            let mut extras: Map<String, Value> = serde_json::from_value(golden["tokens"].clone()).unwrap();
            extras.extend(conversation["extras"].as_object().unwrap().clone());
            if conversation["tools"] == true {
                extras.insert("tools".into(), golden["tools"].clone());
            }
            let ours = template.render(&messages, case["add_generation_prompt"].as_bool().unwrap(), &extras);
            let at = format!("{name}, conversation {}", case["conversation"]);
            match (case["text"].as_str().map(with_time), ours) {
                (Some(text), Ok(ours)) if text == ours => texts += 1,
                (None, Err(_)) => refusals += 1,
                // Here a loop over none runs zero times.
                (None, Ok(_)) if case["raises"] == "TypeError: 'NoneType' object is not iterable" => {}
                // A template that fails without a content gets the null of the message (R1's template requires it).
                (None, Ok(_)) if messages.iter().any(|m| m.content.is_null()) => {}
                (Some(text), Ok(ours)) => {
                    let same = text.bytes().zip(ours.bytes()).take_while(|(a, b)| a == b).count();
                    let from = (0..=same.saturating_sub(40)).rev().find(|&i| text.is_char_boundary(i)).unwrap();
                    let show = |s: &str| s.get(from..).unwrap_or_default().chars().take(120).collect::<String>();
                    wrong.push(format!(
                        "{at}: differs at byte {same}\n  Python {:?}\n  Meno   {:?}",
                        show(&text),
                        show(&ours)
                    ));
                }
                (Some(_), Err(e)) => wrong.push(format!("{at}: {e}")),
                (None, Ok(ours)) => {
                    let start: String = ours.chars().take(200).collect();
                    wrong.push(format!("{at}: Python raises {}, Meno renders {start:?}", case["raises"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), wrong.len() + texts + refusals, wrong.join("\n"));
    assert!(texts > 200 && refusals > 20, "{texts} texts, {refusals} refusals");
}

/// Templates that try to exhaust memory or never end.
const BOMBS: [&str; 27] = [
    "{% set ns = namespace(s='x') %}{% for i in range(200) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s | length \
     }}",
    "{{ 'x' * 100000000000 }}",
    "{{ [1] * 100000000000 }}",
    "{{ range(100000000000) | list }}",
    "{% set s = 'x' * 10000000 %}{{ s.replace('', s) }}",
    "{% set s = 'x' * 1000000 %}{{ s | list | join(s) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ 'a\\nb' | indent(1000000000000) }}",
    "{{ [1] | tojson(indent=1000000000000) }}",
    "{{ [1, 2] | batch(100000000000, 0) | list }}",
    "{% macro f(x) %}{{ f(x ~ x) }}{{ f(x ~ x) }}{% endmacro %}{{ f('x') }}",
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for i in range(100000) %}{% for j in range(100000) %}{{ i }}{% endfor %}{% endfor %}",
    "{{ 9 ** 9 ** 9 ** 9 }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(200) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{{ ns.l }}",
    "{% macro f(l) %}{{ f(l + l) }}{% endmacro %}{{ f([1]) }}",
    "{% macro f(l) %}{{ f([l, l]) }}{% endmacro %}{{ f([1]) }}",
    "{% macro f(l) %}{{ f({'a': l, 'b': l}) }}{% endmacro %}{{ f([1]) }}",
    "{% macro f(l) %}{{ f((l, l)) }}{% endmacro %}{{ f([1]) }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l, ns.l %}{% endfor %}{{ ns.l }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}x",
    "{% set ns = namespace(l=[1]) %}{% for i in range(99999) %}{% set ns.l = ns.l | batch(2) %}{% endfor %}x",
    "{% set ns = namespace(l=[1]) %}{% for i in range(99999) %}{% set ns.l = namespace(l=ns.l) -%}{% endfor %}x",
    "{% set ns = namespace() %}{% set ns.a = (ns) %}{{ ns ~ '' }}",
    "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}",
    "{% set l = [1] | chain([1]) %}{{ l }}",
];

#[test]
fn a_template_that_takes_all_it_can_get_is_stopped() {
    for source in BOMBS {
        let template = ChatTemplate::new(source, &Special::default()).unwrap();
        let e = template.render(&[Message::new("user", "x")], true, &Map::new());
        assert!(e.is_err(), "{source}: {} bytes", e.unwrap().len());
    }
    // Lazy lists behave like other lists; a long template may nest a list as often as it likes.
    let lists = "{% set l = [1, 2] %}{% set l = l + l %}{{ l }} {{ l[0] }} {{ l is sequence }} {% set a, b = 1, [(2)] \
                 -%}{{ b }}";
    let lists = ChatTemplate::new(lists, &Special::default()).unwrap().render(&[], true, &Map::new()).unwrap();
    assert_eq!(lists, "[1, 2, 1, 2] 1 True [2]");
    let deep = format!("{{% set l = [1] %}}{}x", "{% set l = l | batch(1) %}".repeat(30_000));
    let _ = ChatTemplate::new(&deep, &Special::default()).unwrap().render(&[], true, &Map::new());
    for nested in ["(", "[", "{{ (", "not ", "-", "{% if x %}", "a."] {
        // Not a memory bomb, but deep recursion of the parser.
        let source = format!("{{{{ {} }}}}", nested.repeat(200_000));
        assert!(ChatTemplate::new(&source, &Special::default()).is_err(), "{nested}");
    }
    for (nested, count) in [("(", 8000), ("-", 8000), ("not ", 4000), ("a.", 8000), ("{% if x %}", 100_000)] {
        // Short enough to be parsed: an error is allowed, a stack overflow is not.
        let _ = ChatTemplate::new(&format!("{{{{ {} }}}}", nested.repeat(count)), &Special::default());
        let _ = ChatTemplate::new(&nested.repeat(count), &Special::default());
    }
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
        assert!(kib < 2 << 20, "{kib} KiB at the most");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_template_is_an_error_or_a_text(
        which in 0usize..18,
        edits in proptest::collection::vec((0.0f64..1.0, 0usize..40, 0usize..20), 1..6),
    ) {
        const PARTS: [&str; 20] = [
            "", "{%", "%}", "{{", "}}", "{#", "'", "\"", "(", ")", "[", "|tojson", ".items()", " endif ", "-1:",
            " is none", "messages", "\\", "\u{1F980}", "**",
        ];
        let golden = golden();
        let templates = golden["templates"].as_array().unwrap();
        let mut source = templates[which % templates.len()]["template"].as_str().unwrap().to_owned();
        for (at, length, part) in edits {
            let index = |i: usize| (i..=source.len()).find(|&i| source.is_char_boundary(i)).unwrap();
            let start = index((at * source.len() as f64) as usize);
            let end = index((start + length).min(source.len()));
            source.replace_range(start..end, PARTS[part]);
        }
        if let Ok(template) = ChatTemplate::new(&source, &Special::default()) {
            let messages = golden["conversations"][11]["messages"].clone();
            let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
            let Value::Object(extras) = json!({"tools": golden["tools"]}) else { unreachable!() };
            let _ = template.render(&messages, true, &extras);
        }
    }
}
