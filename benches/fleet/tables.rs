//! The tables of some paired rounds, and the figures that are wanted.

use std::time::Duration;

use crate::common::report::{self, Figures, Goal, Spread};
use crate::drain::Cost;
use crate::server::Asked;

/// One after the other, in one run.
pub(crate) struct Round {
    pub(crate) sqlite: Cost,
    /// One dispatcher, two, three.
    pub(crate) fleets: Vec<Cost>,
}

fn over(rounds: &[Round], value: impl Fn(&Round) -> f64) -> Spread {
    Spread::of(rounds.iter().map(value))
}

/// How many times as fast as one dispatcher on PostgreSQL.
fn to_one(round: &Round, cost: &Cost) -> f64 {
    cost.per_second() / round.fleets[0].per_second()
}

fn to_sqlite(round: &Round, cost: &Cost) -> f64 {
    cost.per_second() / round.sqlite.per_second()
}

pub(crate) fn print(title: &str, in_flight: usize, rounds: &[Round]) {
    let title = format!(
        "{title}: {in_flight} in flight for each dispatcher, {} paired rounds",
        rounds.len()
    );
    let count = |value: f64| format!("{value:.0}");
    let ratio = |value: f64| format!("{value:.2}");
    let mut rows =
        vec![over(rounds, |round| round.sqlite.per_second()).row("SQLite, POST/s", count)];
    for n in 0..3 {
        let name = format!("PostgreSQL, {} POST/s", dispatchers(n));
        rows.push(over(rounds, |round| round.fleets[n].per_second()).row(&name, count));
    }
    let name = "one on PostgreSQL against SQLite";
    rows.push(over(rounds, |round| to_sqlite(round, &round.fleets[0])).row(name, ratio));
    for n in 1..3 {
        let name = format!("{} against one", dispatchers(n));
        rows.push(over(rounds, |round| to_one(round, &round.fleets[n])).row(&name, ratio));
    }
    report::spreads(&title, &rows);

    let head = ["median", "SQLite", "one", "two", "three"];
    let each = |name: &str, value: &dyn Fn(&Cost) -> f64, digits: usize| {
        let form = |spread: Spread| format!("{:.digits$}", spread.median);
        let fleets = (0..3).map(|n| form(over(rounds, |round| value(&round.fleets[n]))));
        let sqlite = form(over(rounds, |round| value(&round.sqlite)));
        [name.to_owned(), sqlite]
            .into_iter()
            .chain(fleets)
            .collect()
    };
    let calls = |asked: &Asked| asked.calls;
    let millis = |asked: &Asked| asked.millis;
    type Value<'a> = &'a dyn Fn(&Cost) -> f64;
    let (dispatchers, server, merchants): (Value, Value, Value) = (
        &|cost| micros(cost, cost.dispatchers_cpu),
        &|cost| micros(cost, cost.server_cpu),
        &|cost| micros(cost, cost.merchants_cpu),
    );
    let claimed = |cost: &Cost| mean(cost, "claim", |asked| asked.rows);
    let look = |cost: &Cost| mean(cost, "next due", millis);
    let looks = |cost: &Cost| rate(cost, "look", calls) + rate(cost, "survey", calls);
    let wal = |cost: &Cost| cost.all(|asked| asked.wal_bytes) / cost.rows as f64;
    let rows = [
        each("CPU of dispatchers, microseconds each", dispatchers, 1),
        each("CPU of the server, microseconds each", server, 1),
        each("CPU of merchants, microseconds each", merchants, 1),
        each("processors in use", &processors, 2),
        each("statements per delivery", &Cost::statements, 4),
        each("claims per second", &|it| rate(it, "claim", calls), 1),
        each("callbacks claimed by one", &claimed, 1),
        each("records per second", &|it| rate(it, "record", calls), 1),
        each("a claim, ms", &|it| mean(it, "claim", millis), 2),
        each("a record, ms", &|it| mean(it, "record", millis), 2),
        each("a look for what is due next, ms", &look, 2),
        each("looks and surveys per second", &looks, 1),
        each("WAL, bytes each", &wal, 0),
    ];
    report::table("What it took, for each delivery", &head, &rows);
}

pub(crate) fn instant(rounds: &[Round], figures: &mut Figures) {
    let ratio = over(rounds, |round| to_sqlite(round, &round.fleets[0])).median;
    let name = "instant: one dispatcher against SQLite";
    figures.add(name, ratio, "", Goal::AtLeast(0.5));
    statements("instant", rounds, figures);
}

pub(crate) fn slow(rounds: &[Round], figures: &mut Figures) {
    let ratio = over(rounds, |round| to_one(round, &round.fleets[2])).median;
    let name = "50 ms: three dispatchers against one";
    figures.add(name, ratio, "", Goal::AtLeast(2.7));
    statements("50 ms", rounds, figures);
}

/// Of the fleet that asks most.
fn statements(merchants: &str, rounds: &[Round], figures: &mut Figures) {
    let most = (0..3)
        .map(|n| over(rounds, |round| round.fleets[n].statements()).median)
        .fold(0.0, f64::max);
    let name = format!("{merchants}: statements per delivery, at most");
    figures.add(name, most, "", Goal::AtMost(0.1));
}

fn dispatchers(n: usize) -> &'static str {
    ["one dispatcher", "two dispatchers", "three dispatchers"][n]
}

fn micros(cost: &Cost, cpu: Duration) -> f64 {
    cpu.as_secs_f64() * 1e6 / cost.rows as f64
}

/// Of all that takes part, while it drains.
fn processors(cost: &Cost) -> f64 {
    let all = cost.dispatchers_cpu + cost.server_cpu + cost.merchants_cpu;
    all.as_secs_f64() / cost.elapsed.as_secs_f64()
}

fn rate(cost: &Cost, kind: &str, value: fn(&Asked) -> f64) -> f64 {
    cost.sum(kind, value) / cost.elapsed.as_secs_f64()
}

/// By the calls of that kind.
fn mean(cost: &Cost, kind: &str, value: fn(&Asked) -> f64) -> f64 {
    cost.sum(kind, value) / cost.sum(kind, |asked| asked.calls).max(1.0)
}
