//! The layer over an inner service, with a caller that keeps its instance.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::poll;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_key_failover::pool::KeyState;
use tower_key_failover::{BoxError, KeyFailover, KeyFailoverLayer, KeyPool, ResponseBody};

use crate::contract::inner::{Inner, Make};
use crate::contract::provider::{Does, Provider, Ready, Reply, Upload};
use crate::contract::strict::Strict;
use test_support::mock::layer;
use test_support::policy::TestPolicy;

pub type Stack = KeyFailover<Strict<Inner>, TestPolicy>;
pub type Answer = Result<Response<ResponseBody<Reply>>, BoxError>;
pub type Call = Pin<Box<<Stack as Service<Request<Upload>>>::Future>>;

pub struct Bench {
    pub stack: Stack,
    pub provider: Provider,
    pub pool: Arc<KeyPool>,
}

impl Bench {
    /// With a key for each thing that the provider does.
    pub fn new(make: Make, script: &[Does]) -> Self {
        Self::with_readiness(make, script, &[])
    }

    pub fn with_readiness(make: Make, script: &[Does], readiness: &[Ready]) -> Self {
        Self::with_layer(make, script, readiness, |layer| layer)
    }

    /// Whose requests wait for a key to return.
    pub fn patient(make: Make, script: &[Does]) -> Self {
        Self::with_layer(make, script, &[], |layer| {
            layer.wait_for_key(Duration::from_secs(10))
        })
    }

    fn with_layer(
        make: Make,
        script: &[Does],
        readiness: &[Ready],
        configure: fn(KeyFailoverLayer<TestPolicy>) -> KeyFailoverLayer<TestPolicy>,
    ) -> Self {
        let provider = Provider::new(script, readiness);
        let keys = (0..script.len()).map(|position| format!("k{position}"));
        let pool = Arc::new(KeyPool::new(keys).unwrap());
        let stack = configure(layer(&pool)).layer(Strict::new(make(provider.clone())));
        Self {
            stack,
            provider,
            pool,
        }
    }

    pub fn request(&self) -> Request<Upload> {
        Request::new(Upload::new(&self.provider))
    }

    /// Begins a request.
    pub async fn call(&mut self) -> Call {
        let request = self.request();
        let ready = within_a_minute(self.stack.ready()).await.unwrap();
        Box::pin(ready.call(request))
    }

    pub async fn ask(&mut self) -> Answer {
        let call = self.call().await;
        within_a_minute(call).await
    }

    /// The states of the keys, in a letter each.
    pub fn states(&self) -> String {
        let letter = |state| match state {
            KeyState::Valid => 'v',
            KeyState::Temporary { .. } => 't',
            _ => 'p',
        };
        self.pool.states().into_iter().map(letter).collect()
    }

    /// Nothing of earlier requests is left: no future, no body, and nothing that would keep others
    /// from passing while this instance of the service is kept.
    pub async fn assert_free(&self, after: &str) {
        // A buffer's worker lets go in a task of its own.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.provider.alive(), 0, "something is alive after {after}");
        self.assert_passes(after).await;
    }

    /// A request with a key of its own is held up by nothing.
    pub async fn assert_passes(&self, after: &str) {
        let mut request = self.request();
        let own = "the-callers-own".parse().unwrap();
        request.headers_mut().insert("x-key", own);
        let passed = within_a_minute(self.stack.clone().oneshot(request)).await;
        let passed = passed.unwrap_or_else(|error| panic!("after {after}: {error}"));
        assert_eq!(passed.status(), 200, "after {after}");
    }
}

/// Polls a call until the provider was called so many times, and then as long as anything moves.
pub async fn drive(call: &mut Call, provider: &Provider, calls: usize) {
    let mut settled = 0;
    for _ in 0..100 {
        if provider.calls() == calls {
            settled += 1;
        }
        if settled == 10 {
            return;
        }
        let polled = poll!(&mut *call);
        assert!(
            polled.is_pending(),
            "the call ends before {calls} calls of the provider"
        );
        assert!(provider.calls() <= calls, "too many calls of the provider");
        // Lets other tasks run, and a limited rate have its next turn.
        tokio::time::advance(Duration::from_millis(15)).await;
    }
    panic!(
        "{} calls of the provider instead of {calls}",
        provider.calls()
    );
}

/// Fails instead of hanging. Time is paused, and passes only when nothing else happens.
pub async fn within_a_minute<T>(future: impl Future<Output = T>) -> T {
    let timeout = tokio::time::timeout(Duration::from_secs(60), future).await;
    timeout.expect("nothing happens any more")
}
