//! The logo of the classic pages: what it may be, and how browsers get it.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_store::{
    keys::{self, ClientPage},
    records::UiCustomizationRecord,
};

use super::version;
use crate::{
    errors,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Bytes of a logo. Developer guide, "Customizing hosted UI (classic) branding".
const LOGO_BYTES_MAX: usize = 100 << 10;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// Checks a logo, and answers its type.
///
/// # Errors
/// InvalidParameterException for one that is too large, or neither PNG nor JPEG. The texts are judgement.
pub(super) fn check(logo: &[u8]) -> Result<&'static str, ApiError> {
    if logo.len() > LOGO_BYTES_MAX {
        return Err(errors::invalid_parameter("The image file can be no larger than 100 KB."));
    }
    if logo.starts_with(PNG) {
        Ok("image/png")
    } else if logo.starts_with(JPEG) {
        Ok("image/jpeg")
    } else {
        Err(errors::invalid_parameter("The image file must be a PNG, JPG, or JPEG file."))
    }
}

/// A logo for a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    /// `image/png` or `image/jpeg`.
    pub content_type: String,
    /// The file, as it was given.
    pub bytes: Bytes,
}

/// The logo that an `ImageUrl` leads to; `None` when there is no such pool, or the version is not that of the
/// present logo. Anybody may see it. One read.
///
/// # Errors
/// The store's.
pub async fn logo(
    world: &World,
    pool_id: &str,
    client_id: &str,
    version: &str,
) -> Result<Option<Logo>, ApiError> {
    match transact(world, &Find { pool_id, client_id, version }).await {
        Err(error) if error.code == ExceptionName::ResourceNotFoundException => Ok(None),
        found => found,
    }
}

struct Find<'a> {
    pool_id: &'a str,
    client_id: &'a str,
    version: &'a str,
}

#[async_trait]
impl Transaction for Find<'_> {
    type Output = Option<Logo>;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = keys::client_page(self.client_id, ClientPage::UiCustomization, "");
        let logo_row = keys::client_page(self.client_id, ClientPage::Logo, "");
        tx.load(Query::new().get(row.clone()).get(logo_row.clone())).await?;
        let present = tx.get::<UiCustomizationRecord>(&row)?;
        let present = present.filter(|present| version(&present.record) == self.version);
        let content_type = present.and_then(|present| present.record.logo_type);
        let logo = content_type.zip(tx.get_bytes(&logo_row));
        Ok(logo.map(|(content_type, bytes)| Logo { content_type, bytes }).into())
    }
}
