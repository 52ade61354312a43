//! Which kernel and how many blocks a product takes. A plan decides speed, never bits, but for the spans of a weight's
//! gradient.

use super::super::context::Tensor;
use super::super::driver::{Gpu, Launch};
use crate::backend::Error;

/// Blocks that keep a large card busy: two for each of the 132 multiprocessors of an H100. A constant, so that the
/// spans of a gradient are the same on every card.
pub(super) const BUSY: usize = 264;

/// Rows of the batch in one span of a weight's gradient, a multiple of 64.
const SPAN: usize = 2048;

/// The most rows that take the kernels for few rows, which read the weight once.
pub(super) const FEW: usize = 64;

/// Which factors of a product are transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// x · wᵀ.
    Forward,
    /// dy · w.
    InputGradient,
    /// dyᵀ · x.
    WeightGradient,
}

impl Form {
    /// Returns the form of a product whose factors are transposed or not.
    pub(super) fn of(a: bool, b: bool) -> Form {
        match (a, b) {
            (false, true) => Form::Forward,
            (false, false) => Form::InputGradient,
            (true, false) => Form::WeightGradient,
            (true, true) => unreachable!("invariant: no op multiplies two transposed matrices"),
        }
    }
    /// Returns its name in names of kernels.
    pub(super) fn name(self) -> &'static str {
        match self {
            Form::Forward => "nt",
            Form::InputGradient => "nn",
            Form::WeightGradient => "tn",
        }
    }
}

/// The launch of a bf16 product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    form: Form,
    /// The tile in the kernel's name.
    pub(super) tile: &'static str,
    launch: Launch,
    /// The number of chains that an element is the sum of.
    pub(super) spans: usize,
    /// The length of a chain.
    span: usize,
}

impl Plan {
    /// Runs the kernel on bf16 matrices with aligned rows. y has a part for each span.
    pub(super) fn launch(
        self,
        gpu: &Gpu,
        [m, n, k]: [usize; 3],
        [a, b, y]: [Tensor; 3],
        [bias, residual]: [u64; 2],
        add: bool,
    ) -> Result<(), Error> {
        // Two adjacent elements of y, and of the residual, are written and read at once where they are aligned.
        let aligned = y.at.is_multiple_of(2 * y.dtype.bytes() as u64) && residual.is_multiple_of(8);
        let pairs = y.ld.is_multiple_of(2) && aligned;
        let args = &mut [
            y.into(),
            a.into(),
            b.into(),
            m.into(),
            n.into(),
            k.into(),
            a.ld.into(),
            b.ld.into(),
            y.ld.into(),
            bias.into(),
            residual.into(),
            add.into(),
            self.span.into(),
            pairs.into(),
        ];
        let name = format!("gemm_bf16_{}_{}_{}", self.tile, self.form.name(), y.suffix());
        gpu.launch(&name, self.launch, args)
    }
}

/// A tile of y, as in gemm_bf16.cu.
struct Tile {
    name: &'static str,
    rows: usize,
    cols: usize,
    threads: u32,
    stages: usize,
    /// The step along k of a stage.
    step: usize,
}

impl Tile {
    const fn new(name: &'static str, [rows, cols]: [usize; 2], threads: u32, stages: usize, step: usize) -> Tile {
        Tile { name, rows, cols, threads, stages, step }
    }
    /// Returns the number of tiles of a matrix.
    fn count(&self, m: usize, n: usize) -> usize {
        m.div_ceil(self.rows) * n.div_ceil(self.cols)
    }
    /// Returns the shared memory of a block in bytes.
    fn shared(&self) -> usize {
        self.stages * (self.rows + self.cols) * self.step * 2
    }
}

static LARGE: Tile = Tile::new("128x128", [128, 128], 128, 4, 32);
static MEDIUM: Tile = Tile::new("64x64", [64, 64], 128, 4, 32);
/// Few rows and 64 columns: blocks of four warps that share the rows.
static FEW_WIDE: [Tile; 3] = [
    Tile::new("few_8x64", [8, 64], 128, 6, 64),
    Tile::new("few_32x64", [32, 64], 128, 5, 64),
    Tile::new("few_64x64", [64, 64], 128, 4, 64),
];
/// Few rows and 16 columns: a warp by itself, for matrices with few columns.
static FEW_NARROW: [Tile; 3] = [
    Tile::new("few_8x16", [8, 16], 32, 12, 64),
    Tile::new("few_32x16", [32, 16], 32, 8, 64),
    Tile::new("few_64x16", [64, 16], 32, 6, 64),
];

/// Returns the launch of a bf16 product of this shape, m, n and k.
pub(super) fn plan_bf16(form: Form, [m, n, k]: [usize; 3]) -> Plan {
    let spans = match form {
        Form::WeightGradient if LARGE.count(m, n) < BUSY => k.div_ceil(SPAN).max(1),
        _ => 1,
    };
    let tile = match form {
        Form::Forward | Form::InputGradient if m <= FEW => few(form, m, n),
        _ if LARGE.count(m, n) * spans * 2 > BUSY => &LARGE,
        _ => &MEDIUM,
    };
    let launch = Launch { grid: [tile.count(m, n), spans], threads: tile.threads, shared: tile.shared() };
    Plan { form, tile: tile.name, launch, spans, span: if spans == 1 { k } else { SPAN } }
}

fn few(form: Form, m: usize, n: usize) -> &'static Tile {
    let narrow = form == Form::Forward && FEW_WIDE[0].count(1, n) < BUSY;
    let tiles = if narrow { &FEW_NARROW } else { &FEW_WIDE };
    tiles.iter().find(|tile| m <= tile.rows).expect("invariant: the last tile has all few rows")
}

/// Returns the tile and the launch of an f32 product of m rows and n columns.
pub(super) fn plan_f32(m: usize, n: usize) -> (&'static str, Launch) {
    match m {
        0..=16 => ("8x32", Launch::blocks(m.div_ceil(8) * n.div_ceil(32), 128)),
        _ => ("64x64", Launch::blocks(m.div_ceil(64) * n.div_ceil(64), 256)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_take_large_tiles_once_they_fill_a_card() {
        let plan = |m, n| plan_bf16(Form::Forward, [m, n, 896]);
        assert_eq!(plan(16384, 4864).tile, "128x128");
        assert_eq!(plan(16384, 4864).launch.grid, [128 * 38, 1]);
        assert_eq!(plan(65, 896).tile, "64x64");
        assert_eq!(plan(65, 896).launch.grid, [2 * 14, 1]);
    }

    #[test]
    fn few_rows_read_the_weight_once() {
        let tiles = |form, n| [1, 8, 9, 33, 64].map(|m| plan_bf16(form, [m, n, 896]).tile);
        let wide = ["few_8x64", "few_8x64", "few_32x64", "few_64x64", "few_64x64"];
        assert_eq!(tiles(Form::Forward, 151_936), wide);
        assert_eq!(tiles(Form::InputGradient, 896), wide);
        let narrow = ["few_8x16", "few_8x16", "few_32x16", "few_64x16", "few_64x16"];
        assert_eq!(tiles(Form::Forward, 896), narrow);
        for m in [1, 9, 64] {
            let plan = plan_bf16(Form::Forward, [m, 896, 4864]);
            assert_eq!((plan.launch.grid, plan.launch.threads), ([56, 1], 32));
        }
    }

    #[test]
    fn only_small_weight_gradients_are_split() {
        let plan = |m, n, rows| plan_bf16(Form::WeightGradient, [m, n, rows]);
        let small = plan(896, 896, 16384);
        assert_eq!((small.spans, small.span, small.launch.grid), (8, SPAN, [49, 8]));
        assert_eq!(plan(896, 896, 16385).spans, 9);
        let one = plan(896, 896, 100);
        assert_eq!((one.spans, one.span), (1, 100));
        assert_eq!(plan(4864, 896, 16384).spans, 1);
        for form in [Form::Forward, Form::InputGradient] {
            assert_eq!(plan_bf16(form, [1, 64, 1 << 20]).spans, 1);
        }
    }

    #[test]
    fn shared_memory_fits_every_card() {
        for tile in [&LARGE, &MEDIUM].into_iter().chain(&FEW_WIDE).chain(&FEW_NARROW) {
            assert!(tile.shared() <= 99 << 10, "{} takes {} bytes", tile.name, tile.shared());
        }
    }

    #[test]
    fn no_rows_take_no_blocks() {
        assert_eq!(plan_bf16(Form::Forward, [0, 64, 64]).launch.grid[0], 0);
        assert_eq!(plan_f32(0, 64).1.grid[0], 0);
        let empty = plan_bf16(Form::WeightGradient, [64, 64, 0]);
        assert_eq!((empty.spans, empty.span), (1, 0));
    }
}
