//! AdminListDevices: the devices of a user.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminListDevices.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    admin_get_device::undeclared,
    describe::{Shown, describe},
    limit, list_devices, rows,
};
use crate::{
    call::Call,
    errors,
    page_token::{self, List},
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::admin_user,
    world::World,
};

/// Answers AdminListDevices, in no particular order. Two reads: who the user is, and the devices.
///
/// # Errors
/// As the API declares them.
pub async fn admin_list_devices(
    world: &World,
    call: &Call,
    input: types::AdminListDevicesRequest,
) -> Result<types::AdminListDevicesResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    let username = input.username.unwrap_or_default();
    let of = [pool_id.as_str(), username.as_str()];
    let principal = pool_access::principal(call)?;
    let list = List { operation: "AdminListDevices", principal, of: &of };
    let list_devices = AdminListDevices {
        call,
        pool_id: &pool_id,
        username: &username,
        list,
        limit: limit(input.limit),
        after: page_token::open(
            &world.cluster_keys.get(),
            list,
            input.pagination_token.as_deref(),
        )?,
    };
    transact(world, &list_devices).await.map_err(undeclared)
}

struct AdminListDevices<'a> {
    call: &'a Call,
    pool_id: &'a str,
    username: &'a str,
    list: List<'a>,
    limit: u32,
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for AdminListDevices<'_> {
    type Output = types::AdminListDevicesResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, self.username).await?;
        let prefix = rows::prefix(&user.sub);
        if !self.after.is_empty() && !self.after.starts_with(&prefix) {
            // the list of a user who is gone, whose name another one has
            return Err(errors::invalid_pagination_token().into());
        }
        let pages = tx.load(Query::new().scan(prefix, self.after.clone(), self.limit)).await?;
        let page = list_devices::first(pages)?;
        let pool = tx.pool()?;
        let shown = Shown::ToAdmin(&pool.record, &user.username);
        let devices = list_devices::decoded(&page)?;
        let devices = devices.iter().map(|device| describe(device, shown)).collect();
        let pagination_token = match &page.next {
            Some(last) => {
                let world = tx.world();
                Some(page_token::seal(world, &world.cluster_keys.get(), self.list, last)?)
            }
            None => None,
        };
        Ok(types::AdminListDevicesResponse { devices, pagination_token }.into())
    }
}
