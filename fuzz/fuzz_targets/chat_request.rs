//! `cargo fuzz run chat_request` (see `fuzz/README.md`): any bytes as a request, and its parts read as the server does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_server::asked_form::asked_form;
use meno_server::body::parse;
use meno_server::chat_completions::ChatRequest;
use meno_server::completions::CompletionRequest;
use meno_server::gbnf::to_lark;
use meno_server::responses::ResponseRequest;
use meno_server::schema::prepare;
use meno_server::structured::Structure;
use meno_server::thinking::Thinking;
use meno_server::types::ToolChoice;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse::<CompletionRequest>(bytes);
    if let Ok(request) = parse::<ResponseRequest>(bytes) {
        let _ = request.into_chat();
    }
    let Ok(request) = parse::<ChatRequest>(bytes) else { return };
    let tools = request.tools.clone().unwrap_or_default();
    let _ = ToolChoice::read(request.tool_choice.as_ref(), &tools);
    match asked_form(request.response_format.as_ref(), request.structured_outputs.as_ref(), &request.form) {
        Ok(Some((Structure::JsonSchema(schema), _))) => drop(prepare(&schema)),
        Ok(Some((Structure::Lark(text), _))) => drop(to_lark(&text)),
        _ => {}
    }
    let _ = Thinking::read(&request.thinking_fields(), None);
    for message in request.messages {
        let _ = message.content.map(|c| c.into_text("content"));
    }
});
