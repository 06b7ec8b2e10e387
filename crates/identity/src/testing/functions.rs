//! Functions of pools, in the test itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use conclave_outbound::{Invocation, InvokeError, Place, Triggers};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::Instant};

type Function = dyn Fn(&Value) -> Result<Value, InvokeError> + Send + Sync;

/// All functions of the tests' pools: they note what they are asked, and return events unchanged until they
/// are told otherwise.
pub(crate) struct Functions {
    events: Mutex<Vec<Value>>,
    function: Mutex<Arc<Function>>,
    takes: Mutex<Duration>,
    places: Arc<Semaphore>,
    is_full: AtomicBool,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            events: Mutex::default(),
            function: Mutex::new(Arc::new(|event| Ok(event["response"].clone()))),
            takes: Mutex::default(),
            places: Arc::new(Semaphore::new(8)),
            is_full: AtomicBool::new(false),
        }
    }
}

impl Functions {
    /// From now on the response to an event is this.
    pub fn answer(
        &self,
        function: impl Fn(&Value) -> Result<Value, InvokeError> + Send + Sync + 'static,
    ) {
        *self.function.lock() = Arc::new(function);
    }

    /// From now on each call takes so long.
    pub fn take_time(&self, takes: Duration) {
        *self.takes.lock() = takes;
    }

    /// From now on the queue of every function is full.
    pub fn fill(&self) {
        self.is_full.store(true, Ordering::SeqCst);
    }

    /// What has been asked since the last call.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.events.lock())
    }

    /// The sources of what has been asked since the last call.
    pub fn sources(&self) -> Vec<String> {
        let source = |event: Value| event["triggerSource"].as_str().unwrap_or_default().to_owned();
        self.take().into_iter().map(source).collect()
    }
}

#[async_trait]
impl Triggers for Functions {
    async fn invoke(&self, invocation: Invocation) -> Result<Bytes, InvokeError> {
        let mut event: Value = serde_json::from_slice(&invocation.event).expect("is JSON");
        self.events.lock().push(event.clone());
        let function = Arc::clone(&*self.function.lock());
        // as long as it takes, or as there is time for it
        let takes = *self.takes.lock();
        if !takes.is_zero() {
            let over = Instant::now() + takes;
            tokio::time::sleep_until(over.min(invocation.time.until)).await;
            if over > invocation.time.until {
                return Err(InvokeError::TimedOut);
            }
        }
        event["response"] = function(&event)?;
        Ok(json!(event).to_string().into())
    }

    fn reserve(&self, _: &str) -> Option<Place> {
        if self.is_full.load(Ordering::SeqCst) {
            return None;
        }
        Arc::clone(&self.places).try_acquire_owned().ok().map(Place::holding)
    }
}
