//! Paths for a pattern, and variants of a path that some routers treat as the same.

use std::collections::BTreeMap;

/// Returns a path that matches a pattern, with these values for its parameters and `1` for others.
pub(crate) fn filled(pattern: &str, parameters: &BTreeMap<String, String>) -> String {
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        path.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            path.push('{');
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let name = name.strip_prefix('*').unwrap_or(name);
        path.push_str(parameters.get(name).map_or("1", String::as_str));
        rest = after;
    }
    path.push_str(rest);
    path.replace("}}", "}")
}

/// Returns variants of a path that some routers treat as the same: an additional or missing slash at the
/// end, a doubled one, a needless escape, a letter in the other case.
pub(crate) fn variants(path: &str) -> Vec<String> {
    let mut variants = Vec::new();
    match path.strip_suffix('/') {
        Some("") => {}
        Some(bare) => variants.push(bare.to_owned()),
        None => variants.push(format!("{path}/")),
    }
    if let Some((before, last)) = path.rsplit_once('/').filter(|(_, last)| !last.is_empty()) {
        variants.push(format!("{before}//{last}"));
    }
    let letter = |wanted: fn(&char) -> bool| {
        let (before, from) = path.split_at(path.find(|letter| wanted(&letter))?);
        let mut after = from.chars();
        Some((before, after.next()?, after.as_str()))
    };
    if let Some((before, letter, after)) = letter(char::is_ascii_alphanumeric) {
        variants.push(format!("{before}%{:02X}{after}", u32::from(letter)));
    }
    if let Some((before, letter, after)) = letter(char::is_ascii_alphabetic) {
        let other = if letter.is_ascii_lowercase() {
            letter.to_ascii_uppercase()
        } else {
            letter.to_ascii_lowercase()
        };
        variants.push(format!("{before}{other}{after}"));
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_filled_and_paths_varied() {
        let known = BTreeMap::from([("id".to_owned(), "7".to_owned())]);
        for (pattern, path) in [
            ("/", "/"),
            ("/orders/{id}", "/orders/7"),
            ("/v{version}/{*rest}", "/v1/1"),
            ("/a{{b}}/{id}", "/a{b}/7"),
        ] {
            assert_eq!(filled(pattern, &known), path);
        }
        assert_eq!(variants("/"), Vec::<String>::new());
        assert_eq!(variants("/orders/7"), ["/orders/7/", "/orders//7", "/%6Frders/7", "/Orders/7"]);
        assert_eq!(variants("/A/"), ["/A", "/%41/", "/a/"]);
    }
}
