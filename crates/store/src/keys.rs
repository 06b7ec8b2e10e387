//! Every kind of key that is stored, in one place. A tag is never changed and never used again.
//!
//! A *relative* key is what reads and commits name; it lives in a scope. A *physical* key is what
//! the key-value store holds: [`row`] of a scope and a relative key, or one of the group's own.
//! First bytes below 0x10 belong to the shard (applied log id, membership).

use crate::proto;

mod key_rows;
mod pages;
mod pool_moves;

pub use key_rows::{
    key_order, key_order_pool, key_orders, key_rotation, key_set, key_worker, pool_reseal,
};
pub use pages::{
    AssetRow, ClientPage, all_terms, asset_piece, asset_upload, asset_uploads, assets, branding,
    branding_hop, client_page, client_page_count, client_pages, terms,
};
pub use pool_moves::{pool_freeze, pool_import};

// ---- the group's own rows -------------------------------------------------------------------

/// [`proto::GroupState`].
pub const GROUP_STATE: &[u8] = &[0x10];
const COMMITTED_ID: u8 = 0x11;
/// The rows that expire, by time: what the sweeper reads.
pub const EXPIRY: &[u8] = &[0x12];
const ROW: u8 = 0x20;

/// The physical key of `key` in `scope`.
pub fn row(scope: &str, key: &[u8]) -> Vec<u8> {
    let mut physical = Vec::with_capacity(2 + scope.len() + key.len());
    physical.push(ROW);
    push_scope(&mut physical, scope);
    physical.extend_from_slice(key);
    physical
}

/// The scope and the relative key of a physical key of a [`row`]; `None` for the group's own rows.
pub fn parse_row(physical: &[u8]) -> Option<(&str, &[u8])> {
    let rest = physical.strip_prefix(&[ROW])?;
    let (length, rest) = rest.split_first()?;
    let (scope, key) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(scope).ok()?, key))
}

/// What kind of thing lives under a user in the row of this key: the last parameter of [`user_child`] but one.
pub fn user_child_kind(key: &[u8]) -> Option<u8> {
    let rest = key.strip_prefix(&[Tag::UserChild as u8])?;
    rest.get(SUB_BYTES).copied()
}

/// The row that remembers a committed id, in the bucket of the minute in which it was decided.
pub(crate) fn committed_id(minute: i64, id: &[u8]) -> Vec<u8> {
    let mut key = vec![COMMITTED_ID];
    key.extend_from_slice(&minute.max(0).to_be_bytes());
    key.extend_from_slice(id);
    key
}

/// The row that lets the sweeper find `key` of `scope` when its time has come.
pub(crate) fn expiry(expires_at_ms: i64, scope: &str, key: &[u8]) -> Vec<u8> {
    let mut physical = EXPIRY.to_vec();
    physical.extend_from_slice(&expires_at_ms.max(0).to_be_bytes());
    push_scope(&mut physical, scope);
    physical.extend_from_slice(key);
    physical
}

pub(crate) fn parse_expiry(physical: &[u8]) -> Option<proto::SweptRow> {
    let rest = physical.strip_prefix(EXPIRY)?;
    let (expires_at, rest) = rest.split_first_chunk::<8>()?;
    let (scope_len, rest) = rest.split_first()?;
    let scope = rest.get(..usize::from(*scope_len))?;
    let key = rest.get(usize::from(*scope_len)..)?;
    Some(proto::SweptRow {
        scope: String::from_utf8(scope.to_vec()).ok()?,
        key: key.to_vec().into(),
        expires_at_ms: i64::from_be_bytes(*expires_at),
    })
}

/// Whether a key can hold the name of `scope`: its length is one byte.
pub(crate) fn fits_in_key(scope: &str) -> bool {
    u8::try_from(scope.len()).is_ok()
}

fn push_scope(key: &mut Vec<u8>, scope: &str) {
    // limits::SCOPE_BYTES_MAX keeps real scopes far below this, so a longer one is cut, and finds
    // nothing of theirs
    let length = u8::try_from(scope.len()).unwrap_or(u8::MAX);
    key.push(length);
    key.extend_from_slice(&scope.as_bytes()[..usize::from(length)]);
}

/// Whether all that begins with the physical key `prefix` can be large: a whole scope, or an uploaded file.
pub fn is_large_range(prefix: &[u8]) -> bool {
    let Some((&ROW, rest)) = prefix.split_first() else { return false };
    let Some((length, rest)) = rest.split_first() else { return false };
    let relative = rest.get(usize::from(*length)..);
    relative.is_some_and(|key| key.is_empty() || key.first() == Some(&(Tag::UserImportChunk as u8)))
}

/// The first key after all that begin with `prefix`; `None` when there is none.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

// ---- rows of every scope --------------------------------------------------------------------

/// The root of a scope: without it, the scope does not exist. In a pool, a `PoolRecord`.
pub const ROOT: &[u8] = &[0x01];
/// A counter that every configuration write of the scope adds to.
pub const EPOCH: &[u8] = &[0x02];

/// The first byte of every relative key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// [`ROOT`].
    Root = 0x01,
    /// [`EPOCH`].
    Epoch = 0x02,
    /// The pool's own keys, wrapped: `PoolKeysRecord`.
    PoolKeys = 0x10,
    /// Token signing keys by use: `SigningKeyRecord`.
    SigningKey = 0x11,
    /// App clients by id: `ClientRecord`.
    Client = 0x12,
    /// How many users the pool has: a counter.
    UserCount = 0x13,
    /// How many app clients the pool has: a counter.
    ClientCount = 0x14,
    /// How many groups the pool has: a counter.
    GroupCount = 0x15,
    /// Users by sub: `UserRecord`, the root of what is in [`Tag::UserChild`].
    User = 0x20,
    /// What belongs to a user, by sub and [`UserChild`].
    UserChild = 0x21,
    /// Folded user names: the sub.
    Username = 0x22,
    /// Verified aliases by attribute and folded value: the sub.
    Alias = 0x23,
    /// Users by attribute value, for ListUsers: empty.
    UserAttribute = 0x24,
    /// Failed attempts on names that no user has, by HMAC of the name: `AttemptsRecord`.
    UnknownAttempts = 0x25,
    /// One-time things that have been used: empty, with an expiry.
    Used = 0x26,
    /// Groups by id: `GroupRecord`, the root of what is in [`Tag::GroupMember`].
    Group = 0x27,
    /// Folded names of groups: the group's id.
    GroupName = 0x28,
    /// The members of a group, by the group's id and the user's sub: empty.
    GroupMember = 0x29,
    /// Accounts by id: `AccountRecord`.
    Account = 0x30,
    /// Access keys by id: `AccessKeyRecord`.
    AccessKey = 0x31,
    /// Pools of an account and region: `PoolEntryRecord`.
    AccountPool = 0x32,
    /// Where a pool lives: `PoolLocationRecord`.
    PoolLocation = 0x33,
    /// Which pool a client belongs to: the pool's id.
    ClientLocation = 0x34,
    /// What the cluster was made with: `ClusterRecord`.
    Cluster = 0x35,
    /// How many pools an account has: a counter.
    AccountPoolCount = 0x36,
    /// Shard nodes by number: `NodeRecord`.
    Node = 0x37,
    /// Which pool a domain belongs to: `DomainLocationRecord`.
    DomainLocation = 0x38,
    /// How many custom domains an account has: a counter.
    AccountDomainCount = 0x39,
    /// Resource servers of a pool by identifier: `ResourceServerRecord`.
    ResourceServer = 0x40,
    /// How many resource servers the pool has: a counter.
    ResourceServerCount = 0x41,
    /// Identity providers of a pool by name: `IdentityProviderRecord`.
    IdentityProvider = 0x42,
    /// How a pool reaches an identity provider, by name: `ProviderDetailsRecord`.
    ProviderDetails = 0x43,
    /// Identifiers of identity providers: the provider's name.
    ProviderIdentifier = 0x44,
    /// How many identity providers the pool has: a counter.
    IdentityProviderCount = 0x45,
    /// The key pair that signs the pool's SAML requests, with its certificate: `SamlKeyRecord`.
    SamlKey = 0x4B,
    /// How sign-ins are judged, by app client; without a name, of the pool: `RiskConfigurationRecord`.
    RiskConfiguration = 0x4C,
    /// Which import runs: in a pool `UserImportsRecord`, in the directory `ActiveImportRecord` by account
    /// and region.
    UserImports = 0x50,
    /// Import jobs of a pool by id: `UserImportJobRecord`.
    UserImportJob = 0x51,
    /// Uploaded files by id: `UserImportUploadRecord`, the root of what is in [`Tag::UserImportChunk`].
    UserImportUpload = 0x52,
    /// The parts of an uploaded file, by its id and their number: sealed bytes.
    UserImportChunk = 0x53,
    /// What became of the rows of an import, by job and line: `UserImportReportRecord`.
    UserImportReport = 0x54,
    /// Managed login styles by id: `ManagedLoginBrandingRecord`.
    Branding = 0x46,
    /// Assets of an app client's style, by [`AssetRow`]; the client is their root.
    Asset = 0x47,
    /// What an app client's sign-in pages look like and link to, by client and [`ClientPage`].
    ClientPage = 0x48,
    /// Terms documents by id: `TermsRecord`.
    Terms = 0x49,
    /// How many of the things of [`ClientPage`] the pool has: counters, by [`ClientPage`].
    ClientPageCount = 0x4a,
    /// Users by their identity at a provider, by the provider's id: the sub.
    ProviderLink = 0x55,
    /// The signing keys of a pool as a set: `KeySetRecord`.
    KeySet = 0x64,
    /// Who works on keys: `KeyWorkerRecord`.
    KeyWorker = 0x65,
    /// Pools whose keys are to be looked at now, by id: `KeyOrderRecord`.
    KeyOrder = 0x66,
    /// The rotation of the cluster's key: `KeyRotationRecord`.
    KeyRotation = 0x67,
    /// The exchange of pools' keys: `PoolResealRecord`.
    PoolReseal = 0x62,
    /// Users by their passkeys, by the hash of the credential's id: the sub.
    Passkey = 0x56,
    /// Backups by id, in [`crate::NODES_SCOPE`]: `BackupRecord`, with an expiry.
    Backup = 0x6A,
    /// Whose rows are being written to a pool that has no root yet: `PoolImportRecord`.
    PoolImport = 0x5C,
    /// That nothing is written in the pool: `PoolFreezeRecord`.
    PoolFreeze = 0x5D,
}

/// What lives under a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum UserChild {
    /// Password hash and SRP verifier, sealed: `CredentialsRecord`.
    Credentials = 1,
    /// Failed sign-ins: `AttemptsRecord`.
    Attempts = 2,
    /// Sessions by origin_jti: `SessionRecord`.
    Session = 3,
    /// Confirmation codes by purpose: `CodeRecord`.
    Code = 4,
    /// How often something was done in the present hour, by purpose: a counter with an expiry.
    Rate = 5,
    /// The groups that the user is in: `MembershipsRecord`.
    Groups = 6,
    /// The authenticator app: `SoftwareTokenRecord`.
    SoftwareToken = 10,
    /// Wrong codes of second factors: `AttemptsRecord`.
    MfaAttempts = 11,
    /// Passwords before the present one: `PasswordHistoryRecord`.
    PasswordHistory = 7,
    /// Devices by device key: `DeviceRecord`.
    Device = 14,
    /// Sealed sessions of DEVICE_SRP_AUTH, by the public value of the SRP before; with an expiry.
    DeviceChallenge = 15,
    /// Passkeys: `PasskeysRecord`.
    Passkeys = 16,
    /// What threat protection judges by: `RiskProfileRecord`.
    RiskProfile = 17,
    /// The history by event id: `AuthEventRecord`, with an expiry.
    AuthEvent = 18,
}

/// An attribute that the rows of [`Tag::Alias`] and [`Tag::UserAttribute`] are filed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IndexedAttribute {
    /// `email`
    Email = 1,
    /// `phone_number`
    PhoneNumber = 2,
    /// `preferred_username`
    PreferredUsername = 3,
    /// `name`
    Name = 4,
    /// `given_name`
    GivenName = 5,
    /// `family_name`
    FamilyName = 6,
    /// `username`
    Username = 7,
    /// `cognito:user_status`
    UserStatus = 8,
    /// `status`: Enabled or Disabled
    Status = 9,
}

/// `PoolKeysRecord` of the pool.
pub fn pool_keys() -> Vec<u8> {
    vec![Tag::PoolKeys as u8]
}

/// `SigningKeyRecord` of one use (see the record) and kid.
pub fn signing_key(kid: &str) -> Vec<u8> {
    tagged(Tag::SigningKey, &[kid.as_bytes()])
}

/// The prefix of every [`signing_key`].
pub fn signing_keys() -> Vec<u8> {
    vec![Tag::SigningKey as u8]
}

/// `ClientRecord` of an app client.
pub fn client(client_id: &str) -> Vec<u8> {
    tagged(Tag::Client, &[client_id.as_bytes()])
}

/// The prefix of every [`client`].
pub fn clients() -> Vec<u8> {
    vec![Tag::Client as u8]
}

/// The counter of the pool's users.
pub fn user_count() -> Vec<u8> {
    vec![Tag::UserCount as u8]
}

/// The counter of the pool's app clients.
pub fn client_count() -> Vec<u8> {
    vec![Tag::ClientCount as u8]
}

/// `UserRecord` of a user.
pub fn user(sub: &str) -> Vec<u8> {
    tagged(Tag::User, &[sub.as_bytes()])
}

/// The prefix of every [`user`].
pub fn users() -> Vec<u8> {
    vec![Tag::User as u8]
}

/// The prefix of all that lives under a user. `sub` has a fixed length.
pub fn user_children(sub: &str) -> Vec<u8> {
    tagged(Tag::UserChild, &[sub.as_bytes()])
}

/// A row that lives under a user. `name` tells rows of one kind apart; empty where there is one.
pub fn user_child(sub: &str, child: UserChild, name: &[u8]) -> Vec<u8> {
    tagged(Tag::UserChild, &[sub.as_bytes(), &[child as u8], name])
}

/// The parts around the sub of a [`user_child`] key, for a `Follow`.
pub fn user_child_hop(child: UserChild, name: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (vec![Tag::UserChild as u8], [&[child as u8], name].concat())
}

/// The part before the sub of a [`user`] key, for a `Follow`.
pub fn user_hop() -> (Vec<u8>, Vec<u8>) {
    (vec![Tag::User as u8], Vec::new())
}

/// The sub of the user with a folded name.
pub fn username(folded: &str) -> Vec<u8> {
    tagged(Tag::Username, &[folded.as_bytes()])
}

/// The sub of the user that has a folded, verified alias.
pub fn alias(attribute: IndexedAttribute, folded: &str) -> Vec<u8> {
    tagged(Tag::Alias, &[&[attribute as u8], folded.as_bytes()])
}

/// A user in the index of an attribute's values.
pub fn user_attribute(attribute: IndexedAttribute, value: &str, sub: &str) -> Vec<u8> {
    let mut key = user_attribute_starting(attribute, value);
    key.extend_from_slice(&TERMINATOR);
    key.extend_from_slice(sub.as_bytes());
    key
}

/// The prefix of the users whose attribute is exactly `value`.
pub fn user_attribute_equal(attribute: IndexedAttribute, value: &str) -> Vec<u8> {
    let mut key = user_attribute_starting(attribute, value);
    key.extend_from_slice(&TERMINATOR);
    key
}

/// The prefix of the users whose attribute begins with `value`.
pub fn user_attribute_starting(attribute: IndexedAttribute, value: &str) -> Vec<u8> {
    let mut key = vec![Tag::UserAttribute as u8, attribute as u8];
    for &byte in index_value(value).as_bytes() {
        key.push(byte);
        if byte == 0 {
            key.push(0xff);
        }
    }
    key
}

/// The sub at the end of a [`user_attribute`] key.
pub fn user_attribute_sub(key: &[u8]) -> Option<&str> {
    let start = key.len().checked_sub(SUB_BYTES)?;
    std::str::from_utf8(key.get(start..)?).ok()
}

/// Bytes of a sub: a UUID in its textual form.
pub const SUB_BYTES: usize = 36;

/// Ends a value in a key that goes on behind it; sorts before every byte that can follow a value.
const TERMINATOR: [u8; 2] = [0, 1];

/// What of a value the index holds: at most 256 bytes. Who reads the index looks at the record too.
pub fn index_value(value: &str) -> &str {
    const BYTES_MAX: usize = 256;
    value.get(..value.floor_char_boundary(BYTES_MAX)).unwrap_or(value)
}

/// The counter of the pool's groups.
pub fn group_count() -> Vec<u8> {
    vec![Tag::GroupCount as u8]
}

/// `GroupRecord` of a group.
pub fn group(group_id: &str) -> Vec<u8> {
    tagged(Tag::Group, &[group_id.as_bytes()])
}

/// The prefix of every [`group`].
pub fn groups() -> Vec<u8> {
    vec![Tag::Group as u8]
}

/// The part before the id of a [`group`] key, for a `Follow`.
pub fn group_hop() -> (Vec<u8>, Vec<u8>) {
    (vec![Tag::Group as u8], Vec::new())
}

/// The id of the group with a folded name.
pub fn group_name(folded: &str) -> Vec<u8> {
    tagged(Tag::GroupName, &[folded.as_bytes()])
}

/// A member of a group.
pub fn group_member(group_id: &str, sub: &str) -> Vec<u8> {
    tagged(Tag::GroupMember, &[group_id.as_bytes(), sub.as_bytes()])
}

/// The prefix of every [`group_member`] of a group. An id has a fixed length.
pub fn group_members(group_id: &str) -> Vec<u8> {
    tagged(Tag::GroupMember, &[group_id.as_bytes()])
}

/// The part before the id of a [`group_member`] key, for a `Follow`.
pub fn group_member_hop() -> (Vec<u8>, Vec<u8>) {
    (vec![Tag::GroupMember as u8], Vec::new())
}

/// The sub at the end of a [`group_member`] key.
pub fn group_member_sub(key: &[u8]) -> Option<&str> {
    user_attribute_sub(key)
}

/// `AttemptsRecord` of a name that no user has.
pub fn unknown_attempts(name_mac: &[u8]) -> Vec<u8> {
    tagged(Tag::UnknownAttempts, &[name_mac])
}

/// A one-time thing that has been used.
pub fn used(id: &[u8]) -> Vec<u8> {
    tagged(Tag::Used, &[id])
}

/// `AccountRecord` of an account.
pub fn account(account_id: &str) -> Vec<u8> {
    tagged(Tag::Account, &[account_id.as_bytes()])
}

/// The prefix of every [`account`].
pub fn accounts() -> Vec<u8> {
    vec![Tag::Account as u8]
}

/// `AccessKeyRecord` of an access key.
pub fn access_key(access_key_id: &str) -> Vec<u8> {
    tagged(Tag::AccessKey, &[access_key_id.as_bytes()])
}

/// The prefix of every [`access_key`].
pub fn access_keys() -> Vec<u8> {
    vec![Tag::AccessKey as u8]
}

/// `PoolEntryRecord` of a pool in the list of its account and region. An account id has 12 digits.
pub fn account_pool(account_id: &str, region: &str, pool_id: &str) -> Vec<u8> {
    let mut key = account_pools(account_id, region);
    key.extend_from_slice(pool_id.as_bytes());
    key
}

/// The prefix of every [`account_pool`] of an account and region.
pub fn account_pools(account_id: &str, region: &str) -> Vec<u8> {
    tagged(Tag::AccountPool, &[account_id.as_bytes(), region.as_bytes(), &TERMINATOR])
}

/// `PoolLocationRecord` of a pool.
pub fn pool_location(pool_id: &str) -> Vec<u8> {
    tagged(Tag::PoolLocation, &[pool_id.as_bytes()])
}

/// The id of the pool that has a client.
pub fn client_location(client_id: &str) -> Vec<u8> {
    tagged(Tag::ClientLocation, &[client_id.as_bytes()])
}

/// `ClusterRecord`.
pub fn cluster() -> Vec<u8> {
    vec![Tag::Cluster as u8]
}

/// The counter of an account's pools.
pub fn account_pool_count(account_id: &str) -> Vec<u8> {
    tagged(Tag::AccountPoolCount, &[account_id.as_bytes()])
}

/// `NodeRecord` of a shard node, in [`crate::NODES_SCOPE`].
pub fn node(node_id: u64) -> Vec<u8> {
    tagged(Tag::Node, &[&node_id.to_be_bytes()])
}

/// The prefix of every [`node`].
pub fn nodes() -> Vec<u8> {
    vec![Tag::Node as u8]
}

/// The prefix of every [`pool_location`].
pub fn pool_locations() -> Vec<u8> {
    vec![Tag::PoolLocation as u8]
}

/// The prefix of every [`client_location`].
pub fn client_locations() -> Vec<u8> {
    vec![Tag::ClientLocation as u8]
}

/// `DomainLocationRecord` of a domain.
pub fn domain_location(domain: &str) -> Vec<u8> {
    tagged(Tag::DomainLocation, &[domain.as_bytes()])
}

/// The prefix of every [`domain_location`].
pub fn domain_locations() -> Vec<u8> {
    vec![Tag::DomainLocation as u8]
}

/// The counter of an account's custom domains.
pub fn account_domain_count(account_id: &str) -> Vec<u8> {
    tagged(Tag::AccountDomainCount, &[account_id.as_bytes()])
}

/// `ResourceServerRecord` of an identifier.
pub fn resource_server(identifier: &str) -> Vec<u8> {
    tagged(Tag::ResourceServer, &[identifier.as_bytes()])
}

/// The prefix of every [`resource_server`].
pub fn resource_servers() -> Vec<u8> {
    vec![Tag::ResourceServer as u8]
}

/// The counter of the pool's resource servers.
pub fn resource_server_count() -> Vec<u8> {
    vec![Tag::ResourceServerCount as u8]
}

/// `IdentityProviderRecord` of a name.
pub fn identity_provider(name: &str) -> Vec<u8> {
    tagged(Tag::IdentityProvider, &[name.as_bytes()])
}

/// The prefix of every [`identity_provider`].
pub fn identity_providers() -> Vec<u8> {
    vec![Tag::IdentityProvider as u8]
}

/// `ProviderDetailsRecord` of an identity provider.
pub fn provider_details(name: &str) -> Vec<u8> {
    tagged(Tag::ProviderDetails, &[name.as_bytes()])
}

/// The name of the identity provider that has an identifier.
pub fn provider_identifier(identifier: &str) -> Vec<u8> {
    tagged(Tag::ProviderIdentifier, &[identifier.as_bytes()])
}

/// The counter of the pool's identity providers.
pub fn identity_provider_count() -> Vec<u8> {
    vec![Tag::IdentityProviderCount as u8]
}

/// `SamlKeyRecord` of the pool.
pub fn saml_key() -> Vec<u8> {
    vec![Tag::SamlKey as u8]
}

/// `RiskConfigurationRecord` of an app client, or with an empty name of the pool.
pub fn risk_configuration(client_id: &str) -> Vec<u8> {
    tagged(Tag::RiskConfiguration, &[client_id.as_bytes()])
}

/// `UserImportsRecord` of the pool.
pub fn user_imports() -> Vec<u8> {
    vec![Tag::UserImports as u8]
}

/// `ActiveImportRecord` of an account and region. An account id has 12 digits.
pub fn active_import(account_id: &str, region: &str) -> Vec<u8> {
    tagged(Tag::UserImports, &[account_id.as_bytes(), region.as_bytes()])
}

/// The prefix of every [`active_import`].
pub fn active_imports() -> Vec<u8> {
    vec![Tag::UserImports as u8]
}

/// `UserImportJobRecord` of a job.
pub fn user_import_job(job_id: &str) -> Vec<u8> {
    tagged(Tag::UserImportJob, &[job_id.as_bytes()])
}

/// The prefix of every [`user_import_job`].
pub fn user_import_jobs() -> Vec<u8> {
    vec![Tag::UserImportJob as u8]
}

/// `UserImportUploadRecord` of an uploaded file. An id has 16 bytes.
pub fn user_import_upload(upload_id: &[u8]) -> Vec<u8> {
    tagged(Tag::UserImportUpload, &[upload_id])
}

/// The part of an uploaded file with a number, from 0.
pub fn user_import_chunk(upload_id: &[u8], number: u32) -> Vec<u8> {
    tagged(Tag::UserImportChunk, &[upload_id, &number.to_be_bytes()])
}

/// The prefix of every [`user_import_chunk`] of a file.
pub fn user_import_chunks(upload_id: &[u8]) -> Vec<u8> {
    tagged(Tag::UserImportChunk, &[upload_id])
}

/// `UserImportReportRecord` of the rows from `line` on.
pub fn user_import_report(job_id: &str, line: u64) -> Vec<u8> {
    let mut key = user_import_reports(job_id);
    key.extend_from_slice(&line.to_be_bytes());
    key
}

/// The prefix of every [`user_import_report`] of a job.
pub fn user_import_reports(job_id: &str) -> Vec<u8> {
    tagged(Tag::UserImportReport, &[job_id.as_bytes(), &TERMINATOR])
}

/// The sub of the user who has an identity at a provider. A provider's id has a fixed length.
pub fn provider_link(provider_id: &str, attribute: &str, value: &str) -> Vec<u8> {
    let length = u16::try_from(attribute.len()).unwrap_or(u16::MAX).to_be_bytes();
    let parts = [provider_id.as_bytes(), &length, attribute.as_bytes(), value.as_bytes()];
    tagged(Tag::ProviderLink, &parts)
}

/// The prefix of every [`provider_link`] of a provider.
pub fn provider_links(provider_id: &str) -> Vec<u8> {
    tagged(Tag::ProviderLink, &[provider_id.as_bytes()])
}

/// The sub of the user who has a passkey, by SHA-256 of the credential's id.
pub fn passkey(credential_id_hash: &[u8; 32]) -> Vec<u8> {
    tagged(Tag::Passkey, &[credential_id_hash])
}

/// `BackupRecord` of a backup, in [`crate::NODES_SCOPE`]. Ids sort by time.
pub fn backup(backup_id: &str) -> Vec<u8> {
    tagged(Tag::Backup, &[backup_id.as_bytes()])
}

/// The prefix of every [`backup`].
pub fn backups() -> Vec<u8> {
    vec![Tag::Backup as u8]
}

fn tagged(tag: Tag, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(tag as u8);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_does_not_begin_with_it() {
        assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(prefix_end(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff]), None);
    }

    #[test]
    fn whole_scopes_and_files_are_large_and_what_belongs_to_a_user_is_not() {
        assert!(is_large_range(&row("us-east-1_abc", &[])));
        assert!(is_large_range(&row("p", &user_import_chunks(&[7; 16]))));
        assert!(!is_large_range(&row("p", &user_children("sub"))));
        assert!(!is_large_range(&row("p", &group_members("group"))));
        for other in [&[][..], &[ROW], &[ROW, 3, b'p'], EXPIRY, &committed_id(1, &[])] {
            assert!(!is_large_range(other));
        }
    }

    #[test]
    fn a_row_key_reads_back() {
        let sub = "s".repeat(SUB_BYTES);
        let key = user_child(&sub, UserChild::Code, b"name");
        let physical = row("us-east-1_abc", &key);
        assert_eq!(parse_row(&physical), Some(("us-east-1_abc", &key[..])));
        assert_eq!(user_child_kind(&key), Some(UserChild::Code as u8));
        assert_eq!(user_child_kind(&user(&sub)), None);
        for other in [GROUP_STATE, &[ROW][..], &[ROW, 9, b'p'], &expiry(1, "p", b"k")] {
            assert_eq!(parse_row(other), None);
        }
    }

    #[test]
    fn an_expiry_key_reads_back() {
        let key = expiry(77, "us-east-1_abc", b"key");
        let row = parse_expiry(&key).expect("parses");
        assert_eq!(
            (row.expires_at_ms, row.scope.as_str(), &row.key[..]),
            (77, "us-east-1_abc", &b"key"[..])
        );
    }

    #[test]
    fn a_value_that_begins_with_another_is_filed_after_it_and_apart() {
        let sub = "0".repeat(SUB_BYTES);
        let short = user_attribute(IndexedAttribute::Email, "ab", &sub);
        let long = user_attribute(IndexedAttribute::Email, "ab\0", &sub);
        assert!(short < long);
        assert!(!long.starts_with(&user_attribute_equal(IndexedAttribute::Email, "ab")));
        assert!(long.starts_with(&user_attribute_starting(IndexedAttribute::Email, "ab")));
        assert_eq!(user_attribute_sub(&long), Some(sub.as_str()));
    }

    /// Stored data outlives versions: these bytes may never change.
    #[test]
    fn keys_have_the_bytes_that_they_have_always_had() {
        assert_eq!(row("p", &[9]), [0x20, 1, b'p', 9]);
        assert_eq!(user("s"), [0x20, b's']);
        assert_eq!(user_child("s", UserChild::Code, &[7]), [0x21, b's', 4, 7]);
        assert_eq!(username("u"), [0x22, b'u']);
        assert_eq!(alias(IndexedAttribute::PhoneNumber, "v"), [0x23, 2, b'v']);
        assert_eq!(user_attribute(IndexedAttribute::Status, "v", "s"), [0x24, 9, b'v', 0, 1, b's']);
        assert_eq!(account_pool("1", "r", "p"), [0x32, b'1', b'r', 0, 1, b'p']);
        assert_eq!(client("c"), [0x12, b'c']);
        assert_eq!(user_child("s", UserChild::Groups, &[]), [0x21, b's', 6]);
        assert_eq!(user_child("s", UserChild::SoftwareToken, &[]), [0x21, b's', 10]);
        assert_eq!(user_child("s", UserChild::MfaAttempts, &[]), [0x21, b's', 11]);
        assert_eq!(user_child("s", UserChild::Device, b"d"), [0x21, b's', 14, b'd']);
        assert_eq!(group("g"), [0x27, b'g']);
        assert_eq!(group_name("n"), [0x28, b'n']);
        assert_eq!(group_member("g", "s"), [0x29, b'g', b's']);
        assert_eq!(access_key("k"), [0x31, b'k']);
        assert_eq!(saml_key(), [0x4B]);
        assert_eq!(risk_configuration("c"), [0x4C, b'c']);
        assert_eq!(backup("b"), [0x6A, b'b']);
        assert_eq!(node(3), [0x37, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(active_import("1", "r"), [0x50, b'1', b'r']);
        assert_eq!(user_import_job("j"), [0x51, b'j']);
        assert_eq!(user_import_chunk(&[7], 2), [0x53, 7, 0, 0, 0, 2]);
        assert_eq!(user_import_report("j", 3), [0x54, b'j', 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(provider_link("p", "a", "v"), [0x55, b'p', 0, 1, b'a', b'v']);
        assert_eq!(user_child("s", UserChild::PasswordHistory, &[]), [0x21, b's', 7]);
        assert_eq!(passkey(&[7; 32])[..2], [0x56, 7]);
        assert_eq!(user_child("s", UserChild::Passkeys, &[]), [0x21, b's', 16]);
        assert_eq!(user_child("s", UserChild::RiskProfile, &[]), [0x21, b's', 17]);
        assert_eq!(user_child("s", UserChild::AuthEvent, b"e"), [0x21, b's', 18, b'e']);
    }
}
