//! Checks regular expressions of clients. Errors refer to the text that the client sent.

use regex_syntax::{Error, Parser};

/// Rejects invalid regular expressions and features that a grammar cannot enforce (look-around, back references).
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    let (why, at) = match Parser::new().parse(pattern) {
        Ok(_) => return Ok(()),
        Err(Error::Parse(e)) => (e.kind().to_string(), e.span().start.column),
        Err(Error::Translate(e)) => (e.kind().to_string(), e.span().start.column),
        Err(other) => (other.to_string(), 1),
    };
    Err(format!("this regular expression cannot be enforced: {why} (at character {at})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_with_their_place() {
        assert!(check("[a-z]+(,\\d{2})*").is_ok());
        let error = |pattern: &str| check(pattern).unwrap_err();
        assert!(error("((").contains("unclosed group"), "{}", error("(("));
        assert!(error("a(?=b)").contains("look-around") && error("a(?=b)").contains("character 2"));
        assert!(error("(a)\\1").contains("backreferences"));
    }
}
