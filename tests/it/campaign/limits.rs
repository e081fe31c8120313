//! Less than the program would like to have.
//!
//! | case | what is right |
//! |---|---|
//! | 64 file descriptors | what finds none is not counted against its merchant, and delivered later |
//! | an address space of any size | works, ends, or waits and says so; nothing is lost |
//! | SIGSTOP for longer than any timeout | goes on when it may; nothing is lost |

use std::time::Duration;

use super::merchants::Behaviour;
use super::program::Program;
use super::world::World;
use super::{tally, until};
use crate::support::process::Process;

const SETTINGS: &str = r#"
[delivery]
max_in_flight = 120
max_in_flight_per_merchant = 40
connect_timeout = "2s"
timeout = "2s"
"#;

/// From too little to begin with to more than enough, in MiB.
const ADDRESS_SPACES_MIB: [u64; 10] = [16, 24, 32, 48, 64, 96, 128, 192, 256, 1024];

/// With this it has begun, and must say why it ends. A debug build is much larger than one that
/// ships.
const LOADED_MIB: u64 = 192;

#[tokio::test(flavor = "multi_thread")]
async fn a_want_of_file_descriptors_is_not_the_merchants_fault() {
    let slow = Behaviour::Slow(Duration::from_millis(250));
    let world = World::new(&[slow, slow, slow, slow], SETTINGS).await;
    world.queue(240);
    let mut daemon = Program::limited("--nofile=64").start(&world);
    world.until_nothing_is_pending(&mut daemon).await;
    assert_eq!(daemon.ended(), None, "{}", daemon.said());
    daemon.ready().await.stops().await;
    let starved = world.attempts("outcome = 'connect' AND counted = 0");
    assert!(starved > 0, "64 were enough");
    assert_eq!(world.attempts("outcome = 'connect' AND counted = 1"), 0);
    world.ends_well().await;
    tally::passed("64 file descriptors");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_little_memory_it_works_or_ends_and_loses_nothing() {
    let behaviours = [
        Behaviour::Healthy,
        Behaviour::Slow(Duration::from_millis(100)),
        Behaviour::Fickle,
    ];
    let world = World::new(&behaviours, SETTINGS).await;
    let mut worked = Vec::new();
    for mib in ADDRESS_SPACES_MIB {
        world.queue(150);
        let bytes = mib << 20;
        let mut daemon = Program::limited(format!("--as={bytes}")).start(&world);
        let mut status = None;
        let says_so = |daemon: &Process| daemon.said().contains("out of memory");
        let what = format!("with {mib} MiB it has delivered everything, has ended, or says so");
        until(&what, || {
            status = daemon.ended();
            status.is_some() || says_so(&daemon) || world.count("state = 'pending'") == 0
        })
        .await;
        match status {
            // It waits for better times, and sends nothing that it can't record.
            None if says_so(&daemon) => daemon.kill(),
            None => {
                worked.push(mib);
                daemon.ready().await.stops().await;
            }
            Some(status) => {
                assert!(!status.success(), "{mib} MiB: it gave up in silence");
                // 78 would tell systemd to leave it down when there is memory again.
                assert_ne!(status.code(), Some(78), "{mib} MiB: {}", daemon.said());
                // With less, the system can't even load it.
                let has_begun = mib >= LOADED_MIB;
                assert!(
                    !has_begun || !daemon.said().is_empty(),
                    "{mib} MiB: {status} without a word"
                );
            }
        }
        let faults = world.faults_since(0);
        assert!(faults.is_empty(), "{mib} MiB: {}", faults.join("\n"));
    }
    assert!(worked.contains(&1024), "{worked:?}");
    println!("works with an address space of {worked:?} MiB");
    world.ends_well().await;
    tally::passed("an address space of any size");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_the_process_for_a_while_loses_nothing() {
    let behaviours = [
        Behaviour::Healthy,
        Behaviour::Slow(Duration::from_millis(800)),
        Behaviour::Closing,
    ];
    let world = World::new(&behaviours, SETTINGS).await;
    world.queue(400);
    let mut daemon = Program::default().start(&world);
    for _ in 0..3 {
        let before = world.journal.count();
        until("POSTs", || world.journal.count() > before + 10).await;
        daemon.signal("STOP");
        // Longer than `delivery.timeout`.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        daemon.signal("CONT");
    }
    world.until_nothing_is_pending(&mut daemon).await;
    assert_eq!(daemon.ended(), None, "{}", daemon.said());
    daemon.ready().await.stops().await;
    world.ends_well().await;
    tally::passed("SIGSTOP");
}
