//! ListDevices: the devices of the user who is signed in.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListDevices.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::records::DeviceRecord;
use prost::Message;

use super::{
    describe::{Shown, describe},
    limit, rows,
};
use crate::{
    auth::access_token::PresentedToken,
    call::{Call, CallPrincipal},
    errors,
    page_token::{self, List},
    tx::{Decision, Page, Query, Transaction, Tx, transact},
    users::token_user,
    world::World,
};

/// Answers ListDevices, in no particular order. One read.
///
/// # Errors
/// As the API declares them.
pub async fn list_devices(
    world: &World,
    _call: &Call,
    input: types::ListDevicesRequest,
) -> Result<types::ListDevicesResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    let of = [token.pool_id.clone(), token.sub().to_owned()];
    let of = [of[0].as_str(), of[1].as_str()];
    let nobody = nobody();
    let list = List { operation: "ListDevices", principal: &nobody, of: &of };
    let list_devices = ListDevices {
        token,
        list,
        limit: limit(input.limit),
        // under the cluster's key: the place to go on from is needed before the pool is read
        after: page_token::open(
            &world.cluster_keys.get(),
            list,
            input.pagination_token.as_deref(),
        )?,
    };
    transact(world, &list_devices).await
}

/// The list belongs to a user: whoever has the user's token may go on with it.
fn nobody() -> CallPrincipal {
    CallPrincipal { account_id: String::new(), region: String::new(), arn: String::new() }
}

struct ListDevices<'a> {
    token: PresentedToken<'a>,
    list: List<'a>,
    limit: u32,
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for ListDevices<'_> {
    type Output = types::ListDevicesResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let prefix = rows::prefix(self.token.sub());
        let query = Query::new().scan(prefix, self.after.clone(), self.limit);
        let (_, _, pages) = token_user::load_pages(tx, &self.token, query).await?;
        let page = first(pages)?;
        let devices = decoded(&page)?;
        let pagination_token = match &page.next {
            Some(last) => {
                let world = tx.world();
                Some(page_token::seal(world, &world.cluster_keys.get(), self.list, last)?)
            }
            None => None,
        };
        let devices = devices.iter().map(|device| describe(device, Shown::ToUser)).collect();
        Ok(types::ListDevicesResponse { devices, pagination_token }.into())
    }
}

/// The page of the one scan of a list.
pub(super) fn first(pages: Vec<Page>) -> Result<Page, ApiError> {
    pages.into_iter().next().ok_or_else(|| errors::internal("a scan has no page"))
}

/// The devices of a page.
pub(super) fn decoded(page: &Page) -> Result<Vec<DeviceRecord>, ApiError> {
    let decode = |(_, value): &(bytes::Bytes, bytes::Bytes)| DeviceRecord::decode(value.clone());
    let devices: Result<_, _> = page.rows.iter().map(decode).collect();
    devices.map_err(|_| errors::internal("a stored device cannot be decoded"))
}
