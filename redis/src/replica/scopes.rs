//! The scopes in which a limit is rate-limited.

use tokio::time::Instant;
use tower_key_failover::pool::Scope;

use super::push::Kind;
use crate::names::{Name, Names, Sealed};
use crate::record::End;
use crate::register::Register;

/// As many as a pool marks.
const MOST: usize = 64;

#[derive(Default)]
pub(super) struct Scopes(Vec<Scoped>);

struct Scoped {
    scope: Scope,
    sealed: Sealed,
    register: Register,
}

impl Scopes {
    pub(super) fn find(&mut self, scope: &Scope) -> Option<&mut Register> {
        let known = self.0.iter_mut().find(|known| known.scope == *scope);
        known.map(|known| &mut known.register)
    }

    /// The register of a scope, for a mark that ends at `end`. If there are too many, it takes the place
    /// of the one that ends first, unless that is this one.
    pub(super) fn find_or_add(
        &mut self,
        scope: &Scope,
        end: Instant,
        owner: Name,
        names: &Names,
    ) -> Option<&mut Register> {
        if let Some(at) = self.0.iter().position(|known| known.scope == *scope) {
            return Some(&mut self.0[at].register);
        }
        if self.0.len() >= MOST {
            let ends = self.0.iter().map(Scoped::ends).enumerate();
            let (first, ends) = ends.min_by_key(|(_, end)| *end)?;
            if ends >= Some(end) {
                return None;
            }
            self.0.swap_remove(first);
        }
        let (name, sealed) = names.seal(owner, scope);
        self.0.push(Scoped {
            scope: scope.clone(),
            sealed,
            register: Register::new(name),
        });
        self.0.last_mut().map(|added| &mut added.register)
    }

    pub(super) fn remove_over(&mut self, now: Instant) {
        self.0.retain(|known| known.ends() > Some(now));
    }

    /// Removes what was known before an operator reinstated the limit.
    pub(super) fn remove_before(&mut self, epoch: u64) {
        self.0.retain(|known| known.register.mine.epoch >= epoch);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// An operator acted before the marks that are known now.
    pub(super) fn raise_epochs(&mut self, epoch: u64) {
        for mine in self.0.iter_mut().map(|known| &mut known.register.mine) {
            mine.epoch = mine.epoch.max(epoch);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Scope, &Register)> {
        self.0.iter().map(|known| (&known.scope, &known.register))
    }

    /// The registers whose marks are not over.
    pub(super) fn kinds(&self, now: Instant) -> impl Iterator<Item = (Kind<'_>, &Register)> {
        let current = self.0.iter().filter(move |known| known.ends() > Some(now));
        current.map(|known| (Kind::Scope(&known.sealed), &known.register))
    }

    pub(super) fn registers_mut(&mut self) -> impl Iterator<Item = &mut Register> {
        self.0.iter_mut().map(|known| &mut known.register)
    }
}

impl Scoped {
    fn ends(&self) -> Option<Instant> {
        match self.register.mine.end {
            End::At(end) => Some(end),
            End::Open | End::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::SecretString;
    use tower_key_failover::pool::Reason;

    use super::*;
    use crate::names::Subject;

    #[tokio::test(start_paused = true)]
    async fn of_too_many_scopes_those_that_are_limited_for_longest_are_kept() {
        let names = Names::new(&SecretString::from("0123456789abcdef"), "pool");
        let (owner, now) = (names.name(Subject::Key("key")), Instant::now());
        let scope = |n: u64| Scope::new(&format!("m{n}")).unwrap();
        let mut scopes = Scopes::default();
        for n in (0..100).rev().chain(100..200) {
            let end = now + Duration::from_secs(60 + n);
            if let Some(register) = scopes.find_or_add(&scope(n), end, owner, &names) {
                register.mark(End::At(end), Reason::RateLimited, now);
            }
        }
        let mut kept: Vec<_> = scopes.iter().map(|(scope, _)| scope.clone()).collect();
        let mut expected: Vec<_> = (136..200).map(scope).collect();
        kept.sort();
        expected.sort();
        assert_eq!(kept, expected);
        scopes.remove_over(now + Duration::from_secs(60 + 150));
        assert_eq!(scopes.iter().count(), 49);
    }
}
