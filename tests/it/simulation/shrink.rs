//! Makes a failing list of operations as short as it gets, and prints it as a test.

use std::fmt;

use proptest::strategy::ValueTree;

use super::operation::Operation;
use super::run::Violation;
use super::simulate;

/// Lists tried before the shortest so far is good enough.
const TRIES_MAX: usize = 600;

/// A list counts as one that does not fail after so many runs: some failures need luck.
const RUNS: usize = 3;

/// A failing list.
#[derive(Debug)]
pub(super) struct Shrunk {
    operations: Vec<Operation>,
    violation: Violation,
}

/// The shortest list found that still fails, beginning with `tree`'s, which failed by `violation`.
pub(super) fn shrink(
    mut tree: impl ValueTree<Value = Vec<Operation>>,
    violation: Violation,
) -> Shrunk {
    let mut shrunk = Shrunk {
        operations: tree.current(),
        violation,
    };
    for _ in 0..TRIES_MAX {
        let went_on = match fails(&tree.current()) {
            Some(violation) => {
                shrunk.operations = tree.current();
                shrunk.violation = violation;
                tree.simplify()
            }
            None => tree.complicate(),
        };
        if !went_on {
            break;
        }
    }
    shrunk
}

fn fails(operations: &[Operation]) -> Option<Violation> {
    (0..RUNS).find_map(|_| simulate(operations).0.err())
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operations,
            violation,
        } = self;
        writeln!(f, "{violation}\n")?;
        writeln!(
            f,
            "Put this into tests/it/simulation/reproductions.rs and name it:\n"
        )?;
        writeln!(f, "#[test]\nfn name() {{\n    holds(&[")?;
        for operation in operations {
            writeln!(f, "        {operation:?},")?;
        }
        writeln!(f, "    ]);\n}}")
    }
}
