//! What `pg_dump` writes of a queue is one again.

use crate::support::postgres::Server;
use crate::support::store::Store;

const SCHEMA: &str = include_str!("../../../schema.postgres.sql");
const DIVIDE: &str = include_str!("../../../partition.postgres.sql");

const QUEUED: &str = "
INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no,
  order_no, result, settlement_status)
VALUES ('payment', 'https://one.example/', '6', 1, '123.00', 'LAK', gen_random_uuid(), 'M', 'success', 1)
RETURNING id";

const TRIED: &str = "
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
VALUES (1, 1, callback_now(), 5, 'refused', 1)";

/// Everything that a queue is made of, and what is in it.
const ALL: &str = "
SELECT 'relation', relname || ' ' || relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgname || ' ' || tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'rule', conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
  WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'callback', to_json(q)::text FROM callback_queue q
UNION ALL SELECT 'attempt', to_json(a)::text FROM callback_attempt a
ORDER BY 1, 2";

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_a_queue_again() {
    for script in ["", DIVIDE] {
        let from = Server::shared().create_database();
        from.sql(SCHEMA);
        from.sql(script);
        assert_eq!(from.value(QUEUED), "1");
        from.sql(TRIED);
        let to = Server::shared().create_database();
        let strictly = ["-v", "ON_ERROR_STOP=1"];
        assert_eq!(to.script(&strictly, &from.dump()).1, "");
        assert_eq!(to.psql(ALL), from.psql(ALL));

        let owed = to
            .try_sql("DELETE FROM callback_queue")
            .expect_err("a pending one");
        assert!(owed.contains("is owed to a merchant"), "{owed}");
        assert_eq!(to.value(QUEUED), "2");
        let queue = Store::Postgres(to)
            .open("this test")
            .await
            .expect("a queue");
        assert_eq!(queue.newest().await.map(|id| id.0), Ok(2));
        queue.close().await;
    }
}
