//! AdminCreateUser: an administrator makes a user, who gets a temporary password.

use std::collections::BTreeMap;

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::{
    ids::{self, TemporaryPasswordRules},
    secret::SecretString,
};
use conclave_outbound::Channel;
use conclave_store::{keys, records::UserRecord};

use super::{
    admin_user, aliases,
    attributes::{self, Values, Writer},
    codes::{self, Limited},
    credentials, delivery, describe, index,
    lookup::{self, With},
    password_policy::{self, Wording},
    status, username,
};
use crate::{
    call::Call,
    config::PoolConfig,
    pool_access,
    triggers::{
        Circumstances,
        custom_message::{self, Reason},
        pre_sign_up::{self, Maker},
    },
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

/// Makes a user in FORCE_CHANGE_PASSWORD and sends the invitation; with MessageAction RESEND, renews the
/// temporary password of such a user and sends the invitation again, twenty times in an hour. One read and one commit.
///
/// # Errors
/// Those of the API reference, and AliasExistsException for a verified address of another user.
pub async fn admin_create_user(
    world: &World,
    call: &Call,
    input: types::AdminCreateUserRequest,
) -> Result<types::AdminCreateUserResponse, ApiError> {
    Box::pin(create(world, call, input, None)).await
}

/// [`admin_create_user`] with a sub that an operator has chosen: not for a caller of the API.
///
/// # Errors
/// As [`admin_create_user`]; InvalidParameterException when the sub is none or is another user's.
pub async fn admin_create_user_as(
    world: &World,
    call: &Call,
    input: types::AdminCreateUserRequest,
    sub: &str,
) -> Result<types::AdminCreateUserResponse, ApiError> {
    if ids::uuid_to_bytes(sub).is_none() {
        return Err(ApiError::invalid_parameter(format!("{sub} is not a UUID in lower case.")));
    }
    Box::pin(create(world, call, input, Some(sub))).await
}

async fn create(
    world: &World,
    call: &Call,
    input: types::AdminCreateUserRequest,
    sub: Option<&str>,
) -> Result<types::AdminCreateUserResponse, ApiError> {
    let create = AdminCreateUser {
        call,
        sub,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        values: attributes::collect(&input.user_attributes)?,
        temporary_password: input.temporary_password.map(SecretString::new),
        force_alias_creation: input.force_alias_creation.unwrap_or(false),
        message: MessageAction::parse(input.message_action.as_deref()),
        channels: channels(&input.desired_delivery_mediums),
        validation_data: input.validation_data,
        client_metadata: input.client_metadata,
    };
    transact(world, &create).await
}

struct AdminCreateUser<'a> {
    call: &'a Call,
    /// Chosen by an operator.
    sub: Option<&'a str>,
    pool_id: String,
    username: String,
    values: Values,
    temporary_password: Option<SecretString>,
    force_alias_creation: bool,
    message: MessageAction,
    channels: Vec<Channel>,
    validation_data: Vec<types::AttributeType>,
    client_metadata: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MessageAction {
    Send,
    Resend,
    Suppress,
}

impl MessageAction {
    fn parse(name: Option<&str>) -> Self {
        match name {
            Some("RESEND") => Self::Resend,
            Some("SUPPRESS") => Self::Suppress,
            _ => Self::Send,
        }
    }
}

/// DesiredDeliveryMediums, SMS by default.
fn channels(mediums: &[String]) -> Vec<Channel> {
    let wanted = |channel: &Channel| mediums.iter().any(|medium| medium == channel.as_str());
    if mediums.is_empty() {
        return vec![Channel::Sms];
    }
    [Channel::Sms, Channel::Email].into_iter().filter(wanted).collect()
}

#[async_trait]
impl Transaction for AdminCreateUser<'_> {
    type Output = types::AdminCreateUserResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client_metadata: Some(&self.client_metadata), ..Default::default() }
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let mut query = lookup::admin_query(Query::new(), &self.username, &[With::Nothing]);
        if let Some(sub) = self.sub {
            query = query.get(keys::user(sub));
        }
        tx.load(aliases::query(query, &self.values)).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        tx.rely_on_config();
        let user = if self.message == MessageAction::Resend {
            self.renew(tx).await?
        } else {
            self.create(tx, &pool).await?
        };
        let response = types::AdminCreateUserResponse { user: Some(describe::user_type(&user)) };
        Ok(response.into())
    }
}

impl AdminCreateUser<'_> {
    async fn create(&self, tx: &mut Tx<'_>, pool: &PoolConfig) -> Result<UserRecord, Failure> {
        let mut values = self.values.clone();
        attributes::check_permission(Writer::Admin, values.keys())?;
        let sub = match self.sub {
            Some(chosen) if tx.get_bytes(&keys::user(chosen)).is_some() => {
                let text = format!("The sub {chosen} is in use.");
                return Err(ApiError::invalid_parameter(text).into());
            }
            Some(chosen) => chosen.to_owned(),
            None => tx.memo().sub(tx.world()).to_owned(),
        };
        let username = username::of_new_user(pool, &self.username, &sub, &mut values)?;
        let password = self.temporary_password(tx, pool)?;
        attributes::check_schema(&pool.record, &mut values, false)?;
        username::check_preferred(pool, &values)?;
        let user = UserRecord {
            sub,
            username,
            status: status::FORCE_CHANGE_PASSWORD.to_owned(),
            enabled: true,
            created_ms: tx.now_ms(),
            modified_ms: tx.now_ms(),
            attributes: attributes::in_described_order(&values),
            ..Default::default()
        };
        if username::is_taken(tx, pool, &user) {
            let refusal =
                ExceptionName::UsernameExistsException.because("User account already exists");
            return Err(refusal.into());
        }
        let taken = aliases::taken(tx, pool, &user)?;
        if !pool.record.username_attributes.is_empty()
            && let Some(taken) = taken.first()
        {
            return Err(taken.username_refusal().into());
        }
        let moved = aliases::moved(pool, &taken, self.force_alias_creation, tx.now_ms())?;
        // what the function says about the state of the user counts for SignUp alone
        pre_sign_up::check(tx, Maker::Admin, &user, &self.validation_data).await?;
        let mut changes = vec![(None, &user)];
        changes.extend(moved.iter().map(|(owner, without)| (Some(owner), without)));
        self.set_password_and_invite(tx, pool, &user, &password).await?;
        index::write_users(tx, &changes)?;
        tx.add(keys::user_count(), 1, None, None);
        Ok(user)
    }

    async fn renew(&self, tx: &mut Tx<'_>) -> Result<UserRecord, Failure> {
        let user = admin_user::find(tx, self.call, &self.username)?;
        if user.status != status::FORCE_CHANGE_PASSWORD {
            let refusal = ExceptionName::UnsupportedUserStateException.because(format!(
                "Resend not possible. {} status is not FORCE_CHANGE_PASSWORD",
                self.username
            ));
            return Err(refusal.into());
        }
        let pool = tx.pool()?;
        let password = self.temporary_password(tx, &pool)?;
        let mut renewed = user.clone();
        renewed.modified_ms = tx.now_ms();
        if self.channels.iter().any(|channel| delivery::to(&renewed, *channel).is_some()) {
            codes::count(tx, &user.sub, Limited::AdminCreateUser);
        }
        self.set_password_and_invite(tx, &pool, &renewed, &password).await?;
        index::write_user(tx, Some(&user), &renewed)?;
        Ok(renewed)
    }

    /// The password that was given, or one that satisfies the pool's policy.
    fn temporary_password(&self, tx: &Tx<'_>, pool: &PoolConfig) -> Result<SecretString, ApiError> {
        let policy = password_policy::of(pool);
        if let Some(password) = &self.temporary_password {
            password_policy::check(&policy, password.expose(), Wording::AdminCreateUser)?;
            return Ok(password.clone());
        }
        let rules = TemporaryPasswordRules {
            minimum_length: policy.minimum_length as usize,
            symbols: policy.require_symbols,
        };
        Ok(tx.memo().temporary_password(tx.world(), &rules).clone())
    }

    async fn set_password_and_invite(
        &self,
        tx: &mut Tx<'_>,
        pool: &PoolConfig,
        user: &UserRecord,
        password: &SecretString,
    ) -> Result<(), ApiError> {
        let until_ms = password_policy::temporary_until_ms(&password_policy::of(pool), tx.now_ms());
        credentials::set_password(tx, user, password, until_ms).await?;
        if self.message == MessageAction::Suppress {
            return Ok(());
        }
        // a medium that the user has no address for is passed over
        for destination in self.channels.iter().filter_map(|channel| delivery::to(user, *channel)) {
            let message = delivery::invitation(pool, user, &destination, password);
            tx.send(custom_message::draft(tx, Reason::AdminCreateUser, user, message, None)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        testing::{START_MS, signed_call, signed_call_of},
        users::fixtures::{
            TestPool, alias_pool, attributes, email_name_pool, plain_pool, pool, refusal, shown,
            strings, trips,
        },
    };

    const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];
    const VERIFIED: [(&str, &str); 2] = [("email", "ada@example.com"), ("email_verified", "true")];
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    fn by_email(pool: &TestPool, username: &str) -> types::AdminCreateUserRequest {
        types::AdminCreateUserRequest {
            desired_delivery_mediums: strings(&["EMAIL"]),
            ..pool.create_request(username, &EMAIL)
        }
    }

    #[tokio::test]
    async fn an_operator_can_choose_the_sub() {
        const SUB: &str = "11111111-2222-3333-4444-555555555555";
        let pool = plain_pool().await;
        let create = async |name: &str, sub: &str| {
            let request = pool.create_request(name, &EMAIL);
            admin_create_user_as(&pool, &signed_call(), request, sub).await
        };
        let user = create("ada", SUB).await.unwrap().user.unwrap();
        let is_sub = |attribute: &&types::AttributeType| attribute.name.as_deref() == Some("sub");
        assert_eq!(user.attributes.iter().find(is_sub).unwrap().value.as_deref(), Some(SUB));
        let invalid = |text: String| ApiError::invalid_parameter(text);
        let error = create("bob", SUB).await.unwrap_err();
        assert_eq!(error, invalid(format!("The sub {SUB} is in use.")));
        for sub in ["", "1", "AAAAAAAA-2222-3333-4444-555555555555"] {
            let error = create("bob", sub).await.unwrap_err();
            assert_eq!(error, invalid(format!("{sub} is not a UUID in lower case.")));
        }
    }

    #[tokio::test]
    async fn a_new_user_has_a_temporary_password_that_is_sent() {
        let pool = plain_pool().await;
        let user = pool.send_create(by_email(&pool, "ada")).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(user.username.as_deref(), Some("ada"));
        assert_eq!(user.user_status.as_deref(), Some("FORCE_CHANGE_PASSWORD"));
        assert_eq!(user.enabled, Some(true));
        assert_eq!(user.user_create_date, Some(START_MS));
        assert_eq!(user.user_last_modified_date, Some(START_MS));
        assert_eq!(shown(&user.attributes), ["email=ada@example.com"]);
        assert_eq!(user.attributes.last().unwrap().name.as_deref(), Some("sub"));

        let message = pool.outbox.take().pop().unwrap();
        let password = message.code.unwrap();
        assert_eq!(message.to, "ada@example.com");
        assert_eq!(message.subject.as_deref(), Some("Your temporary password"));
        assert_eq!(
            message.body,
            format!("Your username is ada and temporary password is {password}.")
        );
        let (record, is_password) = pool.password_is("ada", &password).await;
        assert!(is_password);
        assert_eq!(record.temporary_until_ms, START_MS + 7 * DAY_MS);
    }

    #[tokio::test]
    async fn invitations_go_by_sms_unless_other_mediums_are_wanted() {
        let pool = plain_pool().await;
        let both = [("email", "ada@example.com"), ("phone_number", "+12065550100")];
        pool.create("by-default", &both).await.unwrap();
        let message = pool.outbox.take().pop().unwrap();
        assert_eq!((message.to.as_str(), message.subject), ("+12065550100", None));
        assert_eq!(
            message.body,
            format!(
                "Your username is by-default and temporary password is {}",
                message.code.unwrap()
            )
        );
        let request = types::AdminCreateUserRequest {
            desired_delivery_mediums: strings(&["EMAIL", "SMS"]),
            ..pool.create_request("both", &both)
        };
        pool.send_create(request).await.unwrap();
        let sent: Vec<_> = pool.outbox.take().into_iter().map(|message| message.to).collect();
        assert_eq!(sent, ["+12065550100", "ada@example.com"]);
        // no phone number: the user is made, and nothing is sent
        pool.create("without", &EMAIL).await.unwrap();
        let request = types::AdminCreateUserRequest {
            message_action: Some("SUPPRESS".to_owned()),
            ..by_email(&pool, "silent")
        };
        pool.send_create(request).await.unwrap();
        assert!(pool.outbox.take().is_empty());
    }

    #[tokio::test]
    async fn the_pool_s_own_words_are_sent() {
        let template = types::MessageTemplateType {
            email_message: Some("{username}: {####}".to_owned()),
            email_subject: Some("Welcome".to_owned()),
            ..Default::default()
        };
        let config = types::AdminCreateUserConfigType {
            allow_admin_create_user_only: Some(true),
            invite_message_template: Some(template),
            ..Default::default()
        };
        let pool = pool(types::CreateUserPoolRequest {
            admin_create_user_config: Some(config),
            ..Default::default()
        })
        .await;
        pool.send_create(by_email(&pool, "ada")).await.unwrap();
        let message = pool.outbox.take().pop().unwrap();
        assert_eq!(message.subject.as_deref(), Some("Welcome"));
        assert_eq!(message.body, format!("ada: {}", message.code.unwrap()));
    }

    #[tokio::test]
    async fn the_administrator_may_choose_the_temporary_password() {
        let pool = plain_pool().await;
        let with = |username: &str, password: &str| types::AdminCreateUserRequest {
            temporary_password: Some(password.to_owned()),
            ..pool.create_request(username, &[])
        };
        pool.send_create(with("ada", "Chosen-Word-1")).await.unwrap();
        assert!(pool.password_is("ada", "Chosen-Word-1").await.1);
        assert_eq!(
            refusal(pool.send_create(with("eve", "Aa1!")).await),
            "InvalidPasswordException: Password did not conform with password policy: Password not \
             long enough"
        );
        assert!(pool.user("eve").await.is_err());
    }

    #[tokio::test]
    async fn a_name_is_taken_once() {
        let pool = plain_pool().await;
        pool.create("ada", &[]).await.unwrap();
        assert_eq!(
            refusal(pool.create("ada", &[]).await),
            "UsernameExistsException: User account already exists"
        );
        let pool = email_name_pool().await;
        let user = pool.create("Ada@example.com", &[("email_verified", "true")]).await.unwrap();
        assert_eq!(shown(&user.attributes), ["email=Ada@example.com", "email_verified=true"]);
        assert_eq!(user.username, user.attributes.last().unwrap().value);
        assert_eq!(
            refusal(pool.create("ada@example.com", &[]).await),
            "UsernameExistsException: An account with the given email already exists."
        );
        let forced = types::AdminCreateUserRequest {
            force_alias_creation: Some(true),
            ..pool.create_request("ada@example.com", &[("email_verified", "true")])
        };
        assert!(refusal(pool.send_create(forced).await).starts_with("UsernameExistsException"));
        assert_eq!(
            refusal(pool.create("ada", &[]).await),
            "InvalidParameterException: Username should be either an email or a phone number."
        );
    }

    #[tokio::test]
    async fn an_invitation_calls_the_user_by_the_address_where_names_are_generated() {
        let pool = email_name_pool().await;
        let request = types::AdminCreateUserRequest {
            user_attributes: Vec::new(),
            ..by_email(&pool, "ada@example.com")
        };
        pool.send_create(request).await.unwrap();
        let message = pool.outbox.take().pop().unwrap();
        assert!(message.body.starts_with("Your username is ada@example.com and"));
    }

    #[tokio::test]
    async fn of_two_creations_at_once_one_wins() {
        let mut pool = plain_pool().await;
        pool.race(1);
        let (a, b) = tokio::join!(pool.create("ada", &[]), pool.create("ada", &[]));
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
        let loser = if a.is_ok() { b } else { a };
        assert_eq!(refusal(loser), "UsernameExistsException: User account already exists");
    }

    #[tokio::test]
    async fn a_verified_address_of_another_is_refused_and_can_be_moved() {
        let pool = alias_pool().await;
        pool.create("ada", &VERIFIED).await.unwrap();
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("ada"));
        // unverified it claims nothing
        pool.create("bob", &EMAIL).await.unwrap();
        assert_eq!(
            refusal(pool.create("eve", &VERIFIED).await),
            "AliasExistsException: An account with the given email already exists."
        );
        let forced = types::AdminCreateUserRequest {
            force_alias_creation: Some(true),
            ..pool.create_request("eve", &VERIFIED)
        };
        pool.store.take_trips();
        pool.send_create(forced).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("eve"));
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=ada@example.com", "email_verified=false"]
        );
        let preferred = [("preferred_username", "ada")];
        assert_eq!(
            refusal(pool.create("joe", &preferred).await),
            "AliasExistsException: User account already exists for the alias."
        );
    }

    #[tokio::test]
    async fn attributes_conform_to_the_schema_and_required_ones_can_wait() {
        let required = types::SchemaAttributeType {
            name: Some("family_name".to_owned()),
            required: Some(true),
            ..Default::default()
        };
        let pool = pool(types::CreateUserPoolRequest {
            schema: Some(types::SchemaAttributeTypeList { items: vec![required] }),
            ..Default::default()
        })
        .await;
        pool.create("ada", &[]).await.unwrap();
        for (pairs, text) in [
            (("sub", "x"), "Cannot modify the non-mutable attribute sub"),
            (("email", "x"), "Invalid email address format."),
            (
                ("custom:x", "y"),
                "Attributes did not conform to the schema: Type for attribute {custom:x} could not \
                 be determined",
            ),
            (
                ("email_verified", "perhaps"),
                "Attributes did not conform to the schema: email_verified: Attribute must be a \
                 boolean",
            ),
        ] {
            assert_eq!(
                refusal(pool.create("eve", &[pairs]).await),
                format!("InvalidParameterException: {text}")
            );
        }
        let nameless = types::AttributeType { name: Some("picture".to_owned()), value: None };
        let request = types::AdminCreateUserRequest {
            user_attributes: vec![nameless],
            ..pool.create_request("eve", &[])
        };
        assert_eq!(
            refusal(pool.send_create(request).await),
            "InvalidParameterException: Attribute value for picture must not be null"
        );
    }

    #[tokio::test]
    async fn an_invitation_can_be_sent_again_with_another_password() {
        let pool = plain_pool().await;
        let first = pool.send_create(by_email(&pool, "ada")).await.unwrap();
        let old = pool.code();
        pool.clock.advance(Duration::from_millis(DAY_MS as u64));
        let resend = |username: &str| types::AdminCreateUserRequest {
            message_action: Some("RESEND".to_owned()),
            user_attributes: attributes(&[("email", "other@example.com")]),
            ..by_email(&pool, username)
        };
        pool.store.take_trips();
        let again = pool.send_create(resend("ada")).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(again.attributes, first.attributes);
        assert_eq!(again.user_status.as_deref(), Some("FORCE_CHANGE_PASSWORD"));
        let message = pool.outbox.take().pop().unwrap();
        assert_eq!(message.to, "ada@example.com");
        let (record, is_new) = pool.password_is("ada", &message.code.unwrap()).await;
        assert!(is_new);
        assert_eq!(record.temporary_until_ms, START_MS + 8 * DAY_MS);
        assert!(!pool.password_is("ada", &old).await.1);

        assert_eq!(
            refusal(pool.send_create(resend("nobody")).await),
            "UserNotFoundException: User does not exist."
        );
        pool.sign_up("eve", &[]).await.unwrap();
        assert_eq!(
            refusal(pool.send_create(resend("eve")).await),
            "UnsupportedUserStateException: Resend not possible. eve status is not \
             FORCE_CHANGE_PASSWORD"
        );
    }

    /// As codes that an administrator sends, or somebody could be flooded by way of an app's "invite again".
    #[tokio::test]
    async fn twenty_invitations_an_hour_are_sent_again() {
        const LIMIT: &str =
            "TooManyRequestsException: Attempt limit exceeded, please try after some time.";
        let pool = plain_pool().await;
        pool.send_create(by_email(&pool, "ada")).await.unwrap();
        let resend = || types::AdminCreateUserRequest {
            message_action: Some("RESEND".to_owned()),
            ..by_email(&pool, "ada")
        };
        for _ in 0..20 {
            pool.send_create(resend()).await.unwrap();
        }
        let last = pool.outbox.take();
        assert_eq!(last.len(), 21);
        assert_eq!(refusal(pool.send_create(resend()).await), LIMIT);
        assert!(pool.outbox.take().is_empty());
        // what was refused has not made the password another
        let password = last.last().and_then(|message| message.code.clone()).unwrap();
        assert!(pool.password_is("ada", &password).await.1);
        // where there is nowhere to send it to, it is no message
        let by_phone = || types::AdminCreateUserRequest {
            desired_delivery_mediums: strings(&["SMS"]),
            ..resend()
        };
        pool.send_create(by_phone()).await.unwrap();
        pool.clock.advance(Duration::from_secs(60 * 60));
        pool.send_create(resend()).await.unwrap();
    }

    #[tokio::test]
    async fn a_foreign_pool_is_no_pool() {
        let pool = plain_pool().await;
        let foreign = signed_call_of("999999999999", "us-east-1");
        let request = pool.create_request("ada", &[]);
        assert_eq!(
            refusal(admin_create_user(&pool, &foreign, request).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
        let request = types::AdminCreateUserRequest {
            user_pool_id: Some("us-east-1_AAAAAAAAA".to_owned()),
            ..pool.create_request("ada", &[])
        };
        assert_eq!(
            refusal(admin_create_user(&pool, &signed_call(), request).await),
            "ResourceNotFoundException: User pool us-east-1_AAAAAAAAA does not exist."
        );
    }
}
