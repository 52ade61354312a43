//! Tasks: questions, reference answers, and the verifier for the responses.

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

/// The names of the built-in tasks.
pub const NAMES: [&str; 2] = ["arithmetic", "countdown"];

/// The options of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskOptions {
    /// The settings of `countdown`.
    pub countdown: countdown::Countdown,
    /// Allows programs to run, in a sandbox. If false, opening a file of programming problems is an error.
    pub sandbox: bool,
}

/// Opens a task by its name, or by the path of a file of questions and answers in any layout that [`crate::records`]
/// reads.
pub fn open(name: &str, options: &TaskOptions) -> Result<Box<dyn Task>, Error> {
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
