//! A build without the feature `redis` has no replicas.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;

use crate::bad_input::BadInput;
use crate::gateway::Gateway;

pub enum Replicas {}

impl Replicas {
    pub fn check(_: &SecretString, _: &SecretString, _: &str) -> Result<(), String> {
        Err("this build does not support it; build with --features redis".to_owned())
    }

    #[allow(clippy::unused_async)]
    pub async fn start(
        _: SecretString,
        _: SecretString,
        _: Arc<Gateway>,
    ) -> Result<Arc<Self>, BadInput> {
        Err(BadInput("--redis requires the feature redis".to_owned()))
    }

    pub fn show(&self) -> Value {
        match *self {}
    }

    #[cfg(feature = "metrics")]
    pub fn write_metrics(&self, _: &mut String) {
        match *self {}
    }

    #[allow(clippy::unused_async)]
    pub async fn finish(&self) {
        match *self {}
    }
}
