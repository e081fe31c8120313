//! The fuzz targets, driven by proptest: seeds of the corpus bent here and there, and inputs put
//! together from the words that matter at each door.
//!
//! `scripts/fuzz` has libFuzzer drive the same targets over the same corpus. `FUZZ_CASES` says how
//! many inputs each target gets here.

pub(crate) mod targets;

use std::fmt;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use targets::{acknowledgement, configuration, enqueue, keys, url};

/// Inputs per target, unless `FUZZ_CASES` says otherwise.
const CASES: u32 = 100_000;

fn cases() -> u32 {
    match std::env::var("FUZZ_CASES") {
        Ok(text) => text.parse().expect("FUZZ_CASES is a number"),
        Err(_) => CASES,
    }
}

/// The files of `fuzz/corpus/NAME`.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut paths: Vec<_> = fs::read_dir(folder.join(name))
        .expect("every target has a corpus")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 5, "{name} has {} seeds", paths.len());
    let read = |path| fs::read(path).expect("a seed can be read");
    paths.into_iter().map(read).collect()
}

/// Shown as text: a report is read by people, and goes into the corpus.
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Insert(Index, Vec<u8>),
    Replace(Index, u8),
    Remove(Index, usize),
    Double(Index, usize),
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>) {
        let place = |at: &Index, input: &[u8]| at.index(input.len() + 1);
        match self {
            Self::Insert(at, bytes) => {
                let at = place(at, input);
                input.splice(at..at, bytes.iter().copied());
            }
            Self::Replace(at, byte) => {
                if !input.is_empty() {
                    let at = at.index(input.len());
                    input[at] = *byte;
                }
            }
            Self::Remove(at, length) => {
                let at = place(at, input);
                input.drain(at..input.len().min(at + length));
            }
            Self::Double(at, length) => {
                let at = place(at, input);
                let piece = input[at..input.len().min(at + length)].to_vec();
                input.splice(at..at, piece);
            }
        }
    }
}

fn edit(words: &'static [&'static str]) -> impl Strategy<Value = Edit> {
    let bytes = prop_oneof![
        4 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop_oneof![
        3 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        2 => (any::<Index>(), 1..12_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        1 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Double(at, length)),
    ]
}

/// A seed with a few changes, or a heap of words.
fn input(seeds: Vec<Vec<u8>>, words: &'static [&'static str]) -> BoxedStrategy<Input> {
    let bent = (select(seeds), prop::collection::vec(edit(words), 0..5));
    let bent = bent.prop_map(|(mut input, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut input));
        Input(input)
    });
    let heap = prop::collection::vec(select(words), 0..10);
    prop_oneof![4 => bent, 1 => heap.prop_map(|words| Input(words.concat().into_bytes()))].boxed()
}

/// Gives `check` every seed as it is, then `cases` inputs. The same ones in every run.
fn drive(name: &str, words: &'static [&'static str], cases: u32, mut check: impl FnMut(&[u8])) {
    let seeds = corpus(name);
    seeds.iter().for_each(|seed| check(seed));
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let check = std::cell::RefCell::new(check);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let ran = TestRunner::new_with_rng(config, rng).run(&input(seeds, words), |input| {
        (check.borrow_mut())(&input.0);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{name}: {error}");
    }
}

#[test]
fn acknowledgements() {
    let words = &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\"transResult\"",
        "\"SUCCESS\"",
        "\"success\"",
        "\"trans\\u0052esult\"",
        "\"\\u0053UCCESS\"",
        "\"a\"",
        "null",
        "true",
        "0",
        "-1.5e3",
        "1e999",
        "\"\\ud800\"",
        "\u{feff}",
        " ",
        "\n",
        "\0",
        "é",
        "\"transResult\":\"SUCCESS\"",
        "{\"transResult\":\"SUCCESS\"}",
        "\"a\":1",
        ", ",
    ];
    drive("acknowledgement", words, cases(), acknowledgement::check);
}

#[test]
fn urls() {
    let words = &[
        "https://",
        "http://",
        "HTTPS:",
        "//",
        "/",
        "\\",
        "?",
        "#",
        "@",
        ":",
        ":443",
        ":0",
        ":80",
        ".",
        "。",
        "%2e",
        "%31",
        "%00",
        "[",
        "]",
        "::",
        "::1",
        "[::ffff:",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "10.0.0.1",
        "8.8.8.8",
        "１２７",
        "①",
        "64:ff9b::",
        "2002:7f00:1::",
        "2001::",
        "fe80::1%25eth0",
        "localhost",
        "merchant.example",
        "xn--",
        "bücher",
        "user",
        "user:pass@",
        " ",
        "\t",
        "\n",
        "0",
        "x",
        "0x",
        "4294967295",
        "256",
        "169.254.169.254",
        "metadata",
        "_",
        "-",
    ];
    drive("url", words, cases(), url::check);
}

#[test]
fn configurations() {
    let words = &[
        "[store]\n",
        "[retry]\n",
        "[delivery]\n",
        "[egress]\n",
        "[signing]\n",
        "[log]\n",
        "[housekeeping]\n",
        "[admin]\n",
        "[shield]\n",
        "\n",
        "\n---\n",
        "=",
        " = ",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        ",",
        "schedule = [\"5m\"]\n",
        "max_in_flight = 0\n",
        "true",
        "false",
        "timeout = \"1ns\"\n",
        "drain_timeout = \"18446744073709551615s\"\n",
        "100y",
        "connect_timeout = \"9s\"\n",
        "max_response_bytes = \"1GiB\"\n",
        "allow_networks = [\"10.1.2.3/8\"]\n",
        "proxy = \"http://u:p@h\"\n",
        "\"0s\"",
        "-1",
        "9223372036854775808",
        "1e9",
        "2026-11-01",
        "prune_cron = \"0 0 0 30 2 *\"\n",
        "RETRY__SCHEDULE=5m,5m\n",
        "DELIVERY__TIMEOUT=0s\n",
        "LOG__LEVEL=loud\n",
        "#",
        "\\u0000",
        "url = \"sqlite:\"\n",
        "level = \"debug\"\n",
        "é",
        "\0",
        "\r",
        "\u{7f}",
    ];
    drive("configuration", words, cases(), configuration::check);
}

#[test]
fn key_files() {
    let words = &[
        "[[key]]\n",
        "[key]\n",
        "key = ",
        "app_id = \"6\"\n",
        "id = \"a\"\n",
        "id = \"b\"\n",
        "secret = \"hQ7xW2vK9\"\n",
        "secret = hQ7xW2vK9\n",
        "secret = [\"hQ7xW2vK9\"]\n",
        "\"hQ7xW2vK9\" = 1\n",
        "hQ7xW2vK9",
        "private_key_file = \"k.pem\"\n",
        "algorithm = ",
        "\"rsa-sha256\"\n",
        "\"hmac-sha256\"\n",
        "not_before = 2026-11-01T00:00:00Z\n",
        "not_before = \"hQ7xW2vK9\"\n",
        "\"\"\"",
        "'''",
        "\"",
        "\n",
        "=",
        "{",
        "}",
        "[",
        "]",
        ",",
        "#",
        "\\",
        "\u{0}",
        "-----BEGIN PRIVATE KEY-----",
        "1979-05-27",
        "é",
    ];
    drive("keys", words, cases(), keys::check);
}

#[test]
fn lines_for_enqueue() {
    let words = &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\\",
        "null",
        "1",
        "2",
        "4",
        "1.0",
        "\"success\"",
        "\"failure\"",
        "\"payment\"",
        "\"refund\"",
        "\"LAK\"",
        "\"USD\"",
        "\"123.00\"",
        "\"1.234\"",
        "\"subject\":",
        "\"extra\":\"x\",",
        "\"transInfo\":",
        "\"orderNo\":\"\",",
        "\\u0000",
        "\\ud83d\\ude00",
        "\\ud800",
        "é",
        "\u{1f600}",
        "\n",
        "\t",
        " ",
        "%20",
        "@",
        "https://",
        "?a=b",
        "\"sign\":\"x\",",
        "\"timestamp\":\"1\",",
        "0",
        "9223372036854775808",
    ];
    corpus("enqueue")
        .iter()
        .for_each(|seed| enqueue::check(seed));
    let mut rows = enqueue::Rows::new();
    let mut taken = Vec::new();
    let mut taken_in_all = 0_u32;
    drive("enqueue", words, cases(), |data| {
        let lines = data.split(|byte| *byte == b'\n');
        taken.extend(lines.filter_map(enqueue::check_line));
        if taken.len() >= 200 {
            taken_in_all += 200;
            rows.check(std::mem::take(&mut taken));
        }
    });
    rows.check(taken);
    assert!(
        taken_in_all >= cases() / 20,
        "{taken_in_all} were callbacks"
    );
}
