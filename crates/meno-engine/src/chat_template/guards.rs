//! Size limits for the filters, functions and methods of templates.
//!
//! minijinja's fuel covers most of their output, but not a text that occurs many times in a list. For example,
//! `(['a' * 100000] * 100000) | join` costs one step per item and makes 10 GB. So every list and map is measured
//! ([`bounds`]), and its texts count as often as they occur. A call whose output can be larger than its input is
//! measured before it runs, and rejected if the result would be too large.
//!
//! The lists below name all filters, tests and methods of minijinja 3.1.0 and its `pycompat`. Another version may have
//! others, so `Cargo.toml` pins exactly this one.

use super::bounds::{self, MAX_BYTES, Size, checked, size};
use crate::python::Dumps;
use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, functions, tests as jinja_tests};

/// Filters that return lists and maps, or more text than their input.
fn guarded_filters() -> [(&'static str, Value); 24] {
    [
        ("attr", Value::from_function(filters::attr)),
        ("batch", Value::from_function(filters::batch)),
        ("d", Value::from_function(filters::default)),
        ("default", Value::from_function(filters::default)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("format", Value::from_function(filters::format)),
        ("groupby", Value::from_function(filters::groupby)),
        ("items", Value::from_function(filters::items)),
        ("join", Value::from_function(filters::join)),
        ("lines", Value::from_function(filters::lines)),
        ("list", Value::from_function(filters::list)),
        ("map", Value::from_function(filters::map)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("reverse", Value::from_function(filters::reverse)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("slice", Value::from_function(filters::slice)),
        ("sort", Value::from_function(filters::sort)),
        ("split", Value::from_function(filters::split)),
        ("sum", Value::from_function(filters::sum)),
        ("unique", Value::from_function(filters::unique)),
    ]
}

/// Filters taken unchanged from minijinja: they map one value to one, or return a text whose bytes are charged to the
/// fuel before they are made. `tojson` and `string` are Meno's own.
#[cfg(test)]
pub(super) const OTHER_FILTERS: [&str; 22] = [
    "abs",
    "bool",
    "capitalize",
    "count",
    "e",
    "escape",
    "first",
    "float",
    "indent",
    "int",
    "last",
    "length",
    "lower",
    "pprint",
    "replace",
    "round",
    "safe",
    "string",
    "title",
    "tojson",
    "trim",
    "upper",
];

/// Filters that read every character of a text and return something short. Filters that return texts are charged for
/// their output instead.
fn texts() -> [(&'static str, Value); 8] {
    [
        ("count", Value::from_function(filters::length)),
        ("first", Value::from_function(filters::first)),
        ("float", Value::from_function(filters::float)),
        ("int", Value::from_function(filters::int)),
        ("last", Value::from_function(filters::last)),
        ("length", Value::from_function(filters::length)),
        ("replace", Value::from_function(filters::replace)),
        ("trim", Value::from_function(filters::trim)),
    ]
}

/// Tests that compare.
fn comparisons() -> [(&'static str, Value); 21] {
    [
        ("eq", Value::from_function(jinja_tests::is_eq)),
        ("equalto", Value::from_function(jinja_tests::is_eq)),
        ("==", Value::from_function(jinja_tests::is_eq)),
        ("ne", Value::from_function(jinja_tests::is_ne)),
        ("!=", Value::from_function(jinja_tests::is_ne)),
        ("lt", Value::from_function(jinja_tests::is_lt)),
        ("lessthan", Value::from_function(jinja_tests::is_lt)),
        ("<", Value::from_function(jinja_tests::is_lt)),
        ("le", Value::from_function(jinja_tests::is_le)),
        ("<=", Value::from_function(jinja_tests::is_le)),
        ("gt", Value::from_function(jinja_tests::is_gt)),
        ("greaterthan", Value::from_function(jinja_tests::is_gt)),
        (">", Value::from_function(jinja_tests::is_gt)),
        ("ge", Value::from_function(jinja_tests::is_ge)),
        (">=", Value::from_function(jinja_tests::is_ge)),
        ("in", Value::from_function(jinja_tests::is_in)),
        ("sameas", Value::from_function(jinja_tests::is_sameas)),
        ("lower", Value::from_function(jinja_tests::is_lower)),
        ("upper", Value::from_function(jinja_tests::is_upper)),
        ("startingwith", Value::from_function(jinja_tests::is_startingwith)),
        ("endingwith", Value::from_function(jinja_tests::is_endingwith)),
    ]
}

/// Filters that Jinja does not have: they build lazy lists of lists. The removed function prints all variables.
const REMOVED_FILTERS: [&str; 2] = ["chain", "zip"];
const REMOVED_FUNCTIONS: [&str; 1] = ["debug"];

/// Registers the guards in an environment.
pub(super) fn add(env: &mut Environment<'static>) {
    for (name, filter) in guarded_filters() {
        env.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            bounds::pay_texts(state, &args)?;
            if let (Some(list), "sort" | "dictsort" | "groupby" | "max" | "min" | "unique") = (args.first(), name) {
                // Sorting compares every item about log2(items) times.
                let looks = list.len().unwrap_or(0).max(2).ilog2() + 1;
                bounds::pay_times(state, list, looks.into())?;
            }
            fits(state, name, args.first(), args.get(1..).unwrap_or_default())?;
            let result = filter.call(state, &args)?;
            checked(state, result, true)
        });
    }
    for (name, function) in
        [("range", Value::from_function(functions::range)), ("dict", Value::from_function(functions::dict))]
    {
        env.add_function(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let result = function.call(state, &args.into_values())?;
            checked(state, result, true)
        });
    }
    for (name, filter) in texts() {
        env.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            bounds::pay_texts(state, &args)?;
            filter.call(state, &args)
        });
    }
    for (name, test) in comparisons() {
        env.add_test(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            if let Some((value, others)) = args.split_first() {
                bounds::pay(state, value)?;
                bounds::pay_texts(state, others)?;
            }
            Ok::<bool, Error>(test.call(state, &args)?.is_true())
        });
    }
    REMOVED_FILTERS.iter().for_each(|name| env.remove_filter(name));
    REMOVED_FUNCTIONS.iter().for_each(|name| env.remove_global(name));
}

/// Python's methods of texts, lists and maps. `str.format` rejects a width of five digits, because the padding would be
/// allocated before any step is counted.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let wide = |text: &str| text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 4);
    if name == "format" && value.as_str().is_some_and(wide) {
        return Err(Error::new(ErrorKind::InvalidOperation, "format: a width of more than four digits"));
    }
    bounds::pay_text(state, value)?;
    match (name, args) {
        // `count` compares with every item.
        ("count", [item]) if value.as_str().is_none() => {
            bounds::pay(state, value)?;
            bounds::pay(state, item)?;
        }
        _ => bounds::pay_texts(state, args)?,
    }
    match (name, args) {
        ("join", [list, ..]) => fits(state, "join", Some(list), std::slice::from_ref(value))?,
        _ => fits(state, name, Some(value), args)?,
    }
    let result = minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)?;
    checked(state, result, true)
}

/// Checks that the result of `name` on a value has at most [`MAX_BYTES`].
fn fits(state: &State, name: &str, value: Option<&Value>, args: &[Value]) -> Result<(), Error> {
    let whole = |values: &[Value]| {
        values.iter().try_fold(Size::default(), |sum, value| {
            let size = size(state, value)?;
            Ok::<_, Error>(Size { nodes: sum.nodes + size.nodes, bytes: sum.bytes + size.bytes, ..sum })
        })
    };
    let bytes = match (name, value) {
        // The separator is repeated between all items.
        ("join", Some(list)) => {
            let list = size(state, list)?;
            list.bytes.saturating_add(list.nodes.saturating_mul(whole(args)?.bytes))
        }
        // Every placeholder may refer to the longest argument.
        ("format", Some(text)) => {
            let text = text.as_str().unwrap_or_default();
            let places = text.matches(['%', '{']).count() as u64;
            places.saturating_mul(whole(args)?.bytes).saturating_add(text.len() as u64)
        }
        _ => return Ok(()),
    };
    limit(name, bytes)
}

/// Checks that the JSON of a value has at most [`MAX_BYTES`]. Its indents and separators may be long texts.
pub(super) fn json_fits(state: &State, value: &Value, dumps: &Dumps) -> Result<(), Error> {
    let size = size(state, value)?;
    let indents = dumps.indent.as_ref().map_or(0, |indent| (indent.len() as u64).saturating_mul(size.depth + 1));
    let separators: u64 = dumps.separators.iter().flatten().map(|s| s.len() as u64).sum();
    limit("tojson", size.nodes.saturating_mul(indents.saturating_add(separators)).saturating_add(size.bytes))
}

fn limit(name: &str, bytes: u64) -> Result<(), Error> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let what = format!("{name} would produce {bytes} bytes; at most {MAX_BYTES} are allowed at once");
    Err(Error::new(ErrorKind::InvalidOperation, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat_template::ChatTemplate;
    use crate::tokenizer::Special;

    fn render(source: &str) -> Result<String, crate::Error> {
        ChatTemplate::new(source, &Special::default())?.render(&[], true, &Default::default())
    }

    fn peak_mib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) >> 10
    }

    #[test]
    fn every_filter_is_listed() {
        let guarded = guarded_filters();
        for name in guarded.iter().map(|f| f.0).chain(OTHER_FILTERS) {
            assert_eq!(render(&format!("{{{{ '{name}' is filter }}}}")).unwrap(), "True", "{name}");
        }
        for name in REMOVED_FILTERS {
            assert_eq!(render(&format!("{{{{ '{name}' is filter }}}}")).unwrap(), "False", "{name}");
        }
        assert!(render("{{ debug() }}").is_err());
    }

    /// A list that repeats one text: small in memory, 10 GB when printed.
    const SHARED: &str = "(['a' * 100000] * 100000)";

    #[test]
    fn nothing_multiplies_past_memory() {
        let (before, guarded) = (peak_mib(), guarded_filters());
        let names = || guarded.iter().map(|f| f.0).chain(OTHER_FILTERS);
        let mut attacks: Vec<String> = names().map(|name| format!("{SHARED} | {name} | string")).collect();
        // The same list built without an operator: by `batch` with a fill text, a mapped attribute, or groups.
        let made = [
            "[0] | batch(100000, 'a' * 100000)",
            "[0] | slice(100000, 'a' * 100000)",
            "range(10000) | map('replace', '', 'a' * 100000)",
            "range(9999) | map('default', 'a' * 100000, true)",
            "{'a': [['a' * 9999999] * 99]} | items",
            "('a' * 9999999) | groupby(0)",
            "[['a' * 9999999]] | groupby(0) | groupby(0) | groupby(0) | groupby(0) | groupby(0)",
            "dict(a='a' * 9999999, b='a' * 9999999)",
            "'a'.join(['a' * 9999999] * 9)",
        ];
        for list in made {
            attacks.extend(names().map(|name| format!("({list}) | {name} | string")));
            attacks.extend(["~ ''", "+ ['x']", "* 9999", "== 1"].map(|op| format!("(({list}) {op}) | string")));
        }
        attacks.extend(
            [
                "range(9999) | join('a' * 1000000)",
                "('a' * 1000000).join(range(9999) | map('string'))",
                "('a' * 1000000) | replace('a', 'b' * 1000000)",
                "('a' * 1000000).replace('a', 'b' * 1000000)",
                "('a' * 1000000) | replace('', 'b' * 1000000)",
                "('{0}' * 4000).format('a' * 10000000)",
                "('%(a)s' * 4000) | format(a='a' * 10000000)",
                "('%s' * 4) | format('a' * 10000000, 'b' * 10000000, 'c', 'd')",
                "'%999999999d' | format(1)",
                "'{:999999999}'.format(1)",
                "range(9999) | list | tojson(indent='x' * 1000000)",
                "range(9999) | list | tojson(separators=('x' * 1000000, ':'))",
                "('a\n' * 1000000) | indent(1000000)",
                "('a\n' * 1000000) | indent('x' * 1000000)",
                "'a' * 99999999999",
                "99999999999 * 'a'",
                "[0] * 99999999999",
                "'a'.center(99999999)",
                "'a'.ljust(99999999)",
                "'a'.zfill(99999999)",
                "('<' * 9999999) | e | e | e | e | e | e | e | e | e | e",
                "range(0, 99999999)",
                "[[0] * 9999] | sum(start=[])",
                "dict(a=['a' * 9999999] * 9).items()",
            ]
            .map(str::to_owned),
        );
        for attack in &attacks {
            let text = render(&format!("{{{{ {attack} }}}}"));
            assert!(text.is_err() || text.is_ok_and(|t| t.len() <= 4 << 20), "{attack}");
        }
        let grown = peak_mib() - before;
        assert!(grown < 1500, "{grown} MiB more for {} attacks", attacks.len());
    }

    /// Operations that take time proportional to the length of a text, repeated a few hundred thousand times.
    #[test]
    fn long_texts_are_paid_for() {
        const LOOP: &str = "{% set a = 'a' * 8000000 ~ 'b' %}{% set c = 'a' * 8000000 ~ 'c' %}{% set l = [a, c] %}\
            {% for i in range(99999) %}{% if BODY %}x{% endif %}{% endfor %}";
        for body in [
            "a == c",
            "a != c",
            "a < c",
            "a <= c <= a",
            "c in l",
            "'x' in a",
            "[a] == [c]",
            "{'k': a} == {'k': c}",
            "a is eq(c)",
            "a is lt(c)",
            "a is in l",
            "l | select('==', c) | list",
            "l | sort | length",
            "l | unique | list",
            "l | max",
            "a.count('x')",
            "l.count(c)",
            "a.startswith(c)",
            "a.find('c')",
            "a | length",
            "a | trim | length",
            "a[-1] == 'x'",
            "a[:-1] | length",
            "a | last",
            "a is upper",
            "a | int(0)",
            "a | replace('x', 'y') | length",
        ] {
            let start = crate::clock::thread_time();
            let error = render(&LOOP.replace("BODY", body)).unwrap_err().to_string();
            let took = crate::clock::thread_time() - start;
            assert!(error.contains("steps") && took.as_secs() < 10, "{body}: {took:?}, {error}");
        }
    }

    #[test]
    fn what_is_small_is_as_before() {
        for (source, expected) in [
            ("{{ ['a', 'b'] | join(', ') }}", "a, b"),
            ("{{ ', '.join(['a', 'b']) }}", "a, b"),
            ("{{ '%s is %d' | format('a', 2) }}", "a is 2"),
            ("{{ '{} {x}'.format('a', x=3) }}", "a 3"),
            ("{{ {'b': 1, 'a': 2} | dictsort }}", "[['a', 2], ['b', 1]]"),
            ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
            ("{% for k, v in {'a': 1} | items %}{{ k }}{{ v }}{% endfor %}", "a1"),
            ("{{ [1, 2, 3] | map('string') | list | last }}", "3"),
            ("{{ [{'a': 1}, {'a': 2}] | selectattr('a', 'gt', 1) | map(attribute='a') | first }}", "2"),
            ("{{ 'a b'.split(' ')[1] }}{{ 'a b' | upper }}", "bA B"),
            ("{{ range(3) | list }}{% for i in range(2) %}{{ i }}{% endfor %}", "[0, 1, 2]01"),
            ("{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{{ ns.a }}", "2"),
            ("{{ none | default('x', true) }}{{ u | default('y') }}", "xy"),
            ("{{ [3, 1, 2] | sort(reverse=true) | join }}{{ [1, 1] | unique | list | length }}", "3211"),
            ("{{ 1 < 2 < 3 }}{{ 1 < 2 > 3 }}{{ (1, 2) == (1, 2) }}{{ 'a' ~ 'b' == 'ab' }}", "TrueFalseTrueTrue"),
            ("{{ not 'a' == 'b' and ('b' in 'abc') }}{{ 'k' not in {'k': 1} }}", "TrueFalse"),
            ("{%set a='x'=='x'%}{{a}}{{ [3, 4][-1:][0] }}{{ {'a': {'b': [5]}}['a'].b[0] }}", "True45"),
            ("{% set x = 'y' if 1 == 1 else 'n' %}{{ x }}{{ ([1] + [2])[1] == 2 }}{{ -1 == 0 - 1 }}", "yTrueTrue"),
            ("{{ ['a', 'b'] | select('in', ['b']) | list }}{{ ['a'] | map('upper') | first == 'A' }}", "['b']True"),
            ("{{ {'a': [1]} | tojson(indent=1) }}", "{\n \"a\": [\n  1\n ]\n}"),
            ("{{ dict(a=1).a }}{{ dict(a=1).get('b', 7) }}", "17"),
        ] {
            assert_eq!(render(source).unwrap(), expected, "{source}");
        }
    }
}
