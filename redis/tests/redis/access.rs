//! TLS, passwords and rights.

use std::process::Command;

use tower_key_failover_redis::SharingState;

use crate::replica::{Replica, builder, fast, two_fast_replicas};
use crate::server;
use crate::server::{PASSWORD, Server, version};

#[tokio::test]
async fn a_server_with_a_password_serves_replicas() {
    let server = server!("--requirepass", PASSWORD);
    let (one, other) = two_fast_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
}

#[tokio::test]
async fn a_user_with_the_rights_of_the_guide_is_enough() {
    let server = server!();
    let guide = include_str!("../../src/docs/guide.md");
    let rights = guide
        .split("```text")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let rights: Vec<_> = rights
        .split_whitespace()
        .filter(|word| *word != "\\")
        .filter(|word| version() >= (6, 2) || *word != "resetchannels" && !word.starts_with('&'))
        .collect();
    assert_eq!(server.run(&rights), "OK");
    for protocol in ["resp3", "resp2"] {
        let user = format!(
            "redis://failover:password@{}/?protocol={protocol}",
            server.addr()
        );
        let (one, other) = (
            Replica::fast(&user).await,
            Replica::fast(&server.url()).await,
        );
        assert!(one.sharing.status().is_subscribed);
        let at = usize::from(protocol == "resp2");
        one.cool_down(at, 30);
        other.cools_down(at, 30).await;
        other.cool_down(at, 60);
        one.cools_down(at, 60).await;
        assert_eq!(one.sharing.status().rejected, 0);
    }
}

/// Runs the next test in a process that trusts the certificate of its server.
#[test]
fn replicas_connect_with_tls_to_a_server_that_they_trust() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder =
        std::env::temp_dir().join(format!("tower-key-failover-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "access::replicas_of_a_process_that_trusts",
            "--ignored",
            "--nocapture",
        ])
        .env("SSL_CERT_FILE", &cert)
        .env("TEST_TLS_FOLDER", &folder)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    println!("{printed}");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[ignore = "another test runs it"]
#[tokio::test]
async fn replicas_of_a_process_that_trusts() {
    let Ok(folder) = std::env::var("TEST_TLS_FOLDER") else {
        return;
    };
    let (cert, key) = (format!("{folder}/cert.pem"), format!("{folder}/key.pem"));
    let port = crate::server::free_port().to_string();
    let tls = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
    ];
    let tls = tls
        .into_iter()
        .chain(["--tls-auth-clients", "no", "--requirepass", PASSWORD]);
    let tls: Vec<_> = tls.map(str::to_owned).collect();
    let tls: Vec<&dyn AsRef<str>> = tls.iter().map(|text| text as &dyn AsRef<str>).collect();
    let Some(_server) = Server::start(&tls) else {
        println!("skipped: no redis-server with TLS in PATH");
        return;
    };
    let url = format!("rediss://:{PASSWORD}@127.0.0.1:{port}/");
    let (one, other) = (Replica::fast(&url).await, Replica::fast(&url).await);
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    // A name that is not in the certificate.
    let wrong = Replica::of(
        fast(&format!("rediss://:{PASSWORD}@localhost:{port}/")),
        builder(),
    );
    wrong.reaches(SharingState::Disconnected).await;
}
