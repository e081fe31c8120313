//! What an answer, or the lack of one, says of its exchange and its connection.

use reqwest::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use reqwest::{Response, StatusCode};

use super::connector::{ends_along, ends_in};
use super::fault;
use super::progress::Ends;
use super::race::Broken;
use crate::domain::{Answer, CappedBody, Exchange, read_answer};

/// Whether the body has no length of its own: it ends when the connection does.
pub(super) fn ends_with_connection(response: &Response) -> bool {
    let headers = response.headers();
    !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING)
}

/// Whether a body is one whole JSON object.
pub(super) fn is_complete(body: &[u8]) -> bool {
    !matches!(read_answer(body), Answer::Unreadable(_))
}

/// Only an acknowledgement lets its connection be taken again. What some servers send later, after
/// an answer that refuses, would be read as the answer to the next request.
pub(super) fn is_acknowledged(exchange: &Exchange) -> bool {
    match exchange {
        Exchange::Answered { status, body, .. } => {
            (200..300).contains(status)
                && !body.oversized
                && matches!(read_answer(&body.bytes), Answer::Acknowledged)
        }
        Exchange::Failed(_) | Exchange::Blocked { .. } => false,
    }
}

/// The connection, if the other side gave it up: closed without an answer, or with a 408, by which
/// some servers end an idle connection (RFC 9110, 15.5.9). Either may cross the request.
pub(super) fn gave_up(answer: &Result<Response, Broken>) -> Option<Ends> {
    match answer {
        Err(Broken::Request(error)) if fault::is_closed(&**error) => ends_in(&**error),
        Ok(response) if response.status() == StatusCode::REQUEST_TIMEOUT => ends_along(response),
        _ => None,
    }
}

/// The ends of the connection that an answer, or an error, came along.
pub(super) fn ends_of_end(answer: &Result<Response, Broken>) -> Option<Ends> {
    match answer {
        Ok(response) => ends_along(response),
        Err(Broken::Request(error)) => ends_in(&**error),
        Err(Broken::ConnectDeadline) => None,
    }
}

/// Adds as much as the cap lets in, and notes if that is not all.
pub(super) fn add_capped(body: &mut CappedBody, chunk: &[u8], cap: usize) {
    let room = cap.saturating_sub(body.bytes.len());
    body.oversized = chunk.len() > room;
    body.bytes
        .extend_from_slice(&chunk[..chunk.len().min(room)]);
}
