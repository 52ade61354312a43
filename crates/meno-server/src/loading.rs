//! Responses while the model is loading: status 503 with `Retry-After`. Scripts, load balancers and browsers can
//! connect immediately and see when the server is ready.

use crate::body;
use crate::error::ApiError;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tower::ServiceExt;

/// The state of loading: the progress, and then the router of the server.
#[derive(Clone, Debug)]
pub struct Loading {
    ready: Arc<OnceLock<Router>>,
    /// Number of values read, and of all values.
    read: Arc<[AtomicU64; 2]>,
    since: Instant,
}

impl Default for Loading {
    fn default() -> Self {
        Loading { ready: Arc::default(), read: Arc::default(), since: Instant::now() }
    }
}

impl Loading {
    /// Reports progress: how many of the model's values have been read.
    pub fn progress(&self, read: usize, of: usize) {
        self.read[0].store(read as u64, Ordering::Relaxed);
        self.read[1].store(of as u64, Ordering::Relaxed);
    }

    /// Ends loading: from now on `app` handles all requests.
    pub fn ready(&self, app: Router) {
        let _ = self.ready.set(app); // set once
    }

    /// Returns true if loading has ended.
    pub fn is_ready(&self) -> bool {
        self.ready.get().is_some()
    }

    /// Returns a router that passes requests to the server once it is ready.
    pub fn routes(&self) -> Router {
        let loading = self.clone();
        Router::new().fallback(async move |request: Request| match loading.ready.get() {
            Some(app) => app.clone().oneshot(request).await.into_response(),
            None => loading.response(&request),
        })
    }

    /// The fraction read, from 0 to 1.
    fn share(&self) -> f64 {
        let [read, of] = [0, 1].map(|i| self.read[i].load(Ordering::Relaxed) as f64);
        if of > 0.0 { (read / of).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Estimates the seconds until the server is ready.
    fn retry_after(&self) -> u64 {
        let (share, seconds) = (self.share(), self.since.elapsed().as_secs_f64());
        let left = if share > 0.05 { seconds * (1.0 - share) / share } else { 2.0 };
        left.ceil().clamp(1.0, 60.0) as u64
    }

    fn response(&self, request: &Request) -> Response {
        let (seconds, percent) = (self.retry_after(), (100.0 * self.share()).floor());
        if request.uri().path() == "/health" {
            let mut response = body::json(&json!({ "status": "loading" }));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            return response;
        }
        if request.uri().path() == "/" && *request.method() == Method::GET {
            return page(percent, seconds);
        }
        ApiError::loading(percent, seconds).into_response()
    }
}

/// Returns a page that reloads itself.
fn page(percent: f64, seconds: u64) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"1\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Meno</title>\
         <h1>Meno</h1><p>The model is being loaded: {percent} %. This page reloads by itself until it is ready.</p>\
         </html>\n"
    );
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::RETRY_AFTER, seconds.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;

    async fn ask(app: &Router, method: &str, path: &str) -> (StatusCode, Option<String>, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let retry = response.headers().get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, retry, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn requests_get_503_until_the_model_is_loaded() {
        let loading = Loading::default();
        let app = loading.routes();
        loading.progress(2, 5);
        let (status, retry, body) = ask(&app, "GET", "/health").await;
        assert_eq!((status.as_u16(), body.as_str()), (503, r#"{"status":"loading"}"#));
        assert!(retry.is_some());
        let (status, retry, body) = ask(&app, "POST", "/v1/chat/completions").await;
        let error: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status.as_u16(), error["error"]["code"].as_str()), (503, Some("model_loading")), "{body}");
        assert!(error["error"]["message"].as_str().unwrap().contains("40 %") && retry.is_some(), "{body}");
        let (status, _, body) = ask(&app, "GET", "/").await;
        assert!(status == 503 && body.contains("40 %") && body.contains("refresh"), "{body}");
        assert!(!loading.is_ready());
        loading.ready(Router::new().route("/health", get(async || "ok")));
        assert!(loading.is_ready());
        let (status, retry, body) = ask(&app, "GET", "/health").await;
        assert_eq!((status.as_u16(), retry, body.as_str()), (200, None, "ok"));
        assert_eq!(ask(&app, "GET", "/v1/models").await.0.as_u16(), 404);
    }
}
