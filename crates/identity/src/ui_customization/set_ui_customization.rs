//! SetUICustomization.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys::{self, ClientPage},
    records::UiCustomizationRecord,
};

use super::{ALL, css, describe, logo};
use crate::{
    call::Call,
    clients::client_not_found,
    errors,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// CSS and the encoded logo, together. Developer guide, "Customizing hosted UI (classic) branding".
const REQUEST_BYTES_MAX: usize = 135 << 10;

/// Sets CSS and logo of an app client, or of all clients that have none of their own. Both are set at once: what is
/// left out is not there any more, and without both there is no customization.
///
/// Source: developer guide, as above ("You can't set CSS and logo customization separately"). The texts are
/// judgement, except for that of the missing domain.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client; InvalidParameterException
/// when the pool has no domain, for CSS that [`css`] refuses, and for a logo that [`logo`] refuses.
pub async fn set_ui_customization(
    world: &World,
    call: &Call,
    input: types::SetUiCustomizationRequest,
) -> Result<types::SetUiCustomizationResponse, ApiError> {
    let css = input.css.as_deref().filter(|css| !css.trim().is_empty());
    let logo = input.image_file.as_deref().filter(|logo| !logo.is_empty());
    let encoded = logo.map_or(0, |logo| logo.len().div_ceil(3) * 4);
    if css.map_or(0, str::len) + encoded > REQUEST_BYTES_MAX {
        return Err(errors::invalid_parameter("The request parameters are too large."));
    }
    if let Some(css) = css {
        css::check(css)?;
    }
    let logo_type = logo.map(logo::check).transpose()?;
    let set = Set {
        call,
        pool_id: input.user_pool_id.as_deref().unwrap_or_default(),
        client_id: input.client_id.as_deref().unwrap_or(ALL),
        css,
        logo,
        logo_type,
    };
    let ui_customization = Some(transact(world, &set).await?);
    Ok(types::SetUiCustomizationResponse { ui_customization })
}

struct Set<'a> {
    call: &'a Call,
    pool_id: &'a str,
    client_id: &'a str,
    css: Option<&'a str>,
    logo: Option<&'a [u8]>,
    logo_type: Option<&'static str>,
}

#[async_trait]
impl Transaction for Set<'_> {
    type Output = types::UiCustomizationType;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client = keys::client(self.client_id);
        let row = keys::client_page(self.client_id, ClientPage::UiCustomization, "");
        let logo_row = keys::client_page(self.client_id, ClientPage::Logo, "");
        tx.load(Query::new().get(client.clone()).get(row.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        if self.client_id != ALL && tx.get_bytes(&client).is_none() {
            return Err(client_not_found().into());
        }
        if pool.record.domains.is_empty() {
            return Err(errors::invalid_parameter(
                "A domain must be associated with this user pool.",
            )
            .into());
        }
        let present = tx.get::<UiCustomizationRecord>(&row)?;
        let created_ms = present.map_or(tx.now_ms(), |present| present.record.created_ms);
        tx.bump_epoch();
        match self.logo {
            Some(logo) => tx.put_bytes(logo_row, Bytes::copy_from_slice(logo), None),
            None => tx.delete(logo_row),
        }
        if self.css.is_none() && self.logo.is_none() {
            tx.delete(row);
            return Ok(types::UiCustomizationType {
                user_pool_id: Some(pool.id().to_owned()),
                client_id: Some(self.client_id.to_owned()),
                ..Default::default()
            }
            .into());
        }
        let record = UiCustomizationRecord {
            client_id: self.client_id.to_owned(),
            css: self.css.map(str::to_owned),
            logo_type: self.logo_type.map(str::to_owned),
            created_ms,
            modified_ms: tx.now_ms(),
        };
        tx.put(row, &record);
        Ok(describe(tx.world(), pool.id(), record).into())
    }
}
