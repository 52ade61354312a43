//! Properties of any tree, any number and any text.

use super::super::tree::{Bracket, Constant, Expr, Function, Literal, Relation};
use super::super::{equal, judge, parse, same};
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;

/// Random trees of the kind that the parser produces.
fn tree() -> BoxedStrategy<Expr> {
    let integer = (0u64..2000).prop_map(|n| Expr::Number(Literal::integer(n)));
    let decimal = (1u64..99_999, 1u32..5).prop_map(|(n, decimals)| {
        let value = BigRational::new(n.into(), BigInt::from(10).pow(decimals));
        Expr::Number(Literal { value, decimals, recurring: 0 })
    });
    let recurring = (1u64..99).prop_map(|n| {
        Expr::Number(Literal { value: BigRational::new(n.into(), 99.into()), decimals: 0, recurring: 2 })
    });
    let mixed = (1u64..50, 1u64..9).prop_map(|(whole, n)| {
        let number = |n: u64| Expr::Number(Literal::integer(n));
        Expr::Mixed(Box::new(number(whole)), Box::new(Expr::Div(Box::new(number(n)), Box::new(number(n + 3)))))
    });
    let symbol = prop_oneof![
        Just("x"),
        Just("y"),
        Just("A"),
        Just("\\alpha"),
        Just("x_{10}"),
        Just("a'"),
        Just("\\overline{z}"),
        Just("AB")
    ]
    .prop_map(|s| Expr::Symbol(s.to_owned()));
    let constant = prop_oneof![Just(Constant::Pi), Just(Constant::E), Just(Constant::I), Just(Constant::Infinity)]
        .prop_map(Expr::Constant);
    let text = prop_oneof![Just("even"), Just("new york"), Just("or more")].prop_map(|t| Expr::Text(t.to_owned()));
    let leaf =
        prop_oneof![4 => integer, 2 => decimal, 1 => recurring, 1 => mixed, 4 => symbol, 2 => constant, 1 => text]
            .boxed();
    leaf.prop_recursive(4, 40, 4, |inner| {
        let inner = inner.boxed();
        let scalar =
            inner.clone().prop_filter("text stands alone", |e| !matches!(e, Expr::Text(_) | Expr::Chain(..))).boxed();
        let one = scalar.clone().prop_map(Box::new).boxed();
        let many = |min: usize| proptest::collection::vec(scalar.clone(), min..4).boxed();
        let items = proptest::collection::vec(inner.clone(), 0..4);
        let function = prop_oneof![
            Just(Function::Sin),
            Just(Function::Arctan),
            Just(Function::Ln),
            Just(Function::Exp),
            Just(Function::Abs),
            Just(Function::Floor),
            Just(Function::Ceil),
            Just(Function::Log),
            Just(Function::Tanh),
            Just(Function::Sgn)
        ];
        prop_oneof![
            many(2).prop_map(Expr::Add),
            many(2).prop_map(Expr::Mul),
            one.clone().prop_map(Expr::Neg),
            one.clone().prop_map(Expr::PlusMinus),
            (one.clone(), one.clone()).prop_map(|(a, b)| Expr::Div(a, b)),
            (one.clone(), one.clone()).prop_map(|(a, b)| Expr::Pow(a, b)),
            (one.clone(), one.clone()).prop_map(|(a, b)| Expr::Root(a, b)),
            one.clone().prop_map(Expr::Percent),
            one.clone().prop_map(Expr::Degrees),
            (function, scalar.clone()).prop_map(|(f, x)| Expr::Call(f, vec![x])),
            scalar.clone().prop_map(|x| Expr::Call(Function::Factorial, vec![x])),
            (scalar.clone(), scalar.clone()).prop_map(|(a, b)| Expr::Call(Function::LogBase, vec![a, b])),
            (scalar.clone(), scalar.clone()).prop_map(|(a, b)| Expr::Call(Function::Binomial, vec![a, b])),
            many(2).prop_map(|a| Expr::Call(Function::Gcd, a)),
            many(1).prop_map(|a| Expr::Apply("f".into(), a)),
            many(1).prop_map(|a| Expr::Apply("\\foo".into(), a)),
            items.clone().prop_map(Expr::Set),
            (items, any::<bool>()).prop_filter_map("a single item is in brackets", |(items, open)| {
                let left = if open { Bracket::Round } else { Bracket::Square };
                (items.len() != 1).then_some(Expr::Tuple(left, items, Bracket::Round))
            }),
            (scalar.clone(), scalar.clone(), any::<bool>()).prop_map(|(a, b, strict)| {
                Expr::Chain(vec![a, b], vec![if strict { Relation::Less } else { Relation::Equal }])
            }),
            many(2).prop_map(Expr::Union),
            many(2).prop_map(Expr::Ratio),
            proptest::collection::vec(many(2), 1..3)
                .prop_filter("rows of one length", |rows| rows.iter().all(|r| r.len() == rows[0].len()))
                .prop_map(Expr::Matrix),
        ]
        .boxed()
    })
    .boxed()
}

/// Random constant rational expressions with their values.
fn rational() -> impl Strategy<Value = (Expr, BigRational)> {
    let number = |n: i64| Expr::Number(Literal::integer(n));
    let leaf = (1i64..200).prop_map(move |n| (number(n), BigRational::from_integer(n.into())));
    leaf.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (Expr::Add(vec![a, b]), x + y)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (Expr::Mul(vec![a, b]), x * y)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (Expr::Div(Box::new(a), Box::new(b)), x / y)),
            inner.prop_map(|(a, x)| (
                Expr::Pow(Box::new(a), Box::new(Expr::Number(Literal::integer(2)))),
                x.clone() * x
            )),
        ]
    })
}

/// A sign before a signed product.
#[test]
fn signed_products_under_signs_print_in_brackets() {
    let product = || Expr::Mul(vec![Expr::Symbol("a".into()), Expr::Symbol("b".into())]);
    let signed = [Expr::Neg(Box::new(product())), Expr::PlusMinus(Box::new(product()))];
    for inner in signed {
        for e in [Expr::Neg(Box::new(inner.clone())), Expr::Add(vec![product(), Expr::Neg(Box::new(inner.clone()))])] {
            let text = e.to_string();
            assert!(text.contains("\\left(") && parse(&text).contains(&e), "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn printing_is_undone_by_parsing(e in tree()) {
        let text = e.to_string();
        let readings = parse(&text);
        prop_assert!(readings.contains(&e), "{text}\n{e:?}\n{readings:?}");
    }

    #[test]
    fn comparing_is_symmetric(a in tree(), b in tree()) {
        prop_assert_eq!(same(&a, &b), same(&b, &a), "{} and {}", a, b);
    }

    #[test]
    fn any_text_can_be_judged(text in "\\PC{0,60}") {
        judge(&text, &text, false);
        judge("1", &format!("\\boxed{{{text}}}"), false);
    }

    #[test]
    fn any_latex_can_be_judged(parts in proptest::collection::vec(prop_oneof![
        Just("\\frac"), Just("{"), Just("}"), Just("1"), Just("x"), Just("^"), Just("_"), Just("\\sqrt"), Just("("),
        Just(")"), Just(","), Just("\\cdot"), Just("="), Just("\\begin{pmatrix}"), Just("\\end{pmatrix}"), Just("&"),
        Just("\\\\"), Just("\\text{ cm}"), Just("|"), Just("-"), Just("\\pm"), Just("!"), Just("12"), Just("\\sin"),
        Just("\\log"), Just(" "), Just("."), Just("\\%"), Just("abc"), Just(" or "), Just("\\sum_{k=1}^{3}"),
    ], 0..25)) {
        let text = parts.concat();
        judge(&text, &format!("\\boxed{{{text}}}"), false);
    }

    #[test]
    fn a_perturbed_value_is_another((e, value) in rational(), n in 1i64..1000, scale in 0u32..60) {
        let shift = BigRational::new(n.into(), BigInt::from(10).pow(scale));
        let exact = |v: &BigRational| format!("\\frac{{{}}}{{{}}}", v.numer(), v.denom());
        let text = e.to_string();
        prop_assert!(equal(&text, &exact(&value)), "{}", text);
        prop_assert!(!equal(&text, &exact(&(value + shift))), "{}", text);
    }

    #[test]
    fn fractions_agree_with_their_decimal(n in -9999i64..9999, d in 1u32..6) {
        let p = 10i64.pow(d);
        let sign = if n < 0 { "-" } else { "" };
        let decimal = format!("{sign}{}.{:0width$}", n.abs() / p, n.abs() % p, width = d as usize);
        let fraction = format!("\\frac{{{n}}}{{{p}}}");
        prop_assert!(equal(&decimal, &fraction), "{} {}", decimal, fraction);
    }
}
