//! The fields of the Kubernetes manifest exist in the API, and its references lead somewhere.

use std::collections::BTreeSet;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

/// The fields of each type of the API, as far as they make sense here. `:TYPE` is the type of the field or of its
/// items, `:*` a map with any names. Others are plain values.
const TYPES: [(&str, &str); 32] = [
    (
        "Secret",
        "apiVersion kind metadata:ObjectMeta immutable type data:* stringData:*",
    ),
    (
        "ConfigMap",
        "apiVersion kind metadata:ObjectMeta immutable binaryData:* data:*",
    ),
    (
        "Deployment",
        "apiVersion kind metadata:ObjectMeta spec:DeploymentSpec",
    ),
    (
        "Service",
        "apiVersion kind metadata:ObjectMeta spec:ServiceSpec",
    ),
    (
        "NetworkPolicy",
        "apiVersion kind metadata:ObjectMeta spec:NetworkPolicySpec",
    ),
    ("ObjectMeta", "name namespace labels:* annotations:*"),
    (
        "DeploymentSpec",
        "minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit selector:LabelSelector \
         strategy:DeploymentStrategy template:PodTemplateSpec",
    ),
    ("DeploymentStrategy", "type rollingUpdate:RollingUpdate"),
    ("RollingUpdate", "maxSurge maxUnavailable"),
    ("LabelSelector", "matchLabels:*"),
    ("PodTemplateSpec", "metadata:ObjectMeta spec:PodSpec"),
    (
        "PodSpec",
        "automountServiceAccountToken containers:Container nodeSelector:* priorityClassName restartPolicy \
         securityContext:PodSecurityContext serviceAccountName terminationGracePeriodSeconds volumes:Volume",
    ),
    (
        "PodSecurityContext",
        "fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser seccompProfile:SeccompProfile \
         supplementalGroups",
    ),
    ("SeccompProfile", "localhostProfile type"),
    (
        "Container",
        "args command env:EnvVar envFrom image imagePullPolicy lifecycle livenessProbe:Probe name \
         ports:ContainerPort readinessProbe:Probe resources:Resources securityContext:SecurityContext \
         startupProbe:Probe volumeMounts:VolumeMount workingDir",
    ),
    ("EnvVar", "name value valueFrom:EnvVarSource"),
    ("EnvVarSource", "configMapKeyRef:KeyRef secretKeyRef:KeyRef"),
    ("KeyRef", "key name optional"),
    (
        "ContainerPort",
        "containerPort hostIP hostPort name protocol",
    ),
    (
        "Probe",
        "failureThreshold httpGet:HttpGet initialDelaySeconds periodSeconds successThreshold tcpSocket:TcpSocket \
         terminationGracePeriodSeconds timeoutSeconds",
    ),
    ("HttpGet", "host httpHeaders path port scheme"),
    ("TcpSocket", "host port"),
    ("Resources", "limits:* requests:*"),
    (
        "SecurityContext",
        "allowPrivilegeEscalation capabilities:Capabilities privileged procMount readOnlyRootFilesystem runAsGroup \
         runAsNonRoot runAsUser seccompProfile:SeccompProfile",
    ),
    ("Capabilities", "add drop"),
    (
        "VolumeMount",
        "mountPath mountPropagation name readOnly subPath",
    ),
    (
        "Volume",
        "configMap:ConfigMapVolume emptyDir name secret:SecretVolume",
    ),
    (
        "ConfigMapVolume",
        "defaultMode items:KeyToPath name optional",
    ),
    (
        "SecretVolume",
        "defaultMode items:KeyToPath optional secretName",
    ),
    ("KeyToPath", "key mode path"),
    (
        "ServiceSpec",
        "clusterIP externalTrafficPolicy ports:ServicePort selector:* sessionAffinity type",
    ),
    (
        "ServicePort",
        "appProtocol name nodePort port protocol targetPort",
    ),
];

/// The types of network policies.
const POLICY_TYPES: [(&str, &str); 4] = [
    (
        "NetworkPolicySpec",
        "ingress:IngressRule podSelector:LabelSelector policyTypes",
    ),
    ("IngressRule", "from:Peer ports:PolicyPort"),
    (
        "Peer",
        "namespaceSelector:LabelSelector podSelector:LabelSelector",
    ),
    ("PolicyPort", "endPort port protocol"),
];

fn manifest() -> Vec<Yaml> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes.yaml");
    YamlLoader::load_from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The type of a field, which is empty for a plain value, or an error for an unknown field.
fn type_of(field: &str, of: &str) -> Result<&'static str, String> {
    let mut types = TYPES.iter().chain(&POLICY_TYPES);
    let (_, fields) = types.find(|(name, _)| *name == of).ok_or(of)?;
    let mut fields = fields
        .split_whitespace()
        .map(|it| it.split_once(':').unwrap_or((it, "")));
    let found = fields.find(|(name, _)| *name == field);
    found
        .map(|(_, kind)| kind)
        .ok_or_else(|| format!("{of} has no field {field}"))
}

/// Checks the fields of a value of this type.
fn check(value: &Yaml, of: &str) -> Result<(), String> {
    match value {
        Yaml::Array(items) => items.iter().try_for_each(|item| check(item, of)),
        Yaml::Hash(fields) if of == "*" => fields.values().try_for_each(|value| check(value, "")),
        Yaml::Hash(fields) => fields.iter().try_for_each(|(name, value)| {
            check(
                value,
                type_of(name.as_str().ok_or("a name is no text")?, of)?,
            )
        }),
        _ if of.is_empty() => Ok(()),
        _ => Err(format!("expected {of}: {value:?}")),
    }
}

#[test]
fn all_fields_exist() {
    for document in manifest() {
        check(&document, document["kind"].as_str().unwrap()).unwrap();
    }
}

#[test]
fn a_wrong_field_is_found() {
    for text in [
        "kind: Service\nspec:\n  port: []",
        "kind: Service\nspec: 1",
        "kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n        - name: a\n          arguments: []",
        "kind: Services",
    ] {
        let document = &YamlLoader::load_from_str(text).unwrap()[0];
        assert!(
            check(document, document["kind"].as_str().unwrap()).is_err(),
            "{text}"
        );
    }
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
