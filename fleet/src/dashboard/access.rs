//! Who may see the pages.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const POLICY: &str = "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; script-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Longest question of an address, in bytes.
const MOST_QUERY: usize = 8 << 10;

/// The rule.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// Digest of the token: digests are compared, so that timing tells nothing of the token.
    token: Option<[u8; 32]>,
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl Access {
    pub(super) fn new(token: Option<String>) -> Self {
        Self { token: token.map(|token| digest(&token)) }
    }

    fn permits(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        match self.token {
            Some(token) => {
                let given = text(header::AUTHORIZATION).unwrap_or_default();
                let bearer = given.strip_prefix("Bearer ").is_some_and(|given| digest(given) == token);
                bearer || basic_password(given).is_some_and(|given| digest(&given) == token)
            }
            None => text(header::HOST).is_some_and(is_loopback_name),
        }
    }
}

/// The password of HTTP's basic authentication, which browsers ask for by themselves.
fn basic_password(value: &str) -> Option<String> {
    let mut bits = 0u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for c in value.strip_prefix("Basic ")?.trim_end_matches('=').bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// Whether a Host header names this machine's loopback address.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "[::1]")
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Refuses what no browser sends: more than one Host, of which another program in between may have read the other,
/// and questions longer than any form of ours makes them.
fn is_odd(request: &Request) -> Option<&'static str> {
    if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
        return Some("a request names one Host\n");
    }
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    if request.uri().authority().is_some_and(|authority| Some(authority.as_str()) != host) {
        return Some("a request's address and its Host name the same place\n");
    }
    let is_long = request.uri().query().is_some_and(|query| query.len() > MOST_QUERY);
    is_long.then_some("this filter is too long; no board or model has a name of thousands of characters\n")
}

/// Says on every answer, also on a refusal, what a browser may do with it.
pub(super) async fn guarded(request: Request, next: Next) -> Response {
    let mut response = match is_odd(&request) {
        Some(why) => (StatusCode::BAD_REQUEST, why).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Lets a request through.
pub(super) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    if !access.permits(request.headers()) {
        let (code, text) = match access.token {
            Some(_) => {
                (StatusCode::UNAUTHORIZED, "a token is needed: as the password, or as a bearer token\n")
            }
            None => (StatusCode::FORBIDDEN, "open this page as localhost or 127.0.0.1\n"),
        };
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"clipmark-fleet\"")];
        return (code, ask, text).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn without_a_token_only_loopback_names_are_served() {
        let access = Access::new(None);
        for (host, permitted) in [
            ("127.0.0.1:8080", true),
            ("localhost", true),
            ("[::1]:80", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(access.permits(&headers(header::HOST, host)), permitted, "{host}");
        }
        assert!(!access.permits(&HeaderMap::new()));
    }

    #[test]
    fn a_token_is_taken_as_bearer_or_as_password_and_nothing_else_is() {
        let access = Access::new(Some("s3cret".into()));
        for (value, permitted) in [
            ("Bearer s3cret", true),
            // `operator:s3cret`
            ("Basic b3BlcmF0b3I6czNjcmV0", true),
            ("Bearer s3cre", false),
            ("Basic ????", false),
            ("s3cret", false),
        ] {
            assert_eq!(access.permits(&headers(header::AUTHORIZATION, value)), permitted, "{value}");
        }
        assert!(!access.permits(&headers(header::HOST, "localhost")));
    }
}
