//! `enqueue`: queues callbacks from NDJSON, all or nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{CommandResult, Exit, Failure};
use super::queue::runtime;
use crate::clock::{Clock, SystemClock};
use crate::config::{Inputs, Settings, StoreUrl};
use crate::delivery::egress::Policy;
use crate::domain::{Ambiguity, Convention, Kind, Message, NewCallback};
use crate::service::{self, Producer, policy};
use crate::store::EnqueueError;

/// Faults that are listed before the rest is only counted.
const FAULTS_SHOWN_MAX: usize = 20;

/// Bytes in one line: longer than every callback.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One JSON object per line: kind, callBackUrl, result (success or failure) and the document's
    /// members [default: standard input]
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let settings = Settings::load(inputs)?;
    let runtime = runtime()?;
    let mut producer = runtime.block_on(Producer::open(&settings.store.url))?;
    let rules = Rules {
        policy: policy(&settings),
        convention: settings.signing.convention,
    };
    let name = source_name(arguments.file.as_deref());
    let batch = match &arguments.file {
        Some(path) => {
            let file = File::open(path).with_context(|| name.clone())?;
            let bar = progress(&file);
            let batch = Batch::read(BufReader::new(bar.wrap_read(file)), &rules);
            bar.finish_and_clear();
            batch
        }
        None => Batch::read(io::stdin().lock(), &rules),
    };
    let batch = batch.with_context(|| name.clone())?;
    batch.require_faultless(&name)?;
    let ids = runtime
        .block_on(producer.enqueue(&batch.callbacks, SystemClock.now()))
        .map_err(|error| match error {
            EnqueueError::Row { position, source } => {
                let line = batch.lines.get(position).copied().unwrap_or_default();
                let known = runtime.block_on(batch.known(position, &settings.store.url));
                let why = known.unwrap_or_else(|| source.to_string());
                anyhow!("{name}, line {line}: {why}; nothing was queued")
            }
            EnqueueError::Batch(error) => anyhow!("{error}; nothing was queued"),
        })?;
    for id in ids {
        writeln!(out, "{id}")?;
    }
    Ok(Exit::Done)
}

/// Drawn on standard error while a file is read, and only if that is a terminal.
fn progress(file: &File) -> ProgressBar {
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  {decimal_bytes} read");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn source_name(file: Option<&Path>) -> String {
    file.map_or_else(
        || "standard input".to_owned(),
        |path| path.display().to_string(),
    )
}

#[derive(Default)]
struct Batch {
    callbacks: Vec<NewCallback>,
    /// The line of each callback, from 1.
    lines: Vec<usize>,
    faults: Vec<(usize, String)>,
}

impl Batch {
    /// Reads every line, so that every fault is reported at once. Blank lines are passed over.
    fn read(mut input: impl BufRead, rules: &Rules) -> io::Result<Self> {
        let mut batch = Self::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
            if io::Read::take(&mut input, limit).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.len() == LINE_BYTES_MAX {
                batch
                    .faults
                    .push((number, format!("longer than {LINE_BYTES_MAX} bytes")));
                break;
            }
            if !line.trim_ascii().is_empty() {
                match rules.read_line(&line) {
                    Ok(callback) => {
                        batch.callbacks.push(callback);
                        batch.lines.push(number);
                    }
                    Err(fault) => batch.faults.push((number, fault)),
                }
            }
        }
        Ok(batch)
    }

    /// Where the result at `position` is queued already: what makes most rows be refused.
    async fn known(&self, position: usize, url: &StoreUrl) -> Option<String> {
        let key = |callback: &NewCallback| match &callback.message {
            Message::Payment(payment) => (Kind::Payment, payment.newpay_order_no.clone()),
            Message::Refund(refund) => (Kind::Refund, refund.newpay_refund_order_no.clone()),
        };
        let (kind, number) = key(self.callbacks.get(position)?);
        let before = self.callbacks.iter().take(position);
        let mut before = before.zip(&self.lines);
        if let Some((_, line)) = before.find(|(other, _)| key(other) == (kind, number.clone())) {
            return Some(format!("the result of {number} is in line {line} already"));
        }
        let inspection = service::inspection(url).await.ok()?;
        let found = inspection.find(&number).await.ok()?;
        let row = found.iter().find(|row| {
            let its_number = match kind {
                Kind::Payment => Some(&row.newpay_order_no),
                Kind::Refund => row.newpay_refund_order_no.as_ref(),
            };
            row.kind == kind.as_str() && its_number == Some(&number)
        })?;
        Some(format!(
            "the result of {number} is queued already: callback {}, {}, since {}",
            row.id, row.state, row.created_at
        ))
    }

    fn require_faultless(&self, name: &str) -> Result<(), Failure> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for (line, fault) in self.faults.iter().take(FAULTS_SHOWN_MAX) {
            text.push_str(&format!("{name}, line {line}: {fault}\n"));
        }
        if let Some(more @ 1..) = self.faults.len().checked_sub(FAULTS_SHOWN_MAX) {
            text.push_str(&format!("and {more} more\n"));
        }
        Err(anyhow!("{text}nothing was queued").into())
    }
}

/// What a callback has to satisfy to be sent.
struct Rules {
    policy: Policy,
    convention: Convention,
}

impl Rules {
    fn read_line(&self, line: &[u8]) -> Result<NewCallback, String> {
        let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
        let callback = NewCallback::from_json_line(text).map_err(|error| error.to_string())?;
        self.policy
            .check_url(&callback.callback_url)
            .map_err(|forbidden| format!("callBackUrl: {forbidden}"))?;
        let members = callback.message.members("0");
        match Ambiguity::refused(&members, &self.convention) {
            Some(ambiguity) => Err(format!("{ambiguity}; leave that out")),
            None => Ok(callback),
        }
    }
}
