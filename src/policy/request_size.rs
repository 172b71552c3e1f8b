//! A 429 about the size of this request keeps the key: no wait makes the request fit, but a key with
//! a higher limit may accept it.

use super::error_response::ErrorResponse;

/// Whether the request can never fit the limits of the key.
pub(super) fn never_fits(response: &ErrorResponse<'_>) -> bool {
    // Anthropic.
    if response.says(&["required for long context"]) {
        return true;
    }
    // OpenAI and Groq.
    let message = response.message().to_ascii_lowercase();
    let after = |word| number_after(&message, word);
    match (after("limit"), after("requested")) {
        (Some(limit), Some(requested)) => requested > limit,
        _ => message.contains("request too large"),
    }
}

/// Whether the message names a limit of zero, as Google's does: the model is not in the key's tier.
pub(super) fn has_limit_of_zero(response: &ErrorResponse<'_>) -> bool {
    let message = response.message().to_ascii_lowercase();
    numbers_after(&message, "limit:").any(|limit| limit == 0)
}

fn number_after(message: &str, word: &str) -> Option<u64> {
    numbers_after(message, word).next()
}

/// The whole numbers after each occurrence of a word, such as 30000 in `Limit 30,000, Requested`.
fn numbers_after<'a>(message: &'a str, word: &'a str) -> impl Iterator<Item = u64> + 'a {
    message.match_indices(word).filter_map(|(at, word)| {
        let rest = message[at + word.len()..].trim_start_matches([':', ' ']);
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.')
            .unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches([',', '.']);
        number.replace(',', "").parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_and_without_separators() {
        for (message, expected) in [
            ("limit 30000, requested", Some(30_000)),
            ("limit: 30,000, requested", Some(30_000)),
            ("rate limit reached (tpm): limit 7.", Some(7)),
            ("limit 0.5", None),
            ("limit reached", None),
            ("limit 99999999999999999999", None),
            ("limit", None),
        ] {
            assert_eq!(number_after(message, "limit"), expected, "{message}");
        }
    }
}
