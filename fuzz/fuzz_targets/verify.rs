//! Answers: any response and any reference are judged without a panic, equality is symmetric, and what is printed is
//! read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_eval::verify::{choice, countdown, math};

fuzz_target!(|data: (&str, &str)| {
    let (gold, response) = data;
    math::judge(gold, response, false);
    math::judge(gold, &format!("\\boxed{{{response}}}"), false);
    choice::letter(response);
    countdown::is_solution(response, &[1, 2, 3], 6);
    assert_eq!(math::equal(gold, response), math::equal(response, gold));
    for reading in math::parse(response) {
        let printed = reading.to_string();
        assert!(!math::parse(&printed).is_empty(), "{printed:?} of {response:?} cannot be read again");
    }
});
