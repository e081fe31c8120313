//! A listener that remembers who has connected, and acknowledges what it is sent, or hangs up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy)]
pub(crate) enum Conduct {
    /// Every request on every connection, if its body is `{}`.
    Acknowledges,
    HangsUp,
}

pub(crate) struct Connections {
    pub(crate) address: SocketAddr,
    accepted: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Connections {
    pub(crate) async fn at(address: &str, port: u16, conduct: Conduct) -> Self {
        let address: IpAddr = address.parse().expect("an address");
        let listener = TcpListener::bind((address, port)).await;
        let listener = listener.expect("loopback can be listened on");
        let connections = Self {
            address: listener.local_addr().expect("it is bound"),
            accepted: Arc::default(),
        };
        let accepted = Arc::clone(&connections.accepted);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let mut accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner);
                accepted.push(peer);
                match conduct {
                    Conduct::Acknowledges => drop(tokio::spawn(acknowledge(stream))),
                    Conduct::HangsUp => drop(stream),
                }
            }
        });
        connections
    }

    /// How many there have been since the last count. Connections are accepted in their order, so once
    /// our own has been, no earlier one is left out.
    pub(crate) async fn count(&self) -> usize {
        let own = TcpStream::connect(self.address).await.expect("it listens");
        let own = own.local_addr().expect("it is connected");
        loop {
            {
                let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(count) = accepted.iter().position(|peer| *peer == own) {
                    accepted.drain(..=count);
                    return count;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn acknowledge(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await? > 0 {
        if request.ends_with(b"\r\n\r\n{}") {
            request.clear();
            let body = "{\"transResult\":\"SUCCESS\"}";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
        }
    }
    Ok(())
}
