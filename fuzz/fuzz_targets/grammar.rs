//! A grammar, regular expression or schema of any text: an error or a grammar that can be followed, in bounded time and
//! memory. Run with `-rss_limit_mb=2048 -timeout=30`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::Tokenizer;
use meno_engine::constraint::{Choice, TokenMask};
use meno_engine::tokenizer::CharacterLevel;
use meno_server::places::Places;
use meno_server::structured::{Grammars, Structure};
use std::sync::{Arc, LazyLock};

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let alphabet: String = (' '..='~').chain(['\n', 'ä', '中']).collect();
    let plan = CharacterLevel {
        special: &["<eos>", "<unk>"],
        alphabet: &alphabet,
        eos: "<eos>",
        unk: "<unk>",
        ..Default::default()
    };
    Arc::new(Tokenizer::character_level(&plan).expect("a tokenizer of characters"))
});
static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| Grammars::new(TOKENIZER.clone()));

/// Tokens that are written under the grammar.
const STEPS: usize = 40;

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let structure = match kind % 3 {
        0 => Structure::Lark(text.to_owned()),
        1 => Structure::Regex(text.to_owned()),
        _ => match serde_json::from_str(text) {
            Ok(schema) => Structure::JsonSchema(schema),
            Err(_) => return,
        },
    };
    let Ok(mut grammar) = GRAMMARS.compiler(&Places::new(1)).compile(&structure, "fuzz") else { return };
    let vocab = TOKENIZER.id_bound();
    let mut mask = TokenMask::all(vocab);
    for step in 0..STEPS {
        if grammar.choose(&mut mask) == Choice::End {
            break;
        }
        let allowed: Vec<u32> = (0..vocab as u32).filter(|&id| mask.allows(id)).collect();
        let Some(&token) = allowed.get((step * 7919 + text.len()) % allowed.len().max(1)) else { break };
        grammar.accept(token);
    }
});
