use async_trait::async_trait;
use conclave_store::{keys::UserChild, records::ProviderLink};

use super::*;
use crate::{
    identity_providers::{create_identity_provider, delete_identity_provider},
    testing::{signed_call, signed_call_of, unsigned_call},
    users::{
        admin_delete_user, admin_disable_provider_for_user, admin_reset_user_password,
        admin_set_user_password,
        fixtures::{PASSWORD, TestPool, alias_pool, pool, refusal, strings, trips, verifying},
        forgot_password, get_user, list_users, status,
    },
};

const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];
const NOT_FOUND: &str = "UserNotFoundException: User does not exist.";
const ALREADY: &str = "InvalidParameterException: SourceUser is already linked to DestinationUser";

type Named = (&'static str, &'static str, &'static str);
const GOOGLE: Named = ("Google", "Cognito_Subject", "google-1");
const SAML: Named = ("Corp", "Cognito_Subject", "ada@corp.example");
const ADA: Named = ("Cognito", "", "ada");

fn identity((provider, attribute, value): Named) -> Option<types::ProviderUserIdentifierType> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(types::ProviderUserIdentifierType {
        provider_name: text(provider),
        provider_attribute_name: text(attribute),
        provider_attribute_value: text(value),
    })
}

async fn link(pool: &TestPool, destination: Named, source: Named) -> Result<(), ApiError> {
    let request = types::AdminLinkProviderForUserRequest {
        user_pool_id: Some(pool.id.clone()),
        destination_user: identity(destination),
        source_user: identity(source),
    };
    admin_link_provider_for_user(pool, &signed_call(), request).await.map(|_| ())
}

async fn disable(pool: &TestPool, user: Named) -> Result<(), ApiError> {
    let request = types::AdminDisableProviderForUserRequest {
        user_pool_id: Some(pool.id.clone()),
        user: identity(user),
    };
    admin_disable_provider_for_user(pool, &signed_call(), request).await.map(|_| ())
}

async fn provider(pool: &TestPool, name: &str, kind: &str) {
    let details: &[(&str, &str)] = match kind {
        "SAML" => &[("MetadataURL", "https://idp.example.com/metadata")],
        _ => &[("client_id", "c"), ("client_secret", "s"), ("authorize_scopes", "openid email")],
    };
    let pairs = details.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mapping = [("email".to_owned(), "mail".to_owned())];
    let request = types::CreateIdentityProviderRequest {
        user_pool_id: Some(pool.id.clone()),
        provider_name: Some(name.to_owned()),
        provider_type: Some(kind.to_owned()),
        provider_details: Some(types::StringMap { items: pairs.collect() }),
        attribute_mapping: mapping.into(),
        ..Default::default()
    };
    create_identity_provider(pool, &signed_call(), request).await.expect("is made");
}

async fn delete_provider(pool: &TestPool, name: &str) {
    let request = types::DeleteIdentityProviderRequest {
        user_pool_id: Some(pool.id.clone()),
        provider_name: Some(name.to_owned()),
    };
    delete_identity_provider(pool, &signed_call(), request).await.expect("goes");
}

async fn with_ada(pool: TestPool) -> TestPool {
    pool.confirmed_user("ada", &EMAIL).await;
    pool.confirmed_user("eve", &[("email", "eve@example.com")]).await;
    provider(&pool, "Google", "Google").await;
    provider(&pool, "Corp", "SAML").await;
    let _ = pool.user("ada").await;
    pool.store.take_trips();
    pool
}

async fn people() -> TestPool {
    with_ada(alias_pool().await).await
}

/// The value of `identities`, as AdminGetUser shows it.
async fn identities(pool: &TestPool, username: &str) -> Option<serde_json::Value> {
    let user = pool.user(username).await.expect("exists");
    let mut attributes = user.user_attributes.into_iter();
    let found = attributes.find(|attribute| attribute.name.as_deref() == Some("identities"))?;
    serde_json::from_str(&found.value?).ok()
}

/// Everything that is stored of links, and under users.
async fn stored(pool: &TestPool) -> usize {
    struct Scan<'a>(&'a str);
    #[async_trait]
    impl Transaction for Scan<'_> {
        type Output = usize;
        fn scope(&self) -> &str {
            self.0
        }
        async fn decide(&self, tx: &mut Tx<'_>) -> Decision<usize> {
            let links = vec![keys::Tag::ProviderLink as u8];
            let pages = tx.load(Query::new().scan(links, Vec::new(), 100)).await?;
            Ok(pages.iter().map(|page| page.rows.len()).sum::<usize>().into())
        }
    }
    transact(pool, &Scan(&pool.id)).await.expect("scans")
}

/// Makes the user that a first sign-in by a provider makes.
struct FederatedUser<'a> {
    pool_id: &'a str,
    subject: &'a str,
    email: &'a str,
}

#[async_trait]
impl Transaction for FederatedUser<'_> {
    type Output = String;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<String> {
        tx.load(Query::new().get(keys::identity_provider("Google"))).await?;
        let subject = self.subject.to_owned();
        let (provider_name, attribute_name) = ("Google".to_owned(), links::SUBJECT.to_owned());
        let identity = Identity { provider_name, attribute_name, value: subject };
        let link = identity.link(&identity.provider(tx)?, tx.now_ms());
        let mut user = UserRecord {
            sub: tx.memo().sub(tx.world()).to_owned(),
            username: format!("Google_{}", self.subject),
            status: status::EXTERNAL_PROVIDER.to_owned(),
            enabled: true,
            created_ms: tx.now_ms(),
            modified_ms: tx.now_ms(),
            links: vec![ProviderLink { is_primary: true, ..link }],
            ..Default::default()
        };
        crate::users::attributes::set(&mut user, "email", self.email);
        crate::users::attributes::set(&mut user, "email_verified", "false");
        index::write_user(tx, None, &user)?;
        tx.add(keys::user_count(), 1, None, None);
        Ok(user.username.into())
    }
}

async fn federated(pool: &TestPool, subject: &str, email: &str) -> String {
    transact(pool, &FederatedUser { pool_id: &pool.id, subject, email }).await.expect("signs in")
}

#[tokio::test]
async fn an_identity_is_shown_as_cognito_shows_it_wherever_the_user_is() {
    let pool = people().await;
    link(&pool, ADA, GOOGLE).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(2, 1));
    let user = pool.user("ada").await.unwrap();
    let created = user.user_last_modified_date.unwrap();
    let expected = format!(
        r#"[{{"userId":"google-1","providerName":"Google","providerType":"Google","issuer":null,"primary":false,"dateCreated":{created}}}]"#
    );
    let shown = |attributes: &[types::AttributeType]| {
        let name =
            |attribute: &&types::AttributeType| attribute.name.as_deref() == Some("identities");
        attributes.iter().find(name).and_then(|attribute| attribute.value.clone())
    };
    assert_eq!(shown(&user.user_attributes), Some(expected.clone()));
    assert_eq!(user.user_status.as_deref(), Some("CONFIRMED"));

    let request = types::GetUserRequest { access_token: Some(pool.token("ada").await) };
    let own = get_user(&pool, &unsigned_call(), request).await.unwrap();
    assert_eq!(shown(&own.user_attributes), Some(expected.clone()));
    let request = types::ListUsersRequest {
        user_pool_id: Some(pool.id.clone()),
        filter: Some("username = \"ada\"".to_owned()),
        attributes_to_get: Some(types::StringList { items: strings(&["identities"]) }),
        ..Default::default()
    };
    let listed = list_users(&pool, &signed_call(), request).await.unwrap();
    assert_eq!(shown(&listed.users[0].attributes), Some(expected));
    assert!(pool.sign_in("ada", PASSWORD).await.is_ok());
}

/// Cognito takes such a name, and refuses the sign-in by the provider that would have it too ("User already exists with
/// provider user id"): from reports of its answers, in no documentation. So a name makes nobody a user of a provider.
#[tokio::test]
async fn s28_a_local_user_named_like_one_of_a_provider_is_none() {
    let pool = people().await;
    pool.sign_up("Google_4711", &[]).await.unwrap();
    pool.create("Google_4712", &[]).await.unwrap();
    for (name, subject) in [("Google_4711", "4711"), ("Google_4712", "4712")] {
        assert_eq!(identities(&pool, name).await, None);
        // neither by what the provider calls somebody, nor as one whom the provider knows
        let of_provider = ("Google", links::SUBJECT, subject);
        assert_eq!(refusal(link(&pool, of_provider, GOOGLE).await), NOT_FOUND);
        assert_eq!(refusal(disable(&pool, of_provider).await), NOT_FOUND);
    }
    // the identity is free, and becomes whose it is
    link(&pool, ADA, ("Google", links::SUBJECT, "4711")).await.unwrap();
    assert!(identities(&pool, "ada").await.is_some());
    assert_eq!(identities(&pool, "Google_4711").await, None);
}

#[tokio::test]
async fn an_identity_is_of_one_user() {
    let pool = people().await;
    link(&pool, ADA, GOOGLE).await.unwrap();
    assert_eq!(refusal(link(&pool, ADA, GOOGLE).await), ALREADY);
    let eve = ("Cognito", "Cognito_Subject", "eve");
    assert_eq!(
        refusal(link(&pool, eve, GOOGLE).await),
        "AliasExistsException: SourceUser is already linked to another DestinationUser"
    );
    // the same text of another provider, or in another attribute, is another identity
    link(&pool, eve, ("Corp", "Cognito_Subject", "google-1")).await.unwrap();
    link(&pool, ADA, ("Corp", "email", "google-1")).await.unwrap();
    disable(&pool, GOOGLE).await.unwrap();
    assert_eq!(pool.store.take_trips().commits, 4);
    link(&pool, eve, GOOGLE).await.unwrap();
    assert_eq!(identities(&pool, "ada").await.unwrap().as_array().unwrap().len(), 1);
    assert_eq!(refusal(disable(&pool, ("Google", "Cognito_Subject", "none")).await), NOT_FOUND);
}

#[tokio::test]
async fn of_two_links_at_once_one_wins() {
    let mut pool = people().await;
    pool.race(2);
    let (a, b) =
        tokio::join!(link(&pool, ADA, GOOGLE), link(&pool, ("Cognito", "", "eve"), GOOGLE));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    let linked = [identities(&pool, "ada").await, identities(&pool, "eve").await];
    assert_eq!(linked.iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_user_has_five_links_and_those_of_providers_that_are_gone_do_not_count() {
    let pool = people().await;
    for number in ["1", "2", "3", "4"] {
        link(&pool, ADA, ("Corp", "Cognito_Subject", number)).await.unwrap();
    }
    link(&pool, ADA, GOOGLE).await.unwrap();
    assert_eq!(
        refusal(link(&pool, ADA, SAML).await),
        "LimitExceededException: The maximum number of identities linked to a user is 5."
    );
    assert_eq!(stored(&pool).await, 5);
    delete_provider(&pool, "Google").await;
    assert_eq!(stored(&pool).await, 4);
    link(&pool, ADA, SAML).await.unwrap();
    let names: Vec<_> = identities(&pool, "ada").await.unwrap().as_array().unwrap().clone();
    assert!(names.len() == 5 && names.iter().all(|link| link["providerName"] == "Corp"));
}

#[tokio::test]
async fn nothing_of_a_link_outlives_its_user_or_its_provider() {
    let pool = people().await;
    link(&pool, ADA, GOOGLE).await.unwrap();
    link(&pool, ADA, SAML).await.unwrap();
    link(&pool, ("Cognito", "", "eve"), ("Google", "Cognito_Subject", "google-2")).await.unwrap();
    assert_eq!(stored(&pool).await, 3);
    delete_provider(&pool, "Google").await;
    assert_eq!(stored(&pool).await, 1);
    // a provider of the same name is another one: nobody gets what was of the first
    provider(&pool, "Google", "Google").await;
    assert_eq!(refusal(disable(&pool, GOOGLE).await), NOT_FOUND);
    link(&pool, ("Cognito", "", "eve"), GOOGLE).await.unwrap();
    let request = types::AdminDeleteUserRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
    };
    admin_delete_user(&pool, &signed_call(), request).await.unwrap();
    assert_eq!(stored(&pool).await, 1);
    assert_eq!(
        refusal(link(&pool, ("Cognito", "", "eve"), GOOGLE).await),
        ALREADY,
        "the link of the new provider is not lost with the user who had the old one"
    );
}

#[tokio::test]
async fn what_cannot_be_linked_is_refused() {
    let pool = people().await;
    let eve = ("Cognito", "Cognito_Subject", "eve");
    let nobody = ("Cognito", "Cognito_Subject", "nobody");
    let parameter = "InvalidParameterException: ";
    for (destination, source, text) in [
        (
            ADA,
            eve,
            format!(
                "{parameter}Invalid SourceUser: Cognito users with a username/password may not be \
                 passed in as a SourceUser, only as a DestinationUser"
            ),
        ),
        (nobody, GOOGLE, NOT_FOUND.to_owned()),
        // an address is no user name: it moves
        (("Cognito", "", "ada@example.com"), GOOGLE, NOT_FOUND.to_owned()),
        (("Google", "", "unknown"), SAML, NOT_FOUND.to_owned()),
        (
            ADA,
            ("Okta", "Cognito_Subject", "x"),
            "ResourceNotFoundException: Identity provider Okta does not exist.".to_owned(),
        ),
        (
            ("Okta", "", "x"),
            GOOGLE,
            "ResourceNotFoundException: Identity provider Okta does not exist.".to_owned(),
        ),
        (
            ADA,
            ("Google", "email", "x"),
            format!(
                "{parameter}Invalid SourceUser: ProviderAttributeName must be Cognito_Subject for Google"
            ),
        ),
        (
            ADA,
            ("Corp", "name", "x"),
            format!(
                "{parameter}Invalid SourceUser: ProviderAttributeName must be Cognito_Subject or an \
                 attribute that Corp maps"
            ),
        ),
        (
            ADA,
            ("Google", "Cognito_Subject", ""),
            format!("{parameter}Invalid SourceUser: ProviderAttributeValue must not be empty"),
        ),
        (
            ("", "", "ada"),
            GOOGLE,
            format!("{parameter}Invalid DestinationUser: ProviderName must not be empty"),
        ),
    ] {
        assert_eq!(refusal(link(&pool, destination, source).await), text);
    }
    let long = types::AdminLinkProviderForUserRequest {
        user_pool_id: Some(pool.id.clone()),
        destination_user: identity(ADA),
        source_user: Some(types::ProviderUserIdentifierType {
            provider_attribute_value: Some("x".repeat(513)),
            ..identity(GOOGLE).unwrap()
        }),
    };
    let refused = admin_link_provider_for_user(&pool, &signed_call(), long.clone()).await;
    assert!(refusal(refused).contains("must not be longer than 512 bytes"));
    let foreign = signed_call_of("999999999999", "us-east-1");
    let of_foreign =
        types::AdminLinkProviderForUserRequest { source_user: identity(GOOGLE), ..long };
    assert_eq!(
        refusal(admin_link_provider_for_user(&pool, &foreign, of_foreign).await),
        format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
    );
    assert_eq!(stored(&pool).await, 0);
}

#[tokio::test]
async fn a_user_with_an_immutable_attribute_is_not_linked() {
    let request = types::CreateUserPoolRequest {
        schema: Some(types::SchemaAttributeTypeList {
            items: vec![types::SchemaAttributeType {
                name: Some("employee".to_owned()),
                attribute_data_type: Some("String".to_owned()),
                mutable: Some(false),
                ..Default::default()
            }],
        }),
        ..verifying(&["email"])
    };
    let pool = with_ada(pool(request).await).await;
    pool.confirmed_user("bob", &[EMAIL[0], ("custom:employee", "7")]).await;
    assert_eq!(
        refusal(link(&pool, ("Cognito", "", "bob"), GOOGLE).await),
        "InvalidParameterException: Invalid DestinationUser: the attribute custom:employee of the user \
         is immutable"
    );
    link(&pool, ADA, GOOGLE).await.unwrap();
}

/// S28: a first sign-in by a provider makes a user of its own, whoever has the address.
#[tokio::test]
async fn s28_nobody_is_linked_by_an_address() {
    let pool = people().await;
    let username = federated(&pool, "google-1", "ada@example.com").await;
    assert_eq!(username, "Google_google-1");
    let user = pool.user(&username).await.unwrap();
    assert_eq!(user.user_status.as_deref(), Some("EXTERNAL_PROVIDER"));
    assert_eq!(identities(&pool, &username).await.unwrap()[0]["primary"], true);
    assert_eq!(identities(&pool, "ada").await, None);
    assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("ada"));
    assert!(pool.sign_in("ada@example.com", PASSWORD).await.is_ok());
    // nor is the identity of somebody who has signed up taken over by a link
    assert_eq!(
        refusal(link(&pool, ADA, GOOGLE).await),
        "InvalidParameterException: Merging is not currently supported, provide a SourceUser that has \
         not been signed up in order to link"
    );
    // a user of a provider is called by what the provider says
    link(&pool, ("Google", "ignored", "google-1"), SAML).await.unwrap();
    assert_eq!(identities(&pool, &username).await.unwrap().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_user_of_a_provider_has_no_password_to_reset() {
    let pool = people().await;
    let username = federated(&pool, "google-1", "new@example.com").await;
    let state = "NotAuthorizedException: User password cannot be reset in the current state.";
    let request = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some(username.clone()),
        ..Default::default()
    };
    assert_eq!(refusal(forgot_password(&pool, &unsigned_call(), request).await), state);
    let request = types::AdminResetUserPasswordRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some(username.clone()),
        ..Default::default()
    };
    assert_eq!(refusal(admin_reset_user_password(&pool, &signed_call(), request).await), state);
    let incorrect = "NotAuthorizedException: Incorrect username or password.";
    assert_eq!(refusal(pool.sign_in(&username, PASSWORD).await), incorrect);
    // an administrator may set one
    let request = types::AdminSetUserPasswordRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some(username.clone()),
        password: Some(PASSWORD.to_owned()),
        permanent: Some(true),
    };
    admin_set_user_password(&pool, &signed_call(), request).await.unwrap();
    assert_eq!(pool.status_of(&username).await, "CONFIRMED");
    assert!(pool.sign_in(&username, PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_password_is_taken_away_and_links_stay() {
    let pool = people().await;
    link(&pool, ADA, GOOGLE).await.unwrap();
    pool.store.take_trips();
    let local = ("Cognito", "Cognito_Subject", "ada");
    disable(&pool, local).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert_eq!(pool.status_of("ada").await, "EXTERNAL_PROVIDER");
    assert_eq!(
        refusal(pool.sign_in("ada", PASSWORD).await),
        "NotAuthorizedException: Incorrect username or password."
    );
    assert_eq!(identities(&pool, "ada").await.unwrap().as_array().unwrap().len(), 1);
    let sub = pool.user("ada").await.unwrap().user_attributes.pop().unwrap().value.unwrap();
    struct Credentials<'a>(&'a str, String);
    #[async_trait]
    impl Transaction for Credentials<'_> {
        type Output = bool;
        fn scope(&self) -> &str {
            self.0
        }
        async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
            let row = keys::user_child(&self.1, UserChild::Credentials, &[]);
            tx.load(Query::new().get(row.clone())).await?;
            Ok(tx.get_bytes(&row).is_some().into())
        }
    }
    assert!(!transact(&pool, &Credentials(&pool.id, sub)).await.unwrap());
    assert_eq!(
        refusal(disable(&pool, ("Cognito", "email", "ada")).await),
        "InvalidParameterException: Invalid User: ProviderAttributeName must be Cognito_Subject for Cognito"
    );
    for (user, text) in [
        (("Cognito", "Cognito_Subject", "nobody"), NOT_FOUND.to_owned()),
        (("Cognito", "Cognito_Subject", "ada@example.com"), NOT_FOUND.to_owned()),
        (
            ("Okta", "Cognito_Subject", "x"),
            "ResourceNotFoundException: Identity provider Okta does not exist.".to_owned(),
        ),
        (
            ("Google", "email", "x"),
            "InvalidParameterException: Invalid User: ProviderAttributeName must be Cognito_Subject \
             for Google"
                .to_owned(),
        ),
    ] {
        assert_eq!(refusal(disable(&pool, user).await), text);
    }
}
