//! Which origins belong to a relying party.
//!
//! The standard leaves the list of origins to the relying party (section 13.4.9). A user pool has no list, and takes what a
//! browser takes for the relying party id: the domain itself and what is below it, over https with any port. `localhost`
//! may come over http, because browsers count it as secure.
//!
//! Apps on Android have no web origin. The system says `android:apk-key-hash:` and the hash of the certificate that has
//! signed the app, after it has found the app in the relying party's own `assetlinks.json`; without that entry it makes
//! no credential for this relying party. So such an origin is taken by its form.

use crate::encoding;

const ANDROID: &str = "android:apk-key-hash:";
/// SHA-256.
const ANDROID_HASH_BYTES: usize = 32;
const LOCALHOST: &str = "localhost";

/// Whether a page or an app of this origin may use credentials of the relying party `rp_id`.
pub fn is_of(rp_id: &str, origin: &str) -> bool {
    if let Some(hash) = origin.strip_prefix(ANDROID) {
        let hash = encoding::base64url_decode(hash);
        return hash.is_some_and(|hash| hash.len() == ANDROID_HASH_BYTES);
    }
    if let Some(authority) = origin.strip_prefix("https://") {
        return host(authority).is_some_and(|host| is_at_or_below(host, rp_id));
    }
    let local = origin.strip_prefix("http://").and_then(host);
    rp_id == LOCALHOST && local == Some(LOCALHOST)
}

/// Whether `id` can be a relying party's: a domain of letters, digits and hyphens in lower case, with a dot
/// unless it is `localhost`. An address is none.
pub fn is_rp_id(id: &str) -> bool {
    const BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    // no top-level domain is a number, and every IPv4 address ends with one
    let last_is_number =
        |id: &str| id.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    id == LOCALHOST
        || (id.len() <= BYTES_MAX
            && id.contains('.')
            && id.split('.').all(is_label)
            && !last_is_number(id))
}

/// The host of `host` or `host:port`. An origin has nothing else: no user, path or query.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_port = |port: &str| {
        (1..=5).contains(&port.len())
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok()
    };
    if !port.is_none_or(is_port) {
        return None;
    }
    // also excludes `@`, `/`, `\`, `%` and IPv6
    is_rp_id(host).then_some(host)
}

fn is_at_or_below(host: &str, rp_id: &str) -> bool {
    host == rp_id || host.strip_suffix(rp_id).is_some_and(|above| above.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relying_party_has_itself_and_what_is_below_over_https() {
        for origin in [
            "https://example.com",
            "https://example.com:8443",
            "https://login.example.com",
            "https://a.b.example.com:1",
        ] {
            assert!(is_of("example.com", origin), "{origin}");
        }
        for origin in [
            "http://example.com",
            "https://example.org",
            "https://notexample.com",
            "https://example.com.evil.org",
            "https://com",
            "https://example.com/",
            "https://example.com/path",
            "https://evil.org@example.com",
            "https://evil.org/.example.com",
            r"https://evil.org\.example.com",
            "https://evil.org:80.example.com",
            "https://example.com:",
            "https://example.com:99999",
            "https://example.com:443:443",
            "https://EXAMPLE.com",
            "https://.example.com",
            "https://example.com.",
            "https://%65xample.com",
            "https://xn--.example.com",
            "HTTPS://example.com",
            "wss://example.com",
            "null",
            "",
            "example.com",
        ] {
            assert!(!is_of("example.com", origin), "{origin}");
        }
        // a sub-domain is a relying party of its own
        assert!(!is_of("login.example.com", "https://example.com"));
    }

    #[test]
    fn localhost_may_come_over_http_and_nobody_else() {
        assert!(is_of("localhost", "http://localhost:3000"));
        assert!(is_of("localhost", "https://localhost"));
        for origin in ["http://127.0.0.1", "http://localhost.evil.org", "http://evil.localhost"] {
            assert!(!is_of("localhost", origin), "{origin}");
        }
        assert!(!is_of("example.com", "http://localhost"));
    }

    #[test]
    fn an_app_on_android_is_taken_by_its_form() {
        let hash = encoding::base64url([7; 32]);
        assert!(is_of("example.com", &format!("android:apk-key-hash:{hash}")));
        for wrong in ["", "AAAA", &hash[1..], &format!("{hash}="), "https://example.com"] {
            assert!(!is_of("example.com", &format!("android:apk-key-hash:{wrong}")), "{wrong}");
        }
    }

    #[test]
    fn a_relying_party_is_a_domain() {
        for id in ["localhost", "example.com", "auth.example.com", "xn--bcher-kva.example", "1.de"]
        {
            assert!(is_rp_id(id), "{id}");
        }
        for id in [
            "",
            "com",
            "127.0.0.1",
            "1.2",
            "[::1]",
            "https://example.com",
            "example.com:443",
            "example.com/",
            "Example.com",
            "a..b",
            ".example.com",
            "example.com.",
            "-a.com",
            "a-.com",
            "a b.com",
            "ä.com",
            "example.com\n",
        ] {
            assert!(!is_rp_id(id), "{id}");
        }
        assert!(!is_rp_id(&format!("{}.com", "a".repeat(64))));
        assert!(!is_rp_id(&format!("{}com", "a.".repeat(126))));
    }
}
