//! Tables as `data:` addresses, which a browser can save without a script.

use std::fmt::Write;

/// A table.
pub(super) struct Csv {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Quotes a cell as in RFC 4180.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Formats a number with at most six significant digits; empty if it is not finite.
pub(super) fn figure(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return if x == 0.0 { "0".into() } else { String::new() };
    }
    let decimals = (5 - x.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{x:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl Csv {
    pub(super) fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Csv {
        Csv { columns: columns.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    pub(super) fn column(&mut self, name: String) {
        self.columns.push(name);
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn figures(&mut self, cells: &[Option<f64>]) {
        self.row(cells.iter().map(|x| x.map_or(String::new(), figure)).collect());
    }

    /// The table as a `data:` address.
    pub(super) fn data_url(&self) -> String {
        let mut url = "data:text/csv;charset=utf-8,".to_owned();
        for line in std::iter::once(&self.columns).chain(&self.rows) {
            let line = line.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(",") + "\n";
            for b in line.bytes() {
                match b {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b',' | b'.' | b'-' | b'_' => url.push(b as char),
                    _ => write!(url, "%{b:02X}").unwrap_or_default(),
                }
            }
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_quoted_and_encoded() {
        let mut csv = Csv::new(["stage", "pass@1"]);
        csv.row(vec!["Rejection sampling, \"SFT\"".into(), figure(0.781)]);
        csv.figures(&[None, Some(1.0 / 3.0)]);
        let expected = "stage,pass%401%0A%22Rejection%20sampling,%20%22%22SFT%22%22%22,0.781%0A,0.333333%0A";
        assert_eq!(csv.data_url(), format!("data:text/csv;charset=utf-8,{expected}"));
        assert_eq!(
            [0.0, 120.0, 1234567.0, -0.00001234567, f64::NAN].map(figure),
            ["0", "120", "1234567", "-0.0000123457", ""]
        );
    }
}
