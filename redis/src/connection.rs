//! One connection to the server. A server without RESP3 needs two.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError,
    Script, Value,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::Error;
use crate::protocol::{BadReply, Merged, Message, Pulled, Version, add_push};
use crate::replica::Push;

/// The server, and the hash of one pool on it.
pub(crate) struct Server {
    client: Client,
    /// Whether the URL asks for the older protocol.
    is_resp2: bool,
    answers_within: Duration,
    key: String,
    merge: Script,
    read: Script,
}

pub(crate) struct Connection {
    commands: MultiplexedConnection,
    messages: Messages,
    pub(crate) is_subscribed: bool,
}

enum Messages {
    Resp3(mpsc::UnboundedReceiver<PushInfo>),
    Resp2(PubSubStream),
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is of no use any more.
    Lost(String),
    /// The server answered with an error.
    Refused(String),
    /// The server is none that this crate can use.
    NotRedis,
}

impl Server {
    pub(crate) fn new(url: &str, name: &str, answers_within: Duration) -> Result<Self, Error> {
        let url = url.trim();
        let is_tls = url.starts_with("rediss://");
        if !is_tls && !url.starts_with("redis://") {
            return Err(Error::InvalidUrl);
        }
        if is_tls && !cfg!(feature = "tls") {
            return Err(Error::TlsNotCompiled);
        }
        Ok(Self {
            client: Client::open(url).map_err(|_| Error::InvalidUrl)?,
            is_resp2: url.contains("protocol=resp2") || url.contains("protocol=2"),
            answers_within,
            // The braces keep all keys of a pool on one node of a cluster.
            key: format!("tower-key-failover:{{{name}}}"),
            merge: Script::new(include_str!("scripts/merge.lua")),
            read: Script::new(include_str!("scripts/read.lua")),
        })
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        if self.is_resp2 {
            return self.connect_with(ProtocolVersion::RESP2).await;
        }
        match self.connect_with(ProtocolVersion::RESP3).await {
            Err(Failure::Refused(_)) => self.connect_with(ProtocolVersion::RESP2).await,
            result => result,
        }
    }

    async fn connect_with(&self, protocol: ProtocolVersion) -> Result<Connection, Failure> {
        let info = self.client.get_connection_info();
        let is_resp3 = protocol == ProtocolVersion::RESP3;
        let settings = info.redis_settings().clone().set_protocol(protocol);
        // One command less, and one right less.
        let settings = settings.set_skip_set_lib_name();
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info
            .clone()
            .set_redis_settings(settings)
            .set_tcp_settings(tcp);
        let client = Client::open(info)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.answers_within))
            .set_response_timeout(Some(self.answers_within));
        let config = if is_resp3 {
            config.set_push_sender(sender)
        } else {
            config
        };
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        let mut commands = self.within(connection).await?;
        let (messages, subscribed) = if is_resp3 {
            let subscribed = self.within(commands.subscribe(&self.key)).await;
            (Messages::Resp3(receiver), subscribed)
        } else {
            let mut pub_sub = self.within(client.get_async_pubsub()).await?;
            let subscribed = self.within(pub_sub.subscribe(&self.key)).await;
            (Messages::Resp2(pub_sub.into_on_message()), subscribed)
        };
        let is_subscribed = match subscribed {
            Ok(()) => true,
            // Without the permission to subscribe, polling is all there is.
            Err(Failure::Refused(_)) => false,
            Err(lost) => return Err(lost),
        };
        Ok(Connection {
            commands,
            messages,
            is_subscribed,
        })
    }

    pub(crate) async fn pull(
        &self,
        connection: &mut Connection,
        known: &Version,
    ) -> Result<Pulled, Failure> {
        let mut script = self.read.key(&self.key);
        script.arg(known.nonce()).arg(known.number());
        let reply = self
            .within(script.invoke_async::<Value>(&mut connection.commands))
            .await?;
        Ok(Pulled::parse(reply)?)
    }

    pub(crate) async fn push(
        &self,
        connection: &mut Connection,
        nonce: &str,
        pushes: &[Push],
    ) -> Result<Merged, Failure> {
        let mut script = self.merge.key(&self.key);
        script.arg(nonce);
        pushes.iter().for_each(|push| add_push(&mut script, push));
        let reply = self
            .within(script.invoke_async::<Value>(&mut connection.commands))
            .await?;
        Ok(Merged::parse(reply)?)
    }

    /// The client's own timeouts do not cover everything.
    async fn within<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Failure> {
        match timeout(2 * self.answers_within, command).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Failure::Lost("the server does not answer".into())),
        }
    }
}

impl Connection {
    /// Returns the next message, or `None` if the connection is closed. Cancel safe.
    pub(crate) async fn next_message(&mut self) -> Option<Message> {
        loop {
            let payload = match &mut self.messages {
                Messages::Resp3(pushes) => {
                    let push = pushes.recv().await?;
                    match push.kind {
                        PushKind::Disconnection => return None,
                        PushKind::Message => match push.data.into_iter().nth(1) {
                            Some(Value::BulkString(payload)) => payload,
                            _ => continue,
                        },
                        _ => continue,
                    }
                }
                Messages::Resp2(messages) => messages.next().await?.get_payload_bytes().to_vec(),
            };
            if let Some(message) = Message::parse(&payload) {
                return Some(message);
            }
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::NotRedis,
            // The connection is fine, but has to be made anew with other rights.
            _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => Self::lost(&error),
            ErrorKind::AuthenticationFailed => Self::lost(&error),
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::RESP3NotSupported => {
                Self::Refused(error.to_string())
            }
            _ => Self::lost(&error),
        }
    }
}

impl From<BadReply> for Failure {
    fn from(reply: BadReply) -> Self {
        Self::Refused(match reply {
            BadReply::Foreign => "the key of the pool holds data of another program".into(),
            BadReply::Malformed => "the server answers a script with something else".into(),
        })
    }
}

impl Failure {
    fn lost(error: &RedisError) -> Self {
        Self::Lost(error.to_string())
    }
}
