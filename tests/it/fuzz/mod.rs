//! The fuzz targets, driven by proptest: seeds of the corpus bent here and there, and inputs put
//! together from the words of its dictionary.
//!
//! `scripts/fuzz` has libFuzzer drive the same targets over the same corpus, with the same words.
//! `FUZZ_CASES` says how many inputs each target gets here.

pub(crate) mod targets;

use std::fmt;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use targets::{acknowledgement, configuration, enqueue, keys, url};

/// Inputs per target, unless `FUZZ_CASES` says otherwise.
const CASES: u32 = 20_000;

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

/// The words of `fuzz/dictionaries/NAME.dict`: one to a line, in quotes, with `\\`, `\"` and `\xHH`.
fn dictionary(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/dictionaries");
    let text = fs::read_to_string(folder.join(format!("{name}.dict")));
    let text = text.expect("every target has a dictionary");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(word).collect()
}

fn word(line: &str) -> Vec<u8> {
    let quoted = line
        .strip_prefix('"')
        .and_then(|line| line.strip_suffix('"'));
    let mut rest = quoted.expect("a word stands in quotes").bytes();
    let mut word = Vec::new();
    while let Some(byte) = rest.next() {
        word.push(match byte {
            b'\\' => match rest.next() {
                Some(b'x') => {
                    let mut digit = || char::from(rest.next()?).to_digit(16);
                    let byte = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                    u8::try_from(byte.expect("two hexadecimal digits")).expect("a byte")
                }
                escaped => escaped.expect("a quote or a backslash"),
            },
            byte => byte,
        });
    }
    word
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

fn edit(words: Vec<Vec<u8>>) -> impl Strategy<Value = Edit> {
    let bytes = prop_oneof![
        4 => select(words),
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
fn input(seeds: Vec<Vec<u8>>, words: Vec<Vec<u8>>) -> BoxedStrategy<Input> {
    let bent = (
        select(seeds),
        prop::collection::vec(edit(words.clone()), 0..5),
    );
    let bent = bent.prop_map(|(mut input, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut input));
        Input(input)
    });
    let heap = prop::collection::vec(select(words), 0..10);
    prop_oneof![4 => bent, 1 => heap.prop_map(|words| Input(words.concat()))].boxed()
}

/// Gives `check` every seed as it is, then `cases` inputs. The same ones in every run.
fn drive(name: &str, cases: u32, mut check: impl FnMut(&[u8])) {
    let seeds = corpus(name);
    let words = dictionary(name);
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
    drive("acknowledgement", cases(), acknowledgement::check);
}

#[test]
fn urls() {
    drive("url", cases(), url::check);
}

#[test]
fn configurations() {
    drive("configuration", cases(), configuration::check);
}

#[test]
fn key_files() {
    drive("keys", cases(), keys::check);
}

#[test]
fn lines_for_enqueue() {
    corpus("enqueue")
        .iter()
        .for_each(|seed| enqueue::check(seed));
    let mut rows = enqueue::Rows::new();
    let mut taken = Vec::new();
    let mut taken_in_all = 0_u32;
    drive("enqueue", cases(), |data| {
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
