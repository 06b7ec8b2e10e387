//! Rules for links. Languages and lengths are checked before. Texts are judgement.

use std::collections::BTreeMap;

use conclave_api::ApiError;

use crate::errors;

/// The language of everybody who has no other. API reference, `CreateTerms`.
const DEFAULT: &str = "cognito:default";

/// Checks the links of a document: there is one for everybody, and each is a web address, because it becomes a link
/// in a page.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn check_links(links: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if !links.contains_key(DEFAULT) {
        return Err(errors::invalid_parameter(format!("Links must have a URL for {DEFAULT}.")));
    }
    match links.values().find(|url| !is_web_address(url)) {
        Some(url) => Err(errors::invalid_parameter(format!("{url} is not a valid URL."))),
        None => Ok(()),
    }
}

fn is_web_address(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    is_web && !host.is_empty() && !url.contains(['"', '\'', '<', '>', '\\', '`'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(links: &[(&str, &str)]) -> Result<(), ApiError> {
        let own = |text: &str| text.to_owned();
        check_links(&links.iter().map(|(key, value)| (own(key), own(value))).collect())
    }

    #[test]
    fn there_is_a_link_for_everybody() {
        let url = "https://example.com/terms";
        assert_eq!(check(&[(DEFAULT, url), ("cognito:german", url)]), Ok(()));
        let text = "Links must have a URL for cognito:default.";
        assert_eq!(check(&[("cognito:german", url)]), Err(errors::invalid_parameter(text)));
    }

    #[test]
    fn a_link_leads_to_the_web() {
        for url in
            ["http://example.com", "HTTPS://example.com:8443/a?b=c#d", "https://bücher.example"]
        {
            assert_eq!(check(&[(DEFAULT, url)]), Ok(()), "{url}");
        }
        for url in [
            "example.com",
            "javascript:alert(1)",
            "javascript://a",
            "https://",
            "https:///a",
            "https://a/\"onclick=\"b",
        ] {
            let text = format!("{url} is not a valid URL.");
            assert_eq!(check(&[(DEFAULT, url)]), Err(errors::invalid_parameter(text)));
        }
    }
}
