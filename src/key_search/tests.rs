use std::sync::OnceLock;

use proptest::prelude::*;

use super::{KeySearch, digits};

fn finds(key: &str, text: &str) -> bool {
    KeySearch::new(key, &OnceLock::new()).finds_in(text.as_bytes())
}

#[track_caller]
fn assert_found(key: &str, texts: &[&str]) {
    for text in texts {
        assert!(finds(key, text), "{text}");
        assert!(
            finds(key, &format!("{{\"a\\\\\": \"%{text}%\"}}")),
            "{text}"
        );
    }
}

#[track_caller]
fn assert_not_found(key: &str, texts: &[&str]) {
    for text in texts {
        assert!(!finds(key, text), "{text}");
    }
}

#[test]
fn every_digit_and_character_is_found_by_its_value() {
    for byte in 0..=u8::MAX {
        let is_digit = |value| digits::hex_digits(value).contains(&byte);
        assert_eq!(
            (0..16).find(|value| is_digit(*value)),
            digits::hex_value(byte)
        );
        let is_character = |value| digits::base64_characters(value).contains(&byte);
        let value = (0..64).find(|value| is_character(*value));
        assert_eq!(value, digits::base64_value(byte));
    }
}

#[test]
fn a_key_is_found_as_it_is() {
    assert_found("sk-ant+/~ key?", &["sk-ant+/~ key?"]);
    assert_found(r"secret\/%41", &[r"secret\/%41"]);
    assert_not_found("sk-ant-key", &["", "sk-ant-ke", "sk-ant_key", "SK-ANT-KEY"]);
}

#[test]
fn a_key_is_found_whichever_of_its_characters_a_url_escapes() {
    assert_found(
        "sk-ant+/key%",
        &[
            "sk-ant%2B%2Fkey%25",
            "sk%2dant%2b%2fkey%25",
            "%73%6B%2D%61%6E%74%2B%2F%6b%65%79%25",
            "sk%252Dant%25252B%2Fkey%2525",
        ],
    );
    assert_not_found(
        "sk-ant+/key",
        &["sk%2Cant%2B%2Fkey", "sk%2-ant%2B%2Fkey", "sk-ant+/ke%7"],
    );
}

#[test]
fn a_key_is_found_whichever_of_its_characters_json_escapes() {
    assert_found(
        "sk-ant+/<\"\\é😀\t",
        &[
            "sk-ant+\\/<\\\"\\\\é😀\\t",
            r"sk-ant\u002B/\u003C\u0022\\\u00E9\uD83D\uDE00\u0009",
            r#"\u0073k-ant\u002b\/\u003c\"\u005c\u00e9😀\t"#,
        ],
    );
    assert_not_found(
        "sk-ant-k<😀",
        &[
            r"sk-ant-k\u003d😀",
            r"sk-ant-k\u013c😀",
            r"sk-ant-k\<😀",
            r"sk-ant-k\u003c\ud83d",
            r"sk-ant-k\u003c\ud83dude00",
        ],
    );
}

#[test]
fn a_key_is_found_in_hex_and_base64() {
    assert_found(
        "sk-ant+/~ key?",
        &[
            "736b2d616e742b2f7e206b65793f",
            "736B2D616E742B2f7e206b65793f",
            // Alone, and behind one byte and two.
            "c2stYW50Ky9+IGtleT8=",
            "c2stYW50Ky9-IGtleT8",
            "OnNrLWFudCsvfiBrZXk_",
            "dTpzay1hbnQrL34ga2V5Pw==",
            // Escaped once more.
            r"c2stYW50Ky9\u002bIGtleT8",
            "c2stYW50Ky9%2BIGtleT8%3D",
        ],
    );
    assert_not_found(
        "sk-ant+/~ key?",
        &["736b2d616e742b2f7e206b657930", "c2stYW50Ky9+IGtlZT8="],
    );
}

#[test]
fn a_short_key_is_found_only_as_it_is() {
    assert_found("k/0", &["k/0"]);
    assert_not_found("k/0", &[r"k\/0", "k%2F0", "6b2f30", "ay8w"]);
}

#[test]
fn a_text_that_is_cut_within_the_key_is_found_from_the_eighth_character_on() {
    let pairs = OnceLock::new();
    let search = KeySearch::new("sk-ant-0123456789", &pairs);
    let text = b"no: sk%2Dant-0123456789";
    for end in 0..text.len() {
        let text = &text[..end];
        assert!(!search.finds_in(text));
        assert_eq!(search.finds_in_start(text), end >= 14, "{end}");
    }
}

proptest! {
    #[test]
    fn a_key_is_found_anywhere_however_each_of_its_characters_is_escaped(
        key in "[!-~]{8,40}",
        before in "[ -~é]{0,9}",
        after in "[ -~é]{0,9}",
        escapes in prop::collection::vec(0..4_u8, 40),
    ) {
        let escaped: String = key.chars().zip(escapes).map(|(character, escape)| {
            match (escape, character) {
                (0, '%' | '\\') | (1, _) => format!("%{:02x}", character as u32),
                (2, _) => format!("\\u{:04X}", character as u32),
                (3, '"' | '\\' | '/') => format!("\\{character}"),
                _ if "%\\".contains(character) => format!("%{:02X}", character as u32),
                _ => character.to_string(),
            }
        }).collect();
        let escaped = format!("{before}{escaped}{after}");
        let plain = format!("{before}{key}{after}");
        prop_assert!(finds(&key, &escaped));
        prop_assert!(finds(&key, &plain));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        key in ".{0,20}",
        text in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let pairs = OnceLock::new();
        let search = KeySearch::new(&key, &pairs);
        search.finds_in(&text);
        search.finds_in_start(&text);
    }
}

proptest! {
    #[test]
    fn an_encoded_key_is_found_in_a_long_text_without_escapes(
        key in "[!-~]{8,120}",
        before in "[a-zA-Z0-9_-]{0,200}",
        after in "[a-zA-Z0-9_-]{0,200}",
        form in 0..3_usize,
    ) {
        use base64::Engine;
        use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

        let encoded = match form {
            0 => BASE64_STANDARD_NO_PAD.encode(&key),
            1 => BASE64_URL_SAFE_NO_PAD.encode(format!("{before}:{key}")),
            _ => key.bytes().map(|byte| format!("{byte:02x}")).collect(),
        };
        let text = format!("{before}{encoded}{after}");
        prop_assert!(finds(&key, &text));
    }
}
