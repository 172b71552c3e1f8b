use std::error;
use std::fmt;

/// Why a pool cannot be shared.
///
/// It contains neither the URL nor the secret. A server that cannot be reached is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The URL is not that of a Redis server: `redis://host:port/database`, or `rediss://` with TLS.
    InvalidUrl,
    /// The URL begins with `rediss://`, but the crate was compiled without its feature `tls`.
    TlsNotCompiled,
    /// The name is empty, longer than 128 bytes, or has a brace, a space or a control character in it.
    InvalidName,
    /// The secret is missing or shorter than 16 bytes.
    ShortSecret,
    /// The server at the URL is neither Redis 6 or later nor compatible with it.
    NotRedis,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidUrl => "the URL of the Redis server is invalid: expected redis://host:port or rediss://host:port",
            Self::TlsNotCompiled => "the URL begins with rediss://, but TLS was not compiled in",
            Self::InvalidName => {
                "the name of a shared pool has 1 to 128 characters, without braces and spaces"
            }
            Self::ShortSecret => "the secret of a shared pool has at least 16 bytes",
            Self::NotRedis => "the server does not speak the protocol of Redis",
        })
    }
}

impl error::Error for Error {}
