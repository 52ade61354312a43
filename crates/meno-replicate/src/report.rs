//! The report: the claims of the paper next to the results of this run. Everything in it is computed from the records.

mod chart;
mod claim;
mod claims;
mod contents;
mod csv;
mod curves;
mod figure;
mod files;
mod fit;
#[cfg(test)]
mod fixture;
mod page;
mod paper;
mod pipeline;
mod samples;
mod verdict;

pub use claim::ClaimResult;
pub use contents::Report;
pub use paper::Place;
pub use verdict::Verdict;
