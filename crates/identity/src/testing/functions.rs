//! Functions of pools, in the test itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use conclave_outbound::{Invocation, InvokeError, Triggers};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Function = dyn Fn(&Value) -> Result<Value, InvokeError> + Send + Sync;

/// All functions of the tests' pools: they note what they are asked, and return events unchanged until they
/// are told otherwise.
pub(crate) struct Functions {
    events: Mutex<Vec<Value>>,
    function: Mutex<Arc<Function>>,
    places: Arc<Semaphore>,
    is_full: AtomicBool,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            events: Mutex::default(),
            function: Mutex::new(Arc::new(|event| Ok(event["response"].clone()))),
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

    /// From now on nothing is called that nobody waits for.
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
        event["response"] = function(&event)?;
        Ok(json!(event).to_string().into())
    }

    fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_full.load(Ordering::SeqCst) {
            return None;
        }
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}
