//! SRP-6a, password hashing, token signing, sealing; randomness is a parameter.
//!
//! Everything in this crate is synchronous and free of clocks. What needs randomness takes an
//! [`entropy::Entropy`]; what needs the time takes it as epoch seconds. Two functions are slow on
//! purpose or by nature, and callers run them on capped threads: [`password::PasswordHasher`]
//! (about 18 ms a call) and the modular exponentiations behind [`srp`] (about 0.6 ms each); a
//! signature of [`token::SigningKey`] costs about 0.3 ms.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`entropy`] | the source of randomness, and a seeded one in [`testing`] |
//! | [`secret`] | values that are wiped on drop and never printed |
//! | [`mac`] | SHA-256, HMAC, HKDF, constant-time comparison, `SECRET_HASH` |
//! | [`encoding`] | base64 as it is used on the wire |
//! | [`password`] | Argon2id with reused memory |
//! | [`imported`] | hashes of passwords that were made elsewhere |
//! | [`bignum`] | arithmetic modulo the 3072-bit group |
//! | [`srp`] | Cognito's SRP-6a, both sides |
//! | [`fake`] | answers for users that do not exist |
//! | [`seal`] | envelope encryption: KEK, cluster key, pool key, purposes |
//! | [`token`] | RS256 tokens and JWKS |
//! | [`saml`] | the key pair that signs SAML requests, and its certificate |
//! | [`ids`] | pool ids, client ids, codes, temporary passwords |
//! | [`refresh`] | refresh tokens |
//! | [`totp`] | time-based one-time passwords |
//! | [`webauthn`] | passkeys: the relying party's side of WebAuthn |
//! | [`encryption_sdk`] | messages of the AWS Encryption SDK |
//! | [`age`] | files for the holders of offline keys: backups |

pub mod age;
mod bech32;
pub mod bignum;
pub mod encoding;
pub mod encryption_sdk;
pub mod entropy;
pub mod fake;
pub mod ids;
pub mod imported;
pub mod mac;
pub mod password;
pub mod refresh;
pub mod saml;
pub mod seal;
pub mod secret;
pub mod srp;
pub mod testing;
pub mod token;
pub mod totp;
pub mod webauthn;
