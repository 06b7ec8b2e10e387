//! Delivery in the background and in the foreground, by channel.
//!
//! Who may know that there is a message waits for it ([`Messenger::send`]) and learns when it was not
//! taken over. Who must not know, because users are hidden, does not wait ([`Messenger::post`]): the
//! message goes into a queue, and what becomes of it is in the log. The queue is bounded and in memory: a
//! process that dies loses messages and never a code, which can be asked for again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex, Semaphore, mpsc};
use tracing::{Instrument as _, Span};

use crate::{Channel, Message, Messenger, SendError};

/// Messages that wait in one lane.
const QUEUE_MAX: usize = 1_000;
/// Pauses between attempts to deliver a message that waited in the queue.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

/// Hands messages to the service that delivers them.
#[async_trait::async_trait]
pub trait Transport: Send + Sync {
    /// Hands one message over.
    ///
    /// # Errors
    /// When it was not taken over; its text names no recipient and no content.
    async fn deliver(&self, message: &Message) -> Result<(), SendError>;
}

/// What has become of the messages of one lane. Each message is counted once.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    waiting: AtomicU64,
}

impl Tally {
    /// Taken over by the service.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Refused for good.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Given up, because the service could not be reached, or the queue was full.
    pub fn unavailable(&self) -> u64 {
        self.unavailable.load(Ordering::Relaxed)
    }

    /// In the queue.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn count(&self, outcome: &Result<(), SendError>) {
        let counter = match outcome {
            Ok(()) => &self.delivered,
            Err(SendError::Refused(_)) => &self.refused,
            Err(SendError::Unavailable(_)) => &self.unavailable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The lanes of a process. A channel without one sends nothing.
#[derive(Default)]
pub struct Lanes {
    /// E-mail.
    pub email: Option<Lane>,
    /// Text messages.
    pub sms: Option<Lane>,
}

/// One way of sending, with a queue before it.
pub struct Lane {
    transport: Arc<dyn Transport>,
    places: Semaphore,
    timeout: Duration,
    queue: mpsc::Sender<Waiting>,
    tally: Arc<Tally>,
}

/// A message in the queue, and the span in which is written what becomes of it.
type Waiting = (Message, Span);

impl Lane {
    /// At most `parallel` messages at once for those who wait, and as many from the queue; each within
    /// `timeout`. Called on a runtime, on which the queue is worked off until the lane is dropped.
    pub fn start(transport: Arc<dyn Transport>, parallel: usize, timeout: Duration) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let tally = Arc::new(Tally::default());
        for _ in 0..parallel {
            let (transport, waiting) = (Arc::clone(&transport), Arc::clone(&waiting));
            let tally = Arc::clone(&tally);
            tokio::spawn(async move {
                while let Some((message, span)) = next(&waiting).await {
                    tally.waiting.fetch_sub(1, Ordering::Relaxed);
                    let delivery = deliver_patiently(&*transport, &message, timeout);
                    tally.count(&delivery.instrument(span).await);
                }
            });
        }
        Self { transport, places: Semaphore::new(parallel), timeout, queue, tally }
    }

    /// What has become of the messages.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let delivery = async {
            let _place = self.places.acquire().await;
            self.transport.deliver(message).await
        };
        let outcome = within(self.timeout, delivery).await;
        self.tally.count(&outcome);
        outcome
    }

    fn post(&self, waiting: Waiting) -> Result<(), SendError> {
        // before it is in the queue, from which it may be taken at once
        self.tally.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(waiting).map_err(|_| {
            self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
            self.tally.count(&Err(full()));
            full()
        })
    }
}

async fn next(waiting: &Mutex<mpsc::Receiver<Waiting>>) -> Option<Waiting> {
    waiting.lock().await.recv().await
}

async fn within(
    timeout: Duration,
    delivery: impl Future<Output = Result<(), SendError>>,
) -> Result<(), SendError> {
    let late = |_| SendError::Unavailable("it did not answer in time".to_owned());
    tokio::time::timeout(timeout, delivery).await.map_err(late)?
}

async fn deliver_patiently(
    transport: &dyn Transport,
    message: &Message,
    timeout: Duration,
) -> Result<(), SendError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let outcome = within(timeout, transport.deliver(message)).await;
        let Err(error) = &outcome else { return outcome };
        let pause = if error.is_retryable() { pauses.next() } else { None };
        let Some(pause) = pause else {
            tracing::error!(%error, channel = message.channel.as_str(), "message not delivered");
            return outcome;
        };
        tokio::time::sleep(pause).await;
    }
}

impl Lanes {
    /// The lanes that there are, with what has become of their messages.
    pub fn tallies(&self) -> Vec<(Channel, Arc<Tally>)> {
        let lanes = [(Channel::Email, &self.email), (Channel::Sms, &self.sms)];
        let tally =
            |(channel, lane): (Channel, &Option<Lane>)| Some((channel, lane.as_ref()?.tally()));
        lanes.into_iter().filter_map(tally).collect()
    }

    fn lane(&self, channel: Channel) -> Result<&Lane, SendError> {
        let lane = match channel {
            Channel::Email => &self.email,
            Channel::Sms => &self.sms,
        };
        let none = || format!("no way of sending by {} is configured", channel.as_str());
        lane.as_ref().ok_or_else(|| SendError::Refused(none()))
    }
}

/// The span in which a message is put into the queue, if it is one for what becomes of it: another, such as that of the request, must not
/// stay open for as long as the queue takes.
fn notification_span() -> Span {
    let current = Span::current();
    match current.metadata() {
        Some(metadata) if metadata.name() == "user_notification" => current,
        _ => Span::none(),
    }
}

fn full() -> SendError {
    SendError::Unavailable("too many messages are waiting".to_owned())
}

#[async_trait::async_trait]
impl Messenger for Lanes {
    async fn send(&self, message: Message) -> Result<(), SendError> {
        self.lane(message.channel)?.send(&message).await
    }

    fn post(&self, message: Message) -> Result<(), SendError> {
        let waiting = (message, notification_span());
        self.lane(waiting.0.channel)?.post(waiting)
    }

    fn pretend(&self, channel: Channel) -> Result<(), SendError> {
        if self.lane(channel)?.queue.capacity() == 0 { Err(full()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex as SyncMutex;

    use super::*;

    /// Fails as often as it is told to, and keeps what it takes; never answers without a limit.
    struct Fake {
        failures: SyncMutex<Vec<SendError>>,
        taken: mpsc::UnboundedSender<String>,
        hangs: bool,
    }

    #[async_trait::async_trait]
    impl Transport for Fake {
        async fn deliver(&self, message: &Message) -> Result<(), SendError> {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            let failure = self.failures.lock().pop();
            let _ = self.taken.send(message.to.clone());
            failure.map_or(Ok(()), Err)
        }
    }

    fn message(to: &str) -> Message {
        Message {
            to: to.to_owned(),
            channel: Channel::Email,
            subject: None,
            body: "text".to_owned(),
            is_html: false,
            plain: None,
            code: None,
            sender: Default::default(),
        }
    }

    fn lanes(failures: Vec<SendError>, hangs: bool) -> (Lanes, mpsc::UnboundedReceiver<String>) {
        let (taken, seen) = mpsc::unbounded_channel();
        let fake = Fake { failures: SyncMutex::new(failures), taken, hangs };
        let lane = Lane::start(Arc::new(fake), 1, Duration::from_secs(10));
        (Lanes { email: Some(lane), sms: None }, seen)
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_learns_what_became_of_the_message() {
        let refused = SendError::Refused("no".to_owned());
        let (lanes, _seen) = lanes(vec![refused.clone()], false);
        assert_eq!(lanes.send(message("a")).await, Err(refused));
        assert_eq!(lanes.send(message("b")).await, Ok(()));
        let sms = Message { channel: Channel::Sms, ..message("c") };
        assert!(matches!(lanes.send(sms).await, Err(SendError::Refused(_))));
        let [(Channel::Email, tally)] = &lanes.tallies()[..] else { panic!("there is one lane") };
        assert_eq!((tally.delivered(), tally.refused(), tally.unavailable()), (1, 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_given_up() {
        let (lanes, _seen) = lanes(Vec::new(), true);
        assert!(matches!(lanes.send(message("a")).await, Err(SendError::Unavailable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_posted_is_tried_again_while_that_may_help() {
        let busy = SendError::Unavailable("busy".to_owned());
        let refused = SendError::Refused("no".to_owned());
        // popped from the end: three times busy, then taken; then refused for good; then taken
        let (lanes, mut seen) = lanes(vec![refused, busy.clone(), busy.clone(), busy], false);
        for to in ["a", "b", "c"] {
            lanes.post(message(to)).unwrap();
        }
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(seen.recv().await.unwrap());
        }
        assert_eq!(taken.concat(), "aaaabc");
        let tally = lanes.email.as_ref().unwrap().tally();
        while tally.delivered() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!((tally.refused(), tally.unavailable(), tally.waiting()), (1, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_real_and_pretended_messages_alike() {
        let (lanes, _seen) = lanes(Vec::new(), true);
        assert_eq!(lanes.pretend(Channel::Email), Ok(()));
        let taken = (0..2 * QUEUE_MAX).take_while(|_| lanes.post(message("a")).is_ok()).count();
        assert!((QUEUE_MAX..=QUEUE_MAX + 1).contains(&taken));
        assert_eq!(lanes.post(message("a")), Err(full()));
        assert_eq!(lanes.pretend(Channel::Email), Err(full()));
        let tally = lanes.email.as_ref().unwrap().tally();
        assert_eq!(tally.waiting(), QUEUE_MAX as u64);
        assert_eq!(tally.unavailable(), 2, "the one that did not fit, and the one after it");
        let sms = Message { channel: Channel::Sms, ..message("a") };
        assert_eq!(lanes.pretend(Channel::Sms), lanes.post(sms));
    }
}
