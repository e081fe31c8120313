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
//! An object that a receiver gets may have other members than the document's messages, and any name may follow in it.
//! It is ambiguous if one of its texts could hold a member of any name, or if its form reads as a message of the
//! document: a member may have been dropped from that message, or cut out of one of its texts.
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
pub enum Ambiguity {
    /// A text, or a name, that could be read as the beginning of another member.
    #[error("{member} holds {holds:?}, so the sign would also hold for another message")]
    Text {
        /// The member whose text it is.
        member: String,
        /// What the text holds: `&`, a member's name and `=`.
        holds: String,
    },
    /// The object has not just the members of the message that its form reads as.
    #[error("the sign also holds for a {kind}, whose members these are not: {differing}")]
    Members {
        /// `payment` or `refund`.
        kind: &'static str,
        /// Which members are missing and which are added.
        differing: String,
    },
}

/// The names of the document's two messages.
const KINDS: [(&str, &[SignedName]); 2] = [
    ("payment", &payment::SIGNED_NAMES),
    ("refund", &refund::SIGNED_NAMES),
];

impl Ambiguity {
    /// What is ambiguous in `members`, unless such messages are to be sent.
    pub fn refused(members: &[Member<'_>], convention: &Convention) -> Option<Self> {
        match convention.ambiguous_texts {
            AmbiguousTexts::Refuse => Self::find(members, convention),
            AmbiguousTexts::Send => None,
        }
    }

    /// What is ambiguous in `members`. Where empty texts stay, `None` means that no other message has their canonical
    /// form; where they are skipped, that no other message without an ambiguous text has it. An object with other
    /// members than the document's messages is held against these and against any other object.
    pub fn find(members: &[Member<'_>], convention: &Convention) -> Option<Self> {
        let mut sorted = members.to_vec();
        sorted.sort_unstable_by_key(|member| member.name.as_bytes());
        let is_kind = |names: &[SignedName]| {
            let known = names.iter().map(|known| known.name);
            known.eq(sorted.iter().map(|member| member.name))
        };
        let Some(own) = KINDS.iter().position(|(_, names)| is_kind(names)) else {
            return in_other_object(&sorted, convention);
        };
        if !members.iter().any(holds_joint) {
            return None;
        }
        let within_its_kind = (0..sorted.len()).find_map(|at| {
            let following = match convention.empty_values {
                EmptyValues::Keep => (at + 2).min(sorted.len()),
                EmptyValues::Skip => sorted.len(),
            };
            let may_not_begin = sorted[at.max(1)..following].iter().map(|other| other.name);
            begins_in(&sorted[at], may_not_begin)
        });
        within_its_kind.or_else(|| as_other_kind(&sorted, KINDS[1 - own].1, convention))
    }
}

/// Whether more than one reading is thinkable at all: by far most messages have no such text.
fn holds_joint(member: &Member<'_>) -> bool {
    text_of(member).contains('&')
}

fn text_of<'a>(member: &Member<'a>) -> &'a str {
    match member.value {
        Value::Text(text) => text,
        Value::Number(_) => "",
    }
}

fn begins_in<'a>(
    member: &Member<'_>,
    mut names: impl Iterator<Item = &'a str>,
) -> Option<Ambiguity> {
    let text = text_of(member);
    let holds = names.find_map(|name| {
        let beginning = format!("&{name}=");
        text.contains(&beginning).then_some(beginning)
    })?;
    Some(Ambiguity::Text {
        member: member.name.to_owned(),
        holds,
    })
}

/// The first text with a member of the other kind in it, if the form has all that this kind needs, in order.
fn as_other_kind(
    sorted: &[Member<'_>],
    other: &[SignedName],
    convention: &Convention,
) -> Option<Ambiguity> {
    if !reads_as(&convention.canonical_form(sorted), other, convention) {
        return None;
    }
    let foreign = || other.iter().map(|known| known.name);
    sorted
        .iter()
        .find_map(|member| begins_in(member, foreign()))
}

/// Whether `text` has all that a kind needs, in order.
fn reads_as(text: &str, kind: &[SignedName], convention: &Convention) -> bool {
    let mut rest = text;
    for (at, known) in kind.iter().enumerate() {
        if convention.empty_values == EmptyValues::Skip && known.may_be_empty {
            continue;
        }
        let beginning = format!("&{}=", known.name);
        let after = match at {
            0 => rest.strip_prefix(&beginning[1..]),
            _ => rest.split_once(&beginning).map(|(_, after)| after),
        };
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// What is ambiguous in an object that has not just the members of one kind.
fn in_other_object(sorted: &[Member<'_>], convention: &Convention) -> Option<Ambiguity> {
    if let Some(ambiguity) = sorted.iter().find_map(begins_any) {
        return Some(ambiguity);
    }
    let text = convention.canonical_form(sorted);
    let (kind, names) = KINDS
        .into_iter()
        .find(|(_, names)| reads_as(&text, names, convention))?;
    let is_found = |known: &&SignedName| sorted.iter().any(|member| member.name == known.name);
    let missing = names.iter().filter(|known| !is_found(known));
    let missing = missing.map(|known| format!("{} is missing", known.name));
    let is_known = |member: &&Member<'_>| names.iter().any(|known| member.name == known.name);
    let added = sorted.iter().filter(|member| !is_known(member));
    let added = added.map(|member| format!("{} is added", member.name));
    Some(Ambiguity::Members {
        kind,
        differing: missing.chain(added).collect::<Vec<_>>().join(", "),
    })
}

/// Whether a text could hold a member of any name, or a name could be read in two ways.
fn begins_any(member: &Member<'_>) -> Option<Ambiguity> {
    let holds = if member.name.contains(['&', '=']) {
        member.name
    } else {
        let text = text_of(member);
        let after = &text[text.find('&')?..];
        let name_end = after.find('=')?;
        let name_begin = after[..name_end].rfind('&')?;
        &after[name_begin..=name_end]
    };
    Some(Ambiguity::Text {
        member: member.name.to_owned(),
        holds: holds.to_owned(),
    })
}
