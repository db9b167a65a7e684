//! A simulated pool that stands still until it is told otherwise, for `benches/run.sh`.
//!
//! `pool 127.0.0.1:0 1000` listens, or `pool 127.0.0.1:0 1000 1` with all of them on one host, and reads commands from standard input, one a line; each is
//! answered with a line once it is done:
//!
//! - `pace BYTES`: replies go out no faster than so many bytes a second; 0 lifts the limit.
//! - `change N RATE`: N changes, one VM after the other, so many a second; 0 is as fast as it goes.
//!   Each VM's new name is the time of the change, in nanoseconds since 1970.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use xengate::sim::{Sim, SimConfig, SimHandle, Value};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().ok_or("where to listen?")?.parse()?;
    let vms = args.next().ok_or("how many VMs?")?.parse()?;
    let hosts = args.next().map(|hosts| hosts.parse()).transpose()?;
    let sim = Sim::start(SimConfig { listen, vms, hosts, ..SimConfig::default() })?;
    say(&format!("pool listening on {}", sim.url()));
    let done = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines() {
            let words: Vec<u64> =
                line?.split(' ').skip(1).map(str::parse).collect::<Result<_, _>>()?;
            match *words.as_slice() {
                [bytes] => sim.pace(bytes),
                [count, rate] => change(&sim, count, rate)?,
                _ => return Err("pace BYTES or change N RATE is expected".into()),
            }
            say("done");
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });
    done.await?.map_err(|error| error.to_string().into())
}

fn change(sim: &SimHandle, count: u64, rate: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
    let vms = sim.refs("VM");
    let start = Instant::now();
    for (number, vm) in (0..count).zip(vms.iter().cycle()) {
        if let Some(since) = number.checked_mul(1_000_000_000).and_then(|n| n.checked_div(rate)) {
            let due = start + Duration::from_nanos(since);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        sim.set_field("VM", vm, "name_label", Value::text(now.to_string()))
            .map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
