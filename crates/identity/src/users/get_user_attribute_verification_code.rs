//! GetUserAttributeVerificationCode: a user who is signed in asks for the code that verifies an address.

use std::collections::BTreeMap;

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_outbound::Channel;
use conclave_store::{keys::UserChild, records::CodeRecord};

use super::{
    codes::{self, CodePurpose, Limited},
    delivery::{self, Destination},
    lookup, token_user,
};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    errors,
    triggers::{
        Circumstances,
        custom_message::{self, Reason},
    },
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Sends a new code in place of an earlier one: to the address that is pending, else to the present one.
/// One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn get_user_attribute_verification_code(
    world: &World,
    _call: &Call,
    input: types::GetUserAttributeVerificationCodeRequest,
) -> Result<types::GetUserAttributeVerificationCodeResponse, ApiError> {
    let get = GetCode {
        token: PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?,
        channel: channel(&input.attribute_name.unwrap_or_default())?,
        client_metadata: input.client_metadata,
    };
    transact(world, &get).await
}

/// The channel by which an attribute is verified.
///
/// # Errors
/// InvalidParameterException when there is none.
pub(super) fn channel(attribute: &str) -> Result<Channel, ApiError> {
    match attribute {
        "email" => Ok(Channel::Email),
        "phone_number" => Ok(Channel::Sms),
        _ => Err(errors::invalid_parameter(format!(
            "Attribute {attribute} cannot be verified. Only email and phone_number can be."
        ))),
    }
}

struct GetCode<'a> {
    token: PresentedToken<'a>,
    channel: Channel,
    client_metadata: BTreeMap<String, String>,
}

#[async_trait]
impl Transaction for GetCode<'_> {
    type Output = types::GetUserAttributeVerificationCodeResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client_metadata: Some(&self.client_metadata), ..Default::default() }
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let purpose = CodePurpose::verify(self.channel);
        let query = Query::new().get(codes::key(self.token.sub(), purpose));
        let (user, _) = token_user::load(tx, &self.token, query).await?;
        let pool = tx.pool()?;
        codes::count(tx, &user.sub, Limited::GetUserAttributeVerificationCode);
        let sent = lookup::child::<CodeRecord>(tx, &user.sub, UserChild::Code, purpose.row())?;
        let pending = sent.map(|sent| sent.record).filter(|sent| sent.is_pending);
        let attribute = delivery::attribute_of(self.channel);
        let (destination, code) = if let Some(pending) = pending {
            let (channel, address) = (self.channel, pending.destination);
            let destination = Destination { attribute, channel, address };
            let code = codes::issue_pending(tx, &user, &destination)?;
            (destination, code)
        } else {
            let destination = delivery::to(&user, self.channel).ok_or_else(|| {
                errors::invalid_parameter(format!("User does not have an attribute {attribute}."))
            })?;
            let code = codes::issue(tx, &user, purpose, &destination)?;
            (destination, code)
        };
        let message = delivery::verification(&pool, &user, &destination, &code);
        tx.send(custom_message::draft(tx, Reason::VerifyUserAttribute, &user, message, None)?);
        let code_delivery_details = Some(destination.details());
        Ok(types::GetUserAttributeVerificationCodeResponse { code_delivery_details }.into())
    }
}
