//! What the pool, a walk and the service are to do, said as plainly as possible: one thing after
//! another, in ordinary fields.

use std::collections::BTreeMap;

use super::operation::{Answer, KEYS, Operation, REQUESTS, Rules};
use super::world::{Did, Doing, Ended, Sight, State};

/// An attempt without a verdict counts against the allowance of a reopening gate for so long. After
/// that, it is a proof.
const SILENCE: u64 = 250;
/// After so many proofs, a gate is fully open.
const PROOFS: usize = 16;
const DEFAULT_COOLDOWN: u64 = 60_000;
const INSPECTION: u64 = 1000;

/// All times are in milliseconds since the pool was built.
pub struct Reference {
    rules: Rules,
    now: u64,
    is_ready: bool,
    /// Of keys and of groups, those of removed keys included.
    gates: Vec<Gate>,
    list: Vec<Slot>,
    requests: BTreeMap<usize, Request>,
    started: usize,
    attempts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Now,
    Time(u64),
    Never,
}

/// Whether a key, or a group, may be used.
#[derive(Clone, Debug)]
struct Gate {
    is_removed: bool,
    /// How often it was reinstated.
    generation: u32,
    until: Until,
    is_disabled: bool,
    /// Since the end of its cooldown.
    proofs: usize,
    /// The admitted attempts without a verdict, and when they began.
    young: Vec<(u64, u64)>,
    repeated: u32,
}

/// A key in the list. Each key that ever was has a gate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    number: usize,
    own: usize,
    group: Option<(u8, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Open,
    Returned,
    Shut,
}

/// A key as it was handed out.
#[derive(Clone, Debug)]
struct Turn {
    slot: Slot,
    seen: Vec<Seen>,
}

/// A gate as a handle remembers it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    gate: usize,
    generation: u32,
    until: Until,
    /// The attempt's number, if the gate was reopening.
    admission: Option<u64>,
}

#[derive(Clone, Debug)]
struct Request {
    doing: Step,
    turn: Turn,
    attempts: usize,
    could_follow: bool,
    /// The keys that refused it, and how.
    refused: Vec<(Slot, Verdict)>,
    /// Whether the key that was picked was marked before it was used, so that another one is.
    was_replaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Attempt,
    Inspecting { until: u64 },
    Readying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Forward,
    Keep,
    Temporary(u64),
    Permanent,
}

impl Gate {
    fn new() -> Self {
        Self {
            is_removed: false,
            generation: 0,
            until: Until::Now,
            is_disabled: false,
            proofs: 0,
            young: Vec::new(),
            repeated: 0,
        }
    }

    fn is_valid(&self, now: u64) -> bool {
        match self.until {
            Until::Now => true,
            Until::Time(until) => until <= now,
            Until::Never => false,
        }
    }

    fn close(&mut self, until: Until) {
        self.until = until;
        self.proofs = 0;
        self.young.clear();
    }

    fn grow_older(&mut self, now: u64) {
        let before = self.young.len();
        self.young.retain(|(_, since)| since + SILENCE > now);
        self.prove(before - self.young.len());
    }

    fn prove(&mut self, proofs: usize) {
        self.proofs += proofs;
        if self.proofs >= PROOFS {
            self.close(Until::Now);
        }
    }
}

impl Slot {
    fn gates(self) -> impl Iterator<Item = usize> {
        std::iter::once(self.own).chain(self.group.map(|(_, gate)| gate))
    }
}

impl Request {
    /// The keys that it does not try again: not those that it only let cool down.
    fn tried(&self) -> Vec<Slot> {
        let is_tried = |(_, verdict): &&(Slot, Verdict)| !matches!(verdict, Verdict::Temporary(_));
        let tried = self.refused.iter().filter(is_tried);
        tried.map(|(slot, _)| *slot).collect()
    }
}

impl Reference {
    pub fn new(rules: &Rules) -> Self {
        let mut reference = Self {
            rules: rules.clone(),
            now: 0,
            is_ready: true,
            gates: Vec::new(),
            list: Vec::new(),
            requests: BTreeMap::new(),
            started: 0,
            attempts: 0,
        };
        reference.replace(&(0..rules.keys).collect::<Vec<_>>());
        reference
    }

    pub fn apply(&mut self, operation: &Operation) -> Did {
        let mut did = Did::new();
        match operation {
            Operation::Start => did.extend(self.start()),
            Operation::Answer(at, answer) => {
                let attempts: Vec<usize> = self.doing(|step| step == Step::Attempt);
                if !attempts.is_empty() {
                    let id = attempts[at % attempts.len()];
                    did.extend(self.answer(id, *answer).map(|end| (id, end)));
                }
            }
            Operation::EndBody(at) => {
                if let Some(id) = self.nth(*at) {
                    let request = self.requests.get_mut(&id).unwrap();
                    if let Step::Inspecting { until } = &mut request.doing {
                        *until = 0;
                    }
                }
            }
            Operation::Cancel(at) => {
                if let Some(mut request) = self.nth(*at).and_then(|id| self.requests.remove(&id)) {
                    if let Step::Inspecting { .. } = request.doing {
                        self.mark(&mut request, Verdict::Permanent, 200);
                    }
                    self.end(&request.turn, false);
                }
            }
            Operation::Advance(time) => self.now += time.as_millis() as u64,
            Operation::SetReady(is_ready) => self.is_ready = *is_ready,
            Operation::Reinstate(key) => {
                if let Some(slot) = self.list.iter().find(|slot| slot.number == *key).copied() {
                    for gate in slot.gates() {
                        let gate = &mut self.gates[gate];
                        gate.repeated = 0;
                        gate.generation += 1;
                        gate.is_disabled = false;
                        gate.close(Until::Now);
                    }
                }
            }
            Operation::Disable(key) => {
                if let Some(slot) = self.list.iter().find(|slot| slot.number == *key).copied() {
                    self.gates[slot.own].is_disabled = true;
                    self.gates[slot.own].close(Until::Never);
                }
            }
            Operation::Replace(keys) => self.replace(keys),
        }
        for id in self.requests.keys().copied().collect::<Vec<_>>() {
            did.extend(self.go_on(id).map(|end| (id, end)));
        }
        did
    }

    pub fn look(&self) -> Sight {
        let doing = |request: &Request| match request.doing {
            Step::Attempt => Doing::Attempt(request.turn.slot.number),
            Step::Inspecting { .. } | Step::Readying => Doing::Between,
        };
        let requests = self.requests.iter();
        Sight {
            states: self
                .list
                .iter()
                .map(|slot| (slot.number, self.state(*slot)))
                .collect(),
            requests: requests
                .map(|(id, request)| (*id, doing(request)))
                .collect(),
        }
    }

    fn doing(&self, is: impl Fn(Step) -> bool) -> Vec<usize> {
        let requests = self.requests.iter();
        let doing = requests.filter(|(_, request)| is(request.doing));
        doing.map(|(id, _)| *id).collect()
    }

    fn nth(&self, at: usize) -> Option<usize> {
        self.requests
            .keys()
            .nth(at % self.requests.len().max(1))
            .copied()
    }

    fn replace(&mut self, keys: &[usize]) {
        let old = std::mem::take(&mut self.list);
        for number in keys {
            let own = old
                .iter()
                .find(|slot| slot.number == *number)
                .map(|slot| slot.own);
            let own = own.unwrap_or_else(|| self.add_gate());
            let group = self.rules.groups[*number].map(|name| {
                let mut known = old.iter().chain(&self.list).filter_map(|slot| slot.group);
                let known = known.find(|(known, _)| *known == name);
                known.unwrap_or_else(|| (name, self.add_gate()))
            });
            let number = *number;
            self.list.push(Slot { number, own, group });
        }
        for slot in old {
            if !self.list.iter().any(|kept| kept.own == slot.own) {
                self.gates[slot.own].is_removed = true;
            }
        }
    }

    fn add_gate(&mut self) -> usize {
        self.gates.push(Gate::new());
        self.gates.len() - 1
    }

    // === The pool ===

    fn state(&self, slot: Slot) -> State {
        let until = slot.gates().map(|gate| &self.gates[gate]);
        let until = until
            .filter(|gate| !gate.is_valid(self.now))
            .map(|gate| gate.until);
        match until.max() {
            None | Some(Until::Now) => State::Valid,
            Some(Until::Time(until)) => State::Temporary(until - self.now),
            Some(Until::Never) => State::Permanent,
        }
    }

    fn standing(&self, slot: Slot) -> Standing {
        let standing = |gate: usize| {
            let gate = &self.gates[gate];
            match gate.until {
                _ if gate.is_removed => Standing::Shut,
                Until::Now => Standing::Open,
                Until::Time(until) if until <= self.now => Standing::Returned,
                _ => Standing::Shut,
            }
        };
        slot.gates().map(standing).max().unwrap()
    }

    fn pick(&mut self, tried: &[Slot], may_exceed: bool) -> Option<Turn> {
        for gate in &mut self.gates {
            if !gate.is_removed && matches!(gate.until, Until::Time(until) if until <= self.now) {
                gate.grow_older(self.now);
            }
        }
        let is_tried = |slot: Slot| tried.iter().any(|tried| tried.own == slot.own);
        let mut full = None;
        for slot in self.list.clone() {
            if is_tried(slot) || self.standing(slot) == Standing::Shut {
                continue;
            }
            let has_room = |gate: usize| {
                let gate = &self.gates[gate];
                gate.until == Until::Now || gate.young.len() <= gate.proofs
            };
            if slot.gates().all(has_room) {
                return Some(self.hand_out(slot));
            }
            full = full.or(Some(slot));
        }
        // A request that was not refused yet may exceed the allowance.
        let full = full.filter(|_| may_exceed)?;
        Some(self.hand_out(full))
    }

    fn hand_out(&mut self, slot: Slot) -> Turn {
        self.attempts += 1;
        let mut seen = Vec::new();
        for at in slot.gates() {
            let gate = &mut self.gates[at];
            let is_reopening = gate.until != Until::Now;
            if is_reopening {
                gate.young.push((self.attempts, self.now));
            }
            seen.push(Seen {
                gate: at,
                generation: gate.generation,
                until: gate.until,
                admission: is_reopening.then_some(self.attempts),
            });
        }
        Turn { slot, seen }
    }

    /// Ends an attempt, with or without a success.
    fn end(&mut self, turn: &Turn, is_success: bool) {
        for seen in &turn.seen {
            let gate = &mut self.gates[seen.gate];
            let is_same = (gate.generation, gate.until) == (seen.generation, seen.until);
            if gate.is_removed || !is_same {
                continue;
            }
            if let Some(admission) = seen.admission {
                gate.grow_older(self.now);
                let before = gate.young.len();
                gate.young.retain(|(number, _)| *number != admission);
                if is_success {
                    gate.prove(before - gate.young.len());
                }
            } else if is_success && !gate.is_disabled {
                match gate.until {
                    Until::Now => {}
                    Until::Time(until) if until <= self.now => {
                        gate.grow_older(self.now);
                        gate.prove(1);
                    }
                    Until::Time(_) => gate.close(Until::Now),
                    Until::Never => {
                        gate.generation += 1;
                        gate.repeated = 0;
                        gate.close(Until::Now);
                    }
                }
            }
        }
    }

    /// Whether no gate was reinstated since.
    fn is_current(&self, turn: &Turn) -> bool {
        let mut seen = turn.seen.iter();
        seen.all(|seen| self.gates[seen.gate].generation == seen.generation)
    }

    fn put_out(&mut self, at: usize, until: Until) -> bool {
        let now = self.now;
        let gate = &mut self.gates[at];
        if gate.is_removed || gate.is_disabled || until <= gate.until {
            return false;
        }
        let was_valid = gate.is_valid(now);
        gate.close(until);
        was_valid
    }

    fn put_out_for(&mut self, turn: &Turn, seconds: u64) {
        let gates = || turn.seen.iter().map(|seen| seen.gate);
        let wait = match seconds {
            0 => gates().map(|gate| self.cooldown(gate)).max().unwrap(),
            seconds => seconds * 1000,
        };
        if !self.is_current(turn) {
            return;
        }
        for gate in gates() {
            let was_valid = self.put_out(gate, Until::Time(self.now + wait));
            if was_valid && seconds == 0 {
                self.gates[gate].repeated += 1;
            }
        }
    }

    fn put_out_for_good(&mut self, turn: &Turn) {
        let own = turn.seen[0];
        if self.gates[own.gate].generation == own.generation {
            self.put_out(own.gate, Until::Never);
        }
    }

    fn cooldown(&self, gate: usize) -> u64 {
        let Some(bound) = self.rules.growth else {
            return DEFAULT_COOLDOWN;
        };
        let gate = &self.gates[gate];
        // The cooldown that it is in is this one.
        let before = match gate.is_valid(self.now) {
            true => gate.repeated,
            false => gate.repeated.saturating_sub(1),
        };
        let grown = DEFAULT_COOLDOWN.saturating_mul(1 << before.min(30));
        grown.min(bound.as_millis() as u64).max(DEFAULT_COOLDOWN)
    }

    // === A request ===

    fn start(&mut self) -> Option<(usize, Ended)> {
        if self.requests.len() == REQUESTS || !self.is_ready {
            return None;
        }
        let id = self.started;
        self.started += 1;
        let Some(turn) = self.pick(&[], true) else {
            return Some((id, Ended::Answered(self.exhausted(&[]), Vec::new())));
        };
        let mut request = Request {
            doing: Step::Attempt,
            turn,
            attempts: 1,
            could_follow: false,
            refused: Vec::new(),
            was_replaced: false,
        };
        request.could_follow = self.could_follow(&request);
        self.requests.insert(id, request);
        None
    }

    /// Whether another attempt can be made.
    fn has_attempts(&self, request: &Request) -> bool {
        let is_replaced = |(slot, _): &&(Slot, Verdict)| self.gates[slot.own].is_removed;
        let replaced = request.refused.iter().filter(is_replaced).count();
        let keys = (self.list.len() + replaced).max(2);
        request.attempts < self.rules.max_attempts.unwrap_or(keys)
    }

    /// Whether another key could follow the attempt that begins.
    fn could_follow(&self, request: &Request) -> bool {
        let tried = request.tried();
        let mut others = self
            .list
            .iter()
            .filter(|slot| !tried.contains(slot) && slot.own != request.turn.slot.own);
        self.has_attempts(request)
            && (request.was_replaced || others.any(|slot| self.standing(*slot) != Standing::Shut))
    }

    fn answer(&mut self, id: usize, answer: Answer) -> Option<Ended> {
        let (verdict, status) = match answer {
            Answer::Good => (Verdict::Forward, 200),
            Answer::Broken => (Verdict::Forward, 500),
            Answer::Revoked => (Verdict::Permanent, 403),
            Answer::Keep => (Verdict::Keep, 418),
            Answer::Limited(seconds) => (Verdict::Temporary(seconds), 429),
            Answer::Inspect => {
                let until = self.now + INSPECTION;
                self.requests.get_mut(&id).unwrap().doing = Step::Inspecting { until };
                return None;
            }
            Answer::Failed => {
                let request = self.requests.remove(&id).unwrap();
                self.end(&request.turn, false);
                return Some(Ended::Failed);
            }
        };
        self.settle(id, verdict, status)
    }

    /// Goes on with what waits for time, or for the inner service.
    fn go_on(&mut self, id: usize) -> Option<Ended> {
        let mut ended = None;
        if let Step::Inspecting { until } = self.requests[&id].doing
            && until <= self.now
        {
            ended = self.settle(id, Verdict::Permanent, 200);
        }
        let is_readying = |request: &Request| request.doing == Step::Readying;
        if self.is_ready && self.requests.get(&id).is_some_and(is_readying) {
            ended = self.attempt_again(id);
        }
        ended
    }

    fn attempt_again(&mut self, id: usize) -> Option<Ended> {
        let mut request = self.requests.remove(&id).unwrap();
        let own = &self.gates[request.turn.slot.own];
        if own.is_removed || own.is_disabled {
            self.end(&request.turn, false);
            match self.next(&request) {
                Some(turn) => request.turn = turn,
                None => return Some(self.say_exhausted(&request)),
            }
        }
        request.was_replaced = false;
        if self.standing(request.turn.slot) == Standing::Shut {
            // It was marked in the meantime.
            let other = self.next(&request);
            self.end(&request.turn, false);
            request.was_replaced = other.is_some();
            match other {
                Some(other) => request.turn = other,
                // A success then proves that it works.
                None => {
                    for seen in &mut request.turn.seen {
                        let gate = &self.gates[seen.gate];
                        (seen.generation, seen.until) = (gate.generation, gate.until);
                        seen.admission = None;
                    }
                }
            }
        }
        request.attempts += 1;
        request.could_follow = self.could_follow(&request);
        request.doing = Step::Attempt;
        self.requests.insert(id, request);
        None
    }

    fn next(&mut self, request: &Request) -> Option<Turn> {
        // Keys that have not refused the request come first.
        let all: Vec<Slot> = request.refused.iter().map(|(slot, _)| *slot).collect();
        let is_first = all.is_empty();
        self.pick(&all, is_first)
            .or_else(|| self.pick(&request.tried(), is_first))
    }

    fn settle(&mut self, id: usize, verdict: Verdict, status: u16) -> Option<Ended> {
        let mut request = self.requests.remove(&id).unwrap();
        self.mark(&mut request, verdict, status);
        let slot = request.turn.slot;
        if verdict == Verdict::Forward {
            let mut keys = history(&request);
            keys.push(slot.number);
            return Some(Ended::Answered(status, keys));
        }
        request.refused.push((slot, verdict));
        let next = match request.could_follow {
            true => self.next(&request),
            false => None,
        };
        match next {
            Some(turn) => {
                request.turn = turn;
                request.doing = Step::Readying;
                self.requests.insert(id, request);
                None
            }
            None if verdict == Verdict::Keep => Some(Ended::Answered(status, history(&request))),
            None => Some(self.say_exhausted(&request)),
        }
    }

    fn say_exhausted(&self, request: &Request) -> Ended {
        let kept = request
            .refused
            .iter()
            .filter(|(_, verdict)| *verdict == Verdict::Keep);
        let kept: Vec<Slot> = kept.map(|(slot, _)| *slot).collect();
        Ended::Answered(self.exhausted(&kept), history(request))
    }

    fn exhausted(&self, kept: &[Slot]) -> u16 {
        let counts = |slot: &&Slot| !kept.iter().any(|kept| kept.own == slot.own);
        let mut states = self
            .list
            .iter()
            .filter(counts)
            .map(|slot| self.state(*slot));
        match states.any(|state| state != State::Permanent) {
            true => 429,
            false => 502,
        }
    }

    fn mark(&mut self, request: &mut Request, verdict: Verdict, status: u16) {
        let turn = request.turn.clone();
        let is_success = verdict == Verdict::Forward && status == 200;
        self.end(&turn, is_success);
        match verdict {
            Verdict::Forward | Verdict::Keep => {}
            Verdict::Temporary(seconds) => self.put_out_for(&turn, seconds),
            Verdict::Permanent => self.put_out_for_good(&turn),
        }
        if is_success && self.rules.growth.is_some() {
            for seen in &turn.seen {
                let gate = &mut self.gates[seen.gate];
                let is_same = gate.generation == seen.generation;
                if is_same && gate.is_valid(self.now) && !gate.is_removed {
                    gate.repeated = 0;
                }
            }
        }
        request.turn.seen.clear();
    }
}

fn history(request: &Request) -> Vec<usize> {
    request
        .refused
        .iter()
        .map(|(slot, _)| slot.number)
        .collect()
}

const _: () = assert!(KEYS > 0);
