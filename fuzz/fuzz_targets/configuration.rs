#![no_main]

#[path = "../../tests/it/fuzz/targets/mod.rs"]
#[allow(dead_code, reason = "each target has a program of its own")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::configuration::check(data));
