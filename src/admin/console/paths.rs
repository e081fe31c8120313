//! The console's addresses.

use url::form_urlencoded::Serializer;

use crate::store::CommandId;

/// Where the console is.
pub(super) const PATH: &str = "/console";

/// The style sheet of every page.
pub(super) const STYLE_PATH: &str = "/console/style.css";

/// The icon of a tab.
pub(super) const ICON_PATH: &str = "/console/icon.svg";

/// Open to all, or nobody could sign in.
pub(super) const SIGN_IN_PATH: &str = "/console/sign-in";

fn with_query(path: &str) -> Serializer<'static, String> {
    let begins = path.len() + 1;
    Serializer::for_suffix(format!("{path}?"), begins)
}

/// The form for `action` on what `selectors` choose, by the names of the form's fields.
pub(super) fn act(action: &str, selectors: &[(&str, &str)]) -> String {
    let mut query = with_query(&format!("{PATH}/act"));
    query.append_pair("action", action);
    query.extend_pairs(selectors).finish()
}

/// The callbacks of `app` in `state`.
pub(super) fn callbacks(state: &str, app: &str) -> String {
    list(&[("state", state), ("app", app)])
}

/// A list of callbacks, by the names of its form's fields.
pub(super) fn list(fields: &[(&str, &str)]) -> String {
    let mut query = with_query(&format!("{PATH}/callbacks"));
    query.extend_pairs(fields).finish()
}

/// A command's page.
pub(super) fn command(id: CommandId) -> String {
    format!("{PATH}/commands/{id}")
}

/// The page that leads to `next` after signing in.
pub(super) fn sign_in(next: &str) -> String {
    let mut query = with_query(SIGN_IN_PATH);
    query.append_pair("next", next).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_values_stay_values() {
        assert_eq!(
            act("pause", &[("app", "a&action=cancel#\"<>")]),
            "/console/act?action=pause&app=a%26action%3Dcancel%23%22%3C%3E"
        );
        assert_eq!(
            sign_in("/console/?a=b&c"),
            "/console/sign-in?next=%2Fconsole%2F%3Fa%3Db%26c"
        );
    }
}
