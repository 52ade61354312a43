//! `deepseek_v2`: DeepSeek-V2 and V2-Lite (arXiv 2405.04434): a softmax gate, greedy or limited to groups by their best
//! expert.

use super::deepseek::{self, Deepseek, Defaults};
use super::keys::Keys;
use crate::Error;
use meno_tensor::ops::router::{Scoring, TopkMethod};

pub(super) fn parse(k: Keys) -> Result<Deepseek, Error> {
    let defaults = Defaults {
        scoring_func: Scoring::Softmax,
        topk_method: TopkMethod::Greedy,
        norm_topk_prob: false,
        routed_scaling_factor: 1.0,
    };
    deepseek::parse(k, defaults)
}
