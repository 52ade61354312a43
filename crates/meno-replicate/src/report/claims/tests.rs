use super::super::contents::Report;
use super::super::fixture::{about, interval, model, stages};
use super::super::verdict::Verdict;
use super::*;
use crate::measure::Measures;
use crate::provenance::Provenance;
use crate::record::StageRecord;
use crate::settings::Settings;
use serde_json::json;

fn report(stages: Vec<StageRecord>) -> Report {
    Report::new(&Settings::load("tiny").unwrap(), 1, Provenance::default(), StageRecords::new(stages))
}

fn measures(stages: &mut [StageRecord], stage: Stage) -> &mut Measures {
    stages.iter_mut().find(|s| s.name == stage.name()).unwrap().measures.as_mut().unwrap()
}

/// The claim `id` after `change`.
fn claim(id: &str, change: impl FnOnce(&mut Vec<StageRecord>)) -> ClaimResult {
    let mut stages = stages();
    change(&mut stages);
    report(stages).claims.into_iter().find(|c| c.id == id).unwrap()
}

#[test]
fn gains_are_in_points_with_a_typographic_minus() {
    assert_eq!(points(interval(-0.02, 0.01)), "−0.5 points (−2.0 to +1.0)");
}

#[test]
fn a_run_like_the_papers_reproduces_every_claim() {
    for c in report(stages()).claims {
        assert_eq!(c.verdict, Verdict::Reproduced, "{}: {}", c.id, c.measured);
    }
}

#[test]
fn a_base_that_mixes_more_refutes_language_mixing() {
    let with_base = |consistency: f64| {
        claim("zero_mixes_languages", |s| measures(s, Stage::Base).language_consistency = about(consistency))
    };
    let c = with_base(0.3);
    assert_eq!(c.verdict, Verdict::NotReproduced, "{}", c.measured);
    assert!(c.measured.contains("70.0 % → 50.0 %: −20.0 points"), "{}", c.measured);
    assert_eq!(with_base(0.505).verdict, Verdict::Undecided);
    assert_eq!(with_base(0.9).verdict, Verdict::Reproduced);
    // More than the base, but less than the threshold.
    let pure = claim("zero_mixes_languages", |s| {
        measures(s, Stage::Base).language_consistency = about(0.99);
        measures(s, Stage::R1Zero).language_consistency = about(0.96);
    });
    assert_eq!(pure.verdict, Verdict::Undecided);
}

#[test]
fn without_right_answers_nothing_is_decided() {
    for row in &CLAIMS {
        for &stage in row.stages {
            let c = claim(row.id, |s| {
                let m = measures(s, stage);
                *m = Measures { language_consistency: m.language_consistency, ..model(0, 140.0) };
            });
            assert_eq!(c.verdict, Verdict::Undecided, "{} without {stage:?}: {}", row.id, c.measured);
            assert!(c.measured.contains(&format!("the {} has no right answers", stage.name())), "{}", c.measured);
        }
    }
    // A run that learned nothing decides no claim.
    let nothing = |s: &mut Vec<StageRecord>| s.iter_mut().for_each(|s| s.measures = Some(model(0, 60.0)));
    let mut all = stages();
    nothing(&mut all);
    assert!(report(all).claims.iter().all(|c| c.verdict == Verdict::Undecided));
}

#[test]
fn each_rule_can_fail() {
    let verdict = |id: &str, change: &dyn Fn(&mut Vec<StageRecord>)| claim(id, |s| change(s)).verdict;
    let set = |stage: Stage, m: Measures| move |s: &mut Vec<StageRecord>| *measures(s, stage) = m.clone();
    // A gain that does not double.
    assert_eq!(verdict("zero_works", &set(Stage::R1Zero, model(50, 140.0))), Verdict::NotReproduced);
    assert_eq!(verdict("zero_thinks_longer", &set(Stage::R1Zero, model(80, 40.0))), Verdict::NotReproduced);
    assert_eq!(verdict("zero_checks_itself", &set(Stage::R1Zero, model(80, 140.0))), Verdict::Undecided);
    // A language reward that costs the ability.
    let costly = Measures { language_consistency: about(0.99), ..model(40, 140.0) };
    assert_eq!(verdict("language_reward_works", &set(Stage::R1ZeroLanguage, costly)), Verdict::NotReproduced);
    // A cold start on too many thoughts.
    let many = |s: &mut Vec<StageRecord>| s[3].facts = json!({ "examples": 1360 });
    assert_eq!(verdict("cold_start_is_readable", &many), Verdict::Undecided);
    // A cold start that lost nothing.
    assert_eq!(verdict("reasoning_rl_restores", &set(Stage::ColdStart, model(70, 140.0))), Verdict::Undecided);
    assert_eq!(verdict("rejection_sft_keeps", &set(Stage::RejectionSft, model(25, 140.0))), Verdict::NotReproduced);
    assert_eq!(verdict("r1_is_level_and_readable", &set(Stage::R1, model(81, 140.0))), Verdict::NotReproduced);
    assert_eq!(verdict("distillation_beats_rl", &|s| s[9].flops = 0.5e12), Verdict::Undecided);
}

/// The URL fragment of a heading.
fn fragment(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn every_claim_names_code_that_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for row in &CLAIMS {
        assert!(!row.code.is_empty(), "{}", row.id);
        for path in row.code {
            let (file, section) = path.split_once('#').unwrap_or((path, ""));
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{}: {file}: {e}", row.id));
            let mut headings = text.lines().filter(|l| l.starts_with('#')).map(fragment);
            assert!(section.is_empty() || headings.any(|h| h == section), "{}: {path}", row.id);
        }
    }
}
