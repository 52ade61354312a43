//! Numbers of bytes for people. Part of the command and of the library's hub.

/// Formats bytes in powers of ten, as the hub and disks do.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match (unit, value) {
        (0, _) => format!("{n} B"),
        (_, v) if v < 9.95 => format!("{v:.1} {}", UNITS[unit]),
        (_, v) => format!("{v:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn figures_are_for_people() {
        let texts = [0, 999, 1000, 12_345, 999_600, 3_500_000_000].map(bytes);
        assert_eq!(texts, ["0 B", "999 B", "1.0 kB", "12 kB", "1.0 MB", "3.5 GB"]);
    }
}
