//! Java's regular expressions, as the model writes them, for the `regex` crate.

/// A pattern that must match a whole string.
pub struct Pattern {
    /// For the `regex` crate, anchored at both ends.
    pub regex: String,
    /// One character class under `+` or `*`, for which a table of the ASCII characters decides most strings.
    pub one_class: bool,
    /// What the string must not end with: the one look-behind of the model, `(?<!\.)$`.
    pub not_at_end: Option<char>,
}

/// Java's classes cover ASCII only where the crate's cover Unicode.
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r" \t\n\x0B\f\r";
const DIGIT: &str = "0-9";

/// `None` when the pattern uses something that this does not know.
pub fn translate(java: &str) -> Option<Pattern> {
    let (body, not_at_end) = match java.strip_suffix(r"(?<!\.)$") {
        Some(body) => (body, Some('.')),
        None => (java, None),
    };
    let dot_all = body.starts_with("(?s)");
    let mut regex = String::from(r"\A(?:");
    let mut in_class = false;
    let mut characters = body.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next()? {
                'w' if in_class => regex.push_str(WORD),
                'w' => regex.push_str(&format!("[{WORD}]")),
                's' if in_class => regex.push_str(SPACE),
                's' => regex.push_str(&format!("[{SPACE}]")),
                'd' if in_class => regex.push_str(DIGIT),
                'd' => regex.push_str(&format!("[{DIGIT}]")),
                'S' => regex.push_str(&format!("[^{SPACE}]")),
                'W' | 'D' | 'b' | 'B' | 'Q' | 'G' => return None,
                'p' => {
                    regex.push_str(r"\p");
                    for c in characters.by_ref() {
                        regex.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                }
                other => {
                    regex.push('\\');
                    regex.push(other);
                }
            },
            '[' if in_class => return None,
            '[' => {
                in_class = true;
                regex.push('[');
                if characters.peek() == Some(&'^') {
                    characters.next();
                    regex.push('^');
                }
            }
            ']' => {
                in_class = false;
                regex.push(']');
            }
            '.' if !in_class && !dot_all => regex.push_str(r"[^\n\r\u{85}\u{2028}\u{2029}]"),
            '(' if characters.peek() == Some(&'?') && !(dot_all && regex == r"\A(?:") => {
                // Groups without a capture; every look-around is refused.
                let mut ahead = characters.clone();
                ahead.next();
                if ahead.next() != Some(':') {
                    return None;
                }
                regex.push('(');
            }
            '&' | '~' if in_class => return None,
            other => regex.push(other),
        }
    }
    if in_class {
        return None;
    }
    regex.push_str(r")\z");
    Some(Pattern { one_class: not_at_end.is_none() && is_one_class(java), regex, not_at_end })
}

fn is_one_class(java: &str) -> bool {
    let body = java.strip_prefix('^').unwrap_or(java);
    let body = body.strip_suffix('$').unwrap_or(body);
    let Some(body) = body.strip_prefix('[') else { return false };
    let Some(body) = body.strip_suffix("]+").or_else(|| body.strip_suffix("]*")) else {
        return false;
    };
    let mut escaped = false;
    body.chars().all(|c| {
        let ends = c == ']' && !escaped;
        escaped = c == '\\' && !escaped;
        !ends
    })
}
