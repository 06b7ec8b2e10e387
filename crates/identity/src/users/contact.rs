//! Addresses: what an e-mail address and a phone number look like, and how they are shown masked.

/// The longest address that is accepted, in bytes: 64 before the `@` and 255 behind it (RFC 5321,
/// section 4.5.3.1).
const EMAIL_BYTES_MAX: usize = 64 + 1 + 255;

/// Whether `text` is an e-mail address to which a message can be sent. Quoted local parts, comments and
/// address literals are refused: no mailbox of a user needs them, and they break naive mail programs.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    text.len() <= EMAIL_BYTES_MAX
        && (1..=64).contains(&local.len())
        && local.split('.').all(|part| !part.is_empty())
        && local.chars().all(|c| c.is_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(c))
        && domain.contains('.')
        && domain.split('.').all(is_domain_label)
}

fn is_domain_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

/// Whether `text` is a phone number in the form of E.164: `+` and up to 15 digits.
pub fn is_phone_number(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (5..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// An e-mail address as CodeDeliveryDetails show it: `a***@e***`.
pub fn mask_email(email: &str) -> String {
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
    format!("{}***@{}***", first(local), first(domain))
}

/// A phone number as CodeDeliveryDetails show it: `+*******0100`.
pub fn mask_phone_number(phone: &str) -> String {
    const SHOWN: usize = 4;
    let digits = phone.strip_prefix('+').unwrap_or(phone);
    let hidden = digits.chars().count().saturating_sub(SHOWN);
    let shown: String = digits.chars().skip(hidden).collect();
    format!("+{}{shown}", "*".repeat(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_are_told_from_other_texts() {
        for good in
            ["a@b.co", "ada.lovelace+x@mail.example.com", "o'neil@example.org", "jörg@münchen.de"]
        {
            assert!(is_email(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "a",
            "a@",
            "@b.co",
            "a@b",
            "a b@c.de",
            "a@b..co",
            "a@-b.co",
            ".a@b.co",
            "a..b@c.de",
            "a@b.co\n",
            "a@b.co,c@d.ef",
            "<a@b.co>",
            "\"a\"@b.co",
            "a@b@c.de",
            "a:b@c.de",
            &long,
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn phone_numbers_are_those_of_e_164() {
        for good in ["+12065550100", "+4915112345678", "+12345"] {
            assert!(is_phone_number(good), "{good}");
        }
        for bad in [
            "",
            "+",
            "+1234",
            "12065550100",
            "+1206555010a",
            "+1234567890123456",
            "+0123456",
            "+1 206",
        ] {
            assert!(!is_phone_number(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_are_masked_as_cognito_masks_them() {
        assert_eq!(mask_email("test@test.com"), "t***@t***");
        assert_eq!(mask_phone_number("+12065550100"), "+*******0100");
        assert_eq!(mask_phone_number("+123"), "+123");
    }
}
