//! Which callbacks a command is about.

use callback_dispatcher::domain::CallbackId;
use callback_dispatcher::store::{Action, Selectors, StoredState};

use super::{Fixture, ONE, TWO, app, at};
use crate::store_kind::{StoreKind, on_both};

on_both!(
    each_selector_chooses_its_callbacks,
    a_refund_is_found_by_each_of_its_numbers,
    callbacks_with_ids_below_one_are_found,
);

async fn each_selector_chooses_its_callbacks(kind: StoreKind) {
    let rows = [
        ("a", "exhausted", "6", ONE),
        ("b", "cancelled", "6", TWO),
        ("c", "exhausted", "7", ONE),
        ("d", "exhausted", "7", TWO),
    ];
    let table: [(Selectors, &str); 9] = [
        (
            Selectors {
                callback_id: Some(CallbackId(3)),
                ..Selectors::default()
            },
            "c",
        ),
        (
            Selectors {
                order_number: Some("shop-b".to_owned()),
                ..Selectors::default()
            },
            "b",
        ),
        (
            Selectors {
                order_number: Some("d".to_owned()),
                ..Selectors::default()
            },
            "d",
        ),
        (
            Selectors {
                app_id: Some("7".to_owned()),
                ..Selectors::default()
            },
            "c d",
        ),
        (
            Selectors {
                origin: Some("HTTPS://two.example:443/other".to_owned()),
                ..Selectors::default()
            },
            "b d",
        ),
        (
            Selectors {
                state: Some(StoredState::Cancelled),
                ..Selectors::default()
            },
            "b",
        ),
        (
            Selectors {
                since: Some(at(2)),
                ..Selectors::default()
            },
            "c d",
        ),
        (
            Selectors {
                until: Some(at(1)),
                ..Selectors::default()
            },
            "a",
        ),
        (
            Selectors {
                state: Some(StoredState::Exhausted),
                app_id: Some("7".to_owned()),
                origin: Some(TWO.to_owned()),
                ..Selectors::default()
            },
            "d",
        ),
    ];
    for (selectors, expected) in table {
        let fixture = Fixture::on(kind).await;
        fixture.insert(&rows);
        let chosen = selectors.clone();
        fixture
            .answered(Action::Resend, |command| command.selectors = chosen)
            .await;
        assert_eq!(fixture.orders("pending"), expected, "{selectors:?}");
    }
}

async fn a_refund_is_found_by_each_of_its_numbers(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.sql(
        "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
           newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, result, state,
           next_attempt_at, finished_at)
         VALUES ('refund', 'https://one.example/', '6', 1, '1', 'LAK', 'n', 'o', 'nr', 'r',
           'success', 'exhausted', NULL, 1)",
    );
    for number in ["n", "o", "nr", "r"] {
        let found = fixture
            .answered(Action::Resend, |command| {
                command.selectors.order_number = Some(number.to_owned());
                command.dry_run = true;
            })
            .await;
        let expected = "done|1|1|0|{}|would resend 1 of 1 callback";
        assert_eq!(found, expected, "{number}");
    }
}

/// Versions before 6 let them in.
async fn callbacks_with_ids_below_one_are_found(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    for id in [-7, 0] {
        fixture.sql(&format!(
            "INSERT INTO internal_transfer_in (transfer_id, from_name, marked_at, copying) VALUES ('s', 'f', 1, 1);
             INSERT INTO callback_queue (id, kind, callback_url, app_id, pay_method, amount, currency,
               newpay_order_no, order_no, result, settlement_status)
             VALUES ({id}, 'payment', '{ONE}/', '6', 1, '1', 'LAK', 'N{id}', 'M', 'success', 1);
             DELETE FROM internal_transfer_in"
        ));
    }
    assert_eq!(
        fixture.answered(Action::Cancel, app("6")).await,
        "done|2|2|0|{}|cancelled 2 of 2 callbacks"
    );
}
