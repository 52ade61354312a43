//! `meno::hub`, the library, against a small server that implements the hub's protocol.

#![allow(clippy::unwrap_used)] // a test may fail by panicking
#![allow(dead_code, reason = "the helpers serve several test programs")]

#[path = "common/hub_server.rs"]
mod hub_server;
#[path = "common/tiny.rs"]
mod tiny;

use hub_server::{COMMIT, Faults, HubServer, TAG, bytes};
use meno::TextModel;
use meno::hub::{Cache, Client, Error, Hub, Progress};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn hub(endpoint: &str, dir: &Path) -> Hub {
    Hub::new(Client::new(endpoint, None).unwrap(), Cache::new(dir).unwrap())
}

fn pull(hub: &Hub, name: &str) -> Result<PathBuf, Error> {
    hub.pull(name, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn a_pulled_model_loads_is_listed_and_is_removed() {
    let (source, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tiny::save_model(source.path());
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let files = names.map(|name| (name, std::fs::read(source.path().join(name)).unwrap()));
    let size: u64 = files.iter().map(|f| f.1.len() as u64).sum();
    let server = HubServer::start(&files, Faults::default());
    let hub = hub(&server.address, dir.path());
    let (mut begun, mut last) = (Vec::new(), (0, 0, 0));
    let path = hub.pull("org/tiny", &mut |progress| {
        match progress {
            Progress::File { name, .. } => begun.push(name.to_owned()),
            Progress::Bytes { done, skipped, total } => last = (done, skipped, total),
            _ => panic!("{progress:?}"),
        }
        ControlFlow::Continue(())
    });
    let path = path.unwrap();
    begun.sort();
    assert_eq!((begun.as_slice(), last), (names.map(str::to_owned).as_slice(), (size, 0, size)));
    assert!(!TextModel::load(&path).unwrap().encode_text("12+30=").unwrap().is_empty());

    let cache = hub.cache();
    assert_eq!(cache.find(&"org/tiny".parse().unwrap()), Some(path.clone()));
    assert_eq!(cache.repo_ids().unwrap(), ["org/tiny"]);
    let models = cache.models().unwrap();
    assert_eq!(models.len(), 1);
    assert_eq!((models[0].name.as_str(), models[0].bytes, &models[0].path), ("org/tiny", size, &path));
    cache.removal(&"org/tiny".parse().unwrap()).unwrap().run().unwrap();
    assert!(!path.exists() && cache.models().unwrap().is_empty());
}

#[test]
fn a_cancelled_pull_keeps_what_it_received() {
    let (dir, content) = (tempfile::tempdir().unwrap(), bytes(2_000_000));
    let server = HubServer::start(&[("a-Q8_0.gguf", content.clone())], Faults::default());
    let hub = hub(&server.address, dir.path());
    let mut received = 0;
    let result = hub.pull("org/tiny", &mut |progress| match progress {
        Progress::Bytes { done, .. } if done > 0 => {
            received = done;
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(received > 0 && received < content.len() as u64);
    let mut skipped_first = None;
    let path = hub.pull("org/tiny", &mut |progress| {
        if let Progress::Bytes { skipped, .. } = progress {
            skipped_first.get_or_insert(skipped);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(std::fs::read(path.unwrap()).unwrap(), content);
    assert_eq!(skipped_first, Some(received));
    let range = format!("bytes={received}-");
    assert!(server.requests.lock().unwrap().iter().any(|r| r[1] == range));
}

#[test]
fn a_revision_pins_a_version() {
    let dir = tempfile::tempdir().unwrap();
    let server = HubServer::start(&[("a-Q8_0.gguf", bytes(5000))], Faults::default());
    let hub = hub(&server.address, dir.path());
    let refs = dir.path().join("models--org--tiny/refs");
    let path = pull(&hub, &format!("org/tiny:Q8_0@{COMMIT}")).unwrap();
    // A commit needs no reference.
    assert!(!refs.exists());
    assert_eq!(pull(&hub, &format!("org/tiny@{TAG}")).unwrap(), path);
    assert_eq!(std::fs::read_to_string(refs.join(TAG)).unwrap(), COMMIT);
    assert!(!refs.join("main").exists());
    // The cache knows the beginning of a commit, as `CachedModel::name` gives it.
    let name = hub.cache().models().unwrap()[0].name.clone();
    assert_eq!(name, format!("org/tiny:Q8_0@{}", &COMMIT[..8]));
    assert_eq!(hub.cache().find(&name.parse().unwrap()), Some(path.clone()));
    assert_eq!(pull(&hub, &name).unwrap(), path);
    assert_eq!(hub.cache().find(&"org/tiny".parse().unwrap()), None);
    let unknown = pull(&hub, "org/tiny@v2");
    assert!(matches!(&unknown, Err(Error::RevisionNotFound { revision, .. }) if revision == "v2"), "{unknown:?}");
}

#[test]
fn errors_tell_their_causes_apart() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("a-Q8_0.gguf", bytes(5000))];
    let result = |faults: Faults, name: &str| {
        let server = HubServer::start(&files, faults);
        pull(&hub(&server.address, dir.path()), name).unwrap_err()
    };
    let refuse = |status, code| Faults { refuse: Some((status, code)), ..Faults::default() };
    assert!(matches!(result(refuse(403, "GatedRepo"), "org/tiny"), Error::GatedRepo { .. }));
    assert!(matches!(result(refuse(404, ""), "org/tiny"), Error::RepositoryNotFound { .. }));
    assert!(matches!(result(refuse(403, ""), "org/tiny"), Error::AccessDenied { status: 403, .. }));
    assert!(matches!(result(refuse(429, ""), "org/tiny"), Error::TooManyRequests { .. }));
    assert!(matches!(result(Faults::default(), "tiny"), Error::InvalidName { .. }));
    assert!(matches!(result(Faults::default(), "org/tiny:Q4_K_M"), Error::NoModel { .. }));
    let altered = Faults { altered: true, ..Faults::default() };
    assert!(matches!(result(altered, "org/tiny"), Error::DigestMismatch { .. }));
    let breaks = Faults { breaks: vec![1000, 0, 0, 0, 0, 0], ..Faults::default() };
    let interrupted = result(breaks, "org/tiny");
    assert!(
        matches!(&interrupted, Error::Interrupted { received: 1000, .. } | Error::Truncated { received: 1000, .. }),
        "{interrupted:?}"
    );
    let away = pull(&hub("http://127.0.0.1:9", dir.path()), "org/other").unwrap_err();
    let Error::LocalEntryNotFound { source, .. } = away else { panic!("{away:?}") };
    assert!(matches!(*source, Error::Unreachable { .. }));
    assert!(matches!(Client::new("ftp://x", None), Err(Error::InvalidEndpoint { .. })));
    let cache = Cache::new(dir.path()).unwrap();
    assert!(matches!(cache.removal(&"org/other".parse().unwrap()), Err(Error::NotCached { .. })));
}
