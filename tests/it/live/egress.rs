//! Whom the daemon refuses to call, as its settings stand by default.

use callback_dispatcher::merchant::Answer;

use super::{Daemon, Place, StoreKind, on_both};

async fn loopback_and_plain_http_are_blocked_unless_they_are_allowed(store: StoreKind) {
    for (setting, value, remedy) in [
        ("EGRESS__ALLOW_NETWORKS", "", "egress.allow_networks"),
        ("EGRESS__ALLOW_HTTP", "false", "egress.allow_http"),
    ] {
        let place = Place::on(store);
        let daemon = Daemon::start(&place, &[(setting, value)]).await;
        let merchant = daemon.merchant(&place, Answer::Ack).await;
        daemon.queue(&merchant.url("/callback"), "blocked").await;
        daemon.until_attempts("blocked", 1).await;
        let attempt = &daemon.attempts("blocked").await[0];
        assert_eq!(attempt.outcome, "blocked", "{attempt:?}");
        assert!(attempt.detail.contains(remedy), "{attempt:?}");
        assert!(attempt.counted, "{attempt:?}");
        assert_eq!((attempt.http_status, attempt.sent_timestamp), (None, None));
        assert_eq!(merchant.count(), 0);
        daemon.stop().await;
    }
}

on_both!(loopback_and_plain_http_are_blocked_unless_they_are_allowed,);
