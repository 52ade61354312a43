//! `cargo fuzz run dataset` (see `fuzz/README.md`): any bytes as a data file. The first byte chooses the form by the
//! name's end; compression is found by what the file begins with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::tokenizer::CharacterLevel;
use meno_engine::{ChatTemplate, Tokenizer};
use meno_train::data::read_documents;
use meno_train::sft::ExampleReader;
use std::cell::OnceCell;

const ENDS: [&str; 9] =
    ["jsonl", "json", "csv", "tsv", "parquet", "txt", "jsonl.gz", "json.zst", "csv.gz"];
const TEMPLATE: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}";

thread_local! {
    static TEXT: OnceCell<(Tokenizer, ChatTemplate)> = const { OnceCell::new() };
}

fn text() -> (Tokenizer, ChatTemplate) {
    let alphabet: String = (' '..='~').collect();
    let c = CharacterLevel { special: &["<e>"], alphabet: &alphabet, eos: "<e>", unk: "<e>", ..Default::default() };
    let tokenizer = Tokenizer::character_level(&c).expect("the alphabet has every character once");
    let template = ChatTemplate::new(TEMPLATE, tokenizer.special()).expect("the template is well formed");
    (tokenizer, template)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, content)) = bytes.split_first() else { return };
    let end = ENDS[first as usize % ENDS.len()];
    let path = std::env::temp_dir().join(format!("meno-fuzz-data-{}.{end}", std::process::id()));
    std::fs::write(&path, content).expect("the temporary directory can be written");
    TEXT.with(|cell| {
        let (tokenizer, template) = cell.get_or_init(text);
        let reader = ExampleReader { tokenizer, template: Some(template), max_tokens: 4096, max_length: None };
        if let Ok(dataset) = reader.read(&[path.clone().into()]) {
            dataset.account.notes();
        }
    });
    let _ = read_documents(&path, &|text| Ok(text.bytes().map(u32::from).collect()), None, 256);
    let _ = std::fs::remove_file(&path);
});
