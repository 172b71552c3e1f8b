use proptest::prelude::*;
use serde_json::Value;

use super::{json, request};
use crate::model_scope::model_field::{Model, find};
use crate::pool::Scope;

fn known(name: &str) -> Model {
    Model::Known(Some(Scope::new(name).unwrap()))
}

#[test]
fn the_first_top_level_model_counts() {
    let long = format!(r#"{{"model":"{}"}}"#, "x".repeat(128));
    for (text, model) in [
        (r#"{"model":"gpt-4o"}"#, "gpt-4o"),
        (r#"{"model":"gpt-4o""#, "gpt-4o"),
        (
            " \n{ \"stream\" : true , \"model\"\t:\n\"gpt-4o\" , ",
            "gpt-4o",
        ),
        (r#"{"model":"first","model":"second"}"#, "first"),
        (r#"{"a":{"model":"nested"},"model":"top"}"#, "top"),
        (r#"{"a":[{"model":"nested"}],"model":"top"}"#, "top"),
        (r#"{"a":"\"model\":\"quoted\"","model":"top"}"#, "top"),
        (r#"{"a":"{\"model\":\"quoted\"}\\","model":"top"}"#, "top"),
        (
            r#"{"models":"no","Model":"no","model ":"no","model":"top"}"#,
            "top",
        ),
        (r#"{"\u006dodel":"gpt\u002d4o"}"#, "gpt-4o"),
        (r#"{"model":"meta\/llama"}"#, "meta/llama"),
        (r#"{"model":"m"} and what follows"#, "m"),
        (&long, &"x".repeat(128)),
    ] {
        assert_eq!(find(text.as_bytes()), known(model), "{text}");
    }
}

#[test]
fn a_body_without_a_usable_model_has_no_scope() {
    let too_long = format!(r#"{{"model":"{}"}}"#, "x".repeat(129));
    for text in [
        "{}",
        r#"{"messages":[]}"#,
        r#"{"a":{"model":"nested"}}"#,
        r#"{"model":null}"#,
        r#"{"model":42}"#,
        r#"{"model":["gpt-4o"]}"#,
        r#"{"model":{"model":"gpt-4o"}}"#,
        r#"{"model":42,"model":"gpt-4o"}"#,
        r#"{"model":""}"#,
        r#"{"model":"line\nbreak"}"#,
        r#"{"model":"gpt-4é"}"#,
        r#"{"model":"\ud83d"}"#,
        r#"{"model":gpt-4o}"#,
        r#"{'model':"gpt-4o"}"#,
        r#"{model:"gpt-4o"}"#,
        r#"{"a" "model":"gpt-4o"}"#,
        r#"[{"model":"gpt-4o"}]"#,
        r#""model""#,
        "model=gpt-4o",
        "\u{feff}{\"model\":\"gpt-4o\"}",
        "<xml/>",
        &too_long,
    ] {
        assert_eq!(find(text.as_bytes()), Model::Known(None), "{text}");
    }
    for bytes in [
        &b"\xff\xfe{"[..],
        b"{\"model\":\"\xff\"}",
        b"\0",
        b"--boundary\r\n",
    ] {
        assert_eq!(find(bytes), Model::Known(None), "{bytes:?}");
    }
}

#[test]
fn the_start_of_an_object_is_incomplete() {
    for text in [
        "",
        " ",
        "{",
        r#"{"mod"#,
        r#"{"model"#,
        r#"{"model""#,
        r#"{"model":"#,
        r#"{"model":"gpt-4"#,
        r#"{"model":"gpt-4\"#,
        r#"{"model":"gpt-4\u00"#,
        r#"{"model":"\ud83d"#,
        r#"{"model":nul"#,
        r#"{"a":-"#,
        r#"{"a":1."#,
        r#"{"a":1e"#,
        r#"{"a":1e+"#,
        r#"{"a":12"#,
        r#"{"a":tr"#,
        r#"{"a":[[[["#,
        r#"{"a":"é"#,
    ] {
        assert_eq!(find(text.as_bytes()), Model::Incomplete, "{text}");
    }
    // Half of a character.
    assert_eq!(find(b"{\"a\":\"\xc3"), Model::Incomplete);
}

#[test]
fn deep_nesting_neither_overflows_the_stack_nor_hides_the_model() {
    let depth = 30_000;
    let nested = format!(
        r#"{{"a":{}{},"model":"m"}}"#,
        "[".repeat(depth),
        "]".repeat(depth)
    );
    assert_eq!(find(nested.as_bytes()), known("m"));
    assert_eq!(find(&nested.as_bytes()[..depth]), Model::Incomplete);
    let objects = r#"{"model":"#.repeat(5_000);
    assert_eq!(find(objects.as_bytes()), Model::Known(None));
}

/// The first field `model` of the whole object, as another parser finds it.
fn first_model(text: &str) -> Option<Scope> {
    struct First(Option<Value>);

    impl<'de> serde_core::Deserialize<'de> for First {
        fn deserialize<D: serde_core::Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde_core::de::Visitor<'de> for Visitor {
                type Value = First;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde_core::de::MapAccess<'de>>(
                    self,
                    mut fields: A,
                ) -> Result<First, A::Error> {
                    let mut first = None;
                    while let Some((name, value)) = fields.next_entry::<String, Value>()? {
                        if name == "model" && first.is_none() {
                            first = Some(value);
                        }
                    }
                    Ok(First(first))
                }
            }
            object.deserialize_map(Visitor)
        }
    }

    let First(first) = serde_json::from_str(text).unwrap();
    Scope::new(first?.as_str()?)
}

proptest! {
    #[test]
    fn what_a_start_says_stays_true_however_the_body_goes_on(text in request()) {
        let whole = find(text.as_bytes());
        prop_assert_eq!(&whole, &Model::Known(first_model(&text)), "{}", text);
        for end in 0..text.len() {
            let start = find(&text.as_bytes()[..end]);
            prop_assert!(start == Model::Incomplete || start == whole, "{end} of {text}: {start:?}");
        }
    }

    #[test]
    fn a_value_that_is_no_object_has_no_scope(text in json()) {
        if !text.trim_start().starts_with('{') {
            prop_assert_eq!(find(text.as_bytes()).or_none(), Model::Known(None));
        }
    }

    #[test]
    fn any_name_of_a_model_is_the_scope_if_it_is_a_valid_one(name in ".{0,140}|[ -~]{0,140}|.{300,2000}") {
        let text = format!(r#"{{"model":{}}}"#, Value::from(&*name));
        prop_assert_eq!(find(text.as_bytes()), Model::Known(Scope::new(&name)));
    }

    #[test]
    fn any_bytes_can_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        find(&bytes);
    }
}
