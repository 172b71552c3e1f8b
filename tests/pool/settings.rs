//! The settings of keys, groups and the selection, and which of them a pool rejects.

use tower_key_failover::pool::{BuildError, KeyPool, KeyPoolBuilder, NewKey, Selection};

fn rejected(set: impl FnOnce(KeyPoolBuilder) -> KeyPoolBuilder) -> String {
    let builder = set(KeyPool::builder().key("k0").key("k1"));
    builder.build().unwrap_err().to_string()
}

#[test]
fn settings_out_of_range_are_rejected_with_what_to_do() {
    for (message, expected) in [
        (
            rejected(|pool| pool.weight(0)),
            "position 1 is set up wrong: its weight is 0: set it to 1 or more",
        ),
        (
            rejected(|pool| pool.weight(1001)),
            "its weight is above 1000: weights are relative, so divide all",
        ),
        (
            rejected(|pool| pool.weight(u32::MAX)),
            "its weight is above 1000",
        ),
        (
            rejected(|pool| pool.labeled_key("", "k2")),
            "position 2 is set up wrong: its label is empty: name it, or leave it out",
        ),
        (
            rejected(|pool| pool.group("")),
            "its group is empty: name it, or leave it out",
        ),
        (
            rejected(|pool| pool.tier(0)),
            "its tier is 0: the first tier is 1",
        ),
        (
            rejected(|pool| pool.max_in_flight(0)),
            "its max_in_flight is 0: set it to 1 or more",
        ),
        (
            rejected(|pool| pool.cache_domain("")),
            "its cache_domain is empty: name it, or leave it out",
        ),
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn contradictory_caps_of_groups_are_rejected_with_what_to_do() {
    let group =
        |cap| move |pool: KeyPoolBuilder| pool.group("acme").group_max_in_flight("acme", cap);
    for (message, expected) in [
        (
            rejected(group(0)),
            "\"acme\" is set up wrong: its max_in_flight is 0",
        ),
        (
            rejected(|pool| pool.group_max_in_flight("acme", 3)),
            "no key: put a key into the group, or remove the cap",
        ),
        (
            rejected(|pool| group(3)(pool.max_in_flight(4))),
            "greater max_in_flight than the group: lower that one",
        ),
    ] {
        assert!(message.contains(expected), "{message}");
    }
    let builder = KeyPool::builder().key("k0").max_in_flight(3);
    group(3)(builder).build().unwrap();
}

#[test]
fn a_setting_before_any_key_is_rejected() {
    let settings: [fn(KeyPoolBuilder) -> KeyPoolBuilder; 6] = [
        |pool| pool.group("acme"),
        |pool| pool.weight(2),
        |pool| pool.tier(2),
        |pool| pool.max_in_flight(2),
        |pool| pool.cache_domain("acme"),
        |pool| pool.extension("eu-west-1"),
    ];
    let names = [
        "group",
        "weight",
        "tier",
        "max_in_flight",
        "cache_domain",
        "extension",
    ];
    for (set, name) in settings.into_iter().zip(names) {
        let error = set(KeyPool::builder()).key("k0").build().unwrap_err();
        assert!(
            matches!(&error, BuildError::SettingWithoutKey { setting, .. } if *setting == name)
        );
        assert!(error.to_string().contains("add a key before it"), "{error}");
    }
}

#[test]
fn a_reload_with_an_invalid_setting_changes_nothing() {
    let pool = KeyPool::new(["k0", "k1"]).unwrap();
    let error = pool.replace_keys([NewKey::new("k2"), NewKey::new("k3").weight(0)]);
    assert!(matches!(
        error.unwrap_err(),
        BuildError::InvalidSetting { position: 1, .. }
    ));
    let error = pool.add_key(NewKey::new("k2").tier(0));
    assert!(matches!(
        error.unwrap_err(),
        BuildError::InvalidSetting { position: 2, .. }
    ));
    let secrets: Vec<_> = pool
        .keys()
        .map(|key| key.expose_secret().to_owned())
        .collect();
    assert_eq!(secrets, ["k0", "k1"]);
}

#[test]
fn weights_are_accepted_with_every_selection() {
    for selection in [
        Selection::in_order(),
        Selection::round_robin(),
        Selection::weighted(),
        Selection::least_in_flight(),
    ] {
        let pool = KeyPool::builder()
            .key("k0")
            .weight(1000)
            .key("k1")
            .weight(1)
            .selection(selection)
            .build()
            .unwrap();
        assert_eq!(pool.selection(), selection);
        assert_eq!(Selection::named(selection.as_str()), Some(selection));
    }
}

#[test]
fn a_key_has_one_extension_of_each_type() {
    #[derive(Debug, PartialEq)]
    struct Region(&'static str);

    let pool = KeyPool::builder()
        .key("k0")
        .extension(Region("us"))
        .extension(7_u16)
        .extension(Region("eu"))
        .key("k1")
        .build()
        .unwrap();
    let keys: Vec<_> = pool.keys().collect();
    assert_eq!(keys[0].extension(), Some(&Region("eu")));
    assert_eq!(keys[0].extension(), Some(&7_u16));
    assert_eq!(keys[0].extension::<String>(), None);
    assert_eq!(keys[1].extension::<Region>(), None);

    // A new list of keys brings its own.
    pool.replace_keys([NewKey::new("k0").extension(Region("ap"))])
        .unwrap();
    let key = pool.keys().next().unwrap();
    assert_eq!(key.extension(), Some(&Region("ap")));
    assert_eq!(key.extension::<u16>(), None);
}

#[test]
fn neither_secrets_nor_extensions_are_printed() {
    let key = NewKey::new("sk-very-secret-0123456789").extension(String::from("extension-secret"));
    let builder = KeyPool::builder()
        .key("sk-other-secret-0123456")
        .extension("extension-secret");
    for text in [format!("{key:?}"), format!("{builder:?}")] {
        assert!(!text.contains("secret-"), "{text}");
        assert!(!text.contains("extension-secret"), "{text}");
    }
}
