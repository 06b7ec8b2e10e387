//! base64 and percent-encoding as they are used on the wire. Decoding is strict: one value has one text, so that an altered
//! token is never taken for the original (trailing bits, white space and a missing or needless `=`
//! are refused).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Opaque tokens: the URL-safe alphabet without padding (RFC 4648, section 5).
pub fn base64url(data: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(data)
}

/// The inverse of [`base64url`], or `None` for anything that it would not have written.
pub fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The standard alphabet with padding (RFC 4648, section 4): `SECRET_BLOCK`, signatures,
/// `SECRET_HASH`, key ids.
pub fn base64(data: impl AsRef<[u8]>) -> String {
    STANDARD.encode(data)
}

/// The inverse of [`base64()`], or `None` for anything that it would not have written.
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A text as a part of a path or of a query: everything but unreserved characters is encoded (RFC 3986,
/// section 2.1).
pub fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // writing to a text cannot fail
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_unreserved_is_percent_encoded() {
        assert_eq!(percent("aZ9-._~"), "aZ9-._~");
        assert_eq!(percent("a b/%:"), "a%20b%2F%25%3A");
        assert_eq!(percent("a+b@c.de&x=\u{e9} "), "a%2Bb%40c.de%26x%3D%C3%A9%20");
    }

    #[test]
    fn there_is_one_text_for_each_value() {
        assert_eq!(base64url([0xfb, 0xff]), "-_8");
        assert_eq!(base64url_decode("-_8"), Some(vec![0xfb, 0xff]));
        for other in ["-_9", "-_8=", "+/8", "-_8 ", " -_8", "-_8\n", "-_"] {
            assert_ne!(base64url_decode(other), Some(vec![0xfb, 0xff]), "{other:?}");
        }
        assert_eq!(base64([0xfb, 0xff]), "+/8=");
        assert_eq!(base64_decode("+/8="), Some(vec![0xfb, 0xff]));
        for other in ["+/8", "+/9=", "-_8=", "+/8=\n"] {
            assert_eq!(base64_decode(other), None, "{other:?}");
        }
    }
}
