//! The simulated pool through its front door: what a client of a real XAPI would see.

mod calls;
mod client;
mod events;
mod faults;
mod http;
mod lifecycle;
mod rrd;
mod sessions;
mod storage;
mod tasks;
mod whole_api;
mod xend;
