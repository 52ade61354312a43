//! Terminals of every kind: ones that cannot redraw, without colours, without a size, and ones that shrink and grow.

use super::Place;
use super::pty::{Terminal, screen};
use std::process::Command;

/// A pretraining run of `steps` steps.
fn training(place: &Place, steps: usize) -> Command {
    let args = place.pretraining(steps);
    place.meno(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_view_stays_one_view_and_is_there_at_the_end() {
    let place = Place::new();
    let mut command = training(&place, 30);
    command.env("TERM", "xterm-256color");
    let (code, seen) = Terminal::start(command, 90, 24).end();
    assert_eq!(code, Some(0), "{seen}");
    let shown = screen(&seen, 89);
    assert_eq!(shown.iter().filter(|l| l.contains("meno pretrain")).count(), 1, "{shown:#?}");
    assert!(
        shown.iter().any(|l| l.contains("step 30/30")) && shown.iter().any(|l| l.starts_with("done: 30")),
        "{shown:#?}"
    );
    assert!(seen.contains("\u{1b}[38;5;14m") || seen.contains("\u{1b}[36m"), "{seen:?}");
}

#[test]
fn a_terminal_that_only_prints_gets_lines() {
    let place = Place::new();
    for term in ["dumb", ""] {
        let _ = std::fs::remove_dir_all(place.path("out"));
        let mut command = training(&place, 3);
        command.env("TERM", term);
        let (code, seen) = Terminal::start(command, 80, 24).end();
        assert_eq!(code, Some(0), "{seen}");
        assert!(!seen.contains('\u{1b}') && seen.contains("step 3/3"), "{seen:?}");
    }
    let (model, questions) = (place.text("model"), place.text("q.jsonl"));
    let mut command = place.meno(&["eval", "-m", &model, "--task", &questions, "--prompt", "plain", "-k", "1"]);
    command.env("TERM", "dumb");
    let (code, seen) = Terminal::start(command, 80, 24).end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains('\u{1b}') && seen.contains("responses: 0/60"), "{seen:?}");
}

#[test]
fn no_color_means_none() {
    let place = Place::new();
    let mut command = training(&place, 3);
    command.env("TERM", "xterm-256color").env("NO_COLOR", "1");
    let (code, seen) = Terminal::start(command, 80, 24).end();
    assert_eq!(code, Some(0), "{seen}");
    for sequence in seen.split("\u{1b}[").skip(1).filter_map(|s| s.split_once('m').map(|s| s.0)) {
        let color = sequence.split(';').any(|n| matches!(n.parse(), Ok(30..=49 | 90..=107)));
        assert!(!color, "{sequence}: {seen:?}");
    }
}

#[test]
fn a_terminal_without_a_size_is_one_of_eighty_columns() {
    let place = Place::new();
    let mut command = training(&place, 3);
    command.env("TERM", "xterm").env_remove("COLUMNS").env_remove("LINES");
    let (code, seen) = Terminal::start(command, 0, 0).end();
    assert_eq!(code, Some(0), "{seen}");
    let shown = screen(&seen, 79);
    let bar = shown.iter().find(|l| l.contains("step 3/3")).unwrap_or_else(|| panic!("{shown:#?}"));
    assert_eq!(bar.chars().count(), 79, "{bar}");
}

#[test]
fn a_terminal_that_shrinks_and_grows_shows_no_line_that_does_not_fit() {
    let place = Place::new();
    let mut command = training(&place, 100_000);
    command.env("TERM", "xterm");
    let terminal = Terminal::start(command, 100, 30);
    let mut at = terminal.wait_for("/100000", 0);
    for (columns, rows) in [(40, 12), (100, 30), (9, 4), (1, 1), (120, 40)] {
        terminal.resize(columns, rows);
        // A drawing that started earlier may still arrive; the second drawing from here on has the new size.
        at = terminal.wait_for("\u{1b}[?2026l", at);
        let begun = terminal.wait_for("\u{1b}[?2026l", at);
        let ended = terminal.wait_for("\u{1b}[?2026l", begun);
        let seen = terminal.seen();
        let drawing = seen[at..ended].split("\u{1b}[?2026h").nth(1).map(|d| d.split("\u{1b}[?2026l").next().unwrap());
        let drawing = drawing.unwrap_or_else(|| panic!("{:?}", &seen[at..ended]));
        let lines: Vec<String> = screen(&("\n".repeat(2000) + drawing), usize::from(columns).max(2) - 1);
        let drawn = lines.iter().filter(|l| !l.is_empty()).count();
        assert!(drawn < usize::from(rows).max(2), "{columns}x{rows}: {lines:?}");
        at = ended;
    }
}
