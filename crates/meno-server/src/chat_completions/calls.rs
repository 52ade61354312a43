//! The grammar of an answer that must, or may, call tools.

use crate::error::ApiError;
use crate::model::ServedModel;
use crate::structure::{Structure, json_grammar};
use crate::structured::{Compiler, Grammar};
use crate::types::{Tool, ToolChoice};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Compiles grammars for tool calls.
pub(super) struct CallGrammar<'a> {
    pub(super) choice: &'a ToolChoice,
    pub(super) tools: &'a [Tool],
    pub(super) parallel: bool,
    pub(super) model: &'a ServedModel,
    pub(super) compiler: &'a Compiler<'a>,
}

impl CallGrammar<'_> {
    /// The answer is either a call or JSON that follows a schema.
    pub(super) fn or_json(&self, schema: &Value, param: &'static str) -> Result<Option<Grammar>, ApiError> {
        // Compile the schema alone first, because these errors name the place in the schema.
        let alone = self.compiler.compile(&Structure::JsonSchema(schema.clone()), param)?;
        drop(alone);
        let refuse = |e| ApiError::invalid(param, format!("{param} cannot be used: {e}"));
        let schema = json_grammar(schema).map_err(refuse)?;
        let calls = CallGrammar { parallel: false, ..*self };
        calls.compile(&format!("start: calls | json\njson: %json {schema}"), param).map(Some)
    }

    /// Compiles `start` with the rules of the calls. A tool whose schema is not supported may be called with any
    /// object, so that the other tools stay usable. It is an error if it is the only callable tool, or if it is
    /// `strict`.
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
        // Each tool compiles alone, so the error is about all of them together.
        result.map_or_else(|| grammar(&schemas), Err)
    }
}
