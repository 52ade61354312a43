//! The grammar of an answer that must call tools, or may.

use crate::error::ApiError;
use crate::model::Served;
use crate::structured::{Compiler, Grammar, Structure, json_grammar};
use crate::types::{Tool, ToolChoice};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Calls that an answer must hold, or may.
pub(super) struct ForcedCalls<'a> {
    pub(super) choice: &'a ToolChoice,
    pub(super) tools: &'a [Tool],
    pub(super) parallel: bool,
    pub(super) model: &'a Served,
    pub(super) compiler: &'a Compiler<'a>,
}

impl ForcedCalls<'_> {
    /// An answer is a call, or JSON of a schema.
    pub(super) fn or_json(&self, schema: &Value, param: &'static str) -> Result<Option<Grammar>, ApiError> {
        // By itself first: its errors name their place.
        let alone = self.compiler.compile(&Structure::JsonSchema(schema.clone()), param)?;
        drop(alone);
        let refuse = |e| ApiError::invalid(param, format!("{param} cannot be used: {e}"));
        let schema = json_grammar(schema).map_err(refuse)?;
        let calls = ForcedCalls { parallel: false, ..*self };
        calls.compile(&format!("start: calls | json\njson: %json {schema}"), param).map(Some)
    }

    /// Compiles `start` with the rules of the calls. A tool whose schema cannot be used is called with any object, so
    /// that the others are not lost with it; it is an error if it alone may be called, or if it is `strict`.
    pub(super) fn compile(&self, start: &str, param: &str) -> Result<Grammar, ApiError> {
        let model = self.model;
        let indexed = self.tools.iter().enumerate();
        let callable: Vec<(usize, &Tool)> = indexed.filter(|(_, t)| self.choice.allows(&t.function.name)).collect();
        let mut schemas: Vec<Option<Value>> = (callable.iter()).map(|(_, t)| json_grammar(&t.schema()).ok()).collect();
        let grammar = |schemas: &[Option<Value>]| {
            let any = || json_grammar(&json!({ "type": "object" })).unwrap_or_default();
            let named = callable.iter().zip(schemas);
            let called: Vec<(String, Value)> =
                named.map(|((_, t), s)| (t.function.name.clone(), s.clone().unwrap_or_else(any))).collect();
            let rules = model.tools.format.grammar(&called, self.parallel, &model.tokenizer);
            self.compiler.compile(&Structure::Lark(format!("{start}\n{rules}")), param)
        };
        let mut result = None;
        if schemas.iter().all(Option::is_some) {
            match grammar(&schemas) {
                Ok(grammar) => return Ok(grammar),
                Err(error) => result = Some(error),
            }
        }
        for ((index, tool), schema) in callable.iter().zip(&mut schemas) {
            let place = format!("tools[{index}].function.parameters");
            let Err(error) = self.compiler.compile(&Structure::JsonSchema(tool.schema()), &place) else { continue };
            if callable.len() == 1 || tool.function.strict == Some(true) || error.status != StatusCode::BAD_REQUEST {
                return Err(error);
            }
            *schema = None;
            result = None;
        }
        // The tools are well each by itself: what is wrong is all of them together.
        result.map_or_else(|| grammar(&schemas), Err)
    }
}
