//! What the merchant can answer.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use thiserror::Error;

use super::Received;

/// The acknowledgement, as the document has it.
const ACK: &str = r#"{"transResult":"SUCCESS"}"#;

/// A readable answer that is no acknowledgement.
const REFUSAL: &str = r#"{"transResult":"FAIL"}"#;

/// What a misrouted request gets in practice.
const LOGIN_PAGE: &str = "<!DOCTYPE html><html><title>Log in</title><p>Please log in.</p></html>";

/// How a POST is answered. The text form is that of `--answer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `ack`: 200 and `{"transResult":"SUCCESS"}`.
    Ack,
    /// `refuse`: 200 and `{"transResult":"FAIL"}`.
    Refuse,
    /// `hang`: the request is read and never answered; the connection stays open until the
    /// merchant stops.
    Hang,
    /// `status:N`: this status, 200 to 599, with the body of `ack`.
    Status(u16),
    /// `body:TEXT`: 200 and this body, called JSON.
    Body(String),
    /// `html`: 200 and a login page.
    Html,
    /// `empty`: 200 and no body.
    Empty,
    /// `close`: the connection ends without a byte of an answer.
    Close,
    /// `slow:DURATION`: `ack`, this long after the request was read.
    Slow(Duration),
    /// `redirect:URL`: 302 to there.
    Redirect(String),
}

/// A text that is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "answer {found:?} is unknown{fault}; use ack, refuse, hang, status:N (200 to 599), body:TEXT, \
     html, empty, close, slow:DURATION (as in slow:3s) or redirect:URL"
)]
pub struct InvalidAnswer {
    found: String,
    fault: String,
}

impl FromStr for Answer {
    type Err = InvalidAnswer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |fault: String| InvalidAnswer {
            found: text.to_owned(),
            fault,
        };
        let (word, value) = match text.split_once(':') {
            Some((word, value)) => (word, Some(value)),
            None => (text, None),
        };
        match (word, value) {
            ("ack", None) => Ok(Self::Ack),
            ("refuse", None) => Ok(Self::Refuse),
            ("hang", None) => Ok(Self::Hang),
            ("html", None) => Ok(Self::Html),
            ("empty", None) => Ok(Self::Empty),
            ("close", None) => Ok(Self::Close),
            ("status", Some(value)) => value
                .parse()
                .ok()
                .filter(|status| (200..600).contains(status))
                .map(Self::Status)
                .ok_or_else(|| invalid(format!(" ({value:?} is no final status)"))),
            ("body", Some(value)) => Ok(Self::Body(value.to_owned())),
            ("slow", Some(value)) => humantime::parse_duration(value)
                .map(Self::Slow)
                .map_err(|error| invalid(format!(" ({error})"))),
            ("redirect", Some(value)) if HeaderValue::from_str(value).is_ok() => {
                Ok(Self::Redirect(value.to_owned()))
            }
            _ => Err(invalid(String::new())),
        }
    }
}

/// The text form, as the journal has it.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ack => f.write_str("ack"),
            Self::Refuse => f.write_str("refuse"),
            Self::Hang => f.write_str("hang"),
            Self::Status(status) => write!(f, "status:{status}"),
            Self::Body(text) => write!(f, "body:{text}"),
            Self::Html => f.write_str("html"),
            Self::Empty => f.write_str("empty"),
            Self::Close => f.write_str("close"),
            Self::Slow(wait) => write!(f, "slow:{}", humantime::format_duration(*wait)),
            Self::Redirect(url) => write!(f, "redirect:{url}"),
        }
    }
}

/// The connection is to end without an answer.
#[derive(Clone, Copy, Debug, Error)]
#[error("closed on purpose")]
pub(super) struct Closed;

impl Answer {
    /// Waits as long as this answer takes, and gives it.
    pub(super) async fn give(self) -> Result<Response<Full<Bytes>>, Closed> {
        Ok(match self {
            Self::Ack => json(StatusCode::OK, Bytes::from_static(ACK.as_bytes())),
            Self::Refuse => json(StatusCode::OK, Bytes::from_static(REFUSAL.as_bytes())),
            Self::Hang => std::future::pending().await,
            Self::Status(status) => {
                // Only a scripted answer can hold one that is none.
                let status =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                json(status, Bytes::from_static(ACK.as_bytes()))
            }
            Self::Body(text) => json(StatusCode::OK, text.into()),
            Self::Html => {
                let mut response = Response::new(Bytes::from_static(LOGIN_PAGE.as_bytes()).into());
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, html);
                response
            }
            Self::Empty => Response::new(Full::default()),
            Self::Close => return Err(Closed),
            Self::Slow(wait) => {
                tokio::time::sleep(wait).await;
                json(StatusCode::OK, Bytes::from_static(ACK.as_bytes()))
            }
            Self::Redirect(url) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::FOUND;
                if let Ok(url) = HeaderValue::try_from(url) {
                    response.headers_mut().insert(LOCATION, url);
                }
                response
            }
        })
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// What decides the answer.
#[derive(Clone)]
pub enum Script {
    /// Every POST gets the same.
    Always(Answer),
    /// Each POST is looked at.
    Each(Arc<dyn Fn(&Received) -> Answer + Send + Sync>),
}

impl Script {
    /// Lets `decide` choose the answer to each POST.
    pub fn each(decide: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::Each(Arc::new(decide))
    }
}

impl From<Answer> for Script {
    fn from(answer: Answer) -> Self {
        Self::Always(answer)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always(answer) => write!(f, "Always({answer:?})"),
            Self::Each(_) => f.write_str("Each(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_goes_both_ways() {
        for (text, answer) in [
            ("ack", Answer::Ack),
            ("refuse", Answer::Refuse),
            ("hang", Answer::Hang),
            ("status:503", Answer::Status(503)),
            ("body:{\"a\":1}", Answer::Body("{\"a\":1}".to_owned())),
            ("body:", Answer::Body(String::new())),
            ("html", Answer::Html),
            ("empty", Answer::Empty),
            ("close", Answer::Close),
            ("slow:1s 500ms", Answer::Slow(Duration::from_millis(1_500))),
            (
                "redirect:https://a.example:1/b",
                Answer::Redirect("https://a.example:1/b".to_owned()),
            ),
        ] {
            assert_eq!(text.parse(), Ok(answer.clone()));
            assert_eq!(answer.to_string(), text);
        }
    }

    #[test]
    fn errors_list_the_choices() {
        for text in [
            "",
            "ACK",
            "ack:",
            "status",
            "status:",
            "status:99",
            "status:100",
            "status:600",
            "slow",
            "slow:",
            "slow:soon",
            "redirect",
            "redirect:a\nb",
        ] {
            let error = text.parse::<Answer>().expect_err(text).to_string();
            assert!(error.contains("use ack, refuse, hang, status:N"), "{error}");
        }
    }
}
