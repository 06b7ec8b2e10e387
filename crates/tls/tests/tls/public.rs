//! The public port, asked with `openssl s_client` where that is installed.

use std::{
    process::{Command, Stdio},
    sync::Arc,
};

use conclave_tls::{Public, PublicFiles};
use tokio::{
    net::{TcpListener, TcpStream},
    task::spawn_blocking,
};

use crate::support::*;

async fn serve_public(files: &Files, clock: &Arc<Clock>) -> std::net::SocketAddr {
    let files = PublicFiles { certificate: files.path("own.pem"), key: files.path("own-key.pem") };
    let public = Public::load(&files, clock.clone()).expect("loads");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _): (TcpStream, _) = listener.accept().await.expect("accepts");
            let public = public.clone();
            tokio::spawn(async move { public.accept(stream).await.map(drop) });
        }
    });
    address
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let authority = Authority::new("one");
    let files = Files::new(&authority.pem, &authority.issue("https://blue.test/"));
    let address = serve_public(&files, &Clock::new()).await;
    for (version, cipher, expected) in [
        ("-tls1_3", "DEFAULT", Some("TLSv1.3")),
        ("-tls1_2", "DEFAULT", Some("TLSv1.2")),
        // old versions need the lowest security level of the client
        ("-tls1_1", "DEFAULT@SECLEVEL=0", None),
        ("-tls1", "DEFAULT@SECLEVEL=0", None),
    ] {
        let ask = move || {
            Command::new("openssl")
                .args(["s_client", "-connect", &address.to_string(), version, "-cipher", cipher])
                .args(["-alpn", "h2,http/1.1"])
                .stdin(Stdio::null())
                .output()
        };
        let asked = spawn_blocking(ask).await.expect("runs");
        // not on every machine that builds
        let Ok(asked) = asked else { return };
        let said = String::from_utf8_lossy(&asked.stdout);
        match expected {
            Some(name) => {
                assert!(said.contains(name) && said.contains("ALPN protocol: h2"), "{said}");
            }
            None => assert!(said.contains("Cipher is (NONE)"), "{version}: {said}"),
        }
    }
}
