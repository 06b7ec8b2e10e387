//! SignUp: a person makes a user.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::secret::SecretString;
use conclave_outbound::Channel;
use conclave_store::{keys, records::UserRecord};

use super::{
    aliases,
    app_request::AppRequest,
    attributes::{self, Values, Writer},
    codes::{self, CodePurpose},
    credentials, delivery, index,
    lookup::{self, With},
    password_policy::{self, Wording},
    status, username,
};
use crate::{
    auth::sign_up_session,
    call::Call,
    config::PoolConfig,
    threat_protection::{compromised::GivenPassword, context::Context, record},
    triggers::{
        Circumstances,
        custom_message::{self, Reason},
        post_confirmation::{self, Confirmed},
        pre_sign_up::{self, Maker},
    },
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Makes a user who is not confirmed yet, and sends the code that confirms it. One read and one commit.
///
/// # Errors
/// Those of the API reference. UsernameExistsException is answered in either mode of
/// PreventUserExistenceErrors, as in Cognito.
pub async fn sign_up(
    world: &World,
    call: &Call,
    input: types::SignUpRequest,
) -> Result<types::SignUpResponse, ApiError> {
    let context = Context::of_app(call.peer, input.user_context_data.as_ref());
    let request =
        AppRequest::new(world, input.client_id, input.username, input.secret_hash).await?;
    let sign_up = SignUp {
        request: request.with_metadata(input.client_metadata),
        validation_data: input.validation_data,
        event_id: &call.request_id,
        context,
        password: SecretString::new(input.password.unwrap_or_default()),
        values: attributes::collect(&input.user_attributes)?,
    };
    transact(world, &sign_up).await
}

struct SignUp<'a> {
    event_id: &'a str,
    context: Context,
    request: AppRequest,
    validation_data: Vec<types::AttributeType>,
    password: SecretString,
    values: Values,
}

#[async_trait]
impl Transaction for SignUp<'_> {
    type Output = types::SignUpResponse;

    fn scope(&self) -> &str {
        &self.request.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        self.request.circumstances()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = lookup::query(Query::new(), &self.request.username, &[With::Nothing]);
        let query = aliases::query(query, &self.values);
        let (pool, client) = self.request.load(tx, query).await?;
        tx.rely_on_config();
        check_sign_up_allowed(&pool)?;

        let mut values = self.values.clone();
        attributes::check_permission(Writer::Client(&client), values.keys())?;
        let sub = tx.memo().sub(tx.world()).to_owned();
        let username = username::of_new_user(&pool, &self.request.username, &sub, &mut values)?;
        let policy = password_policy::of(&pool);
        password_policy::check(&policy, self.password.expose(), Wording::SignUp)?;
        let given = GivenPassword::SignUp(self.password.expose());
        record::at_the_door(tx, &client, &self.context, Some(given)).await?;
        attributes::check_schema(&pool.record, &mut values, true)?;
        username::check_preferred(&pool, &values)?;
        attributes::add_unverified_flags(&mut values);

        let mut user = UserRecord {
            sub: sub.clone(),
            username,
            status: status::UNCONFIRMED.to_owned(),
            enabled: true,
            created_ms: tx.now_ms(),
            modified_ms: tx.now_ms(),
            attributes: attributes::in_described_order(&values),
            ..Default::default()
        };
        if username::is_taken(tx, &pool, &user) {
            return Err(ExceptionName::UsernameExistsException
                .because("User already exists")
                .into());
        }
        if let Some(taken) = aliases::taken(tx, &pool, &user)?.first() {
            return Err(taken.username_refusal().into());
        }

        let wishes = pre_sign_up::check(tx, Maker::Person, &user, &self.validation_data).await?;
        wishes.apply(&mut user)?;
        // an address that the function vouches for is a name from now on, whoever had it before
        let moved = aliases::moved(&pool, &aliases::taken(tx, &pool, &user)?, true, tx.now_ms())?;

        credentials::set_password(tx, &user, &self.password, 0).await?;
        let mut changes = vec![(None, &user)];
        changes.extend(moved.iter().map(|(owner, without)| (Some(owner), without)));
        index::write_users(tx, &changes)?;
        tx.add(keys::user_count(), 1, None, None);
        record::done(
            tx,
            &client,
            (Some(sub.as_str()), ""),
            ("SignUp", self.event_id),
            &self.context,
            Some(GivenPassword::SignUp(self.password.expose())),
        )
        .await?;
        let mut response = types::SignUpResponse {
            user_confirmed: Some(user.status == status::CONFIRMED),
            user_sub: Some(sub),
            ..Default::default()
        };
        if user.status == status::CONFIRMED {
            post_confirmation::tell(tx, Confirmed::SignUp, &user)?;
            return Ok(response.into());
        }
        response.session = sign_up_session::signed_up(tx, &client, &user)?;
        if let Some(destination) = delivery::of_sign_up(&pool, &user) {
            if destination.channel == Channel::Email {
                delivery::check_links(&pool)?;
            }
            let code = codes::issue(tx, &user, CodePurpose::SignUp, &destination)?;
            let link = delivery::confirmation_link(tx.world(), &client, &user, &code);
            let message = delivery::confirmation(&pool, &user, &destination, &code, &link);
            let link = delivery::link_of(&message, &pool, link);
            tx.send(custom_message::draft(tx, Reason::SignUp, &user, message, link.as_ref())?);
            response.code_delivery_details = Some(destination.details());
        }
        Ok(response.into())
    }
}

fn check_sign_up_allowed(pool: &PoolConfig) -> Result<(), ApiError> {
    let only_admins = pool
        .record
        .admin_create_user
        .as_ref()
        .is_some_and(|config| config.allow_admin_create_user_only);
    if only_admins {
        return Err(ApiError::not_authorized("SignUp is not permitted for this user pool"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conclave_crypto::mac;

    use super::*;
    use crate::users::fixtures::{
        PASSWORD, TestPool, alias_pool, email_name_pool, plain_pool, pool, refusal, strings, trips,
        verifying, verifying_pool,
    };

    #[tokio::test]
    async fn a_new_user_is_unconfirmed_and_gets_a_code() {
        let pool = verifying_pool().await;
        let answer = pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(answer.user_confirmed, Some(false));
        assert_eq!(answer.session, None);
        let details = answer.code_delivery_details.unwrap();
        assert_eq!(details.attribute_name.as_deref(), Some("email"));
        assert_eq!(details.delivery_medium.as_deref(), Some("EMAIL"));
        assert_eq!(details.destination.as_deref(), Some("a***@e***"));

        let message = pool.outbox.take().pop().unwrap();
        let code = message.code.unwrap();
        assert!(code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()));
        assert_eq!((message.to.as_str(), message.channel), ("ada@example.com", Channel::Email));
        assert_eq!(message.subject.as_deref(), Some("Your verification code"));
        assert_eq!(message.body, format!("Your confirmation code is {code}"));

        let user = pool.user("ada").await.unwrap();
        assert_eq!(user.user_status.as_deref(), Some("UNCONFIRMED"));
        assert_eq!(user.enabled, Some(true));
        assert_eq!(user.user_create_date, user.user_last_modified_date);
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=ada@example.com", "email_verified=false"]
        );
        assert_eq!(user.user_attributes.last().unwrap().value, answer.user_sub);
        assert!(pool.password_is("ada", PASSWORD).await.1);
        assert!(!pool.password_is("ada", "Correct-Horse-2").await.1);
    }

    #[tokio::test]
    async fn nothing_is_sent_where_the_pool_verifies_nothing_that_the_user_has() {
        let pool = plain_pool().await;
        let answer = pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
        assert_eq!(answer.code_delivery_details, None);
        let pool = verifying_pool().await;
        let answer = pool.sign_up("ada", &[("email", "")]).await.unwrap();
        assert_eq!(answer.code_delivery_details, None);
        assert!(pool.outbox.take().is_empty());
        assert!(pool.attributes_of("ada").await.is_empty());
    }

    #[tokio::test]
    async fn a_phone_number_is_preferred_to_an_email_address() {
        let pool = pool(verifying(&["email", "phone_number"])).await;
        let both = [("email", "ada@example.com"), ("phone_number", "+12065550100")];
        let details = pool.sign_up("ada", &both).await.unwrap().code_delivery_details.unwrap();
        assert_eq!(details.delivery_medium.as_deref(), Some("SMS"));
        assert_eq!(details.attribute_name.as_deref(), Some("phone_number"));
        assert_eq!(details.destination.as_deref(), Some("+*******0100"));
        let message = pool.outbox.take().pop().unwrap();
        assert_eq!((message.to.as_str(), message.subject), ("+12065550100", None));
        assert_eq!(message.body, format!("Your verification code is {}", message.code.unwrap()));
        let details = pool.sign_up("eve", &both[..1]).await.unwrap().code_delivery_details.unwrap();
        assert_eq!(details.delivery_medium.as_deref(), Some("EMAIL"));
    }

    #[tokio::test]
    async fn the_pool_s_own_words_are_sent() {
        let template = types::VerificationMessageTemplateType {
            email_message: Some("{####} is for you, {username}".to_owned()),
            email_subject: Some("Hello".to_owned()),
            ..Default::default()
        };
        let request = types::CreateUserPoolRequest {
            verification_message_template: Some(template),
            ..verifying(&["email"])
        };
        let pool = pool(request).await;
        pool.sign_up("{####}", &[("email", "ada@example.com")]).await.unwrap();
        let message = pool.outbox.take().pop().unwrap();
        assert_eq!(message.subject.as_deref(), Some("Hello"));
        assert_eq!(message.body, format!("{} is for you, {{####}}", message.code.unwrap()));
    }

    fn by_link(message: Option<&str>) -> types::CreateUserPoolRequest {
        types::CreateUserPoolRequest {
            verification_message_template: Some(types::VerificationMessageTemplateType {
                default_email_option: Some("CONFIRM_WITH_LINK".to_owned()),
                email_message_by_link: message.map(str::to_owned),
                email_subject_by_link: message.map(|_| "For {username}".to_owned()),
                ..Default::default()
            }),
            ..verifying(&["email", "phone_number"])
        }
    }

    async fn with_domain(pool: &TestPool) {
        let request = types::CreateUserPoolDomainRequest {
            user_pool_id: Some(pool.id.clone()),
            domain: Some("acme".to_owned()),
            ..Default::default()
        };
        let call = crate::testing::signed_call();
        crate::domains::create_user_pool_domain(pool, &call, request).await.expect("is made");
    }

    async fn follow(
        pool: &TestPool,
        client_id: &str,
        name: &str,
        code: &str,
    ) -> Result<(), ApiError> {
        let request = types::ConfirmSignUpRequest {
            client_id: Some(client_id.to_owned()),
            ..pool.confirm_request(name, code)
        };
        crate::users::confirm_sign_up_by_link(pool, request).await
    }

    #[tokio::test]
    async fn a_link_confirms_where_the_pool_sends_links() {
        let pool = pool(by_link(Some("<b>Hi {username}</b> {##Click & go##}"))).await;
        with_domain(&pool).await;
        pool.sign_up("a<b", &[("email", "ada@example.com")]).await.unwrap();
        let message = pool.outbox.take().pop().unwrap();
        let code = message.code.unwrap();
        assert!(message.is_html);
        assert_eq!(message.subject.as_deref(), Some("For a<b"));
        let link = format!(
            "https://id.example.com/confirmUser?client_id={}&amp;user_name=a%3Cb&amp;confirmation_code={code}",
            pool.client_id
        );
        assert_eq!(message.body, format!("<b>Hi a&lt;b</b> <a href=\"{link}\">Click & go</a>"));
        let wrong = if code == "000000" { "000001" } else { "000000" };
        assert!(
            refusal(follow(&pool, &pool.client_id, "a<b", wrong).await)
                .starts_with("CodeMismatchException")
        );
        follow(&pool, &pool.client_id, "a<b", &code).await.unwrap();
        assert_eq!(pool.status_of("a<b").await, "CONFIRMED");
        assert_eq!(
            refusal(follow(&pool, &pool.client_id, "a<b", &code).await),
            "NotAuthorizedException: User cannot be confirmed. Current status is CONFIRMED"
        );
        // a text message has no link
        pool.sign_up("bob", &[("phone_number", "+12065550100")]).await.unwrap();
        assert!(pool.outbox.take().pop().unwrap().body.starts_with("Your verification code is"));
    }

    #[tokio::test]
    async fn who_follows_a_link_needs_no_secret_of_the_app() {
        let pool = pool(by_link(None)).await;
        with_domain(&pool).await;
        let request = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            ..Default::default()
        };
        let client = pool.new_client(request).await;
        let (client_id, secret) = (client.client_id.unwrap(), client.client_secret.unwrap());
        let request = types::SignUpRequest {
            client_id: Some(client_id.clone()),
            secret_hash: Some(mac::secret_hash(&secret, "ada", &client_id)),
            ..pool.sign_up_request("ada", &[("email", "ada@example.com")])
        };
        pool.send_sign_up(request).await.unwrap();
        let message = pool.outbox.take().pop().unwrap();
        assert_eq!(message.subject.as_deref(), Some("Your verification link"));
        assert!(message.body.contains(">Verify Email</a>"), "{}", message.body);
        follow(&pool, &client_id, "ada", &message.code.unwrap()).await.unwrap();
        assert_eq!(pool.status_of("ada").await, "CONFIRMED");
    }

    // the text is the service's, from reports of its answer
    #[tokio::test]
    async fn a_link_leads_to_a_domain() {
        let pool = pool(by_link(None)).await;
        let missing = "InvalidParameterException: Cannot perform specific action because there does not \
                       exist a valid use pool domain associated with the user pool";
        let email = [("email", "ada@example.com")];
        assert_eq!(refusal(pool.sign_up("ada", &email).await), missing);
        assert!(pool.user("ada").await.is_err());
        pool.sign_up("bob", &[("phone_number", "+12065550100")]).await.unwrap();
        let code = pool.code();
        assert_eq!(refusal(follow(&pool, &pool.client_id, "bob", &code).await), missing);
        for name in ["bob", "nobody"] {
            let request = types::ResendConfirmationCodeRequest {
                client_id: Some(pool.client_id.clone()),
                username: Some(name.to_owned()),
                ..Default::default()
            };
            let call = crate::testing::unsigned_call();
            let resent = crate::users::resend_confirmation_code(&pool, &call, request).await;
            assert_eq!(refusal(resent), missing, "{name}");
        }
    }

    #[tokio::test]
    async fn an_unknown_client_is_refused_before_anything_else() {
        let pool = plain_pool().await;
        let of = |client_id: &str| types::SignUpRequest {
            client_id: Some(client_id.to_owned()),
            ..pool.sign_up_request("ada", &[])
        };
        for client_id in ["1example23456789", &format!("{}x", &pool.client_id[..25])] {
            assert_eq!(
                refusal(pool.send_sign_up(of(client_id)).await),
                format!("ResourceNotFoundException: User pool client {client_id} does not exist.")
            );
        }
        assert_eq!(pool.store.take_trips().commits, 0);
    }

    #[tokio::test]
    async fn a_client_with_a_secret_has_to_prove_it() {
        let pool = plain_pool().await;
        let request = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            ..Default::default()
        };
        let client = pool.new_client(request).await;
        let (client_id, secret) = (client.client_id.unwrap(), client.client_secret.unwrap());
        let of = |secret_hash: Option<String>| types::SignUpRequest {
            client_id: Some(client_id.clone()),
            secret_hash,
            ..pool.sign_up_request("Ada", &[])
        };
        assert_eq!(
            refusal(pool.send_sign_up(of(None)).await),
            format!(
                "NotAuthorizedException: Client {client_id} is configured with secret but \
                 SECRET_HASH was not received"
            )
        );
        let wrong = mac::secret_hash(&secret, "ada", &client_id);
        assert_eq!(
            refusal(pool.send_sign_up(of(Some(wrong))).await),
            format!("NotAuthorizedException: Unable to verify secret hash for client {client_id}")
        );
        let right = mac::secret_hash(&secret, "Ada", &client_id);
        assert!(pool.send_sign_up(of(Some(right))).await.is_ok());
    }

    #[tokio::test]
    async fn a_pool_can_leave_sign_up_to_administrators() {
        let request = types::CreateUserPoolRequest {
            admin_create_user_config: Some(types::AdminCreateUserConfigType {
                allow_admin_create_user_only: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(
            refusal(pool(request).await.sign_up("ada", &[]).await),
            "NotAuthorizedException: SignUp is not permitted for this user pool"
        );
    }

    #[tokio::test]
    async fn s21_users_do_not_set_what_the_service_sets() {
        let pool = plain_pool().await;
        for name in ["email_verified", "phone_number_verified", "sub"] {
            assert_eq!(
                refusal(pool.sign_up("ada", &[(name, "true")]).await),
                format!(
                    "InvalidParameterException: Cannot modify the non-mutable attribute {name}"
                )
            );
        }
        let unauthorized =
            "NotAuthorizedException: A client attempted to write unauthorized attribute";
        assert_eq!(refusal(pool.sign_up("ada", &[("identities", "[]")]).await), unauthorized);
        assert_eq!(refusal(pool.sign_up("ada", &[("dev:custom:x", "1")]).await), unauthorized);
        let request = types::CreateUserPoolClientRequest {
            write_attributes: strings(&["name"]),
            ..Default::default()
        };
        let client_id = pool.new_client(request).await.client_id;
        let request =
            types::SignUpRequest { client_id, ..pool.sign_up_request("ada", &[("nickname", "A")]) };
        assert_eq!(refusal(pool.send_sign_up(request).await), unauthorized);
        assert!(pool.user("ada").await.is_err());
    }

    fn schema_pool_request() -> types::CreateUserPoolRequest {
        let required = |name: &str| types::SchemaAttributeType {
            name: Some(name.to_owned()),
            required: Some(true),
            ..Default::default()
        };
        let text = types::SchemaAttributeType {
            name: Some("team".to_owned()),
            attribute_data_type: Some("String".to_owned()),
            mutable: Some(true),
            string_attribute_constraints: Some(types::StringAttributeConstraintsType {
                min_length: Some("2".to_owned()),
                max_length: Some("4".to_owned()),
            }),
            ..Default::default()
        };
        let number = types::SchemaAttributeType {
            name: Some("age".to_owned()),
            attribute_data_type: Some("Number".to_owned()),
            mutable: Some(true),
            number_attribute_constraints: Some(types::NumberAttributeConstraintsType {
                min_value: Some("1".to_owned()),
                max_value: Some("150".to_owned()),
            }),
            ..Default::default()
        };
        let items = vec![required("family_name"), required("phone_number"), text, number];
        types::CreateUserPoolRequest {
            schema: Some(types::SchemaAttributeTypeList { items }),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn attributes_conform_to_the_schema() {
        let pool = pool(schema_pool_request()).await;
        let required = [("family_name", "L"), ("phone_number", "+12065550100")];
        let prefix = "InvalidParameterException: Attributes did not conform to the schema: ";
        let with = |name: &'static str, value: &'static str| {
            let pairs: Vec<_> = required.into_iter().chain([(name, value)]).collect();
            let pool = &pool;
            async move { refusal(pool.sign_up("ada", &pairs).await) }
        };
        assert_eq!(
            refusal(pool.sign_up("ada", &required[1..]).await),
            format!("{prefix}name.familyName: The attribute name.familyName is required")
        );
        assert_eq!(
            refusal(pool.sign_up("ada", &[]).await),
            format!(
                "{prefix}phoneNumbers: The attribute phoneNumbers is required, name.familyName: \
                 The attribute name.familyName is required"
            )
        );
        assert_eq!(
            with("custom:role", "x").await,
            format!("{prefix}Type for attribute {{custom:role}} could not be determined")
        );
        assert_eq!(
            with("custom:team", "abcde").await,
            format!("{prefix}custom:team: String must be no longer than 4 characters")
        );
        assert_eq!(
            with("custom:team", "a").await,
            format!("{prefix}custom:team: String must be longer than 2 characters")
        );
        assert_eq!(
            with("custom:age", "151").await,
            format!("{prefix}custom:age: Number must be less than or equal to 150")
        );
        assert_eq!(
            with("custom:age", "0").await,
            format!("{prefix}custom:age: Number must be greater than or equal to 1")
        );
        assert!(with("custom:age", "old").await.starts_with(prefix));
        assert_eq!(
            with("email", "ada").await,
            "InvalidParameterException: Invalid email address format."
        );
        assert_eq!(
            with("phone_number", "123").await,
            "InvalidParameterException: Invalid phone number format."
        );
        let pairs = [
            ("custom:age", "old"),
            ("custom:team", "core"),
            ("given_name", "Ada"),
            ("email", "a@b.co"),
            ("family_name", "Lovelace"),
            ("phone_number", "+12065550100"),
            ("custom:age", "36"),
        ];
        pool.sign_up("ada", &pairs).await.unwrap();
        assert_eq!(
            pool.attributes_of("ada").await,
            [
                "email=a@b.co",
                "email_verified=false",
                "phone_number=+12065550100",
                "phone_number_verified=false",
                "family_name=Lovelace",
                "given_name=Ada",
                "custom:age=36",
                "custom:team=core",
            ]
        );
    }

    #[tokio::test]
    async fn a_weak_password_is_refused_by_its_first_fault() {
        let pool = plain_pool().await;
        let with = |password: &str| types::SignUpRequest {
            password: Some(password.to_owned()),
            ..pool.sign_up_request("ada", &[])
        };
        for (password, rule) in [
            ("Aa1!", "Password not long enough"),
            ("12341234", "Password must have lowercase characters"),
            ("abcd1234", "Password must have uppercase characters"),
            ("TestTest", "Password must have numeric characters"),
            ("TestTest1", "Password must have symbol characters"),
        ] {
            assert_eq!(
                refusal(pool.send_sign_up(with(password)).await),
                format!("InvalidPasswordException: Password did not conform with policy: {rule}")
            );
        }
    }

    #[tokio::test]
    async fn a_name_is_taken_once() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        let taken = "UsernameExistsException: User already exists";
        assert_eq!(refusal(pool.sign_up("ada", &[]).await), taken);
        let client_id = Some(pool.hiding_client().await);
        let request = types::SignUpRequest { client_id, ..pool.sign_up_request("ada", &[]) };
        assert_eq!(refusal(pool.send_sign_up(request).await), taken);
        // names differ by case where the pool does not say otherwise
        assert!(pool.sign_up("Ada", &[]).await.is_ok());
    }

    #[tokio::test]
    async fn of_two_sign_ups_at_once_one_wins() {
        async fn race(mut pool: TestPool, names: [&str; 2], pairs: &[(&str, &str)]) {
            pool.race(1);
            let (a, b) = tokio::join!(pool.sign_up(names[0], pairs), pool.sign_up(names[1], pairs));
            let winners = usize::from(a.is_ok()) + usize::from(b.is_ok());
            assert_eq!(winners, 1, "{a:?} {b:?}");
            let loser = if a.is_ok() { b } else { a };
            assert!(refusal(loser).starts_with("UsernameExistsException"));
            // both had read before either committed: one commit failed
            assert_eq!(pool.store.take_trips(), trips(3, 2));
        }
        race(verifying_pool().await, ["ada", "ada"], &[("email", "ada@example.com")]).await;
        race(email_name_pool().await, ["ada@example.com", "Ada@example.com"], &[]).await;
        race(alias_pool().await, ["ada", "eve"], &[("preferred_username", "boss")]).await;
    }

    #[tokio::test]
    async fn a_user_can_be_called_by_an_address() {
        let pool = email_name_pool().await;
        let answer = pool.sign_up("Ada@Example.com", &[]).await.unwrap();
        assert_eq!(answer.code_delivery_details.unwrap().destination.as_deref(), Some("A***@E***"));
        let user = pool.user("ada@example.com").await.unwrap();
        assert_eq!(user.username, answer.user_sub);
        assert_eq!(
            pool.attributes_of("ada@example.com").await,
            ["email=Ada@Example.com", "email_verified=false"]
        );
        assert!(pool.password_is("ADA@example.com", PASSWORD).await.1);
        let phone =
            pool.sign_up("+12065550100", &[("phone_number", "+12065550100")]).await.unwrap();
        assert_eq!(phone.code_delivery_details, None);

        assert_eq!(
            refusal(pool.sign_up("ADA@example.com", &[]).await),
            "UsernameExistsException: An account with the given email already exists."
        );
        assert_eq!(
            refusal(pool.sign_up("eve@example.com", &[("phone_number", "+12065550100")]).await),
            "UsernameExistsException: An account with the given phone_number already exists."
        );
        assert_eq!(
            refusal(pool.sign_up("ada", &[]).await),
            "InvalidParameterException: Username should be either an email or a phone number."
        );
        assert!(
            refusal(pool.sign_up("bob@example.com", &[("email", "x@example.com")]).await)
                .starts_with("InvalidParameterException")
        );
    }

    #[tokio::test]
    async fn the_form_of_names_depends_on_the_pool() {
        for (attribute, text) in [
            ("email", "Username should be an email."),
            ("phone_number", "Username should be a phone number."),
        ] {
            let request = types::CreateUserPoolRequest {
                username_attributes: strings(&[attribute]),
                ..Default::default()
            };
            let pool = pool(request).await;
            assert_eq!(
                refusal(pool.sign_up("ada", &[]).await),
                format!("InvalidParameterException: {text}")
            );
        }
        let request = types::CreateUserPoolRequest {
            alias_attributes: strings(&["email", "phone_number", "preferred_username"]),
            ..Default::default()
        };
        let pool = pool(request).await;
        let email = "InvalidParameterException: Username cannot be of email format, since user pool \
                     is configured for email alias.";
        assert_eq!(refusal(pool.sign_up("ada@example.com", &[]).await), email);
        let preferred = [("preferred_username", "ada@example.com")];
        assert_eq!(refusal(pool.sign_up("ada", &preferred).await), email);
        assert_eq!(
            refusal(pool.sign_up("+12065550100", &[]).await),
            "InvalidParameterException: Username cannot be of phone number format, since user pool \
             is configured for phone number alias."
        );
    }

    #[tokio::test]
    async fn a_verified_address_of_another_does_not_show_at_sign_up() {
        let pool = alias_pool().await;
        pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
        let answer = pool.sign_up("eve", &[("email", "ada@example.com")]).await.unwrap();
        assert!(answer.code_delivery_details.is_some());
        // the name still leads to who has verified it
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("ada"));
    }

    #[tokio::test]
    async fn names_and_preferred_names_are_one_name_space() {
        let pool = alias_pool().await;
        pool.sign_up("ada", &[("preferred_username", "boss")]).await.unwrap();
        let taken = "UsernameExistsException: User already exists";
        assert_eq!(refusal(pool.sign_up("boss", &[]).await), taken);
        for preferred in ["boss", "ada"] {
            let pairs = [("preferred_username", preferred)];
            assert_eq!(refusal(pool.sign_up("eve", &pairs).await), taken, "{preferred}");
        }
        assert_eq!(pool.user("boss").await.unwrap().username.as_deref(), Some("ada"));
    }

    #[tokio::test]
    async fn where_case_does_not_matter_variants_are_one_name() {
        let request = types::CreateUserPoolRequest {
            username_configuration: Some(types::UsernameConfigurationType {
                case_sensitive: Some(false),
            }),
            ..Default::default()
        };
        let pool = pool(request).await;
        pool.sign_up("Ada", &[]).await.unwrap();
        assert_eq!(pool.user("ADA").await.unwrap().username.as_deref(), Some("ada"));
        for variant in ["ada", "ADA", "Ada"] {
            assert_eq!(
                refusal(pool.sign_up(variant, &[]).await),
                "UsernameExistsException: User already exists"
            );
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_and_nothing_remains_when_the_commit_fails() {
        let pool = verifying_pool().await;
        pool.store.fail_commit(1);
        assert!(pool.sign_up("ada", &[("email", "ada@example.com")]).await.is_err());
        assert!(pool.outbox.take().is_empty());
        assert!(pool.user("ada").await.is_err());
        assert!(pool.sign_up("ada", &[]).await.is_ok());
    }

    #[tokio::test]
    async fn a_name_can_be_used_again_after_the_user_is_gone() {
        let pool = verifying_pool().await;
        let pairs = [("email", "ada@example.com")];
        let first = pool.sign_up("ada", &pairs).await.unwrap().user_sub;
        let code = pool.code();
        let request = types::AdminDeleteUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("ada".to_owned()),
        };
        let call = crate::testing::signed_call();
        crate::users::admin_delete_user(&pool, &call, request).await.unwrap();
        pool.clock.advance(Duration::from_secs(1));
        assert_ne!(pool.sign_up("ada", &pairs).await.unwrap().user_sub, first);
        assert_ne!(pool.code(), code);
        assert!(refusal(pool.confirm("ada", &code).await).starts_with("CodeMismatchException"));
    }
}
