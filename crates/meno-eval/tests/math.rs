//! Judges whole responses: our test cases with the reason for each verdict, and Math-Verify's published test cases.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_eval::Verdict;
use meno_eval::tasks::dataset::judge;
use serde_json::Value;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_paid(case: &Value) -> bool {
    judge(case["gold"].as_str().unwrap(), case["response"].as_str().unwrap(), false).verdict == Verdict::Right
}

#[test]
fn every_case_gets_the_expected_verdict() {
    let cases = lines(include_str!("data/math.jsonl"));
    assert_eq!(cases.len(), 1099);
    let missed: Vec<&Value> = cases.iter().filter(|case| is_paid(case) != case["right"].as_bool().unwrap()).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Where our verdict differs from Math-Verify 0.9.0, and why. Prefixes of the reference and of the response.
const DISAGREEMENTS: [(&str, &str, &str); 18] = [
    ("$9$", "Answer $ \n 9", "a formula may have line breaks: TeX allows them"),
    ("$9$", "Answer \\( \n 9", "as above"),
    ("$10/9$", "Answer $ \\frac{1}{2} \\$ = ", "1/2 is not 10/9: a chain with a false step is not an answer"),
    ("$28\\%$", "28", "28 is not 28 %"),
    ("$x = 11$", "$x = 5+5+1 = 7 =11$", "a chain with a false step is not an answer"),
    ("$x = 11$", "$x = 5+5+1 = 7 =11$", "as above"),
    ("$x = 1/3$", "$x = 5+5+1 = 1/3", "as above"),
    ("$1 = \\zzz = x = 0$", "$0$", "as above"),
    ("$z = 1 + 1 = 2$", "$z = 3+3 = 2$", "as above"),
    ("$z = 1 + 1 = 2$", "$z = 3+3 = 2$", "as above"),
    ("$\\frac{1}{12}$", "$0.0833333333333333$", "a rational reference requires an exact answer"),
    ("$(\\begin{pmatrix}\\frac{1}{3}", "$\\begin{pmatrix}0.33", "as above"),
    ("$(\\frac{3}{5},\\frac{8}{3}]$", "$(0.6,2.6667]$", "as above"),
    ("$(1,3)$", "${1,3}$", "a tuple is ordered, a set is not"),
    ("$10455$", "First, let's calculate", "the last box counts, and it contains 255"),
    ("$x \\in [-2,7]$", "$-2 \\\\le x \\\\le 7$", "the set and the inequality are equivalent"),
    ("$\\\\boxed{35 cm} ++++++", "${35 cm,4}$", "boxes with plus signs between them are not one answer"),
    ("$1 - \\frac{1}{\\mathrm{e}}$", "$1 + \\frac{1}{\\mathrm{e}}$", "they differ by 2/e"),
];

#[test]
fn verdicts_match_math_verify_except_listed_cases() {
    let cases = lines(include_str!("data/math_verify.jsonl"));
    assert_eq!(cases.len(), 272);
    let missed: Vec<&Value> = cases.iter().filter(|case| is_paid(case) != case["right"].as_bool().unwrap()).collect();
    let starts = |case: &Value, key: &str, text: &str| case[key].as_str().unwrap().starts_with(text);
    for (case, (gold, response, why)) in missed.iter().zip(DISAGREEMENTS) {
        assert!(starts(case, "gold", gold) && starts(case, "response", response), "expected {gold} ({why}): {case:#}");
    }
    assert_eq!(missed.len(), DISAGREEMENTS.len(), "{missed:#?}");
}
