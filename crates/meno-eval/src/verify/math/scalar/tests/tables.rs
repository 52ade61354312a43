//! Pairs of expressions with their correct verdicts.

use super::notation::expr;
use crate::verify::math::scalar::{Equality, Work, equal};

fn verdict(a: &str, b: &str) -> Equality {
    let (x, y) = (expr(a), expr(b));
    let verdict = equal(&x, &y, &mut Work::default());
    assert_eq!(verdict, equal(&y, &x, &mut Work::default()), "not symmetric: {a} and {b}");
    verdict
}

fn check(wanted: Equality, pairs: &[(&str, &str)]) {
    let wrong: Vec<_> = pairs.iter().map(|(a, b)| (a, b, verdict(a, b))).filter(|(.., v)| *v != wanted).collect();
    assert!(wrong.is_empty(), "not {wanted:?}: {wrong:#?}");
}

#[test]
fn equal_numbers() {
    check(
        Equality::Equal,
        &[
            ("1/2", "0.5"),
            ("2^64", "18446744073709551616"),
            ("3^81", "443426488243037769948249630619149892803"),
            ("2^2023 - 1", "-1 + 2^2023"),
            ("50!", "50*49!"),
            ("binomial(100, 50)", "100!/(50!*50!)"),
            ("20!", "2432902008176640000"),
            ("2^-1", "0.5"),
            ("10^6", "1000000"),
            ("mixed(3, 1/2)", "7/2"),
            ("-mixed(3, 1/2)", "-3.5"),
            ("50%", "1/2"),
            ("7!!", "5040!"),
            ("factorial2(7)", "105"),
            ("gcd(12, 18)", "6"),
            ("lcm(4, 6)", "12"),
            ("mod(-7, 3)", "2"),
            ("floor(-7/2)", "-4"),
            ("ceil(7/2)", "4"),
            ("min(1, 2, 1/2)", "0.5"),
            ("sum(k, 1, 100, k)", "5050"),
            ("sum(k, 1, 1000, k^2)", "1000*1001*2001/6"),
            ("prod(k, 1, 10, k)", "10!"),
            ("det(1, 2, 3, 4)", "-2"),
            ("det(2, 0, 1, 1, 3, 2, 1, 1, 4)", "18"),
            ("1/2004!", "2005*2006/2006!"),
            ("gamma(5)", "24"),
            ("gamma(1/2)", "sqrt(pi)"),
            ("gamma(7/2)", "15*sqrt(pi)/8"),
            ("oo", "oo"),
            ("-oo", "-oo"),
        ],
    );
}

#[test]
fn equal_constants() {
    check(
        Equality::Equal,
        &[
            ("sqrt(12)", "2*sqrt(3)"),
            ("cbrt(-8)", "-2"),
            ("(-8)^(1/3)", "-2"),
            ("(8/27)^(1/3)", "2/3"),
            ("sqrt(2) + sqrt(3)", "sqrt(5 + 2*sqrt(6))"),
            ("1/(sqrt(2) - 1)", "1 + sqrt(2)"),
            ("(1 + sqrt(2))^5", "41 + 29*sqrt(2)"),
            ("cbrt(2 + sqrt(5))", "(1 + sqrt(5))/2"),
            ("cbrt(cbrt(2) - 1)", "cbrt(1/9) - cbrt(2/9) + cbrt(4/9)"),
            ("sqrt(-4)", "2*i"),
            ("1/i", "-i"),
            ("(1+i)^2", "2*i"),
            ("|3 + 4*i|", "5"),
            ("i^2", "-1"),
            ("e^(i*pi) + 1", "0"),
            ("e^(i*pi/3)", "1/2 + i*sqrt(3)/2"),
            ("sin(pi/6)", "1/2"),
            ("sin(30°)", "1/2"),
            ("cos(2*pi)", "1"),
            ("cos(pi/5)", "(1 + sqrt(5))/4"),
            ("sin(pi/10)", "(sqrt(5) - 1)/4"),
            ("cos(pi/7)*cos(2*pi/7)*cos(3*pi/7)", "1/8"),
            ("sin(18°)*sin(54°)", "1/4"),
            ("tan(pi/8)", "sqrt(2) - 1"),
            ("4*cos(20°)^3 - 3*cos(20°)", "1/2"),
            ("atan(1)", "pi/4"),
            ("asin(1/2)", "pi/6"),
            ("atan(sqrt(3))", "pi/3"),
            ("4*atan(1/5) - atan(1/239)", "pi/4"),
            ("acos(-1/2)", "2*pi/3"),
            ("log(2, 8)", "3"),
            ("log(4, 8)", "3/2"),
            ("log(10, 100)", "2"),
            ("log(2, 3)", "ln(3)/ln(2)"),
            ("log(2) + log(3)", "log(6)"),
            ("ln(8)", "3*ln(2)"),
            ("ln(sqrt(e))", "1/2"),
            ("e^(2*ln(3))", "9"),
            ("e^2*e^3", "e^5"),
            ("2^sqrt(2)*2^sqrt(2)", "4^sqrt(2)"),
            ("sqrt(2)^sqrt(2)", "2^(sqrt(2)/2)"),
            ("ln(2 + sqrt(3))", "acosh(2)"),
            ("sinh(1)", "(e - 1/e)/2"),
            ("cosh(ln(2))", "5/4"),
            ("i^i", "e^(-pi/2)"),
            ("sqrt(i)", "(1 + i)/sqrt(2)"),
            ("floor(pi)", "3"),
            ("ceil(e^10)", "22027"),
            ("re((1 + i)^3)", "-2"),
            ("arg(1 + i)", "pi/4"),
            ("max(pi, 22/7)", "22/7"),
            ("sgn(-pi)", "-1"),
            ("sqrt(sqrt(16))", "2"),
            ("2*sqrt(2)", "2^(3/2)"),
            ("pi^2/6", "(pi/6)*pi"),
            ("sqrt(3 - 2*sqrt(2))", "sqrt(2) - 1"),
            ("det(cos(1), -sin(1), sin(1), cos(1))", "1"),
        ],
    );
}

#[test]
fn different_constants() {
    check(
        Equality::Different,
        &[
            ("2^2023 - 1", "2^2023 + 1"),
            ("50!", "50! + 1"),
            ("3^81", "443426488243037769948249630619149892804"),
            ("1/2004!", "1/2006!"),
            ("1/3", "0.333333333333333333"),
            ("pi/2 + 10^-12", "pi/2"),
            ("e^10 + 0.00001", "e^10"),
            ("10^-20*pi", "0"),
            ("1 - 2^-70", "1"),
            ("1 - (1/2)^100", "1"),
            ("pi", "pi + 10^-700"),
            ("10^9*pi", "10^9*pi + 1"),
            ("sqrt(2)", "1.41421356237309504880168872420969807856967187537694"),
            ("e^(pi*sqrt(163))", "262537412640768744"),
            ("1", "1 - e^(-1000)"),
            ("cos(e^-1000)", "1"),
            ("ln(2)", "0.69314718055994530941723212145817656807550013436026"),
            ("sqrt(-4)", "-2*i"),
            ("i", "-i"),
            ("(-8)^(1/3)", "1 + i*sqrt(3)"),
            ("log(100)", "2"),
            ("log(100)", "ln(100)"),
            ("1/0", "1"),
            ("0", "1/0"),
            ("ln(0)", "0"),
            ("oo", "-oo"),
            ("oo", "5"),
            ("50", "50%"),
            ("sin(30)", "1/2"),
            ("asin(1/2)", "1/sin(1/2)"),
            ("5", "5!"),
            ("sin(10^30)", "0"),
            ("2516", "1358"),
            ("tan(pi/2)", "0"),
        ],
    );
}

#[test]
fn equal_expressions() {
    check(
        Equality::Equal,
        &[
            ("(x - 1)*(x + 1)", "x^2 - 1"),
            ("(x^2 - 1)/(x - 1)", "x + 1"),
            ("1/(1 + 1/x)", "x/(x + 1)"),
            ("-1/2*x", "-x/2"),
            ("(a/b)/c", "a/(b*c)"),
            ("2^61*x", "2305843009213693952*x"),
            ("|x|", "sqrt(x^2)"),
            ("asin(x) + acos(x)", "pi/2"),
            ("x*sqrt(1 - x^2)", "sqrt(1 - x^2)*x"),
            ("-ln(1 - x)", "-ln(-x + 1)"),
            ("tan(x)", "sin(x)/cos(x)"),
            ("ln(e^x)", "x"),
            ("ln(a/b)", "ln(a) - ln(b)"),
            ("sqrt(a*b)", "sqrt(a)*sqrt(b)"),
            ("sqrt(x)/sqrt(y)", "sqrt(x/y)"),
            ("e^x*e^y", "e^(x + y)"),
            ("sinh(x)", "(e^x - e^(-x))/2"),
            ("sin(2*x)", "2*sin(x)*cos(x)"),
            ("sin(x)^2 + cos(x)^2", "1"),
            ("sin(3*x)", "3*sin(x) - 4*sin(x)^3"),
            ("cos(x + y)", "cos(x)*cos(y) - sin(x)*sin(y)"),
            ("cosh(x)^2 - sinh(x)^2", "1"),
            ("ln(x^2)", "2*ln(|x|)"),
            ("x^(1/3)", "cbrt(x)"),
            ("x^(2/3)", "cbrt(x^2)"),
            ("cbrt(x^3)", "x"),
            ("1/sqrt(x)", "sqrt(x)/x"),
            ("sqrt(4*x)", "2*sqrt(x)"),
            ("sqrt(12*x^2)", "2*sqrt(3)*|x|"),
            ("sum(k, 1, n, k)", "n*(n + 1)/2"),
            ("sum(k, 1, n, k)", "sum(j, 1, n, j)"),
            ("sum(k, 0, n, 2^k)", "2^(n + 1) - 1"),
            ("sum(k, 0, n, binomial(n, k))", "2^n"),
            ("prod(k, 1, n, k)", "n!"),
            ("binomial(n, 2)", "n*(n - 1)/2"),
            ("binomial(n, k)", "n!/(k!*(n - k)!)"),
            ("binomial(n, k)", "binomial(n, n - k)"),
            ("(n + 1)!", "(n + 1)*n!"),
            ("(-1)^n", "cos(n*pi)"),
            ("(-1)^(n + 1)", "-(-1)^n"),
            ("2^(n + 1) - 2", "2*(2^n - 1)"),
            ("f(x) + 1", "1 + f(x)"),
            ("f(x + x)", "f(2*x)"),
            ("f(g(2*x)) * 2", "f(g(x + x)) + f(g(2*x))"),
            ("log(x) + log(y)", "log(x*y)"),
            ("log(2, x)", "ln(x)/ln(2)"),
            ("log(a, b)", "1/log(b, a)"),
            ("|x - 1000|", "|1000 - x|"),
            ("max(x, y)", "(x + y + |x - y|)/2"),
            ("x^a*x^b", "x^(a + b)"),
            ("a^b", "e^(b*ln(a))"),
            ("det(a, b, c, d)", "a*d - b*c"),
            ("(1 + i*x)*(1 - i*x)", "1 + x^2"),
            ("e^(i*x)", "cos(x) + i*sin(x)"),
            ("floor(x + 1)", "floor(x) + 1"),
            ("floor(2*x)", "floor(x) + floor(x + 1/2)"),
            ("floor((x + 1)^2)", "floor(x^2 + 2*x) + 1"),
            ("-floor(-n/3)", "floor((n + 2)/3)"),
            ("(x^m)^n", "x^(m*n)"),
            ("sum(k, 0, oo, 1/3^k)", "3/2"),
            ("atan(x) + acot(x)", "pi/2"),
            ("x_1 + x_2", "x_2 + x_1"),
            ("2*pi*r^2 + 2*pi*r*h", "2*pi*r*(r + h)"),
            ("sum(k, 1, 5, x^k)", "x + x^2 + x^3 + x^4 + x^5"),
            ("gcd(a, b)", "gcd(b, a)"),
            ("opaque(x)*2", "opaque(x) + opaque(x)"),
            ("x^100 - 1", "(x^50 - 1)*(x^50 + 1)"),
            ("(a + b)^3", "a^3 + 3*a^2*b + 3*a*b^2 + b^3"),
            ("sqrt(2)*x + x", "x*(1 + sqrt(2))"),
            ("asinh(x)", "ln(x + sqrt(x^2 + 1))"),
            ("atanh(x)", "ln((1 + x)/(1 - x))/2"),
        ],
    );
}

#[test]
fn different_expressions() {
    check(
        Equality::Different,
        &[
            ("sqrt(x^2)", "x"),
            ("ln(x^2)", "2*ln(x)"),
            ("ln(|x|)", "ln(x)"),
            ("sqrt(x^2*y^2)", "x*y"),
            ("n*log(m)", "m*log(n)"),
            ("log(x)", "ln(x)"),
            ("mod(a, b)", "mod(b, a)"),
            ("cos(2*x)", "x*cos(2)"),
            ("sin(w*t)", "t*sin(w)"),
            ("a^(b^c)", "a^(b*c)"),
            ("x", "y"),
            ("f(x)", "x*f"),
            ("|x - 1000|", "1000 - x"),
            ("|x - 1000|", "x - 1000"),
            ("|x + 1/1000|", "|x|"),
            ("2*x^3 + 3*x^2/5 + 7*sin(11*x) + |x - 5000|", "2*x^3 + 3*x^2/5 + 7*sin(11*x) + 5000 - x"),
            ("|x - e^10|", "e^10 - x"),
            ("sqrt((y - 40000*x)^2)", "y - 40000*x"),
            ("|x - 10^7| + |x - 10^8| + |x - 10^9|", "10^7 + 10^8 + 10^9 - 3*x"),
            ("x + 8*y + 9*x*y + max(x, 123456)", "x + 8*y + 9*x*y + 123456"),
            ("|x - 10^20|", "10^20 - x"),
            ("x", "x + 10^-40"),
            ("2^61*x", "x"),
            ("sin(2*pi*x)", "0"),
            ("cos(2*pi*x)", "1"),
            ("atan(x) + atan(1/x)", "pi/2"),
            ("asin(sin(x))", "x"),
            ("floor(x)", "x"),
            ("floor(x + 1/2)", "-floor(1/2 - x)"),
            ("floor(3*x)", "floor(x) + floor(x + 1/3) + floor(x + 1/2)"),
            ("x + max(0, 10^-9 - |x - 1/7|)", "x"),
            ("(a^b)^c", "a^(b*c)"),
            ("(x^2)^a", "x^(2*a)"),
            ("n!", "n^n"),
            ("x/0", "1"),
            ("sqrt(x)", "i*sqrt(-x)"),
            ("sqrt(-x^2)", "i*x"),
            ("x^100 - 1", "(x^50 - 1)*(x^50 + 1) + 10^-60"),
            ("sum(k, 1, n, k)", "n*(n - 1)/2"),
            ("e^x", "1 + x + x^2/2 + x^3/6"),
            ("(x - 1)*(x - 2)*(x - 3)*(x - 4)*n!", "0"),
        ],
    );
}

#[test]
fn undecided() {
    check(
        Equality::Undecided,
        &[
            ("1", "9^(9^(9^9))"),
            ("x + floor(sin(x)^2)", "x"),
            ("f(x)", "f(2*x)"),
            ("f(x)", "g(x) + f(y)*0 + f(1)"),
            ("1/0", "1/0"),
            ("1/(x - x)", "1/(x - x)"),
            ("0/0", "0/0"),
            ("oo + 1", "oo"),
            ("sum(k, 1, oo, 1/k^2)", "pi^2/6"),
            ("opaque(x)", "opaque(y)"),
            ("ln(0)", "ln(0)"),
        ],
    );
}

#[test]
fn identical_without_a_value() {
    check(
        Equality::Equal,
        &[("9^(9^(9^9))", "9^(9^(9^9))"), ("oo + 1", "oo + 1"), ("sum(k, 1, oo, 1/k^2)", "sum(k, 1, oo, 1/k^2)")],
    );
}

/// Inputs designed to take long: all finish within the budget without a wrong verdict.
#[test]
fn adversarial() {
    let joined = |n: usize, sign: &str, term: &str| -> String {
        (0..n).map(|k| term.replace('#', &k.to_string())).collect::<Vec<_>>().join(sign)
    };
    let nested = |n: usize, head: &str, tail: &str| format!("{}x{}", head.repeat(n), tail.repeat(n));
    let long = [
        "9^(9^(9^9))".to_owned(),
        "10^10^10".to_owned(),
        "(10^10^6)^(1/3)".to_owned(),
        "20000!".to_owned(),
        "(20000!)!".to_owned(),
        "sin(10^500)".to_owned(),
        "sin(10^100000)".to_owned(),
        "e^(10^30)".to_owned(),
        "e^(-10^30)".to_owned(),
        "e^(e^(e^(e^x)))".to_owned(),
        "x^(10^30) + x^(1/1099511627776)".to_owned(),
        "sum(k, 1, 10000, 1/k)".to_owned(),
        "sum(k, 1, 10000, sqrt(k))".to_owned(),
        "sum(k, 9223372036854775800, 9223372036854775807, k)".to_owned(),
        "sum(k, -9223372036854775807, 9223372036854775807, k)".to_owned(),
        "sum(k, 1, n, sum(j, 1, k^9, sum(m, 1, j^9, 1/(j*k*m))))".to_owned(),
        "binomial(9223372036854775807, 4611686018427387904)".to_owned(),
        "binomial(n^n^n, n^n)".to_owned(),
        "(-9223372036854775807/2)!".to_owned(),
        "gcd(2^100000 - 1, 3^60000 + 5)".to_owned(),
        "prod(k, 1, 250, cos(k*pi/503))".to_owned(),
        joined(60, "+", "sin(x#*y#)"),
        joined(60, "*", "sqrt(2 + sqrt(# + sqrt(3)))"),
        joined(60, "+", "f(#*x)"),
        joined(300, "+", "sqrt(#)"),
        joined(300, "+", "sin(10^400 + #)"),
        nested(180, "sqrt(1 + ", ")"),
        nested(180, "(1 + ", ")^2"),
        nested(180, "sin(1 + ", ")"),
        nested(250, "-(", ")"),
        nested(60, "f(", ")"),
    ];
    for a in &long {
        let x = expr(a);
        let mut work = Work::default();
        assert_ne!(equal(&x, &expr("1/7"), &mut work), Equality::Equal, "{a}");
        assert_ne!(equal(&x, &expr(&format!("{a} + 10^-50")), &mut Work::default()), Equality::Equal, "{a}");
        assert_ne!(equal(&x, &x, &mut Work::default()), Equality::Different, "{a}");
    }
}
