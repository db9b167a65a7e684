//! Places for requests whose bodies are being read.
//!
//! Whoever sends half a body holds one of the places for requests that are worked on until it is
//! given up. So that a few clients cannot hold them all, an address has so many at a time; and so
//! that many cannot who have not even logged in, all strangers together have no more than some.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::extract::client_address;
use crate::problem::{Code, Problem};

/// ResponseCache of one address at a time.
const MOST_OF_ONE: usize = 64;
/// ResponseCache of strangers, that is of logins, at a time: of one address and of all.
const MOST_OF_ONE_STRANGER: usize = 16;
const MOST_OF_STRANGERS: usize = 128;

/// The bodies that are being read.
#[derive(Debug)]
pub struct Reading {
    by_address: Mutex<HashMap<IpAddr, usize>>,
    strangers: Arc<Semaphore>,
    trusted_proxies: OnceLock<Vec<IpNet>>,
}

/// A place, for as long as a body is being read.
#[derive(Debug)]
pub struct Place {
    reading: Arc<Reading>,
    address: IpAddr,
    _stranger: Option<OwnedSemaphorePermit>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            by_address: Mutex::default(),
            strangers: Arc::new(Semaphore::new(MOST_OF_STRANGERS)),
            trusted_proxies: OnceLock::new(),
        }
    }
}

impl Reading {
    /// Believes what these proxies say about who their clients are; the first word counts.
    pub fn trust(&self, proxies: &[IpNet]) {
        self.trusted_proxies.get_or_init(|| proxies.to_vec());
    }

    /// Whose request it is that came from `peer`, as far as proxies are believed.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let trusted = self.trusted_proxies.get().map_or(&[][..], Vec::as_slice);
        client_address(peer, headers, trusted)
    }

    /// A place for a body of somebody who is logged in.
    pub fn place(self: &Arc<Self>, peer: IpAddr, headers: &HeaderMap) -> Result<Place, Problem> {
        self.take(peer, headers, MOST_OF_ONE, None)
    }

    /// A place for a body of anybody.
    pub fn strangers_place(
        self: &Arc<Self>,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<Place, Problem> {
        let stranger = self.strangers.clone().try_acquire_owned().map_err(|_| full())?;
        self.take(peer, headers, MOST_OF_ONE_STRANGER, Some(stranger))
    }

    fn take(
        self: &Arc<Self>,
        peer: IpAddr,
        headers: &HeaderMap,
        most: usize,
        stranger: Option<OwnedSemaphorePermit>,
    ) -> Result<Place, Problem> {
        let address = self.client(peer, headers);
        let mut by_address = self.by_address.lock();
        let taken = by_address.entry(address).or_default();
        if *taken >= most {
            return Err(full());
        }
        *taken += 1;
        Ok(Place { reading: self.clone(), address, _stranger: stranger })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.reading.by_address.lock();
        if let Some(taken) = by_address.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

fn full() -> Problem {
    Problem::new(Code::Overloaded, "too many bodies are being read; send this one again later")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let (reading, none) = (Arc::new(Reading::default()), HeaderMap::new());
        let take = |last| reading.place(address(last), &none);
        let mut places: Vec<_> = (0..MOST_OF_ONE).map(|_| take(1).expect("a place")).collect();
        assert_eq!(take(1).expect_err("full").code(), "OVERLOADED");
        take(2).expect("another address has its own");
        places.pop();
        places.push(take(1).expect("one was free"));
        drop(places);
        assert!(reading.by_address.lock().is_empty());
    }

    #[test]
    fn strangers_share_a_few() {
        let (reading, none) = (Arc::new(Reading::default()), HeaderMap::new());
        let take = |last| reading.strangers_place(address(last), &none);
        let mut places = Vec::new();
        for last in 0..(MOST_OF_STRANGERS / MOST_OF_ONE_STRANGER) as u8 {
            places.extend((0..MOST_OF_ONE_STRANGER).map(|_| take(last).expect("a place")));
            assert!(take(last).is_err(), "one address has its share");
        }
        assert!(take(200).is_err(), "all have theirs");
        reading.place(address(200), &none).expect("who is logged in is no stranger");
        drop(places);
        take(200).expect("they were given back");
    }

    #[test]
    fn clients_of_a_trusted_proxy_are_told_apart() {
        let reading = Arc::new(Reading::default());
        reading.trust(&["192.0.2.0/24".parse().expect("a network")]);
        let from = |client: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("x-forwarded-for"),
                http::HeaderValue::from_static(client),
            )])
        };
        let (one, two) = (from("198.51.100.1"), from("198.51.100.2"));
        let places: Vec<_> =
            (0..MOST_OF_ONE).map(|_| reading.place(address(1), &one).expect("a place")).collect();
        assert!(reading.place(address(1), &one).is_err());
        reading.place(address(1), &two).expect("another client");
        drop(places);
    }
}
