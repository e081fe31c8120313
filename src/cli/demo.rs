//! `demo`: the main job on the document's sample messages, in one process.
//!
//! A queue in a temporary folder, the dispatcher as `run` starts it, and three merchants over
//! loopback. Nothing is pretended but the waits: five minutes are shortened to one second.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;

use super::exit::{CommandResult, Exit, Failure};
use super::queue::block_on;
use super::table;
use crate::clock::{Clock, SystemClock};
use crate::config::{Configuration, Inputs};
use crate::domain::NewCallback;
use crate::explanation;
use crate::merchant::{Answer, MerchantSettings, MockMerchant};
use crate::service::Service;
use crate::store::{AttemptRow, CallbackRow, ShownState};

const KEYS: &str = r#"[[key]]
app_id = "6"
id = "2026-11"
secret = "newpay-demo-secret"
"#;

/// The whole demo takes some four seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one callback is there to show.
struct Scene {
    title: &'static str,
    order: &'static str,
    ends: ShownState,
    outcomes: &'static [&'static str],
}

const SCENES: [Scene; 4] = [
    Scene {
        title: "the document's payment, acknowledged at once",
        order: "202209210000006950",
        ends: ShownState::Delivered,
        outcomes: &["acknowledged"],
    },
    Scene {
        title: "the document's refund, acknowledged at once",
        order: "202209210000006951",
        ends: ShownState::Delivered,
        outcomes: &["acknowledged"],
    },
    Scene {
        title: "a merchant that refuses twice and then accepts",
        order: "202209210000006952",
        ends: ShownState::Delivered,
        outcomes: &["refused", "refused", "acknowledged"],
    },
    Scene {
        title: "a merchant that never accepts: given up after three retries",
        order: "202209210000006953",
        ends: ShownState::Exhausted,
        outcomes: &["refused", "refused", "refused", "refused"],
    },
];

pub(super) fn run(out: &mut dyn Write) -> CommandResult {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let configuration = configuration(folder.path())?;
    block_on(play(configuration, out))
}

fn configuration(folder: &Path) -> Result<Configuration, Failure> {
    let keys_file = folder.join("keys.toml");
    fs::write(&keys_file, KEYS).context("the demo's keys")?;
    fs::set_permissions(&keys_file, Permissions::from_mode(0o600)).context("the demo's keys")?;
    let environment: BTreeMap<String, String> = [
        (
            "STORE__URL",
            format!("sqlite:{}", folder.join("queue.db").display()),
        ),
        ("RETRY__SCHEDULE", "1s,1s,1s".to_owned()),
        ("EGRESS__ALLOW_HTTP", "true".to_owned()),
        ("EGRESS__ALLOW_NETWORKS", "127.0.0.1/32".to_owned()),
        ("SIGNING__KEYS_FILE", keys_file.display().to_string()),
        ("ADMIN__LISTEN", String::new()),
    ]
    .into_iter()
    .map(|(key, value)| (format!("DISPATCHER__{key}"), value))
    .collect();
    Ok(Configuration::load(&Inputs {
        environment,
        working_directory: folder.to_owned(),
        ..Inputs::default()
    })?)
}

async fn play(configuration: Configuration, out: &mut dyn Write) -> CommandResult {
    writeln!(
        out,
        "The waits of five minutes between attempts are shortened to one second.\n"
    )?;
    let merchants = [
        merchant(Answer::Ack, 0).await?,
        merchant(Answer::Ack, 2).await?,
        merchant(Answer::Refuse, 0).await?,
    ];
    let service = Service::start(configuration, Arc::new(SystemClock)).await?;
    service
        .queue()
        .enqueue(callbacks(&merchants)?, SystemClock.now())
        .await?;
    let finished = tokio::time::timeout(PATIENCE, all_finished(&service)).await;
    let mut as_expected = finished.is_ok();
    for scene in &SCENES {
        as_expected &= show(scene, &service, out).await?;
    }
    as_expected &= signatures_hold(&merchants, out)?;
    service.stop().await?;
    for merchant in merchants {
        merchant.stop().await;
    }
    if as_expected {
        writeln!(out, "All of it happened as it should.")?;
        Ok(Exit::Done)
    } else {
        Err(anyhow!("something above did not happen as it should").into())
    }
}

async fn merchant(answer: Answer, fail_first: u32) -> Result<MockMerchant, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("a port on loopback for a merchant")?;
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let settings = MerchantSettings {
        script: answer.into(),
        fail_first,
        keyring: Arc::new(configuration(folder.path())?.keys.keyring),
        ..MerchantSettings::default()
    };
    Ok(MockMerchant::start(listener, settings)?)
}

fn callbacks(merchants: &[MockMerchant; 3]) -> Result<Vec<NewCallback>, Failure> {
    let [accepts, hesitates, never] = merchants
        .each_ref()
        .map(|shop| shop.url("/newpay/callback"));
    let payment = |url: &str, newpay_order_no: &str, order_no: &str| {
        serde_json::json!({
            "kind": "payment", "callBackUrl": url, "appId": "6", "payMethod": 1,
            "orderAmt": "123.00", "currency": "LAK", "newpayOrderNo": newpay_order_no,
            "orderNo": order_no, "subject": "1", "result": "success",
            "transInfo": "Transaction Success", "settlementStatus": 1,
        })
    };
    let refund = serde_json::json!({
        "kind": "refund", "callBackUrl": accepts, "appId": "6", "payMethod": 1,
        "refundOrderAmt": "123.00", "currency": "LAK", "newpayOrderNo": "202209210000006950",
        "newpayRefundOrderNo": "202209210000006951", "orderNo": "202209067002502223",
        "refundOrderNo": "202209067002502232", "result": "success",
        "transInfo": "Transaction Success",
    });
    [
        payment(&accepts, "202209210000006950", "202209067002502223"),
        refund,
        payment(&hesitates, "202209210000006952", "202209067002502224"),
        payment(&never, "202209210000006953", "202209067002502225"),
    ]
    .iter()
    .map(|line| Ok(NewCallback::from_json_line(&line.to_string())?))
    .collect()
}

async fn all_finished(service: &Service) {
    let mut again = tokio::time::interval(Duration::from_millis(50));
    loop {
        again.tick().await;
        let unfinished = |(state, count): &(ShownState, u64)| {
            matches!(state, ShownState::Pending | ShownState::InFlight) && *count > 0
        };
        match service.inspection().stats().await {
            Ok(stats) if !stats.depth.iter().any(unfinished) => return,
            // A failing store shows in what is printed afterwards.
            Ok(_) | Err(_) => {}
        }
    }
}

/// Prints a scene; whether it went as it should.
async fn show(scene: &Scene, service: &Service, out: &mut dyn Write) -> Result<bool, Failure> {
    writeln!(out, "{}", scene.title)?;
    // A payment's number leads to its refunds, too; the oldest is the payment itself.
    let found = service.inspection().find(scene.order).await?;
    let Some(callback) = found.last() else {
        writeln!(out, "  not found\n")?;
        return Ok(false);
    };
    let attempts = service.inspection().attempts(callback.id).await?;
    let header = [
        "attempt", "started", "took", "HTTP", "outcome", "detail", "sign",
    ];
    table::print(out, header, attempts.iter().map(attempt_row))?;
    writeln!(
        out,
        "{}: {}\n",
        callback.state,
        explanation::for_merchant(callback, &attempts, None, SystemClock.now())
    )?;
    Ok(is_as_expected(scene, callback, &attempts))
}

fn is_as_expected(scene: &Scene, callback: &CallbackRow, attempts: &[AttemptRow]) -> bool {
    let outcomes = attempts.iter().map(|attempt| attempt.outcome.as_str());
    callback.state == scene.ends && outcomes.eq(scene.outcomes.iter().copied())
}

fn attempt_row(attempt: &AttemptRow) -> [String; 7] {
    [
        attempt.seq.to_string(),
        attempt.started_at.to_string(),
        format!("{} ms", attempt.duration_ms),
        attempt
            .http_status
            .map_or_else(String::new, |status| status.to_string()),
        attempt.outcome.clone(),
        attempt.detail.clone(),
        attempt.sign.clone().unwrap_or_default(),
    ]
}

/// What the merchants say of the signatures; whether all hold and none is missing.
fn signatures_hold(merchants: &[MockMerchant], out: &mut dyn Write) -> Result<bool, Failure> {
    let received: Vec<_> = merchants.iter().flat_map(MockMerchant::received).collect();
    let expected: usize = SCENES.iter().map(|scene| scene.outcomes.len()).sum();
    let hold = received
        .iter()
        .filter(|post| post.sign_holds == Some(true))
        .count();
    writeln!(
        out,
        "The merchants received {} POSTs; {hold} signatures hold.",
        received.len()
    )?;
    Ok(received.len() == expected && hold == expected)
}
