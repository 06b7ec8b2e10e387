//! Lock-out after failed sign-ins, as Cognito does it: five failures are free, then every further
//! failure locks for 1, 2, 4 ... seconds, up to 15 minutes. Attempts during a lock are refused and do
//! not count, and 15 minutes without an attempt forget all.
//! Source: Amazon Cognito developer guide, "Lockout behavior for failed sign-in attempts".

use conclave_store::records::AttemptsRecord;

/// Failures before the first lock.
const FREE_FAILURES: u32 = 5;
/// The longest lock, and how long failures are remembered, in milliseconds.
const LOCK_MS_MAX: i64 = 15 * 60 * 1_000;

/// Whether sign-in is refused at `now_ms`, whatever the password.
pub fn is_locked(attempts: &AttemptsRecord, now_ms: i64) -> bool {
    now_ms < attempts.locked_until_ms
}

/// The record after one more failure, and the time at which it may be forgotten.
pub fn after_failure(attempts: Option<&AttemptsRecord>, now_ms: i64) -> (AttemptsRecord, i64) {
    after_failure_within(attempts, now_ms, LOCK_MS_MAX)
}

/// As [`after_failure`], for codes of second factors: who guesses them knows the password already, and is
/// not forgotten for a day. Ours, because Cognito documents no rule for them.
pub fn after_wrong_code(attempts: Option<&AttemptsRecord>, now_ms: i64) -> (AttemptsRecord, i64) {
    const DAY_MS: i64 = 24 * 3_600_000;
    after_failure_within(attempts, now_ms, DAY_MS)
}

fn after_failure_within(
    attempts: Option<&AttemptsRecord>,
    now_ms: i64,
    quiet_ms: i64,
) -> (AttemptsRecord, i64) {
    let failed = attempts
        .filter(|attempts| now_ms - attempts.last_failed_ms < quiet_ms + lock_ms(attempts.failed))
        .map_or(0, |attempts| attempts.failed)
        .saturating_add(1);
    let lock_ms = lock_ms(failed);
    let locked_until_ms = if lock_ms == 0 { 0 } else { now_ms + lock_ms };
    let record = AttemptsRecord { failed, last_failed_ms: now_ms, locked_until_ms };
    (record, now_ms + lock_ms + quiet_ms)
}

/// 2^(n-5) seconds after the n-th failure.
fn lock_ms(failed: u32) -> i64 {
    match failed.checked_sub(FREE_FAILURES) {
        None => 0,
        // 2^10 seconds are more than 15 minutes
        Some(doublings) => (1_000_i64 << doublings.min(10)).min(LOCK_MS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_double_from_one_second_to_fifteen_minutes() {
        let mut now_ms = 1_000_000;
        let mut attempts = None;
        let mut locks = Vec::new();
        for _ in 0..17 {
            let (record, _) = after_failure(attempts.as_ref(), now_ms);
            locks.push((record.locked_until_ms - now_ms).max(0) / 1_000);
            now_ms = record.locked_until_ms.max(now_ms);
            attempts = Some(record);
        }
        assert_eq!(locks, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
    }

    #[test]
    fn a_lock_ends_at_its_time() {
        let attempts = AttemptsRecord { failed: 5, last_failed_ms: 0, locked_until_ms: 1_000 };
        assert!(is_locked(&attempts, 999));
        assert!(!is_locked(&attempts, 1_000));
    }

    #[test]
    fn failures_are_forgotten_after_fifteen_quiet_minutes() {
        let attempts = AttemptsRecord { failed: 4, last_failed_ms: 0, locked_until_ms: 0 };
        assert_eq!(after_failure(Some(&attempts), LOCK_MS_MAX - 1).0.failed, 5);
        assert_eq!(after_failure(Some(&attempts), LOCK_MS_MAX).0.failed, 1);
    }
}
