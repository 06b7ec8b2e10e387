//! Customization of the classic sign-in pages: CSS and a logo, of one app client or of all that have none of their
//! own.

mod css;
mod get_ui_customization;
mod logo;
mod set_ui_customization;
#[cfg(test)]
mod tests;

pub use get_ui_customization::get_ui_customization;
pub use logo::{Logo, logo};
pub use set_ui_customization::set_ui_customization;

use conclave_api::types;
use conclave_store::records::UiCustomizationRecord;
use time::{OffsetDateTime, format_description::FormatItem, macros::format_description};

use crate::world::World;

/// Every client of the pool that has no customization of its own.
const ALL: &str = "ALL";

const VERSION: &[FormatItem<'_>] = format_description!("[year][month][day][hour][minute][second]");

/// `CSSVersion`: when the customization was set, to the second, in UTC. Its form is known from examples in the AWS CLI's
/// reference.
fn version(record: &UiCustomizationRecord) -> String {
    let set = OffsetDateTime::from_unix_timestamp(record.modified_ms.div_euclid(1_000));
    set.ok().and_then(|set| set.format(VERSION).ok()).unwrap_or_default()
}

/// Where the logo is: the path is that of the service, below our own address.
fn logo_url(world: &World, pool_id: &str, record: &UiCustomizationRecord) -> String {
    let UiCustomizationRecord { client_id, .. } = record;
    let (url, version) = (&world.settings.public_url, version(record));
    format!("{url}/{pool_id}/{client_id}/{version}/assets/images/image.jpg")
}

/// A customization as both operations answer it.
fn describe(
    world: &World,
    pool_id: &str,
    record: UiCustomizationRecord,
) -> types::UiCustomizationType {
    types::UiCustomizationType {
        user_pool_id: Some(pool_id.to_owned()),
        image_url: record.logo_type.is_some().then(|| logo_url(world, pool_id, &record)),
        css_version: record.css.is_some().then(|| version(&record)),
        client_id: Some(record.client_id),
        css: record.css,
        last_modified_date: Some(record.modified_ms),
        creation_date: Some(record.created_ms),
    }
}
