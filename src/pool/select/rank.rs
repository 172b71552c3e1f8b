//! Which usable key comes first: the one rule for all strategies.

use std::sync::Arc;

use super::rendezvous::{Identity, Session};
use super::selection::{Selection, Strategy};
use super::turns::{Turns, stride};
use crate::pool::pooled_key::PooledKey;

/// The rank of a key for one request. The lowest rank comes first. Of equal ranks, the one that a
/// search reaches first does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// How often the key was refused without proof since its last success.
    suspicions: u32,
    tier: u32,
    /// The key's draw in the request's session, if it has one.
    draw: u64,
    /// The requests in flight in proportion to the key's weight, if the strategy considers them.
    load: u64,
    /// How long it takes until the key has its turn.
    turn: u64,
}

impl Rank {
    pub(super) fn is_suspected(&self) -> bool {
        self.suspicions > 0
    }
}

/// What the ranks of a list of keys depend on.
#[derive(Debug)]
pub(super) struct Ranking {
    strategy: Strategy,
    lowest_tier: u32,
    keys: Box<[RankedKey]>,
}

/// The settings of a key that affect its rank.
#[derive(Clone, Copy, Debug)]
struct RankedKey {
    identity: Identity,
    stride: u32,
    tier: u32,
}

impl RankedKey {
    fn load(self, in_flight: u32) -> u64 {
        u64::from(in_flight) * u64::from(self.stride)
    }
}

impl Ranking {
    pub(super) fn new(selection: Selection, keys: &[Arc<PooledKey>]) -> Self {
        let keys = keys.iter().map(|key| RankedKey {
            identity: key.identity(),
            stride: stride(key.settings.weight),
            tier: key.settings.tier,
        });
        Self::of(selection.strategy(), keys.collect())
    }

    fn of(strategy: Strategy, keys: Box<[RankedKey]>) -> Self {
        Self {
            strategy,
            lowest_tier: keys.iter().map(|key| key.tier).min().unwrap_or_default(),
            keys,
        }
    }

    /// The turns of the keys, if they take turns. The one at `start` comes first.
    pub(super) fn turns(&self, start: usize) -> Option<Turns> {
        match self.strategy {
            Strategy::InOrder => None,
            Strategy::RoundRobin | Strategy::Weighted | Strategy::LeastInFlight => {
                let strides: Vec<_> = (0..self.keys.len()).map(|at| self.stride(at)).collect();
                Some(Turns::new(&strides, start))
            }
        }
    }

    /// How much later the next turn of the key at `at` comes.
    pub(super) fn stride(&self, at: usize) -> u32 {
        match self.strategy {
            Strategy::RoundRobin => stride(1),
            Strategy::InOrder | Strategy::Weighted | Strategy::LeastInFlight => {
                self.keys[at].stride
            }
        }
    }

    /// Whether the first key of the list comes first if it is trusted and no session prefers another.
    pub(super) fn begins_with_first(&self) -> bool {
        self.strategy == Strategy::InOrder && self.keys[0].tier == self.lowest_tier
    }

    /// The rank of the key at `at`. `in_flight` counts its requests.
    #[inline]
    pub(super) fn rank(
        &self,
        at: usize,
        suspicions: u32,
        session: Option<Session>,
        turns: Option<&Turns>,
        in_flight: impl FnOnce() -> u32,
    ) -> Rank {
        let key = &self.keys[at];
        Rank {
            suspicions,
            tier: key.tier,
            draw: session.map_or(0, |session| session.draw(key.identity, key.stride)),
            load: match self.strategy {
                Strategy::LeastInFlight => key.load(in_flight()),
                Strategy::InOrder | Strategy::RoundRobin | Strategy::Weighted => 0,
            },
            turn: turns.map_or(0, |turns| turns.until(at)),
        }
    }

    /// Whether the key at `at` certainly does not come before an earlier one of rank `best`. Neither is
    /// suspected. This costs much less than the rank itself.
    #[inline]
    pub(super) fn is_behind(
        &self,
        at: usize,
        best: &Rank,
        session: Option<Session>,
        turns: Option<&Turns>,
        in_flight: impl FnOnce() -> u32,
    ) -> bool {
        let key = &self.keys[at];
        if key.tier != best.tier {
            return key.tier > best.tier;
        }
        let until_turn = || turns.map_or(0, |turns| turns.until(at));
        match (session, self.strategy) {
            (Some(session), _) => session.draws_more_than(best.draw, key.identity, key.stride),
            (None, Strategy::LeastInFlight) => {
                (best.load, best.turn) <= (key.load(in_flight()), until_turn())
            }
            (None, _) => best.turn <= until_turn(),
        }
    }

    /// Whether no key that a search reaches later comes before one of this rank.
    #[inline]
    pub(super) fn is_lowest(&self, rank: &Rank) -> bool {
        rank.suspicions == 0
            && rank.tier == self.lowest_tier
            && (rank.draw | rank.load | rank.turn) == 0
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::{Identity, RankedKey, Ranking, Session, Strategy, Turns, stride};

    #[derive(Clone, Copy)]
    struct Usable {
        suspicions: u32,
        tier: u32,
        weight: u32,
        in_flight: u32,
    }

    const USABLE: Usable = Usable {
        suspicions: 0,
        tier: 1,
        weight: 1,
        in_flight: 0,
    };

    /// The positions of the keys, in the order in which a request uses them.
    fn order(strategy: Strategy, keys: &[Usable], session: Option<u64>) -> Vec<usize> {
        let identity = |at| Identity::of_label(&format!("key-{at}"));
        let ranked = keys.iter().enumerate().map(|(at, key)| RankedKey {
            identity: identity(at),
            stride: stride(key.weight),
            tier: key.tier,
        });
        let ranking = Ranking::of(strategy, ranked.collect());
        let turns = ranking.turns(0);
        let mut order: Vec<_> = (0..keys.len()).collect();
        order.sort_by_key(|at| {
            let Usable {
                suspicions,
                in_flight,
                ..
            } = keys[*at];
            let session = session.map(Session::new);
            ranking.rank(*at, suspicions, session, turns.as_ref(), || in_flight)
        });
        order
    }

    const ALL: [Strategy; 4] = [
        Strategy::InOrder,
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastInFlight,
    ];

    #[test]
    fn suspicions_come_before_tiers_and_tiers_before_everything_else() {
        let suspected = Usable {
            suspicions: 1,
            ..USABLE
        };
        let spare = Usable {
            tier: 2,
            weight: 100,
            ..USABLE
        };
        let busy = Usable {
            in_flight: 50,
            ..USABLE
        };
        for strategy in ALL {
            for session in (0..20).map(Some).chain([None]) {
                assert_eq!(
                    order(strategy, &[suspected, spare, busy], session),
                    [2, 1, 0]
                );
            }
        }
    }

    #[test]
    fn a_session_comes_before_the_strategy() {
        let keys = [1, 2, 3, 4].map(|in_flight| Usable {
            in_flight,
            ..USABLE
        });
        for session in 0..20 {
            let orders = ALL.map(|strategy| order(strategy, &keys, Some(session)));
            assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
        }
    }

    #[test]
    fn requests_in_flight_count_in_proportion_to_weights() {
        let key = |weight, in_flight| Usable {
            weight,
            in_flight,
            ..USABLE
        };
        let keys = [key(1, 2), key(10, 15), key(5, 5), key(1, 0)];
        assert_eq!(order(Strategy::LeastInFlight, &keys, None), [3, 2, 1, 0]);
    }

    #[test]
    fn the_greatest_load_of_the_lightest_key_does_not_overflow() {
        let busy = Usable {
            in_flight: u32::MAX,
            ..USABLE
        };
        let heavy = Usable {
            weight: 1000,
            ..busy
        };
        assert_eq!(order(Strategy::LeastInFlight, &[busy, heavy], None), [1, 0]);
    }

    #[test]
    fn a_key_is_behind_exactly_if_it_does_not_come_first() {
        let keys = [1, 2, 3, 1].map(|weight| RankedKey {
            identity: Identity::of_label("a"),
            stride: stride(weight),
            tier: 1 + weight / 3,
        });
        for strategy in ALL {
            let ranking = Ranking::of(strategy, keys.into());
            let turns = ranking.turns(0);
            for (best, other) in (0..4).flat_map(|one| (0..4).map(move |other| (one, other))) {
                let rank = |at: usize| ranking.rank(at, 0, None, turns.as_ref(), || at as u32);
                let in_flight = || other as u32;
                let is_behind =
                    ranking.is_behind(other, &rank(best), None, turns.as_ref(), in_flight);
                assert_eq!(is_behind, rank(best) <= rank(other), "{strategy:?}");
            }
        }
    }

    #[test]
    fn a_search_ends_early_only_at_the_lowest_possible_rank() {
        let keys = [1, 2].map(|tier| RankedKey {
            identity: Identity::of_label("a"),
            stride: stride(1),
            tier,
        });
        let ranking = Ranking::of(Strategy::LeastInFlight, keys.into());
        let turns = ranking.turns(0);
        let rank = |at, suspicions, session: Option<u64>, turns: Option<&Turns>, in_flight| {
            ranking.rank(at, suspicions, session.map(Session::new), turns, || {
                in_flight
            })
        };
        assert!(ranking.is_lowest(&rank(0, 0, None, turns.as_ref(), 0)));
        assert!(!ranking.is_lowest(&rank(1, 0, None, turns.as_ref(), 0)));
        assert!(!ranking.is_lowest(&rank(0, 1, None, turns.as_ref(), 0)));
        assert!(!ranking.is_lowest(&rank(0, 0, Some(7), turns.as_ref(), 0)));
        assert!(!ranking.is_lowest(&rank(0, 0, None, turns.as_ref(), 1)));
        turns.as_ref().unwrap().take(0, ranking.stride(0));
        assert!(!ranking.is_lowest(&rank(0, 0, None, turns.as_ref(), 0)));
    }
}
