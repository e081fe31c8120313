//! TLS: certificates that prove nothing, versions that are too old, and handshakes that never end.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use super::case::{Case, Ending, Target};
use super::certificates::{Authority, Identity, params, provider};
use super::server::{Act, ack, drip, flood, send};
use super::{CONNECT_LIMIT, run};

fn case(name: &str, target: Target, acts: impl Into<Vec<Act>>, ending: Ending) -> Case {
    Case {
        name: name.to_owned(),
        target,
        acts: acts.into(),
        ending,
    }
}

fn certificates(authority: &Authority) -> Vec<Case> {
    let serves = |name: &str, config: Arc<ServerConfig>, ending: Ending| {
        case(name, Target::Tls(config), [Act::Request, ack()], ending)
    };
    let shows = |name: &str, change: fn(&mut CertificateParams), words: &'static str| {
        let mut params = params("127.0.0.1");
        change(&mut params);
        let config = authority.identity_with(&params).server();
        serves(name, config, Ending::of("tls", words))
    };
    let other = |name: &str| authority.identity_with(&params(name)).server();
    let refused = |words| Ending::of("tls", words);
    let good = authority.identity();
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    vec![
        serves("TLS 1.3", good.server_of(&[tls13]), Ending::acknowledged()),
        serves("TLS 1.2", good.server_of(&[tls12]), Ending::acknowledged()),
        shows(
            "expired",
            |params| params.not_after = date_time_ymd(2020, 1, 1),
            "expired",
        ),
        shows(
            "not yet valid",
            |params| params.not_before = date_time_ymd(2999, 1, 1),
            "not valid before",
        ),
        serves(
            "wrong name",
            other("shop.example"),
            refused("not valid for this host name"),
        ),
        serves(
            "wrong address",
            other("127.0.0.2"),
            refused("not valid for this host name"),
        ),
        // What a browser took once: the address as if it were a name.
        serves(
            "a pattern for a name",
            other("*.0.0.1"),
            refused("not valid for this host name"),
        ),
        serves(
            "self-signed",
            Identity::self_signed().server(),
            refused("issuer is not trusted"),
        ),
        serves(
            "of an unknown authority of the same name",
            Authority::new("The Authority").identity().server(),
            refused(""),
        ),
        serves(
            "HTTP/2 only",
            good.server_of_http2(),
            refused("no application protocol"),
        ),
        serves(
            "a chain of a thousand certificates",
            good.server_repeating(1000),
            refused("too large"),
        ),
        serves(
            "twenty tickets",
            good.server_with_tickets(20),
            Ending::acknowledged(),
        ),
        serves(
            "wants a client's certificate",
            wants_a_certificate(authority),
            refused(""),
        ),
    ]
}

fn wants_a_certificate(authority: &Authority) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    let added = roots.add(authority.certificate().clone());
    added.expect("a good root");
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build();
    let identity = authority.identity();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("good versions")
        .with_client_cert_verifier(clients.expect("a verifier"))
        .with_single_cert(identity.chain(), identity.private_key());
    Arc::new(config.expect("a good certificate"))
}

/// A record of TLS 1.2: its type, and what is in it.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a record is small");
    let mut bytes = vec![kind, 3, 3];
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    bytes
}

fn broken_handshakes(authority: &Authority) -> Vec<Case> {
    let late = || {
        let words = "no connection within 2s during the TLS handshake";
        Ending::of("timeout", words).after(CONNECT_LIMIT)
    };
    let refused = |words| Ending::of("tls", words);
    let raw = |name: &str, acts: Vec<Act>, ending: Ending| case(name, Target::Raw, acts, ending);
    let fatal = |alert: u8| vec![Act::Glance, send(record(21, &[2, alert])), Act::Hang];
    let hello = [2, 0, 0, 38, 3, 3];
    let server = authority.identity().server();
    vec![
        raw("never answers the hello", vec![Act::Hang], late()),
        raw(
            "hangs in its hello",
            vec![Act::Glance, send([22, 3, 3]), Act::Hang],
            late(),
        ),
        raw(
            "a byte a second of its hello",
            vec![Act::Glance, drip(record(22, &hello))],
            late(),
        ),
        raw(
            "endless empty records",
            vec![Act::Glance, flood(record(22, &[]).repeat(1000))],
            refused(""),
        ),
        raw(
            "endless warnings",
            vec![Act::Glance, flood(record(21, &[1, 90]).repeat(1000))],
            refused(""),
        ),
        raw(
            "a handshake message of 16 MiB",
            vec![
                Act::Glance,
                send(record(22, &[2, 0xff, 0xff, 0xff])),
                flood(record(22, &[0; 16_000])),
            ],
            refused(""),
        ),
        raw(
            "refuses the handshake",
            fatal(40),
            refused("handshake failure"),
        ),
        raw(
            "refuses the version",
            fatal(70),
            refused("protocol version"),
        ),
        raw("refuses the name", fatal(112), refused("unrecognised name")),
        raw("closes before its hello", vec![Act::Glance], refused("")),
        raw(
            "closes in its hello",
            vec![Act::Glance, send([22, 3, 3])],
            refused(""),
        ),
        raw("closes at once", vec![], refused("")),
        raw(
            "resets before its hello",
            vec![Act::Glance, Act::Reset],
            refused("reset"),
        ),
        raw(
            "resets at once",
            vec![Act::Reset],
            refused("").or("connect"),
        ),
        raw(
            "speaks http",
            vec![Act::Glance, ack(), Act::Hang],
            refused("not valid TLS"),
        ),
        raw(
            "speaks something else",
            vec![Act::Glance, send("SSH-2.0-OpenSSH_9.2\r\n"), Act::Hang],
            refused("not valid TLS"),
        ),
        raw(
            "zeros",
            vec![Act::Glance, send([0; 4096]), Act::Hang],
            refused(""),
        ),
        case(
            "expects TLS where the URL says http",
            Target::Mistaken(server.clone()),
            [Act::Request, ack()],
            Ending::of("protocol", ""),
        ),
        case(
            "no goodbye after a whole object without a length",
            Target::Tls(server.clone()),
            [
                Act::Request,
                send("HTTP/1.0 200 OK\r\n\r\n{\"transResult\":\"SUCCESS\"}"),
                Act::Cut,
            ],
            Ending::acknowledged(),
        ),
        case(
            "no goodbye after a part of an object without a length",
            Target::Tls(server.clone()),
            [
                Act::Request,
                send("HTTP/1.0 200 OK\r\n\r\n{\"transResult\":\"SUCC"),
                Act::Cut,
            ],
            Ending::answered("protocol", "the server cut the connection off"),
        ),
        case(
            "plain HTTP on the connection after the request",
            Target::Tls(server.clone()),
            [
                Act::Request,
                Act::Bare(b"HTTP/1.1 200 OK\r\n\r\n"[..].into()),
            ],
            Ending::of("protocol", "not valid TLS"),
        ),
        case(
            "a bad record after the request",
            Target::Tls(server.clone()),
            [Act::Request, Act::Bare(record(23, &[0; 64]).into())],
            Ending::of("protocol", "can't be decrypted"),
        ),
        case(
            "no goodbye after a body with a length",
            Target::Tls(server),
            [Act::Request, ack(), Act::Cut],
            Ending::acknowledged(),
        ),
    ]
}

/// `openssl s_server` with one old version of TLS: the bytes of a real one, with the library's
/// own lower limit on security lifted, for it refuses these versions itself by now.
struct OldServer {
    child: Child,
    address: SocketAddr,
}

impl OldServer {
    fn start(version: &str, folder: &Path) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", version, "-www", "-accept", "127.0.0.1:0"])
            .args(["-cipher", "ALL:@SECLEVEL=0"])
            .args(["-cert", "certificate.pem", "-key", "key.pem"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It tells of each client that it refuses.
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is not there; install the package openssl");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("text");
            line.strip_prefix("ACCEPT ").map(str::to_owned)
        });
        let address = address.expect("openssl s_server says where it listens");
        Self {
            child,
            address: address.parse().expect("an address"),
        }
    }

    /// That it speaks its version to those who still do; else its refusals would prove nothing.
    fn assert_speaks(&self, version: &str) {
        let output = Command::new("openssl")
            .args(["s_client", version, "-cipher", "ALL:@SECLEVEL=0"])
            .args(["-connect", &self.address.to_string()])
            .stdin(Stdio::null())
            .output()
            .expect("openssl is there");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Cipher is ECDHE"), "{said}");
    }
}

impl Drop for OldServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_end_as_the_contract_says() {
    let authority = Authority::new("The Authority");
    let mut cases = certificates(&authority);
    cases.extend(broken_handshakes(&authority));
    let folder = TempDir::new().expect("a temporary folder");
    authority.identity().write_to(folder.path());
    let mut old = Vec::new();
    for (name, version) in [("TLS 1.0 only", "-tls1"), ("TLS 1.1 only", "-tls1_1")] {
        let server = OldServer::start(version, folder.path());
        server.assert_speaks(version);
        let ending = Ending::of("tls", "protocol version");
        cases.push(case(name, Target::Elsewhere(server.address), [], ending));
        old.push(server);
    }
    run("handshakes", &authority.file(), cases).await;
}
