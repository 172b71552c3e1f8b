//! Finding a key in a JSON string, where any of its characters may be escaped.

use std::ops::Range;

/// Where `form` stands first, each of its characters as it is or as an escape of it.
///
/// An escape is passed in one piece: where its end alone is overwritten, the text is no JSON any more.
pub(super) fn find(text: &[u8], form: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    while at < text.len() {
        if let Some(len) = begins_with(&text[at..], form) {
            return Some(at..at + len);
        }
        at += escaped(&text[at..]).map_or(1, |(_, len)| len);
    }
    None
}

/// How many bytes of `text` say `form`, if it begins with it.
fn begins_with(text: &[u8], mut form: &[u8]) -> Option<usize> {
    let mut rest = text;
    while !form.is_empty() {
        let mut utf8 = [0; 4];
        let (said, len) = match escaped(rest) {
            Some((character, len)) => (character.encode_utf8(&mut utf8).as_bytes(), len),
            None => (rest.get(..1)?, 1),
        };
        form = form.strip_prefix(said)?;
        rest = &rest[len..];
    }
    Some(text.len() - rest.len())
}

/// The character that `text` begins with an escape of, and how long that is.
fn escaped(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.strip_prefix(b"\\")?.first()? {
        same @ (b'"' | b'\\' | b'/') => char::from(*same),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return utf16(text),
        _ => return None,
    };
    Some((character, 2))
}

/// The same for `\uXXXX`, two of which make a character beyond the first 65536.
fn utf16(text: &[u8]) -> Option<(char, usize)> {
    const LEN: usize = 6;
    let units = text.chunks(LEN).map_while(unit);
    // Half a pair is passed as well, and stands for what most readers take it for.
    let character = char::decode_utf16(units).next()?;
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    Some((character, LEN * character.len_utf16()))
}

fn unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some((unit << 4) | digit as u16)
    })
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::find;

    #[track_caller]
    fn assert_found(key: &str, text: &str, expected: Option<&str>) {
        let found = find(text.as_bytes(), key.as_bytes());
        assert_eq!(found.map(|range| &text[range]), expected, "{text}");
    }

    #[test]
    fn each_character_may_be_escaped_or_not() {
        let key = "k\"\\/\t<+é😀";
        for text in [
            r#"k\"\\\/\t<+é😀"#,
            r#"k"\\/\t<+é😀"#,
            r"k\u0022\u005c\u002f\u0009\u003c\u002b\u00e9\ud83d\ude00",
            r"\u006B\u0022\u005C\u002F\u0009\u003C\u002B\u00E9\uD83D\uDE00",
            r#"\u006b\"\u005C\/\u0009<\u002B\u00e9😀"#,
        ] {
            assert_found(key, &format!(r#"{{"key":"\u003c{text}k"}}"#), Some(text));
        }
    }

    #[test]
    fn an_escape_is_of_one_character_alone() {
        for text in [
            r"k\u003d", r"k\u013c", r"k\n", r"k\<", r"k\u{3c}", r"k\U003c", r"k\u+03c",
        ] {
            assert_found("k<", text, None);
        }
    }

    #[test]
    fn an_escape_has_no_key_in_its_middle() {
        assert_found("<key", r"\\u003ckey", None);
        assert_found("<key", r"\\\u003ckey", Some(r"\u003ckey"));
        assert_found("n/key", r"\n\/key", None);
        assert_found("3c/key", r"\u003c\/key", None);
        // What is no escape is no more than a backslash.
        assert_found("sk/key", r"\sk\/key", Some(r"sk\/key"));
        assert_found("u003/key", r"\u003\/key", Some(r"u003\/key"));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_character() {
        for text in [
            r"k\ud83d",
            r"k\ude00",
            r"k\ude00\ud83d",
            r"k\ud83dude00",
            r"k\ud83d \ude00",
        ] {
            assert_found("k😀", text, None);
        }
        assert_found("😀", r"\ud83d\ud83d\ude00", Some(r"\ud83d\ude00"));
    }

    #[test]
    fn a_text_that_ends_within_the_key_does_not_hold_it() {
        let text = r"k\/\ud83d\ude00";
        for end in 0..text.len() {
            assert_found("k/😀", &text[..end], None);
        }
        assert_found("k/😀", text, Some(text));
    }
}
