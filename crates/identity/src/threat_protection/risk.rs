//! How risky a sign-in looks: plain functions over where the user has signed in from before, and how often it was tried lately.
//!
//! | reason | what it says |
//! | --- | --- |
//! | `blocked_address` | the address is in BlockedIPRangeList: High by itself |
//! | `new_device` | the user has signed in before, and never from this device |
//! | `new_network` | the user has signed in before, and never from this network |
//! | `many_failures` | 5 failed attempts or more within 10 minutes before, and this is not from a known network and device |
//! | `many_sign_ins` | 10 sign-ins or more within 10 minutes before |
//!
//! One of the others makes Low, two make Medium, three make High. A first sign-in has nothing to differ from. What is not said is
//! not judged: without device data no device is new.

use std::net::IpAddr;

use conclave_store::records::{KnownPlace, RiskExceptions, RiskProfileRecord};

use super::ranges;

const WINDOW_MS: i64 = 10 * 60_000;
const FAILURES: usize = 5;
const SIGN_INS: usize = 10;
/// What is remembered of each kind; the ones that were seen longest ago go first.
const KNOWN_MAX: usize = 16;
const TIMES_MAX: usize = 16;

/// How risky something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One thing is unusual.
    Low,
    /// Two are.
    Medium,
    /// More are, or the address is blocked.
    High,
}

impl Level {
    /// `RiskLevel`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }

    /// The level of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|level| level.as_str() == name)
    }
}

/// What has been found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Risk {
    /// `None`: no risk.
    pub level: Option<Level>,
    /// What made it.
    pub reasons: Vec<&'static str>,
}

/// Judges an attempt at `now_ms` from `address` and `device_hash`, which is empty where nothing is known.
pub fn judge(
    profile: &RiskProfileRecord,
    exceptions: &RiskExceptions,
    address: Option<IpAddr>,
    device_hash: &[u8],
    now_ms: i64,
) -> Risk {
    let is_in =
        |ranges: &[String]| address.is_some_and(|address| ranges::includes(ranges, address));
    // an address in both lists is blocked
    if is_in(&exceptions.blocked_ip_ranges) {
        return Risk { level: Some(Level::High), reasons: vec!["blocked_address"] };
    }
    if is_in(&exceptions.skipped_ip_ranges) {
        return Risk::default();
    }
    let has_been_here = !profile.passed_ms.is_empty();
    let is_known = |known: &[KnownPlace], id: &[u8]| known.iter().any(|known| known.id == id);
    let lately = |times: &[i64]| times.iter().filter(|time| now_ms - **time < WINDOW_MS).count();
    let mut reasons = Vec::new();
    if has_been_here && !device_hash.is_empty() && !is_known(&profile.devices, device_hash) {
        reasons.push("new_device");
    }
    let network = address.map(ranges::network);
    if has_been_here && network.is_some_and(|network| !is_known(&profile.networks, &network)) {
        reasons.push("new_network");
    }
    // what somebody else fails at does not keep a user out of a place of their own
    let is_own_place = has_been_here && address.is_some() && reasons.is_empty();
    if lately(&profile.failed_ms) >= FAILURES && !is_own_place {
        reasons.push("many_failures");
    }
    if lately(&profile.passed_ms) >= SIGN_INS {
        reasons.push("many_sign_ins");
    }
    let level = match reasons.len() {
        0 => None,
        1 => Some(Level::Low),
        2 => Some(Level::Medium),
        _ => Some(Level::High),
    };
    Risk { level, reasons }
}

/// Remembers a sign-in that has failed.
pub fn failed(profile: &mut RiskProfileRecord, now_ms: i64) {
    push(&mut profile.failed_ms, now_ms);
}

/// Remembers a sign-in, and where it came from.
pub fn passed(
    profile: &mut RiskProfileRecord,
    address: Option<IpAddr>,
    device_hash: &[u8],
    now_ms: i64,
) {
    push(&mut profile.passed_ms, now_ms);
    learn(profile, address, device_hash, now_ms);
}

/// From now on the place is one of the user's.
pub fn learn(
    profile: &mut RiskProfileRecord,
    address: Option<IpAddr>,
    device_hash: &[u8],
    now_ms: i64,
) {
    if let Some(address) = address {
        see(&mut profile.networks, &ranges::network(address), now_ms);
    }
    if !device_hash.is_empty() {
        see(&mut profile.devices, device_hash, now_ms);
    }
}

/// The place is not the user's.
pub fn forget(profile: &mut RiskProfileRecord, address: Option<IpAddr>, device_hash: &[u8]) {
    if let Some(address) = address {
        let network = ranges::network(address);
        profile.networks.retain(|known| known.id != network);
    }
    profile.devices.retain(|known| known.id != device_hash);
}

fn push(times: &mut Vec<i64>, now_ms: i64) {
    times.push(now_ms);
    let surplus = times.len().saturating_sub(TIMES_MAX);
    times.drain(..surplus);
}

fn see(known: &mut Vec<KnownPlace>, id: &[u8], now_ms: i64) {
    known.retain(|known| known.id != id);
    known.push(KnownPlace { id: id.to_vec().into(), last_seen_ms: now_ms });
    let surplus = known.len().saturating_sub(KNOWN_MAX);
    known.drain(..surplus);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> RiskProfileRecord {
        let mut profile = RiskProfileRecord::default();
        passed(&mut profile, Some(at("192.0.2.1")), b"phone", 0);
        profile
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn reasons(profile: &RiskProfileRecord, address: &str, device: &[u8], now_ms: i64) -> Risk {
        judge(profile, &RiskExceptions::default(), Some(at(address)), device, now_ms)
    }

    #[test]
    fn what_is_new_counts_up() {
        let nobody = RiskProfileRecord::default();
        assert_eq!(reasons(&nobody, "192.0.2.1", b"phone", 1), Risk::default());
        assert_eq!(reasons(&home(), "192.0.2.99", b"phone", 1), Risk::default());
        // nothing is said of the device
        assert_eq!(reasons(&home(), "192.0.2.99", b"", 1), Risk::default());
        let low = reasons(&home(), "198.51.100.1", b"phone", 1);
        assert_eq!((low.level, low.reasons), (Some(Level::Low), vec!["new_network"]));
        let medium = reasons(&home(), "198.51.100.1", b"laptop", 1);
        assert_eq!(medium.level, Some(Level::Medium));
        let mut tried = home();
        (0..5).for_each(|_| failed(&mut tried, 1_000));
        let high = reasons(&tried, "198.51.100.1", b"laptop", 1_001);
        assert_eq!(high.reasons, ["new_device", "new_network", "many_failures"]);
        assert_eq!(high.level, Some(Level::High));
        // others do not keep the user out of a place of their own
        assert_eq!(reasons(&tried, "192.0.2.1", b"phone", 1_001), Risk::default());
        let mut never_here = RiskProfileRecord::default();
        (0..5).for_each(|_| failed(&mut never_here, 1_000));
        assert_eq!(reasons(&never_here, "192.0.2.1", b"", 1_001).reasons, ["many_failures"]);
        let later = reasons(&tried, "198.51.100.1", b"laptop", 1_000 + WINDOW_MS);
        assert_eq!(later.reasons, ["new_device", "new_network"]);
    }

    #[test]
    fn a_robot_signs_in_too_often() {
        let mut busy = home();
        (0..10).for_each(|second| passed(&mut busy, Some(at("192.0.2.1")), b"phone", second));
        assert_eq!(reasons(&busy, "192.0.2.1", b"phone", 11).reasons, ["many_sign_ins"]);
    }

    #[test]
    fn exceptions_come_first_and_blocked_before_skipped() {
        let exceptions = RiskExceptions {
            blocked_ip_ranges: vec!["198.51.100.0/24".to_owned()],
            skipped_ip_ranges: vec!["198.51.0.0/16".to_owned()],
        };
        let judge = |address: &str| judge(&home(), &exceptions, Some(at(address)), b"laptop", 1);
        assert_eq!(judge("198.51.100.9").reasons, ["blocked_address"]);
        assert_eq!(judge("198.51.7.9"), Risk::default());
        assert_eq!(judge("203.0.113.1").level, Some(Level::Medium));
    }

    #[test]
    fn a_place_can_be_learned_and_forgotten_and_the_oldest_goes() {
        let mut profile = home();
        forget(&mut profile, Some(at("192.0.2.7")), b"phone");
        assert_eq!(reasons(&profile, "192.0.2.1", b"phone", 1).level, Some(Level::Medium));
        learn(&mut profile, Some(at("192.0.2.7")), b"phone", 2);
        assert_eq!(reasons(&profile, "192.0.2.1", b"phone", 3), Risk::default());
        for number in 0..40_u8 {
            passed(&mut profile, Some(IpAddr::from([203, 0, number, 1])), &[number], 4);
        }
        assert_eq!(profile.networks.len(), KNOWN_MAX);
        assert_eq!(profile.devices.len(), KNOWN_MAX);
        assert_eq!(profile.passed_ms.len(), TIMES_MAX);
    }
}
