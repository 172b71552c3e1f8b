//! One connection to the server. A server without RESP3 needs two.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError,
    Script, ScriptInvocation, Value,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::Error;
use crate::protocol::{BadReply, Merged, Message, Pulled, Version, add_push};
use crate::redirect::Redirect;
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
    /// Whether each script needs the permission of a node that the hash is moving to.
    asks: bool,
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
    /// Another node of the cluster serves the hash.
    Moved(Redirect),
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

    /// Connects to the node of the URL, or to the one that serves the hash.
    pub(crate) async fn connect(&self, redirect: Option<&Redirect>) -> Result<Connection, Failure> {
        let (older, newer) = (ProtocolVersion::RESP2, ProtocolVersion::RESP3);
        if self.is_resp2 {
            return self.connect_with(older, redirect).await;
        }
        match self.connect_with(newer, redirect).await {
            Err(Failure::Refused(_)) => self.connect_with(older, redirect).await,
            result => result,
        }
    }

    async fn connect_with(
        &self,
        protocol: ProtocolVersion,
        redirect: Option<&Redirect>,
    ) -> Result<Connection, Failure> {
        let info = self.client.get_connection_info();
        let address = info.addr();
        let address = redirect.map_or_else(|| address.clone(), |to| to.address(address));
        let is_resp3 = protocol == ProtocolVersion::RESP3;
        let settings = info.redis_settings().clone().set_protocol(protocol);
        // One command less, and one right less.
        let settings = settings.set_skip_set_lib_name();
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info
            .clone()
            .set_addr(address)
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
        let asks = redirect.is_some_and(|redirect| redirect.asks);
        if asks {
            // The permission is for one command, which must not fail for want of the script.
            for script in [&self.merge, &self.read] {
                self.within(script.load_async(&mut commands)).await?;
            }
        }
        Ok(Connection {
            commands,
            messages,
            is_subscribed,
            asks,
        })
    }

    /// Runs a script of this crate.
    async fn run(
        &self,
        connection: &mut Connection,
        script: &ScriptInvocation<'_>,
    ) -> Result<Value, Failure> {
        if connection.asks {
            let asking = redis::cmd("ASKING");
            self.within(asking.exec_async(&mut connection.commands))
                .await?;
        }
        self.within(script.invoke_async(&mut connection.commands))
            .await
    }

    pub(crate) async fn pull(
        &self,
        connection: &mut Connection,
        known: &Version,
    ) -> Result<Pulled, Failure> {
        let mut script = self.read.key(&self.key);
        script.arg(known.nonce()).arg(known.number());
        Ok(Pulled::parse(self.run(connection, &script).await?)?)
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
        Ok(Merged::parse(self.run(connection, &script).await?)?)
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
        if let Some(redirect) = Redirect::of(&error) {
            return Self::Moved(redirect);
        }
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
