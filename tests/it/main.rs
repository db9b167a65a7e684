//! xengate through its front door: a gateway on a free port, in front of a simulated pool or of a
//! real one's recordings, spoken to in HTTP.

mod access;
mod bad_days;
mod bad_input;
mod command_line;
mod compression;
mod conformance;
mod connections;
mod coverage;
mod events;
mod exposition;
mod fleet;
mod floors;
mod formats;
mod generated_clients;
mod lab;
mod life_cycles;
mod memory;
mod metrics;
mod nonsense;
mod odd_values;
mod ops;
mod paging;
mod queries;
mod replay;
mod scrape;
mod sessions;
mod slow_pools;
mod strangers;
mod templates;
mod trusting;
mod versions;
mod vms;
mod whole_api;
mod writes;
mod xend;
