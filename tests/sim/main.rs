//! The simulated pool through its front door: what a client of a real XAPI would see.

mod calls;
mod client;
mod events;
mod faults;
mod http;
mod sessions;
mod tasks;
