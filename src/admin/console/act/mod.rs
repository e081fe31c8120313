//! Asks for an action, and writes it into `operator_command`.
//!
//! Two steps, without a script: a link opens the form with what was chosen, and the form is sent. The
//! dispatcher carries it out; the command's own page shows what came of it.

mod counting;

use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Form};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{ErrorPage, Page, Section, csrf_field, see_other};
use super::paths::{self, PATH};
use super::session::Operator;
use super::show;
use super::state::{Console, RequestContext};
use crate::domain::{CallbackId, Timestamp, read_moment};
use crate::store::{Action, CommandId, DEFAULT_RATE, NewCommand, Selectors};

/// The longest reason.
const REASON_CHARACTERS_MAX: usize = 500;

/// What is to be done with which callbacks. What is empty is no selector.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    action: String,
    callback: String,
    order: String,
    app: String,
    origin: String,
    state: String,
    since: String,
    until: String,
    command: String,
}

/// What the form adds.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    #[serde(flatten)]
    choice: Choice,
    csrf: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    rate: String,
    #[serde(default)]
    to: String,
    /// There if its box is ticked.
    dry_run: Option<String>,
    /// There if its box is ticked.
    include_acknowledged: Option<String>,
}

impl Choice {
    fn read(&self, now: Timestamp) -> Result<(Action, Selectors), String> {
        let action = self
            .action
            .parse::<Action>()
            .map_err(|error| error.to_string())?;
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let callback_id = match self.callback.trim() {
            "" => None,
            id => Some(CallbackId(id.parse().map_err(|_| {
                format!("{id:?} is not the id of a callback; write digits")
            })?)),
        };
        let state = match self.state.as_str() {
            "" => None,
            state => Some(state.parse().map_err(|error| format!("{error}"))?),
        };
        let selectors = Selectors {
            callback_id,
            order_number: text(&self.order),
            app_id: text(&self.app),
            origin: text(&self.origin),
            state,
            since: moment("since", &self.since, now)?,
            until: moment("until", &self.until, now)?,
            command_id: self.command.trim().parse().ok().map(CommandId),
        };
        Ok((action, selectors))
    }

    /// The fields that were filled in, to go on with.
    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [
            ("action", &self.action),
            ("callback", &self.callback),
            ("order", &self.order),
            ("app", &self.app),
            ("origin", &self.origin),
            ("state", &self.state),
            ("command", &self.command),
        ];
        fields
            .into_iter()
            .map(|(name, value)| (name, value.as_str()))
            .filter(|(_, value)| !value.is_empty())
    }
}

fn moment(name: &str, text: &str, now: Timestamp) -> Result<Option<Timestamp>, String> {
    match text.trim() {
        "" => Ok(None),
        text => match read_moment(text, now) {
            Ok(moment) => Ok(Some(moment)),
            Err(fault) => Err(format!("{name}: {fault}")),
        },
    }
}

/// Shows the form.
pub(super) async fn ask(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Query(choice): Query<Choice>,
) -> Response {
    let Some(operator) = &context.operator else {
        let chosen: Vec<(&str, &str)> = choice
            .fields()
            .chain([("since", &*choice.since), ("until", &*choice.until)])
            .filter(|(name, value)| *name != "action" && !value.is_empty())
            .collect();
        return see_other(&paths::sign_in(&paths::act(&choice.action, &chosen)));
    };
    match choice.read(context.now) {
        Ok((action, selectors)) => {
            let counted = counting::count(&*console.inspection, &selectors, action).await;
            match counted {
                Ok(counted) => {
                    let shown = html! { (counted) };
                    form(
                        &context,
                        operator,
                        &choice,
                        (action, &selectors),
                        &shown,
                        None,
                    )
                }
                Err(error) => ErrorPage::from(error).answer(&context),
            }
        }
        Err(fault) => ErrorPage::Nonsense(fault).answer(&context),
    }
}

/// Takes the form.
pub(super) async fn submit(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Form(order): Form<Order>,
) -> Result<Response, Response> {
    let Some(operator) = &context.operator else {
        let words = "Actions need a signed-in operator; sign in and try again.";
        return Err(ErrorPage::Forbidden(words.to_owned()).answer(&context));
    };
    if !operator.has_made(&order.csrf) {
        let words = "This form is not of your session; open it again and send it from there.";
        return Err(ErrorPage::Forbidden(words.to_owned()).answer(&context));
    }
    let nonsense = |fault| ErrorPage::Nonsense(fault).answer(&context);
    let (action, selectors) = order.choice.read(context.now).map_err(nonsense)?;
    let reason = order.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARACTERS_MAX {
        let fault = format!("Give a reason, in at most {REASON_CHARACTERS_MAX} characters.");
        return Err(form(
            &context,
            operator,
            &order.choice,
            (action, &selectors),
            &html! {},
            Some(&fault),
        ));
    }
    let rate = match order.rate.trim() {
        "" => None,
        rate => Some(rate.parse().map_err(|_| {
            nonsense(format!(
                "{rate:?} is not a rate; write callbacks per second in digits"
            ))
        })?),
    };
    let command = NewCommand {
        selectors,
        dry_run: order.dry_run.is_some(),
        include_acknowledged: order.include_acknowledged.is_some(),
        rate,
        to_url: Some(order.to.trim().to_owned()).filter(|to| !to.is_empty()),
        ..NewCommand::new(action, format!("{} (console)", operator.name), reason)
    };
    let id = console.commands.submit(command, context.now).await;
    let id = id.map_err(|error| nonsense(error.to_string()))?;
    tracing::info!(actor = operator.name, command = id.0, %action, "asked for in the console");
    Ok(see_other(&paths::command(id)))
}

fn form(
    context: &RequestContext,
    operator: &Operator,
    choice: &Choice,
    (action, selectors): (Action, &Selectors),
    counted: &Markup,
    fault: Option<&str>,
) -> Response {
    let (title, words) = action.describe();
    let page = Page {
        section: Section::Elsewhere,
        title,
        searched: "",
        body: html! {
            @if let Some(fault) = fault { p .notice .bad role="alert" { (fault) } }
            p { (words) }
            (show::chosen(selectors))
            (counted)
            form method="post" action={ (PATH) "/act" } {
                (csrf_field(&operator.csrf))
                @for (name, value) in choice.fields() { input type="hidden" name=(name) value=(value); }
                @if is_by_filter(action, selectors) { (times(choice)) }
                div .field {
                    label for="reason" { "Reason" }
                    input #reason name="reason" required maxlength=(REASON_CHARACTERS_MAX)
                        autocomplete="off" aria-describedby="reason-hint";
                    small #reason-hint { "Kept with your name and what was done." }
                }
                (options(action, selectors))
                button { (title) }
            }
        },
    };
    let status = if fault.is_some() { 400 } else { 200 };
    let status = axum::http::StatusCode::from_u16(status).unwrap_or_default();
    page.answer(status, context)
}

/// Whether there may be many of them.
const fn is_by_filter(action: Action, selectors: &Selectors) -> bool {
    action.selects_callbacks() && selectors.callback_id.is_none()
}

fn times(choice: &Choice) -> Markup {
    html! {
        @for (name, label, value) in [
            ("since", "Queued since", &choice.since),
            ("until", "Queued before", &choice.until),
        ] {
            div .field {
                label for=(name) { (label) }
                input id=(name) name=(name) autocomplete="off" placeholder="2026-11-01 14:30"
                    aria-describedby={ (name) "-hint" } value=(value);
                small id={ (name) "-hint" } { "A date, a moment, a time (UTC) or an age like 2h; empty: no limit." }
            }
        }
    }
}

fn options(action: Action, selectors: &Selectors) -> Markup {
    let many = is_by_filter(action, selectors);
    html! {
        @if action == Action::Resend {
            div .check {
                input #acknowledged type="checkbox" name="include_acknowledged";
                label for="acknowledged" {
                    "Also what the merchant has acknowledged "
                    small { "It gets a second notice of the same result." }
                }
            }
        }
        @if action == Action::Resend && (!many || selectors.order_number.is_some()) {
            div .field {
                label for="to" { "To another URL" }
                input #to name="to" inputmode="url" maxlength="2048" autocomplete="off" aria-describedby="to-hint";
                small #to-hint { "Empty: to where it goes now. The URL that the gateway queued stays on record." }
            }
        }
        @if action == Action::Resend && many {
            div .field {
                label for="rate" { "Callbacks per second" }
                input #rate name="rate" inputmode="numeric" pattern="[0-9]*" autocomplete="off"
                    placeholder=(DEFAULT_RATE);
            }
        }
        @if many {
            div .check {
                input #dry-run type="checkbox" name="dry_run";
                label for="dry-run" { "Dry run " small { "Only counts what would be done." } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
