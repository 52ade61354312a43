//! Converts llama.cpp's grammars (GBNF, `root ::= …`) to Lark, which llguidance reads.

use crate::structure::quoted;
use std::collections::HashSet;

/// Returns true if a grammar is GBNF; Lark does not use `::=`.
pub fn is_gbnf(grammar: &str) -> bool {
    grammar.contains("::=")
}

/// Converts a grammar to Lark. Errors name the line.
pub fn to_lark(grammar: &str) -> Result<String, String> {
    let mut reader = Reader { rest: grammar, whole: grammar, used: Vec::new() };
    let (mut rules, mut defined) = (Vec::new(), HashSet::new());
    reader.space(true);
    while !reader.rest.is_empty() {
        let (name, rule) = reader.rule()?;
        defined.insert(name);
        rules.push(rule);
        reader.space(true);
    }
    if !defined.contains("root") {
        return Err("the grammar has no rule `root`".to_owned());
    }
    if let Some((name, left)) = reader.used.iter().find(|(name, _)| !defined.contains(name)) {
        let line = reader.line(*left);
        return Err(format!("line {line}: the rule `{name}` is not defined"));
    }
    Ok(format!("start: r_root\n{}\n", rules.join("\n")))
}

/// Maximum nesting depth of brackets.
const MAX_DEPTH: usize = 100;

struct Reader<'a> {
    rest: &'a str,
    whole: &'a str,
    /// The rule names used in rule bodies, each with the number of bytes that follow it in the grammar.
    used: Vec<(&'a str, usize)>,
}

/// Converts the name of a rule to a Lark name.
fn lark_name(name: &str) -> String {
    // In Lark, upper case means a terminal, so upper-case letters are escaped. Different names stay different.
    let sign = |c: char| match c {
        '-' => "_m".to_owned(),
        '_' => "__".to_owned(),
        c if c.is_ascii_uppercase() => format!("_u{}", c.to_ascii_lowercase()),
        c => c.to_string(),
    };
    format!("r_{}", name.chars().map(sign).collect::<String>())
}

impl<'a> Reader<'a> {
    /// The line number before the last `left` bytes.
    fn line(&self, left: usize) -> usize {
        self.whole[..self.whole.len() - left].lines().count().max(1)
    }

    fn error<T>(&self, what: &str) -> Result<T, String> {
        let line = self.line(self.rest.len());
        let near: String = self.rest.chars().take(20).collect();
        Err(format!("line {line}: {what}, found {near:?}"))
    }

    /// Skips blanks and comments, and line breaks if `lines` is true.
    fn space(&mut self, lines: bool) {
        loop {
            let before = self.rest.len();
            self.rest = self.rest.trim_start_matches([' ', '\t']);
            if self.rest.starts_with('#') {
                self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..];
            }
            if lines {
                self.rest = self.rest.trim_start_matches(['\n', '\r']);
            }
            if self.rest.len() == before {
                return;
            }
        }
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest.strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn name(&mut self) -> Option<&'a str> {
        let end =
            self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (end > 0).then_some(name)
    }

    /// Reads a rule; returns its name and the rule in Lark.
    fn rule(&mut self) -> Result<(&'a str, String), String> {
        let Some(name) = self.name() else { return self.error("expected the name of a rule") };
        self.space(false);
        if !self.take("::=") {
            return self.error("expected `::=`");
        }
        self.space(true);
        let body = self.alternatives(0)?;
        if !self.rest.is_empty() && !self.rest.starts_with(['\n', '\r']) {
            return self.error("expected the end of the rule");
        }
        Ok((name, format!("{}: {body}", lark_name(name))))
    }

    fn alternatives(&mut self, depth: usize) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return self.error("brackets are nested too deeply");
        }
        let mut all = vec![self.sequence(depth)?];
        while self.take("|") {
            self.space(true);
            all.push(self.sequence(depth)?);
        }
        Ok(all.join(" | "))
    }

    fn sequence(&mut self, depth: usize) -> Result<String, String> {
        let mut items: Vec<String> = Vec::new();
        while let Some(mut item) = self.item(depth)? {
            item += &self.repeats()?;
            items.push(item);
            // Inside brackets a sequence continues over line breaks.
            self.space(depth > 0);
        }
        Ok(if items.is_empty() { "\"\"".to_owned() } else { items.join(" ") })
    }

    fn item(&mut self, depth: usize) -> Result<Option<String>, String> {
        Ok(Some(match self.rest.chars().next() {
            Some('"') => quoted(&self.literal()?),
            Some('[') => format!("/{}/", self.class()?),
            Some('.') => {
                self.take(".");
                "/(?s:.)/".to_owned()
            }
            Some('(') => {
                self.take("(");
                self.space(true);
                let inner = self.alternatives(depth + 1)?;
                self.space(true);
                if !self.take(")") {
                    return self.error("expected `)`");
                }
                format!("({inner})")
            }
            Some('<' | '!') => return self.error("tokens by name or number are not supported"),
            Some(c) if c.is_ascii_alphanumeric() || c == '_' => match self.name() {
                Some(name) => {
                    self.used.push((name, self.rest.len()));
                    lark_name(name)
                }
                None => return self.error("expected a name"),
            },
            _ => return Ok(None),
        }))
    }

    /// Reads `*`, `+`, `?` or `{m,n}`, if one follows.
    fn repeats(&mut self) -> Result<String, String> {
        self.space(false);
        match self.rest.chars().next() {
            Some(sign @ ('*' | '+' | '?')) => {
                self.rest = &self.rest[1..];
                Ok(sign.to_string())
            }
            Some('{') => {
                let Some(end) = self.rest.find('}') else { return self.error("expected `}`") };
                let inner: String = self.rest[1..end].split_whitespace().collect();
                if inner.is_empty() || inner.chars().any(|c| !c.is_ascii_digit() && c != ',') {
                    return self.error("expected `{m}`, `{m,}` or `{m,n}`");
                }
                self.rest = &self.rest[end + 1..];
                Ok(if inner.starts_with(',') { format!("{{0{inner}}}") } else { format!("{{{inner}}}") })
            }
            _ => Ok(String::new()),
        }
    }

    /// Reads a character and whether it was escaped; `None` at the end of the grammar.
    fn character(&mut self) -> Result<Option<(char, bool)>, String> {
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else { return Ok(None) };
        self.rest = chars.as_str();
        if first != '\\' {
            return Ok(Some((first, false)));
        }
        let Some(escape) = chars.next() else { return self.error("expected a character after `\\`") };
        self.rest = chars.as_str();
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            'n' => return Ok(Some(('\n', true))),
            'r' => return Ok(Some(('\r', true))),
            't' => return Ok(Some(('\t', true))),
            other => return Ok(Some((other, true))),
        };
        let code = self.rest.get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        let Some(code) = code else { return self.error("expected the hexadecimal number of a character") };
        self.rest = &self.rest[digits..];
        Ok(Some((code, true)))
    }

    fn literal(&mut self) -> Result<String, String> {
        self.take("\"");
        let mut text = String::new();
        loop {
            match self.character()? {
                None | Some(('\n', false)) => return self.error("a string has no end"),
                Some(('"', false)) => return Ok(text),
                Some((c, _)) => text.push(c),
            }
        }
    }

    /// Reads a character class; returns it as a regular expression.
    fn class(&mut self) -> Result<String, String> {
        self.take("[");
        let mut class = String::from(if self.take("^") { "[^" } else { "[" });
        let mut empty = true;
        loop {
            match self.character()? {
                None => return self.error("a character class has no end"),
                Some((']', false)) if !empty => return Ok(class + "]"),
                Some((']', false)) => return self.error("a character class is empty"),
                Some(('-', false)) if !empty && !self.rest.starts_with(']') => class.push('-'),
                Some((c, _)) => class += &format!("\\x{{{:X}}}", c as u32),
            }
            empty = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_llama_cpp() {
        let grammar = "# a list\nroot ::= item-1 (\",\" ws item-1)* # more\nitem-1 ::=\n  \
                       [^\"\\\\\\x7F\\x00-\\x1F]+ |\n  \"a\\\"b\" [0-9]{1,3}\n\n\
                       ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n";
        let lark = to_lark(grammar).unwrap();
        let expected = "start: r_root\n\
            r_root: r_item_m1 (\",\" r_ws r_item_m1)*\n\
            r_item_m1: /[^\\x{22}\\x{5C}\\x{7F}\\x{0}-\\x{1F}]/+ | \"a\\\"b\" /[\\x{30}-\\x{39}]/{1,3}\n\
            r_ws: \"\" | \" \" | \"\\n\" /[\\x{20}\\x{9}]/{0,20}\n";
        assert_eq!(lark, expected);
        assert!(is_gbnf(grammar) && !is_gbnf("start: \"a\""));
        assert_eq!(to_lark("root ::= .\nA ::= \"x\"\na ::= \"y\"").unwrap().lines().nth(2), Some("r__ua: \"x\""));
    }

    #[test]
    fn errors_name_the_line() {
        for (grammar, words) in [
            ("start ::= \"a\"", "no rule `root`"),
            ("root ::= \"a", "no end"),
            ("root ::= (\"a\"\nx ::= \"b\"", "expected"),
            ("root ::= \"a\"\nroot2 = \"b\"", "line 2: expected `::=`"),
            ("root ::= <think>", "tokens by name"),
            ("root ::= foo\nbar ::= \"b\"", "line 1: the rule `foo` is not defined"),
            ("root ::= \"a\"{x}", "{m,n}"),
            ("root ::= [\\u12]", "hexadecimal"),
        ] {
            let error = to_lark(grammar).unwrap_err();
            assert!(error.contains(words), "{grammar}: {error}");
        }
        assert!(to_lark(&format!("root ::= {}", "(".repeat(200_000))).unwrap_err().contains("brackets"));
    }
}
