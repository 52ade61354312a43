//! Makes the text of a model safe to print.

/// Removes control characters except newlines and tabs: a model's output must not control the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_pass() {
        assert_eq!(printable("a\x1b[2Jb\tc\nd\u{7}"), "a[2Jb\tc\nd");
    }
}
