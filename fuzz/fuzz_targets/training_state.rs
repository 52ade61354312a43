//! `cargo fuzz run training_state` (see `fuzz/README.md`): a checkpoint of any content. The input is the
//! `training_state.json`, a zero byte, the `checksums.json`, a zero byte, and the `training_state.safetensors`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_train::checkpoint::{Checkpoints, read_blocks};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |&b| b == 0);
    let (Some(state), Some(sums), Some(blocks)) = (parts.next(), parts.next(), parts.next()) else { return };
    let run = std::env::temp_dir().join(format!("meno-fuzz-state-{}", std::process::id()));
    let dir = run.join("checkpoint-3");
    std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
    for (name, content) in [
        ("training_state.json", state),
        ("training_state.safetensors", blocks),
        ("model.safetensors", &b""[..]),
        ("config.json", &b"{}"[..]),
    ] {
        std::fs::write(dir.join(name), content).expect("the temporary directory can be written");
    }
    let sums_file = dir.join("checksums.json");
    let _ = std::fs::remove_file(&sums_file);
    if !sums.is_empty() {
        std::fs::write(&sums_file, sums).expect("the temporary directory can be written");
    }
    if let Ok(Some(found)) = Checkpoints::new(&run, 1).newest_whole() {
        assert_eq!(found.state.step, 3);
    }
    let _ = read_blocks(&dir.join("training_state.safetensors"));
});
