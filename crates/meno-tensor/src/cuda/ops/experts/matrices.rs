//! Where the matrices of all experts lie: at equal distances, as a network declares them, or anywhere.

use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::ops::experts::Experts;
use crate::tape::{Dtype, Param};

/// A matrix of each expert: gate over up, or down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrices {
    pub(super) place: Place,
    pub(super) dtype: Dtype,
    pub(super) shape: [usize; 2],
}

/// Where matrices lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Stack(Stack),
    Tables(Tables),
}

/// Matrices at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    /// The address of the first expert's matrix.
    pub(super) at: u64,
    /// The distance from one expert's matrix to the next in elements.
    pub(super) stride: usize,
}

/// Matrices anywhere, in two parts, one below the other: addresses of arrays of addresses, on the card.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    pub(super) first: u64,
    pub(super) second: u64,
    /// The rows of the first part.
    pub(super) split: usize,
}

/// The addresses of the matrices of all experts.
pub(super) struct Addresses {
    /// Gate and up.
    gate_up: [Vec<u64>; 2],
    down: Vec<u64>,
    /// The types of gate and up, and of down.
    dtypes: [Dtype; 2],
    hidden: usize,
    width: usize,
}

impl Addresses {
    /// `at` returns the address and the type of a parameter.
    pub(super) fn of(op: &Experts, at: impl Fn(Param) -> (u64, Dtype)) -> Addresses {
        let all = |params: &mut dyn Iterator<Item = Param>| -> (Vec<u64>, Vec<Dtype>) { params.map(&at).unzip() };
        let (gate, gate_dtypes) = all(&mut op.experts.iter().map(|e| e.gate));
        let (up, up_dtypes) = all(&mut op.experts.iter().map(|e| e.up));
        let (down, down_dtypes) = all(&mut op.experts.iter().map(|e| e.down));
        let one = |dtypes: Vec<Dtype>| {
            assert!(dtypes.iter().all(|d| *d == dtypes[0]), "invariant: the matrices of all experts have one type");
            dtypes[0]
        };
        let dtypes = [one([gate_dtypes, up_dtypes].concat()), one(down_dtypes)];
        Addresses { gate_up: [gate, up], down, dtypes, hidden: op.sorted.hidden, width: op.width }
    }
}

impl Matrices {
    /// Returns true if they are known to lie at equal distances.
    pub(super) fn is_stack(&self) -> bool {
        matches!(self.place, Place::Stack(_))
    }
    /// Returns gate over up, and down; both as stacks if `stacks` is true and both are.
    pub(super) fn find(addresses: Addresses, stacks: bool, ctx: &Ctx) -> Result<[Matrices; 2], Error> {
        let Addresses { gate_up: [gate, up], down, dtypes, hidden, width } = addresses;
        let shapes = [[2 * width, hidden], [hidden, width]];
        let matrices = |i: usize, place| Matrices { place, dtype: dtypes[i], shape: shapes[i] };
        let found = [Stack::of(&[&gate, &up], [width, hidden], dtypes[0]), Stack::of(&[&down], shapes[1], dtypes[1])];
        if let ([Some(gate_up), Some(down)], true) = (found, stacks) {
            return Ok([matrices(0, Place::Stack(gate_up)), matrices(1, Place::Stack(down))]);
        }
        let start = ctx.constants(&[&gate[..], &up, &down].concat())?;
        let table = |index: usize| start + (index * gate.len() * size_of::<u64>()) as u64;
        let gate_up = Tables { first: table(0), second: table(1), split: width };
        // All rows lie in the first part.
        let down = Tables { first: table(2), second: table(2), split: hidden };
        Ok([matrices(0, Place::Tables(gate_up)), matrices(1, Place::Tables(down))])
    }
}

impl Stack {
    /// Returns the stack of matrices whose parts, each of this shape, lie at these addresses: the parts of a matrix one
    /// after the other, the matrices at equal distances. `None`: they lie elsewhere, or TMA cannot reach them.
    pub(super) fn of(parts: &[&[u64]], [rows, cols]: [usize; 2], dtype: Dtype) -> Option<Stack> {
        let (at, part) = (parts[0][0], (rows * cols * dtype.bytes()) as u64);
        let size = part * parts.len() as u64;
        let distance = match parts[0].get(1) {
            Some(&second) => second.checked_sub(at).filter(|&distance| distance >= size)?,
            None => size,
        };
        let place = |expert: usize, index: usize| at + expert as u64 * distance + index as u64 * part;
        let here = |(index, part): (usize, &&[u64])| part.iter().enumerate().all(|(e, &x)| x == place(e, index));
        // In a tensor map, a distance is a multiple of 16 bytes and of the distance of the dimension below: of a row.
        let row = (cols * dtype.bytes()) as u64;
        let mapped = at.is_multiple_of(16) && distance.is_multiple_of(16) && distance.is_multiple_of(row);
        let stride = distance as usize / dtype.bytes();
        (mapped && parts.iter().enumerate().all(here)).then_some(Stack { at, stride })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BF16: Dtype = Dtype::Bf16;

    #[test]
    fn matrices_at_equal_distances_are_a_stack() {
        // 8 x 16 values of bf16 take 256 bytes; 64 bytes of something else follow.
        let [gate, up] = [0, 256].map(|start| (0..5).map(|e| 4096 + start + e * 576).collect::<Vec<u64>>());
        let stack = Stack { at: 4096, stride: 288 };
        assert_eq!(Stack::of(&[&gate, &up], [8, 16], BF16), Some(stack));
        assert_eq!(Stack::of(&[&gate], [8, 16], BF16), Some(stack));
        assert_eq!(Stack::of(&[&gate], [8, 16], Dtype::F32), Some(Stack { at: 4096, stride: 144 }));
        assert_eq!(Stack::of(&[&gate[..1], &up[..1]], [8, 16], BF16), Some(Stack { at: 4096, stride: 256 }));
    }

    #[test]
    fn matrices_elsewhere_are_none() {
        let stack = |gate: &[u64], up: &[u64]| Stack::of(&[gate, up], [8, 16], BF16);
        assert!(stack(&[0, 512, 1024], &[256, 768, 1280]).is_some());
        assert!(stack(&[0, 512, 1040], &[256, 768, 1280]).is_none(), "another distance");
        assert!(stack(&[0, 512, 1024], &[256, 784, 1280]).is_none(), "a gap between gate and up");
        assert!(stack(&[1024, 512, 0], &[1280, 768, 256]).is_none(), "in descending order");
        assert!(stack(&[0, 256], &[256, 512]).is_none(), "an overlap");
        assert!(stack(&[8, 520], &[264, 776]).is_none(), "an address that is no multiple of 16");
        assert!(stack(&[0, 520], &[256, 776]).is_none(), "a distance that is no multiple of 16");
        assert!(stack(&[0, 528], &[256, 784]).is_none(), "a distance that is no multiple of a row");
    }
}
