//! `mock-merchant`: a merchant to test against.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{CommandResult, Exit};
use super::queue::block_on;
use crate::config::{Configuration, Inputs};
use crate::merchant::{Answer, MerchantSettings, MockMerchant};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// ack, refuse, hang, status:N, body:TEXT, html, empty, close, slow:DURATION or redirect:URL
    #[arg(long, default_value = "ack")]
    answer: Answer,
    /// Refuse the first N POSTs of each order
    #[arg(long, value_name = "N", default_value_t = 0)]
    fail_first: u32,
    /// Append a JSON line for each POST to this file
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let Configuration { settings, keys } = Configuration::load(inputs)?;
    let merchant = MerchantSettings {
        script: arguments.answer.into(),
        fail_first: arguments.fail_first,
        journal: arguments.journal,
        keyring: Arc::new(keys.keyring),
        convention: settings.signing.convention,
        remember: 0,
        ..MerchantSettings::default()
    };
    block_on(async {
        let listener = TcpListener::bind(arguments.listen)
            .await
            .with_context(|| format!("--listen {}", arguments.listen))?;
        let merchant = MockMerchant::start(listener, merchant)?;
        writeln!(out, "listening on {}", merchant.url("/"))?;
        out.flush()?;
        let mut terminated = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("SIGINT")?;
        tokio::select! {
            biased; // both do the same
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        let posts = merchant.count();
        merchant.stop().await;
        writeln!(out, "{posts} POSTs received")?;
        Ok(Exit::Done)
    })
}
