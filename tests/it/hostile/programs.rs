//! Real servers as merchants: nginx, Node, Python and PHP, each told to hang up early.
//!
//! They close connections while callbacks come, after a few requests or a moment of idleness, and
//! not one callback may need a second attempt. All but nginx check the signature with code of their
//! own, and answer FAIL if it does not hold.

use std::collections::HashSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::certificates::Authority;
use super::tally::Tally;
use super::{Daemon, Gateway, Place, start, until, until_attempted};
use crate::support::callback::payment_line;
use crate::support::program::Program;

/// The secret of app 6 in the harness.
const SECRET: &str = "newpay-demo-secret";

/// After how many requests and how long a connection is closed.
const REQUESTS_MAX: &str = "5";
const IDLE: Duration = Duration::from_millis(50);

/// Callbacks at once, and how often; between two times passes from nothing to twice [`IDLE`].
const AT_ONCE: usize = 15;
const WAVES: u32 = 16;
const CALLBACKS: usize = AT_ONCE * WAVES as usize;

/// A file beside this one.
fn source(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hostile/merchants");
    folder.join(name)
}

/// A command in a folder that holds a certificate of `authority`.
fn command(program: &str, authority: &Authority) -> (Command, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    authority.identity().write_to(folder.path());
    let mut command = Command::new(program);
    command.current_dir(folder.path());
    (command, folder)
}

/// What a test has: a daemon, and the folder of its queue.
struct Scene {
    authority: Authority,
    place: Place,
    daemon: Daemon,
}

impl Scene {
    async fn new() -> Self {
        let (authority, place) = (Authority::new("The Authority"), Place::new());
        let daemon = start(&place, &authority.file()).await;
        Self {
            authority,
            place,
            daemon,
        }
    }

    /// Delivers in waves; every callback must be acknowledged at its first attempt.
    async fn deliver(self, family: &str, url: &str, connections: impl Fn() -> usize) {
        let gateway = Gateway::of(&self.place);
        for wave in 0..WAVES {
            let orders: Vec<String> = (0..AT_ONCE).map(|n| format!("{wave}-{n}")).collect();
            gateway.queue(orders.iter().map(|order| (url, order.as_str())));
            for order in &orders {
                until_attempted(&self.daemon, order).await;
            }
            // The stimulus: the next wave meets connections that are idle for as long.
            tokio::time::sleep(IDLE * 2 * wave / WAVES).await;
        }
        // A second sending within an attempt is told in its detail.
        let attempts = "SELECT outcome, counted, count(*) FROM callback_attempt GROUP BY 1, 2";
        let attempts = self.place.sql(attempts);
        let delivered = attempts == format!("acknowledged|1|{CALLBACKS}");
        Tally {
            cases: 1,
            passed: usize::from(delivered),
            connections: connections(),
            requests: CALLBACKS,
            ..Tally::default()
        }
        .report(family);
        assert!(delivered, "{attempts}");
        self.daemon.stop().await;
    }
}

/// Connections were kept, and closed under us.
fn assert_kept_and_closed(connections: usize) {
    let requests_max: usize = REQUESTS_MAX.parse().expect("a number");
    let range = CALLBACKS / requests_max..CALLBACKS;
    assert!(range.contains(&connections), "{connections} connections");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let bound = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    bound.local_addr().expect("it is bound").port()
}

/// nginx on a port of its own, and its folder. It can't choose a free port itself, so another
/// is tried when somebody else was quicker.
async fn nginx(authority: &Authority) -> (Program, u16, TempDir) {
    // Debian keeps it where only root looks.
    let binary = match Path::new("/usr/sbin/nginx") {
        path if path.exists() => "/usr/sbin/nginx",
        _ => "nginx",
    };
    let settings = fs::read_to_string(source("nginx.conf")).expect("our own file");
    let mut complaints = Vec::new();
    for _ in 0..5 {
        let (mut command, folder) = command(binary, authority);
        let port = free_port();
        let settings = settings.replace("PORT", &port.to_string());
        fs::write(folder.path().join("nginx.conf"), settings).expect("room for it");
        command.arg("-p").arg(folder.path());
        command.args(["-c", "nginx.conf", "-e", "stderr"]);
        let (program, said) = Program::start(command, "nginx-light");
        let program = std::cell::RefCell::new(program);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("nginx accepts or ends", async || {
            program.borrow_mut().ended().is_some() || TcpStream::connect(address).is_ok()
        })
        .await;
        let mut program = program.into_inner();
        if program.ended().is_none() {
            return (program, port, folder);
        }
        complaints.extend(said.try_iter());
    }
    panic!("nginx does not start: {complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_that_hangs_up_costs_no_attempt() {
    let scene = Scene::new().await;
    let (_program, port, folder) = nginx(&scene.authority).await;
    // A line for each request: the number of its connection.
    let connections = || {
        let log = fs::read_to_string(folder.path().join("connections.log")).expect("its log");
        log.lines().collect::<HashSet<_>>().len()
    };
    let url = format!("https://127.0.0.1:{port}/callback");
    scene.deliver("nginx", &url, connections).await;
    assert_kept_and_closed(connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_hangs_up_costs_no_attempt() {
    let scene = Scene::new().await;
    let (mut command, _folder) = command("node", &scene.authority);
    command.arg(source("merchant.js"));
    command.args([SECRET, "certificate.pem", "key.pem"]);
    command.args([&IDLE.as_millis().to_string(), REQUESTS_MAX]);
    let (program, port) = Program::listening(command, "nodejs");
    let connections = || program.connections();
    let url = format!("https://127.0.0.1:{port}/callback");
    scene.deliver("node", &url, connections).await;
    assert_kept_and_closed(connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn python_that_hangs_up_costs_no_attempt() {
    let scene = Scene::new().await;
    let (mut command, _folder) = command("python3", &scene.authority);
    command.arg(source("merchant.py"));
    command.args([SECRET, &IDLE.as_secs_f64().to_string(), REQUESTS_MAX]);
    let (program, port) = Program::listening(command, "python3");
    let connections = || program.connections();
    let url = format!("http://127.0.0.1:{port}/callback");
    scene.deliver("python", &url, connections).await;
    assert_kept_and_closed(connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn php_is_a_merchant() {
    let scene = Scene::new().await;
    let (mut command, _folder) = command("php", &scene.authority);
    command
        .args(["-S", "127.0.0.1:0"])
        .arg(source("merchant.php"));
    command.env("MERCHANT_SECRET", SECRET);
    let (program, port) = Program::listening(command, "php-cli");
    let url = format!("http://127.0.0.1:{port}/callback");
    scene.deliver("php", &url, || program.connections()).await;
}

/// What its one worker can't answer within the deadline is not sent to it. With sixteen at a time as soon
/// as they are due, half of them would time out, be charged, and come again.
#[tokio::test(flavor = "multi_thread")]
async fn a_shop_with_one_worker_gets_each_callback_about_once() {
    const DUE: usize = 150;
    let place = Place::new();
    place.change_settings(
        "[delivery]\n",
        "[delivery]\nconnect_timeout = \"200ms\"\ntimeout = \"300ms\"\n",
    );
    place.change_settings("= 16", "= 64");
    let mut command = Command::new("php");
    command
        .args(["-S", "127.0.0.1:0"])
        .arg(source("one-at-a-time.php"));
    let (_program, port) = Program::listening(command, "php-cli");
    let url = format!("http://127.0.0.1:{port}/callback");
    let callbacks: Vec<_> = (0..DUE).map(|n| payment_line(&url, n)).collect();
    place.enqueue(&callbacks);
    let daemon = place.run().ready().await;
    let pending = "SELECT count(*) FROM callback_queue WHERE state = 'pending'";
    until("nothing is pending", async || place.sql(pending) == "0").await;
    daemon.stops().await;
    let states = place.sql("SELECT state, count(*) FROM callback_queue GROUP BY 1");
    assert_eq!(states, format!("delivered|{DUE}"));
    let attempts = place.sql("SELECT count(*) FROM callback_attempt");
    let attempts: usize = attempts.parse().expect("a number");
    assert!(
        attempts <= DUE * 5 / 4,
        "{attempts} attempts for {DUE} callbacks"
    );
}
