//! `meno verify`: judges answers against references, as rewards and scores do.

use crate::interrupt;
use crate::output::{self, Inputs};
use anyhow::{Context, Result, bail};
use meno_eval::sandbox::{Limits, Sandbox};
use meno_eval::tasks::{code, countdown, dataset};
use meno_eval::verify::{self, Judgement, Verdict};
use meno_model::temporary::Temporary;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Arguments of `meno verify`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Each line of FILE has a reference and a response:
  {\"gold\": \"\\\\frac{1}{2}\", \"response\": \"… \\\\boxed{0.5}\"}
  {\"question\": {a line of a dataset}, \"response\": \"…\"}
and gives one line of output: verdict (right, wrong, truncated, unparsable), extracted, marker, gold and response as \
they were parsed, reason. With \"right\": true or false on the line, disagreements are counted. \"truncated\": true \
marks a response that reached its length limit.")]
pub(crate) struct Args {
    /// File of JSON lines to judge; - reads standard input
    file: PathBuf,
    /// How answers are compared [default: chosen by the form of the reference]
    #[arg(long, value_enum, value_name = "KIND")]
    verifier: Option<Verifier>,
    /// Run the programs in answers inside a sandbox
    #[arg(long)]
    sandbox: bool,
    /// Write the results to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the file of --out if it already exists
    #[arg(long, requires = "out")]
    force: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Verifier {
    /// Mathematics: numbers, formulas, sets, units, words
    Math,
    /// Multiple choice: the letter
    Choice,
    /// Countdown: an expression of given numbers; the reference is "3 4 8 = 20"
    Countdown,
    /// Code: a program, judged by the tests of its question
    Code,
}

/// Maximum length of a line, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// Runs `meno verify`.
pub(crate) fn run(args: Args) -> Result<()> {
    let name = args.file.display().to_string();
    let stdin = args.file == Path::new("-");
    let inputs = if stdin { Inputs::default().with_stdin() } else { Inputs::default().with(&args.file) };
    let out = args.out.as_deref().map(|out| output::file("--out", out, args.force, &inputs)).transpose()?;
    let input: Box<dyn Read> = if stdin {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(&args.file).with_context(|| name.clone())?)
    };
    let mut judge = Judge { verifier: args.verifier, allowed: args.sandbox, sandbox: None };
    let mut out = Output::open(out)?;
    let mut tally = Tally::default();
    let mut reader = BufReader::new(input);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).with_context(|| name.clone())?;
        if read == 0 {
            break;
        }
        if read as u64 == MAX_LINE {
            bail!("{name}:{number}: the line is longer than {} MiB", MAX_LINE >> 20);
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        let judged = judge.line(text).with_context(|| format!("{name}:{number}"))?;
        let agrees = tally.count(&judged);
        out.line(number, &judged, agrees)?;
    }
    out.finish()?;
    eprintln!("{tally}");
    Ok(())
}

/// A judged line.
struct Judged {
    judgement: Judgement,
    /// The verdict that the line itself states.
    right: Option<bool>,
}

struct Judge {
    verifier: Option<Verifier>,
    allowed: bool,
    sandbox: Option<Sandbox>,
}

impl Judge {
    fn line(&mut self, text: &str) -> Result<Judged> {
        let value: Value = serde_json::from_str(text).context("not JSON")?;
        let text_of = |key: &str| match &value[key] {
            Value::String(s) => Some(s.clone()),
            Value::Number(n) => Some(n.to_string()),
            _ => None,
        };
        let response = text_of("response").context("there is no string `response`")?;
        let truncated = value["truncated"].as_bool().unwrap_or(false);
        let right = value["right"].as_bool();
        let judgement = match (&value["question"], text_of("gold")) {
            (question @ Value::Object(_), _) => self.question(question, &response, truncated)?,
            (_, Some(gold)) => self.gold(&gold, &response, truncated)?,
            _ => bail!("there is neither `gold` (a string) nor `question` (a line of a dataset)"),
        };
        Ok(Judged { judgement, right })
    }

    fn gold(&self, gold: &str, response: &str, truncated: bool) -> Result<Judgement> {
        if matches!(self.verifier, None | Some(Verifier::Math)) {
            dataset::readable(gold).map_err(anyhow::Error::msg)?;
        }
        Ok(match self.verifier {
            None => dataset::judge(gold, response, truncated),
            Some(Verifier::Math) => verify::math::judge(gold, response, truncated),
            Some(Verifier::Choice) => verify::choice::judge(gold, response, truncated),
            Some(Verifier::Countdown) => countdown::judge(gold, response, truncated).with_context(|| {
                format!("`gold` is {gold:?}, expected numbers and their target, e.g. \"3 4 8 = 20\"")
            })?,
            Some(Verifier::Code) => bail!("programs are judged by the tests of a `question`, not by a `gold`"),
        })
    }

    fn question(&mut self, question: &Value, response: &str, truncated: bool) -> Result<Judgement> {
        let is_code = code::is_code(question);
        if is_code != (self.verifier == Some(Verifier::Code)) && self.verifier.is_some() {
            let what = if is_code { "has tests: --verifier code" } else { "has no tests" };
            bail!("`question` {what}");
        }
        if !is_code {
            let problem = dataset::problem(question, 0).map_err(anyhow::Error::msg)?;
            return self.gold(&problem.answer, response, truncated);
        }
        let tests = code::tests_of(question).map_err(anyhow::Error::msg)?;
        if self.sandbox.is_none() {
            if !self.allowed {
                bail!("judging this question runs the program of its response: allow it with --sandbox");
            }
            self.sandbox = Some(Sandbox::open(Path::new("python3"), Limits::default())?);
        }
        let Some(sandbox) = &self.sandbox else { bail!("the sandbox is not open") };
        let judged = verify::code::judge(sandbox, response, &tests, truncated)?;
        Ok(Judgement {
            verdict: judged.verdict,
            extracted: judged.program,
            reason: judged.reason,
            ..Judgement::default()
        })
    }
}

#[derive(Default)]
struct Tally {
    verdicts: [usize; 4],
    stated: usize,
    disagreements: usize,
}

impl Tally {
    /// Counts a line; returns whether the judgement agrees with the verdict that the line states.
    fn count(&mut self, judged: &Judged) -> Option<bool> {
        self.verdicts[judged.judgement.verdict as usize] += 1;
        let agrees = judged.right.map(|right| right == (judged.judgement.verdict == Verdict::Right));
        self.stated += usize::from(agrees.is_some());
        self.disagreements += usize::from(agrees == Some(false));
        agrees
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [right, wrong, truncated, unparsable] = self.verdicts;
        write!(f, "{right} right, {wrong} wrong, {truncated} truncated, {unparsable} unparsable")?;
        if self.stated > 0 {
            write!(f, "; {} of {} given verdicts agree", self.stated - self.disagreements, self.stated)?;
        }
        Ok(())
    }
}

/// Standard output, or a file that gets its name when it is complete.
enum Output {
    Stdout(std::io::StdoutLock<'static>),
    File(BufWriter<std::fs::File>, Temporary, PathBuf),
}

impl Output {
    fn open(path: Option<PathBuf>) -> Result<Output> {
        let Some(path) = path else { return Ok(Output::Stdout(std::io::stdout().lock())) };
        let temporary = Temporary::beside(&path);
        interrupt::end_cleanly();
        let file = std::fs::File::create(temporary.path()).with_context(|| path.display().to_string())?;
        Ok(Output::File(BufWriter::new(file), temporary, path))
    }

    fn line(&mut self, number: usize, judged: &Judged, agrees: Option<bool>) -> Result<()> {
        let mut line = json!({ "line": number });
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, serde_json::to_value(&judged.judgement)?) {
            line.extend(fields);
            if let Some(agrees) = agrees {
                line.insert("agrees".into(), agrees.into());
            }
        }
        match self {
            Output::Stdout(out) => writeln!(out, "{line}").context("standard output"),
            Output::File(out, _, path) => writeln!(out, "{line}").with_context(|| path.display().to_string()),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Output::Stdout(mut out) => out.flush().context("standard output"),
            Output::File(out, temporary, path) => {
                let written = out.into_inner().map_err(|e| e.into_error()).and_then(|file| file.sync_all());
                written.and_then(|()| temporary.persist(&path)).with_context(|| path.display().to_string())
            }
        }
    }
}
