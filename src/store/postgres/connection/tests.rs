use super::parameters::take_parameter;
use super::*;
use tokio_postgres::config::TargetSessionAttrs;

#[test]
fn a_name_has_no_user_and_no_password() {
    for (text, name) in [
        (
            "postgres://user:hunter2@db:5433/queue?password=hunter2",
            "postgres://db:5433/queue",
        ),
        (
            "postgresql://user:hunter2@db/queue?sslmode=require",
            "postgres://db:5432/queue",
        ),
        (
            "postgres://user@one:1,two:2/queue?target_session_attrs=read-write",
            "postgres://one:1,two:2/queue",
        ),
        (
            "postgres://user@%2Frun%2Fpostgresql/queue",
            "postgres:///run/postgresql:5432/queue",
        ),
    ] {
        let database = Database::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(database.name(), name, "{text}");
        assert!(!format!("{database:?}").contains("hunter2"));
    }
}

#[test]
fn what_is_wrong_is_said_without_quoting_the_url() {
    for text in [
        "postgres://user:hunter2@/queue",
        "postgres://user:hunter2@db",
        "postgres://user:hunter2@db:x/queue",
        "postgres://user:hunter2@db/queue?wrong=hunter2",
        "postgres://user:hunter2@db/queue?sslrootcert=/nowhere.pem",
    ] {
        let error = Database::parse(text).expect_err(text).to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_server_elsewhere_is_spoken_to_in_tls_unless_the_url_says_otherwise() {
    for (text, mode) in [
        ("postgres://u@db/q", SslMode::Require),
        ("postgres://u@db/q?sslmode=disable", SslMode::Disable),
        ("postgres://u@db/q?sslmode=prefer", SslMode::Require),
        ("postgres://u:sslmode=disable@db/q", SslMode::Require),
        ("postgres://u@127.0.0.1/q?sslmode=require", SslMode::Require),
        ("postgres://u@127.0.0.1/q", SslMode::Disable),
        ("postgres://u@localhost/q", SslMode::Disable),
        ("postgres://u@127.0.0.1,db/q", SslMode::Require),
    ] {
        let database = Database::parse(text).expect(text);
        assert_eq!(database.config.get_ssl_mode(), mode, "{text}");
    }
}

#[test]
fn parameters_are_read_as_libpq_has_them_or_the_supported_ones_are_named() {
    let text = "postgres://u:p@one:5433,two:5434/q?sslmode=verify-full&target_session_attrs=primary\
        &options=-c%20search_path%3Dcallbacks%20-c geqo=off&connect_timeout=1";
    let database = Database::parse(text).expect(text);
    assert_eq!(database.name(), "postgres://one:5433,two:5434/q");
    let config = &database.config;
    assert_eq!(config.get_ssl_mode(), SslMode::Require);
    let attrs = config.get_target_session_attrs();
    assert_eq!(attrs, TargetSessionAttrs::ReadWrite);
    let options = "-c search_path=callbacks -c geqo=off";
    assert_eq!(config.get_options(), Some(options));
    let timeout = config.get_connect_timeout().copied();
    assert_eq!(timeout, Some(Duration::from_secs(1)));
    for (parameter, words) in [
        ("sslmode=verify-ca", "verify-full"),
        ("sslmode=allow", "verify-full"),
        ("target_session_attrs=standby", "primary"),
        ("sslcert=/nowhere.pem", "one is missing"),
        ("passfile=/hunter2", "unknown option `passfile`"),
    ] {
        let error = Database::parse(&format!("postgres://u@db/q?{parameter}"));
        let error = error.expect_err(parameter).to_string();
        assert!(error.contains(words), "{parameter}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn only_the_parameter_itself_is_taken_out_of_a_url() {
    let rest = "postgres://u:sslrootcert=?@one,two/q?options=-c%20geqo%3Doff";
    let text = format!("{rest}&sslrootcert=%2Froots.pem");
    let taken = (rest.to_owned(), Some("/roots.pem".to_owned()));
    assert_eq!(take_parameter(&text, "sslrootcert"), taken);
    let untouched = (rest.to_owned(), None);
    assert_eq!(take_parameter(rest, "sslrootcert"), untouched);
}
