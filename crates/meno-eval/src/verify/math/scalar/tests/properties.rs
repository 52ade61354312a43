//! Properties of random expressions.

use num_rational::BigRational;
use proptest::prelude::*;

use super::notation::expr;
use crate::verify::math::scalar::ball::Ball;
use crate::verify::math::scalar::{Equality, Work, compare, equal, exact};

/// Random expressions in the test notation.
fn expression(leaf: &'static str) -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = leaf.split(' ').collect();
    let leaf = prop_oneof![
        (1i64..30).prop_map(|n| n.to_string()),
        (1i64..30, 1i64..12).prop_map(|(n, d)| format!("({n}/{d})")),
        proptest::sample::select(names).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone().prop_map(|(a, b)| format!("({a}+{b})")),
            pair.clone().prop_map(|(a, b)| format!("({a}-{b})")),
            pair.clone().prop_map(|(a, b)| format!("({a}*{b})")),
            pair.prop_map(|(a, b)| format!("({a}/{b})")),
            (inner.clone(), -3i32..4).prop_map(|(a, n)| format!("({a}^({n}))")),
            inner.clone().prop_map(|a| format!("sqrt({a})")),
            inner.clone().prop_map(|a| format!("cbrt({a})")),
            inner.clone().prop_map(|a| format!("sin({a})")),
            inner.clone().prop_map(|a| format!("ln({a})")),
            inner.clone().prop_map(|a| format!("atan({a})")),
            inner.clone().prop_map(|a| format!("|{a}|")),
            inner.prop_map(|a| format!("floor({a})")),
        ]
    })
}

fn decide(a: &str, b: &str) -> Equality {
    equal(&expr(a), &expr(b), &mut Work::default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reflexive_and_symmetric(a in expression("x y pi e i"), b in expression("x y pi e i")) {
        prop_assert_ne!(decide(&a, &a), Equality::Different);
        let (left, right) = (decide(&a, &b), decide(&b, &a));
        // Only an exhausted budget may cause a difference.
        prop_assert!(
            left == right || left == Equality::Undecided || right == Equality::Undecided,
            "{left:?} {right:?}"
        );
        prop_assert!(left != Equality::Equal || right != Equality::Different);
    }

    #[test]
    fn a_perturbation_is_never_equal(a in expression("x y pi e"), n in 1i64..1000, k in 0u32..60) {
        let delta = format!("{n}*10^(-{k})");
        prop_assert_ne!(decide(&a, &format!("{a} + {delta}")), Equality::Equal);
        prop_assert_ne!(decide(&format!("{a} - pi*{delta}"), &a), Equality::Equal);
        prop_assert_ne!(decide(&format!("x + {a}"), &format!("x*(1 + {delta}) + {a}")), Equality::Equal);
    }

    #[test]
    fn rearranged_is_never_different(a in expression("x y pi e"), b in expression("x y pi e")) {
        prop_assert_ne!(decide(&format!("{a} + {b}"), &format!("{b} + {a}")), Equality::Different);
        prop_assert_ne!(decide(&format!("({a} + {b})^2"), &format!("{a}^2 + 2*{a}*{b} + {b}^2")), Equality::Different);
        prop_assert_ne!(decide(&format!("({a} + 1)*{b}"), &format!("{a}*{b} + {b}")), Equality::Different);
    }

    #[test]
    fn order_is_antisymmetric(a in expression("pi e"), b in expression("pi e")) {
        let (x, y) = (expr(&a), expr(&b));
        let order = |x, y| compare(x, y, &mut Work::default());
        if let (Some(left), Some(right)) = (order(&x, &y), order(&y, &x)) {
            prop_assert_eq!(left, right.reverse());
        }
    }

    #[test]
    fn balls_enclose_rationals(
        a in -10_000i64..10_000,
        b in 1i64..1000,
        c in -10_000i64..10_000,
        d in 1i64..1000,
        p in 8i64..200,
    ) {
        let (x, y) = (BigRational::new(a.into(), b.into()), BigRational::new(c.into(), d.into()));
        let (u, v) = (Ball::rational(&x, p), Ball::rational(&y, p));
        let holds = |ball: Ball, value: &BigRational| {
            ball.bounds().is_some_and(|(low, high)| low <= *value && *value <= high)
        };
        prop_assert!(holds(u.add(&v, p), &(&x + &y)));
        prop_assert!(holds(u.sub(&v, p), &(&x - &y)));
        prop_assert!(holds(u.mul(&v, p), &(&x * &y)));
        if let Ok(quotient) = u.div(&v, p) {
            prop_assert!(holds(quotient, &(&x / &y)));
        }
        let square = Ball::rational(&(&x * &x), p);
        let size = if a < 0 { -x.clone() } else { x.clone() };
        prop_assert!(holds(square.sqrt(p), &size));
        let cube = Ball::rational(&(&size * &size * &size), p);
        prop_assert!(holds(cube.root(3, p), &size));
        if let Some(floor) = u.floor() {
            prop_assert_eq!(BigRational::from_integer(floor), x.floor());
        }
    }

    #[test]
    fn arithmetic_is_exact(a in -500i64..500, b in 1i64..500, c in 1i64..500, n in -5i32..6) {
        let value = |s: String| exact(&expr(&s), &mut Work::default());
        let (x, y) = (BigRational::new(a.into(), b.into()), BigRational::from_integer(c.into()));
        prop_assert_eq!(value(format!("{a}/{b} + {c}")), Some(&x + &y));
        prop_assert_eq!(value(format!("({a}/{b}) / {c}")), Some(&x / &y));
        if a != 0 {
            prop_assert_eq!(value(format!("({a}/{b})^({n})")), Some(x.pow(n)));
        }
    }
}
