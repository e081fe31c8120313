//! `[console]` of the keys file: what operators show before they may act.

use toml::Spanned;
use toml::de::DeValue;

use super::fault::{ConfigFault, Problem};
use super::keys_file::KeysFile;
use super::suggestion::nearest;
use crate::domain::Secret;

/// The one field.
const FIELD: &str = "token";

/// The shortest token that can't be guessed, if it was made as we advise.
const TOKEN_BYTES_MIN: usize = 20;

/// Reads the token from the section `value` of `file`, whose content is `text`. Quotes nothing of
/// it.
pub(super) fn read(
    file: &KeysFile,
    text: &str,
    offset: usize,
    value: &Spanned<DeValue<'_>>,
) -> Result<Secret, Vec<ConfigFault>> {
    let fault = |offset, problem| {
        let subject = Some("console".to_owned());
        file.fault_at(text, offset, subject, problem)
    };
    let advice = "write token = \"...\" with what `openssl rand -hex 24` prints";
    let invalid = |offset, what: &str| fault(offset, Problem::Invalid(format!("{what}; {advice}")));
    let DeValue::Table(fields) = value.get_ref() else {
        let problem = "console is a section; write [console] and its token below it";
        return Err(vec![fault(offset, Problem::Invalid(problem.to_owned()))]);
    };
    let mut faults = Vec::new();
    for (name, _) in fields {
        if name.get_ref() != FIELD {
            let problem = Problem::Unknown {
                what: "field".to_owned(),
                suggestion: nearest(name.get_ref(), [FIELD].into_iter()),
            };
            faults.push(fault(name.span().start, problem));
        }
    }
    let token = match fields.get(FIELD) {
        None => Err(invalid(offset, "no token")),
        Some(value) => {
            let at = value.span().start;
            match value.get_ref().as_str() {
                None => Err(invalid(at, "token is not a text in quotes")),
                Some(token) if token.trim() != token => {
                    Err(invalid(at, "token has white space around it"))
                }
                Some(token) if token.len() < TOKEN_BYTES_MIN => {
                    let what = format!("token is shorter than {TOKEN_BYTES_MIN} characters");
                    Err(invalid(at, &what))
                }
                Some(token) => Ok(Secret::new(token.to_owned())),
            }
        }
    };
    match token {
        Ok(token) if faults.is_empty() => Ok(token),
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.push(fault);
            Err(faults)
        }
    }
}
