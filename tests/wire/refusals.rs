//! However a server refuses a key, and whatever it does with the upload then, the next attempt is
//! byte for byte what the caller sent, in the caller's framing.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use test_support::mock::{layer, pool};
use test_support::wire::{
    Exchange, Fed, Feed, Protocol, Server, Whole, call, read_all, response, response_with, stack,
    within,
};
use tokio::task::JoinHandle;

/// When a server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    BeforeTheUpload,
    InTheMiddle,
    AfterTheUpload,
    /// At once, while the caller sends more than windows and buffers take.
    WhileItPours,
}

/// What it does with the upload then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Drains,
    DoesNotRead,
    LetsGo,
    SaysClose,
    Closes,
}

/// How the caller frames its upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// The body knows its length.
    Exact,
    /// The head tells the length, the body does not know it.
    Declared,
    Chunked,
    Trailers,
    EmptyExact,
    EmptyChunked,
}

const WHEN: [When; 4] = [
    When::BeforeTheUpload,
    When::InTheMiddle,
    When::AfterTheUpload,
    When::WhileItPours,
];
const THEN: [Then; 5] = [
    Then::Drains,
    Then::DoesNotRead,
    Then::LetsGo,
    Then::SaysClose,
    Then::Closes,
];
const FRAMING: [Framing; 6] = [
    Framing::Exact,
    Framing::Declared,
    Framing::Chunked,
    Framing::Trailers,
    Framing::EmptyExact,
    Framing::EmptyChunked,
];

/// No part of it looks like another.
static DATA: LazyLock<Bytes> = LazyLock::new(|| {
    let words = (0..7_u32 << 18).flat_map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes());
    words.collect()
});

#[derive(Clone, Copy, Debug)]
struct Case {
    protocol: Protocol,
    when: When,
    then: Then,
    framing: Framing,
}

impl Case {
    fn all(protocol: Protocol) -> Vec<Self> {
        let mut cases = Vec::new();
        for when in WHEN {
            for then in THEN {
                for framing in FRAMING {
                    let case = Self {
                        protocol,
                        when,
                        then,
                        framing,
                    };
                    if case.is_possible() {
                        cases.push(case);
                    }
                }
            }
        }
        cases
    }

    fn is_possible(self) -> bool {
        // On HTTP/2 a server says that it closes.
        let about_the_protocol = self.then == Then::Closes && self.protocol == Protocol::Http2;
        // A connection that is closed over data nobody read is reset, and the refusal may be lost
        // with it: with the layer as without.
        let may_close = !matches!(self.then, Then::Drains | Then::DoesNotRead);
        let about_the_reset =
            self.when == When::WhileItPours && may_close && self.protocol == Protocol::Http1;
        // A connection that is closed without a word may have been taken for the next attempt.
        let is_complete = self.when == When::AfterTheUpload || self.framing == Framing::EmptyExact;
        let about_the_reuse = self.then == Then::Closes && is_complete;
        let in_the_middle = matches!(self.when, When::InTheMiddle | When::WhileItPours);
        let about_the_middle = in_the_middle && self.parts()[0].is_empty();
        !(about_the_protocol || about_the_reset || about_the_reuse || about_the_middle)
    }

    /// What is sent before a refusal in the middle, and what after it.
    fn parts(self) -> [Bytes; 2] {
        match self.framing {
            Framing::EmptyExact | Framing::EmptyChunked => [Bytes::new(), Bytes::new()],
            // More than sockets and windows take.
            _ => {
                let first = match self.when {
                    When::WhileItPours => 6 << 20,
                    _ => 20_000,
                };
                [DATA.slice(..first), DATA.slice(first..first + 50_000)]
            }
        }
    }

    fn whole(self) -> Whole {
        Whole {
            data: self.parts().concat().into(),
            trailers: (self.framing == Framing::Trailers).then(trailers),
        }
    }

    fn request(self, server: &Server) -> (Feed, Request<Fed>) {
        let length = self.whole().data.len() as u64;
        let (feed, body) = match self.framing {
            Framing::Exact | Framing::EmptyExact => Fed::of_length(length),
            _ => Fed::of_unknown_length(),
        };
        let mut request = server.post(body);
        match self.framing {
            Framing::Declared => drop(
                request
                    .headers_mut()
                    .insert("content-length", length.into()),
            ),
            Framing::Trailers => {
                let declared = HeaderValue::from_static("x-sum");
                request.headers_mut().insert("trailer", declared);
            }
            _ => {}
        }
        (feed, request)
    }

    /// Sends the rest of the upload.
    fn finish(self, feed: Feed, parts: &[Bytes]) {
        parts.iter().for_each(|part| send(&feed, part));
        if self.framing == Framing::Trailers {
            feed.send_trailers(trailers());
        }
    }

    fn check_framing(self, headers: &HeaderMap) {
        let length = match self.framing {
            Framing::Exact | Framing::Declared => Some(self.whole().data.len().to_string()),
            // hyper says nothing on HTTP/1.1 where a body is known to be empty.
            Framing::EmptyExact => (self.protocol == Protocol::Http2).then(|| "0".to_owned()),
            Framing::Chunked | Framing::Trailers | Framing::EmptyChunked => None,
        };
        let value = |name| Some(headers.get(name)?.to_str().unwrap());
        assert_eq!(value("content-length"), length.as_deref(), "{self:?}");
        let tells = length.is_some() || self.framing == Framing::EmptyExact;
        let chunked = !tells && self.protocol == Protocol::Http1;
        let encoding = chunked.then_some("chunked");
        assert_eq!(value("transfer-encoding"), encoding, "{self:?}");
    }

    async fn run(self) {
        let parts = self.parts();
        let service = stack(&layer(&pool(["k0", "k1"])), self.protocol);
        let (mut server, raw) = match self.then {
            Then::Closes => {
                let (server, raw) = Server::start_behind_a_raw_connection().await;
                (server, Some(raw))
            }
            _ => (Server::start(self.protocol).await, None),
        };
        let (feed, request) = self.request(&server);
        let caller = call(&service, request);

        let mut feed = Some(feed);
        match self.when {
            When::BeforeTheUpload => {}
            When::InTheMiddle | When::WhileItPours => send(feed.as_ref().unwrap(), &parts[0]),
            When::AfterTheUpload => self.finish(feed.take().unwrap(), &parts),
        }
        let refused = match raw {
            Some(raw) => {
                let mut raw = raw.await.unwrap();
                let head = raw.read_until("\r\n\r\n").await;
                assert!(String::from_utf8_lossy(&head).contains("x-key: k0"));
                if self.when == When::InTheMiddle {
                    let end = parts[0].len() - 64;
                    raw.read_until(&parts[0][end..]).await;
                }
                raw.write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")
                    .await;
                Refused::Raw(tokio::spawn(raw.close()))
            }
            None => self.refuse(server.next().await).await,
        };

        let accepting = server.next().await;
        assert_eq!(accepting.key(), "k1", "{self:?}");
        self.check_framing(&accepting.head.headers);
        if matches!(self.then, Then::SaysClose | Then::Closes) {
            assert_eq!(accepting.connection, 2, "{self:?}");
        }
        if let Some(feed) = feed {
            let sent = usize::from(self.when != When::BeforeTheUpload);
            self.finish(feed, &parts[sent..]);
        }
        let Exchange { body, reply, .. } = accepting;
        let got = read_all(body).await.unwrap();
        assert!(got == self.whole(), "{self:?}: not what was sent");
        reply.send(response(200)).unwrap();
        let forwarded = caller.await.unwrap().unwrap();
        assert_eq!(forwarded.status(), 200, "{self:?}");
        assert_eq!(
            forwarded.body().failover().unwrap().attempts(),
            2,
            "{self:?}"
        );
        assert!(server.has_no_other(), "{self:?}");

        self.check_the_end(refused).await;
    }

    async fn refuse(self, mut refused: Exchange) -> Refused {
        assert_eq!(refused.key(), "k0", "{self:?}");
        self.check_framing(&refused.head.headers);
        if self.then == Then::SaysClose {
            refused.leave();
        }
        match self.when {
            When::BeforeTheUpload | When::WhileItPours => {}
            When::InTheMiddle => drop(refused.read(self.parts()[0].len()).await),
            When::AfterTheUpload => {
                let got = read_all(&mut refused.body).await.unwrap();
                assert!(got == self.whole(), "{self:?}: not what was sent");
            }
        }
        let body = refused.respond_and_keep_body(response_with(401, "no"));
        match self.then {
            Then::Drains => Refused::Draining(tokio::spawn(read_all(body))),
            Then::DoesNotRead => Refused::Held(body),
            Then::LetsGo | Then::SaysClose | Then::Closes => Refused::Gone,
        }
    }

    /// An upload that was cut short never looks complete.
    async fn check_the_end(self, refused: Refused) {
        let got = match refused {
            Refused::Draining(reading) => reading.await.unwrap(),
            Refused::Held(body) => read_all(body).await,
            Refused::Raw(reading) => return drop(reading.await.unwrap()),
            Refused::Gone => return,
        };
        let nothing = self.whole().data.is_empty();
        match (self.when, got) {
            // It was read to its end before.
            (When::AfterTheUpload, Ok(rest)) => assert!(rest.data.is_empty(), "{self:?}"),
            (_, Ok(_)) if nothing && self.framing == Framing::EmptyExact => {}
            (_, Ok(_)) => panic!("{self:?}: what was cut short looks complete"),
            (_, Err(_)) => {}
        }
    }
}

enum Refused {
    Draining(JoinHandle<Result<Whole, hyper::Error>>),
    Held(Incoming),
    Raw(JoinHandle<Bytes>),
    Gone,
}

/// Small and large frames, so that some are copied and some are not.
fn send(feed: &Feed, part: &Bytes) {
    let (small, large) = part.split_at(part.len().min(5_000));
    for chunk in small.chunks(1_000).chain(large.chunks(33_000)) {
        feed.send(part.slice_ref(chunk));
    }
}

fn trailers() -> HeaderMap {
    let name = HeaderName::from_static("x-sum");
    HeaderMap::from_iter([(name, HeaderValue::from_static("7"))])
}

/// Each case in a task of its own, on two threads.
async fn run_all(protocol: Protocol) {
    let cases = Case::all(protocol);
    println!("{} cases", cases.len());
    let cases = cases
        .into_iter()
        .map(|case| (case, tokio::spawn(within(case.run()))));
    let mut failed = Vec::new();
    for (case, run) in Vec::from_iter(cases) {
        failed.extend(run.await.err().map(|_| case));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_refusal_is_replayed_byte_for_byte_over_http1() {
    run_all(Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_refusal_is_replayed_byte_for_byte_over_http2() {
    run_all(Protocol::Http2).await;
}
