//! The scope of a request whose path names a model or a deployment.

use super::credentials::percent_decoded;
use crate::pool::Scope;

/// The part of a path that names the scope.
pub(super) type ScopeInPath = fn(&str) -> Option<&str>;

/// The scope that the path names. A name that is no valid scope is ignored.
pub(super) fn scope(path: &str, find: ScopeInPath) -> Option<Scope> {
    // Three bytes encode one.
    const LONGEST: usize = 3 * Scope::MAX_BYTES;

    let name = find(path).filter(|name| name.len() <= LONGEST)?;
    if !name.contains('%') {
        return Scope::new(name);
    }
    let name: Vec<_> = percent_decoded(name.as_bytes()).collect();
    Scope::new(std::str::from_utf8(&name).ok()?)
}

/// `/openai/deployments/DEPLOYMENT/chat/completions`
pub(super) fn azure(path: &str) -> Option<&str> {
    segment_after(path, "deployments")
}

/// `/model/MODEL/converse`
pub(super) fn bedrock(path: &str) -> Option<&str> {
    segment_after(path, "model")
}

/// `/v1beta/models/MODEL:generateContent`
pub(super) fn gemini(path: &str) -> Option<&str> {
    let model = segment_after(path, "models").or_else(|| segment_after(path, "tunedModels"))?;
    Some(without_method(model))
}

/// `/v1/projects/PROJECT/locations/LOCATION/publishers/PUBLISHER/models/MODEL:generateContent`
///
/// The name includes the project and the location, because each of them has its own limits.
pub(super) fn vertex(path: &str) -> Option<&str> {
    let start = path
        .find("/projects/")
        .or_else(|| path.find("/publishers/"));
    let (resource, _method) = path[start? + 1..].rsplit_once(':')?;
    let is_model = resource.contains("/models/") || resource.contains("/endpoints/");
    is_model.then_some(resource)
}

fn segment_after<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let mut segments = path.split('/');
    segments.find(|segment| *segment == name)?;
    segments.next()
}

/// The name of a resource without the method that a colon separates from it.
fn without_method(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(find: ScopeInPath, cases: &[(&str, Option<&str>)]) {
        for (path, expected) in cases {
            let scope = scope(path, find);
            assert_eq!(scope.as_ref().map(Scope::as_str), *expected, "{path}");
        }
    }

    #[test]
    fn azure_names_the_deployment() {
        let cases = [
            (
                "/openai/deployments/gpt-4o/chat/completions",
                Some("gpt-4o"),
            ),
            (
                "/base/openai/deployments/my%2Dmodel/embeddings",
                Some("my-model"),
            ),
            ("/openai/deployments/", None),
            ("/openai/deployments", None),
            ("/openai/v1/chat/completions", None),
            ("/", None),
            ("", None),
        ];
        check(azure, &cases);
    }

    #[test]
    fn bedrock_names_the_model_encoded_or_not() {
        const MODEL: &str = "anthropic.claude-3-5-sonnet-20240620-v1:0";
        const PROFILE: &str = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x-v1:0";
        let cases = [
            (
                "/model/anthropic.claude-3-5-sonnet-20240620-v1:0/invoke",
                Some(MODEL),
            ),
            (
                "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse-stream",
                Some(MODEL),
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.x-v1%3A0/invoke",
                Some(PROFILE),
            ),
            ("/openai/v1/chat/completions", None),
            ("/models/x", None),
        ];
        check(bedrock, &cases);
    }

    #[test]
    fn gemini_names_the_model_without_the_method() {
        let cases = [
            (
                "/v1beta/models/gemini-2.5-pro:generateContent",
                Some("gemini-2.5-pro"),
            ),
            (
                "/v1/models/gemini-2.5-pro:streamGenerateContent",
                Some("gemini-2.5-pro"),
            ),
            ("/v1beta/tunedModels/mine:generateContent", Some("mine")),
            ("/v1beta/models/gemini-2.5-pro", Some("gemini-2.5-pro")),
            ("/v1beta/models/:generateContent", None),
            ("/v1beta/models", None),
            ("/v1beta/openai/chat/completions", None),
        ];
        check(gemini, &cases);
    }

    #[test]
    fn vertex_names_the_resource_without_the_method() {
        const MODEL: &str =
            "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-pro";
        let call = format!("/v1/{MODEL}:generateContent");
        let cases = [
            (&*call, Some(MODEL)),
            (
                "/v1beta1/projects/p/locations/l/endpoints/123:predict",
                Some("projects/p/locations/l/endpoints/123"),
            ),
            (
                "/v1/publishers/google/models/gemini-2.5-pro:generateContent",
                Some("publishers/google/models/gemini-2.5-pro"),
            ),
            (
                "/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
                None,
            ),
            ("/v1/projects/p/locations/l/batchPredictionJobs", None),
            ("/v1/projects/p:method", None),
            ("/projects/", None),
        ];
        check(vertex, &cases);
    }

    #[test]
    fn a_name_that_is_no_valid_scope_is_ignored() {
        for name in [
            "%0A",
            "%FF",
            "%E2%82%AC",
            "%00",
            &"x".repeat(129),
            &"%41".repeat(129),
        ] {
            check(bedrock, &[(&format!("/model/{name}/invoke"), None)]);
        }
        let longest = "%41".repeat(128);
        check(
            bedrock,
            &[(&format!("/model/{longest}/invoke"), Some(&"A".repeat(128)))],
        );
        check(bedrock, &[("/model/50%/invoke", Some("50%"))]);
    }
}
