//! Tests identities between rational functions by evaluating them in finite fields.
//!
//! A difference in one field proves inequality. Agreement everywhere proves equality with an error probability below
//! 2^−80: the numerator of the difference has a bounded degree (Schwartz–Zippel) and bounded coefficients, so it
//! vanishes identically modulo only a bounded number of the primes.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive};

use super::arena::{Arena, Id, Op};
use super::complex::small_integer;
use super::equality::Equality;
use super::work::{Failure, Work};

/// The distances of the largest primes below 2^62 from 2^62.
const OFFSETS: [u64; 32] = [
    57, 87, 117, 143, 153, 167, 171, 195, 203, 273, 287, 317, 443, 483, 495, 575, 581, 603, 633, 663, 765, 773, 777,
    791, 813, 831, 923, 981, 993, 1001, 1007, 1017,
];
/// Maximum degree of the difference: the error probability at one point is then 2^−40.
const MAX_DEGREE: f64 = (1u64 << 20) as f64;

/// Degrees and log2 of the coefficient sums, of numerator and denominator.
#[derive(Clone, Copy, Default)]
struct DegreeBound {
    degree: [f64; 2],
    height: [f64; 2],
}

impl DegreeBound {
    fn mul(self, other: DegreeBound) -> DegreeBound {
        let add = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
        DegreeBound { degree: add(self.degree, other.degree), height: add(self.height, other.height) }
    }

    fn add(self, other: DegreeBound) -> DegreeBound {
        let cross = |a: [f64; 2], b: [f64; 2]| [(a[0] + b[1]).max(b[0] + a[1]), a[1] + b[1]];
        let mut height = cross(self.height, other.height);
        height[0] += 1.0;
        DegreeBound { degree: cross(self.degree, other.degree), height }
    }

    fn pow(self, n: i64) -> DegreeBound {
        let times = n.unsigned_abs() as f64;
        let scale = |a: [f64; 2]| if n < 0 { [a[1] * times, a[0] * times] } else { [a[0] * times, a[1] * times] };
        DegreeBound { degree: scale(self.degree), height: scale(self.height) }
    }

    fn rational(r: &BigRational) -> DegreeBound {
        let bits = |n: &BigInt| if n.is_one() { 0.0 } else { n.bits() as f64 };
        DegreeBound { degree: [0.0; 2], height: [bits(r.numer()), bits(r.denom())] }
    }
}

/// Compares two rational functions; `None` if they are not rational functions or too large.
pub(super) fn compare(arena: &Arena, a: Id, b: Id, nodes: &[Id], work: &mut Work) -> Result<Option<Equality>, Failure> {
    let Some((left, right)) = degree_bounds(arena, a, b, nodes) else { return Ok(None) };
    let difference = left.add(right);
    if difference.degree[0] > MAX_DEGREE || difference.height[0] > 61.0 * (OFFSETS.len() - 3) as f64 {
        return Ok(None);
    }
    // The numerator vanishes modulo at most height/61 of the primes. At two other primes the error probability is
    // 2^−82.
    let wanted = (difference.height[0] / 61.0) as usize + 3;
    let mut agreed = 0;
    let mut values = vec![None; arena.len()];
    for (round, offset) in OFFSETS.iter().enumerate() {
        work.spend(nodes.len() as u64 * 100)?;
        let field = Field { p: (1 << 62) - offset };
        let mut seed = round as u64 + 1;
        let point: Vec<u64> = (0..arena.atoms.len()).map(|_| splitmix(&mut seed) % field.p).collect();
        for &id in nodes {
            values[id] = field.evaluate(arena, id, &values, &point, work)?;
        }
        if let (Some(x), Some(y)) = (values[a], values[b]) {
            if x != y {
                return Ok(Some(Equality::Different));
            }
            agreed += 1;
            if agreed == wanted {
                return Ok(Some(Equality::Equal));
            }
        }
    }
    Ok(None)
}

/// A deterministic stream of pseudo-random words.
pub(super) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The degree bounds of both sides, if every node is a rational function.
fn degree_bounds(arena: &Arena, a: Id, b: Id, nodes: &[Id]) -> Option<(DegreeBound, DegreeBound)> {
    let mut degree_bounds = vec![DegreeBound::default(); arena.len()];
    for &id in nodes {
        degree_bounds[id] = match arena.op(id) {
            Op::Rational(r) => DegreeBound::rational(r),
            Op::Variable(_) => DegreeBound { degree: [1.0, 0.0], height: [0.0; 2] },
            Op::Add(c, ids) => ids.iter().fold(DegreeBound::rational(c), |s, &id| s.add(degree_bounds[id])),
            Op::Mul(c, ids) => ids.iter().fold(DegreeBound::rational(c), |s, &id| s.mul(degree_bounds[id])),
            Op::Pow(base, e) => degree_bounds[*base].pow(small_integer(arena.rational_value(*e)?)?),
            _ => return None,
        };
    }
    Some((degree_bounds[a], degree_bounds[b]))
}

/// The integers modulo a prime below 2^62.
struct Field {
    p: u64,
}

impl Field {
    fn mul(&self, a: u64, b: u64) -> u64 {
        (u128::from(a) * u128::from(b) % u128::from(self.p)) as u64
    }

    fn add(&self, a: u64, b: u64) -> u64 {
        (a + b) % self.p
    }

    fn pow(&self, base: u64, mut n: u64) -> u64 {
        let (mut result, mut square) = (1, base);
        while n > 0 {
            if n & 1 == 1 {
                result = self.mul(result, square);
            }
            square = self.mul(square, square);
            n >>= 1;
        }
        result
    }

    fn rational(&self, r: &BigRational, work: &mut Work) -> Result<Option<u64>, Failure> {
        let residue = |n: &BigInt, work: &mut Work| -> Result<u64, Failure> {
            work.spend(n.bits() / 8 + 60)?;
            Ok(n.mod_floor(&BigInt::from(self.p)).to_u64().unwrap_or(0))
        };
        let (n, d) = (residue(r.numer(), work)?, residue(r.denom(), work)?);
        Ok(match d {
            0 => None,
            1 => Some(n),
            _ => Some(self.mul(n, self.pow(d, self.p - 2))),
        })
    }

    fn evaluate(
        &self,
        arena: &Arena,
        id: Id,
        values: &[Option<u64>],
        point: &[u64],
        work: &mut Work,
    ) -> Result<Option<u64>, Failure> {
        Ok(match arena.op(id) {
            Op::Rational(r) => self.rational(r, work)?,
            Op::Variable(index) => point.get(*index).copied(),
            Op::Add(c, ids) => {
                work.spend(10 * ids.len() as u64)?;
                let constant = self.rational(c, work)?;
                ids.iter().fold(constant, |sum, &id| Some(self.add(sum?, values[id]?)))
            }
            Op::Mul(c, ids) => {
                work.spend(20 * ids.len() as u64)?;
                let constant = self.rational(c, work)?;
                ids.iter().fold(constant, |product, &id| Some(self.mul(product?, values[id]?)))
            }
            Op::Pow(base, e) => {
                work.spend(1500)?;
                let Some(n) = arena.rational_value(*e).and_then(small_integer) else { return Ok(None) };
                values[*base].and_then(|x| {
                    let base = match (n < 0, x) {
                        // 0^0 and 1/0 are undefined.
                        (_, 0) if n <= 0 => return None,
                        (true, x) => self.pow(x, self.p - 2),
                        (false, x) => x,
                    };
                    Some(self.pow(base, n.unsigned_abs()))
                })
            }
            _ => None,
        })
    }
}
