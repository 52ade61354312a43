//! `cargo fuzz run tokenizer` (see `fuzz/README.md`): any bytes as a `tokenizer.json`. It is rejected, or it encodes
//! and decodes, or returns an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::Tokenizer;

const TEXTS: [&str; 3] =
    ["Hello, world's 123 <think>查\n\n  é\u{301} </s>", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", ""];

fuzz_target!(|json: &str| {
    let Ok(tokenizer) = Tokenizer::from_json(json, Default::default()) else { return };
    for text in TEXTS {
        if let Ok(ids) = tokenizer.encode(text, true) {
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.id_bound().max(1)), "an id without a token");
            tokenizer.decode(&ids, false);
            let mut stream = tokenizer.decode_stream(true);
            ids.iter().for_each(|&id| drop(stream.push(id)));
        }
    }
    tokenizer.token_bytes();
    let _ = tokenizer.files(None);
});
