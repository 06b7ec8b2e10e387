//! The calling side: any node that answers will do.

use std::{error::Error, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use conclave_tls::{Mutual, MutualFiles};
use tokio::time::timeout;
use tonic::{Code, Response, Status, transport::Channel};

use super::{args::Connection, proto::admin_client::AdminClient};
use crate::{config::ServeConfig, failure::Failure};

/// How long an answer may take: longer than the deadlines of the node that has to ask others.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A way into the cluster.
pub struct Client {
    addresses: Vec<String>,
    certificates: Option<Arc<Mutual>>,
    /// The address that has answered last.
    current: usize,
}

impl Client {
    pub fn new(connection: &Connection) -> Result<Self> {
        let target = Target::of(connection)?;
        let certificates = match target.files {
            Some(files) => Some(
                Mutual::load(&files, conclave_tls::system_time())
                    .map_err(|error| Failure::usage(error.to_string()))?,
            ),
            None => None,
        };
        Ok(Self { addresses: target.addresses, certificates, current: 0 })
    }

    /// [`Client::ask`] for the service of the cluster itself.
    pub async fn call<T>(
        &mut self,
        ask: impl AsyncFn(AdminClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T> {
        self.ask(async |channel| ask(AdminClient::new(channel)).await).await
    }

    /// Asks, and asks the next node when one does not answer. Everything that can be asked can be repeated. Each call has
    /// a connection of its own.
    pub async fn ask<T>(
        &mut self,
        ask: impl AsyncFn(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T> {
        let mut silent = Vec::new();
        for _ in 0..self.addresses.len() {
            let address = &self.addresses[self.current];
            let channel = conclave_tls::channel(address, self.certificates.as_ref(), None);
            let answer = match channel {
                Ok(channel) => timeout(ANSWER_WITHIN, ask(channel)).await,
                Err(error) => Ok(Err(Status::unavailable(error.to_string()))),
            };
            match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if status.code() == Code::Unavailable => {
                    silent.push(format!("{address}: {}", cause(&status)));
                }
                Ok(Err(status)) => return Err(refused(&status).into()),
                Err(_) => silent.push(format!("{address}: no answer in time")),
            }
            self.current = (self.current + 1) % self.addresses.len();
        }
        let silent = silent.join("\n  ");
        Err(Failure::unreachable(format!(
            "no node could be asked:\n  {silent}\nCheck the addresses, and that the certificate is \
             of this cluster's authority and has not expired."
        ))
        .into())
    }

    /// Asks this node from here on.
    pub fn turn_to(&mut self, address: &str) {
        match self.addresses.iter().position(|known| known == address) {
            Some(known) => self.current = known,
            None => {
                self.addresses.push(address.to_owned());
                self.current = self.addresses.len() - 1;
            }
        }
    }
}

/// What the node has said.
fn refused(status: &Status) -> Failure {
    match status.code() {
        Code::Unimplemented => Failure::failed(
            "the node does not offer administration: it is of an earlier version, or the address is \
             not that of an internal port",
        ),
        Code::PermissionDenied => Failure::failed(format!("refused: {}", status.message())),
        _ => Failure::failed(status.message()),
    }
}

/// The innermost reason: what is around it says only that there was one.
fn cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

struct Target {
    addresses: Vec<String>,
    files: Option<MutualFiles>,
}

impl Target {
    fn of(connection: &Connection) -> Result<Self> {
        let mut addresses = Vec::new();
        let mut ca = connection.ca.clone();
        if let Some(path) = &connection.config {
            let config = ServeConfig::read(path)?;
            let own = config.own_address().ok().map(str::to_owned);
            for address in own.into_iter().chain(config.seeds()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            ca = ca.or(config.internal_tls.map(|tls| tls.ca));
        }
        if !connection.address.is_empty() {
            addresses.clone_from(&connection.address);
        }
        if addresses.is_empty() {
            return Err(Failure::usage("where is the cluster? Give --config or --address").into());
        }
        Ok(Self { addresses, files: files(connection, ca)? })
    }
}

fn files(connection: &Connection, ca: Option<PathBuf>) -> Result<Option<MutualFiles>> {
    let given = connection.certificate.clone().zip(connection.key.clone());
    let Some(ca) = ca else {
        return match given {
            Some(_) => Err(Failure::usage("--certificate needs --ca or --config").into()),
            // a cluster without certificates: loopback only
            None => Ok(None),
        };
    };
    let (certificate, key) = match given {
        Some(given) => given,
        None => {
            let beside = (ca.with_file_name("admin.pem"), ca.with_file_name("admin-key.pem"));
            if !beside.0.exists() {
                return Err(Failure::usage(format!(
                    "a certificate of the role admin is needed: --certificate and --key, or {}. It \
                     is made with: conclave pki issue --role admin --name admin --cluster-id CLUSTER",
                    beside.0.display()
                ))
                .into());
            }
            beside
        }
    };
    Ok(Some(MutualFiles { ca, certificate, key, server_name: None }))
}
