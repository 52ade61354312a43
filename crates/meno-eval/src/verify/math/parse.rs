//! Reads an answer into trees: a precedence parser over [`tokens`](super::token).
//!
//! From loose to tight: `;`, then `,` "and" "or", logic, relations, ∪ ∩ ∖, `a : b`, sums, products (written or
//! implied, left to right with `/`), signs, powers and postfix marks, atoms. Function names without brackets take the
//! implied product that follows (`\cos 2x`), up to the next sum, relation, written operator or function.

mod atoms;
mod command;
mod matrix;

use super::token::{Commas, Kind, Token, tokens};
use super::tree::{Expr, Function, Literal, Relation};
use super::units;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 60;
/// Most readings of one text.
const MAX_READINGS: usize = 4;

/// All readings of an answer: more than one where a comma or a unit's letter can be read in two ways. Empty if the
/// text is no answer that could be compared.
pub fn parse(text: &str) -> Vec<Expr> {
    let text = trimmed(text);
    if text.is_empty() {
        return Vec::new();
    }
    let mut readings: Vec<Expr> = Vec::new();
    let mut add = |expr: Option<Expr>| {
        if let Some(expr) = expr.filter(|e| !readings.contains(e) && readings.len() < MAX_READINGS) {
            readings.push(expr);
        }
    };
    // \\text{5 cm}
    let inner = text.strip_prefix("\\text{").and_then(|t| t.strip_suffix('}'));
    if let Some(inner) = inner.filter(|t| t.contains(|c: char| c.is_ascii_digit()) && !t.contains(['{', '}'])) {
        return parse(inner);
    }
    let Some(joined) = tokens(text, Commas::Thousands) else { return Vec::new() };
    if let Some(words) = words(&joined, text) {
        add(Some(words));
        if !may_be_product(&joined) {
            return readings;
        }
    }
    let separate = tokens(text, Commas::List).filter(|separate| *separate != joined && !has_padded(separate));
    let decimal = tokens(text, Commas::Decimal)
        .filter(|decimal| !text.contains(['(', '[', '{']) && is_decimal_comma(decimal, &joined, text));
    for tokens in [Some(joined), separate, decimal].into_iter().flatten() {
        for units in [true, false] {
            add(Parser::new(&tokens, units).answer());
        }
    }
    readings
}

/// The answer without the punctuation of its sentence.
fn trimmed(text: &str) -> &str {
    text.trim().trim_end_matches(['.', ',', ';', ':', '。', '，']).trim()
}

/// Whether an integer is written with zeros before it, as only the groups of a longer number are.
fn has_padded(tokens: &[Token]) -> bool {
    tokens.iter().any(|t| matches!(&t.kind, Kind::Number { digits: Some(d), .. } if d.len() > 1 && d.starts_with('0')))
}

/// Whether the one comma of the text is a decimal comma: `1,25` and `0,5`, but not `1,500`, and not `1,5`, which is
/// more often a list.
fn is_decimal_comma(decimal: &[Token], joined: &[Token], text: &str) -> bool {
    let Some((before, after)) = text.split_once(',') else { return false };
    let zero = before.ends_with('0') && !before[..before.len() - 1].ends_with(|c: char| c.is_ascii_digit());
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    text.matches(',').count() == 1 && decimal.len() < joined.len() && (zero || digits > 1)
}

/// Plain words: a name, a weekday, a sentence.
fn words(tokens: &[Token], text: &str) -> Option<Expr> {
    let wordy = |t: &Token| matches!(t.kind, Kind::Word(_) | Kind::Text(_));
    let plain = |t: &Token| {
        wordy(t) || matches!(t.kind, Kind::Letter(_) | Kind::And | Kind::Or | Kind::Sign('-' | '\'' | ',' | '.'))
    };
    let long = |t: &Token| match &t.kind {
        Kind::Word(w) => w.len() > 2 || (w.len() == 2 && w.to_lowercase() == "no"),
        Kind::Text(_) => true,
        _ => false,
    };
    if !tokens.iter().all(plain) || !tokens.iter().any(long) {
        return None;
    }
    let capitals = |w: &str| w.chars().all(|c| c.is_ascii_uppercase());
    if let [Token { kind: Kind::Word(w), .. }] = tokens
        && capitals(w)
        && !["YES", "NO", "TRUE", "FALSE", "NONE"].contains(&w.as_str())
    {
        return None; // ABC: points of a figure
    }
    Some(spelled_number(text).unwrap_or_else(|| Expr::Text(plain_text(text))))
}

/// A small number in words.
fn spelled_number(text: &str) -> Option<Expr> {
    const WORDS: [&str; 21] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    let value = WORDS.iter().position(|word| text.eq_ignore_ascii_case(word))?;
    Some(Expr::Number(Literal::integer(value)))
}

/// Words in lower case, single spaces between them, without markup and quotes.
fn plain_text(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let command = &rest[at + 1..];
        let len = command.bytes().take_while(u8::is_ascii_alphabetic).count();
        rest = &command[len..];
        plain.push(' ');
    }
    plain.push_str(rest);
    let dropped = |c: char| matches!(c, '{' | '}' | '$' | '"' | '“' | '”' | '*' | '~' | '`' | '(' | ')' | '[' | ']');
    let plain: String = plain.chars().map(|c| if dropped(c) || c.is_whitespace() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split(' ').filter(|w| !w.is_empty()).collect();
    words.join(" ").to_lowercase().trim_matches(|c: char| matches!(c, '.' | ',' | ' ' | '-')).to_owned()
}

/// A single run of letters that reads as a product of variables: without vowels, or in alphabetical order.
fn may_be_product(tokens: &[Token]) -> bool {
    match tokens {
        [Token { kind: Kind::Word(w), .. }] if w.len() > 2 => {
            let b = w.as_bytes();
            b.windows(2).all(|p| p[0] < p[1]) || !b.iter().any(|c| b"aeiouAEIOU".contains(c))
        }
        _ => false,
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    /// The letter of a word that is next.
    letter: usize,
    /// Whether plain letters after a number can be its unit.
    units: bool,
    /// Whether a bar closes, rather than opens, an absolute value.
    bars: usize,
    /// Whether `:` is left to the caller.
    no_colon: bool,
    /// Whether `[` closes an interval, as in `]1, 2[`.
    reversed: bool,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(tokens: &'a [Token], units: bool) -> Self {
        Parser { tokens, at: 0, letter: 0, units, bars: 0, no_colon: false, reversed: false, depth: 0 }
    }

    /// The whole text.
    fn answer(mut self) -> Option<Expr> {
        let answer = self.groups()?;
        (self.at == self.tokens.len()).then_some(answer)
    }

    fn peek(&self) -> Option<&'a Kind> {
        self.tokens.get(self.at).map(|t| &t.kind)
    }

    fn peek_at(&self, ahead: usize) -> Option<&'a Kind> {
        self.tokens.get(self.at + ahead).map(|t| &t.kind)
    }

    fn spaced(&self, ahead: usize) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|t| t.spaced)
    }

    fn take(&mut self, kind: &Kind) -> bool {
        let found = self.letter == 0 && self.peek() == Some(kind);
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, c: char) -> bool {
        self.take(&Kind::Sign(c))
    }

    fn command(&mut self, names: &[&str]) -> bool {
        let found = self.letter == 0 && matches!(self.peek(), Some(Kind::Command(c)) if names.contains(&c.as_str()));
        self.at += usize::from(found);
        found
    }

    /// Runs `f` one level deeper, with brackets and bars of its own.
    fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let outer = (self.bars, self.no_colon, self.reversed);
        (self.bars, self.no_colon, self.reversed) = (0, false, false);
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        (self.bars, self.no_colon, self.reversed) = outer;
        result
    }

    /// Parts separated by `;`, each of items; the content of a group or a whole answer.
    fn groups(&mut self) -> Option<Expr> {
        let mut groups = vec![self.joined()?];
        while self.sign(';') {
            groups.push(self.joined()?);
        }
        let mut groups: Vec<Expr> = groups.into_iter().flatten().collect();
        match groups.len() {
            0 => None,
            1 => groups.pop(),
            _ => Some(Expr::List(groups)),
        }
    }

    /// Items as one expression. Relations joined by "or" or "and" keep the word: x < 1 or x > 3 is not x < 1 and x > 3.
    fn joined(&mut self) -> Option<Option<Expr>> {
        let start = self.at;
        let mut items = self.items()?;
        if items.len() < 2 {
            return Some(items.pop());
        }
        let between = &self.tokens[start..self.at];
        let said = |kind: Kind| between.iter().any(|t| t.kind == kind);
        let order = |e: &Expr| matches!(e, Expr::Chain(_, r) if r.iter().any(|r| is_order(*r)));
        let chains = items.iter().all(|e| matches!(e, Expr::Chain(..)));
        let intervals =
            items.iter().all(|e| matches!(e, Expr::Tuple(..))) && between.iter().any(|t| is_interval(&t.kind));
        Some(Some(if said(Kind::Or) && chains && (items.iter().any(order) || !same_left(&items)) {
            Expr::Logic("lor", items)
        } else if said(Kind::And) && chains && items.iter().any(order) {
            Expr::Logic("land", items)
        } else if said(Kind::Or) && intervals {
            Expr::Union(items)
        } else {
            Expr::List(items)
        }))
    }

    /// Statements separated by commas, "and", "or" or line breaks; separators at the ends and twice in a row mean
    /// nothing.
    fn items(&mut self) -> Option<Vec<Expr>> {
        let mut items = Vec::new();
        loop {
            while self.separator() {}
            if matches!(
                self.peek(),
                None | Some(Kind::Close(_) | Kind::SetClose | Kind::GroupClose | Kind::End(_) | Kind::Sign(';'))
            ) && !(items.is_empty() && self.depth == 0 && self.reversed_interval())
            {
                return Some(items);
            }
            items.push(self.statement()?);
            if !self.separator() {
                return Some(items);
            }
        }
    }

    fn separator(&mut self) -> bool {
        self.sign(',') || self.take(&Kind::And) || self.take(&Kind::Or) || self.take(&Kind::RowBreak)
    }

    /// Relations joined by logical connectives.
    fn statement(&mut self) -> Option<Expr> {
        if self.command(&["neg", "lnot"]) {
            return Some(Expr::Logic("neg", vec![self.nested(Self::statement)?]));
        }
        let mut left = self.chain()?;
        loop {
            let name = match self.peek() {
                Some(Kind::Command(c)) if c == "land" => "land",
                Some(Kind::Command(c)) if c == "lor" => "lor",
                _ => return Some(left),
            };
            self.at += 1;
            let right = self.chain()?;
            left = match left {
                Expr::Logic(same, mut operands) if same == name => {
                    operands.push(right);
                    Expr::Logic(same, operands)
                }
                left => Expr::Logic(name, vec![left, right]),
            };
        }
    }

    fn relation(&mut self) -> Option<Relation> {
        let relation = match self.peek()? {
            Kind::Relation(r) => *r,
            Kind::Mid if self.bars == 0 => Relation::Divides,
            Kind::Text(t) if matches!(t.as_str(), "if" | "for" | "when" | "where") => Relation::If,
            Kind::Text(t) if t == "in" => Relation::In,
            Kind::Text(t) if t == "is" => Relation::Equal,
            _ => return None,
        };
        self.at += 1;
        Some(relation)
    }

    /// Operands with relations between them. A relation before the first operand means nothing.
    fn chain(&mut self) -> Option<Expr> {
        let skipped = match self.peek() {
            Some(Kind::Relation(Relation::Equal | Relation::Approx)) => true,
            Some(Kind::Text(t)) => matches!(t.as_str(), "if" | "for" | "when"),
            _ => false,
        };
        self.at += usize::from(skipped);
        let first = self.operand()?;
        let (mut operands, mut relations) = (vec![first], Vec::new());
        while let Some(relation) = self.relation() {
            relations.push(relation);
            operands.push(self.operand()?);
        }
        Some(if relations.is_empty() { operands.remove(0) } else { Expr::Chain(operands, relations) })
    }

    /// Sets joined by ∪ ∩ ∖, or anything tighter, with `\pmod` after it. Capital letters alone are one name.
    fn operand(&mut self) -> Option<Expr> {
        let mut left = self.as_operand()?;
        // Whether `left` is a union that was written here, not in brackets.
        let mut open = false;
        loop {
            if self.command(&["cup", "bigcup"]) {
                let right = self.as_operand()?;
                left = match left {
                    Expr::Union(mut parts) if open => {
                        parts.push(right);
                        Expr::Union(parts)
                    }
                    left => Expr::Union(vec![left, right]),
                };
                open = true;
                continue;
            }
            open = false;
            if self.command(&["cap", "bigcap"]) {
                left = Expr::Intersection(vec![left, self.as_operand()?]);
            } else if self.command(&["setminus", "backslash", "smallsetminus"]) {
                left = Expr::Difference(Box::new(left), Box::new(self.as_operand()?));
            } else if self.command(&["pmod"]) {
                left = Expr::Apply("\\pmod".into(), vec![left, self.argument()?]);
            } else {
                return Some(left);
            }
        }
    }

    /// What stands between set operators.
    fn as_operand(&mut self) -> Option<Expr> {
        let start = self.at;
        let expr = self.ratio()?;
        let several = self.at > start + 1 || matches!(self.tokens.get(start), Some(Token { kind: Kind::Word(_), .. }));
        Some(if several { self.as_points(start, expr) } else { expr })
    }

    /// `AB` and `A B` alone: the name of a segment, not a product that commutes.
    fn as_points(&self, start: usize, expr: Expr) -> Expr {
        let mut name = String::new();
        for token in &self.tokens[start..self.at] {
            match &token.kind {
                Kind::Letter(c) if c.is_ascii_uppercase() => name.push(*c),
                Kind::Word(w) if w.chars().all(|c| c.is_ascii_uppercase()) => name.push_str(w),
                _ => return expr,
            }
        }
        Expr::Symbol(name)
    }

    /// `a : b : c`, or a time of day.
    fn ratio(&mut self) -> Option<Expr> {
        if let Some(time) = self.time() {
            return Some(time);
        }
        let mut parts = vec![self.sum()?];
        while !self.no_colon && self.sign(':') {
            parts.push(self.sum()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Expr::Ratio(parts) })
    }

    /// `10:30`: digits, a colon, two digits, without spaces.
    fn time(&mut self) -> Option<Expr> {
        if self.no_colon {
            return None;
        }
        let digits = |k: Option<&'a Kind>| match k {
            Some(Kind::Number { digits: Some(d), literal, .. }) => Some((d.len(), Expr::Number(literal.clone()))),
            _ => None,
        };
        let mut parts = vec![digits(self.peek()).filter(|(n, _)| *n <= 2)?.1];
        let mut ahead = 1;
        while self.peek_at(ahead) == Some(&Kind::Sign(':')) && !self.spaced(ahead) && !self.spaced(ahead + 1) {
            parts.push(digits(self.peek_at(ahead + 1)).filter(|(n, _)| *n == 2)?.1);
            ahead += 2;
        }
        if !(2..=3).contains(&parts.len()) {
            return None;
        }
        self.at += ahead;
        let time = Expr::Apply("\\time".into(), parts);
        Some(match self.unit() {
            Some(unit) => Expr::Quantity(Box::new(time), unit),
            None => time,
        })
    }

    fn sum(&mut self) -> Option<Expr> {
        let mut terms = Vec::new();
        loop {
            let first = terms.is_empty();
            let term: fn(Box<Expr>) -> Expr = if self.sign('-') {
                Expr::Neg
            } else if self.sign('+') {
                |x| *x
            } else if self.command(&["pm"]) {
                Expr::PlusMinus
            } else if self.command(&["mp"]) {
                Expr::MinusPlus
            } else if first {
                |x| *x
            } else {
                break;
            };
            terms.push(match (self.product()?, term(Box::new(Expr::Text(String::new())))) {
                // The sign belongs to the number, not to the number with its unit.
                (Expr::Quantity(x, unit), Expr::Text(_)) => Expr::Quantity(x, unit),
                (Expr::Quantity(x, unit), _) => Expr::Quantity(Box::new(term(x)), unit),
                (x, _) => term(Box::new(x)),
            });
        }
        Some(if terms.len() == 1 { terms.remove(0) } else { Expr::Add(terms) })
    }

    /// Factors with `*`, `/`, `\bmod` or nothing between them.
    fn product(&mut self) -> Option<Expr> {
        let mut factors = Factors::default();
        factors.push(self.signed()?);
        loop {
            if self.sign('*') {
                factors.push(self.signed()?);
            } else if self.sign('×') {
                let right = self.signed()?;
                // The cross product does not commute.
                if is_vector(&right) && factors.items.last().is_some_and(is_vector) {
                    factors.push(Expr::Opaque("\\times".into()));
                }
                factors.push(right);
            } else if self.sign('/') {
                let divisor = self.signed()?;
                let dividend = factors.finish();
                factors = Factors::default();
                factors.push(Expr::Div(Box::new(dividend), Box::new(divisor)));
            } else if self.command(&["bmod", "mod"]) {
                let divisor = self.signed()?;
                let dividend = factors.finish();
                factors = Factors::default();
                factors.push(Expr::Call(Function::Mod, vec![dividend, divisor]));
            } else if self.starts_factor() {
                if let Some(unit) = self.unit_after(&factors) {
                    let value = Box::new(factors.finish());
                    return Some(match unit.as_str() {
                        "percent" | "pct" | "percentage" | "per cent" => Expr::Percent(value),
                        "degree" | "degrees" => Expr::Degrees(value),
                        _ => Expr::Quantity(value, unit),
                    });
                }
                // 2 3 and {2}{3} are no products; (2)3 and x 3 are.
                let bracket =
                    matches!(self.peek(), Some(Kind::Open(_) | Kind::Word(_) | Kind::Text(_))) || self.after_bracket();
                let factor = self.factor()?;
                factors.ordered |= !bracket && is_numeral(&factor) && factors.items.last().is_some_and(is_numeral);
                factors.push(factor);
            } else {
                return Some(factors.finish());
            }
        }
    }

    /// Whether the last token closes a bracket.
    fn after_bracket(&self) -> bool {
        matches!(self.at.checked_sub(1).map(|i| &self.tokens[i].kind), Some(Kind::Close(_)))
    }

    /// Whether the next token continues a product.
    fn starts_factor(&self) -> bool {
        if self.letter > 0 {
            return true;
        }
        match self.peek() {
            Some(Kind::Command(c)) => !matches!(
                c.as_str(),
                "land"
                    | "lor"
                    | "cup"
                    | "cap"
                    | "bigcup"
                    | "bigcap"
                    | "setminus"
                    | "backslash"
                    | "smallsetminus"
                    | "pmod"
                    | "choose"
                    | "over"
                    | "pm"
                    | "mp"
                    | "rfloor"
                    | "rceil"
                    | "rvert"
            ),
            Some(Kind::Text(t)) => {
                !matches!(t.as_str(), "if" | "for" | "when" | "where" | "in" | "is") || t == "in" && self.ends_term(1)
            }
            Some(Kind::Bar | Kind::DoubleBar) => self.bars == 0,
            Some(Kind::Open('[')) => !self.reversed,
            Some(
                Kind::Number { .. }
                | Kind::Letter(_)
                | Kind::Word(_)
                | Kind::Open(_)
                | Kind::SetOpen
                | Kind::GroupOpen
                | Kind::Begin(_)
                | Kind::Currency(_),
            ) => true,
            _ => false,
        }
    }

    /// A unit that ends the term, if the factors are a number (any value before `\text{…}`).
    fn unit_after(&mut self, factors: &Factors) -> Option<String> {
        let text = matches!(self.peek(), Some(Kind::Text(_)));
        if let Some(Kind::Currency(name)) = self.peek() {
            self.at += 1;
            if self.ends_term(0) {
                return Some((*name).to_owned());
            }
            self.at -= 1;
            return None;
        }
        (self.letter == 0 && (text || self.units && factors.items.iter().all(is_numeric)))
            .then(|| self.unit())
            .flatten()
    }

    /// The unit that stands here, up to the end of the term.
    fn unit(&mut self) -> Option<String> {
        let (mut text, mut ahead) = (String::new(), 0);
        loop {
            let open = text.is_empty() || text.ends_with(['/', '*']);
            match self.peek_at(ahead) {
                Some(Kind::Text(t)) => text += &format!(" {t}"),
                Some(Kind::Word(w)) if self.units => text += &format!(" {w}"),
                Some(Kind::Letter(c)) if self.units && (self.spaced(ahead) || open && !text.is_empty()) => {
                    text += &format!(" {c}");
                }
                Some(Kind::Command(c)) if c == "Omega" => text += " ohm",
                Some(Kind::Sign('^')) if !open => {
                    let (digits, used) = self.unit_power(ahead + 1)?;
                    text += &format!("^{digits}");
                    ahead += used;
                }
                Some(Kind::Sign(c @ ('/' | '*'))) if !open => text.push(*c),
                _ => break,
            }
            ahead += 1;
            if text.len() > 80 {
                return None;
            }
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("/ ", "/").replace("* ", "*");
        let word = matches!(text.as_str(), "percent" | "pct" | "percentage" | "per cent" | "degree" | "degrees");
        if !self.ends_term(ahead) || !(word || units::parse(&text).is_some()) {
            return None;
        }
        self.at += ahead;
        Some(text)
    }

    /// The integer exponent `ahead`, with how many tokens it takes.
    fn unit_power(&self, ahead: usize) -> Option<(String, usize)> {
        let digits = |k: Option<&Kind>| match k {
            Some(Kind::Number { digits: Some(d), .. }) => Some(d.clone()),
            _ => None,
        };
        if let Some(d) = digits(self.peek_at(ahead)) {
            return Some((d, 1));
        }
        let minus = usize::from(self.peek_at(ahead + 1) == Some(&Kind::Sign('-')));
        let d = digits(self.peek_at(ahead + 1 + minus))?;
        let closed =
            self.peek_at(ahead) == Some(&Kind::GroupOpen) && self.peek_at(ahead + 2 + minus) == Some(&Kind::GroupClose);
        closed.then(|| (format!("{}{d}", if minus > 0 { "-" } else { "" }), 3 + minus))
    }

    /// Whether nothing of the term follows.
    fn ends_term(&self, ahead: usize) -> bool {
        match self.peek_at(ahead) {
            None => true,
            Some(Kind::Bar | Kind::DoubleBar) => self.bars > 0,
            Some(Kind::Sign(c)) => matches!(c, ',' | ';' | '&' | '.' | ':' | '+' | '-'),
            Some(Kind::Command(c)) => matches!(c.as_str(), "cup" | "cap" | "pm" | "mp"),
            Some(
                Kind::Close(_)
                | Kind::SetClose
                | Kind::GroupClose
                | Kind::And
                | Kind::Or
                | Kind::RowBreak
                | Kind::Relation(_)
                | Kind::End(_)
                | Kind::Mid,
            ) => true,
            Some(_) => false,
        }
    }

    /// A factor with its sign.
    fn signed(&mut self) -> Option<Expr> {
        if self.sign('-') {
            return Some(Expr::Neg(Box::new(self.nested(Self::signed)?)));
        }
        if self.sign('+') {
            return self.nested(Self::signed);
        }
        if self.command(&["pm"]) {
            return Some(Expr::PlusMinus(Box::new(self.nested(Self::signed)?)));
        }
        if self.command(&["mp"]) {
            return Some(Expr::MinusPlus(Box::new(self.nested(Self::signed)?)));
        }
        self.factor()
    }
}

/// Whether a relation orders numbers.
fn is_order(relation: Relation) -> bool {
    matches!(relation, Relation::Less | Relation::LessEqual | Relation::Greater | Relation::GreaterEqual)
}

/// Whether a token makes intervals of the tuples around it.
fn is_interval(kind: &Kind) -> bool {
    matches!(kind, Kind::Open('[') | Kind::Close(']')) || matches!(kind, Kind::Command(c) if c == "infty")
}

/// Whether all chains start with the same operand.
fn same_left(chains: &[Expr]) -> bool {
    let left = |e: &Expr| match e {
        Expr::Chain(operands, _) => operands.first().cloned(),
        _ => None,
    };
    chains.windows(2).all(|pair| left(&pair[0]) == left(&pair[1]))
}

/// The factors of a product so far.
#[derive(Default)]
struct Factors {
    items: Vec<Expr>,
    /// Whether they do not commute.
    ordered: bool,
}

impl Factors {
    fn push(&mut self, factor: Expr) {
        if let (Some(Expr::Cycles(last)), Expr::Cycles(next)) = (self.items.last_mut(), &factor) {
            last.extend(next.iter().cloned());
            return;
        }
        self.ordered |= matches!(factor, Expr::Opaque(_) | Expr::Text(_) | Expr::Sequence(_));
        self.items.push(factor);
    }

    fn finish(&mut self) -> Expr {
        let mut items = std::mem::take(&mut self.items);
        // A^T B and A^{-1} B: matrices.
        let capital =
            |e: &Expr| matches!(e, Expr::Symbol(name) if name.len() == 1 && name.as_bytes()[0].is_ascii_uppercase());
        let turned = |e: &Expr| matches!(e, Expr::Pow(base, power) if capital(base) && is_matrix_power(power));
        let matrices = items.iter().filter(|e| capital(e) || turned(e)).count();
        self.ordered |= matrices > 1 && items.iter().any(turned);
        match items.len() {
            1 => items.remove(0),
            _ if self.ordered => Expr::Sequence(items),
            _ => Expr::Mul(items),
        }
    }
}

/// A number that stands for itself, without an operation.
fn is_numeral(e: &Expr) -> bool {
    match e {
        Expr::Number(_) | Expr::Percent(_) | Expr::Mixed(..) | Expr::Based(..) => true,
        Expr::Pow(base, _) => is_numeral(base),
        _ => false,
    }
}

/// A name with a vector's arrow.
fn is_vector(e: &Expr) -> bool {
    matches!(e, Expr::Symbol(name) if name.starts_with("\\vec{") || name.starts_with("\\overrightarrow{"))
}

/// The exponents −1 and T.
fn is_matrix_power(power: &Expr) -> bool {
    match power {
        Expr::Symbol(t) => t == "T",
        Expr::Opaque(t) => t == "\\top",
        Expr::Neg(one) => **one == Expr::Number(Literal::integer(1)),
        _ => false,
    }
}

/// A value without letters, which a unit can follow.
pub(super) fn is_numeric(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::Mixed(..) | Expr::Based(..) | Expr::Degrees(_) | Expr::Percent(_) => true,
        Expr::Constant(_) => true,
        Expr::Neg(x) | Expr::PlusMinus(x) | Expr::MinusPlus(x) => is_numeric(x),
        Expr::Div(a, b) | Expr::Pow(a, b) | Expr::Root(a, b) => is_numeric(a) && is_numeric(b),
        Expr::Add(items) | Expr::Mul(items) | Expr::Call(_, items) => items.iter().all(is_numeric),
        Expr::Apply(name, items) => name == "\\time" && items.iter().all(is_numeric),
        _ => false,
    }
}

/// Whether a text has words outside `\text{…}` that are neither functions nor connectives.
pub(super) fn has_long_words(text: &str) -> bool {
    let Some(tokens) = tokens(trimmed(text), Commas::Thousands) else { return false };
    tokens.iter().any(|t| matches!(&t.kind, Kind::Word(w) if w.len() > 2 && !w.chars().all(|c| c.is_ascii_uppercase())))
}
