//! What CSS of the classic pages may hold: rules for a fixed list of classes, without at-rules and scripts.
//!
//! Source: developer guide, "Customizing hosted UI (classic) branding". Which properties have an effect is decided
//! where the pages are made: the service takes others, to no effect.

use conclave_api::ApiError;

use crate::errors;

/// Selectors, as they have to be written.
const SELECTORS: [&str; 18] = [
    ".background-customizable",
    ".banner-customizable",
    ".errorMessage-customizable",
    ".idpButton-customizable",
    ".idpButton-customizable:hover",
    ".idpDescription-customizable",
    ".inputField-customizable",
    ".inputField-customizable:focus",
    ".label-customizable",
    ".legalText-customizable",
    ".logo-customizable",
    ".passwordCheck-notValid-customizable",
    ".passwordCheck-valid-customizable",
    ".redirect-customizable",
    ".socialButton-customizable",
    ".submitButton-customizable",
    ".submitButton-customizable:hover",
    ".textDescription-customizable",
];

/// Leaves a style sheet, also from within a comment: the page's parser does not know CSS.
const FORBIDDEN_ANYWHERE: &str = "<";
/// What is no style, or runs in one.
const FORBIDDEN: [&str; 5] = ["@", "\\", "javascript:", "expression(", "-moz-binding"];

/// Checks CSS. The text for a class is known from reports of the service's answer; the others are judgement.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn check(css: &str) -> Result<(), ApiError> {
    let bare = without_comments(css)?;
    let lower = bare.to_ascii_lowercase();
    let mut found = FORBIDDEN.iter().filter(|forbidden| lower.contains(**forbidden));
    let anywhere = css.contains(FORBIDDEN_ANYWHERE).then_some(&FORBIDDEN_ANYWHERE);
    if let Some(forbidden) = anywhere.or_else(|| found.next()) {
        return Err(errors::invalid_parameter(format!("The CSS must not contain {forbidden}.")));
    }
    let mut rest = bare.as_str();
    while let Some((selectors, after)) = rest.split_once('{') {
        check_selectors(selectors)?;
        let (declarations, after) = after.split_once('}').ok_or_else(malformed)?;
        check_declarations(declarations)?;
        rest = after;
    }
    if rest.trim().is_empty() { Ok(()) } else { Err(malformed()) }
}

fn malformed() -> ApiError {
    errors::invalid_parameter("The CSS is not valid.")
}

/// The CSS with a space in the place of each comment. A string holds nothing that could be taken for structure,
/// so that what comes after needs no strings.
fn without_comments(css: &str) -> Result<String, ApiError> {
    const STRUCTURE: [char; 8] = ['{', '}', ';', '/', '*', '\n', '\r', '\u{c}'];
    let mut bare = String::with_capacity(css.len());
    let mut rest = css;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, from) = rest.split_at(at);
        bare.push_str(before);
        if let Some(comment) = from.strip_prefix("/*") {
            let (_, after) = comment.split_once("*/").ok_or_else(malformed)?;
            bare.push(' ');
            rest = after;
        } else if let Some(after) = from.strip_prefix('/') {
            bare.push('/');
            rest = after;
        } else {
            let quote = if from.starts_with('"') { '"' } else { '\'' };
            let text = from.get(1..).unwrap_or_default();
            let (text, after) = text.split_once(quote).ok_or_else(malformed)?;
            if text.contains(STRUCTURE) {
                return Err(malformed());
            }
            bare.push(quote);
            bare.push_str(text);
            bare.push(quote);
            rest = after;
        }
    }
    bare.push_str(rest);
    Ok(bare)
}

fn check_selectors(selectors: &str) -> Result<(), ApiError> {
    for selector in selectors.split(',').map(str::trim) {
        if !SELECTORS.contains(&selector) {
            return Err(errors::invalid_parameter(format!(
                "The CSS class {selector} is not in the list of allowed classes."
            )));
        }
    }
    Ok(())
}

fn check_declarations(declarations: &str) -> Result<(), ApiError> {
    for declaration in declarations.split(';').map(str::trim).filter(|text| !text.is_empty()) {
        let (property, value) = declaration.split_once(':').ok_or_else(malformed)?;
        let is_name = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-';
        let property = property.trim();
        let is_good = !property.is_empty()
            && property.bytes().all(is_name)
            && !value.trim().is_empty()
            && !value.contains('{');
        if !is_good {
            return Err(malformed());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_class_can_be_styled() {
        for selector in SELECTORS {
            let css = format!("{selector} {{\n\tcolor: #fff;\n\tmargin: 20px 0px 10px 0px;\n}}");
            assert_eq!(check(&css), Ok(()), "{css}");
        }
        for css in [
            ".label-customizable{font-weight:400}",
            ".label-customizable, .logo-customizable { color : red ; }",
            "/* a */ .label-customizable { /* b; } */ color: red; }\n/* c */",
            ".label-customizable {}",
            ".label-customizable { font-family: \"Amazon Ember\", sans-serif; future-key: 1; }",
        ] {
            assert_eq!(check(css), Ok(()), "{css}");
        }
    }

    #[test]
    fn another_class_is_named() {
        for selector in ["body", ".other", ".label-customizable a", ".label-customizable:hover", ""]
        {
            let text = format!("The CSS class {selector} is not in the list of allowed classes.");
            let css = format!(".logo-customizable {{ color: red; }} {selector} {{ color: red; }}");
            assert_eq!(check(&css), Err(errors::invalid_parameter(text)));
        }
    }

    #[test]
    fn what_would_leave_the_style_sheet_is_refused() {
        for (css, forbidden) in [
            ("@import url(a);", "@"),
            ("@media print { .label-customizable { color: red; } }", "@"),
            (".label-customizable { color: </style><script>; }", "<"),
            (".label-customizable { background: url(JavaScript:a) }", "javascript:"),
            (".label-customizable { width: Expression(a) }", "expression("),
            (".label-customizable { color: \\72 ed }", "\\"),
        ] {
            let text = format!("The CSS must not contain {forbidden}.");
            assert_eq!(check(css), Err(errors::invalid_parameter(text)), "{css}");
        }
        // neither a comment nor a string hides it
        assert!(check("/* */ @import url(a); /* */").is_err());
        assert_eq!(check("/* @import */ .label-customizable { color: red }"), Ok(()));
        assert!(check("/* </style> */ .label-customizable { color: red }").is_err());
        let hidden = ".label-customizable { a: \"/*\" } body { color: red } .logo-customizable { a: \"*/\" }";
        assert!(check(hidden).is_err());
    }

    #[test]
    fn what_is_no_css_is_refused() {
        for css in [
            "color: red;",
            ".label-customizable { color: red",
            ".label-customizable color: red; }",
            ".label-customizable { color }",
            ".label-customizable { : red }",
            ".label-customizable { color: }",
            ".label-customizable { .logo-customizable { color: red } }",
            ".label-customizable { color: red } }",
            "/* .label-customizable { color: red }",
            ".label-customizable { font-family: \"a }",
            ".label-customizable { font-family: 'a;b' }",
        ] {
            assert!(check(css).is_err(), "{css}");
        }
    }
}
