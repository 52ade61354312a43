//! `cargo fuzz run answer` (see `fuzz/README.md`): the think splitter and the readers of tool calls. However a text is
//! cut, the same comes out, and no tag comes out in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::reasoning::{Piece, Splitter, split};
use meno_server::tools::{ToolFormat, Part, ToolParser};

fn merged(parts: Vec<Part>) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::new();
    for part in parts {
        match (all.last_mut(), part) {
            (Some(Part::Text(a)), Part::Text(b)) => a.push_str(&b),
            (Some(Part::Arguments { index: i, text: a }), Part::Arguments { index: j, text: b }) if *i == j => {
                a.push_str(&b);
            }
            (_, part) => all.push(part),
        }
    }
    all
}

fuzz_target!(|input: (bool, u8, u16, String)| {
    let (opened, format, cut, text) = input;
    let mut cut = cut as usize % (text.len() + 1);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let pieces = [&text[..cut], &text[cut..]];

    let whole = split(&text, opened);
    let mut splitter = Splitter::new(opened);
    let mut told: Vec<Piece> = pieces.iter().flat_map(|p| splitter.push(p)).collect();
    let (last, result) = splitter.finish();
    told.extend(last);
    assert_eq!(result, whole);

    let format = [ToolFormat::Hermes, ToolFormat::DeepSeek, ToolFormat::Llama][format as usize % 3];
    let read = |pieces: &[&str]| {
        let mut parser = ToolParser::new(format, vec!["f".into()]);
        let mut parts: Vec<Part> = pieces.iter().flat_map(|p| parser.push(p)).collect();
        parts.extend(parser.finish());
        merged(parts)
    };
    assert_eq!(read(&[&text]), read(&pieces));
});
