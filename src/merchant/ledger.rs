//! What the merchant remembers: how many POSTs, the newest of them, and how often each order came.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::received::{Order, Received};

/// The merchant's memory.
#[derive(Debug)]
pub(super) struct Ledger {
    received: AtomicUsize,
    /// Told after each POST.
    arrival: Notify,
    newest: Mutex<VecDeque<Received>>,
    /// How many POSTs are kept.
    remember: usize,
    /// POSTs so far by order. Grows with the orders, and only if failures are asked for.
    by_order: Mutex<HashMap<Order, u32>>,
}

impl Ledger {
    /// An empty one that keeps the newest `remember` POSTs.
    pub(super) fn new(remember: usize) -> Self {
        Self {
            received: AtomicUsize::new(0),
            arrival: Notify::new(),
            newest: Mutex::default(),
            remember,
            by_order: Mutex::default(),
        }
    }

    /// Counts a POST; `received` is what was read of it, if anything was to be.
    pub(super) fn note(&self, received: Option<Received>) {
        if let Some(received) = received.filter(|_| self.remember > 0) {
            let mut newest = lock(&self.newest);
            if newest.len() == self.remember {
                newest.pop_front();
            }
            newest.push_back(received);
        }
        self.received.fetch_add(1, Ordering::SeqCst);
        self.arrival.notify_waiters();
    }

    /// Counts a POST about `order`; returns how many came before.
    pub(super) fn count_order(&self, order: Order) -> u32 {
        let mut by_order = lock(&self.by_order);
        let count = by_order.entry(order).or_default();
        let before = *count;
        *count = before.saturating_add(1);
        before
    }

    /// How many POSTs there were.
    pub(super) fn count(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// The newest POSTs, oldest first.
    pub(super) fn newest(&self) -> Vec<Received> {
        lock(&self.newest).iter().cloned().collect()
    }

    /// Returns once there were `n` POSTs.
    pub(super) async fn wait_for(&self, n: usize) {
        loop {
            let arrival = self.arrival.notified();
            tokio::pin!(arrival);
            // Listens before it looks: a POST in between is not missed.
            arrival.as_mut().enable();
            if self.count() >= n {
                return;
            }
            arrival.await;
        }
    }
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
