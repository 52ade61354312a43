//! Task families: questions, reference answers, and how a response is judged.

pub mod arithmetic;
pub mod code;
pub mod countdown;
pub mod dataset;
mod task;

pub use task::{Problem, Split, Task};

use crate::error::Error;
use crate::records::Layout;
use crate::sandbox::{Limits, Sandbox};
use std::path::Path;

/// The tasks that have a name.
pub const NAMES: [&str; 2] = ["arithmetic", "countdown"];

/// How a task is set up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The settings of `countdown`.
    pub countdown: countdown::Countdown,
    /// Whether programs may run, in a sandbox; without it a file of programming problems is refused.
    pub sandbox: bool,
}

/// The task of a name, or of a file of questions and answers in any of the layouts that [`crate::records`] reads.
pub fn open(name: &str, options: &Options) -> Result<Box<dyn Task>, Error> {
    match name {
        "arithmetic" => Ok(Box::new(arithmetic::Arithmetic::default())),
        "countdown" => Ok(Box::new(options.countdown.clone().checked()?)),
        path if Layout::of(Path::new(path)) != Layout::Text => {
            let path = Path::new(path);
            if !dataset::first_record(path)?.is_some_and(|record| code::is_code(&record)) {
                return Ok(Box::new(dataset::Dataset::open(path)?));
            }
            if !options.sandbox {
                return Err(Error::Unsandboxed { path: path.to_owned() });
            }
            let sandbox = Sandbox::open(Path::new("python3"), Limits::default())?;
            Ok(Box::new(code::Code::open(path, sandbox)?))
        }
        _ => Err(Error::UnknownTask { name: name.to_owned(), known: NAMES.map(|n| format!("`{n}`")).join(", ") }),
    }
}
