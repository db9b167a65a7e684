//! Many clients that follow the VMs of a pool, and how long each change takes to reach them, for
//! `benches/run.sh`.
//!
//! `subscribers ADDRESS TOKEN COUNT CHANGES` opens COUNT event streams, says so once all are
//! answered, waits until each has been told of CHANGES changes (or 60 s have passed without one) and
//! prints what it saw. The changes are `benches/pool.rs`'s: a VM's new name is the time at which it
//! was given.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const PATH: &str = "/events?classes=VM&fields=name_label";
/// What stands before the time in an event.
const MARK: &[u8] = b"\"name_label\":\"";
/// Nanoseconds since 1970, for a long time to come.
const DIGITS: usize = 19;
const PATIENCE: Duration = Duration::from_secs(60);

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, token, count, changes] = args.as_slice() else {
        return Err("ADDRESS TOKEN COUNT CHANGES are expected".into());
    };
    let (count, changes): (usize, usize) = (count.parse()?, changes.parse()?);
    let mut streams = JoinSet::new();
    for _ in 0..count {
        let stream = open(address, token).await?;
        streams.spawn(follow(stream, changes));
    }
    println!("subscribers listening on http://{address}");
    let (mut delays, mut complete) = (Vec::with_capacity(count * changes), 0);
    while let Some(stream) = streams.join_next().await {
        let seen = stream??;
        complete += usize::from(seen.len() == changes);
        delays.extend(seen);
    }
    delays.sort_unstable();
    let at = |part: f64| match delays.len() {
        0 => f64::NAN,
        all => delays[((all - 1) as f64 * part) as usize] as f64 / 1e6,
    };
    let lost = count * changes - delays.len();
    println!("deliveries {} lost {lost} complete {complete}", delays.len());
    println!("p50 {:.1} p99 {:.1} max {:.1} ms", at(0.5), at(0.99), at(1.0));
    Ok(())
}

/// Opens a stream and reads the head of its answer.
async fn open(address: &str, token: &str) -> Result<TcpStream, Failed> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if &status != b"HTTP/1.1 200" {
        return Err(format!("no events: {}", String::from_utf8_lossy(&status)).into());
    }
    Ok(stream)
}

/// How long each change took to arrive, in nanoseconds.
async fn follow(mut stream: TcpStream, changes: usize) -> Result<Vec<u64>, Failed> {
    let (mut seen, mut buffer) = (Vec::with_capacity(changes), Vec::with_capacity(16 << 10));
    while seen.len() < changes {
        let Ok(read) = tokio::time::timeout(PATIENCE, stream.read_buf(&mut buffer)).await else {
            break;
        };
        if read? == 0 {
            break;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let mut start = 0;
        while let Some(at) = find(&buffer[start..], MARK) {
            let digits = start + at + MARK.len()..start + at + MARK.len() + DIGITS;
            let Some(time) = buffer.get(digits.clone()) else { break };
            start = digits.end;
            if let Ok(then) = std::str::from_utf8(time)?.parse::<u128>() {
                seen.push(u64::try_from(now.saturating_sub(then))?);
            }
        }
        // What may be the beginning of the next one stays.
        start = start.max(buffer.len().saturating_sub(MARK.len() + DIGITS));
        buffer.drain(..start);
    }
    Ok(seen)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}
