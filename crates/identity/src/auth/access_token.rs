//! Access tokens as the proof of who calls.

use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::token::{Claims, TokenError, UnverifiedToken, check_times};
use conclave_store::{
    keys::{self, UserChild},
    records::{SessionRecord, UserRecord},
};

use crate::{
    config::TokenUse,
    errors, issuer,
    tx::{Failure, Page, Query, Stored, Tx},
    users::{lookup, status},
};

/// The scope that operations on one's own user ask for.
const SELF_SERVICE_SCOPE: &str = "aws.cognito.signin.user.admin";

/// What a token says before anybody has checked it: good for finding the rows that decide.
pub struct PresentedToken<'a> {
    token: &'a str,
    /// The pool whose keys decide.
    pub pool_id: String,
    sub: String,
    client_id: String,
    origin_jti: Option<String>,
    username: Option<String>,
    device_key: Option<String>,
}

impl<'a> PresentedToken<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// NotAuthorizedException when it is not an access token of any pool.
    pub fn parse(token: &'a str) -> Result<Self, ApiError> {
        let unverified = UnverifiedToken::parse(token).map_err(|_| invalid())?;
        let text = |name| unverified.unverified_claim(name).and_then(|value| value.as_str());
        if text("token_use") != Some("access") {
            return Err(invalid());
        }
        let pool_id =
            text("iss").and_then(|issuer| issuer.rsplit_once('/')).map(|(_, pool_id)| pool_id);
        // what is no pool is no scope to read in: the directory is one too
        let pool_id = pool_id.filter(|id| issuer::is_pool_id(id)).ok_or_else(invalid)?;
        let short = |name| text(name).filter(|text| text.len() <= 128).map(str::to_owned);
        Ok(Self {
            token,
            pool_id: pool_id.to_owned(),
            sub: short("sub").ok_or_else(invalid)?,
            client_id: short("client_id").ok_or_else(invalid)?,
            origin_jti: short("origin_jti"),
            username: text("username")
                .filter(|name| name.len() <= lookup::NAME_BYTES_MAX)
                .map(str::to_owned),
            device_key: short("device_key"),
        })
    }

    /// Loads the rows that decide about the token, in one read. When the user of a good token is gone,
    /// a second one finds out who has the name now.
    ///
    /// # Errors
    /// NotAuthorizedException when the token's pool does not exist; the store's.
    pub async fn load(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        self.load_with(tx, Query::new()).await?;
        Ok(())
    }

    /// [`Self::load`], with more of what belongs to the user whom the token names. Answers the pages of
    /// what is scanned.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_with(&self, tx: &mut Tx<'_>, more: Query) -> Result<Vec<Page>, Failure> {
        let pages = match tx.load(self.query(more)).await {
            // a token names its pool before anybody has checked it: this says nothing of pools
            Err(Failure::Refused(error))
                if error.code == ExceptionName::ResourceNotFoundException =>
            {
                return Err(invalid().into());
            }
            result => result?,
        };
        let Some(name) = &self.username else { return Ok(pages) };
        if tx.get_bytes(&keys::user(&self.sub)).is_none() && self.verify(tx).is_ok() {
            let query = Query::new().client(&self.client_id);
            tx.load(query.follow(keys::username(name), &[keys::user_hop()])).await?;
        }
        Ok(pages)
    }

    /// The user whom the token names, before anybody has checked it.
    pub fn sub(&self) -> &str {
        &self.sub
    }

    /// The session that the token belongs to, which [`Self::load`] loads; `None` where the client does not
    /// revoke.
    pub fn origin_jti(&self) -> Option<&str> {
        self.origin_jti.as_deref()
    }

    /// The device that the token was issued to. True once [`Self::check`] has been passed.
    pub fn device_key(&self) -> Option<&str> {
        self.device_key.as_deref()
    }

    fn query(&self, more: Query) -> Query {
        let query = more.client(&self.client_id).get(keys::user(&self.sub));
        match &self.origin_jti {
            Some(origin_jti) => query.get(session_key(&self.sub, origin_jti)),
            None => query,
        }
    }

    /// The user whose token this is, once signature, times, scope, client, user and session have been
    /// checked. [`Self::load`] comes first.
    ///
    /// # Errors
    /// NotAuthorizedException, ResourceNotFoundException (the client), UserNotFoundException.
    pub fn check(&self, tx: &Tx<'_>) -> Result<Stored<UserRecord>, Failure> {
        let config = tx.pool()?;
        let claims = self.verify(tx)?;
        let text = |name| claims.get(name).and_then(|value| value.as_str());
        if text("iss") != Some(config.issuer(tx.world()).as_str()) {
            return Err(invalid().into());
        }
        check_token_times(&claims, tx.now_ms())?;
        // issued when a key signed that has been revoked since, or before the pool was restored
        // `iat` has no fractions: a token of the second in which a pool came back may be an older one
        let came_back_s = (config.record.tokens_not_before_ms + 999).div_euclid(1_000);
        let revoked_s = config.tokens_not_before_ms(TokenUse::Access).div_euclid(1_000);
        let not_before_s = revoked_s.max(came_back_s);
        if claims.get("iat").and_then(|time| time.as_i64()).is_none_or(|iat| iat < not_before_s) {
            return Err(ApiError::not_authorized("Access Token has been revoked").into());
        }
        let scopes = text("scope").unwrap_or_default();
        if !scopes.split(' ').any(|scope| scope == SELF_SERVICE_SCOPE) {
            return Err(
                ApiError::not_authorized("Access Token does not have required scopes").into()
            );
        }
        if tx.client().is_none() {
            return Err(errors::client_not_found(&self.client_id).into());
        }
        let user = tx.get::<UserRecord>(&keys::user(&self.sub))?;
        let Some(user) = user else { return Err(self.without_user(tx)?.into()) };
        if !user.record.enabled {
            return Err(user_disabled().into());
        }
        self.check_session(tx, &user.record, &claims)?;
        Ok(user)
    }

    /// What the token says, once the pool's key has been found to have signed it.
    fn verify(&self, tx: &Tx<'_>) -> Result<Claims, ApiError> {
        let config = tx.pool()?;
        let unverified = UnverifiedToken::parse(self.token).map_err(|_| invalid())?;
        let kid = unverified.kid().to_owned();
        let key = config.verifying_key(TokenUse::Access, &kid).ok_or_else(bad_signature)?;
        unverified.verify(key).map_err(|_| bad_signature())
    }

    /// The refusal when the user is gone: Cognito looks at who has the name now.
    fn without_user(&self, tx: &Tx<'_>) -> Result<ApiError, ApiError> {
        let sub = self.username.as_deref().and_then(|name| tx.get_text(&keys::username(name)));
        let Some(sub) = sub else { return Ok(errors::user_not_found()) };
        Ok(match tx.get::<UserRecord>(&keys::user(&sub))? {
            None => errors::user_not_found(),
            Some(other) if other.record.status == status::UNCONFIRMED => {
                ExceptionName::UserNotConfirmedException.because("User is not confirmed.")
            }
            // with a capital less and a stop more than the others
            Some(_) => ApiError::not_authorized("Invalid access token."),
        })
    }

    fn check_session(
        &self,
        tx: &Tx<'_>,
        user: &UserRecord,
        claims: &Claims,
    ) -> Result<(), ApiError> {
        let revoked = || ApiError::not_authorized("Access Token has been revoked");
        let began_ms = match &self.origin_jti {
            Some(origin_jti) => {
                let session = tx.get::<SessionRecord>(&session_key(&self.sub, origin_jti))?;
                session.ok_or_else(revoked)?.record.created_ms
            }
            // without revocation there is no session to look at, but a sign-out everywhere still counts:
            // what begins after one has a later `auth_time`
            None => claims.get("auth_time").and_then(|time| time.as_i64()).unwrap_or(0) * 1_000,
        };
        if began_ms < user.sessions_valid_from_ms { Err(revoked()) } else { Ok(()) }
    }
}

/// The row of a session.
pub fn session_key(sub: &str, origin_jti: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::Session, origin_jti.as_bytes())
}

/// `User is disabled.`
pub fn user_disabled() -> ApiError {
    ApiError::not_authorized("User is disabled.")
}

fn check_token_times(claims: &Claims, now_ms: i64) -> Result<(), ApiError> {
    // gateways and leaders may disagree by a little about when a token was issued
    const LEEWAY_S: i64 = 60;
    check_times(claims, now_ms.div_euclid(1_000), LEEWAY_S).map_err(|error| match error {
        TokenError::Expired => ApiError::not_authorized("Access Token has expired"),
        _ => invalid(),
    })
}

fn invalid() -> ApiError {
    ApiError::not_authorized("Invalid Access Token")
}

fn bad_signature() -> ApiError {
    ApiError::not_authorized("Could not verify signature for Access Token")
}
