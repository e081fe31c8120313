//! HTTP spoken by hand, so that a test may send what no browser would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::TOKEN;
use crate::support::waiting::in_time;

/// Somebody with a cookie, perhaps.
pub(super) struct Client {
    address: SocketAddr,
    cookie: Option<String>,
}

/// What the console said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// The value of a header; empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.next().map_or("", |(_, value)| value)
    }

    /// The value of the form's hidden field `csrf`.
    #[track_caller]
    pub(super) fn csrf(&self) -> String {
        let marker = "name=\"csrf\" value=\"";
        let (_, rest) = self.body.split_once(marker).expect("a form with a session");
        rest.split('"').next().expect("a value").to_owned()
    }
}

impl Client {
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            cookie: None,
        }
    }

    /// A request with exactly these headers, but for the length of its body.
    pub(super) async fn raw(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{line} HTTP/1.1\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("it listens");
            stream
                .write_all(request.as_bytes())
                .await
                .expect("it reads");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.expect("it answers");
            String::from_utf8(answer).expect("UTF-8")
        };
        let answer = in_time(line, exchange).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Answer {
            status: status.expect("a status"),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// A request as a browser on one of our own pages makes it; `changes` replace or add headers,
    /// and an empty value leaves one out.
    pub(super) async fn ask(&self, line: &str, changes: &[(&str, &str)], body: &str) -> Answer {
        let host = self.address.to_string();
        let origin = format!("http://{host}");
        let mut headers = vec![("Host", host.as_str()), ("Sec-Fetch-Site", "same-origin")];
        if line.starts_with("POST") {
            headers.push(("Origin", &origin));
            headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        let cookie = self.cookie.clone();
        headers.extend(cookie.as_deref().map(|cookie| ("Cookie", cookie)));
        headers.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        headers.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        self.raw(line, &headers, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    /// Sends a form.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(&format!("POST {path}"), &[], &form(fields)).await
    }

    /// Tries to sign in with `token`.
    pub(super) async fn sign_in_with(&mut self, token: &str) -> Answer {
        let fields = [
            ("name", "night shift"),
            ("token", token),
            ("next", "/console"),
        ];
        let answer = self.post("/console/sign-in", &fields).await;
        let cookie = answer.header("set-cookie").split(';').next();
        if answer.status == 303 {
            self.cookie = cookie.map(str::to_owned);
        }
        answer
    }

    /// Signs in.
    pub(super) async fn signed_in(mut self) -> Self {
        let answer = self.sign_in_with(TOKEN).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        self
    }

    /// Sends a form of an operator's session.
    pub(super) async fn act(&self, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.get("/console").await.csrf();
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.post("/console/act", &all).await
    }
}

/// A form's content.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
