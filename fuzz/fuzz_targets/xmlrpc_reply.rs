//! Any bytes as an XML-RPC reply.

#![no_main]

libfuzzer_sys::fuzz_target!(|seed: &[u8]| xengate::wire::invariants::xmlrpc_reply(seed));
