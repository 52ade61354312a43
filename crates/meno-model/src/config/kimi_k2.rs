//! `kimi_k2`: Kimi-K2 (arXiv 2507.20534) as a text model: DeepSeek-V3's network with more experts, fewer heads and one
//! group. Its config.json has all of V3's keys.

use super::deepseek::Deepseek;
use super::deepseek_v3;
use super::keys::Keys;
use crate::Error;

pub(super) fn parse(k: Keys) -> Result<Deepseek, Error> {
    deepseek_v3::parse(k)
}
