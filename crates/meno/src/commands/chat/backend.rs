//! Where the answers come from: a model in this process, or a server.

use crate::remote::Remote;
use meno_engine::Session;
use meno_engine::task_profile::TaskProfile;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The source of the answers.
pub(super) enum ChatBackend {
    /// A model in this process.
    Local(Box<Session>),
    /// A server.
    Remote(Remote),
}

impl ChatBackend {
    /// The name of the model.
    pub(super) fn name(&self) -> &str {
        match self {
            ChatBackend::Local(session) => &session.text.name,
            ChatBackend::Remote(remote) => &remote.name,
        }
    }

    /// The tasks of a model that knows only a few.
    pub(super) fn task_profile(&self) -> Option<&TaskProfile> {
        match self {
            ChatBackend::Local(session) => session.text.task_profile.as_ref(),
            ChatBackend::Remote(_) => None,
        }
    }

    /// The flag that stops the current answer when set.
    pub(super) fn cancel_flag(&self) -> Arc<AtomicBool> {
        match self {
            ChatBackend::Local(session) => session.generator.cancel_flag(),
            ChatBackend::Remote(remote) => remote.cancel.clone(),
        }
    }
}
