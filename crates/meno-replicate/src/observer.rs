//! What the caller of a replication sees of it while it runs.

use crate::stage::Stage;
use meno_train::{Error, Observer};

/// Receives the events of a replication and may stop it.
pub trait StageObserver: Observer {
    /// `stage` begins.
    fn begin(&mut self, stage: Stage);
    /// The stage that began last is finished; `result` summarizes it in a few words.
    fn finish(&mut self, result: &str);
    /// Reports the estimated seconds of every stage, by the order of [`Stage::ALL`], once they are known.
    fn plan(&mut self, _seconds: &[f64]) {}
    /// `stage` was finished by an earlier process.
    fn skip(&mut self, stage: Stage, result: &str);
}

/// The result of work that the observer can stop; `None` if it did.
pub(crate) type Interruptible<T> = Result<Option<T>, Error>;
