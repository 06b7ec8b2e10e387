//! Connections to shard nodes, one for each address.

use std::{collections::HashMap, io, sync::Arc};

use conclave_store::proto::shard_client::ShardClient;
use conclave_tls::Mutual;
use parking_lot::Mutex;
use tonic::transport::Channel;

/// Addresses that are known at a time; a cluster has fewer.
const ADDRESSES_MAX: usize = 256;
/// Bytes of one answer.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

pub(crate) struct Channels {
    tls: Option<Arc<Mutual>>,
    open: Mutex<HashMap<String, Channel>>,
}

impl Channels {
    pub(crate) fn new(tls: Option<Arc<Mutual>>) -> Self {
        Self { tls, open: Mutex::default() }
    }

    /// A client for the node at `address`. The connection is made when it is first used.
    ///
    /// # Errors
    /// The address is none, or is another machine and there are no certificates.
    pub(crate) fn client(&self, address: &str) -> io::Result<ShardClient<Channel>> {
        let mut open = self.open.lock();
        let channel = match open.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = conclave_tls::channel(address, self.tls.as_ref(), None)?;
                if open.len() >= ADDRESSES_MAX {
                    open.clear();
                }
                open.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(ShardClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}
