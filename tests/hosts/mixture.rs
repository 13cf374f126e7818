//! Many faults in a row, and faults at the same time, drawn with a seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::by_hand;
use crate::cluster::{Cluster, Seen};
use crate::faults::{LONG_FAULTS, SHORT_FAULTS};
use crate::row::{Fault, Figure};
use crate::scenarios::{HAND_OVER_LIMIT, RETURN_LIMIT, figure};
use crate::shell::{now, say, until};

const SWITCHOVERS: usize = 30;
const THAWS: usize = 10;
/// Two faults at once, one of which may have cost the service its quorum.
const BACK_LIMIT: Duration = Duration::from_secs(45);

pub(crate) fn many_switchovers(cluster: &mut Cluster) -> Figure {
    let seen = cluster.under_mail(|cluster| {
        for _ in 0..SWITCHOVERS {
            let old = cluster.await_leader();
            until("a host to hand over to", RETURN_LIMIT, || {
                let ready = cluster.hosts.iter().filter(|host| host.is_ready()).count();
                (ready > 1).then_some(())
            });
            by_hand::switch_over(cluster, old);
            until("the service to move", RETURN_LIMIT, || {
                cluster.leader().filter(|leader| *leader != old)
            });
            cluster.await_greeting();
        }
    });
    figure(
        &seen,
        HAND_OVER_LIMIT,
        &format!("{SWITCHOVERS} in a row, the longest outage"),
    )
}

/// The same fault again and again, for what the closing lines say about thaws.
pub(crate) fn many_thaws(cluster: &mut Cluster) -> Figure {
    let fault = SHORT_FAULTS
        .iter()
        .find(|fault| fault.name.starts_with("host frozen"))
        .expect("the fault");
    let figures: Vec<Figure> = (0..THAWS).map(|_| fault.run(cluster)).collect();
    let worst = figures.iter().max_by_key(|figure| figure.two_writers);
    let mut worst = worst.expect("some trials").clone();
    worst.outage = figures.iter().map(|figure| figure.outage).max().unwrap_or_default();
    worst.note = format!("{THAWS} times; the longest of each");
    worst
}

/// `LEASEHOLD_FAULTS_MINUTES` of it, drawn with `LEASEHOLD_FAULTS_SEED`.
pub(crate) fn mixture(cluster: &mut Cluster) -> Figure {
    let (length, seed) = (Duration::from_secs(60 * number("MINUTES", 2)), number("SEED", 1));
    let mut dice = Dice(seed);
    let began = now();
    let mut total = Seen::default();
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    while now() - began < length {
        rounds += 1;
        let faults = draw(&mut dice);
        let words: Vec<_> = faults.iter().map(|fault| fault.name).collect();
        say(&format!("    round {rounds} of seed {seed}: {}", words.join(" + ")));
        let (seen, back) = round(cluster, &faults, &mut dice);
        longest = longest.max(back);
        total.accepted += seen.accepted;
        total.outage = total.outage.max(seen.outage);
        if faults.iter().all(|fault| !fault.thaw) {
            assert!(
                seen.late.is_empty(),
                "two runs wrote at the same time in round {rounds} of seed {seed}: {:?}",
                seen.late
            );
            assert_eq!(seen.two_owners, Duration::ZERO, "two hosts answered for the address");
        }
        total.late.extend(seen.late);
    }
    Figure {
        outage: total.outage,
        two_writers: total.two_writers(),
        limit: BACK_LIMIT,
        back: Some(longest),
        note: format!("{rounds} rounds, seed {seed}, {} accepted", total.accepted),
    }
}

fn draw(dice: &mut Dice) -> Vec<Fault> {
    let all: Vec<Fault> = SHORT_FAULTS
        .iter()
        .chain(LONG_FAULTS)
        .filter(|fault| fault.mixes)
        .copied()
        .collect();
    let count = 1 + dice.below(2);
    (0..count).map(|_| all[dice.below(all.len())]).collect()
}

fn round(cluster: &mut Cluster, faults: &[Fault], dice: &mut Dice) -> (Seen, Duration) {
    cluster.settle();
    let places: Vec<usize> = faults.iter().map(|fault| fault.choose(cluster)).collect();
    let (pause, lasts) = (dice.up_to(4), dice.up_to(15));
    let mut back = Duration::ZERO;
    let seen = cluster.observe(|cluster| {
        for (fault, place) in faults.iter().zip(&places) {
            // The one before may have ended what this one would hit.
            if catch_unwind(AssertUnwindSafe(|| (fault.inflict)(cluster, *place))).is_err() {
                say(&format!("    {}: nothing left to hit", fault.name));
            }
            wait(pause);
        }
        wait(lasts);
        for (fault, place) in faults.iter().zip(&places) {
            let _ = catch_unwind(AssertUnwindSafe(|| (fault.heal)(cluster, *place)));
        }
        cluster.mend();
        let healed = now();
        back = cluster.await_greeting().saturating_sub(healed);
        assert!(back <= BACK_LIMIT, "back {back:?} after healing");
        cluster.heal();
    });
    cluster.broken.thaw = None;
    (seen, back)
}

fn wait(length: Duration) {
    let began = now();
    until("a pause", length * 2 + RETURN_LIMIT, || {
        (now() - began >= length).then_some(())
    });
}

fn number(name: &str, other: u64) -> u64 {
    let name = format!("LEASEHOLD_FAULTS_{name}");
    match std::env::var(&name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => other,
    }
}

/// Splitmix64: the same seed, the same faults.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).expect("a small number")
    }

    fn up_to(&mut self, seconds: u64) -> Duration {
        Duration::from_millis(self.next() % (seconds * 1000))
    }
}
