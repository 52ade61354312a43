//! The grammar from a whole answer down to relations and sets.

use super::super::token::{Kind, Token};
use super::super::tree::{Expr, Function, Relation};
use super::connectives::{CONDITIONS, is_approximately};
use super::parser::Parser;

impl Parser<'_> {
    /// Parses the whole text.
    pub(super) fn answer(mut self) -> Option<Expr> {
        let mut answer = self.groups()?;
        if self.command(&["over"]) {
            answer = Expr::Div(Box::new(answer), Box::new(self.groups()?));
        }
        (self.at == self.tokens.len()).then_some(answer)
    }

    /// Parses parts separated by `;`, each with items: the content of a group or a whole answer.
    pub(super) fn groups(&mut self) -> Option<Expr> {
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

    /// Combines items into one expression. Keeps "or" and "and" between relations: x < 1 or x > 3 is not x < 1 and x >
    /// 3.
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

    /// Parses statements separated by commas, "and", "or" or line breaks. Ignores leading, trailing and repeated
    /// separators.
    pub(super) fn items(&mut self) -> Option<Vec<Expr>> {
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

    /// Parses relations joined by logical connectives.
    pub(super) fn statement(&mut self) -> Option<Expr> {
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
            Kind::Text(t) if CONDITIONS.contains(&t.as_str()) => Relation::If,
            Kind::Text(t) if t == "in" && self.peek_at(1) != Some(&Kind::Sign('^')) => Relation::In,
            Kind::Text(t) if t == "is" => Relation::Equal,
            _ => return None,
        };
        self.at += 1;
        Some(relation)
    }

    /// Parses operands with relations between them. Ignores a relation before the first operand.
    fn chain(&mut self) -> Option<Expr> {
        let skipped = match self.peek() {
            Some(Kind::Relation(Relation::Equal | Relation::Approx)) => true,
            Some(Kind::Text(t)) => matches!(t.as_str(), "if" | "for" | "when") || is_approximately(t),
            Some(Kind::Word(t)) => is_approximately(t),
            _ => false,
        };
        self.at += usize::from(skipped);
        let one_sided = matches!(self.peek(), Some(Kind::Relation(r)) if is_order(*r)) && self.at == 0;
        // \ge 5 is x \ge 5.
        let first = if one_sided { Expr::Symbol("x".into()) } else { self.operand()? };
        let (mut operands, mut relations) = (vec![first], Vec::new());
        while let Some(relation) = self.relation() {
            relations.push(relation);
            operands.push(self.operand()?);
        }
        // 5 (approximately)
        if matches!(self.peek(), Some(Kind::Text(t)) if is_approximately(t)) && self.ends_term(1) {
            self.at += 1;
        }
        // x ≡ 3 mod 5
        if relations.contains(&Relation::Equivalent)
            && let Some(Expr::Call(Function::Mod, arguments)) = operands.last_mut()
        {
            let arguments = std::mem::take(arguments);
            operands.pop();
            operands.push(Expr::Apply("\\pmod".into(), arguments));
        }
        Some(if relations.is_empty() { operands.remove(0) } else { Expr::Chain(operands, relations) })
    }

    /// Parses sets joined by ∪ ∩ ∖, or anything that binds tighter, with an optional `\pmod`. Several capital letters
    /// alone form one name.
    pub(super) fn operand(&mut self) -> Option<Expr> {
        let mut left = self.as_operand()?;
        // True if `left` is a union that was written here, not in brackets.
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
            } else if self.bracketed_modulus() {
                self.at += 2;
                let modulus = self.nested(Self::operand)?;
                if !self.take(&Kind::Close(')')) {
                    return None;
                }
                left = Expr::Apply("\\pmod".into(), vec![left, modulus]);
            } else {
                return Some(left);
            }
        }
    }

    /// Parses an operand of a set operator.
    fn as_operand(&mut self) -> Option<Expr> {
        let start = self.at;
        let expr = self.ratio()?;
        let several = self.at > start + 1 || matches!(self.tokens.get(start), Some(Token { kind: Kind::Word(_), .. }));
        Some(if several { self.as_points(start, expr) } else { expr })
    }

    /// `AB` and `A B` alone are the name of a segment, not a product that commutes.
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
}

/// True if a relation is an order relation.
fn is_order(relation: Relation) -> bool {
    matches!(relation, Relation::Less | Relation::LessEqual | Relation::Greater | Relation::GreaterEqual)
}

/// True if a token shows that the tuples around it are intervals.
fn is_interval(kind: &Kind) -> bool {
    matches!(kind, Kind::Open('[') | Kind::Close(']')) || matches!(kind, Kind::Command(c) if c == "infty")
}

/// True if all chains start with the same operand.
fn same_left(chains: &[Expr]) -> bool {
    let left = |e: &Expr| match e {
        Expr::Chain(operands, _) => operands.first().cloned(),
        _ => None,
    };
    chains.windows(2).all(|pair| left(&pair[0]) == left(&pair[1]))
}
