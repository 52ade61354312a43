//! `meno replicate`: R1, whole and small, from nothing.
//!
//! The stages of the paper (arXiv 2501.12948), in its order, on a family of questions that a network of a million
//! parameters can learn to reason about. [`corpus`] is its web, [`work`] what thoughts look like, [`stages`] the order
//! of events, [`report`] what is reported at the end.

pub mod corpus;
pub mod family;
pub mod measure;
pub mod plan;
pub mod provenance;
pub mod record;
pub mod report;
pub mod settings;
pub mod stages;
pub mod taught;
pub mod tokenizer;
pub mod work;

pub use provenance::Provenance;
pub use record::StageRecord;
pub use report::Report;
pub use settings::Settings;

use meno_eval::tasks::arithmetic::Arithmetic;
use meno_train::error::Error;
use meno_train::run::Observer;
use meno_train::run_lock::RunLock;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Watches a replication.
pub trait Watch: Observer {
    /// Stage `index` of [`stages::STAGES`] begins.
    fn begin(&mut self, index: usize);
    /// The stage that began last is done, with a word on its result.
    fn finish(&mut self, result: &str);
    /// How many seconds each stage is thought to take, once that is known.
    fn plan(&mut self, _seconds: &[f64]) {}
    /// Stage `index` was done before.
    fn skip(&mut self, index: usize, result: &str);
}

/// What a directory holds, so that a resumed run is the run that was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Begun {
    seed: u64,
    settings: Settings,
}

/// Runs the replication in `out`, or what is left of it; `None` if the observer stopped it. The report names
/// `provenance`.
pub fn run(
    settings: Settings,
    seed: u64,
    out: &Path,
    provenance: Provenance,
    watch: &mut dyn Watch,
) -> Result<Option<Report>, Error> {
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    let _lock = RunLock::acquire(out)?;
    let settings = settings.with_seed(seed);
    let begun = Begun { seed, settings: settings.clone() };
    let file = out.join("run.json");
    match record::read_json::<Begun>(&file)? {
        None => record::write_json(&file, &begun)?,
        Some(before) if before == begun => {}
        Some(before) => {
            let what = if before.seed != seed { format!("seed {}", before.seed) } else { "other settings".into() };
            let message = format!("holds a run begun with {what}: choose another --out, or remove it");
            return Err(Error::Checkpoint { path: out.to_owned(), message });
        }
    }
    let task = settings.arithmetic(seed);
    // Test and validation problems are the same whatever the seed: figures of several seeds can be compared. No choice
    // was ever made by the problems of this number.
    let test = Arithmetic { seed: 250_112_948, ..task.clone() };
    let mut replication = stages::Replication {
        settings: settings.clone(),
        seed,
        out: out.to_owned(),
        watch,
        task,
        test,
        tokenizer: None,
    };
    let Some(records) = replication.run()? else { return Ok(None) };
    report::check(out, &records)?;
    let report = Report::new(&settings, seed, provenance, records);
    report.save(out)?;
    Ok(Some(report))
}
