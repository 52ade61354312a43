//! `POST /tokenize` and `POST /detokenize`, with the fields of vLLM and llama.cpp.

use crate::body::{self, JsonBody};
use crate::chat_message::ChatMessage;
use crate::clients::WorkKind;
use crate::conversation::Conversation;
use crate::error::ApiError;
use crate::model::ServedModel;
use crate::state::Server;
use crate::types::{TemplateKwargs, Tool};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A request to tokenize a text or a conversation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub(crate) struct TokenizeRequest {
    pub model: Option<String>,
    pub prompt: Option<String>,
    pub content: Option<String>,
    pub messages: Option<Vec<ChatMessage>>,
    pub tools: Option<Vec<Tool>>,
    pub chat_template_kwargs: Option<TemplateKwargs>,
    pub add_special_tokens: Option<bool>,
    pub return_token_strs: Option<bool>,
    /// llama.cpp's field: return each token with its text.
    pub with_pieces: Option<bool>,
    pub add_generation_prompt: Option<bool>,
    pub continue_final_message: Option<bool>,
}

/// A request to convert tokens to text.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub(crate) struct DetokenizeRequest {
    #[serde(default)]
    pub model: Option<String>,
    pub tokens: Vec<u32>,
}

/// Handles `POST /tokenize`.
pub(crate) async fn tokenize(State(server): State<Arc<Server>>, body: JsonBody) -> Result<Response, ApiError> {
    let tokens = body.process(&server, WorkKind::Tokens, |request: TokenizeRequest, server, _| {
        server.model.check_name(request.model.as_deref())?;
        let with_text = request.return_token_strs == Some(true);
        let with_pieces = request.with_pieces == Some(true);
        let tokens = request.tokens(&server.model)?;
        let mut reply = json!({ "count": tokens.len(), "max_model_len": server.model.context, "tokens": tokens });
        if with_text {
            let text = |&token: &u32| server.model.tokenizer.id_to_token(token);
            reply["token_strs"] = tokens.iter().map(text).collect::<Vec<_>>().into();
        }
        if with_pieces {
            reply["tokens"] = tokens.iter().map(|&token| piece(&server.model, token)).collect();
        }
        Ok(body::json(&reply))
    });
    tokens.await
}

/// A token with its text, or with its bytes if they are not valid UTF-8.
fn piece(model: &ServedModel, token: u32) -> Value {
    let bytes = model.token_bytes().get(token as usize).map(|t| &t.bytes[..]).unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "id": token, "piece": text }),
        Err(_) => json!({ "id": token, "piece": bytes }),
    }
}

impl TokenizeRequest {
    fn tokens(self, model: &ServedModel) -> Result<Vec<u32>, ApiError> {
        match (self.messages, self.prompt.or(self.content)) {
            (Some(messages), None) => {
                let kwargs = self.chat_template_kwargs.unwrap_or_default();
                let tools = self.tools.unwrap_or_default();
                let no_generation_prompt = self.add_generation_prompt == Some(false);
                let continues = self.continue_final_message == Some(true);
                let rest = Conversation { continues, no_generation_prompt, ..Default::default() };
                let conversation = Conversation { messages, tools, kwargs, ..rest };
                let none = || {
                    ApiError::invalid(
                        "messages",
                        "this model was trained for only a few tasks, and this question is not one of them",
                    )
                };
                conversation.tokens(model)?.ok_or_else(none)
            }
            (None, Some(text)) => {
                model.check_length(&text).map_err(|e| e.about("prompt"))?;
                Ok(model.tokenizer.encode(&text, self.add_special_tokens.unwrap_or(true))?)
            }
            _ => Err(ApiError::invalid("prompt", "expected prompt (or content), a string, or else messages")),
        }
    }
}

/// Handles `POST /detokenize`.
pub(crate) async fn detokenize(State(server): State<Arc<Server>>, body: JsonBody) -> Result<Response, ApiError> {
    let text = body.process(&server, WorkKind::Tokens, |request: DetokenizeRequest, server, _| {
        server.model.check_name(request.model.as_deref())?;
        // Tokens can be long, so the text may be many times larger than the request.
        let most = server.model.most_bytes();
        if request.tokens.len() > most / 4 {
            let message = format!("{} tokens; at most {} are accepted at once", request.tokens.len(), most / 4);
            return Err(ApiError::invalid("tokens", message));
        }
        let size = server.model.vocab_size;
        if let Some((i, token)) = request.tokens.iter().enumerate().find(|(_, t)| **t as usize >= size) {
            let place = format!("tokens[{i}]");
            let message = format!("{place} is {token}; expected the id of a token, 0 to {}", size.saturating_sub(1));
            return Err(ApiError::invalid(&place, message));
        }
        let text = server.model.tokenizer.decode(&request.tokens, false);
        Ok(body::json(&json!({ "prompt": text, "content": text })))
    });
    text.await
}
