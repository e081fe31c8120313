//! Waiting for the answer to an operator's command, and carrying it out if no dispatcher does.

use std::time::Duration;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::Failure;
use super::queue::Operated;
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::domain::CallbackId;
use crate::service;
use crate::store::{Command, CommandId, CommandStatus, Commands, Queue, Remaining};

/// How often the answer is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// After so many looks at a command that nobody has begun, it is asked again whether a dispatcher
/// is there at all.
const LOOKS_BEFORE_TAKING_OVER: u32 = 40;

/// Waits for a command's answer.
pub(super) struct Waiting<'a> {
    commands: &'a dyn Commands,
    id: CommandId,
    bar: ProgressBar,
}

impl<'a> Waiting<'a> {
    /// The bar is drawn on standard error, and only if that is a terminal.
    pub(super) fn new(commands: &'a dyn Commands, id: CommandId) -> Self {
        let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  {msg}");
        let bar = ProgressBar::new(100)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { commands, id, bar }
    }

    /// Until it is answered, or carried out here as far as that goes.
    pub(super) async fn wait(&mut self, settings: &Settings) -> Result<Operated, Failure> {
        let mut again = tokio::time::interval(LOOK_EVERY);
        let mut looks = 0_u32;
        loop {
            again.tick().await;
            let command = self.command().await?;
            if command.is_answered() {
                return Ok(Operated {
                    command,
                    is_left: false,
                });
            }
            let is_waiting = command.status == CommandStatus::Waiting;
            if is_waiting
                && looks.is_multiple_of(LOOKS_BEFORE_TAKING_OVER)
                && let Some(queue) =
                    service::hold(&settings.store.url, "an operator's command").await?
            {
                return self.carry_out(queue.as_ref(), settings).await;
            }
            looks = looks.wrapping_add(1);
        }
    }

    /// Does itself what a dispatcher would do.
    async fn carry_out(
        &mut self,
        queue: &dyn Queue,
        settings: &Settings,
    ) -> Result<Operated, Failure> {
        let policy = service::policy(settings);
        let check_url = |url: &str| match policy.check_url(url) {
            Ok(_) => Ok(()),
            Err(forbidden) => Err(forbidden.to_string()),
        };
        loop {
            let carried_out = queue.carry_out(SystemClock.now(), &check_url).await?;
            if carried_out.remaining != Remaining::Work {
                break;
            }
            self.command().await?;
        }
        queue.close().await;
        let command = self.command().await?;
        Ok(Operated {
            is_left: !command.is_answered(),
            command,
        })
    }

    async fn command(&self) -> Result<Command, Failure> {
        let command = self.commands.command(self.id).await?;
        let command = command.ok_or_else(|| anyhow!("command {} is gone", self.id))?;
        self.draw(&command);
        Ok(command)
    }

    fn draw(&self, command: &Command) {
        if command.is_answered() {
            self.bar.finish_and_clear();
            return;
        }
        let CallbackId(whole) = command.scan_end.unwrap_or(CallbackId(0));
        if let Some(share) = (command.scan_position.0 * 100).checked_div(whole) {
            self.bar.set_position(share.unsigned_abs());
        }
        let words = match command.status {
            CommandStatus::Waiting => "waiting for the dispatcher".to_owned(),
            _ if command.scan_end == Some(command.scan_position) => {
                format!("{}; waiting for attempts in flight", command.summary())
            }
            _ => command.summary(),
        };
        self.bar.set_message(words);
    }
}
