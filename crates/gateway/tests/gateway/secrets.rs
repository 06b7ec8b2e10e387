//! Nothing that a request keeps secret is in logs, metrics or answers.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{World, signed, signed_by, unsigned};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

#[tokio::test]
async fn a_canary_in_every_secret_place_is_found_nowhere() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let world = World::new();
    let answers = async {
        let mut answers = Vec::new();
        for (name, body) in [
            ("SignUp", r#"{"ClientId":"abc","Username":"ada","Password":"canary-1","SecretHash":"canary-2"}"#),
            ("GetUser", r#"{"AccessToken":"canary-3"}"#),
            ("GetUser", r#"{"AccessToken":"canary-4","AccessToken":"canary-4"}"#),
            ("ForgotPassword", r#"{"ClientId":"abc","Username":"ada","SecretHash":"canary-5"}"#),
            ("ConfirmSignUp", r#"{"ClientId":"abc","Username":"ada","ConfirmationCode":"canary-6"}"#),
            ("InitiateAuth", r#"{"AuthFlow":"USER_PASSWORD_AUTH","AuthParameters":{"PASSWORD":"canary-7"}}"#),
            ("ChangePassword", r#"{"AccessToken":"canary-8","PreviousPassword":"canary-9","ProposedPassword":1}"#),
        ] {
            answers.push(world.send(unsigned(name, body)).await);
        }
        let mut request = signed("ListUserPools", r#"{"MaxResults":1}"#);
        let value = request.headers()["authorization"].to_str().unwrap().replace("Signature=", "Signature=canary-a");
        request.headers_mut().insert("authorization", value.parse().unwrap());
        answers.push(world.send(request).await);
        let mut request = signed("ListUserPools", "{}");
        request.headers_mut().insert("authorization", "AWS4-HMAC-SHA256 canary-b".parse().unwrap());
        answers.push(world.send(request).await);
        answers.push(world.send(signed_by("root", "ListUserPools", r#"{"MaxResults":1}"#)).await);
        answers
    }
    .with_subscriber(subscriber)
    .await;
    let log = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(log.contains("ListUserPools") && log.contains("request_id"), "{log}");
    assert!(!log.contains("canary") && !log.contains("secret-access-key"), "{log}");
    assert!(!log.contains("Signature="), "{log}");
    for answer in answers {
        assert!(
            !format!("{:?} {:?}", answer.headers, answer.text()).contains("canary"),
            "{answer:?}"
        );
    }
    assert!(!world.metrics.encode().contains("canary"));
}
