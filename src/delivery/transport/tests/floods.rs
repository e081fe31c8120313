//! A merchant that sends interim answers without end, as fast as the wire takes them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use super::scripted::{ACK, Merchant};
use super::*;
use crate::clock::Stopwatch;

/// What an exchange may take beside a flood, on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

/// Floods every connection with `wave`, on threads of its own, so that no runtime paces it.
fn flood(wave: &str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let wave = wave.repeat(60_000 / wave.len());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let wave = wave.clone();
            std::thread::spawn(move || {
                let _length = stream.read(&mut [0; 4096])?;
                loop {
                    stream.write_all(wave.as_bytes())?;
                }
                #[expect(unreachable_code, reason = "it gives the closure its type")]
                Ok::<(), std::io::Error>(())
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_interim_answers_are_cut_off_and_hold_up_nobody() {
    let many_headers = format!("HTTP/1.1 103 E\r\n{}\r\n", "X: y\r\n".repeat(50));
    for wave in ["HTTP/1.1 100 Continue\r\n\r\n", &many_headers] {
        let url = format!("http://{}/", flood(wave));
        let merchant = Merchant::acks(1).await;
        let transport = Arc::new(transport(settings()));
        let watch = Stopwatch::start();
        let flooded: Vec<_> = (0..4)
            .map(|_| {
                let (transport, url) = (Arc::clone(&transport), url.clone());
                tokio::spawn(async move { transport.post(&url, b"{}".to_vec()).await })
            })
            .collect();
        for _ in 0..20 {
            let report = transport.post(&merchant.url(), b"{}".to_vec()).await;
            assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
        }
        let healthy = watch.elapsed();
        for report in flooded {
            let report = report.await.expect("it does not panic");
            assert_fault(&report, Phase::Head, Cause::Remote, "interim answers");
        }
        assert!(
            healthy < PROMPT && watch.elapsed() < PROMPT,
            "{healthy:?} {:?}",
            watch.elapsed()
        );
    }
}

#[tokio::test]
async fn a_few_interim_answers_come_before_the_answer() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(50);
    let script = vec![Step::Request, scripted::send(interim), Step::Ack];
    let (report, merchant) = post_once(settings(), script).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
}
