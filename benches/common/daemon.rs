//! The dispatcher as a process of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::place::Place;
use super::{process, program};

/// How the dispatcher is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) in_flight: usize,
    pub(crate) in_flight_per_merchant: usize,
    pub(crate) drain_timeout: Duration,
    pub(crate) log: String,
    /// A file in the place's folder.
    pub(crate) ca_file: &'static str,
    /// Where the queue is.
    pub(crate) store: String,
}

/// The defaults of `dispatcher.toml`.
impl Default for Setup {
    fn default() -> Self {
        Self {
            in_flight: 512,
            in_flight_per_merchant: 64,
            drain_timeout: Duration::from_secs(30),
            log: "info".to_owned(),
            ca_file: "",
            store: "sqlite:queue.db".to_owned(),
        }
    }
}

impl Setup {
    /// One that stops at once, whatever is in flight.
    pub(crate) fn cut_short() -> Self {
        Self {
            drain_timeout: Duration::from_millis(100),
            ..Self::default()
        }
    }

    /// Writes the settings into the folder of `place`; returns where the admin port is to be.
    pub(crate) fn write(&self, place: &Place) -> Result<SocketAddr> {
        let admin = free_port()?;
        let Setup {
            in_flight,
            in_flight_per_merchant,
            drain_timeout,
            log,
            ca_file,
            store,
        } = self;
        let settings = format!(
            "[store]\nurl = \"{store}\"\n\
             [delivery]\nmax_in_flight = {in_flight}\n\
             max_in_flight_per_merchant = {in_flight_per_merchant}\n\
             drain_timeout = \"{}ms\"\n\
             [egress]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\n\
             extra_ca_file = \"{ca_file}\"\n\
             [admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"{log}\"\n",
            drain_timeout.as_millis(),
        );
        fs::write(place.path("dispatcher.toml"), settings)?;
        Ok(admin)
    }
}

/// `run`, under way.
pub(crate) struct Daemon {
    child: Child,
    admin: SocketAddr,
}

impl Daemon {
    /// Starts it in the folder of `place`, with its log in a file there.
    pub(crate) fn start(place: &Place, setup: &Setup) -> Result<Self> {
        let admin = setup.write(place)?;
        // A folder of its own, or each line would look like a commit.
        fs::create_dir_all(place.path("log"))?;
        let child = program::command()
            .arg("run")
            .current_dir(place.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(place.path("log/stderr"))?)
            .spawn()
            .context("the dispatcher does not start")?;
        Ok(Self { child, admin })
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        process::cpu(self.child.id())
    }

    pub(crate) fn io(&self) -> Result<u64> {
        process::io(self.child.id())
    }

    pub(crate) fn peak_rss_mebi(&self) -> Result<f64> {
        Ok(process::peak_rss(self.child.id())? as f64 / f64::from(1 << 20))
    }

    /// Commits so far that wrote something.
    pub(crate) fn commits(&self) -> Result<u64> {
        let text = self.metrics()?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("callback_dispatcher_store_commit_seconds_count "));
        Ok(value.context("store_commit_seconds_count")?.parse()?)
    }

    fn metrics(&self) -> Result<String> {
        let mut connection = TcpStream::connect(self.admin)?;
        connection
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Lets it drain and end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        ensure!(told.success(), "the dispatcher has ended by itself");
        let status = self.child.wait()?;
        ensure!(status.success(), "the dispatcher ended with {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `stop` it has ended, and is not there to be killed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
