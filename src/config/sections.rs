//! The settings one by one: what each accepts, section by section.
//!
//! A section is `None` when something in it is at fault; the reader knows what.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use chrono::DateTime;
use croner::parser::{CronParser, Seconds, Year};
use ipnet::IpNet;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

use super::fault::Problem;
use super::log_level;
use super::reader::{Reader, positive_duration};
use super::secret_file::without_mark;
use super::settings::{
    AdminSettings, DeliverySettings, EgressSettings, HousekeepingSettings, LogSettings,
    RetrySettings, ShieldSettings, SigningSettings, StoreSettings, TracingSettings,
};
use super::store_url::StoreUrl;
use crate::domain::{Convention, Schedule};

const RETRIES_MAX: usize = 100;
const IN_FLIGHT_MAX: usize = 65_536;
const RESPONSE_BYTES_MAX: usize = 16 << 20;

pub(super) fn store(reader: &mut Reader<'_>) -> Option<StoreSettings> {
    let working_directory = reader.working_directory();
    let url = reader.text("store.url", |text| StoreUrl::parse(text, working_directory))?;
    Some(StoreSettings { url })
}

pub(super) fn retry(reader: &mut Reader<'_>) -> Option<RetrySettings> {
    let name = "retry.schedule";
    let waits: Vec<Duration> = reader.list(name, positive_duration)?;
    if waits.len() > RETRIES_MAX {
        let count = waits.len();
        let problem = format!("{count} retries are too many; list at most {RETRIES_MAX} waits");
        reader.fault(name, Problem::Invalid(problem));
        return None;
    }
    let schedule = Schedule::new(waits);
    Some(RetrySettings { schedule })
}

pub(super) fn delivery(reader: &mut Reader<'_>) -> Option<DeliverySettings> {
    let in_flight_range = 1..=IN_FLIGHT_MAX;
    let max_in_flight = reader.count("delivery.max_in_flight", &in_flight_range);
    let per_merchant = reader.count("delivery.max_in_flight_per_merchant", &in_flight_range);
    let per_app = reader.count("delivery.max_in_flight_per_app", &in_flight_range);
    let connect_timeout = reader.positive_duration("delivery.connect_timeout");
    let timeout = reader.positive_duration("delivery.timeout");
    let max_response_bytes = reader.size("delivery.max_response_bytes", &(1..=RESPONSE_BYTES_MAX));
    let drain_timeout = reader.duration("delivery.drain_timeout");
    let user_agent = reader.text_unless_empty("delivery.user_agent", header_text);
    if let (Some(connect), Some(whole)) = (connect_timeout, timeout)
        && connect > whole
    {
        let connect = humantime::format_duration(connect);
        let whole = humantime::format_duration(whole);
        // Blames the one that somebody has written.
        let (name, problem) = if reader.is_default("delivery.connect_timeout") {
            let problem = format!(
                "{whole} is less than delivery.connect_timeout, {connect}; lower that one too"
            );
            ("delivery.timeout", problem)
        } else {
            let problem = format!("{connect} is more than delivery.timeout, {whole}; lower it");
            ("delivery.connect_timeout", problem)
        };
        reader.fault(name, Problem::Invalid(problem));
        return None;
    }
    Some(DeliverySettings {
        max_in_flight: max_in_flight?,
        max_in_flight_per_merchant: per_merchant?,
        max_in_flight_per_app: per_app?,
        connect_timeout: connect_timeout?,
        timeout: timeout?,
        max_response_bytes: max_response_bytes?,
        drain_timeout: drain_timeout?,
        user_agent: user_agent?,
    })
}

/// What may stand in a header.
fn header_text(text: &str) -> Result<String, Problem> {
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_printable && text.trim() == text {
        return Ok(text.to_owned());
    }
    Err(Problem::Invalid(format!(
        "{text:?} can't stand in a header; use printable ASCII, with no space at either end"
    )))
}

pub(super) fn egress(reader: &mut Reader<'_>) -> Option<EgressSettings> {
    let allow_http = reader.boolean("egress.allow_http");
    let allow_networks = reader.list("egress.allow_networks", network);
    let deny_networks = reader.list("egress.deny_networks", network);
    let name = "egress.extra_ca_file";
    let extra_roots = reader.path(name).and_then(|path| {
        let roots = path.map_or(Ok(Vec::new()), |path| certificates(&path));
        roots.map_err(|problem| reader.fault(name, problem)).ok()
    });
    let proxy = reader.text_unless_empty("egress.proxy", proxy);
    let resolver = reader.choice("egress.resolver");
    Some(EgressSettings {
        allow_http: allow_http?,
        allow_networks: allow_networks?,
        deny_networks: deny_networks?,
        extra_roots: extra_roots?,
        proxy: proxy?,
        resolver: resolver?,
    })
}

/// A network in CIDR notation, or a single address.
fn network(text: &str) -> Result<IpNet, Problem> {
    IpNet::from_str(text)
        .or_else(|_| IpAddr::from_str(text).map(IpNet::from))
        .map(|network| network.trunc())
        .map_err(|_| {
            Problem::Invalid(format!(
                "{text:?} is not a network; write it like \"10.1.0.0/16\" or \"10.1.2.3\""
            ))
        })
}

/// The certificates in `path`, each of which can serve as a root. No message quotes the file: it
/// may be a private key by mistake.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| {
        Problem::Invalid(format!("{shown} can't be read ({error}); name a PEM file"))
    })?;
    let mut roots = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(without_mark(&pem)).enumerate() {
        let is_root =
            |root: &CertificateDer<'static>| RootCertStore::empty().add(root.clone()).is_ok();
        let Some(root) = certificate.ok().filter(is_root) else {
            return Err(Problem::Invalid(format!(
                "certificate {} in {shown} is unusable; export it again as PEM",
                index + 1
            )));
        };
        roots.push(root);
    }
    if roots.is_empty() {
        return Err(Problem::Invalid(format!(
            "{shown} has no certificate in it; expected PEM with BEGIN CERTIFICATE"
        )));
    }
    Ok(roots)
}

/// The text is not quoted in a problem: it may hold a password.
fn proxy(text: &str) -> Result<Url, Problem> {
    let usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https" | "socks5")
            && url.host_str().is_some_and(|host| !host.is_empty())
    };
    Url::parse(text).ok().filter(usable).ok_or_else(|| {
        Problem::Invalid(
            "not a proxy; write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
                .to_owned(),
        )
    })
}

pub(super) fn signing(reader: &mut Reader<'_>) -> Option<SigningSettings> {
    let algorithm = reader.choice("signing.algorithm");
    let encoding = reader.choice("signing.encoding");
    let empty_values = reader.choice("signing.empty_values");
    let append_key = reader.boolean("signing.append_key");
    let ambiguous_texts = reader.choice("signing.ambiguous_texts");
    let name = "signing.keys_file";
    let keys_file = reader.path(name);
    if keys_file == Some(None) {
        let problem = "empty; name the keys file".to_owned();
        reader.fault(name, Problem::Invalid(problem));
    }
    Some(SigningSettings {
        algorithm: algorithm?,
        convention: Convention {
            encoding: encoding?,
            empty_values: empty_values?,
            append_key: append_key?,
            ambiguous_texts: ambiguous_texts?,
        },
        keys_file: keys_file??,
    })
}

pub(super) fn shield(reader: &mut Reader<'_>) -> Option<ShieldSettings> {
    let enabled = reader.boolean("shield.enabled")?;
    Some(ShieldSettings { enabled })
}

pub(super) fn housekeeping(reader: &mut Reader<'_>) -> Option<HousekeepingSettings> {
    // Zero is refused: some take it for "for ever", and it would delete every proof of delivery.
    let keep_delivered = reader.positive_duration("housekeeping.keep_delivered");
    let keep_exhausted = reader.positive_duration("housekeeping.keep_exhausted");
    let prune_cron = reader.text("housekeeping.prune_cron", cron);
    Some(HousekeepingSettings {
        keep_delivered: keep_delivered?,
        keep_exhausted: keep_exhausted?,
        prune_cron: prune_cron?,
    })
}

/// Six fields, parsed just as the scheduler will.
fn cron(text: &str) -> Result<String, Problem> {
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .dom_and_dow(true)
        .build();
    let pattern = parser.parse(text).map_err(|error| {
        Problem::Invalid(format!(
            "{text:?} is not a schedule ({error}); write six fields, seconds first, \
             for instance \"0 30 3 * * *\""
        ))
    })?;
    // From any moment on it must come round: the 31st of February is a schedule too.
    if pattern
        .find_next_occurrence(&DateTime::UNIX_EPOCH, true)
        .is_err()
    {
        return Err(Problem::Invalid(format!(
            "{text:?} never comes round; choose a date that exists"
        )));
    }
    Ok(text.to_owned())
}

pub(super) fn admin(reader: &mut Reader<'_>) -> Option<AdminSettings> {
    let listen = reader.text_unless_empty("admin.listen", |text| {
        text.parse().map_err(|_| {
            Problem::Invalid(format!(
                "{text:?} is not an address with a port; \
                 write it like \"127.0.0.1:9464\" or \"[::1]:9464\""
            ))
        })
    });
    let console_names = reader.list("admin.console_names", host_name);
    Some(AdminSettings {
        listen: listen?,
        console_names: console_names?,
    })
}

/// A name as it stands in the header `Host`: without scheme, port and path.
fn host_name(text: &str) -> Result<String, Problem> {
    let is_name = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(Problem::Invalid(format!(
            "{text:?} is not the name of a host; write it like \"ops.example\", without scheme and port"
        )))
    }
}

pub(super) fn log(reader: &mut Reader<'_>) -> Option<LogSettings> {
    let level = reader.text("log.level", log_level::parse);
    let format = reader.choice("log.format");
    Some(LogSettings {
        level: level?,
        format: format?,
    })
}

pub(super) fn tracing(reader: &mut Reader<'_>) -> Option<TracingSettings> {
    let otlp_endpoint = reader.text_unless_empty("tracing.otlp_endpoint", collector)?;
    Some(TracingSettings { otlp_endpoint })
}

/// The text is not quoted in a problem: it may hold a password.
fn collector(text: &str) -> Result<Url, Problem> {
    let usable = |url: &Url| {
        url.scheme() == "http"
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    };
    Url::parse(text).ok().filter(usable).ok_or_else(|| {
        Problem::Invalid(
            "not a collector; write http://HOST:PORT without a path, for instance \
             http://127.0.0.1:4318. Where TLS or a password is needed, run a collector on this \
             host that has it"
                .to_owned(),
        )
    })
}
