//! Everything that the program can say, with secrets wherever it takes one, at the most talkative
//! level and in each form of the log.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use callback_dispatcher::merchant::{Answer, Script};
use serde_json::json;

use super::{CONSOLE_TOKEN, HMAC, HMAC_NEXT, PROXY_PASSWORD, RSA, URL_TOKEN, assert_none_in};
use crate::binary::{admin_address, get};
use crate::support::callback::{payment_line as payment, refund_line as refund, with};
use crate::support::place::Place;
use crate::support::process::Process;
use crate::support::waiting::found;

/// App 6 signs by HMAC and is being rotated, app 7 by RSA.
fn write_keys(place: &Place) {
    let keys = format!(
        "[console]\ntoken = \"{CONSOLE_TOKEN}\"\n\
         [[key]]\napp_id = \"6\"\nid = \"now\"\nsecret = \"{HMAC}\"\n\
         [[key]]\napp_id = \"6\"\nid = \"next\"\nsecret = \"{HMAC_NEXT}\"\n\
         not_before = 2099-01-01T00:00:00Z\n\
         [[key]]\napp_id = \"7\"\nid = \"rsa\"\nalgorithm = \"rsa-sha256\"\n\
         private_key_file = \"rsa.pem\"\n"
    );
    place.write("keys.toml", &keys);
    place.write("rsa.pem", RSA);
    for name in ["keys.toml", "rsa.pem"] {
        place.set_mode(name, 0o600);
    }
}

/// Each way for an attempt to end that a merchant has.
fn answers() -> Script {
    Script::each(|post| match post.text("newpayOrderNo") {
        Some("N1") => Answer::Ack,
        Some("N2") => Answer::Refuse,
        Some("N3") => Answer::Html,
        Some("N4") => Answer::Status(500),
        _ => Answer::Close,
    })
}

/// A form, spoken by hand; the answer has no secret in it.
fn post_form(address: &str, path: &str, form: &str) {
    let mut stream = TcpStream::connect(address).expect("the admin port is open");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 "), "it answers");
    assert_none_in("the answer to a form", &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_error_metric_answer_or_database_has_one() {
    for format in ["text", "json"] {
        let place = Place::new();
        write_keys(&place);
        place.change_settings(
            "[admin]\nlisten = \"\"",
            &format!(
                "[log]\nlevel = \"trace\"\nformat = \"{format}\"\n[admin]\nlisten = \"127.0.0.1:0\""
            ),
        );
        let merchant = place.merchant(answers()).await;
        let url = merchant.url(&format!("/cb?token={URL_TOKEN}"));
        let mut callbacks: Vec<_> = (1..=5).map(|n| payment(&url, n)).collect();
        callbacks.push(with(refund(&url, 1), "appId", json!("7")));
        callbacks.push(with(payment("http://127.0.0.1:9/", 6), "appId", json!("7")));
        callbacks.push(with(payment(&url, 7), "appId", json!("no key")));
        place.enqueue(&callbacks);
        let mut daemon = place.run();
        let address = admin_address(&mut daemon).await;
        let daemon = daemon.ready().await;
        found("all but the one without a key are finished", || {
            let pending =
                "SELECT 1 FROM callback_queue WHERE state = 'pending' AND app_id <> 'no key'";
            place.rows(pending).is_empty().then_some(())
        })
        .await;
        for path in ["/metrics", "/healthz", "/readyz", "/", "/nonsense"] {
            get(&address, path);
        }
        for page in [
            "",
            "/search?q=M1",
            "/callbacks",
            "/callbacks/1",
            "/callbacks/6",
            "/merchants",
            "/commands",
            "/sign-in",
            "/act?action=resend&id=1",
        ] {
            get(&address, &format!("/console{page}"));
        }
        let (status, page) = get(&address, "/console/callbacks/1");
        assert!(
            status.contains(" 200 ") && page.contains("N1"),
            "{status}: {page}"
        );
        post_form(
            &address,
            "/console/sign-in",
            &format!("token={CONSOLE_TOKEN}&name=night"),
        );
        daemon.signal("HUP");
        for arguments in [
            &["show", "M1"][..],
            &["show", "M6", "--json"],
            &["list", "--json"],
            &["list"],
            &["stats"],
            &["stats", "--json"],
            &["check"],
        ] {
            place.ask(arguments);
        }
        let signed = json!({ "appId": "6", "amount": "1", "sign": "forged" }).to_string();
        assert_eq!(place.feed(&["verify", "--app", "6"], &signed).code, Some(1));
        let said = daemon.stops().await;
        assert!(said.contains("acknowledged"), "the log is there: {said}");
        // What was sent went under the keys, so the secrets were at work.
        let key_ids = place.rows("SELECT DISTINCT key_id FROM callback_attempt ORDER BY key_id");
        assert_eq!(
            key_ids,
            [
                json!({"key_id": null}),
                json!({"key_id": "now"}),
                json!({"key_id": "rsa"})
            ]
        );
        assert!(
            !said.contains(URL_TOKEN),
            "the path and query of a URL are in the log: {said}"
        );
        assert!(super::assert_none_in_files(place.folder()) >= 2);
    }
}

#[test]
fn no_error_about_a_faulty_secret_shows_it() {
    let broken_pem = RSA.replace("BEGIN PRIVATE KEY", "BEGIN PRIVATE");
    let keys = [
        format!("[[key]]\napp_id = \"6\"\nid = \"a\"\nsecret = \"{HMAC}\nx = 1\n"),
        format!("[[key]]\napp_id = 6\nid = \"a\"\nsecret = \"{HMAC}\"\n"),
        format!("[[key]]\napp_id = \"6\"\nid = \"a\"\nsecret = [\"{HMAC}\"]\n"),
        format!("[[key]]\napp_id = \"6\"\nid = \"a\"\n\"{HMAC}\" = \"secret\"\n"),
        "[[key]]\napp_id = \"6\"\nid = \"a\"\nalgorithm = \"rsa-sha256\"\nprivate_key_file = \"rsa.pem\"\n"
            .to_owned(),
    ];
    for keys in keys {
        let place = Place::bare();
        place.write("keys.toml", &keys);
        place.write("rsa.pem", &broken_pem);
        place.set_mode("keys.toml", 0o600);
        place.set_mode("rsa.pem", 0o600);
        for command in ["check", "run"] {
            let said = place.ask(&[command]);
            assert_eq!(said.code, Some(78), "{said:?}");
        }
        // Others can read it: refused without a look at what is in it.
        place.set_mode("keys.toml", 0o644);
        assert_eq!(place.ask(&["check"]).code, Some(78));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_password_stays_between_us_and_it() {
    let place = Place::new();
    let proxy = format!("http://newpay:{PROXY_PASSWORD}@127.0.0.1:9");
    let mut command = place.command(&["run"]);
    command.env("DISPATCHER__EGRESS__PROXY", &proxy);
    command.env("DISPATCHER__LOG__LEVEL", "trace");
    place.enqueue(&[payment("http://127.0.0.1:9/cb", 1)]);
    let daemon = Process::spawn(command).ready().await;
    found("an attempt is recorded", || {
        let attempts = place.rows("SELECT detail FROM callback_attempt");
        (!attempts.is_empty()).then_some(())
    })
    .await;
    daemon.stops().await;
    let mut command = place.command(&["check"]);
    command.env(
        "DISPATCHER__EGRESS__PROXY",
        format!("ftp://newpay:{PROXY_PASSWORD}@h"),
    );
    let output = command.output().expect("the program ends");
    assert_eq!(output.status.code(), Some(78));
    assert_none_in("what check said", &[output.stdout, output.stderr].concat());
}
