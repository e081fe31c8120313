//! Texts that make a signature ambiguous.
//!
//! The canonical form joins `name=value` with `&` and escapes nothing (the contract, section 2). A text that
//! holds `&`, a member's name and `=` may therefore be read as the beginning of that member, and one signature
//! then holds for two messages: an order of 1.00 whose `extra` was chosen well, and one of 1000000.00.
//!
//! A message is ambiguous if one of its texts holds the beginning of its own member (other than the first, as
//! the form has nothing before that) or of the member that follows, or if its form reads as the other kind's.
//! `tests/it/domain/ambiguity.rs` holds this against a search: no more is needed, and no less. Where empty texts
//! are skipped, every later member may follow. `docs/merchants.md` states the rule, and the receivers in
//! `examples/merchants/` check it.
//!
//! Deliberately absent: what a value may be. A receiver that compares nothing but the sign takes any text, so
//! any text counts.

use thiserror::Error;

use super::payment;
use super::refund;
use super::signature::{AmbiguousTexts, Convention, EmptyValues};
use super::wire::{Member, SignedName, Value};

/// What makes a message ambiguous.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{member} holds {holds:?}, so the sign would also hold for another message")]
pub struct Ambiguity {
    /// The member whose text it is.
    pub member: String,
    /// What the text holds: `&`, a member's name and `=`.
    pub holds: String,
}

/// The names of the document's two messages.
const KINDS: [&[SignedName]; 2] = [&payment::SIGNED_NAMES, &refund::SIGNED_NAMES];

impl Ambiguity {
    /// What is ambiguous in `members`, unless such messages are to be sent.
    pub fn refused(members: &[Member<'_>], convention: &Convention) -> Option<Self> {
        match convention.ambiguous_texts {
            AmbiguousTexts::Refuse => Self::find(members, convention),
            AmbiguousTexts::Send => None,
        }
    }

    /// What is ambiguous in `members`. Where empty texts stay, `None` means that no other message has their canonical
    /// form; where they are skipped, that no other message without an ambiguous text has it.
    pub fn find(members: &[Member<'_>], convention: &Convention) -> Option<Self> {
        if !members.iter().any(|member| holds_joint(member)) {
            return None;
        }
        let mut sorted = members.to_vec();
        sorted.sort_unstable_by_key(|member| member.name.as_bytes());
        let within_its_kind = (0..sorted.len()).find_map(|at| {
            let following = match convention.empty_values {
                EmptyValues::Keep => (at + 2).min(sorted.len()),
                EmptyValues::Skip => sorted.len(),
            };
            let may_not_begin = sorted[at.max(1)..following].iter().map(|other| other.name);
            begins_in(&sorted[at], may_not_begin)
        });
        within_its_kind.or_else(|| as_other_kind(&sorted, convention))
    }
}

/// Whether more than one reading is thinkable at all: by far most messages end here.
fn holds_joint(member: &Member<'_>) -> bool {
    let text = match member.value {
        Value::Text(text) => text,
        Value::Number(_) => "",
    };
    text.contains('&') || member.name.contains(['&', '='])
}

fn begins_in<'a>(
    member: &Member<'_>,
    mut names: impl Iterator<Item = &'a str>,
) -> Option<Ambiguity> {
    // A name with a joint in it, which only a foreign object has, reads in two ways by itself.
    if member.name.contains(['&', '=']) {
        return Some(Ambiguity {
            member: member.name.to_owned(),
            holds: member.name.to_owned(),
        });
    }
    let Value::Text(text) = member.value else {
        return None;
    };
    let holds = names.find_map(|name| {
        let beginning = format!("&{name}=");
        text.contains(&beginning).then_some(beginning)
    })?;
    Some(Ambiguity {
        member: member.name.to_owned(),
        holds,
    })
}

/// The first text with a member of the other kind in it, if the form has all that this kind needs, in order.
fn as_other_kind(sorted: &[Member<'_>], convention: &Convention) -> Option<Ambiguity> {
    let is_kind = |names: &&[SignedName]| {
        let known = names.iter().map(|known| known.name);
        known.eq(sorted.iter().map(|member| member.name))
    };
    let own = KINDS.iter().find(|names| is_kind(names))?;
    let other = KINDS.into_iter().find(|names| names.len() != own.len())?;
    let text = convention.canonical_form(sorted);
    let mut rest = text.as_str();
    let needed = other[1..]
        .iter()
        .filter(|known| convention.empty_values == EmptyValues::Keep || !known.may_be_empty);
    for known in needed {
        (_, rest) = rest.split_once(&format!("&{}=", known.name))?;
    }
    let foreign = || (other.iter()).map(|known| known.name);
    sorted
        .iter()
        .find_map(|member| begins_in(member, foreign()))
}
