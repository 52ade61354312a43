//! Sets of real numbers as unions of intervals: a common form for `(1,2]`, `x > 1` and `\mathbb{R} \setminus \{0\}`.

use super::conditions::{between, flipped, integer_condition, is_abs_of, is_constant, is_integer, is_unknown, unknown};
use super::scalar::{Work, compare, exact};
use super::tree::{Bracket, Constant, Expr, Function, Literal, Relation};
use num_traits::{Signed, ToPrimitive};
use std::cmp::Ordering;

/// Maximum number of intervals in a set.
const MAX_INTERVALS: usize = 64;

/// One end of an interval.
#[derive(Clone, Debug)]
enum End {
    Minus,
    At(Expr),
    Plus,
}

#[derive(Clone, Debug)]
struct Interval {
    from: End,
    from_closed: bool,
    to: End,
    to_closed: bool,
}

/// A union of disjoint intervals in ascending order that do not touch each other.
#[derive(Clone, Debug)]
pub(super) struct RealSet(Vec<Interval>);

impl RealSet {
    /// The set that an expression describes; `None` if it describes no set with constant ends.
    pub(super) fn of(expr: &Expr, work: &mut Work) -> Option<RealSet> {
        match expr {
            Expr::Symbol(name) if name == "\\mathbb{R}" => Some(RealSet(vec![whole()])),
            Expr::Tuple(left, ends, right) => {
                let [from, to] = ends.as_slice() else { return None };
                let round = |b: &Bracket| *b == Bracket::Round;
                if *left == Bracket::Angle || *right == Bracket::Angle {
                    return None;
                }
                let interval =
                    Interval { from: end(from)?, from_closed: !round(left), to: end(to)?, to_closed: !round(right) };
                RealSet(vec![interval]).normal(work)
            }
            Expr::Set(items) => {
                let point = |e: &Expr| match end(e)? {
                    End::At(x) => Some(point(x)),
                    _ => None,
                };
                RealSet(items.iter().map(point).collect::<Option<_>>()?).normal(work)
            }
            Expr::Union(parts) => RealSet::union(parts, work),
            Expr::Intersection(parts) => {
                let mut sets = parts.iter().map(|p| RealSet::of(p, work)).collect::<Option<Vec<_>>>()?.into_iter();
                let first = sets.next()?;
                sets.try_fold(first, |a, b| a.intersection(&b, work))
            }
            Expr::Difference(a, b) => {
                let (a, b) = (RealSet::of(a, work)?, RealSet::of(b, work)?);
                a.intersection(&b.complement(), work)
            }
            Expr::Where(x, condition) => match x.as_ref() {
                Expr::Chain(operands, relations) if is_integer(operands, relations) => {
                    RealSet::solutions(condition, operands.first(), work)?.integers(work)
                }
                Expr::Symbol(_) if integer_condition(condition).is_some() => {
                    let rest = integer_condition(condition)?;
                    RealSet::solutions(&rest, Some(x), work)?.integers(work)
                }
                Expr::Symbol(_) => RealSet::solutions(condition, Some(x), work),
                Expr::Chain(operands, _) => {
                    let within = RealSet::solutions(x, operands.first(), work)?;
                    within.intersection(&RealSet::solutions(condition, operands.first(), work)?, work)
                }
                _ => None,
            },
            Expr::Chain(..) if between(expr).is_some() => RealSet::solutions(&between(expr)?, None, work),
            Expr::Chain(..) | Expr::List(_) | Expr::Logic(..) => RealSet::solutions(expr, None, work),
            _ => None,
        }
    }

    fn union(parts: &[Expr], work: &mut Work) -> Option<RealSet> {
        let sets = parts.iter().map(|p| RealSet::of(p, work)).collect::<Option<Vec<_>>>()?;
        RealSet(sets.into_iter().flat_map(|s| s.0).collect()).normal(work)
    }

    /// The values of the single unknown that satisfy a chain of relations, or one of several chains ("x < 1 or x > 3").
    fn solutions(expr: &Expr, unknown: Option<&Expr>, work: &mut Work) -> Option<RealSet> {
        match expr {
            Expr::Chain(operands, relations) => chain(operands, relations, unknown, work),
            Expr::Logic("lor", parts) => {
                let unknown = unknown.or_else(|| self::unknown(expr));
                let sets =
                    parts.iter().map(|part| RealSet::solutions(part, unknown, work)).collect::<Option<Vec<_>>>()?;
                RealSet(sets.into_iter().flat_map(|set| set.0).collect()).normal(work)
            }
            Expr::List(parts) => {
                let mut found: Option<Expr> = unknown.cloned();
                let mut any = RealSet(Vec::new());
                let mut every = RealSet(vec![whole()]);
                for part in parts {
                    let Expr::Chain(operands, _) = part else { return None };
                    let name = operands.iter().find(|o| is_unknown(o))?;
                    if found.get_or_insert_with(|| name.clone()) != name {
                        return None;
                    }
                    let set = RealSet::solutions(part, found.as_ref(), work)?;
                    every = every.intersection(&set, work)?;
                    any.0.extend(set.0);
                }
                let any = any.normal(work)?;
                // A comma is ambiguous: x < 1, x > 3 are alternatives; x > 1, x < 3 hold together.
                if every.0.is_empty() {
                    return Some(any);
                }
                let all = RealSet(vec![whole()]);
                any.equals(&all, work)?.then_some(every)
            }
            Expr::Logic("land", parts) => {
                let unknown = unknown.or_else(|| self::unknown(expr));
                let mut set = RealSet(vec![whole()]);
                for part in parts {
                    set = set.intersection(&RealSet::solutions(part, unknown, work)?, work)?;
                }
                Some(set)
            }
            _ => None,
        }
    }

    /// Sorts the intervals, drops empty ones and joins touching ones.
    fn normal(self, work: &mut Work) -> Option<RealSet> {
        if self.0.len() > MAX_INTERVALS {
            return None;
        }
        let mut sorted: Vec<Interval> = Vec::new();
        for interval in self.0 {
            match order(&interval.from, &interval.to, work)? {
                Ordering::Greater => return None,
                Ordering::Equal if !(interval.from_closed && interval.to_closed) => continue,
                _ => {}
            }
            let mut at = sorted.len();
            while at > 0 && starts_before(&interval, &sorted[at - 1], work)? {
                at -= 1;
            }
            sorted.insert(at, interval);
        }
        let mut out: Vec<Interval> = Vec::new();
        for next in sorted {
            if let Some(last) = out.last_mut() {
                let touch = match order(&next.from, &last.to, work)? {
                    Ordering::Less => true,
                    Ordering::Equal => next.from_closed || last.to_closed,
                    Ordering::Greater => false,
                };
                if touch {
                    match order(&next.to, &last.to, work)? {
                        Ordering::Greater => (last.to, last.to_closed) = (next.to, next.to_closed),
                        Ordering::Equal => last.to_closed |= next.to_closed,
                        Ordering::Less => {}
                    }
                    continue;
                }
            }
            out.push(next);
        }
        Some(RealSet(out))
    }

    fn complement(&self) -> RealSet {
        let mut out = Vec::new();
        let (mut from, mut from_closed) = (End::Minus, false);
        for i in &self.0 {
            if !matches!(i.from, End::Minus) {
                out.push(Interval { from: from.clone(), from_closed, to: i.from.clone(), to_closed: !i.from_closed });
            }
            (from, from_closed) = (i.to.clone(), !i.to_closed);
        }
        if !matches!(from, End::Plus) {
            out.push(Interval { from, from_closed, to: End::Plus, to_closed: false });
        }
        RealSet(out)
    }

    fn intersection(&self, other: &RealSet, work: &mut Work) -> Option<RealSet> {
        let mut out = Vec::new();
        for a in &self.0 {
            for b in &other.0 {
                let (from, from_closed) = match order(&a.from, &b.from, work)? {
                    Ordering::Less => (&b.from, b.from_closed),
                    Ordering::Greater => (&a.from, a.from_closed),
                    Ordering::Equal => (&a.from, a.from_closed && b.from_closed),
                };
                let (to, to_closed) = match order(&a.to, &b.to, work)? {
                    Ordering::Less => (&a.to, a.to_closed),
                    Ordering::Greater => (&b.to, b.to_closed),
                    Ordering::Equal => (&a.to, a.to_closed && b.to_closed),
                };
                if order(from, to, work)? != Ordering::Greater {
                    out.push(Interval { from: from.clone(), from_closed, to: to.clone(), to_closed });
                }
            }
        }
        RealSet(out).normal(work)
    }

    /// True if two sets have the same elements; `None` if the order of their ends cannot be decided.
    pub(super) fn equals(&self, other: &RealSet, work: &mut Work) -> Option<bool> {
        if self.0.len() != other.0.len() {
            return Some(false);
        }
        for (a, b) in self.0.iter().zip(&other.0) {
            let same = a.from_closed == b.from_closed
                && a.to_closed == b.to_closed
                && order(&a.from, &b.from, work)? == Ordering::Equal
                && order(&a.to, &b.to, work)? == Ordering::Equal;
            if !same {
                return Some(false);
            }
        }
        Some(true)
    }
}

fn whole() -> Interval {
    Interval { from: End::Minus, from_closed: false, to: End::Plus, to_closed: false }
}

fn point(x: Expr) -> Interval {
    Interval { from: End::At(x.clone()), from_closed: true, to: End::At(x), to_closed: true }
}

fn end(expr: &Expr) -> Option<End> {
    match expr {
        Expr::Constant(Constant::Infinity) => Some(End::Plus),
        Expr::Neg(x) if **x == Expr::Constant(Constant::Infinity) => Some(End::Minus),
        x if is_constant(x) => Some(End::At(x.clone())),
        _ => None,
    }
}

fn order(a: &End, b: &End, work: &mut Work) -> Option<Ordering> {
    match (a, b) {
        (End::Minus, End::Minus) | (End::Plus, End::Plus) => Some(Ordering::Equal),
        (End::Minus, _) | (_, End::Plus) => Some(Ordering::Less),
        (_, End::Minus) | (End::Plus, _) => Some(Ordering::Greater),
        (End::At(x), End::At(y)) => compare(x, y, work),
    }
}

fn starts_before(a: &Interval, b: &Interval, work: &mut Work) -> Option<bool> {
    Some(match order(&a.from, &b.from, work)? {
        Ordering::Less => true,
        Ordering::Greater => false,
        Ordering::Equal => a.from_closed && !b.from_closed,
    })
}

/// The solutions of one chain. Every relation must be between the unknown and a constant or a set.
fn chain(operands: &[Expr], relations: &[Relation], unknown: Option<&Expr>, work: &mut Work) -> Option<RealSet> {
    let at = operands.iter().position(|o| unknown.map_or(is_unknown(o), |u| o == u || is_abs_of(o, u)))?;
    let mut set = RealSet(vec![whole()]);
    let mut ends = Vec::new();
    for (i, relation) in relations.iter().enumerate() {
        let (other, relation) = match at {
            _ if i + 1 == at => (&operands[i], flipped(*relation)?),
            _ if i == at => (&operands[i + 1], *relation),
            _ => return None,
        };
        ends.push(other);
        set = set.intersection(&side(relation, other, work)?, work)?;
    }
    // 3 < x < 1 has no solutions and 1 < x > 0 is not a usual chain: neither is an answer.
    if operands.len() > 3 || ends.len() == 2 && matches!(set.0.as_slice(), []) {
        return None;
    }
    if matches!(operands[at], Expr::Call(Function::Abs, _)) { set.of_absolute(work) } else { Some(set) }
}

impl RealSet {
    /// The whole numbers in a bounded set.
    fn integers(&self, work: &mut Work) -> Option<RealSet> {
        let mut points = Vec::new();
        for interval in &self.0 {
            let (End::At(from), End::At(to)) = (&interval.from, &interval.to) else { return None };
            let (from, to) = (exact(from, work)?, exact(to, work)?);
            let mut first = from.ceil().to_integer();
            if from.is_integer() && !interval.from_closed {
                first += 1;
            }
            let mut last = to.floor().to_integer();
            if to.is_integer() && !interval.to_closed {
                last -= 1;
            }
            let count = (&last - &first).to_usize().unwrap_or(if last < first { 0 } else { MAX_INTERVALS });
            if points.len() + count >= MAX_INTERVALS {
                return None;
            }
            while first <= last {
                let size = Expr::Number(Literal::integer(first.abs()));
                points.push(point(if first.is_negative() { Expr::Neg(Box::new(size)) } else { size }));
                first += 1;
            }
        }
        RealSet(points).normal(work)
    }

    /// The numbers whose absolute value is in the set.
    fn of_absolute(&self, work: &mut Work) -> Option<RealSet> {
        let zero = Expr::Number(super::tree::Literal::integer(0));
        let positive = Interval { from: End::At(zero), from_closed: true, to: End::Plus, to_closed: false };
        let upper = self.intersection(&RealSet(vec![positive]), work)?;
        let negated = |e: &End| match e {
            End::At(x) => End::At(Expr::Neg(Box::new(x.clone()))),
            End::Plus => End::Minus,
            End::Minus => End::Plus,
        };
        let lower = upper.0.iter().map(|i| Interval {
            from: negated(&i.to),
            from_closed: i.to_closed,
            to: negated(&i.from),
            to_closed: i.from_closed,
        });
        RealSet(lower.chain(upper.0.iter().cloned()).collect()).normal(work)
    }
}

/// The numbers x with `x relation other`.
fn side(relation: Relation, other: &Expr, work: &mut Work) -> Option<RealSet> {
    let ray =
        |from: End, from_closed, to: End, to_closed| Some(RealSet(vec![Interval { from, from_closed, to, to_closed }]));
    match relation {
        Relation::In => RealSet::of(other, work),
        Relation::NotIn => Some(RealSet::of(other, work)?.complement()),
        Relation::Less => ray(End::Minus, false, end(other)?, false),
        Relation::LessEqual => ray(End::Minus, false, end(other)?, true),
        Relation::Greater => ray(end(other)?, false, End::Plus, false),
        Relation::GreaterEqual => ray(end(other)?, true, End::Plus, false),
        Relation::Equal => match end(other)? {
            End::At(x) => Some(RealSet(vec![point(x)])),
            _ => None,
        },
        Relation::NotEqual => match end(other)? {
            End::At(x) => Some(RealSet(vec![point(x)]).complement()),
            _ => None,
        },
        _ => None,
    }
}
