//! tonic's channel without `MapRequestBodyLayer`.
//!
//! Expected: the trait bound `Channel: Service<Request<RequestBody<

use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceBuilder;
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

pub fn stack(failover: KeyFailoverLayer<Provider>, channel: Channel) {
    let service = ServiceBuilder::new().layer(failover).service(channel);
    service.check::<Body>();
}

fn main() {}
