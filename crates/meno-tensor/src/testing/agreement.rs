//! Checks that a network computes the same on every device.

use super::Net;
use crate::device::Device;
use crate::precision::Precision;

/// Agreement in bf16 on a device that rounds activations to bf16 too: each has an error of up to 2⁻⁹, in sums of a few
/// of them.
const BF16_ACTIVATIONS: f32 = 3e-2;

/// Results by name.
type Results = Vec<(String, Vec<f32>)>;

/// Returns all results of a pass, by name: forward only, and forward and backward if the network can be trained.
fn results(net: &mut Net, precision: Precision) -> Results {
    let loss = net.forward(precision) as f32;
    let out = net.executor.outputs();
    let load = out.expert_load.iter().flatten().map(|&n| n as f32).collect();
    let mut results: Results = [
        ("loss", vec![loss]),
        ("output", net.values()),
        ("log-probabilities", out.logprobs.clone()),
        ("entropies", out.entropies.clone()),
        ("logits", out.logits.clone()),
        ("hidden states", out.hidden.clone()),
        ("expert load", load),
    ]
    .map(|(name, values)| (name.to_string(), values))
    .into();
    if net.program().mode().train {
        let (loss, grads) = net.step(precision);
        results.push(("loss in training".into(), vec![loss as f32]));
        for (_, info) in net.weights.layout().iter() {
            results.push((format!("gradient of {}", info.name), grads[info.range()].to_vec()));
        }
    }
    results
}

/// Asserts that a network computes the same on every device up to rounding, with and without a backward pass.
/// `tolerance` is relative to the largest value of each result, such as a parameter's gradient.
///
/// # Panics
/// Panics if a device disagrees with the first: the test has failed.
pub fn check_agreement(nets: impl IntoIterator<Item = Net>, precision: Precision, tolerance: f32) {
    let mut first: Option<(Device, Results)> = None;
    for mut net in nets {
        let (here, results) = (net.device(), results(&mut net, precision));
        let Some((device, expected)) = &first else {
            first = Some((here, results));
            continue;
        };
        let tolerance = match (here, precision) {
            (Device::Cuda(_), Precision::Bf16) => tolerance.max(BF16_ACTIVATIONS),
            _ => tolerance,
        };
        for ((what, a), (_, b)) in expected.iter().zip(&results) {
            let scale = a.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
            // A NaN difference counts as infinite.
            let gaps = a.iter().zip(b).map(|(a, b)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() });
            let worst = gaps.fold(0.0, f32::max) / scale;
            let equal = a.len() == b.len() && worst <= tolerance;
            assert!(equal, "{what} in {precision:?}: {device} and {here} differ by {worst} of the largest value");
        }
    }
}
