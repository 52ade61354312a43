//! Errors that clients receive: an HTTP status and OpenAI's error object.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use meno_model::plain::plain;
use serde_json::{Value, json};
use std::borrow::Cow;

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong and how to fix it.
    pub message: String,
    /// The invalid field of the request.
    pub param: Option<String>,
    /// A machine-readable code.
    pub code: Option<&'static str>,
    /// Seconds after which the client may retry.
    pub retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> ApiError {
        ApiError { status, message: plain(&message.into()), param: None, code, retry_after: None }
    }

    /// 400: a field has an invalid value.
    pub fn invalid(param: &str, message: impl Into<String>) -> ApiError {
        let error = ApiError::new(StatusCode::BAD_REQUEST, Some("invalid_value"), message);
        ApiError { param: Some(param.to_owned()), ..error }
    }

    /// 400: a feature that this server does not support.
    pub fn unsupported(param: &str, message: impl Into<String>) -> ApiError {
        ApiError { code: Some("unsupported_value"), ..ApiError::invalid(param, message) }
    }

    /// 400: the body is not valid JSON.
    pub fn malformed(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, Some("invalid_json"), message)
    }

    /// 400: prompt and answer do not fit into the context.
    pub fn too_long(message: impl Into<String>) -> ApiError {
        let error = ApiError::new(StatusCode::BAD_REQUEST, Some("context_length_exceeded"), message);
        ApiError { param: Some("messages".into()), ..error }
    }

    /// 401: the API key is missing or wrong.
    pub fn unauthorized() -> ApiError {
        let message = "Incorrect or missing API key. Send it as `Authorization: Bearer KEY` or `x-api-key: KEY`.";
        ApiError::new(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message)
    }

    /// 403: the request names another host.
    pub fn foreign_host(host: &str) -> ApiError {
        let host = shorten(host);
        let message =
            format!("This server is not `{host}`. If that is one of its names, start it with `--host-name {host}`.");
        let error = ApiError::new(StatusCode::FORBIDDEN, Some("foreign_host"), message);
        ApiError { param: Some("host".into()), ..error }
    }

    /// 403: a web page of another origin sent the request.
    pub fn foreign_origin(origin: &str) -> ApiError {
        let origin = shorten(origin);
        let message = format!(
            "Pages of `{origin}` may not use this server. Start it with `--cors-origin {origin}` to allow them."
        );
        let error = ApiError::new(StatusCode::FORBIDDEN, Some("foreign_origin"), message);
        ApiError { param: Some("origin".into()), ..error }
    }

    /// 404: the request names another model.
    pub fn no_model(asked: &str, served: &str) -> ApiError {
        let asked = shorten(asked);
        let message = format!("The model `{asked}` does not exist here; this server has `{served}`.");
        let error = ApiError::new(StatusCode::NOT_FOUND, Some("model_not_found"), message);
        ApiError { param: Some("model".into()), ..error }
    }

    /// 404: unknown path.
    pub fn no_route(method: &str, path: &str) -> ApiError {
        let (method, path) = (shorten(method), shorten(path));
        let message = format!("Invalid URL ({method} {path}). docs/serving.md lists the routes.");
        ApiError::new(StatusCode::NOT_FOUND, Some("unknown_url"), message)
    }

    /// 405: the path does not support this method.
    pub fn method(method: &str, path: &str) -> ApiError {
        let message = format!("{} does not support {}.", shorten(path), shorten(method));
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"), message)
    }

    /// 408: the client did not send its request in time.
    pub fn slow_body(seconds: u64) -> ApiError {
        let message = format!("The body of the request did not arrive within {seconds} s.");
        ApiError::new(StatusCode::REQUEST_TIMEOUT, Some("request_timeout"), message)
    }

    /// 503: a body arrives slowly and holds memory that others are waiting for.
    pub fn no_memory() -> ApiError {
        let message = "The body of the request arrives too slowly while the server has no room for other large bodies. \
                       Try again in 5 s.";
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("overloaded"), message);
        ApiError { retry_after: Some(5), ..error }
    }

    /// 413: the body is too large.
    pub fn too_large(limit: usize) -> ApiError {
        let message = format!("The body of the request is larger than the {limit} bytes that this server accepts.");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large"), message)
    }

    /// 415: the body is not JSON.
    pub fn media_type() -> ApiError {
        let message = "The body must be JSON, sent with `Content-Type: application/json`.";
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_media_type"), message)
    }

    /// 429: the queue is full.
    pub fn busy(waiting: usize, retry_after: u64) -> ApiError {
        let message = format!("The server is busy: {waiting} requests are waiting. Try again in {retry_after} s.");
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded"), message);
        ApiError { retry_after: Some(retry_after), ..error }
    }

    /// 429: the client has reached its limit. `key`: the client is identified by its API key.
    pub fn too_many(limit: usize, retry_after: u64, key: bool) -> ApiError {
        let whose = if key { "this API key" } else { "this address" };
        let message = format!(
            "{limit} requests or answers of {whose} are in progress, which is the limit per client. Try again in \
             {retry_after} s."
        );
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded"), message);
        ApiError { retry_after: Some(retry_after), ..error }
    }

    /// 429: the grammars in use have reached their limit.
    pub fn many_grammars() -> ApiError {
        let message = "Too many large grammars or schemas are in use. Try again in 1 s.";
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded"), message);
        ApiError { retry_after: Some(1), ..error }
    }

    /// 501: the model or this server does not support this.
    pub fn not_implemented(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_IMPLEMENTED, Some("not_implemented"), message)
    }

    /// 503: the model is still loading.
    pub fn loading(percent: f64, retry_after: u64) -> ApiError {
        let message = format!("The model is being loaded ({percent} %). Try again in {retry_after} s.");
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("model_loading"), message);
        ApiError { retry_after: Some(retry_after), ..error }
    }

    /// 503: the server is shutting down.
    pub fn stopping() -> ApiError {
        let message = "The server is shutting down and accepts no new requests.";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("shutting_down"), message)
    }

    /// 504: the answer exceeded the time limit of a request.
    pub fn timeout(seconds: u64) -> ApiError {
        let message = format!(
            "The answer was not complete after {seconds} s, the time limit of a request. Ask for fewer tokens, or \
             stream and use the partial answer."
        );
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, Some("timeout"), message)
    }

    /// 500: an error in the server.
    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Some("internal_error"), message)
    }

    /// 500: the network produced NaN or infinity.
    pub fn not_finite() -> ApiError {
        let message = "The model's logits are not finite (NaN or infinite), so the answer could not be completed. Its \
                       weights may be broken, or too large for the precision: try `meno serve --precision f32`.";
        ApiError { code: Some("not_finite"), ..ApiError::internal(message) }
    }

    /// Renames the field in the error, for endpoints that call it `to` instead of `from`.
    pub fn renamed(self, from: &str, to: &str) -> ApiError {
        match self.param.as_deref().and_then(|param| param.strip_prefix(from)) {
            Some(rest) => {
                let (param, message) = (Some(format!("{to}{rest}")), self.message.replace(from, to));
                ApiError { param, message, ..self }
            }
            None => self,
        }
    }

    /// Sets the field that the error is about.
    pub fn about(self, param: &str) -> ApiError {
        ApiError { param: Some(param.to_owned()), ..self }
    }

    /// Returns OpenAI's error object. Long texts that come from the request are shortened.
    pub fn body(&self) -> Value {
        let param = self.param.as_deref().map(|param| shorten_middle(param, MAX_VALUE));
        json!({ "error": {
            "message": shorten_middle(&self.message, MAX_MESSAGE), "type": self.kind(), "param": param,
            "code": self.code,
        }})
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }
}

/// Maximum bytes of a value in an error, and of the whole message.
const MAX_VALUE: usize = 120;
const MAX_MESSAGE: usize = 800;

/// Shortens a value of a request for use in an error.
pub(crate) fn shorten(value: &str) -> Cow<'_, str> {
    shorten_middle(value, MAX_VALUE)
}

/// Shortens a text to about `most` bytes: keeps the beginning and the end, and states how many bytes were removed.
fn shorten_middle(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let (mut begin, mut end) = (most * 2 / 3, text.len() - most / 3);
    while !text.is_char_boundary(begin) {
        begin -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    format!("{}… ({} bytes) …{}", &text[..begin], end - begin, &text[end..]).into()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self); // the routes of the Messages API rewrite it
        response
    }
}

/// Maps errors of the engine: invalid requests to status 400, everything else to 500.
impl From<meno_engine::Error> for ApiError {
    fn from(error: meno_engine::Error) -> ApiError {
        use meno_engine::Error;
        match error {
            Error::PromptTooLong { prompt, context } => ApiError::too_long(format!(
                "This model's maximum context length is {context} tokens. However, you requested {} tokens ({prompt} \
                 in the messages, at least 1 in the completion). Please reduce the length of the messages or \
                 completion.",
                prompt + 1
            )),
            Error::Request { message, .. } => ApiError { param: None, ..ApiError::invalid("", message) },
            Error::Template { .. } => ApiError::invalid("messages", error.to_string()),
            Error::Tokenizer(_) => ApiError::invalid("messages", error.to_string()),
            other => ApiError::internal(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_in_the_middle() {
        let long = "ä".repeat(5000);
        for error in [
            ApiError::no_model(&long, "small"),
            ApiError::no_route("GET", &long),
            ApiError::foreign_host(&long),
            ApiError::invalid(&long, format!("{long} is wrong")),
        ] {
            let body = error.body();
            let message = body["error"]["message"].as_str().unwrap();
            assert!(message.len() < 900 && message.contains("bytes)"), "{message}");
            assert!(body.to_string().len() < 1200);
        }
        assert_eq!(shorten("short"), "short");
    }

    #[test]
    fn names_of_types_are_put_in_words() {
        let error =
            ApiError::malformed("not valid: invalid type: string \"three\", expected usize at line 2 column 12");
        assert_eq!(
            error.message,
            "not valid: found the string \"three\", expected a whole number, 0 or more at line 2 column 12"
        );
    }
}
