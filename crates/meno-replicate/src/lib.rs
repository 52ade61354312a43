//! `meno replicate`: the whole of DeepSeek-R1 in small, from random weights.
//!
//! It runs the stages of the paper (arXiv 2501.12948) in order, on arithmetic questions that a network of a million
//! parameters can learn to reason about. [`run`] runs them and returns a [`Report`]; a run that was interrupted
//! continues where it stopped. [`stage`] lists the stages, [`corpus`] makes the text that the base model is pretrained
//! on, [`worked_steps`] shows what reasoning looks like in it, and [`report`] compares the results with the paper.
//!
//! ```no_run
//! use meno_replicate::{Provenance, Settings, Stage, StageObserver};
//! use meno_train::Observer;
//!
//! struct Titles;
//! impl Observer for Titles {}
//! impl StageObserver for Titles {
//!     fn begin(&mut self, stage: Stage) {
//!         println!("{}", stage.title());
//!     }
//!     fn finish(&mut self, result: &str) {
//!         println!("  {result}");
//!     }
//!     fn skip(&mut self, _: Stage, _: &str) {}
//! }
//!
//! let settings = Settings::load("smoke")?;
//! let provenance = Provenance::here("smoke", "my program".into(), "0.1.0", "unknown");
//! let report = meno_replicate::run(settings, 1, "runs/smoke".as_ref(), provenance, &mut Titles)?;
//! for line in report.expect("Titles never stops the run").lines() {
//!     println!("{line}");
//! }
//! # Ok::<(), meno_train::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod behaviour;
mod context;
pub mod corpus;
pub mod dataset;
mod evaluation;
mod history;
mod json_file;
mod manifest;
pub mod measure;
pub mod observer;
pub mod plan;
pub mod provenance;
pub mod record;
pub mod records;
pub mod report;
mod run;
pub mod settings;
pub mod stage;
mod stage_logger;
pub mod task_profile;
pub mod tokenizer;
pub mod trace_reading;
mod training;
pub mod worked_steps;

pub use observer::StageObserver;
pub use provenance::Provenance;
pub use record::StageRecord;
pub use report::Report;
pub use run::run;
pub use settings::Settings;
pub use stage::Stage;
