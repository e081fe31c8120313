//! Passes what one dispatcher reports on to several observers.

use std::sync::Arc;

use crate::delivery::observer::{FinishedAttempt, Observer};
use crate::domain::Timestamp;

/// Tells each of its observers in turn, in their order.
#[derive(Clone, Debug, Default)]
pub struct Observers(Vec<Arc<dyn Observer>>);

impl Observers {
    /// Tells `observers`.
    pub const fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self(observers)
    }
}

impl Observer for Observers {
    fn attempt_finished(&self, finished: &FinishedAttempt<'_>) {
        for observer in &self.0 {
            observer.attempt_finished(finished);
        }
    }

    fn attempts_finished(&self, finished: &[FinishedAttempt<'_>]) {
        for observer in &self.0 {
            observer.attempts_finished(finished);
        }
    }

    fn in_flight(&self, attempts: usize) {
        for observer in &self.0 {
            observer.in_flight(attempts);
        }
    }

    fn own_outage(&self, is_on: bool) {
        for observer in &self.0 {
            observer.own_outage(is_on);
        }
    }

    fn learned_limits(&self, limits: &[usize]) {
        for observer in &self.0 {
            observer.learned_limits(limits);
        }
    }

    fn beat(&self, now: Timestamp) {
        for observer in &self.0 {
            observer.beat(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Notes {
        fn add(&self, note: String) {
            self.0.lock().expect("no test panics under it").push(note);
        }
    }

    impl Observer for Notes {
        fn attempt_finished(&self, finished: &FinishedAttempt<'_>) {
            self.add(format!("attempt {}", finished.id));
        }

        fn in_flight(&self, attempts: usize) {
            self.add(format!("in flight {attempts}"));
        }

        fn own_outage(&self, is_on: bool) {
            self.add(format!("own outage {is_on}"));
        }

        fn beat(&self, now: Timestamp) {
            self.add(format!("beat {}", now.as_millis()));
        }
    }

    #[test]
    fn each_hears_everything() {
        let notes = [Arc::new(Notes::default()), Arc::new(Notes::default())];
        let observers = Observers::new(vec![notes[0].clone(), notes[1].clone()]);
        observers.in_flight(3);
        observers.own_outage(true);
        observers.beat(Timestamp::from_millis(7));
        super::super::sample::with_refused(|finished| {
            observers.attempt_finished(finished);
        });
        for notes in notes {
            let heard = notes.0.lock().expect("no test panics under it");
            assert_eq!(
                *heard,
                ["in flight 3", "own outage true", "beat 7", "attempt 17"]
            );
        }
    }
}
