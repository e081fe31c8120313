//! Which callbacks a command is about, as far as no index tells.
//!
//! A look goes along the ids, so that where it stopped is one number, and ends after so many rows,
//! so that no reading is long whatever was asked for.

use std::collections::BTreeMap;

use super::{Command, Disposition, NewCommand, StoredState};
use crate::domain::{CallbackId, Timestamp};
use crate::store::Origin;

/// Callbacks looked at in one look.
pub(in crate::store) const ROWS_MAX: usize = 10_000;

/// Callbacks that one transaction does something with.
const ACTS_MAX: usize = 500;

/// A part of what one look has brought, for one transaction.
#[derive(Debug)]
pub(in crate::store) struct Found {
    /// Up to here everything had been looked at before.
    pub(in crate::store) after: CallbackId,
    /// The highest id at the beginning of the command.
    looks_up_to: CallbackId,
    /// Everything up to here has been looked at.
    looked_up_to: CallbackId,
    /// Those that there is something to do with.
    pub(in crate::store) acts: Vec<CallbackId>,
    /// Those that stay as they are, by the reason.
    skipped: BTreeMap<&'static str, u64>,
}

impl Found {
    /// Nothing, from beyond this id.
    const fn after(after: CallbackId, looks_up_to: CallbackId) -> Self {
        Self {
            after,
            looks_up_to,
            looked_up_to: after,
            acts: Vec::new(),
            skipped: BTreeMap::new(),
        }
    }

    /// Counts what was found; what is done with it is counted by whoever does it.
    pub(in crate::store) fn count(&self, command: &mut Command) {
        for (why, callbacks) in &self.skipped {
            command.selected += callbacks;
            command.skip(why, *callbacks);
        }
        let acts = u64::try_from(self.acts.len()).unwrap_or(u64::MAX);
        command.selected += acts;
        if command.request.dry_run {
            command.done += acts;
        }
        command.looks_up_to = Some(self.looks_up_to);
        command.looked_up_to = self.looked_up_to;
    }
}

/// What selectors are compared with. Bytes: a text in a database may be no UTF-8.
#[derive(Debug)]
pub(in crate::store) struct Seen<'a> {
    pub(in crate::store) state: &'a [u8],
    pub(in crate::store) origin: &'a [u8],
    pub(in crate::store) app_id: &'a [u8],
    pub(in crate::store) created_at: Timestamp,
}

/// A look at callbacks in the order of their ids.
#[derive(Debug)]
pub(in crate::store) struct Look<'a> {
    request: &'a NewCommand,
    origin: Option<Origin>,
    looked_at: usize,
    parts: Vec<Found>,
    found: Found,
}

impl<'a> Look<'a> {
    /// From where `command` has come to.
    pub(in crate::store) fn begin(command: &'a Command, looks_up_to: CallbackId) -> Self {
        let origin = command.request.selectors.origin.as_deref();
        Self {
            request: &command.request,
            origin: origin.and_then(Origin::of_url),
            looked_at: 0,
            parts: Vec::new(),
            found: Found::after(command.looks_after(), looks_up_to),
        }
    }

    /// Whether all selectors hold that no index has seen to.
    pub(in crate::store) fn selects(&self, seen: &Seen<'_>) -> bool {
        let is = |wanted: Option<&[u8]>, text| wanted.is_none_or(|wanted| wanted == text);
        let selectors = &self.request.selectors;
        is(
            selectors.state.map(|state| state.as_str().as_bytes()),
            seen.state,
        ) && is(self.origin.as_ref().map(Origin::as_bytes), seen.origin)
            && is(selectors.app_id.as_deref().map(str::as_bytes), seen.app_id)
            && selectors.since.is_none_or(|since| seen.created_at >= since)
            && selectors.until.is_none_or(|until| seen.created_at < until)
    }

    /// Takes the next callback, with what would become of it if it is selected.
    pub(in crate::store) fn took(&mut self, id: CallbackId, disposition: Option<Disposition>) {
        self.looked_at += 1;
        match disposition {
            Some(Disposition::Act | Disposition::Await) => self.found.acts.push(id),
            Some(Disposition::Skip(why)) => *self.found.skipped.entry(why).or_default() += 1,
            None => {}
        }
        self.found.looked_up_to = id;
        // A dry run only counts.
        if self.found.acts.len() == ACTS_MAX && !self.request.dry_run {
            let next = Found::after(id, self.found.looks_up_to);
            self.parts.push(std::mem::replace(&mut self.found, next));
        }
    }

    /// What was found: one part at least, and the parts in order.
    pub(in crate::store) fn end(mut self) -> Vec<Found> {
        if self.looked_at < ROWS_MAX {
            self.found.looked_up_to = self.found.looks_up_to;
        }
        self.parts.push(self.found);
        self.parts
    }
}

/// What the column `state` says.
pub(in crate::store) fn stored_state(text: &[u8]) -> StoredState {
    match text {
        b"delivered" => StoredState::Delivered,
        b"exhausted" => StoredState::Exhausted,
        b"cancelled" => StoredState::Cancelled,
        _ => StoredState::Pending,
    }
}
