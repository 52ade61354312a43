//! Scans the text of an answer in one pass, character by character.

use super::super::symbols::{function_of, is_greek, is_known, is_layout, is_text, relation_of};
use super::super::tree::Relation;
use super::super::units;
use super::kind::{Commas, Kind, MAX_LEN, Token};
use super::normalize::normalized;
use super::unit_text::{unit_text, with_unit_fractions};

/// Splits `text` into tokens; `None` if it is too long, a number has too many digits, or a text group is not closed.
pub(in crate::verify::math) fn tokens(text: &str, commas: Commas) -> Option<Vec<Token>> {
    if text.len() > MAX_LEN {
        return None;
    }
    let chars = normalized(&with_unit_fractions(text));
    let dollars = (0..chars.len()).filter(|&i| chars[i] == '$' && (i == 0 || chars[i - 1] != '\\')).count();
    let rows = text.contains("\\begin");
    let mut s = Scanner { chars, at: 0, commas, tokens: Vec::new(), spaced: false, depth: 0, dollars, rows };
    while s.at < s.chars.len() {
        s.next()?;
    }
    Some(s.tokens)
}

pub(super) struct Scanner {
    pub(super) chars: Vec<char>,
    pub(super) at: usize,
    pub(super) commas: Commas,
    pub(super) tokens: Vec<Token>,
    pub(super) spaced: bool,
    /// Number of open brackets and set braces.
    pub(super) depth: usize,
    /// Number of `$` signs in the text. An odd number means money.
    pub(super) dollars: usize,
    /// True if the text has environments, in whose rows `\\\\` is a line break.
    pub(super) rows: bool,
}

impl Scanner {
    pub(super) fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    pub(super) fn starts(&self, at: usize, wanted: &str) -> bool {
        wanted.chars().enumerate().all(|(i, c)| self.chars.get(at + i) == Some(&c))
    }

    pub(super) fn push(&mut self, kind: Kind) {
        let spaced = std::mem::take(&mut self.spaced);
        self.tokens.push(Token { kind, spaced });
    }

    pub(super) fn digits(&self, from: usize) -> usize {
        self.chars[from.min(self.chars.len())..].iter().take_while(|c| c.is_ascii_digit()).count()
    }

    fn next(&mut self) -> Option<()> {
        let c = self.peek(0)?;
        if c.is_ascii_digit() || (c == '.' && self.digits(self.at + 1) > 0 && self.digits_may_start()) {
            return self.number();
        }
        if c.is_ascii_alphabetic() {
            self.word();
            return Some(());
        }
        if c == '\\' {
            return self.command();
        }
        if c.is_alphabetic() {
            let run: String = self.chars[self.at..].iter().take_while(|c| c.is_alphabetic()).collect();
            self.at += run.chars().count();
            self.push(Kind::Text(run.to_lowercase()));
            return Some(());
        }
        if let Some((relation, len)) = self.relation() {
            self.at += len;
            self.push(Kind::Relation(relation));
            return Some(());
        }
        self.at += 1;
        match c {
            '~' => self.spaced = true,
            c if c.is_whitespace() || c.is_control() => self.spaced = true,
            '$' => self.dollar(),
            '€' => self.push(Kind::Currency("euros")),
            '£' => self.push(Kind::Currency("pounds")),
            '¥' | '￥' => self.push(Kind::Currency("yuan")),
            '₹' => self.push(Kind::Currency("rupees")),
            '(' | '[' => {
                self.depth += 1;
                self.push(Kind::Open(c));
            }
            ')' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                self.push(Kind::Close(c));
            }
            '{' if self.peek(0) == Some('}') => {
                self.at += 1;
                self.spaced = true;
            }
            '{' => self.push(Kind::GroupOpen),
            '}' => self.push(Kind::GroupClose),
            '|' => self.push(Kind::Bar),
            '+' if self.starts(self.at, "/-") => {
                self.at += 2;
                self.push(Kind::Command("pm".into()));
            }
            '*' if self.peek(0) == Some('*') => {
                self.at += 1;
                self.push(Kind::Sign('^'));
            }
            '.' if self.starts(self.at, "..") => {
                self.at += 2;
                self.push(Kind::Command("cdots".into()));
            }
            '`' | '"' | '“' | '”' => self.spaced = true,
            c => self.push(Kind::Sign(c)),
        }
        Some(())
    }

    /// A relation of ASCII signs, with its length.
    fn relation(&self) -> Option<(Relation, usize)> {
        const SIGNS: [(&str, Relation); 14] = [
            ("<=>", Relation::Iff),
            ("<->", Relation::Iff),
            ("<=", Relation::LessEqual),
            ("=<", Relation::LessEqual),
            (">=", Relation::GreaterEqual),
            ("!=", Relation::NotEqual),
            ("<>", Relation::NotEqual),
            ("=>", Relation::Implies),
            ("->", Relation::To),
            ("==", Relation::Equal),
            (":=", Relation::Equal),
            ("=", Relation::Equal),
            ("<", Relation::Less),
            (">", Relation::Greater),
        ];
        SIGNS.iter().find(|(sign, _)| self.starts(self.at, sign)).map(|&(sign, r)| (r, sign.len()))
    }

    /// Scans `$`: money before or after a number if the signs are unpaired, otherwise a formula delimiter.
    fn dollar(&mut self) {
        if self.dollars % 2 == 1 {
            self.push(Kind::Currency("dollars"));
        } else {
            self.spaced = true;
        }
    }

    /// True if a decimal point can start a number: no number or letter ends right before it.
    fn digits_may_start(&self) -> bool {
        self.spaced
            || !matches!(
                self.tokens.last().map(|t| &t.kind),
                Some(Kind::Number { .. } | Kind::Letter(_) | Kind::Word(_))
            )
    }

    fn word(&mut self) {
        let mut run: String = self.chars[self.at..].iter().take_while(|c| c.is_ascii_alphabetic()).collect();
        let after_value = matches!(
            self.tokens.last().map(|t| &t.kind),
            Some(Kind::Number { .. } | Kind::Close(_) | Kind::SetClose | Kind::GroupClose)
        );
        // "1orx=2": the separator is attached to its neighbours.
        for separator in ["or", "and"] {
            let glued = after_value && !self.spaced && run.len() > separator.len();
            if glued && run.starts_with(separator) && run[separator.len()..].len() == 1
                || glued && run.strip_prefix(separator).is_some_and(|r| r.starts_with(|c: char| c.is_uppercase()))
            {
                run.truncate(separator.len());
            }
        }
        self.at += run.len();
        // 3x10^5
        if run == "x"
            && matches!(self.tokens.last().map(|t| &t.kind), Some(Kind::Number { .. }))
            && self.starts(self.at + usize::from(self.peek(0) == Some(' ')), "10^")
        {
            self.push(Kind::Sign('×'));
            return;
        }
        // p.m. of a time
        if after_value && matches!(run.as_str(), "a" | "p") && self.starts(self.at, ".m") {
            self.at += 2;
            self.at += usize::from(self.peek(0) == Some('.'));
            self.push(Kind::Word(format!("{run}m")));
            return;
        }
        let kind = match run.as_str() {
            "or" => Kind::Or,
            "and" => Kind::And,
            // After a value, `min` and `sec` are minutes and seconds, not functions.
            "min" | "sec" if after_value && !matches!(self.peek(0), Some('(' | '{' | '\\' | '[')) => Kind::Word(run),
            "in" if !after_value => Kind::Relation(Relation::In),
            "mod" => Kind::Command("bmod".into()),
            "pi" | "sqrt" | "cbrt" | "infinity" | "inf" | "infty" => Kind::Command(run),
            "sh" | "th" | "Re" | "Im" => Kind::Word(run),
            _ if function_of(&run).is_some() => Kind::Command(run),
            _ if run.len() > 2 && is_greek(&run) => Kind::Command(run),
            _ if run.len() == 1 => Kind::Letter(char::from(run.as_bytes()[0])),
            _ => Kind::Word(run),
        };
        self.push(kind);
    }

    fn command(&mut self) -> Option<()> {
        let Some(c) = self.peek(1) else {
            self.at += 1; // a backslash at the end
            return Some(());
        };
        // A backslash that was escaped once too often: \\frac for \frac.
        if c == '\\' && !self.rows {
            let name: String = self.chars[self.at + 2..].iter().take_while(|c| c.is_ascii_alphabetic()).collect();
            if is_known(&name) {
                self.at += 2 + name.len();
                return self.named(name);
            }
        }
        if !c.is_ascii_alphabetic() {
            self.at += 2;
            match c {
                '\\' => self.push(Kind::RowBreak),
                '{' => {
                    self.depth += 1;
                    self.push(Kind::SetOpen);
                }
                '}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.push(Kind::SetClose);
                }
                '%' => self.push(Kind::Sign('%')),
                '$' => self.push(Kind::Currency("dollars")),
                '|' => self.push(Kind::DoubleBar),
                '!' => {}
                '_' | '&' | '#' => {}
                _ => self.spaced = true, // \, \; \: \( \) \[ \] and a space
            }
            return Some(());
        }
        let name: String = self.chars[self.at + 1..].iter().take_while(|c| c.is_ascii_alphabetic()).collect();
        self.at += 1 + name.len();
        self.named(name)
    }

    /// True if a unit can come next: after a value, or after a unit and a sign.
    pub(super) fn after_value(&self) -> bool {
        match self.tokens.as_slice() {
            [.., Token { kind: Kind::Text(_), .. }, Token { kind: Kind::Sign('/' | '*'), .. }] => true,
            [.., last] => matches!(last.kind, Kind::Number { .. } | Kind::GroupClose | Kind::Close(_)),
            [] => false,
        }
    }

    fn named(&mut self, name: String) -> Option<()> {
        if let Some(kind) = kind_of(&name) {
            self.push(kind);
            return Some(());
        }
        match name.as_str() {
            "begin" | "end" => {
                let environment = self.argument()?.trim_end_matches('*').to_owned();
                if matches!(environment.as_str(), "array" | "tabular") && name == "begin" && self.peek(0) == Some('{') {
                    self.argument()?; // the columns
                }
                self.push(if name == "begin" { Kind::Begin(environment) } else { Kind::End(environment) });
            }
            _ if is_text(&name) => {
                let content = self.argument()?;
                self.words(&content);
            }
            "mathrm" | "operatorname" | "rm" | "mathsf" if self.peek(0) == Some('{') => {
                let start = self.at;
                let content = self.argument()?;
                let plain = content.trim();
                let name: String = plain.chars().filter(|c| !c.is_whitespace()).collect();
                let value = self.after_value();
                let unit = unit_text(plain);
                if value && units::parse(&unit).is_some() {
                    self.push(Kind::Text(unit));
                } else if function_of(&name).is_some() {
                    self.push(Kind::Command(name));
                } else if plain.len() > 1 && plain.chars().any(char::is_alphabetic) && !plain.contains('\\') {
                    self.words(&content);
                } else {
                    self.at = start; // a plain group
                }
            }
            // The dot of a missing delimiter.
            "left" | "right" => {
                if self.peek(0) == Some('.') {
                    self.at += 1;
                    self.spaced = true;
                }
            }
            "not" => {
                let negated = [("=", Relation::NotEqual), ("\\in", Relation::NotIn), ("\\equiv", Relation::NotEqual)];
                while self.peek(0).is_some_and(char::is_whitespace) {
                    self.at += 1;
                }
                if let Some((sign, relation)) = negated.iter().find(|(sign, _)| self.starts(self.at, sign)) {
                    self.at += sign.len();
                    self.push(Kind::Relation(*relation));
                } else {
                    self.push(Kind::Command(name));
                }
            }
            // Invisible, or only a colour.
            "phantom" | "hphantom" | "vphantom" | "hspace" | "vspace" | "color" | "textcolor" => {
                self.argument()?;
                self.spaced = true;
            }
            "degree" | "degrees" => {
                self.push(Kind::Sign('^'));
                self.push(Kind::Command("circ".into()));
            }
            _ if is_layout(&name) => self.spaced = true,
            _ if relation_of(&name).is_some() => {
                self.push(Kind::Relation(relation_of(&name).unwrap_or(Relation::Equal)));
            }
            // `\quadx`: a space command joined with a name.
            _ if name.starts_with("quad") => {
                self.spaced = true;
                self.at -= name.len() - 4;
            }
            _ => self.push(Kind::Command(name)),
        }
        Some(())
    }

    /// The text in the braces that open here, or the next character.
    fn argument(&mut self) -> Option<String> {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        if self.peek(0)? != '{' {
            let c = self.peek(0)?;
            self.at += 1;
            return Some(c.to_string());
        }
        let mut depth = 0usize;
        for i in self.at..self.chars.len() {
            match self.chars[i] {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let content = self.chars[self.at + 1..i].iter().collect();
                self.at = i + 1;
                return Some(content);
            }
        }
        None
    }
}

/// The token of a command that always means the same.
fn kind_of(command: &str) -> Option<Kind> {
    Some(match command {
        "lbrace" => Kind::SetOpen,
        "rbrace" => Kind::SetClose,
        "lbrack" => Kind::Open('['),
        "rbrack" => Kind::Close(']'),
        "lparen" => Kind::Open('('),
        "rparen" => Kind::Close(')'),
        "langle" => Kind::Open('<'),
        "rangle" => Kind::Close('>'),
        "lvert" | "rvert" | "vert" => Kind::Bar,
        "lVert" | "rVert" | "Vert" => Kind::DoubleBar,
        "mid" => Kind::Mid,
        "colon" => Kind::Sign(':'),
        "cdot" | "ast" => Kind::Sign('*'),
        "times" => Kind::Sign('×'),
        "div" => Kind::Sign('/'),
        "cr" | "newline" => Kind::RowBreak,
        "prime" => Kind::Sign('\''),
        "dots" | "ldots" | "cdots" | "dotsc" | "dotsb" | "dotsm" | "vdots" | "ddots" => Kind::Command("cdots".into()),
        "pounds" => Kind::Currency("pounds"),
        "euro" => Kind::Currency("euros"),
        "yen" => Kind::Currency("yuan"),
        "wedge" => Kind::Command("land".into()),
        "vee" => Kind::Command("lor".into()),
        _ => return None,
    })
}
