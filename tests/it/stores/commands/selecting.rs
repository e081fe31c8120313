//! Which callbacks a command is about.

use callback_dispatcher::domain::CallbackId;
use callback_dispatcher::store::{Action, Selectors, StoredState};

use super::{Fixture, ONE, TWO, app, at};
use crate::support::callback::{finished, insert};
use crate::support::store::{StoreKind, on_both};

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
    type Choose = fn(&mut Selectors);
    let table: [(Choose, &str); 9] = [
        (|it| it.callback_id = Some(CallbackId(3)), "c"),
        (|it| it.order_number = Some("shop-b".to_owned()), "b"),
        (|it| it.order_number = Some("d".to_owned()), "d"),
        (|it| it.app_id = Some("7".to_owned()), "c d"),
        (
            |it| it.origin = Some("HTTPS://two.example:443/other".to_owned()),
            "b d",
        ),
        (|it| it.state = Some(StoredState::Cancelled), "b"),
        (|it| it.since = Some(at(2)), "c d"),
        (|it| it.until = Some(at(1)), "a"),
        (
            |it| {
                it.state = Some(StoredState::Exhausted);
                it.app_id = Some("7".to_owned());
                it.origin = Some(TWO.to_owned());
            },
            "d",
        ),
    ];
    for (choose, expected) in table {
        let mut selectors = Selectors::default();
        choose(&mut selectors);
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
    let refund = [
        ("kind", "'refund'"),
        ("order_no", "'o'"),
        ("newpay_refund_order_no", "'nr'"),
        ("refund_order_no", "'r'"),
        ("settlement_status", "NULL"),
    ];
    let changes = [&refund[..], &finished("'exhausted'", "1")].concat();
    fixture.sql(&insert("https://one.example/", "n", &changes));
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
             {}
             DELETE FROM internal_transfer_in",
            insert(ONE, &format!("N{id}"), &[("id", &id.to_string())])
        ));
    }
    assert_eq!(
        fixture.answered(Action::Cancel, app("6")).await,
        "done|2|2|0|{}|cancelled 2 of 2 callbacks"
    );
}
