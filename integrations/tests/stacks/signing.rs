//! The signer of the Bedrock example, against what AWS publishes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;

use self::example::{Scope, is_signed, sign};

#[allow(dead_code)]
#[path = "../../examples/bedrock_sigv4.rs"]
mod example;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const CREDENTIAL: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// 2015-08-30, 12:36:00 UTC.
fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_440_938_160)
}

const IAM: Scope = Scope {
    region: "us-east-1",
    service: "iam",
};

fn list_users() -> Request<Bytes> {
    Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
        .header("host", "iam.amazonaws.com")
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(Bytes::new())
        .unwrap()
}

/// "Signature Version 4 signing process", of the AWS General Reference.
#[test]
fn the_signature_matches_the_example_in_awss_documentation() {
    let mut request = list_users();
    sign(&mut request, CREDENTIAL, IAM, moment()).unwrap();

    assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
    assert_eq!(
        request.headers()["authorization"],
        "AWS4-HMAC-SHA256 \
         Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

/// `get-vanilla` of the Signature Version 4 test suite.
#[test]
fn the_signature_matches_awss_test_suite() {
    let request = Request::get("https://example.amazonaws.com/");
    let request = request.header("host", "example.amazonaws.com");
    let mut request = request.body(Bytes::new()).unwrap();
    let service = "service";
    sign(&mut request, CREDENTIAL, Scope { service, ..IAM }, moment()).unwrap();

    assert_eq!(
        request.headers()["authorization"],
        "AWS4-HMAC-SHA256 \
         Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=host;x-amz-date, \
         Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
}

fn accepts(request: &Request<Bytes>, secret: &str) -> bool {
    let (head, body) = request.clone().into_parts();
    is_signed(&head, &body, secret, IAM)
}

#[test]
fn a_verifier_with_the_secret_accepts_the_signature() {
    let mut request = list_users();
    sign(&mut request, CREDENTIAL, IAM, moment()).unwrap();

    assert!(accepts(&request, SECRET));
    assert!(!accepts(&request, "another secret"));
    *request.body_mut() = Bytes::from("something else");
    assert!(!accepts(&request, SECRET));
}

#[test]
fn a_verifier_accepts_a_signed_path_with_escapes() {
    let mut request = list_users();
    *request.uri_mut() = "https://iam.amazonaws.com/model/a%2Fb:0/converse"
        .parse()
        .unwrap();
    sign(&mut request, CREDENTIAL, IAM, moment()).unwrap();

    assert!(accepts(&request, SECRET));
}

#[test]
fn a_session_token_is_sent_and_signed() {
    let mut request = list_users();
    let credential = format!("{CREDENTIAL}:a/session+token");
    sign(&mut request, &credential, IAM, moment()).unwrap();

    assert_eq!(request.headers()["x-amz-security-token"], "a/session+token");
    assert!(accepts(&request, SECRET));
}

#[test]
fn a_malformed_credential_is_an_error_that_does_not_contain_it() {
    let error = sign(&mut list_users(), "no-credential", IAM, moment()).unwrap_err();

    assert!(!error.to_string().contains("no-credential"));
}
