//! The hub and its model cache.

use super::machine::free;
use super::report::{Mark, Section};
use crate::bytes::bytes;
use meno::hub::{Cache, Client};
use serde_json::json;

/// Less free space than this is little for models.
const LITTLE: u64 = 5_000_000_000;

pub(super) fn section(quick: bool) -> Section {
    let mut s = Section::new("hub", "Hub and cache");
    match Cache::from_env() {
        Ok(cache) => {
            let root = cache.directory();
            let used = cache.bytes().unwrap_or(0);
            let room = free(root);
            let rest = room.map_or_else(String::new, |b| format!(", {} free on its disk", bytes(b)));
            let little = room.is_some_and(|b| b < LITTLE);
            let mark = if little { Mark::Note } else { Mark::Ok };
            let text = format!("cache: {}, {}{rest}", root.display(), bytes(used));
            s.row(mark, "cache", text, json!({ "path": root, "bytes": used, "free_bytes": room }));
            if little {
                s.advise(
                    "little room for models: `meno list` shows those in the cache, `meno rm` removes one, HF_HOME \
                     names another disk",
                );
            }
        }
        Err(error) => {
            s.row(Mark::Missing, "cache", format!("cache: {error}"), json!(null));
            s.advise("set HF_HOME to a directory, so that models can be kept");
        }
    }
    if quick {
        s.line(Mark::NotTried, "whether the hub answers (--quick)");
        return s;
    }
    match Client::from_env() {
        Ok(client) => reach(&mut s, &client),
        Err(error) => {
            s.row(Mark::Missing, "hub", error.to_string(), json!({ "reason": error.to_string() }));
        }
    }
    s
}

/// Reports whether the hub responds.
fn reach(s: &mut Section, client: &Client) {
    let endpoint = client.endpoint();
    if client.is_offline() {
        let text = format!("{endpoint}: not asked, HF_HUB_OFFLINE is set; models come from the cache alone");
        s.row(Mark::Note, "hub", text, json!({ "endpoint": endpoint, "reachable": null, "offline": true }));
        return;
    }
    match client.ping() {
        Ok(()) => {
            let text = format!("{endpoint}: answers");
            s.row(Mark::Ok, "hub", text, json!({ "endpoint": endpoint, "reachable": true, "offline": false }));
        }
        Err(error) => {
            let reason = error.to_string();
            let value = json!({ "endpoint": endpoint, "reachable": false, "offline": false, "reason": reason });
            s.row(Mark::Missing, "hub", reason, value);
            s.advise(
                "the hub does not answer: models in the cache work; HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 \
                 spares the waiting",
            );
        }
    }
}
