//! The receivers in `examples/merchants`, each as a merchant would run it, against the real daemon and
//! against whoever forges, repeats and cuts off.
//!
//! All of them must do the same, so the tests are written once and run for each language.
//!
//! | module | what |
//! |---|---|
//! | [`receiver`] | a receiver that runs, and what it has recorded |
//! | [`message`] | true messages, and what forgers make of them |
//! | [`genuine`] | what must be taken, and recorded once |
//! | [`handbook`] | what `docs/merchants.md` prints |
//! | [`forged`] | what must be refused, and leave no trace |

mod forged;
mod genuine;
mod handbook;
mod message;
mod receiver;

use receiver::Language;

/// Every test, for a language.
macro_rules! receiver_tests {
    ($($name:ident => $language:expr;)*) => {$(
        mod $name {
            use super::{forged, genuine};

            #[tokio::test(flavor = "multi_thread")]
            async fn the_daemon_delivers_to_it() {
                genuine::the_daemon_delivers(&$language).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn every_text_and_the_contracts_vectors_hold() {
                genuine::every_text_and_the_contracts_vectors_hold(&$language).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn duplicates_are_recorded_once() {
                genuine::duplicates_are_recorded_once(&$language).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn recorded_callbacks_outlive_the_receiver() {
                genuine::recorded_callbacks_outlive_the_receiver(&$language).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn forgeries_are_refused() {
                forged::forgeries_are_refused(&$language).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn the_platforms_public_key_is_enough() {
                forged::the_platforms_public_key_is_enough(&$language).await;
            }
        }
    )*};
}

receiver_tests! {
    python => super::Language::PYTHON;
    php => super::Language::PHP;
    node => super::Language::NODE;
    java => super::Language::JAVA;
}
