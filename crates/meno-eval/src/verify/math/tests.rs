//! Tables of equal and different answers.

mod properties;

use super::{equal, judge, parse};
use crate::verify::Verdict;

#[test]
fn same_answers() {
    for (a, b) in [
        ("42", "42.0"),
        ("1/2", "\\frac{1}{2}"),
        ("0.5", "\\dfrac12"),
        ("$1,234$", "1234"),
        ("x = 5", "5"),
        ("-\\frac{3}{4}", "-0.75"),
        ("2\\sqrt{3}", "\\sqrt{12}"),
        ("\\frac{\\sqrt{2}}{2}", "1/\\sqrt{2}"),
        ("2^{10}", "1024"),
        ("3\\pi", "\\pi*3"),
        ("90^\\circ", "90"),
        ("90^\\circ", "\\frac{\\pi}{2}"),
        ("50\\%", "0.5"),
        ("50\\%", "50 percent"),
        ("(1, 2)", "\\left(1, \\frac{4}{2}\\right)"),
        ("\\{1,2\\}", "\\{2, 1\\}"),
        ("\\text{yes}", "yes"),
        ("2(1+1)", "4"),
        ("1.50", "3/2"),
        ("1\\frac{1}{2}", "\\frac{3}{2}"),
        ("\\sqrt[3]{8}", "2"),
        ("\\sqrt2", "\\sqrt{2}"),
        ("5!", "120"),
        ("7!!", "105"),
        ("\\binom{5}{2}", "10"),
        ("{5 \\choose 2}", "10"),
        ("10{,}000", "10,000"),
        ("1.2 \\times 10^{3}", "1200"),
        ("1.2e3", "1200"),
        ("6r^2-4r-24", "6 r^{2} - 24 - 4r"),
        ("(x+1)^2", "x^2 + 2x + 1"),
        ("2xy", "2yx"),
        ("\\frac{x}{2}", "0.5x"),
        ("y = 2x + 3", "3+2x"),
        ("f(x) = x^2", "x \\cdot x"),
        ("f(x) = x^2", "y = x^2"),
        ("x^2+y^2=1", "1 = y^2 + x^2"),
        ("x \\in [-2,7]", "[-2, 7]"),
        ("(-\\infty, 3) \\cup (3, +\\infty)", "(3,\\infty)\\cup(-\\infty,3)"),
        ("\\mathbb{R} \\setminus \\{3\\}", "(-\\infty,3)\\cup(3,\\infty)"),
        ("x \\ne 3", "(-\\infty,3)\\cup(3,\\infty)"),
        ("\\{x \\mid x > 2\\}", "(2,\\infty)"),
        ("1 < x \\leq 2", "(1,2]"),
        ("x<1 \\text{ or } x>3", "(-\\infty,1)\\cup(3,\\infty)"),
        ("x>1 \\text{ and } x<3", "(1,3)"),
        ("|x| < 2", "(-2,2)"),
        ("[1,2]\\cup[2,3]", "[1,3]"),
        ("]1,2[", "(1,2)"),
        ("3 \\pm 2\\sqrt{2}", "3-\\sqrt{8}, 3+\\sqrt{8}"),
        ("1, -2", "-2,1"),
        ("1, 2", "1, 2, 2"),
        ("\\frac{1}{2}, 0.3", "0.3, 0.5"),
        ("12\\text{ cm}^2", "12"),
        ("12\\text{ cm}^2", "12\\text{ cm}^{2}"),
        ("5 \\text{ hours}", "300 minutes"),
        ("36 km/h", "10\\text{ m/s}"),
        ("\\$18.90", "18.9"),
        ("\\$1{,}250", "1250 dollars"),
        ("\\text{(C)}", "C"),
        ("\\text{Evelyn}", "evelyn"),
        ("\\begin{pmatrix} 1 & \\frac{2}{4} \\\\ 3 & 4 \\end{pmatrix}", "\\begin{bmatrix}1&0.5\\\\3&4\\end{bmatrix}"),
        ("\\left[\\begin{array}{cc}1&2\\\\3&4\\end{array}\\right]", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^2", "\\begin{pmatrix}7&10\\\\15&22\\end{pmatrix}"),
        ("\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}", "-2"),
        ("2516_8", "2516_{8}"),
        ("A3F_{16}", "2623"),
        ("3A_{16}", "3A_{16}"),
        ("6 - 5i", "-5i + 6"),
        ("e^{i\\pi}", "-1"),
        ("\\sin^2 x", "1-\\cos^2 x"),
        ("\\log_2 8", "3"),
        ("\\log 2 + \\log 3", "\\log 6"),
        ("\\gcd(12, 18)", "6"),
        ("17 \\bmod 5", "2"),
        ("\\lfloor 3.7 \\rfloor", "3"),
        ("\\max(1,2)", "2"),
        ("\\sum_{k=1}^{10} k", "55"),
        ("\\prod_{k=1}^{5} k", "120"),
        ("x_1 + x_2", "x_{2}+x_{1}"),
        ("\\left\\{1, 2\\right\\}", "\\{2,1\\}"),
        ("\\varnothing", "\\{\\}"),
        ("p - q", "-q+p"),
        ("\\frac43", "1\\frac13"),
        ("0.\\!5", ".5"),
        ("0.1\\overline{6}", "1/6"),
        ("0.\\dot{1}4285\\dot{7}", "1/7"),
        ("0.(3)", "\\frac13"),
        ("e^{2x}", "(e^x)^2"),
        ("(p,q)=(3,2)", "(3,2)"),
        ("x=1, y=2", "y=2, x=1"),
        ("x=1, y=2", "(1,2)"),
        ("(1 2)(3 4)", "(4 3)(2 1)"),
        ("(1\\ 2\\ 3)", "(2 3 1)"),
        ("\\begin{cases}x=1\\\\y=2\\end{cases}", "x=1, y=2"),
        ("x < 1", "-x > -1"),
        ("2 < x", "x > 2"),
        ("x \\equiv 3 \\pmod{7}", "x \\equiv 3 \\pmod{7}"),
        ("x \\equiv 3 \\pmod{5}", "x \\equiv 8 \\pmod 5"),
        ("x \\equiv 3 \\pmod{5}", "x ≡ 3 (mod 5)"),
        ("x \\equiv 3 \\pmod{5}", "x \\equiv 3 \\mod 5"),
        ("(p,q)=(3,2)", "q=2, p=3"),
        ("(x,y)=(1,2)", "(y,x)=(2,1)"),
        ("x<0 \\text{ or } x>1", "(-\\infty,0)\\cup(1,\\infty)"),
        ("(-\\infty,0)\\text{ or }(1,\\infty)", "(-\\infty,0)\\cup(1,\\infty)"),
        ("\\text{5 cm}", "5"),
        ("25\\text{ min}", "25 minutes"),
        ("3\\text{ in}", "3 inches"),
        ("20\\text{N}", "20"),
        ("5\\,\\mathrm{m}", "500 cm"),
        ("5个", "5"),
        ("5万", "50000"),
        ("|x||y|", "|xy|"),
        ("a^c_b", "a_b^c"),
        ("f^{\\prime}(x)", "f'(x)"),
        ("\\large 5", "5"),
        ("\\textcolor{blue}{5}", "5"),
        ("\\sum_{i=1}^{5} i^2", "55"),
        ("P(2,3)", "(2,3)"),
        ("\\text{all real numbers}", "\\mathbb{R}"),
        ("z^*", "z^{*}"),
        ("five", "5"),
        ("3 \\text{ million}", "3000000"),
        ("\\\\frac{1}{2}", "0.5"),
        ("3.14159", "\\pi"),
        ("1{,}41421356", "\\sqrt2"),
        ("2,74", "2.74"),
        ("1.234,56", "1234.56"),
        ("x + \\foo", "x + \\foo"),
        ("\\langle 1,2\\rangle", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        ("20^\\circ\\text{C}", "20"),
        ("\\angle ABC", "\\angle ABC"),
    ] {
        assert!(equal(a, b), "{a} and {b}: {:?} {:?}", parse(a), parse(b));
        assert!(equal(b, a), "{b} and {a}");
    }
}

#[test]
fn different_answers() {
    for (a, b) in [
        ("42", "43"),
        ("1/2", "1/3"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2]"),
        ("12", "1,2"),
        ("1,2", "1.2"),
        ("1,234", "1.234"),
        ("2 3", "23"),
        ("2 3", "6"),
        ("yes", "no"),
        ("1/0", "2/0"),
        ("1/0", "1/0"),
        ("0.333333", "1/3"),
        ("0.3333333333333333", "1/3"),
        ("3.14", "\\pi"),
        ("3.14158", "\\pi"),
        ("", "0"),
        ("x", "y"),
        ("(1,2)", "(1,2]"),
        ("x^2", "x^3"),
        ("6r^2-4r-24", "6r^2-4r+24"),
        ("1, 2", "1, 3"),
        ("(1,2)\\cup(3,4)", "(1,2)\\cup(3,5)"),
        ("x=5", "x=6"),
        ("x=5", "y=5"),
        ("x>5", "y>5"),
        ("x > 1", "x \\ge 1"),
        ("x^2+y^2=1", "x^2+y^2=2"),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2&3&4\\end{pmatrix}"),
        ("\\infty", "-\\infty"),
        ("2516_8", "2516_9"),
        ("ab", "ac"),
        ("ABC", "BAC"),
        ("12\\text{ cm}", "13"),
        ("5\\text{ kg}", "5\\text{ m}"),
        ("5\\text{ cm}", "5\\text{ cm}^2"),
        ("20^\\circ\\text{C}", "20^\\circ\\text{F}"),
        ("50\\%", "50"),
        ("\\frac{1}{x}", "x"),
        ("1,234", "(1,234)"),
        ("3\\pm1", "4"),
        ("x=1, y=2", "x=2, y=1"),
        ("x=1, y=2", "2, 1"),
        ("x = 5 = 6", "6"),
        ("2+2=5", "5"),
        ("x + \\foo", "\\foo + x"),
        ("\\foo\\bar", "\\bar\\foo"),
        ("12:00", "1:00"),
        ("10:30", "1:3"),
        ("1:2:3", "1:2:4"),
        ("(1 2 3)", "(1 3 2)"),
        ("\\log 100", "2"),
        ("\\sin x", "\\cos x"),
        ("\\sin^{-1} x", "\\frac{1}{\\sin x}"),
        ("f(x)", "f(y)"),
        ("5\\text{ or more}", "5"),
        ("at least 5", "5"),
        ("2^{2023}-1", "2^{2023}"),
        ("\\sqrt{x^2}", "x"),
        ("\\frac{|x|}{x}", "1"),
        ("\\text{odd}", "\\text{even}"),
        ("\\{1,2\\}", "(1,2)"),
        ("7 = 11a + c", "11a + c"),
        // Found by searching for wrong answers that were accepted.
        ("x \\equiv 3 \\pmod{5}", "x \\equiv 3 \\pmod{7}"),
        ("x \\equiv 3 \\pmod{5}", "x \\equiv 4 \\pmod{5}"),
        ("(-\\infty,0)\\cup(1,\\infty)", "x<0\\text{ and }x>1"),
        ("-1<x<4", "x>-1\\text{ or }x<4"),
        ("x=1,y=2", "x=1\\text{ or }y=2"),
        ("(p,q)=(3,2)", "q=3, p=2"),
        ("x=1,y=2", "(y,x)=(1,2)"),
        ("(1,2)", "y=1, x=2"),
        ("\\lceil x\\rceil", "\\lfloor x\\rfloor+1"),
        ("\\lfloor\\frac{n}{3}\\rfloor", "\\lceil\\frac{n}{3}\\rceil-1"),
        ("n \\bmod 1000003", "n"),
        ("\\operatorname{sgn}(x)\\operatorname{sgn}(x)", "1"),
        ("6", "2{3}"),
        ("6", "\\mathbf{2}3"),
        ("100", "{10}{10}"),
        ("25\\text{ min}", "25\\text{ hours}"),
        ("3\\text{ in}", "3\\text{ cm}"),
        ("5", "5\\text{ halves}"),
        ("5", "5\\text{ square roots}"),
        ("5", "5 million"),
        ("5", "5万"),
        ("(1\\ 2)(2\\ 3)", "(2\\ 3)(1\\ 2)"),
        ("\\vec a\\times\\vec b", "\\vec b\\times\\vec a"),
        ("A^TB", "BA^T"),
        ("PAP^{-1}", "A"),
        ("\\frac{dy}{dx}", "\\frac{y}{x}"),
        ("\\{1,\\{2\\}\\}", "\\{1,2\\}"),
        ("\\{5\\}", "\\{\\{5\\}\\}"),
        ("5", "\\phantom{5}"),
        ("5", "\\cancel{5}"),
        ("no", "on"),
        ("\\sqrt{10^{12}+1}", "1000000"),
        ("1+\\pi10^{-9}", "1.000000"),
        ("\\operatorname{Re}(z)", "z"),
    ] {
        assert!(!equal(a, b), "{a} and {b}: {:?} {:?}", parse(a), parse(b));
        assert!(!equal(b, a), "{b} and {a}");
    }
}

#[test]
fn ambiguous_text_has_several_readings() {
    let printed = |text: &str| parse(text).iter().map(|e| e.to_string()).collect::<Vec<_>>();
    assert_eq!(printed("1,234"), ["1234", "1, 234"]);
    assert_eq!(printed("1,000"), ["1000"]);
    assert_eq!(printed("2,74"), ["2, 74", "2.74"]);
    assert_eq!(printed("0,5"), ["0, 5", "0.5"]);
    assert_eq!(printed("1,5"), ["1, 5"]);
    assert_eq!(printed("5 m"), ["5\\text{ m}", "5 \\cdot m"]);
    assert_eq!(printed("1 000"), ["1000", "1\\ 000".replace("000", "0").as_str()][..1]);
}

/// A function name without arguments among words is a word.
#[test]
fn function_names_among_words_are_words() {
    for word in ["Im", "sin", "max", "log"] {
        let text = format!("x 0 ox {word}");
        for reading in parse(&format!("\\text{{to}} 0 ox \\text{{“{word}”}}")).into_iter().chain(parse(&text)) {
            let printed = reading.to_string();
            assert!(!parse(&printed).is_empty(), "{printed:?} of {text:?}");
        }
    }
    for found in [
        "\0\0ox0ox\u{6}\u{6}Im",
        "\0\\textsf\\",
        "\\text{}",
        "1\0\0\\textsf\\f",
        "\\text{or}",
        "0/~3\\bab%ra\0\0b%ra\0\0is\0:",
    ] {
        for reading in parse(found) {
            assert!(!parse(&reading.to_string()).is_empty(), "{reading} of {found:?}");
        }
    }
}

#[test]
fn hostile_text_is_unparsable() {
    for text in [
        "(".repeat(100_000),
        "{".repeat(10_000),
        "{".repeat(10_000) + "1" + &"}".repeat(10_000),
        "\\text{".repeat(32_768),
        "\\frac".repeat(5000),
        "9^".repeat(200) + "9",
        "9^{9^{9^9}}".into(),
        "10^{10^{10}}".into(),
        "(10^9)!".into(),
        "\\sqrt{".repeat(500),
        "-".repeat(8000) + "1",
        "1".repeat(100_000),
        "1e999999999".into(),
        "\\begin{pmatrix}".repeat(300),
        "|".repeat(5000),
        "1,".repeat(4000),
    ] {
        let verdict = judge("1", &format!("\\boxed{{{text}}}"), false).verdict;
        let closed = if text.starts_with("1,") { Verdict::Wrong } else { Verdict::Unparsable };
        assert_eq!(verdict, closed, "{}", &text[..text.len().min(40)]);
    }
}

/// A parser that tried every reading of unclosed groups would double its time with each group.
#[test]
fn unclosed_groups_do_not_take_exponential_time() {
    for open in ["{", "\\{", "(", "[", "|", "\\left(", "\\sqrt{", "\\frac{", "{(", "\\{|", "]"] {
        for n in [10, 16, 30, 59] {
            for text in [format!("di1{}s1{}spe8s", open.repeat(n / 2), open.repeat(n / 2)), open.repeat(n) + "1,2;x=3"]
            {
                judge("1", &format!("\\boxed{{{text}}}"), false);
                parse(&text);
            }
        }
    }
}

/// Numbers with thousands of digits are compared, hashed and ordered without recursion.
#[test]
fn long_numbers_with_a_common_prefix_are_distinguished() {
    let digits = "31415926535897932384".repeat(200);
    for (a, b) in [
        (format!("0.{digits}"), format!("0.{digits}1")),
        ("2.9595^{1935}".into(), "2.9595^{1935}+10^{-4000}".into()),
        (format!("\\max(0.{digits}, 0.{digits}1)"), format!("0.{digits}")),
    ] {
        assert!(equal(&a, &a) && equal(&b, &b), "{a}");
        assert!(!equal(&a, &b) && !equal(&b, &a), "{a}");
    }
}

/// Passes over a response are linear; quadratic passes would take hours.
#[test]
fn a_long_response_takes_linear_time() {
    let mb = 1 << 20;
    for part in
        ["\\boxed{1}", "\\boxed 1 ", "\\boxed{", "\\( ", "$a", "<answer>", "answer is ", "1,", "(", "% \\boxed{1} "]
    {
        judge("1", &part.repeat(8 * mb / part.len()), false);
    }
}

#[test]
fn a_judgement_gives_its_reason() {
    let judgement = judge("\\frac12", "<think>hm</think>The answer is \\boxed{0.25}.", false);
    assert_eq!(judgement.verdict, Verdict::Wrong);
    assert_eq!(judgement.extracted.as_deref(), Some("0.25"));
    assert_eq!((judgement.gold, judgement.response), (vec!["\\frac{1}{2}".into()], vec!["0.25".to_owned()]));
    assert_eq!(judgement.reason, "0.25 is not \\frac{1}{2}");
    assert_eq!(judge("5", "\\boxed{5}", true).verdict, Verdict::Truncated);
    assert_eq!(judge("5", "<think>\\boxed{5}", false).verdict, Verdict::Unparsable);
    assert_eq!(judge("1, 2", "\\boxed{1} and \\boxed{2}", false).verdict, Verdict::Right);
    assert_eq!(judge("2", "\\boxed{1} or \\boxed{2}", false).verdict, Verdict::Wrong);
}

#[test]
fn words_around_an_answer_count() {
    for response in [
        "The answer is twice 5.",
        "The answer is 5 squared.",
        "The answer is 5 and a half.",
        "The answer is 5 in base 6.",
        "The answer is never 5.",
        "The answer is anything but 5.",
        "The wrong answer is 5.",
        "The answer is 5? No.",
        "Answer: 5 (wrong)",
        "The answer is not \\boxed{5}",
        "\\boxed{5} is wrong.",
        "% \\boxed{5}",
        "\\boxed{6}<!-- \\boxed{5} -->",
        "<thinking>\\boxed{5}</thinking> no idea",
        "[THINK]\\boxed{5}",
        "I could not find it: not 5.",
    ] {
        assert_ne!(judge("5", response, false).verdict, Verdict::Right, "{response}");
    }
    for (gold, response) in [
        ("-5", "The answer is minus 5."),
        ("5000000", "The answer is 5 million."),
        ("5", "The answer is 5, not 6."),
        ("5", "The answer is 5 since $x=6$ fails."),
        ("34", "Final Answer: The largest $n$ is 34."),
        ("12", "The answer is 12 apples in the basket."),
        ("5", "答案是5。"),
        ("5", "所以，$x=5$。"),
    ] {
        assert_eq!(judge(gold, response, false).verdict, Verdict::Right, "{response}");
    }
}

/// True if the boxed answer gets the verdict "right".
fn is_accepted(gold: &str, answer: &str) -> bool {
    judge(gold, &format!("The answer is $\\boxed{{{answer}}}$."), false).verdict == Verdict::Right
}

#[test]
fn words_are_not_products() {
    for (gold, answer) in [
        ("5 ft 6 in", "6 ft 5 in"),
        ("1 h 30 min", "30 h 1 min"),
        ("3 to 5", "5 to 3"),
        ("3 vs 5", "5 vs 3"),
        ("6 R 2", "2 R 6"),
        ("3 choose 2", "2 choose 3"),
        ("x is 3 y is 2", "x is 2 y is 3"),
        ("Alice 3 Bob 5", "Alice 5 Bob 3"),
        ("10 in", "1 in 10"),
        ("C6H12O6", "C12H6O6"),
        ("5 apples", "5 pleaps"),
        ("5 east", "5 seat"),
        ("10 am", "10 ma"),
        ("60 km/h", "60 kmh"),
        ("5 m s", "5 ms"),
        ("A\\times B", "B\\times A"),
    ] {
        assert!(!is_accepted(gold, answer), "{gold} :: {answer}");
    }
    for (gold, answer) in [
        ("xy", "yx"),
        ("2ab", "2ba"),
        ("ab+bc", "b(a+c)"),
        ("2^n5^m", "5^m2^n"),
        ("\\frac12 ah", "\\frac{1}{2}ha"),
        ("ut+\\frac12 at^2", "\\frac{1}{2}at^2+ut"),
        ("2 xy", "2yx"),
        ("2 \\pi r h", "2\\pi hr"),
    ] {
        assert!(is_accepted(gold, answer), "{gold} :: {answer}");
    }
}

#[test]
fn several_units_are_a_sum() {
    for (gold, answer) in [
        ("5 ft 6 in", "66 in"),
        ("5 ft. 6 in.", "5 feet 6 inches"),
        ("1 h 30 min", "90 min"),
        ("1\\text{ hour }30\\text{ minutes}", "1.5 hours"),
        ("1 hour and 30 minutes", "90 minutes"),
        ("3 km 200 m", "3.2 km"),
        ("12:30 p.m.", "12:30"),
        ("15:00", "3:00 PM"),
        ("3 PM", "15:00"),
        ("5 \\text{ in}^2", "5 \\text{ square inches}"),
        ("5", "5 \\mathrm{in}^2"),
    ] {
        assert!(is_accepted(gold, answer), "{gold} :: {answer}");
    }
    for (gold, answer) in [("5 ft 6 in", "66"), ("5 ft 6 in", "5 ft 6 m"), ("3 AM", "15:00"), ("3 km 200 m", "3 km")] {
        assert!(!is_accepted(gold, answer), "{gold} :: {answer}");
    }
}

#[test]
fn unit_symbols_are_case_sensitive() {
    for (a, b) in [
        ("mW", "MW"),
        ("mg", "Mg"),
        ("mm", "Mm"),
        ("ms", "Ms"),
        ("mHz", "MHz"),
        ("mPa", "MPa"),
        ("mL", "ML"),
        ("Mb", "MB"),
        ("Nm", "nm"),
        ("short tons", "long tons"),
        ("tons", "tonnes"),
    ] {
        assert!(!is_accepted(&format!("5 {a}"), &format!("5 {b}")), "{a} {b}");
        assert!(!is_accepted(&format!("5\\text{{ {a}}}"), &format!("5\\text{{ {b}}}")), "{a} {b}");
    }
    for (gold, answer) in [
        ("5\\text{ mW}", "0.005\\text{ W}"),
        ("3 MHz", "3000 kHz"),
        ("5 GB", "5000 MB"),
        ("4.7 μF", "4700 nF"),
        ("2 KG", "2000 g"),
        ("10 Kilometers", "10000 m"),
        ("5 Nm", "5 N m"),
        ("10 kΩ", "10000 \\Omega"),
    ] {
        assert!(is_accepted(gold, answer), "{gold} :: {answer}");
    }
}

#[test]
fn references_are_read_as_a_whole_or_rejected() {
    for gold in ["5'6\"", "5|6", "x=5. y=6.", "3 vs. 5", "2^", "Jan. 5, 2020", "(5", "5*", "5.."] {
        assert!(!super::Reference::new(gold).is_readable(), "{gold}");
    }
    for gold in ["So the answer is 5.", "2 + 3 = 5 #### 5", "Thus \\boxed{5}"] {
        assert!(is_accepted(gold, "5"), "{gold}");
    }
    assert!(!is_accepted("John has 5 apples and then he buys 7 more of them", "7"));
    assert!(is_accepted("≥5", "x\\ge 5") && is_accepted("≥5", "[5,\\infty)") && !is_accepted("≥5", "5"));
}

#[test]
fn separators_and_dots_after_digits_are_read() {
    for (gold, answer) in [
        ("\\frac{11}2", "1\\,1/2"),
        ("\\frac{11}2", "1\\!1/2"),
        ("5, 6, ...", "5, 6"),
        ("0.33", "0.33..."),
        ("5", "5.."),
        ("5", "5*"),
        ("\\frac13", "0.333333"),
        ("1.234", "1234"),
    ] {
        assert!(!is_accepted(gold, answer), "{gold} :: {answer}");
    }
    for (gold, answer) in [
        ("\\frac32", "1\\,1/2"),
        ("12", "1\\,2"),
        ("1000000", "1\\,000\\,000"),
        ("\\frac13", "0.333\\ldots"),
        ("\\frac17", "0.142857142857..."),
        ("\\pi", "3.14159..."),
        ("1234567", "1.234.567"),
        ("1234567.5", "1.234.567,5"),
        ("3\\times10^5", "3x10^5"),
        ("5", "5."),
    ] {
        assert!(is_accepted(gold, answer), "{gold} :: {answer}");
    }
}

#[test]
fn signs_and_statements_are_read() {
    for (gold, answer) in [
        ("5‰", "1/200"),
        ("-7\\bmod 3", "2"),
        ("+/-2", "2, -2"),
        ("30.5", "30^\\circ30'"),
        ("\\frac12", "1 \\over 2"),
        ("\\frac12", "P(X=1)=\\frac12"),
        ("3", "x=y=3"),
        ("|x-1|<2", "(-1,3)"),
        ("|x-1|\\ge 2", "(-\\infty,-1]\\cup[3,\\infty)"),
        ("x^2<4", "-2<x<2"),
        ("255", "FF_{16}"),
    ] {
        assert!(is_accepted(gold, answer), "{gold} :: {answer}");
    }
    for (gold, answer) in [
        ("5‰", "5"),
        ("-7\\bmod 3", "-1"),
        ("2", "+/-2"),
        ("\\int_0^1 x dx", "\\int_{0^1} x dx"),
        ("P(X=1)=\\frac12", "P(X=2)=\\frac12"),
        ("|x-1|<2", "(-3,1)"),
    ] {
        assert!(!is_accepted(gold, answer), "{gold} :: {answer}");
    }
}
