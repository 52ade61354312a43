//! Environments: matrices, determinants, case distinctions, aligned equations.

use super::parser::Parser;
use crate::verify::math::token::{Kind, Token};
use crate::verify::math::tree::{Bracket, Expr, Function};

impl Parser<'_> {
    /// Parses an environment whose `\begin` has been consumed.
    pub(super) fn environment(&mut self, name: &str) -> Option<Expr> {
        let aligned = matches!(
            name,
            "aligned" | "align" | "alignedat" | "gather" | "gathered" | "split" | "equation" | "eqnarray" | "multline"
        );
        if aligned {
            return self.aligned(name);
        }
        let rows = self.rows(name)?;
        Some(match name {
            "vmatrix" => Expr::Call(Function::Det, vec![Expr::Matrix(rows)]),
            "Vmatrix" => Expr::Apply("\\norm".into(), vec![Expr::Matrix(rows)]),
            "cases" | "dcases" => cases(rows),
            "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "smallmatrix" | "array" | "tabular" => Expr::Matrix(rows),
            _ => return None,
        })
    }

    /// Parses the rows up to `\end{name}`.
    fn rows(&mut self, name: &str) -> Option<Vec<Vec<Expr>>> {
        let mut rows = vec![Vec::new()];
        loop {
            while self.command(&["hline", "cline"]) {}
            match self.peek()? {
                Kind::End(end) if end == name => {
                    self.at += 1;
                    break;
                }
                Kind::RowBreak => {
                    self.at += 1;
                    rows.push(Vec::new());
                }
                _ => {
                    let cell = self.nested(Self::statement)?;
                    let trailing = self.sign(',');
                    rows.last_mut()?.push(cell);
                    let _ = trailing || self.sign('.') || self.sign(';');
                    let _ = self.sign('&');
                }
            }
        }
        rows.retain(|row| !row.is_empty());
        let width = rows.first().map_or(0, Vec::len);
        let even = matches!(name, "cases" | "dcases") || rows.iter().all(|row| row.len() == width);
        (width > 0 && even).then_some(rows)
    }

    /// Parses lines of statements. Ignores alignment marks.
    fn aligned(&mut self, name: &str) -> Option<Expr> {
        let end = self.tokens[self.at..].iter().position(|t| matches!(&t.kind, Kind::End(e) if e == name))?;
        let inner: Vec<Token> =
            self.tokens[self.at..self.at + end].iter().filter(|t| t.kind != Kind::Sign('&')).cloned().collect();
        self.at += end + 1;
        let mut parser = Parser::new(&inner, self.units);
        parser.depth = self.depth + 1;
        parser.nested(Self::groups_of)
    }

    fn groups_of(parser: &mut Parser<'_>) -> Option<Expr> {
        let groups = parser.groups()?;
        (parser.at == parser.tokens.len()).then_some(groups)
    }
}

/// A system of statements if no line has a condition; otherwise a function defined by cases.
fn cases(rows: Vec<Vec<Expr>>) -> Expr {
    if rows.iter().all(|row| row.len() == 1) {
        return Expr::List(rows.into_iter().flatten().collect());
    }
    let row = |row| Expr::Tuple(Bracket::Round, row, Bracket::Round);
    Expr::Apply("\\cases".into(), rows.into_iter().map(row).collect())
}
