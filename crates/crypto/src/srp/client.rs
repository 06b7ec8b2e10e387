//! The client's side of SRP, computed as Cognito's SDKs do: for tests and for the load generator.

use zeroize::Zeroizing;

use super::{
    ClaimKey, SrpError, claim_key, claim_signature, decode_hex, multiplier, private_exponent,
    scramble, to_hex,
};
use crate::bignum::{self, Element};
use crate::encoding;
use crate::entropy::Entropy;

/// Length of a private value, in bytes: 1024 bits, as the JavaScript client takes.
pub const PRIVATE_LEN: usize = 128;

/// One sign-in, from the client's point of view.
pub struct Session {
    private: Zeroizing<Vec<u8>>,
    public: Element,
}

/// What the server sends in the `PASSWORD_VERIFIER` challenge.
#[derive(Debug, Clone, Copy)]
pub struct Challenge<'a> {
    /// `SRP_B`
    pub srp_b: &'a str,
    /// `SALT`
    pub salt: &'a str,
    /// `SECRET_BLOCK`
    pub secret_block: &'a str,
    /// `USER_ID_FOR_SRP`, or the device key
    pub user_id: &'a str,
}

impl Session {
    /// A session with a random private value a of 1024 bits.
    ///
    /// # Errors
    /// [`SrpError::Arithmetic`] when memory runs out.
    pub fn new(entropy: &dyn Entropy) -> Result<Self, SrpError> {
        let mut private = Zeroizing::new(vec![0; PRIVATE_LEN]);
        entropy.fill(&mut private);
        Self::with_private(&private)
    }

    /// A session with a given private value, for test vectors; a load generator may take one of 256
    /// bits, which costs a quarter.
    ///
    /// # Errors
    /// [`SrpError::Arithmetic`] when memory runs out.
    pub fn with_private(private: &[u8]) -> Result<Self, SrpError> {
        let public = bignum::mod_exp(&Element::two(), private)?;
        Ok(Self { private: Zeroizing::new(private.to_vec()), public })
    }

    /// `SRP_A`: lower-case hexadecimal without leading zeros.
    pub fn public_hex(&self) -> String {
        to_hex(self.public.minimal_bytes())
    }

    /// The client's key, from S = (B - k g^x)^(a + u x) mod N.
    ///
    /// # Errors
    /// [`SrpError::InvalidPublicValue`] for an `SRP_B` or `SALT` that is not valid.
    pub fn key(
        &self,
        group_name: &str,
        user_id: &str,
        password: &[u8],
        salt_hex: &str,
        srp_b: &str,
    ) -> Result<ClaimKey, SrpError> {
        let invalid = SrpError::InvalidPublicValue;
        let server = Element::from_bytes(&decode_hex(srp_b).ok_or(invalid)?)
            .filter(|b| !b.is_zero())
            .ok_or(invalid)?;
        let salt = decode_hex(salt_hex).ok_or(invalid)?;
        let x = private_exponent(group_name, user_id, password, &salt);
        let u = scramble(&self.public, &server)?;
        let power = bignum::mod_exp(&Element::two(), x.as_slice())?;
        let masked = bignum::mod_mul(&multiplier()?, &power)?;
        let base = bignum::mod_add(&server, &bignum::mod_mul(&masked, &minus_one()?)?)?;
        // base^(a + u x) in two steps, as there is no addition of exponents here
        let first = bignum::mod_exp(&base, &self.private)?;
        let second = bignum::mod_exp(&bignum::mod_exp(&base, &u)?, x.as_slice())?;
        Ok(claim_key(&bignum::mod_mul(&first, &second)?, &u))
    }

    /// `PASSWORD_CLAIM_SIGNATURE` for a challenge.
    ///
    /// # Errors
    /// [`SrpError::InvalidPublicValue`] for a challenge that is not valid.
    pub fn answer(
        &self,
        group_name: &str,
        password: &[u8],
        challenge: &Challenge<'_>,
        timestamp: &str,
    ) -> Result<String, SrpError> {
        let key =
            self.key(group_name, challenge.user_id, password, challenge.salt, challenge.srp_b)?;
        let block =
            encoding::base64_decode(challenge.secret_block).ok_or(SrpError::InvalidPublicValue)?;
        Ok(encoding::base64(claim_signature(
            &key,
            group_name,
            challenge.user_id,
            &block,
            timestamp,
        )))
    }
}

/// N - 1, by which a number is multiplied to change its sign.
fn minus_one() -> Result<Element, SrpError> {
    let mut bytes = bignum::MODULUS;
    if let Some(last) = bytes.last_mut() {
        *last -= 1;
    }
    Element::from_bytes(&bytes).ok_or(SrpError::Degenerate)
}
