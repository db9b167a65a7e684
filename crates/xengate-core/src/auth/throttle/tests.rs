use super::*;

fn who(peer: &str, name: &str) -> Who {
    Who { peer: peer.parse::<IpAddr>().expect("an address").into(), name: name.to_owned() }
}

fn second() -> Duration {
    Duration::from_secs(1)
}

/// A whole attempt that fails.
fn fail(state: &mut State, who: &Who, now: Instant) -> Result<bool, Duration> {
    let proven = state.admit(who, now)?;
    state.failed(who, now);
    state.left(who);
    Ok(proven)
}

/// A whole attempt that succeeds.
fn succeed(state: &mut State, who: &Who, now: Instant) -> Result<bool, Duration> {
    let proven = state.admit(who, now)?;
    state.succeeded(who, now);
    state.left(who);
    Ok(proven)
}

#[test]
fn the_wait_doubles_from_the_third_failure_on() {
    let (mut state, mut now) = (State::new(), Instant::now());
    let root = who("192.0.2.1", "root");
    for _ in 0..3 {
        assert_eq!(fail(&mut state, &root, now), Ok(false));
    }
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300] {
        let wait = Duration::from_secs(wait);
        assert_eq!(state.admit(&root, now), Err(wait));
        let almost = now + wait - Duration::from_millis(1);
        assert_eq!(state.admit(&root, almost), Err(Duration::from_millis(1)));
        now += wait;
        assert_eq!(fail(&mut state, &root, now), Ok(false));
    }
}

#[test]
fn a_peer_waits_under_every_name_and_a_name_at_every_peer() {
    let (mut state, now) = (State::new(), Instant::now());
    for name in ["a", "b", "c"] {
        assert!(fail(&mut state, &who("192.0.2.1", name), now).is_ok());
    }
    assert_eq!(state.admit(&who("192.0.2.1", "d"), now), Err(second()));
    assert!(state.admit(&who("192.0.2.2", "d"), now).is_ok());

    for peer in ["192.0.2.3", "192.0.2.4", "192.0.2.5"] {
        assert!(fail(&mut state, &who(peer, "root"), now).is_ok());
    }
    assert_eq!(state.admit(&who("192.0.2.6", "root"), now), Err(second()));
    assert!(state.admit(&who("192.0.2.6", "admin"), now).is_ok());
}

#[test]
fn an_ipv6_peer_is_its_network_and_a_mapped_one_is_ipv4() {
    let peer = |text| who(text, "x").peer;
    assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
    assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
}

#[test]
fn names_are_one_whatever_their_case() {
    let throttle = Throttle::new();
    let now = Instant::now();
    let peer = |n: u8| IpAddr::from([192, 0, 2, n]);
    for (n, name) in [(1, "Root"), (2, "ROOT"), (3, "root")] {
        throttle.admit(peer(n), name, now).expect("admitted").refused(now);
    }
    assert!(throttle.admit(peer(4), "rOOt", now).is_err());
}

#[test]
fn a_success_takes_back_its_own_failures() {
    let (mut state, now) = (State::new(), Instant::now());
    let root = who("192.0.2.1", "root");
    for _ in 0..2 {
        assert!(fail(&mut state, &root, now).is_ok());
    }
    assert!(succeed(&mut state, &root, now).is_ok());
    for _ in 0..2 {
        assert!(fail(&mut state, &root, now).is_ok());
    }
    assert!(state.admit(&root, now).is_ok());
}

#[test]
fn a_success_does_not_pay_for_guesses_at_other_accounts() {
    let (mut state, now) = (State::new(), Instant::now());
    let own = who("192.0.2.1", "mallory");
    for name in ["a", "b"] {
        assert!(fail(&mut state, &who("192.0.2.1", name), now).is_ok());
    }
    assert!(succeed(&mut state, &own, now).is_ok());
    assert!(fail(&mut state, &who("192.0.2.1", "c"), now).is_ok());
    assert_eq!(state.admit(&who("192.0.2.1", "d"), now), Err(second()));
    assert_eq!(state.admit(&own, now), Ok(true));
}

#[test]
fn failures_are_forgotten_after_a_quiet_time() {
    let (mut state, now) = (State::new(), Instant::now());
    let root = who("192.0.2.1", "root");
    for _ in 0..3 {
        assert!(fail(&mut state, &root, now).is_ok());
    }
    let later = now + MEMORY + second();
    for _ in 0..3 {
        assert!(fail(&mut state, &root, later).is_ok());
    }
    assert_eq!(state.admit(&root, later), Err(second()));
}

#[test]
fn the_cap_over_all_stops_strangers_and_not_the_proven() {
    let (mut state, start) = (State::new(), Instant::now());
    let proven = who("192.0.2.1", "root");
    assert!(succeed(&mut state, &proven, start).is_ok());
    // Each failure from another peer with another name, so that no back-off stands in its way.
    for n in 0..CAP {
        let now = start + second() * u32::try_from(n).expect("few");
        let stranger = who(&format!("198.51.100.{n}"), &format!("user{n}"));
        assert_eq!(fail(&mut state, &stranger, now), Ok(false));
    }
    let now = start + second() * 29;
    let stranger = who("203.0.113.1", "someone");
    assert_eq!(state.admit(&stranger, now), Err(second() * 31));
    // The proven peer under another name, and the proven name at another peer, are strangers.
    assert!(state.admit(&who("192.0.2.1", "someone"), now).is_err());
    assert!(state.admit(&who("203.0.113.1", "root"), now).is_err());
    assert_eq!(state.admit(&proven, now), Ok(true));
    // The oldest failure leaves the window: one more may try, and when it fails the cap holds.
    let now = start + WINDOW;
    assert_eq!(fail(&mut state, &stranger, now), Ok(false));
    assert_eq!(state.admit(&who("203.0.113.2", "x"), now), Err(second()));
}

#[test]
fn an_attack_on_a_name_does_not_lock_out_who_is_proven() {
    let (mut state, now) = (State::new(), Instant::now());
    let proven = who("192.0.2.1", "root");
    assert!(succeed(&mut state, &proven, now).is_ok());
    for peer in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        assert!(fail(&mut state, &who(peer, "root"), now).is_ok());
    }
    assert!(state.admit(&who("192.0.2.5", "root"), now).is_err());
    assert_eq!(succeed(&mut state, &proven, now), Ok(true));
}

#[test]
fn the_proven_lose_it_by_failing_themselves_and_by_time() {
    let (mut state, now) = (State::new(), Instant::now());
    let root = who("192.0.2.1", "root");
    assert!(succeed(&mut state, &root, now).is_ok());
    for _ in 0..3 {
        assert_eq!(fail(&mut state, &root, now), Ok(true));
    }
    assert_eq!(state.admit(&root, now), Err(second()));
    assert_eq!(fail(&mut state, &root, now + second()), Ok(false));

    let other = who("192.0.2.9", "other");
    assert!(succeed(&mut state, &other, now).is_ok());
    assert_eq!(state.admit(&other, now + PROVEN), Ok(true));
    assert_eq!(state.admit(&other, now + PROVEN + second()), Ok(false));
}

#[test]
fn attempts_at_once_are_few_and_fewer_after_failures() {
    let (mut state, now) = (State::new(), Instant::now());
    let root = who("192.0.2.1", "root");
    for _ in 0..AT_ONCE {
        assert!(state.admit(&root, now).is_ok());
    }
    assert_eq!(state.admit(&root, now), Err(SOON));
    state.left(&root);
    assert!(state.admit(&root, now).is_ok());

    // Two failures leave one attempt, and after the third the wait over there is one at a time.
    let admin = who("192.0.2.2", "admin");
    for _ in 0..2 {
        assert!(fail(&mut state, &admin, now).is_ok());
    }
    assert!(state.admit(&admin, now).is_ok());
    assert_eq!(state.admit(&admin, now), Err(SOON));
    state.failed(&admin, now);
    state.left(&admin);
    let now = now + second();
    assert!(state.admit(&admin, now).is_ok());
    assert_eq!(state.admit(&admin, now), Err(SOON));
}

#[test]
fn everything_remembered_is_bounded_and_the_quietest_goes_first() {
    let (mut state, start) = (State::new(), Instant::now());
    let beyond = 50;
    for n in 0..REMEMBERED + beyond {
        // Two failures in six seconds never reach the cap.
        let now = start + Duration::from_secs(6) * u32::try_from(n).expect("few");
        let peer = IpAddr::from(u32::try_from(n).expect("few").to_be_bytes()).to_string();
        let who = who(&peer, &format!("user{n}"));
        assert!(fail(&mut state, &who, now).is_ok());
        state.proven.remove(&who);
        assert!(succeed(&mut state, &who, now).is_ok());
        assert!(fail(&mut state, &who, now).is_ok());
    }
    assert_eq!(state.peers.0.len(), REMEMBERED);
    assert_eq!(state.names.0.len(), REMEMBERED);
    assert_eq!(state.pairs.0.len(), REMEMBERED);
    assert_eq!(state.proven.len(), REMEMBERED);
    assert_eq!(state.failures.len(), CAP);
    assert!(!state.names.0.contains_key(&format!("user{}", beyond - 1)));
    assert!(state.names.0.contains_key(&format!("user{beyond}")));
}

#[test]
fn who_neither_fails_nor_succeeds_leaves_no_trace() {
    let throttle = Throttle::new();
    let now = Instant::now();
    drop(throttle.admit(IpAddr::from([192, 0, 2, 1]), "root", now));
    let state = throttle.0.lock();
    assert!(state.peers.0.is_empty() && state.names.0.is_empty() && state.pairs.0.is_empty());
}

#[test]
fn an_attempt_fails_once_and_a_success_outweighs_it() {
    let throttle = Throttle::new();
    let now = Instant::now();
    let peer = IpAddr::from([192, 0, 2, 1]);
    let attempt = throttle.admit(peer, "root", now).expect("admitted");
    for _ in 0..5 {
        attempt.refused(now);
    }
    assert_eq!(throttle.0.lock().failures.len(), 1);
    attempt.succeeded(now);
    attempt.refused(now);
    drop(attempt);
    assert_eq!(throttle.0.lock().failures.len(), 1);
    assert!(throttle.0.lock().names.0.is_empty());
    assert!(throttle.admit(peer, "root", now).expect("admitted").is_proven());
}

#[test]
fn a_flood_of_logins_is_no_flood_of_lines() {
    let (put_off, now) = (PutOff::default(), Instant::now());
    assert_eq!(put_off.note(now), Some(0));
    for _ in 0..1000 {
        assert_eq!(put_off.note(now + TOLD_EVERY / 2), None);
    }
    assert_eq!(put_off.note(now + TOLD_EVERY), Some(1000));
    assert_eq!(put_off.note(now + TOLD_EVERY * 2), Some(0));
}
