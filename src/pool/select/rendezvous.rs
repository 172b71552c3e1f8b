//! Weighted rendezvous hashing, which gives each session its own order of the keys.
//!
//! Each key gets a random draw per session: an exponential variable whose mean is inversely
//! proportional to the key's weight. The key with the lowest draw comes first, so each key comes first
//! in proportion to its weight. The draw depends only on the session, the key's identity and its
//! weight. Adding or removing a key therefore moves no session between other keys.
//!
//! All replicas must agree, and a restart must change nothing. The hash function is therefore fixed,
//! and the logarithm uses only operations that are exact on every platform, which `f64::ln` does not.

/// Returns a session id for a name, such as the value of a header. It is the same on every machine and
/// in every version of this crate.
///
/// ```
/// use tower_key_failover::pool::{KeyChoice, session_id};
///
/// let choice = KeyChoice::new().affinity(session_id("conversation-17"));
/// # assert_eq!(choice, KeyChoice::new().affinity(0x2fe5_14ce_be0c_c567));
/// ```
pub fn session_id(name: impl AsRef<[u8]>) -> u64 {
    hash(b"session", name.as_ref())
}

/// A stable identity of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) struct Identity(u64);

impl Identity {
    /// The identity of all keys that share a prompt cache. A group is one by default.
    pub(in crate::pool) fn of_domain(name: &str) -> Self {
        Self(hash(b"domain", name.as_bytes()))
    }

    pub(in crate::pool) fn of_label(label: &str) -> Self {
        Self(hash(b"label", label.as_bytes()))
    }

    /// The identity of a key without a name.
    pub(in crate::pool) fn of_secret(secret: &str) -> Self {
        Self(hash(b"secret", secret.as_bytes()))
    }
}

/// A session whose requests prefer the same key.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct Session(u64);

impl Session {
    pub(in crate::pool) fn new(id: u64) -> Self {
        // Callers may number their sessions.
        Self(mix(id))
    }

    /// The draw of a key in this session, which is the lower the better. `stride` is inversely
    /// proportional to the key's weight.
    #[inline]
    pub(in crate::pool) fn draw(self, key: Identity, stride: u32) -> u64 {
        let draw = -ln(self.uniform(key)) * f64::from(stride);
        // Positive floats are ordered like their bits.
        draw.to_bits()
    }

    /// Whether the draw of a key is certainly greater than `draw`, without a logarithm. In a long list,
    /// this is so for nearly all keys.
    #[inline]
    pub(in crate::pool) fn draws_more_than(self, draw: u64, key: Identity, stride: u32) -> bool {
        /// More than the logarithm's error.
        const MARGIN: f64 = 1.0 - 1e-9;
        // -ln x >= 1 - x
        let least = (1.0 - self.uniform(key)) * f64::from(stride) * MARGIN;
        least > f64::from_bits(draw)
    }

    #[inline]
    fn uniform(self, key: Identity) -> f64 {
        unit(mix(self.0 ^ key.0))
    }
}

/// FNV-1a, with a finalizer that spreads similar names.
fn hash(kind: &[u8], name: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = kind.iter().chain(&[0]).chain(name);
    mix(bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    }))
}

/// The finalizer of splitmix64. It changes half of the output bits on average if one input bit changes.
#[inline]
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number in (0, 1), of which 0.5 is in the middle.
#[inline]
fn unit(bits: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 52) as f64;
    // One bit less than a float holds, so that the half is not rounded away.
    ((bits >> 12) as f64 + 0.5) * STEP
}

/// The natural logarithm of a positive normal number, to about 12 digits.
#[inline]
fn ln(x: f64) -> f64 {
    const MANTISSA_BITS: u32 = 52;
    const BIAS: i32 = 1023;
    let bits = x.to_bits();
    // x = mantissa * 2^exponent, with the mantissa in [1, 2).
    let exponent = (bits >> MANTISSA_BITS) as i32 - BIAS;
    let mantissa =
        f64::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | (BIAS as u64) << MANTISSA_BITS);
    // The series converges fast around 1.
    let (mantissa, exponent) = match mantissa > std::f64::consts::SQRT_2 {
        true => (mantissa / 2.0, exponent + 1),
        false => (mantissa, exponent),
    };
    // ln m = 2 artanh((m - 1) / (m + 1))
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = [
        1.0 / 13.0,
        1.0 / 11.0,
        1.0 / 9.0,
        1.0 / 7.0,
        0.2,
        1.0 / 3.0,
        1.0,
    ];
    let sum = series
        .into_iter()
        .fold(0.0, |sum, term| sum * square + term);
    2.0 * s * sum + f64::from(exponent) * std::f64::consts::LN_2
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::{Identity, Session, ln, unit};
    use crate::pool::select::turns::stride;

    fn identities(len: u32) -> Vec<Identity> {
        (0..len)
            .map(|number| Identity::of_label(&format!("key-{number}")))
            .collect()
    }

    /// The positions of the keys in the order of a session.
    fn order(session: u64, keys: &[(Identity, u32)]) -> Vec<usize> {
        let session = Session::new(session);
        let mut order: Vec<_> = (0..keys.len()).collect();
        order.sort_by_key(|at| session.draw(keys[*at].0, stride(keys[*at].1)));
        order
    }

    /// How often each key comes first.
    fn shares(keys: &[(Identity, u32)], sessions: u64) -> Vec<f64> {
        let mut firsts = vec![0_u32; keys.len()];
        for session in 0..sessions {
            firsts[order(session, keys)[0]] += 1;
        }
        firsts
            .into_iter()
            .map(|count| f64::from(count) / sessions as f64)
            .collect()
    }

    #[test]
    fn hashes_and_draws_are_the_same_on_every_machine() {
        let identities = [
            Identity::of_domain("acme"),
            Identity::of_label("acme"),
            Identity::of_secret("acme"),
        ];
        let expected = [
            (Identity(0x65b2_fb98_d956_646d), 0x4120_c984_7edb_96dd),
            (Identity(0x4e29_a587_461a_e299), 0x40f6_8935_e512_a21f),
            (Identity(0xfa2d_e7a2_ac3e_f463), 0x4134_5dee_354d_64e0),
        ];
        let found = identities.map(|key| (key, Session::new(42).draw(key, stride(1))));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_logarithm_is_exact_to_eleven_digits() {
        for bits in (0..10_000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let x = unit(bits);
            assert!((ln(x) - x.ln()).abs() <= 1e-11 * x.ln().abs(), "{x}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn the_extreme_hashes_have_finite_draws() {
        for bits in [0, 1, u64::MAX - 1, u64::MAX] {
            let draw = -ln(unit(bits));
            assert!(draw > 0.0 && draw < 40.0, "{bits:x}: {draw}");
        }
    }

    #[test]
    fn sessions_are_spread_in_proportion_to_the_weights_within_2_percent() {
        let weights = [1, 2, 3, 10, 4];
        let keys: Vec<_> = identities(5).into_iter().zip(weights).collect();
        let shares = shares(&keys, 200_000);
        for (share, weight) in shares.into_iter().zip(weights) {
            let expected = f64::from(weight) / 20.0;
            assert!((share / expected - 1.0).abs() < 0.02, "{weight}: {share}");
        }
    }

    #[test]
    fn the_fallbacks_of_the_sessions_of_one_key_are_spread_as_well() {
        let keys: Vec<_> = identities(10).into_iter().map(|key| (key, 1)).collect();
        let mut seconds = [0_u32; 10];
        let orders = (0..200_000).map(|session| order(session, &keys));
        for order in orders.filter(|order| order[0] == 3) {
            seconds[order[1]] += 1;
        }
        let total: u32 = seconds.iter().sum();
        for (at, count) in seconds.into_iter().enumerate() {
            let share = f64::from(count) / f64::from(total);
            let expected = if at == 3 { 0.0 } else { 1.0 / 9.0 };
            assert!((share - expected).abs() < 0.01, "{at}: {share}");
        }
    }

    proptest! {
        #[test]
        fn removing_a_key_changes_the_order_of_no_others(
            session: u64, weights in prop::collection::vec(1_u32..=1000, 2..40), removed: prop::sample::Index,
        ) {
            let keys: Vec<_> = identities(weights.len() as u32).into_iter().zip(weights).collect();
            let removed = removed.index(keys.len());
            let mut left = keys.clone();
            left.remove(removed);
            let before = order(session, &keys).into_iter().filter(|at| *at != removed);
            let before: Vec<_> = before.map(|at| keys[at].0).collect();
            let after: Vec<_> = order(session, &left).into_iter().map(|at| left[at].0).collect();
            prop_assert_eq!(before, after);
        }

        #[test]
        fn the_order_of_a_session_does_not_depend_on_the_order_of_the_keys(
            session: u64, weights in prop::collection::vec(1_u32..=1000, 1..40), turn: prop::sample::Index,
        ) {
            let keys: Vec<_> = identities(weights.len() as u32).into_iter().zip(weights).collect();
            let mut rotated = keys.clone();
            rotated.rotate_left(turn.index(keys.len()));
            let names = |keys: &[(Identity, u32)]| -> Vec<_> {
                order(session, keys).into_iter().map(|at| keys[at].0).collect()
            };
            prop_assert_eq!(names(&keys), names(&rotated));
        }

        #[test]
        fn a_draw_that_is_certainly_greater_is_greater(
            session: u64, key: u64, weight in 1_u32..=1000, other: u64,
        ) {
            let (session, key) = (Session::new(session), Identity(key));
            let draw = session.draw(key, stride(weight));
            let is_certain = |than| session.draws_more_than(than, key, stride(weight));
            prop_assert!(!is_certain(draw) && !is_certain(draw + 1));
            let other = session.draw(Identity(other), stride(1));
            prop_assert!(!is_certain(other) || draw > other);
        }

        #[test]
        fn a_greater_weight_never_makes_a_draw_worse(session: u64, name: String, weight in 1_u32..1000) {
            let (session, key) = (Session::new(session), Identity::of_label(&name));
            prop_assert!(session.draw(key, stride(weight + 1)) <= session.draw(key, stride(weight)));
        }
    }
}
