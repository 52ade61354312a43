use super::super::super::measure::{Measures, PerProblem};
use super::super::super::record::StageRecord;
use super::super::super::settings::Settings;
use super::super::{Provenance, Report};
use super::*;
use meno_eval::score::Summary;
use serde_json::json;

fn interval(low: f64, high: f64) -> Interval {
    Interval { mean: (low + high) / 2.0, low, high }
}

/// A share known to a point either way.
fn about(mean: f64) -> Interval {
    interval(mean - 0.01, mean + 0.01)
}

/// A model that solves `solved` of 100 problems in `length` tokens.
fn model(solved: usize, length: f64) -> Measures {
    let pass1: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < solved))).collect();
    let score = Summary {
        problems: 100,
        samples: 1,
        pass1: Interval::of_share(&pass1),
        cons_gain: interval(0.01, 0.05),
        right: solved,
        wrong: 100 - solved,
        mean_tokens: about(length),
        ..Summary::default()
    };
    Measures {
        score,
        language_consistency: about(0.7),
        self_check: about(0.3),
        readable: about(0.5),
        per_problem: PerProblem { pass1, length: (0..100).map(|i| length + f64::from(i % 7)).collect() },
        ..Measures::default()
    }
}

/// A run in which everything went as in the paper.
pub(crate) fn stages() -> Vec<StageRecord> {
    let stage = |name: &str, m: Measures| StageRecord {
        name: name.into(),
        title: format!("the {name}"),
        measures: Some(m),
        facts: json!({ "examples": 350 }),
        ..StageRecord::default()
    };
    let zero = Measures { self_check: about(0.9), language_consistency: about(0.5), ..model(80, 140.0) };
    let pure = |m: Measures| Measures { language_consistency: about(0.99), readable: about(0.95), ..m };
    let mut stages = vec![
        stage("base", model(30, 60.0)),
        stage("r1-zero", zero),
        stage("r1-zero-language", pure(model(78, 140.0))),
        stage("cold-start", pure(model(40, 140.0))),
        stage("reasoning-rl", pure(model(70, 140.0))),
        stage("rejection-sft", pure(model(70, 140.0))),
        stage("r1", pure(model(81, 140.0))),
        stage("student-base", model(3, 60.0)),
        stage("distill", model(30, 140.0)),
        stage("student-rl", model(4, 60.0)),
    ];
    (stages[8].flops, stages[9].flops) = (1e12, 2e12);
    stages
}

fn report(stages: Vec<StageRecord>) -> Report {
    Report::new(&Settings::load("tiny").unwrap(), 1, Provenance::default(), stages)
}

fn measures<'a>(stages: &'a mut [StageRecord], name: &str) -> &'a mut Measures {
    stages.iter_mut().find(|s| s.name == name).unwrap().measures.as_mut().unwrap()
}

/// The claim `id` after `change`.
fn claim(id: &str, change: impl FnOnce(&mut Vec<StageRecord>)) -> Claim {
    let mut stages = stages();
    change(&mut stages);
    report(stages).claims.into_iter().find(|c| c.id == id).unwrap()
}

#[test]
fn verdicts_follow_the_interval() {
    let i = interval;
    assert_eq!(Verdict::above(i(0.1, 0.2), 0.0), Verdict::Reproduced);
    assert_eq!(Verdict::above(i(-0.1, 0.2), 0.0), Verdict::Undecided);
    assert_eq!(Verdict::above(i(-0.2, -0.1), 0.0), Verdict::NotReproduced);
    assert_eq!(Verdict::Reproduced.and(Verdict::Undecided), Verdict::Undecided);
    assert_eq!(Verdict::Undecided.and(Verdict::NotReproduced), Verdict::NotReproduced);
    assert_eq!(points(i(-0.02, 0.01)), "−0.5 points (−2.0 to +1.0)");
}

#[test]
fn a_run_like_the_papers_reproduces_everything() {
    for c in report(stages()).claims {
        assert_eq!(c.verdict, Verdict::Reproduced, "{}: {}", c.id, c.measured);
    }
}

#[test]
fn a_base_that_mixes_more_refutes_language_mixing() {
    let with_base = |consistency: f64| {
        claim("zero_mixes_languages", |s| measures(s, "base").language_consistency = about(consistency))
    };
    let c = with_base(0.3);
    assert_eq!(c.verdict, Verdict::NotReproduced, "{}", c.measured);
    assert!(c.measured.contains("70.0 % → 50.0 %: −20.0 points"), "{}", c.measured);
    assert_eq!(with_base(0.505).verdict, Verdict::Undecided);
    assert_eq!(with_base(0.9).verdict, Verdict::Reproduced);
    // More than the base, but next to nothing.
    let pure = claim("zero_mixes_languages", |s| {
        measures(s, "base").language_consistency = about(0.99);
        measures(s, "r1-zero").language_consistency = about(0.96);
    });
    assert_eq!(pure.verdict, Verdict::Undecided);
}

#[test]
fn without_right_answers_nothing_is_decided() {
    for row in &CLAIMS {
        for stage in row.stages {
            let c = claim(row.id, |s| {
                let m = measures(s, stage);
                *m = Measures { language_consistency: m.language_consistency, ..model(0, 140.0) };
            });
            assert_eq!(c.verdict, Verdict::Undecided, "{} without {stage}: {}", row.id, c.measured);
            assert!(c.measured.contains(&format!("the {stage} has no right answers")), "{}", c.measured);
        }
    }
    // Nor by a run that learned nothing at all.
    let nothing = |s: &mut Vec<StageRecord>| s.iter_mut().for_each(|s| s.measures = Some(model(0, 60.0)));
    let mut all = stages();
    nothing(&mut all);
    assert!(report(all).claims.iter().all(|c| c.verdict == Verdict::Undecided));
}

#[test]
fn what_each_rule_asks() {
    let fails = |id: &str, change: &dyn Fn(&mut Vec<StageRecord>)| claim(id, |s| change(s)).verdict;
    let set = |name: &'static str, m: Measures| move |s: &mut Vec<StageRecord>| *measures(s, name) = m.clone();
    // A gain that does not double.
    assert_eq!(fails("zero_works", &set("r1-zero", model(50, 140.0))), Verdict::NotReproduced);
    assert_eq!(fails("zero_thinks_longer", &set("r1-zero", model(80, 40.0))), Verdict::NotReproduced);
    assert_eq!(fails("zero_checks_itself", &set("r1-zero", model(80, 140.0))), Verdict::Undecided);
    // A language reward that costs the ability.
    let costly = Measures { language_consistency: about(0.99), ..model(40, 140.0) };
    assert_eq!(fails("language_reward_works", &set("r1-zero-language", costly)), Verdict::NotReproduced);
    // A cold start on more thoughts than it claims.
    let many = |s: &mut Vec<StageRecord>| s[3].facts = json!({ "examples": 1360 });
    assert_eq!(fails("cold_start_is_readable", &many), Verdict::Undecided);
    // Nothing left to restore.
    assert_eq!(fails("reasoning_rl_restores", &set("cold-start", model(70, 140.0))), Verdict::Undecided);
    assert_eq!(fails("rejection_sft_keeps", &set("rejection-sft", model(25, 140.0))), Verdict::NotReproduced);
    assert_eq!(fails("r1_is_level_and_readable", &set("r1", model(81, 140.0))), Verdict::NotReproduced);
    assert_eq!(fails("distillation_beats_rl", &|s| s[9].flops = 0.5e12), Verdict::Undecided);
}

/// The fragment by which a page of documents is entered at a heading.
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
