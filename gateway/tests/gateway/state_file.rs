//! The state of the keys survives a restart.

#[cfg(feature = "serde")]
mod kept {
    use std::fs;
    use std::path::Path;

    use crate::support::{
        Directory, GOOD, Gateway, LIMITED, REVOKED, Upstream, gateway, post, send, until, upstream,
        with,
    };

    async fn start(upstream: &Upstream, state: &Path) -> Gateway {
        let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
        let gateway = gateway.admin().admin_token();
        let gateway = gateway.args(["--state-file", state.to_str().unwrap()]);
        gateway.listen().await
    }

    fn assert_no_key(state: &Path) {
        let text = fs::read_to_string(state).unwrap();
        for part in ["canary", "1111", "2222", "3333"] {
            assert!(
                !text.contains(&format!("{part}\"")) && !text.contains("sk-"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_restart_keeps_all_marks() {
        let (upstream, directory) = (upstream().await, Directory::new());
        let state = directory.path("state");
        let first = start(&upstream, &state).await;
        send(post(&first.url("/"))).await;
        first.change("/keys/2/disable").await;
        first.signal("TERM").await;
        assert_eq!(first.ended().await.status.code(), Some(0));
        assert_no_key(&state);

        let second = start(&upstream, &state).await;

        assert_eq!(
            second.states().await,
            ["permanent", "temporary", "permanent"]
        );
        assert_eq!(second.keys().await[1]["last_reason"], "rate_limited");
        second.prints("restored the state of 3 keys\n").await;
        assert_eq!(directory.names(), ["state"]);
    }

    #[tokio::test]
    async fn the_state_file_is_written_while_the_gateway_runs() {
        let (upstream, directory) = (upstream().await, Directory::new());
        let state = directory.path("state");
        let first = start(&upstream, &state).await;
        send(post(&first.url("/"))).await;
        // A killed process cannot write at the end.
        until(async || {
            fs::read_to_string(&state)
                .unwrap()
                .matches("fingerprint")
                .count()
                == 2
        })
        .await;
        first.signal("KILL").await;
        first.ended().await;
        fs::write(directory.path("state.new"), "cut o").unwrap();

        let second = start(&upstream, &state).await;

        assert_eq!(second.states().await, ["permanent", "temporary", "valid"]);
        assert_eq!(directory.names(), ["state"]);
    }

    #[tokio::test]
    async fn a_mark_of_a_scope_is_written_while_the_gateway_runs() {
        let (upstream, directory) = (upstream().await, Directory::new());
        let state = directory.path("state");
        let start = async || {
            let gateway = gateway("openai", &upstream.url).keys([LIMITED]).admin();
            let state = state.to_str().unwrap();
            let gateway = gateway.args(["--state-file", state, "--scope", "header:x-model"]);
            gateway.listen().await
        };
        let first = start().await;
        send(with(post(&first.url("/")), "x-model", "slow")).await;
        assert_eq!(first.states().await, ["valid"]);

        until(async || fs::read_to_string(&state).unwrap().contains("slow")).await;

        first.signal("KILL").await;
        first.ended().await;
        let second = start().await;
        let scope = &second.keys().await[0]["scopes"][0];
        assert_eq!(
            (&scope["scope"], &scope["state"]),
            (&"slow".into(), &"temporary".into())
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_can_read_the_state_file() {
        use std::os::unix::fs::PermissionsExt;

        let (upstream, directory) = (upstream().await, Directory::new());
        let state = directory.path("state");
        let _gateway = start(&upstream, &state).await;

        assert_eq!(
            fs::metadata(state).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[tokio::test]
    async fn a_damaged_state_file_is_renamed_and_reported() {
        for text in [
            "",
            "{\"version\":",
            "{\"version\":99}",
            "\u{1f}",
            "\"sk-canary\"",
        ] {
            let (upstream, directory) = (upstream().await, Directory::new());
            let state = directory.path("state");
            fs::write(&state, text).unwrap();

            let gateway = start(&upstream, &state).await;

            gateway.prints("because it is damaged").await;
            assert!(!gateway.stderr().contains("canary"), "{}", gateway.stderr());
            assert_eq!(gateway.states().await, ["valid"; 3]);
            let names = directory.names();
            assert!(
                names.len() == 2 && names[1].starts_with("state.damaged-"),
                "{names:?}"
            );
            assert_eq!(fs::read_to_string(directory.path(&names[1])).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn a_state_file_that_cannot_be_written_is_rejected_at_start() {
        let gateway = gateway("openai", "http://127.0.0.1:9").keys([GOOD]);
        let line = gateway
            .args(["--state-file", "/nowhere/state"])
            .refused()
            .await;
        assert!(line.contains("--state-file: No such file"), "{line}");
    }
}

#[cfg(not(feature = "serde"))]
#[tokio::test]
async fn a_build_without_state_files_reports_it() {
    let gateway = crate::support::gateway("openai", "http://127.0.0.1:9").keys(["a-key"]);
    let line = gateway.args(["--state-file", "state"]).refused().await;
    assert!(line.contains("--features serde"), "{line}");
}
