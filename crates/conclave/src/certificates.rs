//! The certificates of a process: those of its ports, read again when their files change or on SIGHUP.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use conclave_tls::{Mutual, MutualFiles, Public, PublicFiles, Reload};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinSet,
};

use crate::config::{InternalTls, PublicTls};

/// What is served and called with certificates.
pub struct Certificates {
    /// The internal port, both ends.
    pub internal: Option<Arc<Mutual>>,
    /// The public port.
    pub public: Option<Arc<Public>>,
    /// How often their files are looked at.
    pub check_interval: Duration,
}

/// Ends when it is dropped.
pub struct Watching {
    _tasks: JoinSet<()>,
}

impl Certificates {
    /// All that there are.
    pub fn sources(&self) -> Vec<Arc<dyn Reload>> {
        let internal = self.internal.clone().map(|source| source as Arc<dyn Reload>);
        let public = self.public.clone().map(|source| source as Arc<dyn Reload>);
        internal.into_iter().chain(public).collect()
    }

    /// Takes over new files from here on.
    pub fn watch(&self) -> Result<Watching> {
        let mut tasks = JoinSet::new();
        let sources = self.sources();
        if !sources.is_empty() {
            let order = Arc::new(Notify::new());
            let mut hangup = signal(SignalKind::hangup())?;
            let told = order.clone();
            tasks.spawn(async move {
                while hangup.recv().await.is_some() {
                    told.notify_one();
                }
            });
            let (interval, time) = (self.check_interval, conclave_tls::system_time());
            tasks.spawn(conclave_tls::watch(sources, interval, time, order));
        }
        Ok(Watching { _tasks: tasks })
    }
}

/// Reads the certificates of the internal port.
pub fn internal(tls: &InternalTls) -> Result<Arc<Mutual>> {
    let files = MutualFiles {
        ca: tls.ca.clone(),
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        server_name: None,
    };
    Mutual::load(&files, conclave_tls::system_time())
        .context("the certificates of the internal port cannot be used")
}

/// Reads the certificate of the public port.
pub fn public(tls: &PublicTls) -> Result<Arc<Public>> {
    let files = PublicFiles { certificate: tls.certificate.clone(), key: tls.key.clone() };
    Public::load(&files, conclave_tls::system_time())
        .context("the certificate of the public port cannot be used")
}
