//! Checks every command by walking the clap tree: grammar, examples, plain English.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use super::command_line;
use clap::Command;

/// Every command that can run, by its full name: `bench infer`.
fn leaves() -> Vec<(String, Command)> {
    fn walk(path: &str, command: &Command, out: &mut Vec<(String, Command)>) {
        for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let name = if path.is_empty() { sub.get_name().to_owned() } else { format!("{path} {}", sub.get_name()) };
            match sub.has_subcommands() {
                true => walk(&name, sub, out),
                false => out.push((name, sub.clone())),
            }
        }
    }
    let mut out = Vec::new();
    walk("", &command_line(), &mut out);
    out
}

/// Commands that do not open a model.
const WITHOUT_MODEL: [&str; 9] =
    ["replicate", "report", "pull", "verify", "bench train", "doctor", "list", "rm", "completions"];

fn long_help(command: &Command) -> String {
    command.clone().term_width(10_000).render_long_help().to_string()
}

#[test]
fn every_command_that_opens_a_model_takes_it_alike() {
    for (name, command) in leaves() {
        if name == "man" || WITHOUT_MODEL.contains(&name.as_str()) {
            continue;
        }
        let model = command.get_arguments().find(|a| a.get_short() == Some('m'));
        assert!(model.is_some_and(|a| a.get_long() == Some("model")), "{name} has no -m, --model");
        // The recipe of a training command names the model; everywhere else the model may be positional.
        let first = command.get_positionals().next();
        let value = first.and_then(|p| p.get_value_names()).map(|v| v[0].to_string()).unwrap_or_default();
        assert!(value.starts_with("MODEL") || value == "RECIPE", "{name} takes {value:?} first");
    }
}

#[test]
fn one_spelling_for_threads_and_outputs() {
    for (name, command) in leaves() {
        for argument in command.get_arguments() {
            let long = argument.get_long().unwrap_or_default();
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            if long == "threads" {
                assert!(help.contains("0 uses all cores"), "{name} --threads: {help}");
            }
            if long == "out" {
                assert_eq!(argument.get_short(), Some('o'), "{name} --out");
            }
            assert!(!["output", "outfile", "output-dir"].contains(&long), "{name} --{long}: expected --out");
            if argument.get_short() == Some('o') {
                assert_eq!(long, "out", "{name} -o");
            }
        }
        let computes = !WITHOUT_MODEL.contains(&name.as_str())
            && !["inspect", "quantize", "convert", "man"].contains(&name.as_str());
        assert!(
            !computes || command.get_arguments().any(|a| a.get_long() == Some("threads")),
            "{name} has no --threads"
        );
    }
}

#[test]
fn every_help_has_examples_that_are_read_and_exit_codes() {
    let mut wrong = Vec::new();
    for (name, command_of) in leaves() {
        let help = command_of.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> =
            help.lines().map(str::trim).filter(|l| *l == "meno" || l.starts_with("meno ")).collect();
        if !help.contains("Examples:") || examples.is_empty() {
            wrong.push(format!("{name}: no example"));
        }
        assert!(help.contains("Exit codes: 0 ") && help.contains("130"), "{name}: no exit codes");
        for example in examples.iter().filter(|e| e.starts_with(&format!("meno {name}"))) {
            // The rest belongs to the shell.
            let line = example.split(" > ").next().unwrap().split(" | ").next().unwrap();
            let words = split(line);
            if let Err(error) = command_line().try_get_matches_from(&words) {
                wrong.push(format!("{example}: {error}"));
            }
            for word in ["/home/", "/root/", "/tmp/", "/work/"] {
                assert!(!example.contains(word), "{example}: names a developer's directory");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The words of a command line with 'quoted text'.
fn split(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// Phrases that are not plain English (house rules), and names of Rust types.
const BANNED: &[&str] = &[
    "nobody",
    "whoever",
    "so many",
    "as far as",
    "those that",
    "of its own",
    "takes leave",
    "makes do",
    "with a word on",
    "what became of",
    "is told",
    "tells ",
    "at once",
    "the one who",
    "go on",
    "goes on",
    "in circles",
    "were said",
    "half-way",
    "mend",
    "leave\n",
    "let it ",
    "what is said",
    "usize",
    "u64",
    "f64",
    "option<",
    "vec<",
    "none(",
    "some(",
    "todo",
    "fixme",
];

#[test]
fn help_is_plain_english() {
    let mut all = leaves();
    all.push((String::new(), command_line()));
    let mut wrong = Vec::new();
    for (name, command) in all {
        let help = long_help(&command).to_lowercase();
        for phrase in BANNED {
            if let Some(line) = help.lines().find(|l| format!("{l}\n").contains(phrase)) {
                wrong.push(format!("meno {name} --help says {phrase:?}: {}", line.trim()));
            }
        }
        for argument in command.get_arguments().filter(|a| !["help", "version"].contains(&a.get_id().as_str())) {
            if argument.get_help().is_none() {
                wrong.push(format!("meno {name}: {} has no help", argument.get_id()));
            }
            // `--seed <SEED>` does not describe the value.
            if let (Some(long), Some([value])) = (argument.get_long(), argument.get_value_names())
                && argument.get_action().takes_values()
            {
                let fine = ["MODEL", "OUT", "URL", "NAME", "SHELL", "TYPE", "PORT", "FILE"].contains(&value.as_str());
                if long.replace('-', "_").eq_ignore_ascii_case(value.as_str()) && !fine {
                    wrong.push(format!("meno {name} --{long} <{value}>: say what the value is"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_version_says_what_was_built() {
    let version = command_line().render_long_version();
    for part in ["commit ", "kernels ", "features ", "build "] {
        assert!(version.contains(part), "{version}");
    }
    assert!(command_line().render_version().contains('('), "the short version has the commit");
}
