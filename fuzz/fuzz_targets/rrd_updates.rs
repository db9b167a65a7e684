//! Any bytes as what a host has measured since a time.

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| xengate::metrics::invariants::updates(body));
