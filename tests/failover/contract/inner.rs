//! The inner services. Each holds one request at a time where it can, so that nothing passes any
//! more if a permit, a slot or a turn is not given back.

use std::time::Duration;

use http::{Request, Response};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::limit::rate::Rate;
use tower::limit::{ConcurrencyLimit, RateLimit};
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::load_shed::LoadShed;
use tower::util::BoxCloneService;
use tower_key_failover::{BoxError, RequestBody};

use crate::contract::provider::{Provider, Reply, Upload};

pub type Inner = BoxCloneService<Request<RequestBody<Upload>>, Response<Reply>, BoxError>;
pub type Make = fn(Provider) -> Inner;

pub fn plain(provider: Provider) -> Inner {
    Inner::new(provider)
}

pub fn concurrency_limit(provider: Provider) -> Inner {
    Inner::new(ConcurrencyLimit::new(provider, 1))
}

pub fn load_shed(provider: Provider) -> Inner {
    Inner::new(LoadShed::new(ConcurrencyLimit::new(provider, 1)))
}

pub fn buffer(provider: Provider) -> Inner {
    Inner::new(Buffer::new(provider, 1))
}

pub fn buffer_of_a_limit(provider: Provider) -> Inner {
    Inner::new(Buffer::new(ConcurrencyLimit::new(provider, 1), 1))
}

/// As it is not `Clone`, a balancer stands beneath a buffer.
pub fn balance(provider: Provider) -> Inner {
    let endpoint = || {
        let limit = ConcurrencyLimit::new(provider.clone(), 1);
        PendingRequests::new(limit, CompleteOnResponse::default())
    };
    let endpoints = ServiceList::new([endpoint(), endpoint()]);
    Inner::new(Buffer::new(Balance::new(endpoints), 1))
}

/// Nor is this one. A second is nothing while time is paused.
pub fn rate_limit(provider: Provider) -> Inner {
    let rate = Rate::new(1, Duration::from_secs(1));
    Inner::new(Buffer::new(RateLimit::new(provider, rate), 1))
}
