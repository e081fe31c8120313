//! A connection that is lent to one caller, and the deadline of what it is asked.
//!
//! An answer may never come although the connection stands: a proxy or pooler holds it open, or the
//! server hangs. So each call has a deadline of ours, and a connection that owes an answer is thrown
//! away, never lent again: the next caller would wait for the same answer.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Client;

use crate::store::StoreError;

/// See the module.
#[derive(Debug)]
pub(in crate::store::postgres) struct Lent {
    /// Taken only when this is dropped.
    client: Option<Client>,
    call: Call,
}

/// What a connection is asked: one statement or a transaction.
#[derive(Clone, Debug)]
pub(in crate::store::postgres) struct Call {
    /// Whether an answer is owed.
    is_open: Arc<AtomicBool>,
    deadline: Duration,
}

impl Lent {
    pub(super) fn new(client: Client, deadline: Duration) -> Self {
        let call = Call {
            is_open: Arc::default(),
            deadline,
        };
        Self {
            client: Some(client),
            call,
        }
    }

    /// A call that may borrow this connection mutably.
    pub(in crate::store::postgres) fn call(&self) -> Call {
        self.call.clone()
    }

    /// A call that may take longer than others of this pool.
    pub(in crate::store::postgres) fn slow_call(&self, deadline: Duration) -> Call {
        Call {
            deadline,
            ..self.call()
        }
    }

    /// Asks; see [`Call::within`].
    pub(in crate::store::postgres) async fn within<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError>
    where
        StoreError: From<E>,
    {
        self.call.within(work).await
    }
}

impl Call {
    /// Asks, and waits until the deadline for the answer. If this is dropped before, the connection
    /// is thrown away as well.
    pub(in crate::store::postgres) async fn within<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError>
    where
        StoreError: From<E>,
    {
        self.is_open.store(true, Ordering::Relaxed);
        match tokio::time::timeout(self.deadline, work).await {
            Ok(answer) => {
                self.is_open.store(false, Ordering::Relaxed);
                Ok(answer?)
            }
            Err(_) => Err(no_answer(self.deadline)),
        }
    }
}

/// Nothing was heard for this long.
pub(super) fn no_answer(deadline: Duration) -> StoreError {
    StoreError::Unreachable(format!(
        "no answer within {} s; the connection is given up",
        deadline.as_secs()
    ))
}

impl Deref for Lent {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect("it is taken by drop alone")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("it is taken by drop alone")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let owes_an_answer = self.call.is_open.load(Ordering::Relaxed);
        if let Some(client) = self.client.take()
            && owes_an_answer
        {
            drop(Client::take(client));
        }
    }
}
