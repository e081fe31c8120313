//! "Did you mean ...?" for a name with a slip in it.

/// The name among `known` that is most like `wrong`, if one is alike enough to be meant.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let plain = wrong.to_ascii_lowercase();
    // One slip in a short name, three in a long one: beyond that it is a guess.
    let slips_max = (plain.len() / 4).clamp(1, 3);
    known
        .map(|name| {
            let slips = strsim::osa_distance(&plain, &name.to_ascii_lowercase());
            (slips, name)
        })
        .filter(|(slips, _)| *slips <= slips_max)
        .min()
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_a_slip_and_makes_no_wild_guess() {
        let known = ["retry.schedule", "log.level", "log.format"];
        let nearest = |wrong| nearest(wrong, known.into_iter());
        assert_eq!(nearest("retry.shedule").as_deref(), Some("retry.schedule"));
        assert_eq!(nearest("LOG.LEVEL").as_deref(), Some("log.level"));
        assert_eq!(nearest("log.colour"), None);
    }
}
