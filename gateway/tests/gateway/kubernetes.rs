//! What the Kubernetes manifest refers to exists. `gateway/tests/deploy/run` validates its fields.

use std::collections::BTreeSet;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

fn manifest() -> Vec<Yaml> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes.yaml");
    YamlLoader::load_from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The texts of this field anywhere below a value.
fn texts<'a>(value: &'a Yaml, field: &str) -> BTreeSet<&'a str> {
    match value {
        Yaml::Array(items) => items.iter().flat_map(|item| texts(item, field)).collect(),
        Yaml::Hash(fields) => {
            let own = value[field].as_str().into_iter();
            own.chain(fields.values().flat_map(|value| texts(value, field)))
                .collect()
        }
        _ => BTreeSet::new(),
    }
}

#[test]
fn ports_volumes_keys_and_labels_that_are_used_exist() {
    let documents = manifest();
    let [secret, config, deployment, service, policy] = &documents[..] else {
        panic!("{documents:?}");
    };
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let ports = texts(&container["ports"], "name");
    for used in [container, policy] {
        assert!(texts(used, "port").is_subset(&ports), "{used:?}");
    }
    assert!(texts(service, "targetPort").is_subset(&ports));
    let volumes = texts(&pod["spec"]["volumes"], "name");
    assert!(texts(&container["volumeMounts"], "name").is_subset(&volumes));

    let names = BTreeSet::from([secret, config].map(|it| it["metadata"]["name"].as_str().unwrap()));
    for field in ["secretName", "name"] {
        for volume in pod["spec"]["volumes"].as_vec().unwrap() {
            let used = texts(&volume["secret"], field);
            assert!(used.is_subset(&names), "{used:?}");
            let used = texts(&volume["configMap"], field);
            assert!(used.is_subset(&names), "{used:?}");
        }
    }
    for key in texts(&pod["spec"], "key") {
        assert!(secret["stringData"][key].as_str().is_some(), "{key}");
    }
    let labels = &pod["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&service["spec"]["selector"], labels);
    assert_eq!(&policy["spec"]["podSelector"]["matchLabels"], labels);
}
