//! The public port with certificates of its own.

use std::io;

use conclave_tls::Public;
use tokio::net::TcpStream;

use super::{Io, TlsAcceptor};

#[async_trait::async_trait]
impl TlsAcceptor for Public {
    async fn accept(&self, stream: TcpStream) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(Public::accept(self, stream).await?))
    }
}
