//! Optimizers and the gradient norm on the card: one launch for the norm and for AdamW, whatever the number of
//! parameters ([`spans`]), and a few for each matrix of Muon.

mod muon;
mod spans;

use super::buffer::CudaBuffer;
use super::driver::{Gpu, Launch};
use super::weights::CudaWeights;
use crate::backend::{Buffer, Error, Optimizer, Weights, own_mut};
use crate::optim::{OptimizerConfig, OwnedPiece, UpdateRule, owned_len, owned_pieces};
use crate::tape::ParamLayout;
use muon::{Muon, MuonStep};
use spans::{Spans, THREADS};
use std::ops::Range;
use std::sync::Arc;

/// Returns Σ g² in f64 over every block of the trainable parameters in `range`.
pub(super) fn gradient_squares(
    layout: &ParamLayout,
    grads: &CudaBuffer,
    range: Range<usize>,
) -> Result<Vec<f64>, Error> {
    let gpu = grads.memory.gpu();
    let trainable = layout.iter().filter(|(_, info)| info.trainable).map(|(_, info)| info.range());
    let inside = trainable.map(|r| r.start.max(range.start)..r.end.min(range.end)).filter(|r| !r.is_empty());
    // Flags that alternate keep neighbours apart, so that blocks begin with their parameter.
    let spans = Spans::new(gpu, inside.enumerate().map(|(i, range)| (range, i % 2 == 1)))?;
    let mut squares = vec![0f64; spans.blocks];
    if spans.blocks > 0 {
        let sums = gpu.allocate(spans.blocks * size_of::<f64>(), "the gradient norm")?;
        let args = &mut [sums.at().into(), grads.at(0).into(), spans.at().into(), spans.count.into()];
        gpu.launch("sum_squares", Launch::blocks(spans.blocks, THREADS), args)?;
        sums.read(0, &mut squares)?;
    }
    Ok(squares)
}

/// An optimizer and its state.
pub(super) struct CudaOptimizer {
    gpu: Arc<Gpu>,
    config: OptimizerConfig,
    steps: u64,
    /// AdamW's first moment, Muon's momentum.
    first: CudaBuffer,
    /// AdamW's second moment.
    second: CudaBuffer,
    /// The parameters that AdamW updates; the flag says which are decayed. One entry for each owned range, with the
    /// distance from a value of the layout to its moments.
    adamw: Vec<(Spans, usize)>,
    /// The matrices that Muon updates, and their shapes.
    matrices: Vec<(OwnedPiece, [usize; 2])>,
    muon: Muon,
}

impl CudaOptimizer {
    pub(super) fn new(
        gpu: &Arc<Gpu>,
        config: OptimizerConfig,
        layout: &ParamLayout,
        owned: &[Range<usize>],
    ) -> Result<Self, Error> {
        // Places with their flags, and the distance from places to moments.
        let mut adamw: Vec<(Vec<_>, usize)> = Vec::new();
        let mut matrices = Vec::new();
        for piece in owned_pieces(&config, layout, owned) {
            let distance = piece.place.start - piece.state;
            match piece.rule {
                UpdateRule::Frozen => {}
                UpdateRule::AdamW { weight_decay } => match adamw.last_mut() {
                    Some((places, same)) if *same == distance => places.push((piece.place, weight_decay != 0.0)),
                    _ => adamw.push((vec![(piece.place, weight_decay != 0.0)], distance)),
                },
                UpdateRule::Muon { rows, cols } => matrices.push((piece, [rows, cols])),
            }
        }
        let spans = adamw.into_iter().map(|(places, distance)| Ok((Spans::new(gpu, places.into_iter())?, distance)));
        let moment = || CudaBuffer::new(gpu, owned_len(owned), "the optimizer's state");
        Ok(CudaOptimizer {
            gpu: gpu.clone(),
            config,
            steps: 0,
            first: moment()?,
            second: moment()?,
            adamw: spans.collect::<Result<_, Error>>()?,
            muon: Muon::new(gpu, matrices.iter().map(|(_, shape)| *shape))?,
            matrices,
        })
    }

    /// Takes AdamW's step on weights and their copy in bf16.
    fn adamw(
        &self,
        [values, rounded]: [u64; 2],
        grads: &CudaBuffer,
        learning_rate: f32,
        scale: f32,
    ) -> Result<(), Error> {
        let OptimizerConfig { adam_beta1, adam_beta2, adam_epsilon, weight_decay, .. } = self.config;
        // Moments start at 0.
        let correction = |beta: f32| 1.0 - (beta as f64).powf(self.steps as f64);
        for (spans, distance) in &self.adamw {
            // The kernel adds the place in the layout to every address.
            let moment = |buffer: &CudaBuffer| buffer.at(0).wrapping_sub((distance * size_of::<f32>()) as u64);
            let args = &mut [
                values.into(),
                moment(&self.first).into(),
                moment(&self.second).into(),
                rounded.into(),
                grads.at(0).into(),
                spans.at().into(),
                spans.count.into(),
                adam_beta1.into(),
                adam_beta2.into(),
                adam_epsilon.into(),
                scale.into(),
                ((learning_rate as f64 / correction(adam_beta1)) as f32).into(),
                ((1.0 / correction(adam_beta2).sqrt()) as f32).into(),
                (1.0 - learning_rate * weight_decay).into(),
            ];
            self.gpu.launch("adamw", Launch::blocks(spans.blocks, THREADS), args)?;
        }
        Ok(())
    }
}

impl Optimizer for CudaOptimizer {
    fn config(&self) -> &OptimizerConfig {
        &self.config
    }
    fn steps(&self) -> u64 {
        self.steps
    }
    fn step(
        &mut self,
        weights: &mut dyn Weights,
        grads: &mut dyn Buffer,
        learning_rate: f32,
        scale: f32,
    ) -> Result<(), Error> {
        self.steps += 1;
        let addresses = own_mut::<CudaWeights>(weights).addresses_mut();
        let grads: &CudaBuffer = own_mut(grads);
        self.adamw(addresses, grads, learning_rate, scale)?;
        let OptimizerConfig { muon_momentum: momentum, weight_decay, .. } = self.config;
        for (OwnedPiece { place, state, .. }, shape) in &self.matrices {
            let step = MuonStep {
                values: addresses[0] + (place.start * size_of::<f32>()) as u64,
                rounded: (addresses[1] != 0).then(|| addresses[1] + (place.start * 2) as u64),
                grads: grads.at(place.start),
                momenta: self.first.at(*state),
                shape: *shape,
                momentum,
                scale,
                keep: 1.0 - learning_rate * weight_decay,
                learning_rate,
            };
            self.muon.apply(&self.gpu, step)?;
        }
        grads.zero()
    }
    fn state(&self) -> [(&'static str, &dyn Buffer); 2] {
        [("exp_avg", &self.first), ("exp_avg_sq", &self.second)]
    }
    fn restore(&mut self, steps: u64, moments: [&[f32]; 2]) -> Result<(), Error> {
        for ((name, own), state) in [("exp_avg", &self.first), ("exp_avg_sq", &self.second)].into_iter().zip(moments) {
            if state.len() != own.len() {
                return Err(Error::OptimizerState { name, got: state.len(), expected: own.len() });
            }
            own.memory.write(0, state)?;
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::optim::OptimizerKind;
    use crate::precision::Precision;
    use crate::rng::Rng;
    use crate::tape::{Dtype, Param};
    use half::bf16;

    /// Returns the bf16 values of `p` that products read.
    fn rounded(gpu: &Gpu, weights: &CudaWeights, p: Param) -> Vec<bf16> {
        let (at, dtype) = weights.matrix(p, Precision::Bf16);
        assert_eq!(dtype, Dtype::Bf16);
        let mut values = vec![bf16::ZERO; weights.layout_of(p).len()];
        gpu.read(at, &mut values).unwrap();
        values
    }

    #[test]
    fn a_step_keeps_the_weights_in_bf16_current() {
        let cards = Device::all().into_iter().filter_map(|device| match device {
            Device::Cuda(number) => Some(Gpu::open(number).unwrap()),
            _ => None,
        });
        for (gpu, kind) in cards.flat_map(|gpu| [(gpu.clone(), OptimizerKind::AdamW), (gpu, OptimizerKind::Muon)]) {
            let mut layout = ParamLayout::default();
            layout.declare("norm.weight", &[1, 37]);
            layout.declare("a.weight", &[5, 7]);
            let layout = Arc::new(layout);
            let mut weights = CudaWeights::new(&gpu, layout.clone()).unwrap();
            weights.prepare(Precision::Bf16).unwrap();
            let mut grads = CudaBuffer::new(&gpu, layout.total(), "gradients").unwrap();
            let mut rng = Rng::new(&[2]);
            for (_, info) in layout.iter() {
                grads.update(info.range(), &mut |g| g.iter_mut().for_each(|g| *g = rng.normal())).unwrap();
            }
            let config = OptimizerConfig { kind, ..Default::default() };
            let mut optimizer = CudaOptimizer::new(&gpu, config, &layout, &layout.whole()).unwrap();
            optimizer.step(&mut weights, &mut grads, 0.1, 1.0).unwrap();
            for (p, _) in layout.iter() {
                let values = weights.read(p).unwrap();
                assert!(values.iter().all(|&w| w != 0.0));
                let expected: Vec<bf16> = values.iter().map(|&w| bf16::from_f32(w)).collect();
                assert_eq!(rounded(&gpu, &weights, p), expected, "{kind:?}");
            }
        }
    }
}
