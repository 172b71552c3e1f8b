//! Slows down those who guess the admin token.
//!
//! After a wrong token, tokens are checked one after the other, each after a delay, until the right one
//! is presented or a minute has passed. The delay comes before the check. Otherwise, a request that is
//! not answered at once would be known to be wrong.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::Instant;

const DELAY: Duration = Duration::from_millis(250);

/// How long a wrong token slows down others.
const MEMORY: Duration = Duration::from_secs(60);

/// How many requests may wait for their check.
const MAX_WAITING: usize = 16;

/// Too many requests wait for their check.
pub struct TooManyGuesses;

pub struct Guesses {
    /// When the last wrong token was presented.
    last_wrong: Mutex<Option<Instant>>,
    waiting: Semaphore,
    turn: tokio::sync::Mutex<()>,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            last_wrong: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl Guesses {
    /// Whether this is the token.
    pub async fn check(
        &self,
        presented: &[u8],
        token: &SecretString,
    ) -> Result<bool, TooManyGuesses> {
        let _waiting = self.waiting.try_acquire().map_err(|_| TooManyGuesses)?;
        let _turn = self.turn.lock().await;
        let last_wrong = *self
            .last_wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last_wrong.is_some_and(|at| Instant::now().saturating_duration_since(at) < MEMORY) {
            tokio::time::sleep(DELAY).await;
        }
        let is_right: bool = presented.ct_eq(token.expose_secret().as_bytes()).into();
        let last_wrong = (!is_right).then(Instant::now);
        *self
            .last_wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = last_wrong;
        Ok(is_right)
    }
}
