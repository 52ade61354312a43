use super::super::fixture::stages;
use super::*;
use crate::behaviour::StyleRow;
use crate::measure::Shown;
use crate::provenance::Provenance;
use crate::records::StageRecords;
use crate::settings::Settings;
use serde_json::Value as Json;

/// A response that tries to inject HTML.
const HOSTILE: &str = "<think>\n<script>alert(1)</script> \"&amp;\" so</script>\n</think>";

fn history(steps: usize) -> Vec<Map<String, Json>> {
    let names = ["verdicts/right", "completions/mean_length", "behaviour/self_check", "loss", "moe/max_violation"];
    let step = |i: usize| {
        let value = |k: usize| json!((i as f64 * 0.37 + k as f64).sin().abs());
        let figures = names.iter().enumerate().map(|(k, n)| ((*n).to_owned(), value(k)));
        std::iter::once(("step".to_owned(), json!(i + 1))).chain(figures).collect()
    };
    (0..steps).map(step).collect()
}

/// The records of a run with everything that a page shows.
fn records() -> Vec<StageRecord> {
    let tokenizer = StageRecord {
        name: "tokenizer".into(),
        title: "Tokenizer".into(),
        facts: json!({ "vocabulary": 339 }),
        ..StageRecord::default()
    };
    let mut records = vec![tokenizer];
    records.extend(stages());
    for record in &mut records[1..] {
        record.history = history(if record.name == "base" { 900 } else { 30 });
        record.facts = json!({ "examples": 350, "tokens": 2.4e6, "tally": { "sampled": 760 } });
        let m = record.measures.as_mut().unwrap();
        m.styles = ["direct", "short", "columns", "checked"]
            .map(|s| StyleRow { style: s.into(), share: 0.25, pass1: Some(0.5) })
            .into();
        m.examples = vec![Shown {
            question: "1 < 2 & 3 > 2?".into(),
            answer: "132".into(),
            response: HOSTILE.into(),
            verdict: meno_eval::Verdict::Right,
            tokens: 20,
        }];
    }
    records
}

fn report_of(records: Vec<StageRecord>) -> Report {
    let provenance = Provenance::here("tiny", "meno replicate --out '<b>'".into(), "0.1.0", "abc");
    Report::new(&Settings::load("tiny").unwrap(), 1, provenance, StageRecords::new(records))
}

fn report() -> Report {
    report_of(records())
}

/// All values of an attribute.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(&start as &str).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_page_loads_nothing() {
    let html = page(&report());
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    for loads in [" src=", "@import", "url(", "<iframe", "<object"] {
        assert!(!html.contains(loads), "{loads}");
    }
    // Only a person follows a link. Fragments must exist in the page.
    let ids = attributes(&html, "id");
    for href in attributes(&html, "href") {
        let fragment = href.strip_prefix('#');
        assert!(fragment.is_none_or(|id| ids.contains(&id)), "{href} leads nowhere");
        let followed = ["https:", "https&", "#", "data:"].iter().any(|p| href.starts_with(p));
        assert!(followed, "{href}");
    }
    let links = html.split("<link").skip(1).all(|l| l.split('>').next().unwrap().contains("data:"));
    assert!(links, "a link element loads nothing");
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "every id is there once");
}

#[test]
fn responses_are_escaped() {
    let html = page(&report());
    assert_eq!(html.matches("<script>").count(), 1, "the page has its own script only");
    assert!(html.contains("alert(1)") && !html.contains("<script>alert") && !html.contains("'<b>'"));
    assert!(html.contains("<span class=\"mark-tag\">&lt;think&gt;</span>"));
}

#[test]
fn charts_have_bands_and_values_and_claims_have_sources() {
    let html = page(&report());
    let charts: Vec<&str> = html.split("<figure class=\"chart\"").skip(1).collect();
    assert!(charts.len() >= 6, "{}", charts.len());
    for chart in &charts {
        let chart = chart.split("</figure>").next().unwrap();
        assert!(chart.contains("class=\"band "), "{chart}");
        assert!(chart.contains("data:text&#x2f;csv") && chart.contains("data-save=\"svg\""), "{chart}");
    }
    for figure in ["15.6 %", "77.9 %", "59.0 %", "74.0 %", "78.1 %", "79.8 %", "72.6 %", "47.0 %"] {
        assert!(html.contains(&figure.replace(' ', "\u{a0}")), "{figure}");
    }
    assert_eq!(html.matches("class=\"claim\"").count(), 11);
    for claim in html.split("class=\"claim\"").skip(1) {
        assert!(claim.split("</article>").next().unwrap().contains("class=\"place\""), "every claim has its place");
        assert!(claim.contains("<dt>Code</dt><dd class=\"soft\"><code class=\"doc\">"), "and its code: {claim}");
    }
    // No value is missing or not a number.
    assert!(!html.contains("NaN") && !html.contains("undefined,") && !html.contains("inf "));
}

#[test]
fn every_scrolling_region_can_be_focused() {
    let html = page(&report());
    let places: Vec<&str> = html.split("class=\"scroll").skip(1).map(|p| p.split('>').next().unwrap()).collect();
    assert!(places.len() >= 5);
    for place in places {
        assert!(place.contains("tabindex=\"0\"") && place.contains("aria-label"), "{place}");
    }
}

#[test]
fn the_picture_is_a_standalone_svg() {
    let svg = card(&report());
    assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
    assert!(!svg.contains("NaN") && !svg.contains("class="), "it has no style sheet");
    assert!(svg.contains("11 of 11") && svg.contains("AIME 2024"));
}

#[test]
fn a_run_that_learned_nothing_has_a_page() {
    let mut records = records();
    for record in &mut records[1..] {
        record.history.truncate(1);
        record.facts = json!({ "examples": 0, "tokens": 0, "tally": { "sampled": 0 } });
        let m = record.measures.as_mut().unwrap();
        (m.styles, m.examples) = (Vec::new(), Vec::new());
        m.behaviour = Default::default();
        m.score = Default::default();
    }
    let mut r = report_of(records);
    r.settings.evaluation.problems = 40;
    let html = page(&r);
    assert!(html.contains("its figures mean nothing") && card(&r).contains("its figures mean nothing"));
    assert!(!html.contains("NaN"), "{html}");
}

#[test]
fn numbers_are_formatted_for_people() {
    assert_eq!([0.0, 999.0, 1000.0, 1234567.0, -4321.0].map(thousands), ["0", "999", "1,000", "1,234,567", "−4,321"]);
    let figure = |x: Json| super::figure(&Value::from(Serde(x)));
    assert_eq!(
        [json!(3e-4_f32), json!(10400), json!("muon"), json!(0.7_f32)].map(figure),
        ["0.0003", "10,400", "muon", "0.7"]
    );
}
