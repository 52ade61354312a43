//! Runs the stages in order. A stage with a `stage.json` is done and is skipped; a stage that was interrupted continues
//! from its last checkpoint.

use crate::context::{Replication, StageOutput};
use crate::history::{history, max};
use crate::manifest::RunManifest;
use crate::observer::{Interruptible, StageObserver};
use crate::plan::plan_with;
use crate::provenance::Provenance;
use crate::record::StageRecord;
use crate::records::StageRecords;
use crate::report::Report;
use crate::settings::Settings;
use crate::stage::{Stage, Work};
use crate::stage_logger::elapsed;
use crate::task_profile::task_profile;
use crate::tokenizer;
use crate::training::Lesson;
use meno_engine::Tokenizer;
use meno_train::Error;
use meno_train::run_lock::RunLock;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Runs the replication in `out`, or the stages of it that are not done, and writes the report there. Returns `None` if
/// the observer stopped it. The report names `provenance` as its origin.
///
/// # Errors
/// If `out` holds a run with another seed or other settings, or another process works in it; and if a stage fails.
pub fn run(
    settings: Settings,
    seed: u64,
    out: &Path,
    provenance: Provenance,
    observer: &mut dyn StageObserver,
) -> Result<Option<Report>, Error> {
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    let _lock = RunLock::acquire(out)?;
    let settings = settings.with_seed(seed);
    RunManifest { seed, settings: settings.clone() }.claim(out)?;
    let mut replication = Replication::new(settings.clone(), seed, out.to_owned(), observer);
    let Some(records) = replication.run()? else { return Ok(None) };
    let report = Report::new(&settings, seed, provenance, StageRecords::checked(out, records)?);
    report.save(out)?;
    Ok(Some(report))
}

impl Replication<'_> {
    /// Runs every stage that is not done, and returns the records of all.
    fn run(&mut self) -> Interruptible<Vec<StageRecord>> {
        let (mut records, mut planned) = (Vec::new(), false);
        for stage in Stage::ALL {
            let dir = self.dir(stage);
            let record = match StageRecord::load(&dir)? {
                Some(record) => {
                    self.observer.skip(stage, &record.result());
                    record
                }
                None => {
                    if let Some(tokenizer) = self.tokenizer.as_ref().filter(|_| !planned) {
                        let plan = plan_with(&self.settings, self.seed, tokenizer)?;
                        self.observer.plan(&plan.stages);
                        planned = true;
                    }
                    self.observer.begin(stage);
                    let Some(record) = self.run_stage(stage, &dir)? else { return Ok(None) };
                    self.observer.finish(&record.result());
                    record
                }
            };
            records.push(record);
            if stage == Stage::Tokenizer {
                self.tokenizer = Some(Tokenizer::load(&dir)?);
            }
        }
        Ok(Some(records))
    }

    /// Runs one stage: trains, measures, and writes its record.
    fn run_stage(&mut self, stage: Stage, dir: &Path) -> Interruptible<StageRecord> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let before = elapsed(dir);
        let clock = Instant::now();
        let settings = self.settings.clone();
        let output = match stage.work(&settings) {
            Work::TrainTokenizer => return self.make_tokenizer(stage, dir, clock).map(Some),
            Work::Pretrain { recipe, network } => self.pretrain(dir, recipe, network)?,
            Work::Reinforce { recipe, from, block } => self.reinforce(dir, recipe, from, block)?,
            Work::FineTune { recipe, teacher, from, edited, block } => {
                self.fine_tune(dir, recipe, Lesson { teacher, from, edited, block })?
            }
        };
        let Some(StageOutput { mut model, flops, facts }) = output else { return Ok(None) };
        let trained_seconds = before + clock.elapsed().as_secs_f64();
        let Some(measures) = self.measure(stage, &mut model)? else { return Ok(None) };
        let forced = match stage.measures_forced_styles() {
            true => self.forced_styles(&mut model)?,
            false => Some(Vec::new()),
        };
        let Some(forced) = forced else { return Ok(None) };
        let history = history(dir)?;
        let counts = model.config.counts();
        let record = StageRecord {
            name: stage.name().into(),
            title: stage.title().into(),
            section: stage.section().into(),
            seconds: before + clock.elapsed().as_secs_f64(),
            trained_seconds,
            parameters: [counts.stored(), counts.active],
            flops,
            max_logprob_gap: max(&history, "sampling/logprob_gap"),
            measures: Some(measures),
            forced,
            facts,
            history,
        };
        task_profile().save(dir)?;
        record.save(dir)?;
        Ok(Some(record))
    }

    fn make_tokenizer(&mut self, stage: Stage, dir: &Path, clock: Instant) -> Result<StageRecord, Error> {
        let s = &self.settings;
        let t = tokenizer::train(&s.corpus, &self.task, self.seed, s.task.tokenizer_documents)?;
        t.save(dir, Some(tokenizer::CHAT_TEMPLATE))?;
        let example = s.corpus.document(&self.task, self.seed, 0);
        let record = StageRecord {
            name: stage.name().into(),
            title: stage.title().into(),
            section: stage.section().into(),
            seconds: clock.elapsed().as_secs_f64(),
            facts: json!({ "vocabulary": t.vocab_size(), "documents": s.task.tokenizer_documents,
                           "tokens_of_first_document": t.encode(&example.response, false)?.len() }),
            ..StageRecord::default()
        };
        record.save(dir)?;
        Ok(record)
    }
}
