//! Compares expressions in variables at many points.
//!
//! Real variables take dyadic values of both signs and many scales, and values on both sides of the breakpoints that
//! constants in the expressions cause. Variables that must be integers take positive integers. Values are complex balls
//! with principal branches. At a point:
//!
//! * overlapping tight balls agree;
//! * two values that are certainly not real, in expressions without i, are outside the real domain of both: no
//!   evidence;
//! * a value where the other side is undefined, or two separated values, prove a difference.
//!
//! If two or more variables are negative, a point counts only if everything in both expressions is real there. Thus
//! ln(a/b) = ln a − ln b holds, as in textbooks.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::super::tree::Function;
use super::arena::{Arena, Id, Op};
use super::bound;
use super::domain::{MAX_PRECISION, integer_variables, is_jump, magnitude, partial};
use super::equality::Equality;
use super::evaluate::{Context, Evaluation, EvaluationOrder, Value};
use super::field::splitmix;
use super::rational::integer;
use super::work::{Failure, Work};

/// Minimum number of points that must agree.
pub(super) const MIN_POINTS: usize = 8;
/// Bits of agreement per point, in addition to the bits for heights.
const POINT_BITS: i64 = 200;
/// Extra bits at the start.
const SPARE_BITS: i64 = 100;
/// Maximum number of examined pairs of a variable and a breakpoint.
const MAX_BREAKPOINTS: usize = 8;
/// Maximum number of variables that take values of these scales, beyond the possible size of constants without a
/// rational value.
const MAX_FAR: usize = 3;
const FAR_SCALES: [i64; 2] = [17, 60];
/// Maximum precision for agreement at a point.
const MAX_POINT_BITS: i64 = 1 << 12;
/// Scales of the values as powers of two. With several variables only the first ones are used.
const SCALES: [i64; 12] = [0, 1, -1, 2, -2, 3, -3, 4, -6, 6, 11, -12];
const JOINT_SCALES: usize = 7;

/// Whole numbers of both signs, including squares and powers of two.
const WHOLE: [i64; 12] = [0, 1, -1, 2, -2, 3, 4, -3, 6, 8, 9, 16];

/// Number of points if both sides are analytic on the whole real line, so that breakpoints do not matter.
const ANALYTIC_POINTS: usize = 14;

/// The evidence at one point.
enum Evidence {
    Agree,
    Differ,
    /// No evidence at any precision.
    Nothing,
    /// The precision is too low.
    Coarse,
}

/// A comparison of two nodes.
struct Sampler<'a> {
    arena: &'a Arena,
    a: Id,
    b: Id,
    plan: EvaluationOrder,
    integers: Vec<bool>,
    variables: Vec<usize>,
    has_i: bool,
    /// True if analytic for all real values, except at poles.
    analytic: bool,
    /// Variables and constants of operations that may change behaviour away from zero: |x − 1000|, ⌊x⌋.
    breakpoints: Vec<(usize, BigRational)>,
    /// The variables of these operations.
    bent: Vec<usize>,
    /// True if there is a function that jumps at whole numbers.
    steps: bool,
    log10: bool,
    height: i64,
}

pub(super) fn compare(arena: &Arena, a: Id, b: Id, log10: bool, work: &mut Work) -> Result<Equality, Failure> {
    let sampler = Sampler::new(arena, a, b, log10, work)?;
    let points = sampler.points();
    // Tries a few points first: most wrong answers differ immediately.
    for point in points.iter().take(4) {
        if matches!(sampler.look(point, 64, work)?.0, Evidence::Differ) {
            return Ok(Equality::Different);
        }
    }
    let (mut agreed, mut unclear) = (0, 0);
    for point in &points {
        match sampler.decide(point, work)? {
            Evidence::Agree => agreed += 1,
            Evidence::Differ => return Ok(Equality::Different),
            Evidence::Nothing => {}
            Evidence::Coarse => unclear += 1,
        }
    }
    // ⌊n/3⌋ is unclear at its jumps; `jumps` checks those.
    let jumps = sampler.plan.nodes().iter().any(|&id| arena.bound(id) == 0 && is_jump(arena, id));
    Ok(if agreed >= MIN_POINTS && (jumps || agreed > 2 * unclear) { Equality::Equal } else { Equality::Undecided })
}

/// True if an expression has a value at one point at least, as far as the precision shows.
pub(super) fn defined(arena: &Arena, id: Id, plan: &EvaluationOrder, work: &mut Work) -> Result<bool, Failure> {
    if !plan.nodes().iter().any(|&id| partial(arena, id)) {
        return Ok(true);
    }
    let sampler = Sampler::new(arena, id, id, false, work)?;
    for point in sampler.points().iter().take(12) {
        let context = Context { point, log10: false, p: 64 };
        match Evaluation::run(arena, plan, &context, work)?.value(id) {
            Ok(_) | Err(Failure::Limit | Failure::Unclear) => return Ok(true),
            Err(Failure::Undefined | Failure::Singular) => {}
        }
    }
    Ok(false)
}

impl<'a> Sampler<'a> {
    fn new(arena: &'a Arena, a: Id, b: Id, log10: bool, work: &mut Work) -> Result<Sampler<'a>, Failure> {
        let plan = EvaluationOrder::new(arena, &[a, b], work)?;
        let integers = integer_variables(arena, &plan, work)?;
        let mut variables = Vec::new();
        let mut has_i = false;
        for &id in plan.nodes() {
            match arena.op(id) {
                Op::Variable(index) => variables.push(*index),
                Op::I => has_i = true,
                _ => {}
            }
        }
        let height = bound::height(arena, plan.nodes());
        let mut analytic = true;
        let step = |id: &Id| matches!(arena.op(*id), Op::Call(f, _) if is_step(*f));
        let steps = plan.nodes().iter().any(step);
        let (mut breakpoints, mut bent) = (Vec::new(), Vec::new());
        for &id in plan.nodes() {
            if !is_analytic(arena, id, has_i) {
                analytic = false;
                look_for_breakpoints(arena, id, &mut bent, &mut breakpoints, work)?;
            }
        }
        Ok(Sampler { arena, a, b, plan, integers, variables, has_i, analytic, steps, breakpoints, bent, log10, height })
    }

    /// The evidence at a point; increases the precision if needed.
    fn decide(&self, point: &[BigRational], work: &mut Work) -> Result<Evidence, Failure> {
        let mut p = (POINT_BITS + SPARE_BITS + self.height).min(MAX_PRECISION);
        for _ in 0..3 {
            let (evidence, wanted) = self.look(point, p, work)?;
            match evidence {
                // Values of such different sizes give little evidence.
                Evidence::Agree if wanted > MAX_POINT_BITS => return Ok(Evidence::Nothing),
                Evidence::Agree if wanted > p => p = wanted,
                Evidence::Coarse => p *= 2,
                _ => return Ok(evidence),
            }
            if p > MAX_PRECISION {
                break;
            }
        }
        Ok(Evidence::Coarse)
    }

    /// The evidence at a point, and the precision that agreement needs.
    fn look(&self, point: &[BigRational], p: i64, work: &mut Work) -> Result<(Evidence, i64), Failure> {
        let context = Context { point, log10: self.log10, p };
        let evaluation = Evaluation::run(self.arena, &self.plan, &context, work)?;
        let some_integer = self.variables.iter().any(|&v| self.integers[v]);
        let negatives = self.variables.iter().filter(|&&v| point[v].is_negative()).count();
        let (x, y) = match (evaluation.value(self.a), evaluation.value(self.b)) {
            (Ok(x), Ok(y)) => (x, y),
            (Err(Failure::Singular | Failure::Unclear), _) | (_, Err(Failure::Singular | Failure::Unclear)) => {
                return Ok((Evidence::Coarse, p));
            }
            // 0/0 at an integer may be an isolated point; a real point is never isolated.
            (Ok(value), Err(Failure::Undefined)) | (Err(Failure::Undefined), Ok(value))
                if !some_integer && (negatives < 2 || value.real) =>
            {
                return Ok((Evidence::Differ, p));
            }
            _ => return Ok((Evidence::Nothing, p)),
        };
        if negatives >= 2 && !(x.real && y.real) {
            return Ok((Evidence::Nothing, p));
        }
        let evidence = self.evidence(x, y, p);
        let wanted = match evidence {
            Evidence::Agree => POINT_BITS + self.height + 2 * magnitude(self.arena, &self.plan, &evaluation),
            _ => p,
        };
        Ok((evidence, wanted))
    }

    fn evidence(&self, x: &Value, y: &Value, p: i64) -> Evidence {
        let difference = x.z.sub(&y.z, p + 64);
        if difference.contains_zero() {
            let size = x.z.upper().log2().max(y.z.upper().log2()).max(-p / 4);
            return if difference.upper().log2() < size - p / 2 { Evidence::Agree } else { Evidence::Coarse };
        }
        if x.z.is_nonreal() && y.z.is_nonreal() && !self.has_i {
            return Evidence::Nothing;
        }
        Evidence::Differ
    }

    fn points(&self) -> Vec<Vec<BigRational>> {
        let mut seed = 0x6d65_6e6f;
        let mut points = Vec::new();
        let reals: Vec<usize> = self.variables.iter().copied().filter(|&v| !self.integers[v]).collect();
        let scales = if reals.len() > 1 { JOINT_SCALES } else { SCALES.len() };
        let mut push = |signs: &dyn Fn(usize) -> bool, breakpoint: Option<(usize, BigRational)>| {
            let round = points.len();
            let mut point = vec![BigRational::zero(); self.arena.atoms.len()];
            for (k, &v) in self.variables.iter().enumerate() {
                point[v] = if self.integers[v] {
                    small_integer(round, k, &mut seed)
                } else {
                    let value = dyadic(SCALES[(round + 5 * k) % scales], &mut seed);
                    if signs(v) { -value } else { value }
                };
            }
            if let Some((v, value)) = breakpoint {
                point[v] = value;
            }
            points.push(point);
        };
        for round in 0..SCALES.len() {
            push(&|_| false, None);
            // Many pairs of integers are outside the domain of a binomial.
            for _ in 0..if self.variables.len() > reals.len() + 1 { 2 } else { 0 } {
                push(&|_| false, None);
            }
            if let [v] = reals[..] {
                push(&|w| w == v, None);
            } else if let Some(&v) = reals.get(round % reals.len().max(1)) {
                push(&|w| w == v, None);
            }
        }
        for round in 0..4.min(reals.len().saturating_sub(1) * 4) {
            push(&|w| (w + round) % 3 != 0, None);
            push(&|_| true, None);
        }
        if self.analytic {
            points.truncate(if reals.len() == self.variables.len() { ANALYTIC_POINTS } else { usize::MAX });
            return points;
        }
        for (v, c) in self.breakpoints.iter().filter(|(v, _)| reals.contains(v)) {
            for points_around in points_around(c) {
                push(&|_| false, Some((*v, points_around)));
            }
        }
        for &v in self.bent.iter().filter(|v| reals.contains(v)).take(MAX_FAR) {
            for scale in FAR_SCALES {
                for sign in [1, -1] {
                    push(&|_| false, Some((v, integer(sign) * dyadic(scale, &mut 1))));
                }
            }
        }
        points.extend(self.whole_points());
        points
    }

    /// Points at the jumps of functions that jump at whole numbers, and beyond the constants of integer variables.
    fn whole_points(&self) -> Vec<Vec<BigRational>> {
        let mut points = Vec::new();
        if self.steps {
            for (i, n) in WHOLE.into_iter().enumerate() {
                let mut point = vec![BigRational::zero(); self.arena.atoms.len()];
                for (k, &v) in self.variables.iter().enumerate() {
                    let n = if k == 0 { n } else { WHOLE[(i + 3 * k) % WHOLE.len()] };
                    point[v] = integer(if self.integers[v] { n.abs() + 1 } else { n });
                }
                points.push(point);
            }
        }
        for (v, c) in self.breakpoints.iter().filter(|(v, c)| self.integers[*v] && c.is_integer()) {
            for beyond in [c.clone(), c + integer(1)] {
                let mut point: Vec<BigRational> = vec![integer(2); self.arena.atoms.len()];
                point[*v] = beyond;
                points.push(point);
            }
        }
        points
    }
}

/// True if a function can jump at whole numbers.
fn is_step(function: Function) -> bool {
    matches!(function, Function::Floor | Function::Ceil | Function::Mod | Function::Sgn | Function::Gcd | Function::Lcm)
}

/// Records the variables of an operation with their constants, if it can change behaviour anywhere except at zero. A
/// power or logarithm of a product cannot.
fn look_for_breakpoints(
    arena: &Arena,
    id: Id,
    variables: &mut Vec<usize>,
    breakpoints: &mut Vec<(usize, BigRational)>,
    work: &mut Work,
) -> Result<(), Failure> {
    let plan = EvaluationOrder::new(arena, &[id], work)?;
    let (mut inside, mut constants, mut bent) = (Vec::new(), Vec::new(), false);
    for &id in plan.nodes() {
        match arena.op(id) {
            Op::Variable(index) => inside.push(*index),
            Op::Add(c, terms) => {
                bent = true;
                for &term in terms {
                    match arena.op(term) {
                        Op::Mul(k, _) if !k.is_zero() => constants.extend([c / k, k.clone()]),
                        _ => constants.push(c.clone()),
                    }
                }
            }
            Op::Mul(c, _) => constants.push(c.clone()),
            Op::Call(f, args) if args.len() > 1 || *f == Function::Floor => {
                bent = true;
                constants.extend(args.iter().filter_map(|&id| arena.rational_value(id).cloned()));
            }
            _ => {}
        }
    }
    if !bent {
        return Ok(());
    }
    for v in inside {
        if !variables.contains(&v) {
            variables.push(v);
        }
        for c in &constants {
            let pair = (v, c.abs());
            let fits = !c.is_zero() && super::rational::bits(c) < 4096 && breakpoints.len() < MAX_BREAKPOINTS;
            let known = |(w, d): &(usize, BigRational)| *w == pair.0 && super::rational::same(d, &pair.1);
            if fits && !breakpoints.iter().any(known) {
                breakpoints.push(pair);
            }
        }
    }
    Ok(())
}

/// Dyadic numbers of both signs on both sides of `r`, at a relative distance of about 1/1000.
fn points_around(r: &BigRational) -> Vec<BigRational> {
    let shift = 30 - (r.numer().bits() as i64 - r.denom().bits() as i64);
    let power = |k: i64| {
        if k >= 0 { integer(BigInt::one() << k) } else { BigRational::new(BigInt::one(), BigInt::one() << -k) }
    };
    let scaled = r * power(shift);
    let m = scaled.numer().div_floor(scaled.denom());
    let mut points = Vec::new();
    for step in [(1i64 << 20) + 1, -(1 << 20) - 1] {
        let point = integer(&m + step) * power(-shift);
        points.push(-point.clone());
        points.push(point);
    }
    points
}

/// True if an operation is analytic for real operands, except at poles.
fn is_analytic(arena: &Arena, id: Id, has_i: bool) -> bool {
    match arena.op(id) {
        Op::Pow(base, exponent) => {
            arena.rational_value(*exponent).is_some_and(|r| r.denom().is_one()) || arena.is_positive(*base)
        }
        Op::Call(Function::Sin | Function::Cos | Function::Exp, _) => true,
        // With i, real operations can reach the branch cuts.
        Op::Call(Function::Arsinh | Function::Arctan, _) if !has_i => true,
        Op::Call(_, args) => args.iter().all(|&id| arena.is_real(id)),
        Op::Series { .. } => false,
        _ => true,
    }
}

/// A positive number with 20 random bits, between 2^`scale` and 2^(`scale` + 1).
fn dyadic(scale: i64, seed: &mut u64) -> BigRational {
    let m = (splitmix(seed) >> 44) | 1 | (1 << 20);
    let shift = 20 - scale;
    if shift >= 0 { BigRational::new(m.into(), BigInt::one() << shift) } else { integer(BigInt::from(m) << -shift) }
}

/// Small positive integers in sequence, then random ones.
fn small_integer(round: usize, k: usize, seed: &mut u64) -> BigRational {
    let random = splitmix(seed);
    integer(match (round, k) {
        (0..10, 0) => round as u64 + 1,
        (0..18, _) => 1 + random % 12,
        (18..22, _) => 1 + random % 40,
        (22..26, _) => 1 + random % 150,
        _ => 1 + random % 20,
    })
}
