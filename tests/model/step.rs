//! Every step that the small world can take from a state.

use super::rules::{Bounds, Compare, Kind, Rule};
use super::state::{Answer, BY_CALL, BY_DRIFT, Key, Member, Node, Record, Request, Run, Seen, Version, View, World};

/// A step, for the trace of a counterexample: the node that it is about, and what happens.
pub(crate) type Step = (usize, &'static str);

/// Where the steps of a state are collected.
pub(crate) struct Steps<const N: usize, const G: usize> {
    pub(crate) next: Vec<(Step, World<N, G>)>,
    /// An epoch that was written did not rise.
    pub(crate) fell: Option<Step>,
}

impl<const N: usize, const G: usize> Steps<N, G> {
    fn add(&mut self, step: Step, world: World<N, G>) {
        self.next.push((step, world));
    }
}

pub(crate) fn all<const N: usize, const G: usize>(world: &World<N, G>, bounds: &Bounds, out: &mut Steps<N, G>) {
    tick(*world, 0, bounds, out);
    for at in 0..N {
        faults(world, at, bounds, out);
        runs(world, at, bounds, out);
        requests(world, at, bounds, out);
        sends(world, at, bounds, out);
    }
    restores(world, bounds, out);
}

/// True time moves by one tick; each clock by one, by two, or not at all, as far as it may be apart.
fn tick<const N: usize, const G: usize>(world: World<N, G>, from: usize, bounds: &Bounds, out: &mut Steps<N, G>) {
    if from == N {
        let mut next = world;
        if next.away > 0 {
            next.away = (next.away + 1).min(bounds.gap + bounds.skew + 3);
        }
        out.add((N, "tick"), next);
        return;
    }
    for by in 0..=2 {
        let Some(skew) = (world.nodes[from].skew + by).checked_sub(1) else {
            continue;
        };
        if skew <= bounds.skew {
            let mut next = world;
            next.nodes[from].skew = skew;
            pass(&mut next.nodes[from], by, bounds);
            tick(next, from + 1, bounds, out);
        }
    }
}

fn pass<const N: usize, const G: usize>(node: &mut Node<N, G>, by: u8, bounds: &Bounds) {
    let older = |age: &mut u8, most: u8| *age = (*age + by).min(most);
    older(&mut node.contact, bounds.wait);
    older(&mut node.read_age, bounds.gap + 1);
    for seen in node.seen.iter_mut().chain([&mut node.namesake]) {
        if seen.lease != 0 {
            older(&mut seen.age, bounds.wait);
        }
    }
    for request in node.call.iter_mut().chain(&mut node.drift) {
        older(&mut request.age, bounds.wait.min(bounds.trusted().max(bounds.gap + 1)));
    }
    node.valid = node.valid.saturating_sub(by);
    for run in node.runs.iter_mut().filter(|run| run.epoch > 0) {
        run.page = run.page.saturating_sub(by);
        // The tether kills, whoever else is alive.
        run.writes &= run.page > 0;
        if !run.writes && node.valid == 0 {
            (run.latched, run.over) = (true, true);
        }
    }
}

fn faults<const N: usize, const G: usize>(world: &World<N, G>, at: usize, bounds: &Bounds, out: &mut Steps<N, G>) {
    let node = &world.nodes[at];
    if node.up && world.crashes > 0 {
        let mut next = *world;
        next.crashes -= 1;
        let lost = forget(&mut next.nodes[at], bounds);
        next.nodes[at].up = false;
        if !lost {
            next.nodes[at].lease = 0;
        }
        out.add((at, "sidecar crashes"), next);
    }
    if !node.up {
        let mut next = *world;
        next.nodes[at].up = true;
        out.add((at, "sidecar starts"), next);
    }
    if world.reboots > 0 {
        let mut next = *world;
        next.reboots -= 1;
        forget(&mut next.nodes[at], bounds);
        let node = &mut next.nodes[at];
        (node.up, node.lease, node.runs) = (true, 0, [Run::default(); G]);
        out.add((at, "host reboots"), next);
    }
    if world.deletes > 0 && world.etcd.keys[at].lease != 0 {
        let mut next = *world;
        next.deletes -= 1;
        write_key(&mut next, at, Key::default());
        out.add((at, "key deleted by hand"), next);
    }
}

/// The sidecar's memory goes; what it had sent may land yet. Whether it had an incarnation on disk.
fn forget<const N: usize, const G: usize>(node: &mut Node<N, G>, bounds: &Bounds) -> bool {
    let kept = matches!(node.member, Member::Joined | Member::Lost) || node.member == Member::Out && node.lease != 0;
    node.drift = node.call.take().or(node.drift.take()).filter(|request| !request.landed);
    if let Some(drift) = &mut node.drift {
        drift.age = bounds.wait.min(bounds.trusted().max(bounds.gap + 1));
    }
    (node.member, node.own, node.view, node.answer) = (Member::Out, Version::default(), None, None);
    (node.seen, node.namesake) = ([Seen::default(); G], Seen::default());
    (node.contact, node.read_age, node.read_back, node.valid) = (0, bounds.gap + 1, false, 0);
    kept
}

fn runs<const N: usize, const G: usize>(world: &World<N, G>, at: usize, bounds: &Bounds, out: &mut Steps<N, G>) {
    let node = &world.nodes[at];
    for group in 0..G {
        let run = node.runs[group];
        if run.writes && run.latched {
            let mut next = *world;
            next.nodes[at].runs[group].writes = false;
            out.add((at, "stop proved"), next);
        }
        if !node.up {
            continue;
        }
        if run.writes && !run.latched && node.member == Member::Joined && world.stops > 0 {
            let mut next = *world;
            next.stops -= 1;
            next.nodes[at].runs[group].latched = true;
            out.add((at, "stop ordered"), next);
        }
        let Some((record, _)) = node.view.map(|view| view.records[group]) else {
            continue;
        };
        let free = run.epoch != record.epoch || !run.latched || !bounds.has(Rule::Latch);
        if node.member == Member::Joined && mine(node, at, record, bounds) && !run.writes && free && node.valid > 0 {
            let mut next = *world;
            next.nodes[at].runs[group] = Run {
                epoch: record.epoch,
                writes: true,
                page: node.valid,
                latched: false,
                over: false,
            };
            out.add((at, "starts"), next);
        }
    }
}

fn mine<const N: usize, const G: usize>(node: &Node<N, G>, at: usize, record: Record, bounds: &Bounds) -> bool {
    let own = record.lease == node.lease || !bounds.has(Rule::Incarnation);
    record.active && record.node as usize == at && own
}

/// What is under way lands, is answered, or is given up.
fn requests<const N: usize, const G: usize>(world: &World<N, G>, at: usize, bounds: &Bounds, out: &mut Steps<N, G>) {
    let node = &world.nodes[at];
    if let Some(call) = node.call {
        if !call.landed && world.away == 0 {
            let mut next = *world;
            if let Some(call) = &mut next.nodes[at].call {
                call.landed = true;
            }
            let (succeeded, fell) = land(&mut next, at, call, BY_CALL, bounds);
            if fell {
                out.fell = Some((at, name(call.kind)));
            }
            let node = &next.nodes[at];
            let same = std::array::from_fn(|group| node.seen[group].beat.present);
            let (same_name, view) = (node.namesake.beat.present, read(&next, at));
            let answer = Answer {
                succeeded,
                view,
                same,
                same_name,
            };
            next.nodes[at].answer = Some(answer);
            out.add((at, name(call.kind)), next);
        }
        if call.landed && node.up {
            let mut next = *world;
            next.nodes[at].call = None;
            if let Some(answer) = next.nodes[at].answer.take() {
                learn(&mut next, at, answer, Some(call), bounds);
            }
            out.add((at, "answered"), next);
        }
        if node.up && world.unknowns > 0 {
            let mut next = *world;
            next.unknowns -= 1;
            let node = &mut next.nodes[at];
            let refused = node.answer.is_some_and(|answer| !answer.succeeded);
            (node.drift, node.call, node.answer, node.read_back) = (node.call.filter(|_| !refused), None, None, true);
            // Nobody knows any more what an older one has written.
            let by = &mut next.etcd.keys[at].by;
            *by = if *by == BY_CALL { BY_DRIFT } else { 0 };
            out.add((at, "times out"), next);
        }
    }
    if let Some(drift) = node.drift.filter(|drift| !drift.landed && world.away == 0) {
        let mut next = *world;
        let (succeeded, fell) = land(&mut next, at, drift, BY_DRIFT, bounds);
        if fell {
            out.fell = Some((at, name(drift.kind)));
        }
        next.nodes[at].drift = succeeded.then_some(Request { landed: true, ..drift });
        out.add((at, "lands late"), next);
    }
    let reads = node.read_back || !holds_any(node, at);
    if node.up && node.call.is_none() && !node.frozen && world.away == 0 && reads {
        let mut next = *world;
        let same = std::array::from_fn(|group| node.seen[group].beat.present);
        let (same_name, view) = (node.namesake.beat.present, read(world, at));
        let answer = Answer {
            succeeded: true,
            view,
            same,
            same_name,
        };
        learn(&mut next, at, answer, None, bounds);
        out.add((at, "reads"), next);
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::T1 => "T1 lands",
        Kind::T2 => "T2 lands",
        Kind::T3 => "T3 lands",
        Kind::T4 => "T4 lands",
        Kind::T5 => "T5 lands",
        Kind::T6 => "T6 lands",
        Kind::T7 => "T7 lands",
        Kind::T8 => "T8 lands",
        Kind::T9 => "T9 lands",
    }
}

fn write_key<const N: usize, const G: usize>(world: &mut World<N, G>, of: usize, key: Key) {
    world.etcd.keys[of] = key;
    world.kept_keys[of] = false;
    world.each_key_version(of, |version| version.present = false);
}

fn write_record<const N: usize, const G: usize>(world: &mut World<N, G>, of: usize, record: Record) {
    world.etcd.records[of] = record;
    world.kept_records[of] = false;
    world.each_record_version(of, |version| version.present = false);
}

fn read<const N: usize, const G: usize>(world: &World<N, G>, at: usize) -> View<N, G> {
    let now = |snapshot| Version {
        present: true,
        snapshot,
    };
    View {
        keys: std::array::from_fn(|of| (world.etcd.keys[of].lease, now(world.kept_keys[of]))),
        records: std::array::from_fn(|of| (world.etcd.records[of], now(world.kept_records[of]))),
        by: world.etcd.keys[at].by,
    }
}

fn holds<const N: usize, const G: usize>(
    world: &World<N, G>,
    at: usize,
    request: &Request<G>,
    compare: Compare,
) -> bool {
    let group = request.group as usize;
    match compare {
        Compare::OwnAbsent => world.etcd.keys[at].lease == 0,
        Compare::OwnLease => world.etcd.keys[at].lease == request.lease,
        Compare::OwnMod => request.own.present,
        Compare::RecordMod => request.records[group].present,
        Compare::HolderMod | Compare::NamesakeMod => request.beat.present,
        Compare::HolderLeaseNot => world.etcd.keys[request.holder as usize].lease != request.holder_lease,
        Compare::OtherRecordMod => (0..G).all(|of| !request.frees[of] || request.records[of].present),
    }
}

/// Carried out in etcd: whether the compares held, and whether an epoch failed to rise.
fn land<const N: usize, const G: usize>(
    world: &mut World<N, G>,
    at: usize,
    request: Request<G>,
    by: u8,
    bounds: &Bounds,
) -> (bool, bool) {
    let compares = request.kind.compares().iter();
    let mut counted = compares.filter(|compare| bounds.compares(request.kind, **compare));
    if !counted.all(|compare| holds(world, at, &request, *compare)) {
        return (false, false);
    }
    let group = request.group as usize;
    let before = world.etcd.records[group];
    let mut fell = false;
    match request.kind {
        Kind::T1 | Kind::T2 => {}
        Kind::T3 | Kind::T4 | Kind::T5 | Kind::T6 => {
            fell = request.epoch <= before.epoch && !world.restored;
            let record = Record {
                active: true,
                node: at as u8,
                lease: request.lease,
                epoch: request.epoch,
            };
            write_record(world, group, record);
            if request.kind == Kind::T4 {
                write_key(world, request.holder as usize, Key::default());
                for of in (0..G).filter(|of| request.frees[*of]) {
                    let record = Record {
                        active: false,
                        ..world.etcd.records[of]
                    };
                    write_record(world, of, record);
                }
            }
        }
        // The whole record is written: it also says who gave the group up, and in which epoch.
        Kind::T7 | Kind::T8 => {
            let record = Record {
                active: false,
                node: at as u8,
                lease: request.lease,
                epoch: request.epoch,
            };
            fell = request.epoch < before.epoch && !world.restored;
            write_record(world, group, record);
        }
        Kind::T9 => write_key(world, at, Key::default()),
    }
    if request.kind.beats() {
        let lease = request.lease;
        write_key(world, at, Key { lease, by });
    }
    (true, fell)
}

/// What a node makes of what it read, with the answer to `call` or on its own.
fn learn<const N: usize, const G: usize>(
    world: &mut World<N, G>,
    at: usize,
    answer: Answer<N, G>,
    call: Option<Request<G>>,
    bounds: &Bounds,
) {
    let mut node = world.nodes[at];
    node.read_back = false;
    if world.restored && node.past {
        node.frozen = true;
        world.nodes[at] = node;
        return;
    }
    node.past |= world.snapshot.is_some();
    if node.read_age > bounds.gap {
        node.contact = 0;
    }
    node.read_age = call.map_or(0, |call| call.age).min(bounds.gap + 1);
    observe(&mut node, at, &answer, bounds);
    // Of the keys it is only remembered whether there is one of its own name.
    let keys = std::array::from_fn(|of| match of == at {
        true => (answer.view.keys[of].0, Version::default()),
        false => (0, Version::default()),
    });
    node.view = Some(View {
        keys,
        by: 0,
        ..answer.view
    });
    locate(&mut node, at, &answer, call, bounds);
    // What drifted and landed has told all it can.
    node.drift = node.drift.filter(|drift| !drift.landed);
    for group in 0..G {
        let (record, _) = answer.view.records[group];
        let run = &mut node.runs[group];
        let lease = record.lease == node.lease || !bounds.has(Rule::Incarnation);
        let own = record.active && record.node as usize == at && lease && record.epoch == run.epoch;
        if run.epoch > 0 && !own && node.member != Member::Out {
            if run.writes {
                run.latched = true;
            } else {
                *run = Run::default();
            }
        }
    }
    if node.member == Member::Lost && node.runs.iter().all(|run| run.epoch == 0) {
        (node.member, node.lease) = (Member::Out, 0);
    }
    world.nodes[at] = node;
}

fn observe<const N: usize, const G: usize>(node: &mut Node<N, G>, at: usize, answer: &Answer<N, G>, bounds: &Bounds) {
    let view = &answer.view;
    for group in 0..G {
        let (record, _) = view.records[group];
        let own = record.node as usize == at && record.lease == node.lease && node.member != Member::Out;
        if !record.active || own {
            node.seen[group] = Seen::default();
            continue;
        }
        let (lease, beat) = view.keys[record.node as usize];
        let gone = match bounds.has(Rule::Incarnation) {
            true => lease != record.lease,
            false => lease == 0,
        };
        let before = node.seen[group];
        let known = before.lease == record.lease && before.node == record.node;
        let same = if gone {
            before.gone || !bounds.has(Rule::GoneAnew)
        } else {
            !before.gone && (answer.same[group] || !bounds.has(Rule::NewBeatNewTime))
        };
        let age = if known && same { before.age } else { 0 };
        node.seen[group] = Seen {
            node: record.node,
            lease: record.lease,
            gone,
            beat,
            age,
        };
    }
    let (lease, beat) = view.keys[at];
    let foreign = lease != 0 && (node.member == Member::Out && lease != node.lease);
    let same = node.namesake.lease == lease && answer.same_name;
    node.namesake = match foreign {
        true => Seen {
            node: at as u8,
            lease,
            gone: false,
            beat,
            age: if same { node.namesake.age } else { 0 },
        },
        false => Seen::default(),
    };
}

/// Where its own key puts a node, and what was proved.
fn locate<const N: usize, const G: usize>(
    node: &mut Node<N, G>,
    at: usize,
    answer: &Answer<N, G>,
    call: Option<Request<G>>,
    bounds: &Bounds,
) {
    let (lease, version) = answer.view.keys[at];
    let landed = match answer.view.by {
        BY_CALL => call.filter(|call| answer.succeeded && call.kind.beats()),
        BY_DRIFT => node.drift.filter(|drift| drift.landed && drift.kind.beats()),
        _ => None,
    };
    let landed = landed.filter(|request| request.lease == node.lease && lease == node.lease);
    match node.member {
        Member::Out if node.lease != 0 => adopt(node, at, answer, bounds),
        Member::Out => {}
        Member::Registering | Member::Joined => {
            if let Some(request) = landed {
                node.member = Member::Joined;
                node.own = version;
                let age = if bounds.has(Rule::Stamp) { request.age } else { 0 };
                node.valid = node.valid.max(bounds.trusted().saturating_sub(age));
                for run in node.runs.iter_mut().filter(|run| run.writes) {
                    run.page = run.page.max(node.valid);
                }
            } else if node.member == Member::Registering {
                if lease != 0 {
                    (node.member, node.lease) = (Member::Out, 0);
                }
            } else if lease != node.lease || !unchanged(node, call, answer) {
                lose(node);
            }
        }
        Member::Lost => {}
    }
}

/// Whether the node's key is still the one that it knows: as the answer says, or as it is now.
fn unchanged<const N: usize, const G: usize>(
    node: &Node<N, G>,
    call: Option<Request<G>>,
    answer: &Answer<N, G>,
) -> bool {
    // A call that failed its compares left the key alone; whether somebody else wrote it shows in its version.
    call.map_or(node.own.present, |call| {
        node.own.present || !answer.succeeded && call.own.present
    })
}

fn lose<const N: usize, const G: usize>(node: &mut Node<N, G>) {
    node.member = Member::Lost;
    for run in node.runs.iter_mut().filter(|run| run.epoch > 0) {
        run.latched = true;
    }
}

/// A sidecar that starts after a crash: what an earlier one left running.
fn adopt<const N: usize, const G: usize>(node: &mut Node<N, G>, at: usize, answer: &Answer<N, G>, bounds: &Bounds) {
    let (lease, version) = answer.view.keys[at];
    if lease == node.lease {
        (node.member, node.own) = (Member::Joined, version);
        for group in 0..G {
            let (record, _) = answer.view.records[group];
            let run = &mut node.runs[group];
            let ours = record.active && record.node as usize == at && record.lease == lease;
            if run.epoch > 0 && !(ours && record.epoch == run.epoch) && bounds.has(Rule::Adoption) {
                run.latched = true;
            }
            if !bounds.has(Rule::Adoption) {
                run.latched = false;
            }
        }
    } else if bounds.has(Rule::Adoption) {
        lose(node);
    } else {
        (node.member, node.lease, node.own) = (Member::Joined, lease, version);
    }
}

/// Every transaction that the node may send now.
fn sends<const N: usize, const G: usize>(world: &World<N, G>, at: usize, bounds: &Bounds, out: &mut Steps<N, G>) {
    let node = &world.nodes[at];
    let Some(view) = node
        .view
        .filter(|_| node.up && node.call.is_none() && !node.read_back && !node.frozen)
    else {
        return;
    };
    let plain = Request {
        kind: Kind::T2,
        group: 0,
        lease: node.lease,
        own: node.own,
        records: std::array::from_fn(|of| view.records[of].1),
        frees: [false; G],
        holder: at as u8,
        holder_lease: 0,
        beat: Version::default(),
        epoch: 0,
        age: 0,
        landed: false,
    };
    let mut send = |kind: Kind, change: &dyn Fn(&mut Request<G>, &mut Node<N, G>)| {
        let mut next = *world;
        let mut request = Request { kind, ..plain };
        change(&mut request, &mut next.nodes[at]);
        next.nodes[at].call = Some(request);
        out.add((at, "sends"), next);
    };
    match node.member {
        Member::Out if node.lease == 0 && view.keys[at].0 == 0 => {
            let lease = world.fresh_lease(at);
            send(Kind::T1, &|request, node| {
                (request.lease, node.lease, node.member) = (lease, lease, Member::Registering);
            });
        }
        Member::Out => {
            let ripe = node.namesake.age >= bounds.wait || !bounds.has(Rule::Ripe);
            if node.namesake.lease != 0 && ripe {
                send(Kind::T9, &|request, node| request.beat = node.namesake.beat);
            }
        }
        Member::Registering => {
            if view.keys[at].0 == 0 {
                send(Kind::T1, &|_, _| {});
            }
        }
        Member::Lost => {
            for group in 0..G {
                let (record, run) = (view.records[group].0, node.runs[group]);
                let proved = !run.writes || !bounds.has(Rule::Proof);
                if mine(node, at, record, bounds) && record.epoch == run.epoch && proved {
                    send(Kind::T8, &|request, _| {
                        (request.group, request.epoch) = (group as u8, run.epoch)
                    });
                }
            }
        }
        Member::Joined => {
            // The beats of a node that holds nothing prove nothing; its reads stand for them.
            if holds_any(node, at) {
                send(Kind::T2, &|_, _| {});
            }
            for group in 0..G {
                joined(world, at, group, &view, bounds, &mut send);
            }
        }
    }
}

/// Whether something of this node's runs, or is recorded as its own.
pub(crate) fn holds_any<const N: usize, const G: usize>(node: &Node<N, G>, at: usize) -> bool {
    let recorded = node.view.is_some_and(|view| {
        let mut records = view.records.iter();
        records.any(|(record, _)| record.active && record.node as usize == at && record.lease == node.lease)
    });
    node.member == Member::Joined && (recorded || node.runs.iter().any(|run| run.epoch > 0))
}

type Send<'a, const N: usize, const G: usize> = dyn FnMut(Kind, &dyn Fn(&mut Request<G>, &mut Node<N, G>)) + 'a;

fn joined<const N: usize, const G: usize>(
    world: &World<N, G>,
    at: usize,
    group: usize,
    view: &View<N, G>,
    bounds: &Bounds,
    send: &mut Send<'_, N, G>,
) {
    let node = &world.nodes[at];
    let (record, run, seen) = (view.records[group].0, node.runs[group], node.seen[group]);
    let contact = !bounds.has(Rule::Contact) || (node.contact >= bounds.wait && node.read_age <= bounds.gap);
    if mine(node, at, record, bounds) {
        let proved = !run.writes || !bounds.has(Rule::Proof);
        if run.epoch == record.epoch && run.latched && proved {
            send(Kind::T7, &|request, _| {
                (request.group, request.epoch) = (group as u8, record.epoch)
            });
            if contact || !run.over {
                send(Kind::T6, &|request, _| {
                    (request.group, request.epoch) = (group as u8, record.epoch + 1);
                });
            }
        }
        return;
    }
    // Nothing of its own is left running, or it would not campaign.
    if run.writes || !contact {
        return;
    }
    if !record.active {
        send(Kind::T3, &|request, _| {
            (request.group, request.epoch) = (group as u8, record.epoch + 1)
        });
        return;
    }
    let ripe = seen.age >= bounds.wait || !bounds.has(Rule::Ripe);
    if seen.lease == 0 || !ripe {
        return;
    }
    let kind = if seen.gone { Kind::T5 } else { Kind::T4 };
    send(kind, &|request, _| {
        (request.group, request.epoch) = (group as u8, record.epoch + 1);
        (request.holder, request.holder_lease, request.beat) = (seen.node, seen.lease, seen.beat);
        for other in (0..G).filter(|other| *other != group && kind == Kind::T4) {
            let (record, _) = view.records[other];
            request.frees[other] = record.active && record.node == seen.node && record.lease == seen.lease;
        }
    });
}

/// An etcd that goes away and comes back, perhaps restored from a snapshot, and then more slowly than the contact gap.
fn restores<const N: usize, const G: usize>(world: &World<N, G>, bounds: &Bounds, out: &mut Steps<N, G>) {
    if world.restores > 0 && world.snapshot.is_none() && world.away == 0 {
        let mut next = *world;
        next.snapshot = Some(next.etcd);
        (next.kept_keys, next.kept_records) = ([true; N], [true; G]);
        for of in 0..N {
            next.each_key_version(of, |version| version.snapshot = version.present);
        }
        for of in 0..G {
            next.each_record_version(of, |version| version.snapshot = version.present);
        }
        out.add((N, "snapshot"), next);
    }
    let Some(snapshot) = world.snapshot else { return };
    if world.away == 0 {
        let mut next = *world;
        next.away = 1;
        out.add((N, "etcd goes away"), next);
    } else if world.away >= bounds.gap + bounds.skew + 2 {
        let mut next = *world;
        next.restores -= 1;
        (next.etcd, next.snapshot, next.restored, next.away) = (snapshot, None, true, 0);
        next.etcd.keys.iter_mut().for_each(|key| key.by = 0);
        for of in 0..N {
            next.each_key_version(of, |version| {
                *version = Version {
                    present: version.snapshot,
                    snapshot: false,
                }
            });
        }
        for of in 0..G {
            next.each_record_version(of, |version| {
                *version = Version {
                    present: version.snapshot,
                    snapshot: false,
                }
            });
        }
        (next.kept_keys, next.kept_records) = ([false; N], [false; G]);
        // What was under way is lost with the old etcd.
        for node in &mut next.nodes {
            (node.drift, node.read_back) = (None, node.read_back || node.call.is_some());
            (node.call, node.answer) = (None, None);
        }
        out.add((N, "etcd comes back restored"), next);
    }
}
