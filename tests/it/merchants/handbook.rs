//! `docs/merchants.md`: what a merchant tries by hand comes out as printed.

use std::process::Command;

const HANDBOOK: &str = include_str!("../../../docs/merchants.md");

/// Each block of shell, and the block that follows it.
fn examples() -> Vec<(&'static str, &'static str)> {
    let shells = HANDBOOK.split("```sh\n").skip(1);
    let example = |rest: &'static str| {
        let (shell, rest) = rest.split_once("```\n").expect("the block ends");
        let (_, rest) = rest.split_once("```\n").expect("what it prints follows");
        let (prints, _) = rest.split_once("```").expect("that ends too");
        (shell, prints)
    };
    shells.map(example).collect()
}

#[test]
fn signatures_by_hand_come_out_as_printed() {
    let examples = examples();
    assert_eq!(examples.len(), 2, "the payment's and the refund's");
    for (shell, prints) in examples {
        let output = Command::new("sh").args(["-c", shell]).output();
        let output = output.expect("a shell");
        assert!(output.status.success(), "{shell}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), prints, "{shell}");
    }
}

/// Both messages stand there as they are sent, but for the line breaks.
#[test]
fn the_printed_messages_are_those_of_the_contract() {
    let blocks = HANDBOOK.split("```json\n").skip(1);
    let blocks: Vec<String> = blocks
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block.replace("\n ", "").trim_end().to_owned())
        .collect();
    assert_eq!(blocks[..2], super::message::VECTORS.map(str::to_owned));
    assert_eq!(blocks[2], r#"{"transResult":"SUCCESS"}"#);
}
