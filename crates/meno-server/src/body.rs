//! Request bodies: read with a size limit and a timeout, and parsed as JSON. Errors name the line and column, or the
//! field.

use crate::body_memory::BodyReservation;
use crate::clients::{Client, Reservation, WorkKind};
use crate::connections::{Peer, Phase};
use crate::error::ApiError;
use crate::fields;
use crate::state::Server;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Extracts the body of a request, not parsed yet, and reserves the request in its client's limit.
#[derive(Debug)]
pub struct JsonBody {
    client: Client,
    bytes: Vec<u8>,
    memory: BodyReservation,
    reservation: Reservation,
}

impl FromRequest<Arc<Server>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, server: &Arc<Server>) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::media_type());
        }
        let client = request.extensions().get::<Client>().cloned();
        let client = client.ok_or_else(|| ApiError::internal("the route sets no client"))?;
        let count = |error: &ApiError| server.count_rejection(error);
        let reservation = server.reserve_request(&client).inspect_err(count)?;
        let (bytes, memory) = read(request, server, &client).await.inspect_err(count)?;
        Ok(JsonBody { client, bytes, memory, reservation })
    }
}

impl JsonBody {
    /// Parses the body as `T` and runs `work` on it. Both happen on a worker thread, when it is the client's turn.
    pub(crate) async fn process<T: DeserializeOwned, R: Send + 'static>(
        self,
        server: &Arc<Server>,
        kind: WorkKind,
        work: impl FnOnce(T, &Arc<Server>, &Client) -> Result<R, ApiError> + Send + 'static,
    ) -> Result<R, ApiError> {
        let JsonBody { client, bytes, memory, reservation } = self;
        let sender = client.clone();
        let result = server.run_blocking(&client, kind, move |server| {
            let request = parse(&bytes)?;
            drop(bytes);
            let result = work(request, server, &sender);
            drop((memory, reservation));
            result
        });
        result.await.inspect_err(|error| server.count_rejection(error))
    }
}

/// Maximum time in seconds for a body to arrive.
const SECONDS: u64 = 30;
/// Bodies up to this many bytes reserve no memory: any connection may cost this much.
const SMALL: usize = 64 << 10;
/// Maximum number of separators between the values of a body: a parsed value takes many times the memory of its text.
const MAX_SEPARATORS: usize = 1 << 20;

/// Returns true if the body is JSON. Web pages of other origins need the server's permission to send JSON, but not to
/// send some other content types; so those are rejected.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

/// Reads the whole body and reserves its memory. If the announced length is too large, rejects it without reading.
async fn read(request: Request, server: &Server, client: &Client) -> Result<(Vec<u8>, BodyReservation), ApiError> {
    let limit = server.options.body_bytes;
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(ApiError::too_large(limit));
    }
    let peer = request.extensions().get::<Peer>().cloned();
    let (mut body, mut bytes) = (request.into_body().into_data_stream(), Vec::new());
    let mut memory = server.body_reservation(client);
    let rejected = memory.rejected();
    let all = async {
        while let Some(part) = body.next().await {
            let part = part.map_err(|e| ApiError::malformed(format!("The body could not be read: {e}")))?;
            if bytes.len() + part.len() > limit {
                return Err(ApiError::too_large(limit));
            }
            if bytes.len() + part.len() > SMALL {
                memory.grow(part.len()).await;
            }
            bytes.extend_from_slice(&part);
        }
        Ok(())
    };
    tokio::select! {
        result = tokio::time::timeout(Duration::from_secs(SECONDS), all) => {
            result.unwrap_or(Err(ApiError::slow_body(SECONDS)))?;
        }
        () = rejected => return Err(ApiError::no_memory()),
    }
    memory.complete();
    if let Some(Peer(connection)) = peer {
        connection.enter(Phase::Answering);
    }
    Ok((bytes, memory))
}

/// Parses a request. Errors name the line and column of invalid JSON, or the field that has a wrong type.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if separators(bytes) > MAX_SEPARATORS {
        let message = format!("The body has more than {MAX_SEPARATORS} values, which is the limit.");
        return Err(ApiError::malformed(message));
    }
    let malformed = |e| ApiError::malformed(format!("The body is not valid JSON: {e}"));
    fields::read_value(serde_json::from_slice::<Value>(bytes).map_err(malformed)?)
}

/// Counts the commas, colons and opening brackets outside strings.
fn separators(bytes: &[u8]) -> usize {
    let (mut count, mut text, mut escaped) = (0, false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b',' | b':' | b'[' | b'{' if !text => count += 1,
            _ => {}
        }
    }
    count
}

/// Returns a JSON response.
pub fn json(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_within_texts_do_not_count() {
        assert_eq!(separators(br#"{"a,[": ["x\",{:", 1]}"#), 4);
        let many = format!("[{}0]", "0,".repeat(MAX_SEPARATORS));
        assert!(parse::<Value>(many.as_bytes()).unwrap_err().message.contains("1048576 values"));
        assert!(parse::<Value>(format!("\"{}\"", ",".repeat(2 * MAX_SEPARATORS)).as_bytes()).is_ok());
    }
}
