use tower::Layer;
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::pool::{KeyChoice, KeyPool, NewKey, Selection};

use super::{Path, Plain, Provider, Requests};

/// The ways to choose among `len` usable keys, all of which the provider likes.
pub fn selections(len: usize) -> Vec<Path> {
    let plain = |_, key| key;
    let strategy = |name, selection| path(name, len, selection, plain, None);
    let in_order = Selection::in_order();
    let session = Some(KeyChoice::new().affinity(42));
    vec![
        strategy("in order", in_order),
        strategy("round robin", Selection::round_robin()),
        // The keys take unequal turns.
        path(
            "weighted",
            len,
            Selection::weighted(),
            |at, key| key.weight(1 + at % 3),
            None,
        ),
        strategy("least in flight", Selection::least_in_flight()),
        path("affinity", len, in_order, plain, session),
        path(
            "capped",
            len,
            in_order,
            |_, key| key.max_in_flight(1000),
            None,
        ),
    ]
}

fn path(
    name: &'static str,
    len: usize,
    selection: Selection,
    setting: impl Fn(u32, NewKey) -> NewKey,
    choice: Option<KeyChoice>,
) -> Path {
    let pool = KeyPool::builder().key("placeholder").selection(selection);
    let pool = pool.build().unwrap();
    let key = |at| setting(at, NewKey::new(format!("good-{at}-0123456789")));
    pool.replace_keys((0..len as u32).map(key)).unwrap();
    let service = KeyFailoverLayer::new(Plain, pool).layer(Provider);
    let request = move || {
        let mut request = Requests::Shared.make();
        if let Some(choice) = &choice {
            request.extensions_mut().insert(choice.clone());
        }
        request
    };
    Path::new(name, move || service.clone(), request)
}
