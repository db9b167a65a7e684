//! Any bytes as a JSON text with an array to split off.

#![no_main]

libfuzzer_sys::fuzz_target!(|seed: &[u8]| xengate::wire::invariants::json_split(seed));
