//! Texts on the command line that must say something.

/// Reads a text without the white space around it, and refuses an empty one.
pub(super) fn parse(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; give some text".to_owned()),
        text => Ok(text.to_owned()),
    }
}
