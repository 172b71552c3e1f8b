use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceBuilder;
use tower_http::map_request_body::{MapRequestBody, MapRequestBodyLayer};
use tower_key_failover::policy::Grpc;
use tower_key_failover::{KeyFailover, KeyFailoverLayer, RequestBody};

type ToTonic = fn(RequestBody<Body>) -> Body;

/// Pass it to a generated client instead of a channel: `HealthClient::new(channel_with_keys(..))`.
pub fn channel_with_keys(
    failover: KeyFailoverLayer<Grpc>,
    channel: Channel,
) -> KeyFailover<MapRequestBody<Channel, ToTonic>, Grpc> {
    ServiceBuilder::new()
        .layer(failover)
        // tonic's channel requires tonic's own body type.
        .layer(MapRequestBodyLayer::new(Body::new as ToTonic))
        .service(channel)
}
