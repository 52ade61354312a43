//! The data of one parameter's step.

/// The update of one parameter in a step.
pub(super) struct Update<'a> {
    pub(super) weights: &'a mut [f32],
    pub(super) grads: &'a [f32],
    pub(super) first: &'a mut [f32],
    pub(super) second: &'a mut [f32],
    pub(super) learning_rate: f64,
    /// Factor applied to the gradients.
    pub(super) scale: f64,
}
