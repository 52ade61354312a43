//! Pairs made by SymPy and decimals by mpmath: `dev/reference/math_scalar.py`.

use num_bigint::BigInt;
use num_rational::BigRational;

use super::notation::expr;
use crate::verify::math::scalar::ball::Ball;
use crate::verify::math::scalar::{Equality, Work, decimal, elementary, equal, exact};

fn lines(kind: char) -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("golden.txt").lines().filter_map(move |line| line.strip_prefix(kind)?.trim().split_once(' '))
}

#[test]
fn sympy_pairs() {
    for (kind, wanted) in [('=', Equality::Equal), ('!', Equality::Different)] {
        let mut wrong = Vec::new();
        let mut count = 0;
        for (a, b) in lines(kind) {
            count += 1;
            let verdict = equal(&expr(a), &expr(b), &mut Work::default());
            if verdict != wanted {
                wrong.push((a, b, verdict));
            }
        }
        assert!(count > 100 && wrong.is_empty(), "not {wanted:?}: {wrong:#?}");
    }
}

#[test]
fn mpmath_decimals() {
    let mut count = 0;
    for (e, wanted) in lines('~') {
        count += 1;
        let mut work = Work::new(1 << 40);
        let text = decimal(&expr(e), 190, &mut work).unwrap();
        let value = |s: &str| -> BigRational {
            let (s, power) = s.split_once('e').map_or((s, 0), |(s, p)| (s, p.parse::<i32>().unwrap()));
            let (whole, fraction) = s.split_once('.').unwrap_or((s, ""));
            let n: BigInt = format!("{whole}{fraction}").parse().unwrap();
            BigRational::from_integer(n) * BigRational::from_integer(10.into()).pow(power - fraction.len() as i32)
        };
        let (x, y) = (value(&text), value(wanted));
        let limit = BigRational::from_integer(10.into()).pow(-188);
        assert!(((x - &y) / y < limit), "{e}: {text}, not {wanted}");
    }
    assert!(count >= 50);
}

/// Every precision encloses mpmath's value, and the enclosures are tight.
#[test]
fn enclosures() {
    for (e, wanted) in lines('~') {
        let (name, argument) = e.trim_end_matches(')').split_once('(').unwrap();
        let x = exact(&expr(argument), &mut Work::default()).unwrap();
        let (whole, fraction) = wanted.split_once('.').unwrap();
        let n: BigInt = format!("{whole}{fraction}").parse().unwrap();
        let step = BigRational::from_integer(10.into()).pow(-(fraction.len() as i32));
        let value = BigRational::from_integer(n) * &step;
        for p in [20, 53, 64, 100, 200, 301, 500] {
            let x = Ball::rational(&x, p + 40);
            let ball = match name {
                "sin" => elementary::sin_cos(&x, p).map(|pair| pair.0),
                "cos" => elementary::sin_cos(&x, p).map(|pair| pair.1),
                "exp" if x.rad().log2() > -1 => continue,
                "exp" => elementary::exp(&x, p),
                "ln" => elementary::ln(&x, p),
                _ => elementary::atan(&x, p),
            };
            let (low, high) = ball.unwrap().bounds().unwrap();
            assert!(low <= &value + &step && &value - &step <= high, "{e} at {p}");
            let size = if name == "exp" { value.clone() } else { BigRational::from_integer(1.into()) };
            assert!((high - low) / size < BigRational::from_integer(2.into()).pow(-p as i32 + 16), "{e} at {p}");
        }
    }
}
