//! A database whose bytes are not those that were written.
//!
//! | damage | what is right |
//! |---|---|
//! | a page of a table or an index, a file cut short | ends with 1 and says that the database is damaged |
//! | the header | ends with 78: that is no queue |
//! | a free page | may go unnoticed; once it is noticed, as above |
//! | the end of the log lost after a crash | goes on from what is left |
//!
//! And always: nothing is sent that was delivered before, no acknowledgement is recorded that was
//! not given.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rusqlite::Connection;

use super::merchants::Behaviour;
use super::program::Program;
use super::world::{World, assert_none};
use super::{Chance, tally, told, until};
use crate::support::table::rows;

const BEHAVIOURS: [Behaviour; 3] = [
    Behaviour::Healthy,
    Behaviour::Slow(Duration::from_millis(60)),
    Behaviour::Refusing,
];

const SETTINGS: &str = r#"
[delivery]
max_in_flight = 16
max_in_flight_per_merchant = 8
"#;

const PAGE_BYTES: u64 = 4096;

/// Where the damage is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Every leaf of a table or an index.
    LeavesOf(&'static str),
    /// Its root.
    RootOf(&'static str),
    Header,
    /// The first page of the list of free ones.
    FreeList,
    /// The second half of the file is gone.
    SecondHalf,
}

/// What is damaged and where, the exit code and the words with which the program must end, and whether
/// it may also go on to the end.
const TABLE: &str = "
    the table's leaves | leaves of callback_queue | 1 | the database is damaged | never
    the table's root | root of callback_queue | 1 | the database is damaged | never
    the log's leaves | leaves of callback_attempt | 1 | the database is damaged | never
    the index of what is due | leaves of callback_due | 1 | the database is damaged | never
    the index of what is in flight | root of callback_in_flight | 1 | the database is damaged | never
    the index of what is finished | root of callback_finished | 1 | the database is damaged | never
    the header | header | 78 | not an SQLite file | never
    a free page | free list | 1 | the database is damaged | may go on
    a file cut in half | second half | 1 | the database is damaged | never";

impl Place {
    fn parse(text: &'static str) -> Self {
        match text.split_once(" of ") {
            Some(("leaves", name)) => Self::LeavesOf(name),
            Some((_, name)) => Self::RootOf(name),
            None if text == "header" => Self::Header,
            None if text == "free list" => Self::FreeList,
            None => Self::SecondHalf,
        }
    }
}

/// Overwrites what is at `place` of the queue, of which nobody has a connection.
fn damage(world: &World, place: Place) {
    let pages = pages(&world.connect(), place);
    let file = OpenOptions::new().write(true).open(world.path("queue.db"));
    let file = file.expect("our file");
    let garbage = [0xa5; PAGE_BYTES as usize];
    match place {
        Place::Header => file.write_all_at(&garbage[..100], 0),
        Place::SecondHalf => file.set_len(length(&file) / PAGE_BYTES / 2 * PAGE_BYTES),
        Place::LeavesOf(_) | Place::RootOf(_) | Place::FreeList => pages
            .iter()
            .try_for_each(|page| file.write_all_at(&garbage, (page - 1) * PAGE_BYTES)),
    }
    .expect("our file");
}

fn length(file: &File) -> u64 {
    file.metadata().expect("our file").len()
}

/// The numbers of the pages, from 1.
fn pages(db: &Connection, place: Place) -> Vec<u64> {
    let size = db.query_row("PRAGMA page_size", [], |row| row.get::<_, u64>(0));
    assert_eq!(size, Ok(PAGE_BYTES));
    let ask = |sql: &str, name: &str| -> Vec<u64> {
        let mut statement = db.prepare(sql).expect("SQLite tells");
        let rows = statement.query_map([name], |row| row.get(0));
        let rows = rows.expect("SQLite tells").collect::<Result<_, _>>();
        rows.expect("SQLite tells")
    };
    let pages = match place {
        Place::LeavesOf(name) => ask(
            "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf'",
            name,
        ),
        Place::RootOf(name) => ask("SELECT rootpage FROM sqlite_schema WHERE name = ?1", name),
        Place::FreeList => {
            let header = fs::read(db.path().expect("it is a file")).expect("our file");
            let first = header[32..36].try_into().expect("four bytes");
            vec![u64::from(u32::from_be_bytes(first))]
        }
        Place::Header | Place::SecondHalf => return Vec::new(),
    };
    assert!(
        !pages.is_empty() && !pages.contains(&0),
        "{place:?}: {pages:?}"
    );
    pages
}

/// Half delivered, with free pages, all of it in the one file.
async fn half_done() -> World {
    let world = World::new(&BEHAVIOURS, SETTINGS).await;
    world.queue(600);
    let mut daemon = Program::default().start(&world);
    until("half is delivered", || {
        world.count("state = 'delivered'") > 150
    })
    .await;
    daemon.kill();
    world.add_old_ones(400);
    let db = world.connect();
    let tidied = db.execute_batch(
        "DELETE FROM callback_queue WHERE order_no = 'OLD'; PRAGMA wal_checkpoint(TRUNCATE)",
    );
    tidied.expect("the queue is sound");
    assert!(
        world.count("state = 'pending'") > 150,
        "too much is delivered"
    );
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_and_nothing_is_made_up() {
    let world = half_done().await;
    let numbers = |sql| -> BTreeSet<String> {
        let db = world.connect();
        let mut statement = db.prepare(sql).expect("the queue is sound");
        let rows = statement.query_map([], |row| row.get(0));
        let rows = rows.expect("the queue is sound").collect::<Result<_, _>>();
        rows.expect("the queue is sound")
    };
    let finished = numbers(
        "SELECT coalesce(newpay_refund_order_no, newpay_order_no) FROM callback_queue
         WHERE state <> 'pending'",
    );
    let sound = fs::read(world.path("queue.db")).expect("our file");
    for [what, place, code, words, goes_on] in rows(TABLE) {
        for suffix in ["-wal", "-shm"] {
            // They are gone already where the last program ended in order.
            let _ = fs::remove_file(world.path(&format!("queue.db{suffix}")));
        }
        fs::write(world.path("queue.db"), &sound).expect("our file");
        damage(&world, Place::parse(place));
        let before = world.journal.count();
        let mut daemon = Program::default().start(&world);
        let mut status = None;
        until(&format!("{what}: it ends, or is done"), || {
            status = daemon.ended();
            status.is_some() || (goes_on == "may go on" && world.count("state = 'pending'") == 0)
        })
        .await;
        let said = daemon.said();
        if let Some(status) = status {
            assert_eq!(status.code(), code.parse().ok(), "{what}: {said}");
            assert!(said.contains(words), "{what}: {said}");
        }
        drop(daemon);
        for post in &world.journal.posts()[before..] {
            assert!(post.sign_holds, "{what}: {post:?}");
            assert!(
                !finished.contains(&post.number),
                "{what}: sent again: {post:?}"
            );
        }
        tally::passed(&format!("damaged: {what}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_end_of_its_log_it_goes_on_from_what_is_left() {
    let mut chance = Chance::new();
    for round in 0..told("CRASH_TAILS").unwrap_or(6) {
        let world = World::new(&BEHAVIOURS, SETTINGS).await;
        world.queue(300);
        let mut daemon = Program::default().start(&world);
        let some = usize::try_from(20 + chance.below(150)).expect("few");
        until("POSTs", || world.journal.count() > some).await;
        daemon.kill();

        let log = OpenOptions::new()
            .write(true)
            .open(world.path("queue.db-wal"));
        let log = log.expect("a crash leaves its log");
        let length = length(&log);
        let cut = chance.below(length);
        let lost = if chance.below(2) == 0 {
            log.set_len(cut)
        } else {
            let tail = usize::try_from(length - cut).expect("it fits into memory");
            log.write_all_at(&vec![0; tail], cut)
        };
        lost.expect("our file");
        // As after a power cut: the index of the log, in memory, is gone.
        fs::remove_file(world.path("queue.db-shm")).expect("a crash leaves it");

        let mut daemon = Program::default().start(&world);
        world.until_nothing_is_pending(&mut daemon).await;
        daemon.ready().await.stops().await;
        let faults = world.faults_of_what_stands();
        assert_none(&faults);
        assert_eq!(
            world.queued(),
            world.count("1"),
            "round {round}: rows are absent"
        );
    }
    tally::passed("the end of the log lost");
}
