//! A node of a cluster that does not serve the hash of the pool names the node that does.

use redis::{ConnectionAddr, ErrorKind, RedisError, ServerErrorKind};

use crate::connection::Failure;

/// A pool that moves this often in a row is not found.
const MOST_HOPS: u32 = 5;

/// The node that serves the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// `None` if it is the host of the node that said so.
    host: Option<String>,
    port: u16,
    /// The hash is being moved there. Until the move has ended, the node serves only requests that ask.
    pub(crate) asks: bool,
}

/// Which node a replica connects to: that of its URL, or the one that served the hash last.
#[derive(Default)]
pub(crate) struct Route {
    known: Option<Redirect>,
    is_followed: bool,
    hops: u32,
}

impl Redirect {
    pub(crate) fn of(error: &RedisError) -> Option<Self> {
        let (address, _slot) = error.redirect_node()?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Self {
            host: Some(host.trim_matches(['[', ']']).to_owned())
                .filter(|host| !host.is_empty() && host != "?"),
            port: port.parse().ok()?,
            asks: error.kind() == ErrorKind::Server(ServerErrorKind::Ask),
        })
    }

    /// The address of the node, if `url` is that of another one.
    pub(crate) fn address(&self, url: &ConnectionAddr) -> ConnectionAddr {
        let mut address = url.clone();
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } =
            &mut address
        {
            *port = self.port;
            if let Some(other) = &self.host {
                host.clone_from(other);
            }
        }
        address
    }
}

impl Route {
    /// The node to connect to, unless it is that of the URL.
    pub(crate) fn redirect(&self) -> Option<&Redirect> {
        self.known.as_ref().filter(|_| self.is_followed)
    }

    /// The node served the hash for a while.
    pub(crate) fn arrived(&mut self) {
        self.hops = 0;
    }

    /// Decides where to connect after a connection failed. Returns the failure, unless the node only
    /// named another one.
    pub(crate) fn after(&mut self, failure: Failure) -> Option<Failure> {
        let Failure::Moved(mut redirect) = failure else {
            // The node of the URL may be dead, or the other one may have left the cluster.
            self.is_followed = !self.is_followed && self.known.is_some();
            return Some(failure);
        };
        self.hops += 1;
        if self.hops > MOST_HOPS {
            (self.hops, self.is_followed) = (0, false);
            let problem = "the nodes of the cluster disagree about which of them serves the pool";
            return Some(Failure::Lost(problem.into()));
        }
        if redirect.host.is_none() {
            redirect.host = self.redirect().and_then(|current| current.host.clone());
        }
        (self.known, self.is_followed) = (Some(redirect), true);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(error: &str) -> Option<Redirect> {
        let text = format!("-{error}\r\n");
        let error = redis::parse_redis_value(text.as_bytes()).unwrap();
        let error = error.extract_error().unwrap_err();
        Redirect::of(&error)
    }

    fn address(error: &str) -> Option<String> {
        let url = ConnectionAddr::Tcp("url".into(), 6379);
        Some(redirect(error)?.address(&url).to_string())
    }

    #[test]
    fn errors_of_nodes_name_the_node_that_serves_a_slot() {
        let address = |error| address(error).unwrap();
        assert_eq!(address("MOVED 3999 10.0.0.1:7001"), "10.0.0.1:7001");
        assert_eq!(
            address("MOVED 3999 node.internal:7001"),
            "node.internal:7001"
        );
        assert_eq!(address("ASK 3999 ::1:7001"), "::1:7001");
        assert_eq!(address("MOVED 3999 :7001"), "url:7001");
        assert_eq!(address("MOVED 3999 ?:7001"), "url:7001");
        assert!(redirect("ASK 1 host:1").unwrap().asks);
        assert!(!redirect("MOVED 1 host:1").unwrap().asks);
    }

    #[test]
    fn errors_that_name_no_node_are_no_redirects() {
        for error in [
            "MOVED",
            "MOVED 1",
            "MOVED x host:1",
            "MOVED 1 host",
            "MOVED 1 host:x",
            "ERR 1 host:1",
        ] {
            assert_eq!(redirect(error), None, "{error}");
        }
    }

    #[test]
    fn a_replica_returns_to_the_url_and_to_the_node_that_it_knew_in_turns() {
        let mut route = Route::default();
        let lost = || Failure::Lost(String::new());
        assert!(route.after(lost()).is_some());
        assert_eq!(route.redirect(), None);
        let moved = redirect("MOVED 1 host:1").unwrap();
        assert!(route.after(Failure::Moved(moved.clone())).is_none());
        for _ in 0..3 {
            assert_eq!(route.redirect(), Some(&moved));
            assert!(route.after(lost()).is_some());
            assert_eq!(route.redirect(), None);
            assert!(route.after(lost()).is_some());
        }
    }

    #[test]
    fn nodes_that_name_each_other_are_an_outage() {
        let mut route = Route::default();
        let moved = || Failure::Moved(redirect("MOVED 1 host:1").unwrap());
        for _ in 0..MOST_HOPS {
            assert!(route.after(moved()).is_none());
        }
        assert!(matches!(route.after(moved()), Some(Failure::Lost(_))));
        assert_eq!(route.redirect(), None);
        assert!(route.after(moved()).is_none());
        route.arrived();
        for _ in 0..MOST_HOPS {
            assert!(route.after(moved()).is_none());
        }
    }
}
