//! Suggestions for misspelled names.

/// The name that is most similar to `to`, if one is similar enough to be meant.
pub fn similar<'a>(to: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let to = to.to_ascii_lowercase().replace('-', "_");
    let similarity = |name: &str| strsim::jaro_winkler(&to, name);
    names
        .map(|name| (similarity(name), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
