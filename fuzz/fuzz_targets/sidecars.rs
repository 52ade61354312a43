//! `cargo fuzz run sidecars` (see `fuzz/README.md`): any text as one of the small files beside a model: `meno.json`,
//! `generation_config.json`, `tokenizer_config.json`. The first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::task_profile::TaskProfile;
use meno_engine::tokenizer::CharacterLevel;
use meno_engine::{GenerationConfig, Tokenizer};

const NAMES: [&str; 3] = ["meno.json", "generation_config.json", "tokenizer_config.json"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, json)) = bytes.split_first() else { return };
    let name = NAMES[first as usize % NAMES.len()];
    let dir = std::env::temp_dir().join(format!("meno-fuzz-sidecars-{}", std::process::id()));
    if !dir.join("tokenizer.json").exists() {
        let (special, alphabet) = (&["<e>"], "0123456789+ ");
        let c = CharacterLevel { special, alphabet, eos: "<e>", unk: "<e>", ..Default::default() };
        Tokenizer::character_level(&c).and_then(|t| t.save(&dir, None)).expect("the directory can be written");
    }
    NAMES.iter().for_each(|name| drop(std::fs::remove_file(dir.join(name))));
    std::fs::write(dir.join(name), json).expect("the temporary directory can be written");
    if let Ok(Some(profile)) = TaskProfile::load(&dir) {
        for line in ["47 + 85 - 29", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"] {
            profile.prompt(line);
        }
    }
    let _ = GenerationConfig::load(&dir);
    let _ = Tokenizer::load(&dir);
});
