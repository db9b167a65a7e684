//! The `xengate` binary.
fn main() {}
