//! `deepseek_v3`: DeepSeek-V3, V3.1, R1, R1-0528 (arXiv 2412.19437) and Moonlight (arXiv 2502.16982): a sigmoid gate
//! with a selection bias and normalized weights.

use super::deepseek::{self, Deepseek, Defaults};
use super::keys::Keys;
use crate::Error;
use meno_tensor::ops::router::{Scoring, TopkMethod};

pub(super) fn parse(k: Keys) -> Result<Deepseek, Error> {
    let defaults = Defaults {
        scoring_func: Scoring::Sigmoid,
        topk_method: TopkMethod::NoauxTc,
        norm_topk_prob: true,
        routed_scaling_factor: 2.5,
    };
    deepseek::parse(k, defaults)
}
