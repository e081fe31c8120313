//! The two halves of a detail in the attempt log: why, and what our operator can do.
//!
//! The first half may be passed on to the merchant. Everything about our own configuration stands
//! in the second.

/// Begins the half of a detail that is for the operator alone.
pub const FOR_OPERATOR: &str = "; operator: ";

/// Stands in the detail of an attempt whose request was sent twice, before the timestamp of the first. What the
/// attempt records of its message is the second.
pub const SENT_BEFORE: &str =
    "sent before, on a kept connection that was no longer good, with timestamp ";

/// The half of `detail` that says why, without advice to the operator.
///
/// ```
/// use callback_dispatcher::domain::reason;
///
/// let detail = "10.0.0.5 is private (10.0.0.0/8); operator: add it to egress.allow_networks";
/// assert_eq!(reason(detail), "10.0.0.5 is private (10.0.0.0/8)");
/// assert_eq!(reason("connection refused"), "connection refused");
/// ```
pub fn reason(detail: &str) -> &str {
    detail
        .split_once(FOR_OPERATOR)
        .map_or(detail, |(reason, _)| reason)
}

/// A name of a Rust value in words: `NoCipherSuitesInCommon` becomes `no cipher suites in common`.
/// Libraries name their errors in this way only.
pub fn words_of_name(name: &str) -> String {
    let name = name.split(['(', ' ', '{']).next().unwrap_or_default();
    let mut words = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words() {
        let table = [
            ("NoCipherSuitesInCommon", "no cipher suites in common"),
            ("HandshakeFailure", "handshake failure"),
            ("Other(OtherError(CaUsedAsEndEntity))", "other"),
            ("Context { at: 1 }", "context"),
            ("", ""),
        ];
        for (name, words) in table {
            assert_eq!(words_of_name(name), words);
        }
    }
}
