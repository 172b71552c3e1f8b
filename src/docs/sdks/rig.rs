use std::future::Future;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::Connect};
use rig_core::http_client::{
    Error, HttpClientExt, LazyBody, MultipartForm, Result, StreamingResponse,
};
use tower::ServiceExt;
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailover, RequestBody, ResponseBody};

/// An HTTP client for rig that uses the keys of a pool.
///
/// The policy needs `Byok::Never`, because rig sends a key of its own.
#[derive(Clone, Debug)]
pub struct Keys<C>(pub KeyFailover<Client<C, RequestBody<Full<Bytes>>>, Provider>);

impl<C> Keys<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    /// Sends a request. rig expects an error if the status is not a success.
    fn request(
        &self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<ResponseBody<Incoming>>>> + Send + 'static {
        let sent = self.0.clone().oneshot(request.map(Full::new));
        async {
            let (head, body) = sent.await.map_err(Error::instance)?.into_parts();
            if head.status.is_success() {
                return Ok(Response::from_parts(head, body));
            }
            let body = body.collect().await.map_err(Error::instance)?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            Err(Error::non_success_with_details(
                head.status,
                head.headers,
                text,
            ))
        }
    }
}

/// Reads a body when it is needed.
fn lazy<U>(response: Response<ResponseBody<Incoming>>) -> Response<LazyBody<U>>
where
    U: From<Bytes> + Send + 'static,
{
    response.map(|body| {
        let body: LazyBody<U> = Box::pin(async {
            let collected = body.collect().await.map_err(Error::instance)?;
            Ok(U::from(collected.to_bytes()))
        });
        body
    })
}

impl<C> HttpClientExt for Keys<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    fn send<T, U>(
        &self,
        request: Request<T>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + Send + 'static
    where
        T: Into<Bytes> + Send,
        U: From<Bytes> + Send + 'static,
    {
        let sent = self.request(request.map(Into::into));
        async { Ok(lazy(sent.await?)) }
    }

    fn send_multipart<U>(
        &self,
        request: Request<MultipartForm>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + Send + 'static
    where
        U: From<Bytes> + Send + 'static,
    {
        let (mut head, form) = request.into_parts();
        let (boundary, body) = form.encode();
        let content_type = format!("multipart/form-data; boundary={boundary}").parse();
        let keys = self.clone();
        async move {
            head.headers.insert("content-type", content_type?);
            Ok(lazy(keys.request(Request::from_parts(head, body)).await?))
        }
    }

    fn send_streaming<T>(
        &self,
        request: Request<T>,
    ) -> impl Future<Output = Result<StreamingResponse>> + Send
    where
        T: Into<Bytes> + Send,
    {
        let sent = self.request(request.map(Into::into));
        async {
            Ok(sent.await?.map(|body| {
                let chunks = body.into_data_stream().map_err(Error::instance);
                Box::pin(chunks) as _
            }))
        }
    }
}
