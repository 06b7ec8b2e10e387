//! The section `[signing_keys]`.

use std::time::Duration;

use anyhow::{Result, ensure};
use conclave_identity::signing_keys::Timing;
use serde::Deserialize;

/// How long things take in the life of a signing key. The same on all gateways.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigningKeys {
    /// Days that a key signs until another one takes its place; 0: until somebody asks for it.
    pub rotate_after_days: u32,
    /// Seconds that a key is in the JWKS before it signs: more than others keep a JWKS.
    pub publish_seconds: u32,
    /// Seconds that a key is in the JWKS after it has signed: more than its tokens are good for, which is a day at most.
    pub retire_seconds: u32,
    /// Seconds that a gateway signs with what it knows of the keys before it reads them again.
    pub lease_seconds: u32,
    /// Seconds from one look at the keys of all pools to the next.
    pub check_seconds: u32,
}

impl Default for SigningKeys {
    fn default() -> Self {
        let timing = Timing::default();
        let seconds = |duration: Duration| duration.as_secs().try_into().unwrap_or(u32::MAX);
        Self {
            rotate_after_days: timing.rotate_after.map_or(0, |after| seconds(after) / 86_400),
            publish_seconds: seconds(timing.publish),
            retire_seconds: seconds(timing.retire),
            lease_seconds: seconds(timing.lease),
            check_seconds: seconds(timing.check),
        }
    }
}

impl SigningKeys {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.rotate_after_days <= 3_650, "rotate_after_days is more than 3650");
        ensure!(
            (1..=2_592_000).contains(&self.publish_seconds),
            "publish_seconds is not between 1 and 2592000"
        );
        ensure!(
            (1..=2_592_000).contains(&self.retire_seconds),
            "retire_seconds is not between 1 and 2592000"
        );
        ensure!((1..=300).contains(&self.lease_seconds), "lease_seconds is not between 1 and 300");
        ensure!(
            (1..=3_600).contains(&self.check_seconds),
            "check_seconds is not between 1 and 3600"
        );
        Ok(())
    }

    /// As the domain takes it.
    pub fn timing(&self) -> Timing {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Timing {
            publish: seconds(self.publish_seconds),
            rotate_after: match self.rotate_after_days {
                0 => None,
                days => Some(Duration::from_hours(24) * days),
            },
            retire: seconds(self.retire_seconds),
            lease: seconds(self.lease_seconds),
            check: seconds(self.check_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_domain_and_nonsense_is_refused_by_name() {
        assert_eq!(SigningKeys::default().timing(), Timing::default());
        assert!(!Timing::default().retires_too_early());
        for (name, settings) in [
            ("lease_seconds", SigningKeys { lease_seconds: 0, ..Default::default() }),
            ("publish_seconds", SigningKeys { publish_seconds: 0, ..Default::default() }),
            ("retire_seconds", SigningKeys { retire_seconds: u32::MAX, ..Default::default() }),
            ("check_seconds", SigningKeys { check_seconds: 0, ..Default::default() }),
            ("rotate_after_days", SigningKeys { rotate_after_days: 4_000, ..Default::default() }),
        ] {
            assert!(settings.check().unwrap_err().to_string().contains(name));
        }
    }
}
