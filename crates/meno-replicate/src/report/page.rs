//! `report.html` and the picture to share, rendered from the templates in `template/`. The page loads nothing from
//! elsewhere.

use super::contents::Report;
use super::paper::SETTINGS;
use super::verdict::Verdict;
use super::{curves, pipeline, samples};
use crate::record::StageRecord;
use crate::stage::Stage;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde_json::{Map, json};

/// The templates by name.
const TEMPLATES: [(&str, &str); 5] = [
    ("report.html", include_str!("template/report.html")),
    ("macros.html", include_str!("template/macros.html")),
    ("method.html", include_str!("template/method.html")),
    ("glossary.html", include_str!("template/glossary.html")),
    ("card.svg", include_str!("template/card.svg")),
];

/// Renders `report.html`.
///
/// # Panics
/// If a template does not fit the report, which the tests rule out.
pub(super) fn page(r: &Report) -> String {
    render("report.html", r)
}

/// Renders the picture to share, an SVG of 1200 by 630.
pub(super) fn card(r: &Report) -> String {
    render("card.svg", r)
}

fn render(name: &str, r: &Report) -> String {
    let env = environment();
    let template = env.get_template(name).expect("invariant: it is one of the templates");
    let text = template.render(facts(r)).unwrap_or_else(|e| panic!("invariant: {name} fits every report: {e:#}"));
    text + "\n"
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.expect("invariant: its delimiters are the usual ones"));
    // A missing figure is shown as missing. In tests it is an error, which finds misspelt names.
    env.set_undefined_behavior(if cfg!(test) { UndefinedBehavior::Strict } else { UndefinedBehavior::Chainable });
    env.add_global("repository", env!("CARGO_PKG_REPOSITORY"));
    env.add_filter("percent", |x: Value| number(&x).map_or("–".to_owned(), |x| format!("{:.1}\u{a0}%", 100.0 * x)));
    env.add_filter("fixed", |x: Value, digits: usize| number(&x).map_or("–".to_owned(), |x| format!("{x:.digits$}")));
    env.add_filter("count", |x: Value| number(&x).map_or("–".to_owned(), thousands));
    env.add_filter("figure", |x: Value| figure(&x));
    for (name, text) in TEMPLATES {
        env.add_template(name, text).unwrap_or_else(|e| panic!("invariant: {name} is a template: {e:#}"));
    }
    env
}

fn number(x: &Value) -> Option<f64> {
    f64::try_from(x.clone()).ok().filter(|x| x.is_finite())
}

/// Formats a number as `1,234,567`.
fn thousands(x: f64) -> String {
    let digits = format!("{:.0}", x.abs());
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(d);
    }
    if x < 0.0 { format!("−{out}") } else { out }
}

/// Formats a setting as a person would write it.
fn figure(x: &Value) -> String {
    match number(x) {
        Some(x) if x.fract() == 0.0 && x.abs() < 1e9 => thousands(x),
        // Settings are f32. As f64 they would show digits that are not in the recipe.
        Some(x) => format!("{}", x as f32),
        None => x.to_string(),
    }
}

/// Everything that the templates can show.
fn facts(r: &Report) -> Value {
    let by_name: Map<_, _> = r.records.iter().map(|s| (s.name.clone(), stage(s))).collect();
    let stages: Vec<_> = r.records.iter().map(stage).collect();
    let count = |v: Verdict| r.claims.iter().filter(|c| c.verdict == v).count();
    let steps = r.records.iter().flat_map(|s| &s.history).filter(|h| h.contains_key("sampling/logprob_gap")).count();
    let settings = json!(r.settings);
    let beside: Vec<_> = SETTINGS
        .iter()
        .map(|s| {
            let here: Vec<_> = s.here.iter().filter_map(|path| settings.pointer(path)).collect();
            json!({ "what": s.what, "paper": s.paper, "place": s.place, "here": here })
        })
        .collect();
    let facts = json!({
        "css": include_str!("template/style.css"),
        "script": include_str!("template/script.js"),
        "seed": r.seed,
        "minutes": r.minutes(),
        "smoke": r.is_smoke(),
        "warning": r.smoke_warning(),
        "provenance": r.provenance,
        "evaluation": r.settings.evaluation,
        "settings": &settings,
        "toml": toml::to_string_pretty(&r.settings).unwrap_or_default(),
        "beside": beside,
        "stages": stages,
        "stage": by_name,
        "claims": r.claims,
        "tally": {
            "reproduced": count(Verdict::Reproduced),
            "not_reproduced": count(Verdict::NotReproduced),
            "undecided": count(Verdict::Undecided),
        },
        "ratio": r.records.length_ratio(Stage::R1Zero, Stage::Base),
        "gap": if r.max_logprob_gap() == 0.0 { "0".to_owned() } else { format!("{:e}", r.max_logprob_gap()) },
        "gap_steps": steps,
        "pipeline": pipeline::pipeline(&r.records),
        "card": pipeline::card(&r.records),
        "zero_charts": curves::zero(&r.records),
        "other_charts": curves::others(&r.records),
        "samples": samples::samples(&r.records),
    });
    Value::from(Serde(facts))
}

/// The record of a stage without its long lists, with the share of truncated responses as `cut_off`.
fn stage(s: &StageRecord) -> serde_json::Value {
    let mut value = json!(s);
    value.as_object_mut().map(|o| o.remove("history"));
    let Some(m) = value["measures"].as_object_mut() else { return value };
    m.remove("per_problem");
    m.remove("examples");
    let of = |key: &str| m.get(key).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
    let (cut, all) = (of("truncated"), of("right") + of("wrong") + of("truncated") + of("unparsable"));
    m.insert("cut_off".into(), (cut / all.max(1.0)).into());
    value["forced"] = s.forced.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<Map<_, _>>().into();
    value
}

#[cfg(test)]
mod tests;
