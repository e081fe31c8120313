//! `probe`: would a callback be delivered to this URL?

use std::io::{self, Write};

use super::exit::{CommandResult, Exit};
use super::json;
use super::queue::block_on;
use super::table;
use crate::clock::{Clock, SystemClock};
use crate::config::{Configuration, Inputs};
use crate::delivery::transport::accepted_cipher_suites;
use crate::diagnosis::{Diagnosis, PhasesMs, TlsFinding};
use crate::domain::visible;
use crate::service;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The callback URL
    url: String,
    /// Whose key to sign with
    #[arg(long, value_name = "APP_ID")]
    app: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let configuration = Configuration::load(inputs)?;
    let now = SystemClock.now();
    let diagnosis = block_on(async {
        Ok(service::probe(&configuration, &arguments.app, &arguments.url, now).await?)
    })?;
    if arguments.json {
        json::print(out, &diagnosis)?;
    } else {
        print(&diagnosis, out)?;
    }
    Ok(if diagnosis.acknowledged {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn print(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    let probed = &diagnosis.probed;
    writeln!(out, "probe of {}", visible(&probed.url))?;
    let mut sent = Fields(out);
    sent.field("test payment", &probed.order_no)?;
    sent.field("sent", &probed.sent_at.to_string())?;
    sent.field(
        "signed for",
        &format!("app {}, key {}", probed.app_id, probed.key_id),
    )?;
    sent.field("canonical form", &probed.canonical_form)?;
    sent.field("body", &probed.body)?;
    print_addresses(diagnosis, out)?;
    if let Some(tls) = &diagnosis.tls {
        print_tls(tls, diagnosis.certificate_days_left, out)?;
    }
    print_answer(diagnosis, out)?;
    let verdict = match (diagnosis.acknowledged, diagnosis.detail.as_str()) {
        (true, _) => "acknowledged: callbacks to this URL are delivered".to_owned(),
        (false, detail) => format!("not acknowledged ({}): {detail}", diagnosis.outcome),
    };
    writeln!(out, "\n{}", visible(&verdict))?;
    print_list("what to fix", &diagnosis.to_fix, out)?;
    print_list("worth knowing", &diagnosis.worth_knowing, out)
}

/// Lines of a name and a value; nothing for a value that is empty.
struct Fields<'a>(&'a mut dyn Write);

impl Fields<'_> {
    fn field(&mut self, name: &str, value: &str) -> io::Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        writeln!(self.0, "  {name:<16} {}", visible(value))
    }
}

fn print_addresses(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    if diagnosis.addresses.is_empty() {
        return Ok(());
    }
    let dialled = diagnosis.dialled.map(|dialled| dialled.ip());
    let rows = diagnosis.addresses.iter().map(|found| {
        let verdict = found.reason.as_deref().unwrap_or("may be called");
        let note = if dialled == Some(found.address) {
            "dialled"
        } else {
            ""
        };
        [
            found.address.to_string(),
            verdict.to_owned(),
            note.to_owned(),
        ]
    });
    writeln!(out)?;
    table::print(out, ["address", "egress policy", ""], rows)
}

fn print_tls(tls: &TlsFinding, days_left: Option<i64>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    let mut fields = Fields(out);
    let negotiated = [tls.version, tls.cipher_suite.as_deref()];
    let negotiated: Vec<&str> = negotiated.into_iter().flatten().collect();
    fields.field("TLS", &negotiated.join(", "))?;
    let accepted = accepted_cipher_suites().join(", ");
    fields.field("accepted", &format!("TLS 1.2 and 1.3; {accepted}"))?;
    if let Some(own) = tls.certificates.first() {
        fields.field("certificate of", &own.subject)?;
        fields.field("for", &own.names.join(", "))?;
        fields.field("issued by", &own.issuer)?;
        let left = match days_left {
            Some(days @ 0..) => format!(" ({days} days left)"),
            Some(_) => " (expired)".to_owned(),
            None => String::new(),
        };
        fields.field(
            "valid",
            &format!("{} to {}{left}", own.not_before, own.not_after),
        )?;
    }
    for above in tls.certificates.iter().skip(1) {
        fields.field("chain", &above.subject)?;
    }
    match (tls.trusted, &tls.distrust) {
        (Some(true), _) => fields.field("trusted", "yes"),
        (Some(false), why) => {
            let why = why.as_deref().unwrap_or_default();
            fields.field("trusted", &format!("no: {why}"))
        }
        (None, _) => Ok(()),
    }
}

fn print_answer(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    let mut fields = Fields(out);
    fields.field("times", &times(&diagnosis.phases_ms))?;
    let status = diagnosis.http_status.map(|status| status.to_string());
    fields.field("status", &status.unwrap_or_default())?;
    for (name, value) in &diagnosis.headers {
        fields.field(name, value)?;
    }
    fields.field("answer", diagnosis.answer.as_deref().unwrap_or_default())
}

fn times(phases: &PhasesMs) -> String {
    let stages = [
        ("name", phases.dns),
        ("connection", phases.connect),
        ("TLS", phases.tls),
        ("answer", phases.head),
        ("body", phases.body),
    ];
    let done = stages.into_iter();
    let done = done.filter_map(|(name, ms)| Some(format!("{name} {:.1} ms", ms?)));
    done.collect::<Vec<_>>().join(", ")
}

fn print_list(title: &str, sentences: &[String], out: &mut dyn Write) -> io::Result<()> {
    if sentences.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}:")?;
    for sentence in sentences {
        writeln!(out, "  - {}", visible(sentence))?;
    }
    Ok(())
}
