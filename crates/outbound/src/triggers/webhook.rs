//! How a webhook knows who calls: HMAC-SHA256 over the time, a point, and the body.

use conclave_crypto::mac;

/// When the call was signed, in seconds since 1970.
pub const TIMESTAMP: &str = "conclave-timestamp";
/// `v1=` and the HMAC in lower-case hexadecimal.
pub const SIGNATURE: &str = "conclave-signature";

/// The value of [`SIGNATURE`].
pub fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mac = mac::hmac_sha256(secret.as_bytes(), &[timestamp.as_bytes(), b".", body]);
    format!("v1={}", hex::encode(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf '1767225600.{}' | openssl dgst -sha256 -hmac secret
    #[test]
    fn a_signature_is_what_openssl_makes_of_it() {
        assert_eq!(sign("secret", "1767225600", b"{}"), OPENSSL);
    }

    const OPENSSL: &str = "v1=fa7eaa06bf97d7815f3f456e97cde70c9e50cb005f01660c8d10b10c21964887";
}
