//! What is logged, and when nothing is.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use test_support::mock::{Body, layer, request};
use test_support::policy::TestPolicy;
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

#[derive(Clone, Debug)]
struct Told {
    level: Level,
    target: String,
    /// Its spans, the outermost first.
    spans: Vec<&'static str>,
    fields: Fields,
}

impl Told {
    fn message(&self) -> &str {
        self.fields.get("message").unwrap()
    }
}

/// All that is logged in this thread, down to the last trace.
#[derive(Clone, Debug, Default)]
struct Log {
    /// Apart from the picks.
    events: Arc<Mutex<Vec<Told>>>,
    /// Which key each attempt used.
    picks: Arc<Mutex<Vec<Told>>>,
    /// Spans that have ended.
    spans: Arc<Mutex<Vec<Told>>>,
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        crate::keep_a_second_subscriber();
        let log = Self::default();
        let subscriber = tracing_subscriber::registry().with(log.clone());
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn events(&self) -> Vec<Told> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    fn spans(&self) -> Vec<Told> {
        std::mem::take(&mut self.spans.lock().unwrap())
    }

    fn messages(&self) -> Vec<String> {
        let events = self.events();
        events
            .iter()
            .map(|told| told.message().to_owned())
            .collect()
    }
}

impl<S> tracing_subscriber::Layer<S> for Log
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let scope = context.event_scope(event).into_iter();
        let told = Told {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            spans: scope
                .flat_map(|scope| scope.from_root().map(|span| span.name()))
                .collect(),
            fields,
        };
        let events = match told.message() {
            "key picked" => &self.picks,
            _ => &self.events,
        };
        events.lock().unwrap().push(told);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let told = Told {
            level: *span.metadata().level(),
            target: span.metadata().target().to_owned(),
            spans: span.scope().from_root().map(|span| span.name()).collect(),
            fields: span.extensions().get::<Fields>().cloned().unwrap(),
        };
        self.spans.lock().unwrap().push(told);
    }
}

fn pool<const N: usize>(keys: [&'static str; N]) -> Arc<KeyPool> {
    let builder = KeyPool::builder().name("p");
    let keys = keys
        .into_iter()
        .fold(builder, |builder, key| builder.labeled_key(&key[..3], key));
    Arc::new(keys.build().unwrap())
}

/// Sends a request to a provider that reads it, takes a while, logs that, and responds to each key
/// with the status that the key begins with. 999 means no response.
async fn send(
    layer: &KeyFailoverLayer<TestPolicy>,
    body: &'static str,
) -> Result<u16, &'static str> {
    let provider = service_fn(|request: Request<RequestBody<Body>>| async move {
        tracing::trace!("called");
        let status = test_support::mock::key_of(&request)[..3].to_owned();
        let _ = request.into_body().collect().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        tracing::trace!(status, "responses");
        if status == "999" {
            return Err("no response");
        }
        let response = Response::builder()
            .status(status.as_str())
            .header("retry-after", "5");
        Ok(response.body(Body::default()).unwrap())
    });
    Ok(layer
        .layer(provider)
        .oneshot(request(body))
        .await?
        .status()
        .as_u16())
}

fn ours(told: Vec<Told>) -> Vec<Told> {
    told.into_iter()
        .filter(|told| told.target == "tower_key_failover")
        .collect()
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_logged_with_its_key_and_the_reason_for_it_at_debug() {
    let (log, _guard) = Log::start();
    let layer = layer(&pool(["429", "200"]));
    assert_eq!(send(&layer, "hello").await, Ok(200));
    let picks = std::mem::take(&mut *log.picks.lock().unwrap());
    let said = |told: &Told| {
        assert_eq!(
            (told.level, &*told.target),
            (Level::DEBUG, "tower_key_failover")
        );
        let fields = ["provider", "key.label", "attempt", "picked_by"];
        fields.map(|name| told.fields.get(name).unwrap().to_owned())
    };
    assert_eq!(
        picks.iter().map(said).collect::<Vec<_>>(),
        [
            ["p", "429", "1", "selection"],
            ["p", "200", "2", "selection"]
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_succeeds_with_the_first_key_is_logged_as_nothing_but_its_pick() {
    let (log, _guard) = Log::start();
    let pool = pool(["200", "201"]);
    let layer = layer(&pool).timings(true).extensions(true);
    assert_eq!(send(&layer, "hello").await, Ok(200));
    assert_eq!(send(&layer, "").await, Ok(200));
    assert_eq!(
        send(
            &test_support::mock::layer(&test_support::mock::pool(["500"])),
            ""
        )
        .await,
        Ok(500)
    );
    // Nor one with its caller's own key.
    let provider = service_fn(|_| async { Ok::<_, Infallible>(test_support::mock::response(401)) });
    let mut own = request("");
    own.headers_mut().insert("x-key", "429".parse().unwrap());
    assert_eq!(
        layer.layer(provider).oneshot(own).await.unwrap().status(),
        401
    );

    let events = log.events();
    assert!(
        events.iter().all(|told| told.spans.is_empty()),
        "{events:#?}"
    );
    assert_eq!(ours(events).len(), 0);
    assert_eq!(log.spans().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_a_span_around_the_later_attempts() {
    let (log, _guard) = Log::start();
    let layer = layer(&pool([
        "429-limited-0123456789",
        "401-revoked-0123456789",
        "200-good",
    ]));
    let caller = tracing::info_span!("caller");
    assert_eq!(send(&layer, "hello").instrument(caller).await, Ok(200));

    let events = log.events();
    let told: Vec<_> = events
        .iter()
        .map(|told| (told.message(), &told.spans[..]))
        .collect();
    let (outside, inside) = (&["caller"][..], &["caller", "key failover"][..]);
    assert_eq!(
        told,
        [
            ("called", outside),
            ("responses", outside),
            ("key marked temporary", inside),
            ("called", inside),
            ("responses", inside),
            ("key marked permanent", inside),
            ("called", inside),
            ("responses", inside),
        ]
    );

    let marks = ours(events);
    let fields = &marks[0].fields;
    assert_eq!(marks[0].level, Level::INFO);
    for (name, value) in [
        ("provider", "p"),
        ("key.hint", "429-...6789"),
        ("key.label", "429"),
        ("http.response.status_code", "429"),
        ("reason", "rate_limited"),
        ("cooldown", "5s"),
        ("extended", "false"),
    ] {
        assert_eq!(fields.get(name), Some(value), "{name}");
    }
    let fields = &marks[1].fields;
    assert_eq!(marks[1].level, Level::WARN);
    for (name, value) in [
        ("provider", "p"),
        ("key.hint", "401-...6789"),
        ("http.response.status_code", "401"),
        ("reason", "unauthorized"),
    ] {
        assert_eq!(fields.get(name), Some(value), "{name}");
    }

    let spans = ours(log.spans());
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].level, &spans[0].spans[..]), (Level::INFO, inside));
    let fields = &spans[0].fields;
    assert_eq!(fields.get("provider"), Some("p"));
    assert_eq!(fields.get("http.request.resend_count"), Some("2"));
    assert_eq!(fields.get("http.response.status_code"), Some("200"));
    assert_eq!(fields.get("error.type"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_a_name_logs_no_provider() {
    let (log, _guard) = Log::start();
    let pool = Arc::new(KeyPool::new(["429-0123456789", "401-0123456789"]).unwrap());
    assert_eq!(send(&layer(&pool), "hello").await, Ok(429));
    let (events, spans) = (ours(log.events()), ours(log.spans()));
    assert_eq!((events.len(), spans.len()), (3, 1));
    for told in events.iter().chain(&spans) {
        assert_eq!(told.fields.get("provider"), None, "{}", told.message());
    }
}

#[tokio::test(start_paused = true)]
async fn the_span_is_exited_while_the_request_waits() {
    let (log, _guard) = Log::start();
    let layer = layer(&pool(["429", "200"]));
    let elsewhere = async {
        for _ in 0..20 {
            tracing::info!("elsewhere");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (response, ()) = tokio::join!(send(&layer, "hello"), elsewhere);
    assert_eq!(response, Ok(200));
    let events = log.events();
    let mut elsewhere = events.iter().filter(|told| told.message() == "elsewhere");
    assert!(elsewhere.all(|told| told.spans.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn exhaustion_is_a_warning_and_an_error_of_the_span() {
    let (log, _guard) = Log::start();
    let layer = layer(&pool(["429"]));
    assert_eq!(send(&layer, "").await, Ok(429));
    let events = ours(log.events());
    let told: Vec<_> = events
        .iter()
        .map(|told| (told.message(), told.level))
        .collect();
    assert_eq!(
        told,
        [
            ("key marked temporary", Level::INFO),
            ("key pool exhausted", Level::WARN)
        ]
    );
    assert_eq!(events[1].spans, ["key failover"]);
    assert_eq!(events[1].fields.get("outcome"), Some("rate_limited"));
    assert_eq!(events[1].fields.get("retry_after"), Some("5s"));
    let spans = log.spans();
    assert_eq!(spans[0].fields.get("error.type"), Some("keys_exhausted"));
    assert_eq!(
        spans[0].fields.get("http.response.status_code"),
        Some("429")
    );
    assert_eq!(spans[0].fields.get("http.request.resend_count"), Some("0"));

    // One that finds no key was not refused.
    assert_eq!(send(&layer, "").await, Ok(429));
    let events = ours(log.events());
    assert_eq!(
        (events.len(), events[0].message()),
        (1, "key pool exhausted")
    );
    assert_eq!((&events[0].spans[..], log.spans().len()), (&[][..], 0));
}

#[tokio::test(start_paused = true)]
async fn a_span_ends_with_its_request_however_that_ends() {
    let (log, _guard) = Log::start();
    assert_eq!(
        send(&layer(&pool(["429", "999"])), "").await,
        Err("no response")
    );
    let spans = log.spans();
    assert_eq!(
        (
            spans.len(),
            spans[0].fields.get("http.request.resend_count")
        ),
        (1, Some("1"))
    );

    let layer = layer(&pool(["429", "200"]));
    let cancelled = tokio::time::timeout(Duration::from_millis(700), send(&layer, "")).await;
    assert!(cancelled.is_err());
    assert_eq!(log.spans().len(), 1);
}

/// Says that it refuses, and does not end.
#[derive(Default)]
struct Endless {
    said: bool,
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.said, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data("refuse".into()))))
    }
}

#[tokio::test(start_paused = true)]
async fn the_mark_of_a_dropped_request_is_logged_in_its_span() {
    let (log, _guard) = Log::start();
    let pool = pool(["429-key-0123456789", "200-key-0123456789"]);
    let provider = service_fn(|request: Request<RequestBody<Body>>| async move {
        let status = &test_support::mock::key_of(&request)[..3];
        let response = Response::builder()
            .status(status)
            .header("x-say", "inspect");
        Ok::<_, Infallible>(response.body(Endless::default()).unwrap())
    });
    let layer = layer(&pool);
    let mut request = tokio_test::task::spawn(layer.layer(provider).oneshot(request("body")));
    assert!(request.poll().is_pending());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(request.poll().is_pending(), "the second response is read");
    drop(request);
    let marks: Vec<_> = ours(log.events())
        .into_iter()
        .map(|told| (told.message().to_owned(), told.spans))
        .collect();
    let mark = ("key marked permanent".to_owned(), vec!["key failover"]);
    assert_eq!(marks, [mark.clone(), mark]);
}

#[tokio::test(start_paused = true)]
async fn an_extension_is_logged_and_an_ineffective_mark_is_not() {
    let (log, _guard) = Log::start();
    let pool = pool(["k-0"]);
    let key = pool.keys().next().unwrap();
    for seconds in [5, 3, 9] {
        key.mark_temporary(Some(Duration::from_secs(seconds)));
    }
    let events = ours(log.events());
    let told: Vec<_> = events
        .iter()
        .map(|told| {
            (
                told.message(),
                told.fields.get("cooldown"),
                told.fields.get("extended"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("key marked temporary", Some("5s"), Some("false")),
            ("key marked temporary", Some("9s"), Some("true")),
        ]
    );
}

#[test]
fn operator_actions_are_logged() {
    let (log, _guard) = Log::start();
    let pool = pool(["k-0-0123456789", "k-1-0123456789"]);
    pool.disable(0).unwrap();
    pool.reinstate(0).unwrap();
    pool.reinstate(0).unwrap();
    pool.replace_keys(["k-1-0123456789", "k-2-0123456789"])
        .unwrap();
    let events = ours(log.events());
    let told: Vec<_> = events
        .iter()
        .map(|told| (told.message(), told.level))
        .collect();
    assert_eq!(
        told,
        [
            ("key marked permanent", Level::WARN),
            ("key returned to service", Level::INFO),
            ("keys changed", Level::INFO),
        ]
    );
    assert_eq!(events[0].fields.get("reason"), Some("operator"));
    assert_eq!(events[1].fields.get("by"), Some("operator"));
    assert_eq!(events[2].fields.get("added"), Some("[\"k-...89\"]"));
    assert_eq!(events[2].fields.get("removed"), Some("[\"k-0\"]"));
}

/// Adds a key when the event of a change arrives.
struct Meddler(Arc<KeyPool>);

impl<S: Subscriber> tracing_subscriber::Layer<S> for Meddler {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Self(pool) = self;
        if fields.get("message") == Some("keys changed") && pool.len() < 4 {
            pool.add_key(format!("k-{}-0123456789", pool.len()))
                .unwrap();
        }
    }
}

#[test]
fn a_log_subscriber_may_change_the_pool() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let pool = pool(["k-0-0123456789"]);
        let subscriber = tracing_subscriber::registry().with(Meddler(Arc::clone(&pool)));
        tracing::subscriber::with_default(subscriber, || {
            pool.replace_keys(["k-0-0123456789", "k-1-0123456789"])
                .unwrap();
        });
        done.send(pool.len()).unwrap();
    });
    let keys = is_done.recv_timeout(Duration::from_secs(10));
    assert_eq!(keys, Ok(3), "it hangs, or a change was lost");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_replay_is_logged_with_its_reason_and_as_a_warning_if_it_was_needed() {
    let (log, _guard) = Log::start();
    let body = "a body of more than four bytes";
    let layer = |keys| test_support::mock::layer(&pool(keys)).max_replay_bytes(4);
    assert_eq!(send(&layer(["200", "201"]), body).await, Ok(200));
    assert_eq!(send(&layer(["429", "200"]), body).await, Ok(429));
    let events = ours(log.events());
    let given_up = events
        .iter()
        .filter(|told| told.message() == "replay given up");
    let told: Vec<_> = given_up
        .map(|told| (told.level, told.fields.get("reason")))
        .collect();
    assert_eq!(
        told,
        [
            (Level::DEBUG, Some("too_large")),
            (Level::INFO, Some("too_large"))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_successful_probe_is_logged_as_a_return() {
    let (log, _guard) = Log::start();
    let pool = KeyPool::builder()
        .name("p")
        .key("200-first")
        .key("201-second")
        .probe_after(Duration::from_secs(60))
        .without_probe_jitter()
        .build()
        .unwrap();
    let pool = Arc::new(pool);
    pool.keys().next().unwrap().mark_permanent();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(send(&layer(&pool), "").await, Ok(200));
    let messages = log.messages();
    assert_eq!(
        messages,
        [
            "key marked permanent",
            "called",
            "responses",
            "key returned to service"
        ]
    );
}
