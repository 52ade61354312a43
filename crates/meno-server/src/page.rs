//! The chat page: static files embedded in the binary, with security headers.
//!
//! The content security policy lets the page load only its own files and connect only to its own server. It forbids
//! inline scripts and turning text into markup (`require-trusted-types-for`), so a model's output can never run as
//! code.

use crate::error::ApiError;
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::hash::{DefaultHasher, Hash, Hasher};

macro_rules! files {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../web/", $name)))),*] };
}

/// The paths and contents of the files in `web/`.
const FILES: [(&str, &str); 73] = files![
    "app/actions.js",
    "app/answer-stream.js",
    "app/answer.js",
    "app/answers.js",
    "app/api.js",
    "app/attachments.js",
    "app/chat-actions.js",
    "app/chat-files.js",
    "app/chat-search.js",
    "app/chat.js",
    "app/clipboard.js",
    "app/composer.js",
    "app/conversations.js",
    "app/database.js",
    "app/dom.js",
    "app/events.js",
    "app/file-actions.js",
    "app/format.js",
    "app/header.js",
    "app/icons.js",
    "app/main.js",
    "app/merge.js",
    "app/message-actions.js",
    "app/message-buttons.js",
    "app/message-list.js",
    "app/models.js",
    "app/notifications.js",
    "app/page.js",
    "app/question.js",
    "app/recovery.js",
    "app/redraw.js",
    "app/scroll.js",
    "app/settings-actions.js",
    "app/settings-dialog.js",
    "app/settings-form.js",
    "app/settings.js",
    "app/sidebar.js",
    "app/sse.js",
    "app/state.js",
    "app/stats.js",
    "app/suggestions.js",
    "app/tabs.js",
    "app/text-cache.js",
    "app/theme.js",
    "app/web-storage.js",
    "app/welcome.js",
    "icon.svg",
    "index.html",
    "markdown/block-continuation.js",
    "markdown/block-ends.js",
    "markdown/block-starts.js",
    "markdown/blocks.js",
    "markdown/emphasis.js",
    "markdown/entities.js",
    "markdown/highlight.js",
    "markdown/inline.js",
    "markdown/languages.js",
    "markdown/line.js",
    "markdown/links.js",
    "markdown/markdown.js",
    "markdown/render-blocks.js",
    "markdown/tables.js",
    "math/atoms.js",
    "math/commands.js",
    "math/environments.js",
    "math/font-fallback.js",
    "math/math.js",
    "math/parser.js",
    "math/symbols.js",
    "math/tokenizer.js",
    "style.css",
    "text.css",
    "vnode.js",
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Returns the routes: `/` is the page, `/page/PATH` its files. They need no API key; the API that the page calls does.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| send("index.html", &headers)))
        .route("/page/{*path}", get(async |Path(path): Path<String>, headers: HeaderMap| send(&path, &headers)))
}

fn send(name: &str, request: &HeaderMap) -> Response {
    let Some((name, text)) = FILES.iter().find(|(known, _)| *known == name) else {
        return ApiError::no_route("GET", &format!("/page/{name}")).into_response();
    };
    let tag = etag(text);
    let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let fresh = known.flat_map(|v| v.split(',')).any(|t| t.trim().trim_start_matches("W/") == tag || t.trim() == "*");
    let mut response = if fresh { StatusCode::NOT_MODIFIED.into_response() } else { text.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers
        .insert(header::ETAG, HeaderValue::from_str(&tag).expect("invariant: a tag is hexadecimal digits in quotes"));
    let fixed: [(HeaderName, &'static str); 5] = [
        // Otherwise another version of Meno on the same port would run with cached files of the previous one.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

fn etag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        other => unreachable!("invariant: no file of the page ends in {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use std::collections::BTreeSet;
    use tower::ServiceExt;

    async fn get(path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let response = routes::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_page_and_all_modules_it_imports_are_served() {
        let (status, headers, page) = get("/", None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(page.contains("<title>Meno</title>"));
        let named = page.split('"').filter(|s| s.starts_with("page/"));
        let mut wanted: BTreeSet<String> = named.map(|s| format!("/{s}")).collect();
        assert!(wanted.len() >= 5, "{wanted:?}");
        // The imports of the modules.
        for (name, text) in FILES.iter().filter(|(name, _)| name.ends_with(".js")) {
            let folder = name.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
            let imports = text.lines().filter(|l| l.starts_with("import ")).filter_map(|l| l.split('"').nth(1));
            wanted.extend(imports.map(|module| match module.strip_prefix("../") {
                Some(above) => format!("/page/{above}"),
                None => format!("/page/{folder}{}", module.trim_start_matches("./")),
            }));
        }
        for path in wanted {
            let (status, headers, _) = get(&path, None).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert!(!headers[header::CONTENT_TYPE].is_empty(), "{path}");
        }
    }

    #[test]
    fn every_file_in_web_is_embedded() {
        fn files(folder: &std::path::Path, prefix: &str) -> Vec<String> {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            let named = entries.map(|e| (e.path(), format!("{prefix}{}", e.file_name().to_str().unwrap())));
            named
                .flat_map(|(path, name)| if path.is_dir() { files(&path, &format!("{name}/")) } else { vec![name] })
                .collect()
        }
        let there: BTreeSet<String> =
            files(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/web")), "").into_iter().collect();
        assert_eq!(there, FILES.iter().map(|(name, _)| (*name).to_owned()).collect());
    }

    #[tokio::test]
    async fn a_cached_file_is_not_sent_again() {
        let (_, headers, text) = get("/page/app/main.js", None).await;
        let tag = headers[header::ETAG].to_str().unwrap();
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        assert!(!text.is_empty());
        for asked in [tag.to_owned(), format!("\"other\", W/{tag}"), "*".into()] {
            let (status, headers, text) = get("/page/app/main.js", Some(&asked)).await;
            assert_eq!((status, text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{asked}");
            assert_eq!(headers[header::ETAG], tag);
        }
        assert_eq!(get("/page/app/main.js", Some("\"other\"")).await.0, StatusCode::OK);
        assert_ne!(get("/page/app/state.js", None).await.1[header::ETAG], tag);
    }

    #[tokio::test]
    async fn the_policy_forbids_everything_from_outside() {
        for path in ["/", "/page/app/main.js", "/page/style.css"] {
            let (_, headers, _) = get(path, None).await;
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'"), "{path}");
            assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
        // No file names an outside address or turns text into markup.
        for (name, text) in FILES {
            for bad in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "onclick=\"", "style=\""]
            {
                assert!(!text.contains(bad), "{name} holds {bad}");
            }
            let addresses = text.split("http").skip(1).filter(|s| s.starts_with("://") || s.starts_with("s://"));
            for address in addresses.filter(|a| !a.trim_start_matches('s').starts_with("://www.w3.org/")) {
                assert!(name == "markdown/links.js", "{name} names http{}", &address[..address.len().min(40)]);
            }
        }
    }

    #[tokio::test]
    async fn other_paths_are_not_found() {
        for path in [
            "/page/none.js",
            "/page/..%2FCargo.toml",
            "/page/app/../index.html",
            "/page/%2e%2e",
            "/page/app",
            "/page/app/main.js%00",
        ] {
            let (status, _, text) = get(path, None).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert!(text.contains("unknown_url"), "{text}");
        }
    }
}
