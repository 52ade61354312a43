//! A curve in a few lines of text, drawn with Braille characters of two by four dots.

use super::figures::figure;
use crate::terminal::Line;
use crossterm::style::{Color, Stylize};

/// The bit of a Braille character for each dot, by column and row (Unicode, block U+2800).
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// A grid of dots.
struct Dots {
    columns: usize,
    cells: Vec<u8>,
}

impl Dots {
    fn new(columns: usize, rows: usize) -> Dots {
        Dots { columns, cells: vec![0; columns * rows] }
    }

    fn set(&mut self, x: usize, y: usize) {
        self.cells[y / 4 * self.columns + x / 2] |= DOTS[x % 2][y % 4];
    }

    /// Draws a straight line between two dots, both included.
    fn line(&mut self, (x0, y0): (usize, usize), (x1, y1): (usize, usize)) {
        let steps = x0.abs_diff(x1).max(y0.abs_diff(y1)).max(1);
        let between = |a: usize, b: usize, i: usize| (a * (steps - i) + b * i + steps / 2) / steps;
        for i in 0..=steps {
            self.set(between(x0, x1, i), between(y0, y1, i));
        }
    }

    fn rows(&self) -> impl Iterator<Item = String> {
        let character = |bits: &u8| char::from_u32(0x2800 + *bits as u32).filter(|_| *bits != 0).unwrap_or(' ');
        self.cells.chunks(self.columns).map(move |row| row.iter().map(character).collect())
    }
}

/// Draws `points` (finite, x increasing) as `rows` lines of `columns` columns, with name, last value and range.
pub(super) fn chart(name: &str, points: &[(f64, f64)], columns: usize, rows: usize) -> Vec<Line> {
    let fold = |f: fn(f64, f64) -> f64| points.iter().map(|p| p.1).reduce(f).unwrap_or(0.0);
    let (low, high) = (fold(f64::min), fold(f64::max));
    let last = points.last().map_or(0.0, |p| p.1);
    let title = Line::default().plain(format!(" {name} ")).push(format!("{} ", figure(last)).bold());
    let rule = "─".repeat(columns.saturating_sub(title.width()));
    let mut lines = vec![title.dim(rule).fill(columns)];

    let labels = [figure(high), figure(low)];
    let label = labels.iter().map(String::len).max().unwrap_or(0);
    let (width, height) = (columns.saturating_sub(label + 2).max(1), rows.saturating_sub(1).max(1));
    let mut dots = Dots::new(width, height);
    // Leave a small margin above and below; a flat curve runs through the middle.
    let margin = if high > low { 0.05 * (high - low) } else { 0.5 * high.abs().max(1e-9) };
    let x = (points.first().map_or(0.0, |p| p.0), points.last().map_or(1.0, |p| p.0));
    let place = |value: f64, low: f64, high: f64, dots: usize| {
        ((value - low) / (high - low).max(f64::MIN_POSITIVE) * (dots - 1) as f64).round() as usize
    };
    let dot = |p: &(f64, f64)| {
        let y = place(p.1, low - margin, high + margin, 4 * height).min(4 * height - 1);
        (place(p.0, x.0, x.1, 2 * width).min(2 * width - 1), 4 * height - 1 - y)
    };
    if let [only] = points {
        let (x, y) = dot(only);
        dots.set(x, y);
    }
    for pair in points.windows(2) {
        dots.line(dot(&pair[0]), dot(&pair[1]));
    }
    for (i, row) in dots.rows().enumerate() {
        let text = if i == 0 { labels[0].as_str() } else { "" };
        let text = if i + 1 == height { labels[1].as_str() } else { text };
        let line = Line::default().dim(format!("{text:>label$}│")).push(row.with(Color::Cyan));
        lines.push(line.fill(columns));
    }
    lines.truncate(rows);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::text).collect()
    }

    #[test]
    fn a_rising_line_runs_from_corner_to_corner() {
        let points: Vec<_> = (0..=40).map(|i| (i as f64, i as f64 / 4.0)).collect();
        let lines = plain(&chart("reward", &points, 30, 6));
        assert_eq!(lines.len(), 6);
        assert!(lines.iter().all(|l| l.chars().count() == 30), "{lines:#?}");
        assert!(lines[0].starts_with(" reward 10.000 ──"), "{}", lines[0]);
        assert!(lines[1].starts_with("10.000│") && lines[5].starts_with("     0│"), "{lines:#?}");
        let dots = |line: &str| {
            line.char_indices().filter(|c| ('\u{2801}'..='\u{28ff}').contains(&c.1)).map(|c| c.0).collect::<Vec<_>>()
        };
        let (top, bottom) = (dots(&lines[1]), dots(&lines[5]));
        assert!(!top.is_empty() && !bottom.is_empty() && bottom.last() < top.first(), "{lines:#?}");
    }

    #[test]
    fn one_point_a_flat_line_and_no_room_are_drawn_too() {
        for points in [vec![(3.0, 2.0)], vec![(1.0, 0.0), (2.0, 0.0)], vec![(1.0, -1e300), (2.0, 1e300)], vec![]] {
            for (columns, rows) in [(26, 7), (3, 2), (1, 1)] {
                let lines = chart("loss", &points, columns, rows);
                assert!(
                    lines.len() <= rows && lines.iter().all(|l| l.width() == columns),
                    "{points:?} {columns}x{rows}"
                );
            }
        }
        let flat = plain(&chart("kl", &[(1.0, 0.0), (9.0, 0.0)], 20, 4));
        assert!(flat[2].contains('⠒') || flat[2].contains('⠤') || flat[2].contains('⠉'), "{flat:#?}");
    }
}
