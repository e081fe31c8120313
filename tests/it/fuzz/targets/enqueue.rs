//! Lines for `enqueue`: what is taken goes into the queue, and comes back as it was.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::delivery::egress::Policy;
use callback_dispatcher::domain::{
    Callback, CallbackId, FlatObject, Message, NewCallback, Timestamp, body,
};
use callback_dispatcher::store::sqlite::SqliteQueue;
use callback_dispatcher::store::{
    Claim, ClaimRequest, EndpointDue, EnqueueError, Queue as _, Unobserved,
};
use serde_json::{Map, Value};

/// `data` is what the command reads.
pub(crate) fn check(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let taken: Vec<NewCallback> = lines.filter_map(check_line).collect();
    if !taken.is_empty() {
        thread_local! {
            static ROWS: std::cell::RefCell<Option<Rows>> = const { std::cell::RefCell::new(None) };
        }
        ROWS.with_borrow_mut(|rows| {
            rows.take_if(|rows| rows.number > 20_000);
            rows.get_or_insert_with(Rows::new).check(taken);
        });
    }
}

/// The callback that a line is, if it is one: it says in the body what it said in the line.
pub(crate) fn check_line(line: &[u8]) -> Option<NewCallback> {
    let text = std::str::from_utf8(line).ok()?;
    let callback = match NewCallback::from_json_line(text) {
        Ok(callback) => callback,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let queued: Map<String, Value> =
        serde_json::from_str(text).expect("what was taken is an object");
    assert_eq!(queued["callBackUrl"], *callback.callback_url);
    let members = callback.message.members("1663738614280");
    let sent = body(&members, "a sign");
    let sent = FlatObject::parse(&sent).expect("what is sent is flat");
    let (status, success) = match callback.message {
        Message::Payment(_) => ("transStatus", "0"),
        Message::Refund(_) => ("tranStatus", "1"),
    };
    for (name, value) in &queued {
        let found = match name.as_str() {
            "kind" | "callBackUrl" => continue,
            "result" => {
                let code = sent.text(status).expect("the status is sent");
                assert_eq!(code == success, value == "success", "{text}");
                continue;
            }
            name => sent.text(name).expect("each member is sent"),
        };
        match value {
            Value::String(text) => assert_eq!(found, text, "{name}"),
            other => assert_eq!(found, other.to_string(), "{name}"),
        }
    }
    // Nothing is sent that was not queued, but what the attempt itself adds and texts left out.
    for (name, text) in sent.members() {
        let is_known = queued.contains_key(name) || ["timestamp", "sign", status].contains(&name);
        assert!(is_known || text.is_empty(), "{name}");
    }
    let url = Policy::default().check_url(&callback.callback_url);
    url.is_ok().then_some(callback)
}

/// A queue in a file.
pub(crate) struct Rows {
    runtime: tokio::runtime::Runtime,
    queue: SqliteQueue,
    number: usize,
    _folder: tempfile::TempDir,
}

impl Rows {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let queue = {
            let _inside = runtime.enter();
            let path = folder.path().join("queue.db");
            SqliteQueue::open(&path, "a test", Arc::new(Unobserved)).expect("a queue")
        };
        Self {
            runtime,
            queue,
            number: 0,
            _folder: folder,
        }
    }

    /// Queues all of them, but for those that the schema has a reason to refuse, and claims them.
    pub(crate) fn check(&mut self, mut callbacks: Vec<NewCallback>) {
        for callback in &mut callbacks {
            self.number += 1;
            self.make_unique(callback);
        }
        let ids = loop {
            let queued = self.queue.enqueue(callbacks.clone(), NOW);
            match self.block_on(queued) {
                Ok(ids) => break ids,
                Err(EnqueueError::Row { position, source }) => {
                    let refused = callbacks.remove(position);
                    assert!(may_be_refused(&refused), "{source}: {refused:?}");
                }
                Err(EnqueueError::Batch(error)) => panic!("{error}"),
            }
        };
        let mut found: Vec<Callback> = self.claim_all();
        found.sort_by_key(|callback| callback.id);
        let expected: Vec<Callback> = ids
            .into_iter()
            .zip(callbacks)
            .map(|(id, it): (CallbackId, NewCallback)| Callback {
                id,
                callback_url: it.callback_url,
                to_url: None,
                message: it.message,
            })
            .collect();
        assert_eq!(found, expected);
    }

    /// A result is queued once: the property is not about that.
    fn make_unique(&self, callback: &mut NewCallback) {
        let number = match &mut callback.message {
            Message::Payment(payment) => &mut payment.newpay_order_no,
            Message::Refund(refund) => &mut refund.newpay_refund_order_no,
        };
        *number = format!("{}-{number}", self.number);
    }

    fn claim_all(&self) -> Vec<Callback> {
        let survey = self.block_on(self.queue.survey(None, usize::from(u16::MAX)));
        let request = |due: EndpointDue| ClaimRequest {
            endpoint: due.endpoint,
            limit: usize::from(u16::MAX),
        };
        let due = survey.expect("endpoints").due;
        let claim = Claim {
            requests: due.into_iter().map(request).collect(),
            now: NOW,
            lease: Duration::from_secs(60),
        };
        let results = self.block_on(self.queue.claim(claim)).expect("a claim");
        let claimed = results.into_iter().flat_map(|result| result.callbacks);
        claimed
            .map(|claimed| *claimed.callback.expect("what was queued can be read"))
            .collect()
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_663_738_614_280);

/// What the schema refuses and the reader of lines lets pass: a URL with white space that the URL
/// standard takes away, and a needed text that begins with NUL, which is empty to SQLite.
fn may_be_refused(callback: &NewCallback) -> bool {
    let url = callback.callback_url.as_str();
    let is_bent = url.chars().any(|c| c <= ' ' || c == '\u{7f}' || c == '\\')
        || !url.to_ascii_lowercase().starts_with("https://")
        || url[8..].starts_with(['/', '?', '#', ':', '@']);
    let needed = match &callback.message {
        Message::Payment(it) => vec![&it.app_id, &it.order_no, &it.newpay_order_no],
        Message::Refund(it) => vec![
            &it.app_id,
            &it.order_no,
            &it.refund_order_no,
            &it.newpay_order_no,
        ],
    };
    is_bent || needed.iter().any(|text| text.starts_with('\0'))
}
