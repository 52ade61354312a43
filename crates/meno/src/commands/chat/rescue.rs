//! A conversation outlives its terminal: what is not saved when the terminal closes (SIGHUP) or the process is ended
//! (SIGTERM) goes to a file, which the next chat names.

use super::conversation::Conversation;
use super::editor::{private_directory, state_dir};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const PREFIX: &str = "interrupted-chat-";

/// The conversation as JSON while it is not saved.
#[derive(Default)]
pub(super) struct Rescue(Arc<Mutex<Option<String>>>);

impl Rescue {
    /// Watches for the end of the terminal or the process.
    pub(super) fn watch() -> Rescue {
        let rescue = Rescue::default();
        let latest = rescue.0.clone();
        let wanted = [SIGHUP, SIGTERM].into_iter().filter(|s| !crate::exit::is_ignored(*s));
        // Without a thread, the signals end the process as ever.
        if let Ok(mut signals) = Signals::new(wanted) {
            let _ = std::thread::Builder::new().name("rescue".into()).spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    let text = latest.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some(text) = text {
                        // An error cannot be shown any more: the terminal is closed.
                        let _ = write(&text);
                    }
                    signal_hook::low_level::exit(128 + signal);
                }
            });
        }
        rescue
    }

    /// Takes note of what was said.
    pub(super) fn note(&self, talk: &Conversation) {
        let text = if talk.unsaved { talk.json().ok() } else { None };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// The newest conversation that was interrupted.
pub(super) fn newest() -> Option<PathBuf> {
    let files = std::fs::read_dir(state_dir()?).ok()?.flatten().map(|entry| entry.path());
    files.filter(|path| is_rescued(path)).max()
}

/// Whether a file is a conversation that was interrupted.
pub(super) fn is_rescued(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX) && path.parent() == state_dir().as_deref()
}

/// For its owner alone.
fn write(text: &str) -> std::io::Result<()> {
    let Some(dir) = state_dir() else { return Ok(()) };
    private_directory(&dir)?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(dir.join(format!("{PREFIX}{seconds}-{}.json", std::process::id())))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
