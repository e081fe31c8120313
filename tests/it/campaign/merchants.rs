//! Merchants with a journal of their own: what arrived, whether its signature holds, and what was
//! answered. Nothing of the product is used here; the signature is computed by code of its own.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::secrets::HMAC;

/// How a merchant behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Acknowledges at once.
    Healthy,
    /// Acknowledges after this long at most.
    Slow(Duration),
    /// Answers, but never with an acknowledgement.
    Refusing,
    /// Closes the connection in place of an answer.
    Closing,
    /// Any of these.
    Fickle,
    /// Refuses each callback once, then as [`Behaviour::Slow`].
    Reluctant(Duration),
}

/// What a merchant answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing yet.
    None,
    Acknowledged,
    Refused,
    Status,
    Closed,
}

/// A POST that came.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    /// When it was read, in Unix milliseconds.
    pub(crate) came_at: i64,
    /// The row's number at NewPay, of the refund if it is one.
    pub(crate) number: String,
    /// The body's.
    pub(crate) timestamp: i64,
    pub(crate) sign: String,
    pub(crate) sign_holds: bool,
    pub(crate) body_sha256: String,
    /// The body's, but for `timestamp` and `sign`.
    pub(crate) members: Map<String, Value>,
    pub(crate) answer: Answer,
}

/// All POSTs in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    posts: Mutex<Vec<Post>>,
    refused: Mutex<HashSet<String>>,
    garbled: AtomicUsize,
}

impl Journal {
    pub(crate) fn posts(&self) -> MutexGuard<'_, Vec<Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// POSTs whose bodies were no messages.
    pub(crate) fn garbled(&self) -> usize {
        self.garbled.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self) -> usize {
        self.posts().len()
    }

    /// Whether it is the first time that `number` is refused.
    fn refuses(&self, number: &str) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(number.to_owned())
    }

    fn note(&self, post: Post) -> usize {
        let mut posts = self.posts();
        posts.push(post);
        posts.len() - 1
    }

    /// Noted before it is sent: what the dispatcher knows stands here.
    fn answered(&self, position: usize, answer: Answer) {
        self.posts()[position].answer = answer;
    }
}

/// A merchant on a port of its own; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Merchant {
    pub(crate) behaviour: Behaviour,
    pub(crate) url: String,
    listening: JoinHandle<()>,
}

impl Merchant {
    pub(crate) async fn start(behaviour: Behaviour, journal: Arc<Journal>) -> Self {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = bound.expect("a free port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The other side may die whenever it likes.
                tokio::spawn(serve(stream, behaviour, Arc::clone(&journal)));
            }
        });
        Self {
            behaviour,
            url: format!("http://{address}/callback"),
            listening,
        }
    }

    /// Whether each of its callbacks is delivered in the end.
    pub(crate) fn acknowledges(&self) -> bool {
        matches!(
            self.behaviour,
            Behaviour::Healthy | Behaviour::Slow(_) | Behaviour::Reluctant(_)
        )
    }
}

impl Drop for Merchant {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour, journal: Arc<Journal>) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let body = request(&mut stream, &mut read).await?;
        let Some(post) = post(&body) else {
            journal.garbled.fetch_add(1, Ordering::SeqCst);
            return None;
        };
        // Differs from attempt to attempt, and is the same for the same attempt.
        let chance = post.sign.bytes().map(u64::from).sum::<u64>();
        let refuses = matches!(behaviour, Behaviour::Reluctant(_)) && journal.refuses(&post.number);
        let position = journal.note(post);
        let answer = match behaviour {
            Behaviour::Healthy => Answer::Acknowledged,
            Behaviour::Slow(at_most) | Behaviour::Reluctant(at_most) => {
                tokio::time::sleep(at_most * u32::try_from(chance % 8).ok()? / 7).await;
                match refuses {
                    true => Answer::Refused,
                    false => Answer::Acknowledged,
                }
            }
            Behaviour::Refusing => Answer::Refused,
            Behaviour::Closing => Answer::Closed,
            Behaviour::Fickle => [
                Answer::Acknowledged,
                Answer::Refused,
                Answer::Status,
                Answer::Closed,
            ][usize::try_from(chance % 4).ok()?],
        };
        journal.answered(position, answer);
        let (status, body) = match answer {
            Answer::Acknowledged => ("200 OK", r#"{"transResult":"SUCCESS"}"#),
            Answer::Refused => ("200 OK", r#"{"transResult":"FAIL"}"#),
            Answer::Status => ("503 Service Unavailable", ""),
            Answer::Closed | Answer::None => return None,
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// The body of the next whole request; `None` when there is none.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.split("content-length:").nth(1)?;
            let length: usize = length.lines().next()?.trim().parse().ok()?;
            let whole = end + 4 + length;
            if read.len() >= whole {
                let body = read[end + 4..whole].to_vec();
                read.drain(..whole);
                return Some(body);
            }
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

/// `None` if it is no message.
fn post(body: &[u8]) -> Option<Post> {
    let mut members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let Some(Value::String(sign)) = members.remove("sign") else {
        return None;
    };
    let sign_holds = sign == signature(&members);
    let Some(Value::String(timestamp)) = members.remove("timestamp") else {
        return None;
    };
    let refund = members.get("newpayRefundOrderNo");
    let number = refund.or_else(|| members.get("newpayOrderNo"))?;
    Some(Post {
        came_at: now(),
        number: number.as_str()?.to_owned(),
        timestamp: timestamp.parse().ok()?,
        sign,
        sign_holds,
        body_sha256: hex::encode(digest::digest(&digest::SHA256, body)),
        members,
        answer: Answer::None,
    })
}

/// The clock of this host, which the dispatchers share.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing of the product is used here"
)]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("before the year 292 million")
}

/// As the document has it: `name=value`, sorted by name, joined with `&`, HMAC-SHA256, Base64.
fn signature(members: &Map<String, Value>) -> String {
    let mut pairs: Vec<(&String, String)> = members
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text.clone()),
            other => (name, other.to_string()),
        })
        .collect();
    pairs.sort();
    let joined: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, HMAC.as_bytes());
    BASE64_STANDARD.encode(hmac::sign(&key, joined.join("&").as_bytes()))
}

#[test]
fn the_signature_is_that_of_the_document() {
    let members = serde_json::json!({
        "appId": "6", "currency": "LAK", "newpayOrderNo": "202209210000006950",
        "newpayRefundOrderNo": "202209210000006951", "orderNo": "202209067002502223",
        "payMethod": 1, "refundOrderAmt": "123.00", "refundOrderNo": "202209067002502232",
        "timestamp": "1663738614280", "tranStatus": 1, "transInfo": "Transaction Success",
    });
    assert_eq!(
        signature(members.as_object().expect("an object")),
        "3lf/50YGa04ep5kxUKKCwAzvh8qnbCx8UzHBVm91ciU="
    );
}
