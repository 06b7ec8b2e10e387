//! Tasks that take turns in an order that a seed decides: every run with the same seed is the same
//! run, and other seeds meet other interleavings.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::dice::Dice;

/// A task of a schedule.
pub type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The tasks did not come to an end within the turns that they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// How many tasks had not ended.
    pub tasks_left: usize,
}

const TURNS_MAX: u64 = 10_000_000;

/// Runs `tasks` to their end. They may wait for [`turn`] and for each other, but for nothing that
/// needs a runtime.
///
/// # Errors
/// [`Stuck`], when they wait for each other in a circle or for a runtime.
pub fn run(seed: u64, mut tasks: Vec<Task<'_>>) -> Result<(), Stuck> {
    let dice = Dice::new(seed, 0x5c4e_d01e);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..TURNS_MAX {
        if tasks.is_empty() {
            return Ok(());
        }
        let chosen = dice.below(tasks.len() as u64) as usize;
        let done =
            tasks.get_mut(chosen).is_some_and(|task| task.as_mut().poll(&mut context).is_ready());
        if done {
            drop(tasks.swap_remove(chosen));
        }
    }
    Err(Stuck { tasks_left: tasks.len() })
}

/// Lets the others go first, once. Under a runtime, yields to it.
pub async fn turn() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Lets the others go first, `count` times.
pub async fn turns(count: u64) {
    for _ in 0..count {
        turn().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    fn order_of(seed: u64) -> Vec<u32> {
        let order = Mutex::new(Vec::new());
        let tasks = (0..4).map(|task| -> Task<'_> {
            let order = &order;
            Box::pin(async move {
                for _ in 0..5 {
                    turn().await;
                    order.lock().push(task);
                }
            })
        });
        run(seed, tasks.collect()).expect("ends");
        order.into_inner()
    }

    #[test]
    fn a_seed_repeats_its_order_and_another_has_another() {
        assert_eq!(order_of(1), order_of(1));
        assert_ne!(order_of(1), order_of(2));
        assert_eq!(order_of(1).len(), 20);
    }
}
