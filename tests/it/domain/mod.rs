//! The messages as a merchant meets them: bodies, signatures and what counts as an answer.

mod acknowledgement;
mod ambiguity;
pub(crate) mod body;
mod signature;

use std::fmt;

use proptest::test_runner::Config;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Enough cases to find what a table forgot, few enough for every run; and nothing is written
/// into the source tree.
fn properties() -> Config {
    Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    }
}

/// An object's members as they stand there: in order, doubled ones included.
#[derive(Debug)]
struct Members<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(std::marker::PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for InOrder<V> {
            type Value = Members<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<V>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder(std::marker::PhantomData))
    }
}
