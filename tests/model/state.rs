//! One state of the small world. No revision is kept: of a version that somebody remembers it counts only whether it is
//! still the present one, and whether it is the one in the snapshot that etcd may be restored from.

use super::rules::Kind;

/// A version of a key that somebody remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    pub(crate) present: bool,
    pub(crate) snapshot: bool,
}

/// What a node remembers of a request that wrote its key: the number of the slot that it went out by.
pub(crate) const BY_CALL: u8 = 1;
pub(crate) const BY_DRIFT: u8 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// 0: absent.
    pub(crate) lease: u8,
    /// Which request of its node wrote it, if that is still of interest.
    pub(crate) by: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) active: bool,
    pub(crate) node: u8,
    pub(crate) lease: u8,
    /// 0: there is none.
    pub(crate) epoch: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Etcd<const N: usize, const G: usize> {
    pub(crate) keys: [Key; N],
    pub(crate) records: [Record; G],
}

/// What a node read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View<const N: usize, const G: usize> {
    pub(crate) keys: [(u8, Version); N],
    pub(crate) records: [(Record, Version); G],
    pub(crate) by: u8,
}

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request<const G: usize> {
    pub(crate) kind: Kind,
    pub(crate) group: u8,
    pub(crate) lease: u8,
    pub(crate) own: Version,
    /// Of each group's record: the one it is about, and for T4 the others.
    pub(crate) records: [Version; G],
    pub(crate) frees: [bool; G],
    pub(crate) holder: u8,
    pub(crate) holder_lease: u8,
    pub(crate) beat: Version,
    pub(crate) epoch: u8,
    /// Own ticks since its stamp.
    pub(crate) age: u8,
    pub(crate) landed: bool,
}

/// An answer not yet received: what was read with it, and which observations it leaves as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answer<const N: usize, const G: usize> {
    pub(crate) succeeded: bool,
    pub(crate) view: View<N, G>,
    pub(crate) same: [bool; G],
    pub(crate) same_name: bool,
}

/// What a node has seen of an incarnation, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) node: u8,
    /// 0: nothing is observed.
    pub(crate) lease: u8,
    pub(crate) gone: bool,
    pub(crate) beat: Version,
    pub(crate) age: u8,
}

/// What runs, or ran, of a group on a node. It outlives the sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    /// 0: nothing.
    pub(crate) epoch: u8,
    pub(crate) writes: bool,
    /// Own ticks until the tether kills.
    pub(crate) page: u8,
    pub(crate) latched: bool,
    /// Its validity ran out.
    pub(crate) over: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Member {
    #[default]
    Out,
    Registering,
    Joined,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node<const N: usize, const G: usize> {
    pub(crate) up: bool,
    pub(crate) member: Member,
    /// Its incarnation; on disk as long as the host is not rebooted.
    pub(crate) lease: u8,
    /// The version of its key that it knows as its last beat.
    pub(crate) own: Version,
    pub(crate) view: Option<View<N, G>>,
    pub(crate) seen: [Seen; G],
    /// Of the key of its own name, while it is somebody else's.
    pub(crate) namesake: Seen,
    pub(crate) contact: u8,
    /// Own ticks since the last good read was sent; above the gap: none.
    pub(crate) read_age: u8,
    pub(crate) call: Option<Request<G>>,
    pub(crate) answer: Option<Answer<N, G>>,
    /// Timed out: it may land yet.
    pub(crate) drift: Option<Request<G>>,
    pub(crate) read_back: bool,
    pub(crate) valid: u8,
    pub(crate) runs: [Run; G],
    /// How far its clock is ahead.
    pub(crate) skew: u8,
    /// It has read what was written after the snapshot.
    pub(crate) past: bool,
    pub(crate) frozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World<const N: usize, const G: usize> {
    pub(crate) etcd: Etcd<N, G>,
    pub(crate) nodes: [Node<N, G>; N],
    pub(crate) snapshot: Option<Etcd<N, G>>,
    /// What was not written since the snapshot.
    pub(crate) kept_keys: [bool; N],
    pub(crate) kept_records: [bool; G],
    pub(crate) restored: bool,
    /// True ticks since etcd went away; 0: it is there.
    pub(crate) away: u8,
    pub(crate) unknowns: u8,
    pub(crate) crashes: u8,
    pub(crate) reboots: u8,
    pub(crate) deletes: u8,
    pub(crate) stops: u8,
    pub(crate) restores: u8,
}

/// The present record's epoch is kept at most this high; what is older moves down with it.
const EPOCH_KEPT: u8 = 4;

impl<const N: usize, const G: usize> World<N, G> {
    pub(crate) fn new(bounds: &super::rules::Bounds) -> Self {
        let node = Node {
            up: true,
            member: Member::Out,
            lease: 0,
            own: Version::default(),
            view: None,
            seen: [Seen::default(); G],
            namesake: Seen::default(),
            contact: 0,
            read_age: bounds.gap + 1,
            call: None,
            answer: None,
            drift: None,
            read_back: false,
            valid: 0,
            runs: [Run::default(); G],
            skew: 0,
            past: false,
            frozen: false,
        };
        Self {
            etcd: Etcd {
                keys: [Key::default(); N],
                records: [Record::default(); G],
            },
            nodes: [node; N],
            snapshot: None,
            kept_keys: [false; N],
            kept_records: [false; G],
            restored: false,
            away: 0,
            unknowns: bounds.unknowns,
            crashes: bounds.crashes,
            reboots: bounds.reboots,
            deletes: bounds.deletes,
            stops: bounds.stops,
            restores: bounds.restores,
        }
    }

    /// Every remembered version of a node's key.
    pub(crate) fn each_key_version(&mut self, of: usize, mut act: impl FnMut(&mut Version)) {
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if at == of {
                act(&mut node.own);
                act(&mut node.namesake.beat);
            }
            for seen in node.seen.iter_mut().filter(|seen| seen.node as usize == of) {
                act(&mut seen.beat);
            }
            let answered = node.answer.as_mut().map(|answer| &mut answer.view);
            for view in node.view.iter_mut().chain(answered) {
                act(&mut view.keys[of].1);
            }
            for request in node.call.iter_mut().chain(&mut node.drift) {
                if at == of {
                    act(&mut request.own);
                }
                if request.holder as usize == of {
                    act(&mut request.beat);
                }
            }
        }
    }

    /// Every remembered version of a group's record.
    pub(crate) fn each_record_version(&mut self, of: usize, mut act: impl FnMut(&mut Version)) {
        for node in &mut self.nodes {
            let answered = node.answer.as_mut().map(|answer| &mut answer.view);
            for view in node.view.iter_mut().chain(answered) {
                act(&mut view.records[of].1);
            }
            for request in node.call.iter_mut().chain(&mut node.drift) {
                act(&mut request.records[of]);
            }
        }
    }

    /// A lease of the node that nothing in the world remembers.
    pub(crate) fn fresh_lease(&self, of: usize) -> u8 {
        let mut used = [false; 32];
        let mut mark = |lease: u8| used[lease as usize] = true;
        let snapshot = self.snapshot.iter();
        for etcd in snapshot.chain([&self.etcd]) {
            mark(etcd.keys[of].lease);
            let own = etcd.records.iter().filter(|record| record.node as usize == of);
            own.for_each(|record| mark(record.lease));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if at == of {
                mark(node.lease);
                mark(node.namesake.lease);
            }
            let seen = node.seen.iter().filter(|seen| seen.node as usize == of);
            seen.for_each(|seen| mark(seen.lease));
            for view in node.view.iter().chain(node.answer.iter().map(|answer| &answer.view)) {
                mark(view.keys[of].0);
                let own = view.records.iter().filter(|(record, _)| record.node as usize == of);
                own.for_each(|(record, _)| mark(record.lease));
            }
            for request in node.call.iter().chain(&node.drift) {
                if at == of {
                    mark(request.lease);
                }
                if request.holder as usize == of {
                    mark(request.holder_lease);
                }
            }
        }
        (1..32).find(|lease| !used[*lease as usize]).unwrap_or(31)
    }

    /// What no step will ever look at is made the same everywhere.
    fn forget(&mut self) {
        let nothing = Version::default();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            for run in node.runs.iter_mut().filter(|run| !run.writes) {
                run.page = 0;
            }
            if node.call.is_none() && !super::step::holds_any(node, at) {
                node.valid = 0;
            }
            for seen in node.seen.iter_mut().filter(|seen| seen.gone) {
                seen.beat = nothing;
            }
            if node.member == Member::Out {
                node.own = nothing;
            }
            for request in node.call.iter_mut().chain(&mut node.drift) {
                let kind = request.kind;
                if request.landed || kind == Kind::T2 {
                    (request.records, request.frees, request.epoch) = ([nothing; G], [false; G], 0);
                    (request.group, request.beat) = (0, nothing);
                    (request.holder, request.holder_lease) = (at as u8, 0);
                }
                for of in 0..G {
                    if of != request.group as usize && !request.frees[of] {
                        request.records[of] = nothing;
                    }
                }
                if matches!(kind, Kind::T1 | Kind::T9) {
                    request.records = [nothing; G];
                }
                if matches!(kind, Kind::T1 | Kind::T8 | Kind::T9) {
                    request.own = nothing;
                }
                if kind == Kind::T5 {
                    request.beat = nothing;
                }
            }
        }
    }

    /// Leases by the order in which they are met.
    fn rename(&mut self) {
        let mut names = [[0_u8; 32]; N];
        let mut met = [0_u8; N];
        let mut name = |node: usize, lease: &mut u8| {
            if *lease == 0 {
                return;
            }
            let known = &mut names[node][*lease as usize];
            if *known == 0 {
                met[node] += 1;
                *known = met[node];
            }
            *lease = *known;
        };
        for etcd in [Some(&mut self.etcd), self.snapshot.as_mut()].into_iter().flatten() {
            for (of, key) in etcd.keys.iter_mut().enumerate() {
                name(of, &mut key.lease);
            }
            for record in &mut etcd.records {
                name(record.node as usize, &mut record.lease);
            }
        }
        for (at, node) in self.nodes.iter_mut().enumerate() {
            name(at, &mut node.lease);
            name(at, &mut node.namesake.lease);
            for seen in &mut node.seen {
                name(seen.node as usize, &mut seen.lease);
            }
            let answered = node.answer.as_mut().map(|answer| &mut answer.view);
            for view in node.view.iter_mut().chain(answered) {
                for (of, (lease, _)) in view.keys.iter_mut().enumerate() {
                    name(of, lease);
                }
                for (record, _) in &mut view.records {
                    name(record.node as usize, &mut record.lease);
                }
            }
            for request in node.call.iter_mut().chain(&mut node.drift) {
                name(at, &mut request.lease);
                name(request.holder as usize, &mut request.holder_lease);
            }
        }
    }

    /// The same state in the same form. Epochs count from the present record's; so the world stays finite.
    pub(crate) fn normalise(&mut self, bounds: &super::rules::Bounds) {
        self.forget();
        self.rename();
        // Contact matters where etcd may be restored, and only there.
        if bounds.restores == 0 {
            for node in &mut self.nodes {
                (node.contact, node.read_age) = (bounds.wait, 0);
            }
        }
        for (key, node) in self.etcd.keys.iter_mut().zip(&self.nodes) {
            let landed = |request: &Option<Request<G>>| request.is_some_and(|request| request.landed);
            let matters = match key.by {
                BY_CALL => landed(&node.call),
                BY_DRIFT => node.drift.is_some(),
                _ => false,
            };
            if !matters {
                key.by = 0;
            }
        }
        for group in 0..G {
            let by = self.etcd.records[group].epoch.saturating_sub(EPOCH_KEPT);
            if by == 0 {
                continue;
            }
            let lower = |epoch: &mut u8| {
                if *epoch > 0 {
                    *epoch = epoch.saturating_sub(by).max(1);
                }
            };
            lower(&mut self.etcd.records[group].epoch);
            if let Some(snapshot) = &mut self.snapshot {
                lower(&mut snapshot.records[group].epoch);
            }
            for node in &mut self.nodes {
                lower(&mut node.runs[group].epoch);
                let answered = node.answer.as_mut().map(|answer| &mut answer.view);
                for view in node.view.iter_mut().chain(answered) {
                    lower(&mut view.records[group].0.epoch);
                }
                for request in node.call.iter_mut().chain(&mut node.drift) {
                    if request.group as usize == group {
                        lower(&mut request.epoch);
                    }
                }
            }
        }
    }

    /// Two that write the same group.
    pub(crate) fn two_writers(&self) -> bool {
        (0..G).any(|group| self.nodes.iter().filter(|node| node.runs[group].writes).count() > 1)
    }

    /// Every group is written by the holder that its record names, under a live lease.
    pub(crate) fn served(&self) -> bool {
        (0..G).all(|group| {
            let record = self.etcd.records[group];
            let node = &self.nodes[record.node as usize];
            let run = node.runs[group];
            record.active && run.writes && !run.latched && run.epoch == record.epoch && node.lease == record.lease
        })
    }
}
