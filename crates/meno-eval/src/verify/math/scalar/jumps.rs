//! Checks what sampling can miss: functions that jump or bend at single points, and powers of negative numbers.
//!
//! Confirms or rejects the equality of two expressions that agree at random points:
//!
//! 1. Replaces each jump (⌊x⌋, a mod b, sgn x) with a new variable. If the results are equal, this is a proof, whatever
//!    the values of the jumps.
//! 2. Otherwise the positions of all jumps must be known: jumps of a linear argument in real variables, or of a
//!    polynomial in whole numbers. Compares exactly at all jumps and between them, over a whole period. Other jumps,
//!    such as ⌊sin² x⌋, cannot be confirmed.
//! 3. Compares exactly at the bends (|x|, max, min) of linear arguments and on both sides.
//! 4. Compares powers with variables in the exponent at negative bases (`negative_bases`).

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::super::tree::Function;
use super::arena::{Arena, Atom, Id, Op};
use super::domain::{integer_variables, is_jump, variables};
use super::equality::Equality;
use super::evaluate::EvaluationOrder;
use super::negative_bases::{at_powers, powers};
use super::pair::{Decide, Pair, compare_at};
use super::rational::{integer, order, ratio, same as same_number};
use super::substitute::{Replacement, images};
use super::work::{Failure, Work};

/// Maximum number of jumps in an expression, and of bends.
const MAX_JUMPS: usize = 12;
/// Maximum number of points in a period.
const MAX_POINTS: usize = 200;
/// Maximum period over whole numbers.
const MAX_PERIOD: u64 = 48;
/// Values of the other variables while one variable takes the points.
const FIXED_VALUES: [(i64, i64); 4] = [(5, 1), (-7, 2), (1, 3), (0, 1)];
/// A linear function of the variables: coefficients by variable index, and a constant.
struct Linear {
    coefficients: Vec<(usize, BigRational)>,
    constant: BigRational,
}

/// Confirms that two expressions that agree at random points are equal.
pub(super) fn confirm(arena: &mut Arena, pair: Pair, work: &mut Work) -> Result<Equality, Failure> {
    let plan = EvaluationOrder::new(arena, &[pair.a, pair.b], work)?;
    let integers = integer_variables(arena, &plan, work)?;
    let free = |id: Id| arena.bound(id) == 0;
    let jumps: Vec<Id> = plan.nodes().iter().copied().filter(|&id| free(id) && is_jump(arena, id)).collect();
    let bends: Vec<Id> = plan.nodes().iter().copied().filter(|&id| free(id) && is_bend(arena, id)).collect();
    let powers = powers(arena, &plan, &integers, work)?;
    // Nothing is known about jumps at real values in the terms of a sum.
    for &id in plan.nodes().iter().filter(|&&id| !free(id) && is_jump(arena, id)) {
        let below = EvaluationOrder::new(arena, &[id], work)?;
        if variables(arena, &below).iter().any(|&v| !integers[v]) {
            return Ok(Equality::Undecided);
        }
    }
    if jumps.len() > MAX_JUMPS || bends.len() > MAX_JUMPS {
        return Ok(if jumps.is_empty() { Equality::Equal } else { Equality::Undecided });
    }
    if !jumps.is_empty() && !proved_without(arena, pair, &jumps, work)? {
        let verdict = at_jumps(arena, pair, &jumps, &integers, work)?;
        if verdict != Equality::Equal {
            return Ok(verdict);
        }
    }
    if !bends.is_empty() && at_bends(arena, pair, &bends, &integers, work)? == Equality::Different {
        return Ok(Equality::Different);
    }
    at_powers(arena, pair, &plan, &powers, work)
}

fn is_bend(arena: &Arena, id: Id) -> bool {
    matches!(arena.op(id), Op::Call(Function::Abs | Function::Min | Function::Max, _))
}

/// True if the two are equal for all values of the jumps. Jumps of equal arguments have the same value.
fn proved_without(arena: &mut Arena, pair: Pair, jumps: &[Id], work: &mut Work) -> Result<bool, Failure> {
    let mut unknowns: Vec<(Id, Id)> = Vec::new();
    for &jump in jumps {
        let mut known = None;
        for &(other, unknown) in &unknowns {
            if let Some(offset) = offset(arena, jump, other, pair.same, work)? {
                let offset = arena.rational(offset, work)?;
                known = Some(arena.add(&[unknown, offset], work)?);
                break;
            }
        }
        let unknown = match known {
            Some(unknown) => unknown,
            None => {
                let index = arena.atoms.len();
                arena.atoms.push(Atom::Symbol(format!("\\jump{index}")));
                arena.intern(Op::Variable(index), work)?
            }
        };
        unknowns.push((jump, unknown));
    }
    let Ok(image) = images(arena, &[pair.a, pair.b], &Replacement::Nodes(&unknowns), work) else { return Ok(false) };
    Ok((pair.same)(arena, image[pair.a], image[pair.b], work) == Equality::Equal)
}

/// The difference between two jumps: zero for the same function of equal arguments; for ⌊x⌋, the whole number by which
/// the arguments differ.
fn offset(arena: &mut Arena, x: Id, y: Id, same: Decide, work: &mut Work) -> Result<Option<BigRational>, Failure> {
    let (Op::Call(f, xs), Op::Call(g, ys)) = (arena.op(x).clone(), arena.op(y).clone()) else { return Ok(None) };
    work.spend(1000)?;
    if f != g || xs.len() != ys.len() {
        return Ok(None);
    }
    if xs.iter().zip(&ys).all(|(&x, &y)| same(arena, x, y, work) == Equality::Equal) {
        return Ok(Some(BigRational::zero()));
    }
    if f != Function::Floor {
        return Ok(None);
    }
    let difference = arena.sub(xs[0], ys[0], work)?;
    let point = vec![ratio(3, 5); arena.atoms.len()];
    let Ok(image) = images(arena, &[difference], &Replacement::Point(&point), work) else { return Ok(None) };
    let whole = arena.rational_value(image[difference]).filter(|r| r.denom().is_one()).cloned();
    let Some(whole) = whole else { return Ok(None) };
    let constant = arena.rational(whole.clone(), work)?;
    Ok((same(arena, difference, constant, work) == Equality::Equal).then_some(whole))
}

/// The argument whose whole values (for ⌊x⌋ and mod) or zero (for sgn) are the jumps, scaled accordingly.
fn argument(arena: &mut Arena, jump: Id, work: &mut Work) -> Result<Option<Id>, Failure> {
    let Op::Call(f, args) = arena.op(jump).clone() else { return Ok(None) };
    match (f, args.as_slice()) {
        (Function::Mod, &[x, modulus]) => match arena.rational_value(modulus) {
            Some(m) if !m.is_zero() => {
                let inverse = BigRational::new(m.denom().clone(), m.numer().clone());
                arena.scale(&inverse, x, work).map(Some)
            }
            _ => Ok(None),
        },
        (_, &[x]) => Ok(Some(x)),
        _ => Ok(None),
    }
}

/// Compares at the jumps and between them.
fn at_jumps(
    arena: &mut Arena,
    pair: Pair,
    jumps: &[Id],
    integers: &[bool],
    work: &mut Work,
) -> Result<Equality, Failure> {
    let mut arguments = Vec::new();
    for &jump in jumps {
        let Some(x) = argument(arena, jump, work)? else { return Ok(Equality::Undecided) };
        arguments.push((x, matches!(arena.op(jump), Op::Call(Function::Sgn, _))));
    }
    let ids: Vec<Id> = arguments.iter().map(|(x, _)| *x).collect();
    let plan = EvaluationOrder::new(arena, &ids, work)?;
    let variables = variables(arena, &plan);
    if variables.iter().all(|&v| integers[v]) {
        return at_whole_numbers(arena, pair, &plan, &variables, work);
    }
    let mut lines = Vec::new();
    for (x, once) in arguments {
        let Some(line) = linear(arena, x) else { return Ok(Equality::Undecided) };
        lines.push((line, once));
    }
    for &v in variables.iter().filter(|&&v| !integers[v]) {
        for round in 0..if variables.len() > 1 { FIXED_VALUES.len() } else { 1 } {
            let point = others(arena, integers, round);
            let Some(places) = places(&lines, v, &point) else { return Ok(Equality::Undecided) };
            let verdict = at_places(arena, pair, v, &places, &point, work)?;
            if verdict != Equality::Equal {
                return Ok(verdict);
            }
        }
    }
    Ok(Equality::Equal)
}

/// Values of all variables; one of them is then varied.
fn others(arena: &Arena, integers: &[bool], round: usize) -> Vec<BigRational> {
    (0..arena.atoms.len())
        .map(|k| {
            let (n, d) = FIXED_VALUES[(round + k) % FIXED_VALUES.len()];
            if integers.get(k) == Some(&true) { integer(n.abs() + 1) } else { ratio(n, d) }
        })
        .collect()
}

/// The sorted positions of the jumps over a period of the variable; `None` if there are too many.
fn places(lines: &[(Linear, bool)], v: usize, point: &[BigRational]) -> Option<Vec<BigRational>> {
    let mut slopes = Vec::new();
    let mut places = Vec::new();
    for (line, once) in lines {
        let Some((_, slope)) = line.coefficients.iter().find(|(w, _)| *w == v) else { continue };
        let rest: BigRational =
            line.coefficients.iter().filter(|(w, _)| *w != v).map(|(w, c)| c * &point[*w]).sum::<BigRational>()
                + &line.constant;
        if *once {
            places.push(-rest / slope);
        } else {
            slopes.push((slope.clone(), rest));
        }
    }
    // All slopes are whole multiples of their greatest common divisor, whose inverse is the period.
    let common = slopes.iter().fold(BigRational::zero(), |gcd, (slope, _)| {
        let denominator = gcd.denom().lcm(slope.denom());
        let whole = |r: &BigRational| (r * integer(denominator.clone())).to_integer();
        BigRational::new(whole(&gcd).gcd(&whole(slope)), denominator.clone())
    });
    for (slope, rest) in &slopes {
        let turns = (slope / &common).abs().to_integer().to_usize().filter(|&n| n <= MAX_POINTS)?;
        // From −period/2 to slightly beyond one period.
        for n in -(turns as i64) - 1..=(turns as i64) + 1 {
            let whole = integer(rest.round().to_integer() + BigInt::from(n));
            places.push((whole - rest) / slope);
        }
    }
    places.sort_by(order);
    places.dedup_by(|x, y| same_number(x, y));
    (places.len() <= MAX_POINTS).then_some(places)
}

/// Compares at each position, at two points between it and the next, and beyond the first and the last.
fn at_places(
    arena: &mut Arena,
    pair: Pair,
    v: usize,
    places: &[BigRational],
    point: &[BigRational],
    work: &mut Work,
) -> Result<Equality, Failure> {
    let mut values = Vec::with_capacity(3 * places.len() + 2);
    if let (Some(first), Some(last)) = (places.first(), places.last()) {
        values.extend([first - ratio(1, 7), last + ratio(1, 7)]);
    }
    for (i, place) in places.iter().enumerate() {
        values.push(place.clone());
        if let Some(next) = places.get(i + 1) {
            let gap = next - place;
            values.extend([place + &gap * ratio(1, 3), place + gap * ratio(3, 4)]);
        }
    }
    let mut agreed = 0;
    let mut unclear = 0;
    let mut point = point.to_vec();
    for value in values {
        point[v] = value;
        match compare_at(arena, pair, &point, work)? {
            Equality::Equal => agreed += 1,
            Equality::Different => return Ok(Equality::Different),
            Equality::Undecided => unclear += 1,
        }
    }
    Ok(if agreed > unclear { Equality::Equal } else { Equality::Undecided })
}

/// Compares at whole numbers over several periods. Requires that all arguments of jumps are polynomials.
fn at_whole_numbers(
    arena: &mut Arena,
    pair: Pair,
    plan: &EvaluationOrder,
    variables: &[usize],
    work: &mut Work,
) -> Result<Equality, Failure> {
    let Some(period) = period(arena, plan).filter(|&p| p <= MAX_PERIOD) else { return Ok(Equality::Undecided) };
    let single = variables.len() == 1;
    if !single && period > 6 {
        return Ok(Equality::Undecided);
    }
    let count = if single { 4 * period + 8 } else { 2 * period + 2 };
    let mut point = others(arena, &vec![true; arena.atoms.len()], 0);
    let (mut agreed, mut unclear) = (0, 0);
    let rounds = if single { count } else { (count * count).min(MAX_POINTS as u64) };
    for round in 0..rounds {
        for (k, &v) in variables.iter().enumerate() {
            let n = if k == 0 { round % count } else { (round / count + round * k as u64) % count };
            point[v] = integer(n + 1);
        }
        match compare_at(arena, pair, &point, work)? {
            Equality::Equal => agreed += 1,
            Equality::Different => return Ok(Equality::Different),
            Equality::Undecided => unclear += 1,
        }
    }
    Ok(if agreed > unclear { Equality::Equal } else { Equality::Undecided })
}

/// The common denominator of all polynomials and of the jumps in them; `None` if an argument is not a polynomial.
fn period(arena: &Arena, plan: &EvaluationOrder) -> Option<u64> {
    let mut period = 1u64;
    for &id in plan.nodes() {
        let denominator = |r: &BigRational| r.denom().to_u64();
        let next = match arena.op(id) {
            Op::Variable(_) => 1,
            Op::Rational(r) => denominator(r)?,
            Op::Add(c, _) | Op::Mul(c, _) => denominator(c)?,
            Op::Pow(_, e) if arena.rational_value(*e).is_some_and(|r| r.denom().is_one() && r.is_positive()) => 1,
            Op::Call(Function::Floor | Function::Sgn, _) => 1,
            Op::Call(Function::Mod, args) => {
                let m = arena.rational_value(args[1])?;
                m.numer().abs().to_u64()?.lcm(&denominator(m)?)
            }
            _ => return None,
        };
        period = period.checked_mul(next / period.gcd(&next)).filter(|&p| p <= MAX_PERIOD)?;
    }
    Some(period)
}

/// Compares at the bends of linear arguments and on both sides.
fn at_bends(
    arena: &mut Arena,
    pair: Pair,
    bends: &[Id],
    integers: &[bool],
    work: &mut Work,
) -> Result<Equality, Failure> {
    let mut lines = Vec::new();
    for &bend in bends {
        let Op::Call(_, args) = arena.op(bend).clone() else { continue };
        let zero = arena.int(0, work)?;
        for (i, &x) in args.iter().enumerate() {
            let others: Vec<Id> = if args.len() == 1 { vec![zero] } else { args[i + 1..].to_vec() };
            for y in others {
                let difference = arena.sub(x, y, work)?;
                lines.extend(linear(arena, difference).map(|line| (line, true)));
            }
        }
    }
    let plan = EvaluationOrder::new(arena, bends, work)?;
    for v in variables(arena, &plan).into_iter().filter(|&v| !integers[v]) {
        let point = others(arena, integers, 1);
        let Some(places) = places(&lines, v, &point) else { continue };
        if at_places(arena, pair, v, &places, &point, work)? == Equality::Different {
            return Ok(Equality::Different);
        }
    }
    Ok(Equality::Equal)
}

/// Interprets a node as a linear function.
fn linear(arena: &Arena, id: Id) -> Option<Linear> {
    let term = |id: Id| match arena.op(id) {
        Op::Variable(v) => Some((*v, BigRational::one())),
        Op::Mul(c, ids) if !c.is_zero() => match ids.as_slice() {
            [id] => {
                if let Op::Variable(v) = arena.op(*id) {
                    Some((*v, c.clone()))
                } else {
                    None
                }
            }
            _ => None,
        },
        _ => None,
    };
    match arena.op(id) {
        Op::Add(c, ids) => {
            let coefficients = ids.iter().map(|&id| term(id)).collect::<Option<_>>()?;
            Some(Linear { coefficients, constant: c.clone() })
        }
        _ => Some(Linear { coefficients: vec![term(id)?], constant: BigRational::zero() }),
    }
}
