//! The conformance cases in `tests/conformance`.

use serde_json::Value;

/// Cases for single functions, by the function's name.
pub fn unit_cases() -> Value {
    parse(include_str!("../../tests/conformance/unit_cases.json"))
}

/// Whole requests: what the provider responds, and what the caller and the pool see.
pub fn failover_cases() -> Value {
    parse(include_str!("../../tests/conformance/failover_cases.json"))
}

/// Responses of real providers, and what each means for the key.
pub fn provider_vectors() -> Value {
    let suite = include_str!("../../tests/conformance/provider_vectors.json");
    let further = include_str!("../../tests/conformance/further_provider_vectors.json");
    let vectors = [suite, further].map(parse);
    let vectors = vectors.iter().filter_map(Value::as_array).flatten();
    vectors.cloned().collect()
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}
