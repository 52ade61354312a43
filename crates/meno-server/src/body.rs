//! Request bodies: bounded, in time, JSON, with the place of what is wrong.

use crate::app::Server;
use crate::bodies::Room;
use crate::clients::{Client, Part, Work};
use crate::connections::Phase;
use crate::error::ApiError;
use crate::fields;
use crate::listen::Peer;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A request with its body, and a place for it among those of its client.
#[derive(Debug)]
pub struct Posted {
    client: Client,
    bytes: Vec<u8>,
    room: Room,
    place: Part,
}

impl FromRequest<Arc<Server>> for Posted {
    type Rejection = ApiError;

    async fn from_request(request: Request, server: &Arc<Server>) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::media_type());
        }
        let client = request.extensions().get::<Client>().cloned();
        let client = client.ok_or_else(|| ApiError::internal("the route does not say who asks"))?;
        let refused = |error: &ApiError| server.count_refusal(error);
        let place = client.request(server).inspect_err(refused)?;
        let (bytes, room) = read(request, server, &client).await.inspect_err(refused)?;
        Ok(Posted { client, bytes, room, place })
    }
}

impl Posted {
    /// Reads the body as `T` and works on it, away from the event loop and when it is the client's turn.
    pub(crate) async fn run<T: DeserializeOwned, R: Send + 'static>(
        self,
        server: &Arc<Server>,
        kind: Work,
        work: impl FnOnce(T, &Arc<Server>, &Client) -> Result<R, ApiError> + Send + 'static,
    ) -> Result<R, ApiError> {
        let Posted { client, bytes, room, place } = self;
        let asking = client.clone();
        let result = client.run(server, kind, move |server| {
            let request = parse(&bytes)?;
            drop(bytes);
            let result = work(request, server, &asking);
            drop((room, place));
            result
        });
        result.await.inspect_err(|error| server.count_refusal(error))
    }
}

/// Most seconds until all of a body is here.
const SECONDS: u64 = 30;
/// Bytes of a body that need no room: they are as few as a connection may cost anyway.
const SMALL: usize = 64 << 10;
/// Most signs between the values of a body: what is read from one takes many times its byte.
const MAX_SIGNS: usize = 1 << 20;

/// Another content type needs no permission of the server to be sent by a foreign web page; JSON does.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

/// The whole body, and the room that it takes. A body that announces its length is refused before it is read.
async fn read(request: Request, server: &Server, client: &Client) -> Result<(Vec<u8>, Room), ApiError> {
    let limit = server.options.body_bytes;
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(ApiError::too_large(limit));
    }
    let peer = request.extensions().get::<Peer>().cloned();
    let (mut body, mut bytes) = (request.into_body().into_data_stream(), Vec::new());
    let mut room = client.room(server);
    let refused = room.refused();
    let all = async {
        while let Some(part) = body.next().await {
            let part = part.map_err(|e| ApiError::malformed(format!("The body could not be read: {e}")))?;
            if bytes.len() + part.len() > limit {
                return Err(ApiError::too_large(limit));
            }
            if bytes.len() + part.len() > SMALL {
                room.grow(part.len()).await;
            }
            bytes.extend_from_slice(&part);
        }
        Ok(())
    };
    tokio::select! {
        result = tokio::time::timeout(Duration::from_secs(SECONDS), all) => {
            result.unwrap_or(Err(ApiError::slow_body(SECONDS)))?;
        }
        () = refused => return Err(ApiError::no_room()),
    }
    room.complete();
    if let Some(Peer(connection)) = peer {
        connection.enter(Phase::Answering);
    }
    Ok((bytes, room))
}

/// Reads a request. Errors name line and column for invalid JSON, and the field for a wrong type.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if signs(bytes) > MAX_SIGNS {
        let message = format!("The body has more than {MAX_SIGNS} values; at most as many are taken.");
        return Err(ApiError::malformed(message));
    }
    let malformed = |e| ApiError::malformed(format!("The body is not valid JSON: {e}"));
    fields::read_value(serde_json::from_slice::<Value>(bytes).map_err(malformed)?)
}

/// How many commas, colons and opening brackets JSON has outside its texts.
fn signs(bytes: &[u8]) -> usize {
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

/// A response of JSON.
pub fn json(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_within_texts_do_not_count() {
        assert_eq!(signs(br#"{"a,[": ["x\",{:", 1]}"#), 4);
        let many = format!("[{}0]", "0,".repeat(MAX_SIGNS));
        assert!(parse::<Value>(many.as_bytes()).unwrap_err().message.contains("1048576 values"));
        assert!(parse::<Value>(format!("\"{}\"", ",".repeat(2 * MAX_SIGNS)).as_bytes()).is_ok());
    }
}
