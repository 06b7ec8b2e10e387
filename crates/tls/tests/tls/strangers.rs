//! Who must not get in, and what must not stop a server.

use std::time::Duration;

use conclave_tls::Limits;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::*;

#[tokio::test]
async fn only_the_node_that_is_meant_is_spoken_to() {
    let authority = Authority::new("one");
    let clock = Clock::new();
    let client = Files::new(&authority.pem, &authority.issue("conclave://blue/node/3"));
    let client = client.load(&clock);
    for (uri, node_id, answers) in [
        ("conclave://blue/node/1", Some(1), true),
        ("conclave://blue/node/1", None, true),
        ("conclave://blue/node/2", Some(1), false),
        ("conclave://green/node/1", Some(1), false),
        ("conclave://blue/gateway/0", None, false),
        ("conclave://blue/admin/0", None, false),
        ("https://blue/node/1", None, false),
    ] {
        let files = Files::new(&authority.pem, &authority.issue(uri));
        let address = serve(&files.load(&clock), Limits::default()).await;
        let answer = ask(&connect(address, &client, node_id)).await;
        assert_eq!(answer.is_ok(), answers, "{uri}: {answer:?}");
    }
}

#[tokio::test]
async fn who_is_of_another_authority_is_refused_by_both_ends() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let clock = Clock::new();
    let node = Files::new(&ours.pem, &ours.issue("conclave://blue/node/1"));
    let address = serve(&node.load(&clock), Limits::default()).await;
    for (bundle, own) in [(&theirs, &ours), (&ours, &theirs), (&theirs, &theirs)] {
        let files = Files::new(&bundle.pem, &own.issue("conclave://blue/gateway/0"));
        assert!(ask_anew(address, &files.load(&clock)).await.is_err());
    }
}

#[tokio::test]
async fn noise_silence_and_too_many_handshakes_leave_the_server_serving() {
    let authority = Authority::new("one");
    let clock = Clock::new();
    let server = Files::new(&authority.pem, &authority.issue("conclave://blue/node/1"));
    let server = server.load(&clock);
    let client = Files::new(&authority.pem, &authority.issue("conclave://blue/gateway/0"));
    let client = client.load(&clock);
    let limits = Limits {
        handshakes_max: 2,
        handshake_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let address = serve(&server, limits).await;
    let ended = async |mut stream: TcpStream| {
        let mut answer = Vec::new();
        // an alert or nothing, and the end, in order or not
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    for noise in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0", b"\x16\x03\x01\0\x05hello", b"PRI * HTTP/2.0"]
    {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(noise).await.expect("writes");
        let answer = ended(stream).await;
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    let failed = server.tally().handshakes_failed();

    let first = TcpStream::connect(address).await.expect("connects");
    let second = TcpStream::connect(address).await.expect("connects");
    let third = TcpStream::connect(address).await.expect("connects");
    assert!(ended(third).await.is_empty());
    assert_eq!(server.tally().handshakes_shed(), 1);
    assert!(ended(first).await.is_empty() && ended(second).await.is_empty());
    assert_eq!(server.tally().handshakes_failed(), failed + 2);
    ask_anew(address, &client).await.expect("serves");
}
