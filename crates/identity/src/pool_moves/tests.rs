//! A pool of one cluster in another one with other keys, from outside.

use std::{sync::Arc, time::Duration};

use conclave_api::types;
use conclave_crypto::seal::StaticKek;
use conclave_store::{
    DIRECTORY_SCOPE, Store as _, keys as rows,
    proto::StoredRow,
    records::{ClientRecord, PoolKeysRecord},
};
use prost::Message as _;

use super::*;
use crate::{
    auth::initiate_auth,
    clients::create_user_pool_client_as,
    cluster_key, config,
    directory::create_account,
    domains::{create_user_pool_domain, describe_user_pool_domain},
    issuer,
    pools::{delete_user_pool, describe_user_pool, list_user_pools},
    reconciler::Reconciler,
    restore::Keep,
    testing::{
        ACCOUNT, REGION, START_MS, TestClock, TestStore, TestWorld, new_client_with, new_pool,
        signed_call, signed_call_of, test_world, test_world_of, unsigned_call,
    },
    users::{admin_create_user, admin_set_user_password, list_users},
    world::World,
};

const PASSWORD: &str = "Correct-Horse-1";
/// Whose the pool becomes.
const NEW_ACCOUNT: &str = "444455556666";
const LATER: Duration = Duration::from_secs(121);

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A pool with a client, a domain and some users, and what an export of it holds.
struct Exported {
    world: TestWorld,
    pool_id: String,
    client_id: String,
    keys: PoolKeys,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    tokens: types::AuthenticationResultType,
}

async fn exported() -> Exported {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let request = types::CreateUserPoolClientRequest {
        explicit_auth_flows: vec![
            "ALLOW_USER_PASSWORD_AUTH".to_owned(),
            "ALLOW_REFRESH_TOKEN_AUTH".to_owned(),
        ],
        ..Default::default()
    };
    let client_id = new_client_with(&world, &pool_id, request).await.client_id.unwrap();
    let request = types::CreateUserPoolDomainRequest {
        user_pool_id: text(&pool_id),
        domain: text("moving"),
        ..Default::default()
    };
    create_user_pool_domain(&world, &signed_call(), request).await.unwrap();
    for number in 0..40 {
        let username = text(&format!("user{number}"));
        let request = types::AdminCreateUserRequest {
            user_pool_id: text(&pool_id),
            username: username.clone(),
            message_action: text("SUPPRESS"),
            ..Default::default()
        };
        admin_create_user(&world, &signed_call(), request).await.unwrap();
        let request = types::AdminSetUserPasswordRequest {
            user_pool_id: text(&pool_id),
            username,
            password: text(PASSWORD),
            permanent: Some(true),
        };
        admin_set_user_password(&world, &signed_call(), request).await.unwrap();
    }
    let tokens = sign_in(&world, &client_id, "user7").await.unwrap();
    let prefix = rows::row(&pool_id, &[]);
    let mut rows = world.store.physical_rows();
    rows.retain(|(key, _)| key.starts_with(&prefix));
    let keys = pool_keys(&world, &pool_id, &rows);
    Exported { world, pool_id, client_id, keys, rows, tokens }
}

/// As their cluster opens them.
fn pool_keys(world: &World, pool_id: &str, rows: &[(Vec<u8>, Vec<u8>)]) -> PoolKeys {
    let record = PoolKeysRecord::decode(value(rows, pool_id, &rows::pool_keys())).unwrap();
    let cluster_keys = world.cluster_keys.get();
    let open = |key| config::unwrap_pool_key(&cluster_keys, pool_id, key).unwrap();
    record.keys.iter().map(|key| (key.version, open(key))).collect()
}

fn value(rows: &[(Vec<u8>, Vec<u8>)], pool_id: &str, key: &[u8]) -> bytes::Bytes {
    let physical = rows::row(pool_id, key);
    let row = rows.iter().find(|(key, _)| *key == physical).map(|(_, row)| row).unwrap();
    StoredRow::decode(row.as_slice()).unwrap().value
}

async fn sign_in(
    world: &World,
    client_id: &str,
    username: &str,
) -> Result<types::AuthenticationResultType, String> {
    authenticate(
        world,
        client_id,
        "USER_PASSWORD_AUTH",
        &[("USERNAME", username), ("PASSWORD", PASSWORD)],
    )
    .await
}

async fn authenticate(
    world: &World,
    client_id: &str,
    flow: &str,
    parameters: &[(&str, &str)],
) -> Result<types::AuthenticationResultType, String> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let request = types::InitiateAuthRequest {
        client_id: text(client_id),
        auth_flow: text(flow),
        auth_parameters: parameters.iter().map(pair).collect(),
        ..Default::default()
    };
    let answer = initiate_auth(world, &unsigned_call(), request).await;
    answer.map(|a| a.authentication_result.unwrap()).map_err(|e| e.code.as_str().to_owned())
}

/// The other cluster, with an account.
struct There {
    world: Arc<World>,
    store: Arc<TestStore>,
    clock: Arc<TestClock>,
}

async fn there() -> There {
    let TestWorld { world, store, clock, .. } = test_world_of(2).await;
    create_account(&world, Some(NEW_ACCOUNT), "new").await.unwrap();
    There { world: Arc::new(world), store, clock }
}

impl There {
    /// Every row of the directory, but counters that are back at nothing.
    fn directory(&self) -> Vec<(Vec<u8>, bytes::Bytes)> {
        let rows = self.store.physical_rows().into_iter();
        let rows = rows.filter(|(key, _)| {
            rows::parse_row(key).is_some_and(|(scope, _)| scope == DIRECTORY_SCOPE)
        });
        rows.map(|(key, row)| (key, StoredRow::decode(row.as_slice()).unwrap().value))
            .filter(|(_, value)| value[..] != [0; 8])
            .collect()
    }

    /// Rows of a pool, but a root that has expired.
    fn rows_of(&self, pool_id: &str) -> usize {
        let root = rows::row(pool_id, rows::ROOT);
        let rows = self.store.physical_rows().into_iter();
        rows.filter(|(key, row)| {
            rows::parse_row(key).is_some_and(|(scope, _)| scope == pool_id)
                && (*key != root || StoredRow::decode(row.as_slice()).unwrap().expires_at_ms != 1)
        })
        .count()
    }

    async fn has(&self, pool_id: &str) -> bool {
        let request = types::DescribeUserPoolRequest { user_pool_id: text(pool_id) };
        let call = signed_call_of(NEW_ACCOUNT, REGION);
        describe_user_pool(&self.world, &call, request).await.is_ok()
    }

    async fn delete(&self, pool_id: &str) -> Result<(), ApiError> {
        let request = types::DeleteUserPoolRequest { user_pool_id: text(pool_id) };
        let call = signed_call_of(NEW_ACCOUNT, REGION);
        delete_user_pool(&self.world, &call, request).await.map(drop)
    }
}

impl Exported {
    fn order(&self, keep: Keep) -> Order {
        Order {
            pool_id: self.pool_id.clone(),
            account_id: NEW_ACCOUNT.to_owned(),
            keep,
            cut_ms: START_MS - 1,
            keys: self.keys.clone(),
            dry_run: false,
        }
    }

    fn import(&self, there: &There, keep: Keep) -> Import {
        Import::new(Arc::clone(&there.world), self.order(keep))
    }

    async fn move_to(&self, there: &There, keep: Keep) -> Result<Imported, ImportError> {
        let mut import = self.import(there, keep);
        import.take(self.rows.iter().cloned()).await?;
        import.finish().await
    }
}

#[tokio::test]
async fn a_pool_is_there_with_everything_in_it_and_belongs_to_the_account_that_was_given() {
    let pool = exported().await;
    let there = there().await;
    let imported = pool.move_to(&there, Keep::Nothing).await.unwrap();
    assert_eq!((imported.users, imported.account_before.as_str()), (40, ACCOUNT));
    assert_eq!(imported.client_ids, [pool.client_id.as_str()]);
    assert_eq!(imported.domains, ["moving"]);

    let call = signed_call_of(NEW_ACCOUNT, REGION);
    let request = types::DescribeUserPoolRequest { user_pool_id: text(&pool.pool_id) };
    let described = describe_user_pool(&there.world, &call, request.clone()).await.unwrap();
    let described = described.user_pool.unwrap();
    let arn = format!("arn:aws:cognito-idp:{REGION}:{NEW_ACCOUNT}:userpool/{}", pool.pool_id);
    assert_eq!((described.arn, described.estimated_number_of_users), (Some(arn), Some(40)));
    assert_eq!(described.domain.as_deref(), Some("moving"));
    assert!(describe_user_pool(&there.world, &signed_call(), request).await.is_err());
    let request = types::ListUserPoolsRequest { max_results: Some(10), ..Default::default() };
    let listed = list_user_pools(&there.world, &call, request).await.unwrap().user_pools;
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, &listed[0].name), (&text(&pool.pool_id), &text("pool")));
    let request = types::DescribeUserPoolDomainRequest { domain: text("moving") };
    let domain = describe_user_pool_domain(&there.world, &call, request).await.unwrap();
    let domain = domain.domain_description.unwrap();
    assert_eq!(
        (domain.user_pool_id, domain.aws_account_id),
        (text(&pool.pool_id), text(NEW_ACCOUNT))
    );

    for number in [0, 7, 39] {
        sign_in(&there.world, &pool.client_id, &format!("user{number}")).await.unwrap();
    }
    let keys = issuer::jwks(&there.world, &pool.pool_id).await.unwrap();
    assert_eq!(keys, issuer::jwks(&pool.world, &pool.pool_id).await.unwrap());
    let request =
        types::ListUsersRequest { user_pool_id: text(&pool.pool_id), ..Default::default() };
    assert_eq!(list_users(&there.world, &call, request).await.unwrap().users.len(), 40);
    // nothing says any more that it is on its way, and it can be deleted like any other
    assert_eq!(Reconciler::default().look(&there.world).await.unwrap().removed, 0);
    assert!(there.has(&pool.pool_id).await);
}

#[tokio::test]
async fn what_was_issued_before_ends_unless_it_is_kept() {
    let pool = exported().await;
    for (keep, refresh_is_good, access_is_good) in [
        (Keep::Nothing, false, false),
        (Keep::RefreshTokens, true, false),
        (Keep::Tokens, true, true),
    ] {
        let there = there().await;
        there.clock.advance(Duration::from_secs(2));
        pool.move_to(&there, keep).await.unwrap();
        let token = pool.tokens.refresh_token.clone().unwrap();
        let parameters = [("REFRESH_TOKEN", token.as_str())];
        let refreshed =
            authenticate(&there.world, &pool.client_id, "REFRESH_TOKEN_AUTH", &parameters).await;
        assert_eq!(refreshed.is_ok(), refresh_is_good, "{keep:?}");
        let request = types::GetUserRequest { access_token: pool.tokens.access_token.clone() };
        let known = crate::users::get_user(&there.world, &unsigned_call(), request).await;
        assert_eq!(known.is_ok(), access_is_good, "{keep:?}");
    }
}

#[tokio::test]
async fn what_is_there_already_is_named_and_nothing_is_changed() {
    let pool = exported().await;
    let there = there().await;
    let call = signed_call_of(NEW_ACCOUNT, REGION);
    let request = types::CreateUserPoolRequest { pool_name: text("other"), ..Default::default() };
    let other = crate::pools::create_user_pool(&there.world, &call, request).await.unwrap();
    let other = other.user_pool.unwrap().id;
    let request = types::CreateUserPoolClientRequest {
        user_pool_id: other.clone(),
        client_name: text("client"),
        ..Default::default()
    };
    create_user_pool_client_as(&there.world, &call, request, &pool.client_id).await.unwrap();
    let request = types::CreateUserPoolDomainRequest {
        user_pool_id: other.clone(),
        domain: text("moving"),
        ..Default::default()
    };
    create_user_pool_domain(&there.world, &call, request).await.unwrap();
    let before = there.directory();
    let error = pool.move_to(&there, Keep::Nothing).await.unwrap_err().to_string();
    let expected = format!("there already: client {}, domain moving", pool.client_id);
    assert_eq!(error, expected);
    assert_eq!(there.directory(), before);
    assert_eq!(there.rows_of(&pool.pool_id), 0);

    let there = self::there().await;
    pool.move_to(&there, Keep::Nothing).await.unwrap();
    let before = there.directory();
    let error = pool.move_to(&there, Keep::Nothing).await.unwrap_err().to_string();
    assert_eq!(error, format!("there already: pool {}", pool.pool_id));
    assert_eq!(there.directory(), before);
    assert!(sign_in(&there.world, &pool.client_id, "user3").await.is_ok());
}

/// As when the process dies before the nth commit: nothing of it serves, and the same again brings all of it.
#[tokio::test]
async fn a_crash_anywhere_leaves_nothing_that_serves_and_can_be_begun_again() {
    let pool = exported().await;
    let mut crashes = 0;
    for nth in 1.. {
        let there = there().await;
        there.store.take_trips();
        // rows are sent again after a pause: whoever is not waited for so long has ended
        there.store.fail_commit(nth);
        let mut import = pool.import(&there, Keep::Nothing);
        let outcome = async {
            import.take(pool.rows.iter().cloned()).await?;
            import.finish().await
        };
        tokio::time::pause();
        let outcome = tokio::time::timeout(Duration::from_millis(400), outcome).await;
        tokio::time::resume();
        drop(import);
        if matches!(outcome, Ok(Ok(_))) {
            break;
        }
        crashes += 1;
        assert!(!there.has(&pool.pool_id).await, "{nth}");
        let refused = sign_in(&there.world, &pool.client_id, "user3").await.unwrap_err();
        assert_eq!(refused, "ResourceNotFoundException", "{nth}");
        assert_eq!(there.delete(&pool.pool_id).await.unwrap_err().code.as_str(), refused, "{nth}");
        pool.move_to(&there, Keep::Nothing).await.unwrap();
        assert!(sign_in(&there.world, &pool.client_id, "user3").await.is_ok(), "{nth}");
        let mut reconciler = Reconciler::default();
        reconciler.look(&there.world).await.unwrap();
        there.clock.advance(LATER);
        assert_eq!(reconciler.look(&there.world).await.unwrap().removed, 0, "{nth}");
    }
    assert!(crashes >= 6, "{crashes}");
}

#[tokio::test]
async fn what_a_crash_has_left_goes_by_itself_and_what_is_under_way_stays() {
    let pool = exported().await;
    let there = there().await;
    let before = there.directory();
    let mut import = pool.import(&there, Keep::Nothing);
    import.take(pool.rows.iter().cloned()).await.unwrap();
    let mut reconciler = Reconciler::default();
    for _ in 0..3 {
        assert_eq!(reconciler.look(&there.world).await.unwrap().removed, 0);
        there.clock.advance(LATER);
        import.renew(true).await.unwrap();
    }
    drop(import);
    assert_eq!(reconciler.look(&there.world).await.unwrap().removed, 0);
    there.clock.advance(LATER);
    assert_eq!(reconciler.look(&there.world).await.unwrap().removed, 1);
    assert_eq!(there.directory(), before);
    assert_eq!(there.rows_of(&pool.pool_id), 0);
}

#[tokio::test]
async fn an_import_that_was_given_up_leaves_nothing_at_once() {
    let pool = exported().await;
    let there = there().await;
    let before = there.directory();
    let mut import = pool.import(&there, Keep::Nothing);
    import.take(pool.rows.iter().cloned()).await.unwrap();
    assert!(!import.abandon().await.unwrap());
    assert_eq!(there.directory(), before);
    assert_eq!(there.rows_of(&pool.pool_id), 0);
}

#[tokio::test]
async fn of_two_imports_the_later_one_counts() {
    let pool = exported().await;
    let there = there().await;
    let mut earlier = pool.import(&there, Keep::Nothing);
    earlier.take(pool.rows.iter().cloned()).await.unwrap();
    let mut later = pool.import(&there, Keep::Nothing);
    later.take(pool.rows.iter().cloned()).await.unwrap();
    assert!(matches!(earlier.finish().await, Err(ImportError::Lost)));
    later.finish().await.unwrap();
    assert!(earlier.abandon().await.unwrap(), "it is there, by the other one");
    assert!(sign_in(&there.world, &pool.client_id, "user3").await.is_ok());
}

/// A process that was suspended, or whose requests have been on their way for long.
#[tokio::test]
async fn rows_of_an_earlier_import_come_too_late() {
    let pool = exported().await;
    let there = there().await;
    let (world, pool_id) = (&*there.world, pool.pool_id.as_str());
    let late = async |place: stage::Place| {
        let key = rows::username("intruder");
        let row = stage::Row { key, value: bytes::Bytes::new(), expires_at_ms: None };
        stage::write(world, pool_id, &[7; 16], place, vec![row]).await
    };
    let mut import = pool.import(&there, Keep::Nothing);
    import.take(pool.rows.iter().take(20).cloned()).await.unwrap();
    drop(import);
    let earlier = stage::begin(world, pool_id, &[7; 16]).await.unwrap();
    let mut import = pool.import(&there, Keep::Nothing);
    import.take(pool.rows.iter().cloned()).await.unwrap();
    assert!(matches!(late(earlier).await, Err(ImportError::Lost)));
    import.finish().await.unwrap();
    let before = there.rows_of(pool_id);
    assert!(matches!(late(earlier).await, Err(ImportError::Lost)));
    assert_eq!(there.rows_of(pool_id), before);
    assert!(there.has(pool_id).await);
}

/// The old version of the cluster's key is gone by the time that the pool is there.
#[tokio::test]
async fn the_cluster_s_key_can_be_rotated_meanwhile() {
    let pool = exported().await;
    let there = there().await;
    let kek = StaticKek::new([7; 32].into(), Vec::new());
    let mut import = pool.import(&there, Keep::Nothing);
    import.take(pool.rows.iter().cloned()).await.unwrap();
    cluster_key::order::rotate(&*there.store, &*there.world.entropy).await.unwrap();
    let settle = Duration::from_secs(180);
    for _ in 0..10 {
        cluster_key::advance(&there.world, &kek, settle).await.unwrap();
        there.clock.advance(settle);
        import.renew(true).await.unwrap();
    }
    cluster_key::refresh(&there.world, &kek).await.unwrap();
    assert_eq!(there.world.cluster_keys.get().versions().collect::<Vec<_>>(), [2]);
    import.finish().await.unwrap();
    assert!(sign_in(&there.world, &pool.client_id, "user3").await.is_ok());
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_written() {
    let pool = exported().await;
    let there = there().await;
    let before = there.directory();
    let attempt = async |order: Order, rows: Vec<(Vec<u8>, Vec<u8>)>| {
        let mut import = Import::new(Arc::clone(&there.world), order);
        let taken = import.take(rows).await;
        assert!(!import.abandon().await.unwrap());
        taken.unwrap_err().to_string()
    };
    let order = || pool.order(Keep::Nothing);
    let strange = Order { account_id: "999999999999".to_owned(), ..order() };
    assert_eq!(attempt(strange, pool.rows.clone()).await, "there is no account 999999999999");
    let other_keys = Order { keys: vec![(1, [9; 32].into())], ..order() };
    assert_eq!(attempt(other_keys, pool.rows.clone()).await, "the keys are not those of the pool");
    let early = Order { cut_ms: START_MS + 60_000, ..order() };
    let error = attempt(early, pool.rows.clone()).await;
    assert_eq!(error, "the clock of this cluster is before the time of the export");
    let mut rows = pool.rows.clone();
    rows[3].0 = rows::row("us-east-1_other", &rows::client_count());
    let error = attempt(order(), rows).await;
    assert_eq!(error, "the export is damaged: it holds a row of something else");
    let mut rows = pool.rows.clone();
    rows.swap(2, 3);
    let error = attempt(order(), rows).await;
    assert_eq!(error, "the export is damaged: its rows are not in order");
    assert_eq!(there.directory(), before);
    assert_eq!(there.rows_of(&pool.pool_id), 0);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let pool = exported().await;
    let there = there().await;
    there.store.take_trips();
    let order = Order { dry_run: true, ..pool.order(Keep::Nothing) };
    let mut import = Import::new(Arc::clone(&there.world), order);
    import.take(pool.rows.iter().cloned()).await.unwrap();
    let imported = import.finish().await.unwrap();
    assert_eq!((imported.users, imported.domains.len()), (40, 1));
    assert!(!import.abandon().await.unwrap());
    assert_eq!(there.store.take_trips().commits, 0);
}

/// A client of the pool that this cluster would look for elsewhere can never be found.
#[tokio::test]
async fn an_id_that_leads_elsewhere_here_is_refused() {
    let pool = exported().await;
    let there = there().await;
    let call = signed_call_of(NEW_ACCOUNT, REGION);
    let request = types::CreateUserPoolRequest { pool_name: text("other"), ..Default::default() };
    let other = crate::pools::create_user_pool(&there.world, &call, request).await.unwrap();
    let other = other.user_pool.unwrap().id.unwrap();
    let misleading =
        conclave_crypto::ids::client_id(&other, &there.world.hint_key, &*there.world.entropy);
    let mut rows = pool.rows.clone();
    let record = ClientRecord { client_id: misleading.clone(), ..Default::default() };
    let row = StoredRow { version: 1, value: record.encode_to_vec().into(), ..Default::default() };
    rows.push((rows::row(&pool.pool_id, &rows::client(&misleading)), row.encode_to_vec()));
    rows.sort();
    let mut import = pool.import(&there, Keep::Nothing);
    let error = import.take(rows).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("client {misleading} cannot be used")), "{error}");
}

async fn freeze(pool: &Exported, frozen: bool) -> Result<freeze::Frozen, String> {
    let (store, entropy) = (&*pool.world.store, &*pool.world.entropy);
    let done = freeze::freeze(store, entropy, &pool.pool_id, Some(frozen), "tests").await;
    done.map_err(|error| error.to_string())
}

#[tokio::test]
async fn in_a_frozen_pool_nothing_is_written_and_what_is_only_read_goes_on() {
    let pool = exported().await;
    let (world, call) = (&pool.world, signed_call());
    let frozen = freeze(&pool, true).await.unwrap();
    assert_eq!(freeze(&pool, true).await.unwrap(), frozen, "one that is frozen stays so");
    assert!(frozen.since_ms.is_some() && !frozen.is_settled());
    world.store.take_trips();
    for password in [PASSWORD, "Wrong-Horse-9"] {
        let parameters = [("USERNAME", "user3"), ("PASSWORD", password)];
        let refused = authenticate(world, &pool.client_id, "USER_PASSWORD_AUTH", &parameters).await;
        assert_eq!(refused.unwrap_err(), "ServiceUnavailable", "no verdict is told");
    }
    let request = types::AdminCreateUserRequest {
        user_pool_id: text(&pool.pool_id),
        username: text("late"),
        ..Default::default()
    };
    let refused = admin_create_user(world, &call, request.clone()).await.unwrap_err();
    assert_eq!(refused, crate::errors::pool_is_frozen());
    assert_eq!(world.store.take_trips().commits, 0);
    assert!(world.outbox.take().is_empty());

    let token = pool.tokens.refresh_token.clone().unwrap();
    let parameters = [("REFRESH_TOKEN", token.as_str())];
    authenticate(world, &pool.client_id, "REFRESH_TOKEN_AUTH", &parameters).await.unwrap();
    let read = types::DescribeUserPoolRequest { user_pool_id: text(&pool.pool_id) };
    describe_user_pool(world, &call, read).await.unwrap();
    // keys are rotated, or a rotation would never come to its end
    let kek = StaticKek::new([7; 32].into(), Vec::new());
    cluster_key::order::rotate(&*world.store, &*world.entropy).await.unwrap();
    for _ in 0..10 {
        cluster_key::advance(world, &kek, Duration::from_secs(180)).await.unwrap();
        world.clock.advance(Duration::from_secs(180));
    }
    assert_eq!(world.cluster_keys.get().versions().collect::<Vec<_>>(), [2]);
    let now = freeze(&pool, true).await.unwrap();
    assert!(now.is_settled());
    assert_eq!(freeze(&pool, false).await.unwrap().since_ms, None);
    assert!(sign_in(world, &pool.client_id, "user3").await.is_ok());
    admin_create_user(world, &call, request).await.unwrap();
}

#[tokio::test]
async fn a_frozen_pool_can_be_deleted_and_is_not_frozen_where_it_arrives() {
    let mut pool = exported().await;
    freeze(&pool, true).await.unwrap();
    let prefix = rows::row(&pool.pool_id, &[]);
    pool.rows = pool.world.store.physical_rows();
    pool.rows.retain(|(key, _)| key.starts_with(&prefix));
    let there = there().await;
    pool.move_to(&there, Keep::Nothing).await.unwrap();
    assert!(sign_in(&there.world, &pool.client_id, "user3").await.is_ok());

    let request = types::DeleteUserPoolDomainRequest {
        user_pool_id: text(&pool.pool_id),
        domain: text("moving"),
    };
    crate::domains::delete_user_pool_domain(&pool.world, &signed_call(), request).await.unwrap();
    let request = types::DeleteUserPoolRequest { user_pool_id: text(&pool.pool_id) };
    delete_user_pool(&pool.world, &signed_call(), request).await.unwrap();
    let error = freeze(&pool, true).await.unwrap_err();
    assert_eq!(error, format!("there is no pool {}", pool.pool_id));
}

/// What was decided before the pool was frozen cannot be committed once it has settled.
#[tokio::test]
async fn what_was_begun_before_counts_as_stale_by_the_time_that_it_is_settled() {
    let pool = exported().await;
    let world = &pool.world;
    let decided_ms = conclave_store::Clock::now_ms(&*world.clock);
    freeze(&pool, true).await.unwrap();
    let mut late = conclave_store::proto::Commit {
        id: bytes::Bytes::from_static(b"sixteen bytes it"),
        scope: pool.pool_id.clone(),
        decided_ms,
        writes: vec![crate::signing_keys::order::write(
            rows::username("late"),
            conclave_store::proto::write::Action::Put(Default::default()),
        )],
        ..Default::default()
    };
    world.clock.advance(Duration::from_millis(freeze::SETTLE_MS.unsigned_abs()));
    let now = freeze(&pool, true).await.unwrap();
    assert!(now.is_settled());
    let stale = |outcome: conclave_store::proto::Outcome| {
        matches!(outcome.result, Some(conclave_store::proto::outcome::Result::Stale(_)))
    };
    assert!(stale(world.store.commit(late.clone()).await.unwrap()));
    late.decided_ms = now.now_ms;
    assert!(!stale(world.store.commit(late).await.unwrap()), "only for its age");
}
