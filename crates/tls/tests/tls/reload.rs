//! New files while connections are served.

use std::sync::Arc;

use conclave_tls::{Limits, Mutual, Reload as _, TlsError};

use crate::support::*;

/// Every file of both ends is new afterwards, and neither open nor new connections notice.
#[tokio::test]
async fn an_authority_is_replaced_with_an_overlap_while_calls_go_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let clock = Clock::new();
    let node = Files::new(&old.pem, &old.issue("conclave://blue/node/1"));
    let gateway = Files::new(&old.pem, &old.issue("conclave://blue/gateway/0"));
    let (server, client) = (node.load(&clock), gateway.load(&clock));
    let address = serve(&server, Limits::default()).await;
    let open = connect(address, &client, Some(1));
    ask(&open).await.expect("serves");

    let both = format!("{}{}", old.pem, new.pem);
    let served = async |step: &str| {
        ask(&open).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        ask_anew(address, &client).await.unwrap_or_else(|error| panic!("{step}: {error}"));
    };
    for (files, certificates) in [(&node, &server), (&gateway, &client)] {
        files.write_bundle(&both);
        took(certificates, "bundle of authorities");
        served("two authorities").await;
    }
    for (files, certificates, uri) in [
        (&node, &server, "conclave://blue/node/1"),
        (&gateway, &client, "conclave://blue/gateway/0"),
    ] {
        files.write_own(&new.issue(uri));
        took(certificates, "certificate");
        served("a certificate of the new one").await;
    }
    for (files, certificates) in [(&node, &server), (&gateway, &client)] {
        files.write_bundle(&new.pem);
        took(certificates, "bundle of authorities");
        // the open connection began under the old authority: it ends, and the next call makes another one
        let _ = ask(&open).await;
        served("the new one alone").await;
    }
    assert_eq!((server.tally().reloads(), server.tally().reloads_refused()), (3, 0));
}

fn took(certificates: &Arc<Mutual>, what: &str) {
    let reloaded = certificates.reload();
    assert!(reloaded.len() == 1 && reloaded[0].outcome.is_ok(), "{reloaded:?}");
    assert_eq!(reloaded[0].what, what);
    assert!(certificates.reload().is_empty(), "nothing has changed since");
}

#[tokio::test]
async fn a_withdrawn_authority_ends_open_connections_and_lets_no_new_ones_begin() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let clock = Clock::new();
    let node = Files::new(&format!("{}{}", old.pem, new.pem), &new.issue("conclave://blue/node/1"));
    let gateway = Files::new(&new.pem, &old.issue("conclave://blue/gateway/0"));
    let (server, client) = (node.load(&clock), gateway.load(&clock));
    let address = serve(&server, Limits::default()).await;
    let open = connect(address, &client, Some(1));
    ask(&open).await.expect("serves");

    node.write_bundle(&new.pem);
    took(&server, "bundle of authorities");
    // the end of the connection may cross the first call
    let first = ask(&open).await;
    let second = ask(&open).await;
    assert!(first.is_err() || second.is_err(), "an open connection goes on");
    assert!(second.is_err() && ask_anew(address, &client).await.is_err());
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new("one");
    let clock = Clock::new();
    let node = Files::new(&authority.pem, &authority.issue("conclave://blue/node/1"));
    let short = authority.issue_until("conclave://blue/gateway/0", NOW_S + DAY_S);
    let gateway = Files::new(&authority.pem, &short);
    let (server, client) = (node.load(&clock), gateway.load(&clock));
    let address = serve(&server, Limits::default()).await;
    ask_anew(address, &client).await.expect("serves");
    clock.advance(DAY_S + 1);
    assert!(ask_anew(address, &client).await.is_err());
    assert_eq!(server.tally().handshakes_failed(), 1);

    gateway.write_own(&authority.issue("conclave://blue/gateway/0"));
    took(&client, "certificate");
    ask_anew(address, &client).await.expect("serves again");
    let expiries: Vec<_> = client.expiries().iter().map(|expiry| expiry.not_after_s).collect();
    assert_eq!(expiries[0], NOW_S + 30 * DAY_S);
}

#[tokio::test]
async fn what_cannot_be_used_is_said_once_and_changes_nothing() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let clock = Clock::new();
    let own = authority.issue("conclave://blue/node/1");
    let node = Files::new(&authority.pem, &own);
    let server = node.load(&clock);
    let address = serve(&server, Limits::default()).await;
    let gateway = Files::new(&authority.pem, &authority.issue("conclave://blue/gateway/0"));
    let client = gateway.load(&clock);

    let mut refused = 0;
    let mut refuses = |why: &dyn Fn(&TlsError) -> bool| {
        let reloaded = server.reload();
        let error = reloaded[0].outcome.as_ref().expect_err("cannot be used");
        assert!(reloaded.len() == 1 && why(error), "{error:?}");
        assert!(server.reload().is_empty(), "said once: {error:?}");
        refused += 1;
        assert_eq!((server.tally().reloads(), server.tally().reloads_refused()), (0, refused));
    };
    let expired = authority.issue_until("conclave://blue/node/1", NOW_S - 1);
    node.write_own(&expired);
    refuses(&|error| *error == TlsError::Expired);
    for uri in ["conclave://blue/node/2", "conclave://green/node/1", "conclave://blue/gateway/0"] {
        node.write_own(&other.issue(uri));
        refuses(&|error| matches!(error, TlsError::OtherIdentity { .. }));
    }
    // half of an exchange: the certificate is there, its key is not yet
    let next = authority.issue("conclave://blue/node/1");
    node.write_own(&(next.0.clone(), own.1.clone()));
    refuses(&|error| matches!(error, TlsError::Unusable(_)));
    node.write_own(&own);
    assert!(server.reload().is_empty(), "as it was");
    for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &own.1] {
        node.write_bundle(text);
        refuses(&|error| matches!(error, TlsError::Unreadable { .. }));
    }
    std::fs::remove_file(node.path("ca.pem")).expect("removes");
    refuses(&|error| matches!(error, TlsError::File { .. }));
    ask_anew(address, &client).await.expect("serves with what it had");
}
