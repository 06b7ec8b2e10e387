//! User imports: what comes in through links is handed to the domain, and every node looks for jobs.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use conclave_crypto::entropy;
use conclave_gateway::user_import::{Link, Parts, Refusal, UserImports};
use conclave_identity::{
    user_import::{
        link, report,
        upload::{self, LinkError},
        worker,
    },
    world::World,
};
use tokio::{sync::watch, task::JoinHandle};

/// From one look for jobs to the next. A job waits for it once.
const EVERY: Duration = Duration::from_secs(1);

/// Looks for jobs until `stopping`, and works on them. What is cut short goes on elsewhere, or at the next
/// start.
pub fn start(world: Arc<World>, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let worker = entropy::bytes(&*world.entropy);
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let look = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                look = worker::look(&world, &worker) => look,
            };
            if let Err(error) = look {
                tracing::debug!(code = error.code.as_str(), "user imports could not be looked for");
            }
        }
    })
}

/// The links of jobs, answered by the domain.
pub struct Links(pub Arc<World>);

#[async_trait]
impl UserImports for Links {
    fn path(&self) -> &'static str {
        link::PATH
    }

    fn file_bytes_max(&self) -> u64 {
        upload::FILE_BYTES_MAX
    }

    async fn upload(&self, link: Link, parts: &mut Parts) -> Result<(), Refusal> {
        let received = upload::receive(&self.0, &of(link), parts).await;
        received.map(|_| ()).map_err(|error| refusal(&error))
    }

    async fn report(&self, link: Link) -> Result<String, Refusal> {
        report::read(&self.0, &of(link)).await.map_err(|error| refusal(&error))
    }
}

fn of(link: Link) -> link::Link {
    let Link { pool_id, job_id, expires_s, signature } = link;
    link::Link { pool_id, job_id, expires_s, signature }
}

/// As S3 answers.
fn refusal(error: &LinkError) -> Refusal {
    let (status, code) = match error {
        LinkError::BadSignature => (403, "SignatureDoesNotMatch"),
        LinkError::Expired => (403, "AccessDenied"),
        LinkError::NoSuchJob => (404, "NoSuchKey"),
        LinkError::NotWaiting => (403, "InvalidObjectState"),
        LinkError::TooLarge => (400, "EntityTooLarge"),
        LinkError::Incomplete => (400, "IncompleteBody"),
        LinkError::BadFile(_) => (400, "InvalidRequest"),
        LinkError::Unavailable => (503, "ServiceUnavailable"),
    };
    Refusal { status, code, message: error.to_string() }
}
