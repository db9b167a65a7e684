//! Any bytes as a whole RRD.

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| xengate::metrics::invariants::archive(body));
