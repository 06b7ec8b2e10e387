//! Requests to services of AWS, or to what speaks like them, signed with Signature Version 4.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use conclave_crypto::mac;
use time::OffsetDateTime;

/// Who signs. No `Debug`: it holds a secret.
pub(crate) struct Signer {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub region: String,
    /// As it is named in the scope of a signature, such as `sns`.
    pub service: &'static str,
}

/// The headers of a signature.
pub(crate) struct Signature {
    /// `X-Amz-Date`
    pub date: String,
    /// `Authorization`
    pub authorization: String,
}

impl Signer {
    /// Signs a body that is posted to the canonical `path` of `host`.
    pub(crate) fn sign(
        &self,
        host: &str,
        path: &str,
        content_type: &str,
        body: &str,
        now_ms: i64,
    ) -> Signature {
        self.sign_with(host, path, content_type, &[], body, now_ms)
    }

    /// As [`Self::sign`], and headers of AWS's along with it, whose names are in lower case.
    pub(crate) fn sign_with(
        &self,
        host: &str,
        path: &str,
        content_type: &str,
        extra: &[(&str, &str)],
        body: &str,
        now_ms: i64,
    ) -> Signature {
        let now = OffsetDateTime::from_unix_timestamp(now_ms.div_euclid(1_000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let day = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
        let date = format!("{day}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
        let hash = |text: &str| hex::encode(mac::sha256(&[text.as_bytes()]));
        let mut headers =
            vec![("content-type", content_type), ("host", host), ("x-amz-date", date.as_str())];
        headers.extend(extra);
        headers.sort_unstable();
        let signed = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("POST\n{path}\n\n{lines}\n{signed}\n{}", hash(body));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&canonical));
        let secret = format!("AWS4{}", self.secret_access_key);
        let mut key = mac::hmac_sha256(secret.as_bytes(), &[day.as_bytes()]);
        for part in [self.region.as_str(), self.service, "aws4_request"] {
            key = mac::hmac_sha256(&key, &[part.as_bytes()]);
        }
        let signature = hex::encode(mac::hmac_sha256(&key, &[to_sign.as_bytes()]));
        let credential = format!("{}/{scope}", self.access_key_id);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
        );
        Signature { date, authorization }
    }
}
