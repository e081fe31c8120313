//! Merchants as small servers are: so many workers, each taking its time, and a backlog that is never
//! told of a caller who hung up.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n\
    {\"transResult\":\"SUCCESS\"}";

/// What a merchant can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) workers: usize,
    /// How long a worker takes for a callback, on average.
    pub(crate) service: Duration,
    /// Whether that varies, from half to one and a half times as long.
    pub(crate) is_spread: bool,
}

impl Capacity {
    /// Callbacks a second.
    pub(crate) fn rate(&self) -> f64 {
        self.workers as f64 / self.service.as_secs_f64()
    }
}

/// One merchant on a port of its own.
#[derive(Debug)]
pub(crate) struct Merchant {
    pub(crate) capacity: Capacity,
    addr: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    capacity: Capacity,
    workers: Semaphore,
    posts: AtomicUsize,
}

impl Merchant {
    pub(crate) async fn start(capacity: Capacity) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            capacity,
            workers: Semaphore::new(capacity.workers),
            posts: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                while let Ok((connection, _)) = listener.accept().await {
                    let state = Arc::clone(&state);
                    // A caller who hangs up ends its connection, which nobody looks at before the answer.
                    tokio::spawn(async move { state.serve(connection).await });
                }
            }
        });
        Ok(Self {
            capacity,
            addr,
            state,
            accepting,
        })
    }

    /// Its origin as an SQL expression.
    pub(crate) fn origin(&self) -> String {
        format!("'http://{}'", self.addr)
    }

    /// POSTs that it has worked on.
    pub(crate) fn posts(&self) -> usize {
        self.state.posts.load(Ordering::Relaxed)
    }
}

impl Drop for Merchant {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    async fn serve(&self, connection: TcpStream) -> Result<()> {
        connection.set_nodelay(true)?;
        let mut connection = BufReader::new(connection);
        while read_request(&mut connection).await? {
            // First come, first served.
            let worker = self.workers.acquire().await?;
            let number = self.posts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.service(number)).await;
            drop(worker);
            connection.get_mut().write_all(ANSWER).await?;
        }
        Ok(())
    }

    /// Without a source of randomness, so that each run has the same.
    fn service(&self, number: usize) -> Duration {
        let Capacity {
            service, is_spread, ..
        } = self.capacity;
        match is_spread {
            true => service * (50 + u32::try_from(number * 37 % 101).unwrap_or(50)) / 100,
            false => service,
        }
    }
}

/// Whether there was one more.
async fn read_request(connection: &mut BufReader<TcpStream>) -> Result<bool> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let header = line.trim_end().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().context("content-length")?;
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    Ok(true)
}
