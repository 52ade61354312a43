//! The models in order, each with its interval and the figure that the paper prints: for the page and for the picture.

use super::chart::{Tick, tenth};
use super::csv::{Csv, figure};
use super::paper::{Printed, aime};
use crate::records::StageRecords;
use crate::stage::Stage;
use meno_eval::Interval;
use serde::Serialize;

/// The accuracy of every model, drawn once for wide screens and once for narrow ones.
#[derive(Serialize)]
pub(super) struct Pipeline {
    wide: Rows,
    narrow: Rows,
    csv: String,
    summary: String,
}

/// One row per model, on a scale from 0 to 100 %.
#[derive(Serialize)]
struct Rows {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    bottom: f64,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    title: String,
    y: f64,
    x: f64,
    low: f64,
    high: f64,
    pass1: Interval,
    paper_x: Option<f64>,
    paper: Option<Printed>,
}

pub(super) fn pipeline(r: &StageRecords) -> Pipeline {
    Pipeline {
        wide: rows(r, (820.0, 230.0, 150.0), 34.0),
        narrow: rows(r, (360.0, 8.0, 8.0), 46.0),
        csv: table(r).data_url(),
        summary: summary(r),
    }
}

fn rows(r: &StageRecords, (width, left, right): (f64, f64, f64), step: f64) -> Rows {
    let (right, top) = (width - right, 14.0);
    let x = |share: f64| tenth(left + share.clamp(0.0, 1.0) * (right - left));
    let row = |(i, stage): (usize, Stage)| {
        let pass1 = r.measures(stage).score.pass1;
        let paper = aime(stage).copied();
        Row {
            title: r.stage(stage).title.clone(),
            y: top + step * (i as f64 + 0.5),
            x: x(pass1.mean),
            low: x(pass1.low),
            high: x(pass1.high),
            pass1,
            paper_x: paper.map(|p| x(p.pass1)),
            paper,
        }
    };
    let bottom = top + step * Stage::models().count() as f64;
    let tick = |i: u32| Tick { at: x(f64::from(i) / 4.0), label: format!("{} %", 25 * i) };
    Rows {
        width,
        height: bottom + 24.0,
        left,
        right,
        bottom,
        ticks: (0..=4).map(tick).collect(),
        rows: Stage::models().enumerate().map(row).collect(),
    }
}

fn table(r: &StageRecords) -> Csv {
    let mut csv = Csv::new([
        "stage",
        "section",
        "pass@1",
        "low",
        "high",
        "pass@k",
        "cons@k",
        "k",
        "tokens",
        "self-check",
        "language consistency",
        "parameters",
        "FLOP",
        "seconds",
        "paper's model",
        "paper, AIME 2024 pass@1",
        "place",
    ]);
    for stage in Stage::models() {
        let (s, m) = (r.stage(stage), r.measures(stage));
        let printed = aime(stage);
        csv.row(vec![
            s.title.clone(),
            s.section.clone(),
            figure(m.score.pass1.mean),
            figure(m.score.pass1.low),
            figure(m.score.pass1.high),
            figure(m.score.pass_at_k),
            figure(m.score.cons_at_k.mean),
            m.score.samples.to_string(),
            figure(m.score.mean_tokens.mean),
            figure(m.self_check.mean),
            figure(m.language_consistency.mean),
            s.parameters[0].to_string(),
            figure(s.flops),
            figure(s.seconds),
            printed.map_or(String::new(), |p| p.model.to_owned()),
            printed.map_or(String::new(), |p| figure(p.pass1)),
            printed.map_or(String::new(), |p| format!("{}, {}", p.place.paper, p.place.at)),
        ]);
    }
    csv
}

fn summary(r: &StageRecords) -> String {
    let one = |stage: Stage| {
        let ours = 100.0 * r.measures(stage).score.pass1.mean;
        let paper = aime(stage).map_or(String::new(), |p| format!(" (paper {:.1} %)", 100.0 * p.pass1));
        format!("{} {ours:.1} %{paper}", r.stage(stage).title)
    };
    format!("Right answers of every model: {}.", Stage::models().map(one).collect::<Vec<_>>().join("; "))
}

/// The columns of the picture to share.
#[derive(Serialize)]
pub(super) struct Card {
    columns: Vec<Column>,
    top: f64,
    bottom: f64,
}

#[derive(Serialize)]
struct Column {
    /// At most two lines.
    title: [&'static str; 2],
    x: f64,
    y: f64,
    low: f64,
    high: f64,
    share: f64,
    paper_y: Option<f64>,
}

/// The models of the picture.
const COLUMNS: [(Stage, [&str; 2]); 8] = [
    (Stage::Base, ["base", "model"]),
    (Stage::R1Zero, ["R1-Zero", ""]),
    (Stage::ColdStart, ["cold", "start"]),
    (Stage::ReasoningRl, ["reason-", "ing RL"]),
    (Stage::RejectionSft, ["rejection", "+ SFT"]),
    (Stage::R1, ["R1", ""]),
    (Stage::Distill, ["student,", "distilled"]),
    (Stage::StudentRl, ["student,", "own RL"]),
];

pub(super) fn card(r: &StageRecords) -> Card {
    let (top, bottom) = (228.0, 478.0);
    let y = |share: f64| tenth(bottom - share.clamp(0.0, 1.0) * (bottom - top));
    let column = |(i, &(stage, title)): (usize, &(Stage, [&'static str; 2]))| {
        let pass1 = r.measures(stage).score.pass1;
        // A gap before the students.
        let x = 60.0 + 132.0 * i as f64 + if i > 5 { 24.0 } else { 0.0 };
        Column {
            title,
            x,
            y: y(pass1.mean),
            low: y(pass1.low),
            high: y(pass1.high),
            share: pass1.mean,
            paper_y: aime(stage).map(|p| y(p.pass1)),
        }
    };
    Card { columns: COLUMNS.iter().enumerate().map(column).collect(), top, bottom }
}
