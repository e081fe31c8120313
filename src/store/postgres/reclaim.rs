//! Taking over what dispatchers have left in flight that are gone.
//!
//! Who is gone, the fleet says; see there. Their claims are found by their tokens, which name them.
//! From time to time all that is in flight is looked through: for claims of dispatchers that nobody
//! knows any more, and for claims of our own whose answer was lost.

use tokio_postgres::GenericClient;
use tokio_postgres::types::ToSql;

use super::connection::{Lent, Pool};
use super::fleet::{Fleet, OWNER};
use crate::domain::{Outcome, Timestamp};
use crate::store::{INTERRUPTED, StoreError};

/// Attempts that one statement ends.
const INTERRUPTED_MAX: i64 = 1000;

/// In flight under tokens from one to another, and not of these dispatchers.
const IN_FLIGHT: &str = "
SELECT id, lease_token FROM callback_queue
WHERE leased_until IS NOT NULL AND lease_token BETWEEN $1 AND $2 AND NOT {owner} = ANY ($3)
LIMIT $4";

/// Two dispatchers that do so at once pass each other's rows over.
const INTERRUPT: &str = "
WITH held AS MATERIALIZED (
  SELECT q.id, q.attempt_seq + 1 AS seq, q.leased_at, q.to_url
  FROM unnest($1::bigint[], $2::bigint[]) AS lease (id, token)
  CROSS JOIN LATERAL (
    SELECT id, attempt_seq, leased_at, to_url FROM callback_queue
    WHERE id = lease.id AND lease_token = lease.token FOR UPDATE SKIP LOCKED
  ) q
), moved AS (
  UPDATE callback_queue q
  SET next_attempt_at = $3, last_outcome = $4, attempt_seq = held.seq,
      leased_until = NULL, leased_at = NULL, lease_token = NULL
  FROM held WHERE q.id = held.id
)
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, detail, to_url)
SELECT id, seq, leased_at, 0, $4, 0, $5, to_url
FROM held";

/// What is looked for: leases that are in flight.
struct Search {
    lowest_token: i64,
    highest_token: i64,
    /// Dispatchers whose leases are left alone.
    but_of: Vec<i64>,
}

impl Search {
    const fn by(tokens: (i64, i64)) -> Self {
        Self {
            lowest_token: tokens.0,
            highest_token: tokens.1,
            but_of: Vec::new(),
        }
    }

    fn all_but_of(living: Vec<i64>) -> Self {
        Self {
            but_of: living,
            ..Self::by((i64::MIN, i64::MAX))
        }
    }

    async fn find(
        &self,
        client: &impl GenericClient,
        limit: i64,
    ) -> Result<InFlight, tokio_postgres::Error> {
        let sql = IN_FLIGHT.replace("{owner}", OWNER);
        let values: [&(dyn ToSql + Sync); 4] = [
            &self.lowest_token,
            &self.highest_token,
            &self.but_of,
            &limit,
        ];
        let rows = client.query(&sql, &values).await?;
        let (ids, tokens) = rows
            .iter()
            .map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)))
            .unzip();
        Ok(InFlight { ids, tokens })
    }
}

/// Callbacks, and the tokens under which they are in flight.
struct InFlight {
    ids: Vec<i64>,
    tokens: Vec<i64>,
}

/// Ends what dispatchers that are gone have left in flight; returns the number of callbacks.
pub(super) async fn reclaim(
    pool: &Pool,
    fleet: &Fleet,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let (dead, living) = (fleet.dead(), fleet.sweep());
    if dead.is_empty() && living.is_none() {
        return Ok(0);
    }
    let client = pool.client().await?;
    let mut all = 0;
    for id in dead {
        let search = Search::by(Fleet::tokens_of(id));
        let (ended, is_all) = interrupt_all(&client, &search, now).await?;
        all += ended;
        if is_all {
            fleet.cleared(id);
        }
    }
    if let Some(living) = living {
        let search = Search::all_but_of(living);
        all += interrupt_all(&client, &search, now).await?.0;
        find_lost_claims(&client, fleet).await?;
    }
    Ok(all)
}

/// Ends all that is found. Returns the number, and whether it was all: rows that another session has
/// locked are left.
async fn interrupt_all(
    client: &Lent,
    search: &Search,
    now: Timestamp,
) -> Result<(usize, bool), StoreError> {
    let mut all = 0;
    loop {
        let found = client.within(search.find(&****client, INTERRUPTED_MAX));
        let found = found.await?;
        if found.ids.is_empty() {
            return Ok((all, true));
        }
        let ended = client.within(interrupt(&****client, &found, now)).await?;
        all += usize::try_from(ended).unwrap_or(usize::MAX);
        if ended == 0 {
            return Ok((all, false));
        }
    }
}

/// Ends everything that is in flight: no dispatcher is at work.
pub(super) async fn interrupt_everything(
    client: &impl GenericClient,
    now: Timestamp,
) -> Result<(), tokio_postgres::Error> {
    let search = Search::all_but_of(Vec::new());
    loop {
        let found = search.find(client, INTERRUPTED_MAX).await?;
        if found.ids.is_empty() {
            return Ok(());
        }
        interrupt(client, &found, now).await?;
    }
}

async fn interrupt(
    client: &impl GenericClient,
    InFlight { ids, tokens }: &InFlight,
    now: Timestamp,
) -> Result<u64, tokio_postgres::Error> {
    let (now, interrupted) = (now.as_millis(), Outcome::Interrupted.as_str());
    client
        .execute(INTERRUPT, &[ids, tokens, &now, &interrupted, &INTERRUPTED])
        .await
}

/// Has the next heartbeat release claims of this dispatcher that it does not know: the database heard
/// of them after we had given them up.
async fn find_lost_claims(client: &Lent, fleet: &Fleet) -> Result<(), StoreError> {
    let search = Search::by(fleet.own_tokens());
    let in_flight = client.within(search.find(&****client, i64::MAX)).await?;
    let lost = in_flight.tokens.into_iter();
    for token in lost.filter(|token| !fleet.knows(*token)) {
        fleet.claim_failed(token);
    }
    Ok(())
}
