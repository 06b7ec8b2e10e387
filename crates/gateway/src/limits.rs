//! Limits that are decided before any work is done: requests in flight, and quotas by category.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use conclave_api::{ApiError, Category, ExceptionName, Operation};
use conclave_outbound::Clock;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests may be under way at once. Beyond that a request is refused at once: waiting
/// would only move the queue from the client, which can back off, to the server, which cannot.
#[derive(Clone)]
pub struct InFlight(Arc<Semaphore>);

impl InFlight {
    /// Lets `limit` requests in.
    pub fn new(limit: usize) -> Self {
        InFlight(Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))))
    }

    /// A place, held until the permit is dropped.
    ///
    /// # Errors
    /// `ServiceUnavailable`, which SDKs try again after a while.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            ExceptionName::ServiceUnavailable.because("Service is unable to handle request.")
        })
    }
}

/// Requests per second for each category.
pub type Rates = HashMap<Category, f64>;

/// Cognito's default rates, from the quotas page of its developer guide.
pub fn cognito_rates() -> Rates {
    HashMap::from([
        (Category::UserAuthentication, 120.0),
        (Category::UserCreation, 50.0),
        (Category::UserFederation, 25.0),
        (Category::UserAccountRecovery, 30.0),
        (Category::UserRead, 120.0),
        (Category::UserUpdate, 25.0),
        (Category::UserToken, 120.0),
        (Category::UserResourceRead, 50.0),
        (Category::UserResourceUpdate, 25.0),
        (Category::UserList, 30.0),
        (Category::UserPoolRead, 15.0),
        (Category::UserPoolUpdate, 15.0),
        (Category::UserPoolResourceRead, 20.0),
        (Category::UserPoolResourceUpdate, 15.0),
        (Category::UserPoolClientRead, 15.0),
        (Category::UserPoolClientUpdate, 15.0),
        (Category::ClientAuthentication, 150.0),
    ])
}

/// How many buckets are kept; beyond that those that are full again are dropped, which forgets
/// nothing.
const MAX_BUCKETS: usize = 65_536;

/// Token buckets by category and tenant. Each gateway counts for itself, so a rate is meant for one
/// gateway.
pub struct Quotas {
    rates: Rates,
    clock: Arc<dyn Clock>,
    capacity: usize,
    buckets: Mutex<HashMap<(Budget, String), Bucket>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Budget {
    Category(Category),
    /// Answers to challenges have three times the rate of sign-in for themselves; only what exceeds
    /// that counts as sign-in.
    ChallengeAnswers,
}

struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Quotas {
    /// These rates; a category without one has no limit. A bucket holds one second's worth.
    pub fn new(rates: Rates, clock: Arc<dyn Clock>) -> Self {
        Quotas { rates, clock, capacity: MAX_BUCKETS, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one request of a tenant's quota.
    ///
    /// # Errors
    /// `TooManyRequestsException` when there is none left.
    pub fn take(&self, operation: &Operation, tenant: &str) -> Result<(), ApiError> {
        let Some(&rate) = self.rates.get(&operation.category) else { return Ok(()) };
        let answers =
            matches!(operation.name, "RespondToAuthChallenge" | "AdminRespondToAuthChallenge");
        let taken = (answers && self.take_from(Budget::ChallengeAnswers, tenant, rate * 3.0))
            || self.take_from(Budget::Category(operation.category), tenant, rate);
        if taken {
            Ok(())
        } else {
            Err(ExceptionName::TooManyRequestsException.because("Rate exceeded"))
        }
    }

    fn take_from(&self, budget: Budget, tenant: &str, rate: f64) -> bool {
        let now = self.clock.monotonic();
        let size = rate.max(1.0);
        let mut buckets = self.buckets.lock();
        if buckets.len() >= self.capacity && !buckets.contains_key(&(budget, tenant.to_owned())) {
            // A bucket that has had a second is full again, and a full bucket is as good as none.
            buckets.retain(|_, bucket| now.saturating_sub(bucket.at) < Duration::from_secs(1));
            if buckets.len() >= self.capacity {
                return false;
            }
        }
        let bucket =
            buckets.entry((budget, tenant.to_owned())).or_insert(Bucket { tokens: size, at: now });
        let gained = now.saturating_sub(bucket.at).as_secs_f64() * rate;
        bucket.tokens = (bucket.tokens + gained).min(size);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use conclave_outbound::clock::ManualClock;

    use super::*;

    fn operation(name: &str) -> &'static Operation {
        Operation::by_name(name).unwrap()
    }

    fn quotas(rate: f64) -> (Arc<ManualClock>, Quotas) {
        let clock = Arc::new(ManualClock::at(0));
        let rates = Category::ALL.iter().map(|&category| (category, rate)).collect();
        (clock.clone(), Quotas::new(rates, clock))
    }

    fn admitted(quotas: &Quotas, name: &str, tenant: &str, tries: usize) -> usize {
        (0..tries).filter(|_| quotas.take(operation(name), tenant).is_ok()).count()
    }

    #[test]
    fn a_minute_admits_the_rate_within_five_percent() {
        let (clock, quotas) = quotas(20.0);
        let mut total = 0;
        for _ in 0..60 * 50 {
            total += admitted(&quotas, "ListUsers", "a", 2);
            clock.advance(Duration::from_millis(20));
        }
        // 60 seconds at 20, and the burst of one second at the start.
        assert!((1_200..=1_260).contains(&total), "{total}");
    }

    #[test]
    fn one_tenant_does_not_use_up_another_s_quota() {
        let (_clock, quotas) = quotas(5.0);
        assert_eq!(admitted(&quotas, "ListUsers", "noisy", 1_000), 5);
        assert_eq!(admitted(&quotas, "ListUsers", "quiet", 5), 5);
        let error = quotas.take(operation("ListUsers"), "noisy").unwrap_err();
        assert_eq!((error.code.as_str(), error.http_status()), ("TooManyRequestsException", 400));
        assert_eq!(error.message, "Rate exceeded");
    }

    #[test]
    fn answers_to_challenges_have_three_times_the_rate_before_they_count_as_sign_in() {
        let (_clock, quotas) = quotas(10.0);
        assert_eq!(admitted(&quotas, "RespondToAuthChallenge", "a", 100), 40);
        assert_eq!(admitted(&quotas, "InitiateAuth", "a", 100), 0);
    }

    #[test]
    fn a_category_without_a_rate_has_no_limit() {
        let quotas = Quotas::new(Rates::new(), Arc::new(ManualClock::at(0)));
        assert_eq!(admitted(&quotas, "ListUsers", "a", 1_000), 1_000);
    }

    #[test]
    fn made_up_tenants_do_not_fill_the_memory() {
        let (clock, mut quotas) = quotas(5.0);
        quotas.capacity = 100;
        for n in 0..1_000 {
            let _ = quotas.take(operation("ListUsers"), &n.to_string());
        }
        assert!(quotas.buckets.lock().len() <= 100);
        clock.advance(Duration::from_secs(1));
        assert_eq!(admitted(&quotas, "ListUsers", "new", 5), 5);
    }

    #[test]
    fn a_full_house_is_refused_at_once_and_a_place_that_is_left_can_be_taken() {
        let house = InFlight::new(1);
        let place = house.enter().unwrap();
        let error = house.enter().unwrap_err();
        assert_eq!(error.http_status(), 503);
        drop(place);
        assert!(house.enter().is_ok());
    }

    #[test]
    fn every_category_has_a_default_rate() {
        let rates = cognito_rates();
        assert!(Category::ALL.iter().all(|category| rates.contains_key(category)));
    }
}
