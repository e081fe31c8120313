//! The log can't be written: nothing is sent that can't be recorded.

use std::time::Duration;

use tokio::time::sleep;

use super::world::{IN_FLIGHT_MAX, World};
use crate::binary::{admin_address, get};
use crate::support::process::assert_has;
use crate::support::waiting::until;

/// No attempt can be recorded, for a reason that might be a single row's.
const REFUSE: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN RAISE EXCEPTION 'the log is closed'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON callback_attempt
      FOR EACH ROW EXECUTE FUNCTION refuse()";

const ALLOW: &str = "DROP FUNCTION refuse CASCADE";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_more_is_sent_while_attempts_cannot_be_recorded() {
    let world = World::new().await;
    let listen = "listen = \"127.0.0.1:0\"";
    world.place.change_settings("listen = \"\"", listen);
    let mut dispatcher = world.place.run();
    let admin = admin_address(&mut dispatcher).await;
    let dispatcher = dispatcher.ready().await;
    let is_ready = || get(&admin, "/readyz").0.contains(" 200 ");
    world.place.sql(REFUSE);
    world.queue(2000);
    world.until_posts(1).await;
    until("it is not ready", async || !is_ready()).await;
    let in_flight = world.journal.count();
    assert!(in_flight <= IN_FLIGHT_MAX, "{in_flight} were sent");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.journal.count(), in_flight, "{}", dispatcher.said());
    assert_has(&world.check_fails(), &["the log is closed"]);

    world.place.sql(ALLOW);
    let delivered = world.all_delivered_within(Duration::from_secs(60)).await;
    assert!(delivered, "{}", dispatcher.said());
    assert_eq!(world.doubled(), 0);
    until("it is ready", async || is_ready()).await;
    dispatcher.stops().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_does_not_start_if_it_could_record_nothing() {
    let world = World::new().await;
    world.place.sql(REFUSE);
    world.queue(10);
    let mut dispatcher = world.place.run();
    dispatcher.says("the log is closed").await;
    assert_ne!(dispatcher.ends().await.code(), Some(0));
    assert_eq!(world.journal.count(), 0);
}

/// As after a restore: a dump does not carry the settings of roles.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_in_another_schema_is_named_and_no_second_one_is_made() {
    let world = World::new().await;
    world.place.sql(
        "CREATE SCHEMA callbacks; ALTER TABLE queue_schema SET SCHEMA callbacks;
         ALTER ROLE postgres SET search_path = public",
    );
    let mut dispatcher = world.place.run();
    dispatcher.says("but there is one in callbacks").await;
    assert_eq!(dispatcher.ends().await.code(), Some(78));
    let queues = "SELECT count(*) FROM pg_class WHERE relname = 'queue_schema' AND relkind = 'r'";
    assert_eq!(world.place.sql(queues), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_sees_a_log_whose_division_by_month_was_cut_off() {
    let world = World::new().await;
    world.place.sql(
        "ALTER TABLE callback_attempt ADD CONSTRAINT started_before_there_were_months
           CHECK (started_at < 9000000000000) NOT VALID",
    );
    assert_has(
        &world.check_fails(),
        &["partition.postgres.sql was cut off"],
    );
}
