//! Virtual IPs against the real kernel, in network namespaces. Needs root and iproute2.

#![expect(clippy::print_stdout, reason = "measured figures, shown with --nocapture")]

#[path = "vip/lab.rs"]
mod lab;

use std::net::IpAddr;
use std::time::Duration;

use lab::{Lab, after, mail, now, run, vip};
use leasehold::base::time::Time;
use leasehold::compose::model::Vip;
use leasehold::sidecar::adapters::clients::seen_for_a_while;
use leasehold::sidecar::adapters::vip::{VipError, VipEvent, own as own_addresses, unreached, vantage};
use rustix::thread::CapabilitySet;

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";

/// What an earlier sidecar gave its addresses.
const OURS_V4: &str = "label eth0:lh valid_lft 60 preferred_lft 60";
const OURS_V6: &str = "valid_lft 60 preferred_lft 0 nodad noprefixroute";
/// What a person, or a network daemon, gives an address.
const FOR_GOOD: &str = "valid_lft forever preferred_lft forever";

fn nothing(_: &VipEvent) -> bool {
    false
}

/// The words in which the host is said to have the address itself.
async fn occupied(task: &mut lab::Task) -> String {
    let event = task.next().await;
    let VipEvent::Occupied { group, by: Some(by) } = event else {
        panic!("instead of an address of the host: {event:?}");
    };
    assert_eq!(group, mail());
    by
}

fn vacant() -> VipEvent {
    VipEvent::Occupied {
        group: mail(),
        by: None,
    }
}

fn held() -> VipEvent {
    VipEvent::Held { group: mail() }
}

fn dropped() -> VipEvent {
    VipEvent::Dropped { group: mail() }
}

fn ms(since: Time) -> u128 {
    now().since(since).as_millis()
}

/// Beyond its deadline an address may be seen for as long as it takes to look.
fn assert_ended(until: Time) {
    let late = now().since(until);
    assert!(late < Duration::from_millis(600), "{late:?} late");
}

async fn conflict(lab: Lab, address: &str) {
    let (a, b) = (lab.host(2).await, lab.host(3).await);
    let vip = vip(address);
    let (prefix, flags) = if vip.address.is_ipv4() { (24, "") } else { (64, "nodad") };
    b.sh(&format!("ip addr add {address}/{prefix} dev eth0 {flags}"));
    b.until_has(vip, true).await;
    let mut task = a.task();
    task.start().await;
    let begin = now();
    task.probe(&[vip]).await;
    let (group, mac) = (mail(), b.mac());
    task.expect(&VipEvent::Conflict { group, vip, mac }, nothing).await;
    println!("conflict on {address} found in {} ms", ms(begin));
    assert!(ms(begin) < 400, "took {} ms", ms(begin));
    assert!(!a.has(vip));
}

#[test]
fn conflict_is_found_with_its_mac() {
    run("conflict_is_found_with_its_mac", |lab| conflict(lab, V4));
}

#[test]
fn conflict_is_found_with_its_mac_v6() {
    run("conflict_is_found_with_its_mac_v6", |lab| conflict(lab, V6));
}

#[test]
fn several_addresses_are_probed_in_the_time_of_one() {
    run("several_addresses_are_probed_in_the_time_of_one", |lab| async move {
        let host = lab.host(2).await;
        // Being here already, left by an earlier sidecar, is no conflict.
        host.sh(&format!("ip addr add {V4}/32 dev eth0 {OURS_V4}"));
        let mut task = host.task();
        task.start().await;
        let begin = now();
        task.probe(&[vip(V4), vip("192.0.2.11"), vip(V6)]).await;
        task.expect(&VipEvent::Free { group: mail() }, nothing).await;
        println!("three free in {} ms", ms(begin));
        assert!((140..700).contains(&ms(begin)), "took {} ms", ms(begin));
    });
}

#[test]
fn what_an_earlier_sidecar_left_here_is_free_unasked_even_without_a_carrier() {
    let name = "what_an_earlier_sidecar_left_here_is_free_unasked_even_without_a_carrier";
    run(name, |lab| async move {
        let (host, other) = (lab.host(2).await, lab.host(3).await);
        host.sh(&format!("ip addr add {V4}/32 dev eth0 {OURS_V4}"));
        // Another machine has both, and would answer.
        for address in [V4, "192.0.2.11"] {
            other.sh(&format!("ip addr add {address}/24 dev eth0"));
            other.until_has(vip(address), true).await;
        }
        let mut task = host.task();
        task.start().await;
        task.probe(&[vip(V4)]).await;
        task.expect(&VipEvent::Free { group: mail() }, nothing).await;
        task.probe(&[vip(V4), vip("192.0.2.11")]).await;
        let (group, mac) = (mail(), other.mac());
        let asked = vip("192.0.2.11");
        let conflict = VipEvent::Conflict { group, vip: asked, mac };
        task.expect(&conflict, nothing).await;
        // What is here is kept, and what is asked about beside it is still listened for; once it is known, no more.
        task.keep(&[vip(V4), asked], after(20_000)).await;
        task.expect(&held(), nothing).await;
        task.probe(&[vip(V4), asked]).await;
        task.keep(&[vip(V4), asked], after(20_000)).await;
        task.expect(&conflict, nothing).await;
        // The other kernel announces both.
        other.sh(&format!("ip link set eth0 address {}", other.mac()));
        let (group, mac) = (mail(), other.mac());
        let foreign = VipEvent::Foreign {
            group,
            vip: vip(V4),
            mac,
        };
        task.expect(&foreign, nothing).await;
        task.probe(&[]).await;
        task.expect(&VipEvent::Free { group: mail() }, nothing).await;
        assert!(host.has(vip(V4)) && !host.has(asked));
        lab.plug(&host, "down");
        task.expect(&VipEvent::Link { up: false, mac: None }, nothing).await;
        task.probe(&[vip(V4)]).await;
        task.expect(&VipEvent::Free { group: mail() }, nothing).await;
    });
}

#[test]
fn what_an_earlier_sidecar_left_is_shortened_and_what_it_did_not_is_not_added() {
    let name = "what_an_earlier_sidecar_left_is_shortened_and_what_it_did_not_is_not_added";
    run(name, |lab| async move {
        let host = lab.host(2).await;
        host.sh(&format!("ip addr add {V4}/32 dev eth0 {OURS_V4}"));
        let mut task = host.task();
        task.start().await;
        let until = after(2500);
        task.keep(&[vip(V4), vip("192.0.2.11")], until).await;
        task.expect(&held(), nothing).await;
        assert!(host.has(vip(V4)) && !host.has(vip("192.0.2.11")));
        host.until_has(vip(V4), false).await;
        assert_ended(until);
        task.keep(&[vip(V4)], after(2500)).await;
        task.probe(&[]).await;
        let expired = |event: &VipEvent| matches!(event, VipEvent::Expired { .. });
        task.expect(&VipEvent::Free { group: mail() }, expired).await;
        assert!(!host.has(vip(V4)));
    });
}

async fn expiry(lab: Lab, address: &str) {
    let host = lab.host(2).await;
    let vip = vip(address);
    let mut task = host.task();
    task.start().await;
    let until = after(2500);
    task.hold(&[vip], until).await;
    task.expect(&held(), nothing).await;
    let shown = host.sh("ip addr show dev eth0");
    assert!(
        shown.contains("noprefixroute") && shown.contains("valid_lft 2sec"),
        "{shown}"
    );
    assert_eq!(shown.contains("deprecated"), vip.address.is_ipv6(), "{shown}");
    assert_eq!(shown.contains("eth0:lh"), vip.address.is_ipv4(), "{shown}");
    // The task is gone: the kernel alone takes the address away.
    drop(task);
    host.until_has(vip, false).await;
    println!(
        "{address} gone {} ms before its deadline",
        now().until(until).as_millis()
    );
    assert_ended(until);
}

#[test]
fn the_kernel_ends_what_is_not_renewed() {
    run("the_kernel_ends_what_is_not_renewed", |lab| expiry(lab, V4));
}

#[test]
fn the_kernel_ends_what_is_not_renewed_v6() {
    run("the_kernel_ends_what_is_not_renewed_v6", |lab| expiry(lab, V6));
}

/// A renewal asks for no announcements: it is told nothing, and `Held` would come again.
async fn renewal(lab: Lab, address: &str) {
    let host = lab.host(2).await;
    let vip = vip(address);
    let mut task = host.task();
    task.start().await;
    let mut until = after(2500);
    task.hold(&[vip], until).await;
    task.expect(&held(), nothing).await;
    let begin = now();
    while ms(begin) < 4500 {
        until = after(2500);
        task.hold_quietly(&[vip], until).await;
        assert!(host.has(vip), "gone after {} ms", ms(begin));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    task.expect(&VipEvent::Expired { group: mail() }, nothing).await;
    assert_ended(until);
    assert!(!host.has(vip), "expired means gone");
}

#[test]
fn renewing_keeps_an_address_and_no_longer_than_that() {
    run("renewing_keeps_an_address_and_no_longer_than_that", |lab| {
        renewal(lab, V4)
    });
}

#[test]
fn renewing_keeps_an_address_and_no_longer_than_that_v6() {
    run("renewing_keeps_an_address_and_no_longer_than_that_v6", |lab| {
        renewal(lab, V6)
    });
}

#[test]
fn less_than_a_second_adds_nothing() {
    run("less_than_a_second_adds_nothing", |lab| async move {
        let host = lab.host(2).await;
        let mut task = host.task();
        task.start().await;
        task.hold(&[vip(V4)], after(1200)).await;
        task.hold(&[vip(V6)], now()).await;
        task.probe(&[]).await;
        task.expect(&VipEvent::Free { group: mail() }, nothing).await;
        assert!(!host.has(vip(V4)) && !host.has(vip(V6)));
        // A deadline that moves back takes the address at once, before the kernel would.
        task.hold(&[vip(V4)], after(10_000)).await;
        task.expect(&held(), nothing).await;
        task.hold(&[vip(V4)], after(900)).await;
        task.expect(&VipEvent::Expired { group: mail() }, nothing).await;
        assert!(!host.has(vip(V4)));
    });
}

async fn takeover(lab: Lab, address: &str) {
    let (a, b) = (lab.host(2).await, lab.host(3).await);
    let vip = vip(address);
    let (mut first, mut second) = (a.task(), b.task());
    first.start().await;
    second.start().await;
    lab.mislead(vip);
    first.hold(&[vip], after(20_000)).await;
    first.expect(&held(), nothing).await;
    lab.learned(vip, &a).await;
    first.drop(&[vip]).await;
    first.expect(&dropped(), nothing).await;
    assert!(!a.has(vip));
    let begin = now();
    second.hold(&[vip], after(20_000)).await;
    lab.learned(vip, &b).await;
    println!(
        "the neighbour switched to the new holder of {address} in {} ms",
        ms(begin)
    );
    assert!(ms(begin) < 500, "took {} ms", ms(begin));
}

#[test]
fn neighbours_follow_a_takeover() {
    run("neighbours_follow_a_takeover", |lab| takeover(lab, V4));
}

#[test]
fn neighbours_follow_a_takeover_v6() {
    run("neighbours_follow_a_takeover_v6", |lab| takeover(lab, V6));
}

async fn removed(lab: Lab, address: &str) {
    let host = lab.host(2).await;
    let vip = vip(address);
    let mut task = host.task();
    task.start().await;
    let until = after(4500);
    task.hold(&[vip], until).await;
    task.expect(&held(), nothing).await;
    let prefix = if vip.address.is_ipv4() { 32 } else { 64 };
    let lost = VipEvent::Lost { group: mail(), vip };
    for _ in 0..2 {
        host.sh(&format!("ip addr del {address}/{prefix} dev eth0"));
        let begin = now();
        task.expect(&lost, nothing).await;
        host.until_has(vip, true).await;
        println!("{address} put back in {} ms", ms(begin));
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    // A longer life given by hand is taken back as well.
    let marks = if vip.address.is_ipv4() { OURS_V4 } else { OURS_V6 };
    host.sh(&format!("ip addr change {address}/{prefix} dev eth0 {marks}"));
    task.expect(&VipEvent::Expired { group: mail() }, nothing).await;
    assert!(!host.has(vip));
    assert_ended(until);
}

#[test]
fn removed_by_hand_comes_back_with_what_was_left() {
    run("removed_by_hand_comes_back_with_what_was_left", |lab| removed(lab, V4));
}

#[test]
fn removed_by_hand_comes_back_with_what_was_left_v6() {
    run("removed_by_hand_comes_back_with_what_was_left_v6", |lab| {
        removed(lab, V6)
    });
}

#[test]
fn a_longer_life_given_by_hand_ends_with_a_dead_sidecar() {
    run(
        "a_longer_life_given_by_hand_ends_with_a_dead_sidecar",
        |lab| async move {
            let host = lab.host(2).await;
            let mut task = host.task();
            task.start().await;
            let until = after(3500);
            task.hold(&[vip(V4)], until).await;
            task.expect(&held(), nothing).await;
            host.sh(&format!(
                "ip addr change {V4}/32 dev eth0 valid_lft 600 preferred_lft 600"
            ));
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(task);
            host.until_has(vip(V4), false).await;
            assert_ended(until);
            assert!(host.has(vip("192.0.2.2")), "the host's own address stays");
        },
    );
}

async fn stray(lab: Lab, address: &str) {
    let host = lab.host(2).await;
    let vip = vip(address);
    let (prefix, marks) = if vip.address.is_ipv4() {
        (32, OURS_V4)
    } else {
        (128, OURS_V6)
    };
    let mut task = host.task();
    task.start().await;
    task.drop(&[vip]).await;
    task.expect(&dropped(), nothing).await;
    // Ours comes back without being held here: an older sidecar, or a network daemon that put back what it had seen.
    host.sh(&format!("ip addr add {address}/{prefix} dev lo {marks}"));
    let begin = now();
    host.until_has(vip, false).await;
    println!("{address} taken away in {} ms", ms(begin));
    // By hand, while it is not held: told, and left alone, also by a start and a stop of the group here.
    host.sh(&format!("ip addr add {address}/{prefix} dev lo"));
    let by = occupied(&mut task).await;
    let place = format!("{address} is this host's own: {address}/{prefix} is on lo for good");
    let remedy = format!("`ip addr del {address}/{prefix} dev lo`");
    assert!(by.starts_with(&place) && by.contains(&remedy), "{by}");
    task.probe(&[vip]).await;
    assert_eq!(occupied(&mut task).await, by, "a question is answered each time");
    task.drop(&[vip]).await;
    task.expect(&dropped(), nothing).await;
    assert!(host.has(vip));
    host.sh(&format!("ip addr del {address}/{prefix} dev lo"));
    task.expect(&vacant(), nothing).await;
    // By hand, beside the one that is held: both stay, and the end of ours does not touch the other.
    task.hold(&[vip], after(10_000)).await;
    task.expect(&held(), nothing).await;
    host.sh(&format!("ip addr add {address}/{prefix} dev lo"));
    occupied(&mut task).await;
    task.hold_quietly(&[vip], after(10_000)).await;
    task.drop(&[vip]).await;
    task.expect(&dropped(), nothing).await;
    let left = host.sh("ip -o addr show");
    let places: Vec<&str> = left
        .lines()
        .filter(|line| line.contains(&format!(" {address}/")))
        .collect();
    assert!(places.len() == 1 && places[0].contains("lo "), "{left}");
}

#[test]
fn what_somebody_adds_by_hand_is_told_and_stays() {
    run("what_somebody_adds_by_hand_is_told_and_stays", |lab| stray(lab, V4));
}

#[test]
fn what_somebody_adds_by_hand_is_told_and_stays_v6() {
    run("what_somebody_adds_by_hand_is_told_and_stays_v6", |lab| stray(lab, V6));
}

/// The trial: the host's own address stands in `vips`. In every order in which it can be met.
async fn own(lab: Lab, address: &str, prefix: u8) {
    let host = lab.host(2).await;
    let vip = vip(address);
    host.sh("ip addr flush dev eth0");
    let flags = if vip.address.is_ipv6() { "nodad" } else { "" };
    host.sh(&format!("ip addr add {address}/{prefix} dev eth0 {flags}"));
    let before = host.sh("ip addr show dev eth0");
    assert!(before.contains(FOR_GOOD), "{before}");
    let mut task = host.task();
    task.start().await;
    let passing = |event: &VipEvent| matches!(event, VipEvent::Occupied { by: Some(_), .. });
    // At the start, before a campaign, after it, at the next beat, and at the end.
    task.drop(&[vip]).await;
    task.expect(&dropped(), passing).await;
    task.probe(&[vip]).await;
    let by = occupied(&mut task).await;
    assert!(by.contains(&format!("{address}/{prefix} is on eth0 for good")), "{by}");
    for _ in 0..2 {
        task.hold(&[vip], after(1500)).await;
    }
    tokio::time::sleep(Duration::from_millis(1800)).await;
    task.drop(&[vip]).await;
    let held_or_expired =
        |event: &VipEvent| passing(event) || *event == held() || matches!(event, VipEvent::Expired { .. });
    task.expect(&dropped(), held_or_expired).await;
    drop(task);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(host.sh("ip addr show dev eth0"), before);
}

#[test]
fn the_hosts_own_address_is_never_taken() {
    run("the_hosts_own_address_is_never_taken", |lab| own(lab, V4, 24));
}

/// In the very place where ours would be put: a renewal must not give it an end.
#[test]
fn the_hosts_own_address_is_never_given_an_end() {
    run("the_hosts_own_address_is_never_given_an_end", |lab| own(lab, V4, 32));
}

#[test]
fn the_hosts_own_address_is_never_taken_v6() {
    run("the_hosts_own_address_is_never_taken_v6", |lab| own(lab, V6, 64));
}

/// The program itself: `check` and the start say which address, where it is, and what to do, and nothing is touched.
#[test]
fn check_and_a_start_refuse_an_address_of_the_host_by_name() {
    run(
        "check_and_a_start_refuse_an_address_of_the_host_by_name",
        |lab| async move {
            let host = lab.host(2).await;
            let place = std::env::temp_dir().join(format!("leasehold-vip-{}", std::process::id()));
            std::fs::create_dir_all(&place).unwrap();
            let file = place.join("compose.yaml");
            std::fs::write(&file, OWN_IN_FILE).unwrap();
            let before = host.sh("ip addr show dev eth0");
            let (program, place) = (env!("CARGO_BIN_EXE_leasehold"), place.display());
            let call = |verb: &str| {
                host.sh(&format!(
                "timeout 20 {program} {verb} --file {place}/compose.yaml --node a --run-dir {place}/run --state-dir {place}/state \
                 --tether-dir {place}/tether --engine {place}/none 2>&1; echo exit $?"
            ))
            };
            let own = "group mail: 192.0.2.2 is this host's own: 192.0.2.2/24 is on eth0 for good";
            for verb in ["check", "run"] {
                let said = call(verb);
                assert!(
                    said.contains(own) && said.contains("`ip addr del 192.0.2.2/24 dev eth0`"),
                    "{verb}: {said}"
                );
                assert!(
                    said.contains("exit 1") && !said.contains("192.0.2.10 is"),
                    "{verb}: {said}"
                );
            }
            let said = call("check");
            assert!(
                said.contains("warning: 198.51.100.9/24 is in a network that eth0"),
                "{said}"
            );
            assert!(said.contains("`ip route add 198.51.100.0/24 dev eth0`"), "{said}");
            assert_eq!(host.sh("ip addr show dev eth0"), before);
            std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
        },
    );
}

const OWN_IN_FILE: &str = "
x-leasehold: {cluster: mail, etcd: ['http://127.0.0.1:1'], ttl: 10s, etcd_election_timeout: 1s}
services:
  sams:
    image: sams
    scale: 0
    profiles: [leasehold]
    network_mode: host
    entrypoint: [/leasehold/tether]
    x-leasehold: {group: mail, vips: ['192.0.2.10/24', '192.0.2.2/24', '198.51.100.9/24']}
";

async fn made_permanent(lab: Lab, address: &str) {
    let host = lab.host(2).await;
    let vip = vip(address);
    let prefix = if vip.address.is_ipv4() { 32 } else { 64 };
    let mut task = host.task();
    task.start().await;
    task.hold(&[vip], after(2500)).await;
    task.expect(&held(), nothing).await;
    host.sh(&format!("ip addr change {address}/{prefix} dev eth0 {FOR_GOOD}"));
    occupied(&mut task).await;
    task.hold_quietly(&[vip], after(1500)).await;
    task.expect(&VipEvent::Expired { group: mail() }, nothing).await;
    assert!(host.has(vip), "what somebody made last was taken away");
    // Once it is gone it can be held again.
    host.sh(&format!("ip addr del {address}/{prefix} dev eth0"));
    task.expect(&vacant(), nothing).await;
    task.hold(&[vip], after(5000)).await;
    task.expect(&held(), nothing).await;
    assert!(host.has(vip));
}

#[test]
fn one_that_somebody_made_last_is_told_and_stays() {
    run("one_that_somebody_made_last_is_told_and_stays", |lab| {
        made_permanent(lab, V4)
    });
}

#[test]
fn one_that_somebody_made_last_is_told_and_stays_v6() {
    run("one_that_somebody_made_last_is_told_and_stays_v6", |lab| {
        made_permanent(lab, V6)
    });
}

/// With `promote_secondaries` off, the removal of a subnet's first address takes the others of that subnet along. Ours is
/// never the first of a subnet with others.
#[test]
fn the_end_of_ours_takes_no_neighbour_along() {
    run("the_end_of_ours_takes_no_neighbour_along", |lab| async move {
        let host = lab.host(2).await;
        host.sh("for at in all eth0; do echo 0 > /proc/sys/net/ipv4/conf/$at/promote_secondaries; done");
        host.sh("ip addr flush dev eth0");
        let mut task = host.task();
        task.start().await;
        for by_hand in [false, true] {
            // Ours comes first, the host's own afterwards, in the same subnet and with every prefix.
            task.hold(&[vip(V4), vip(V6)], after(2500)).await;
            task.expect(&held(), nothing).await;
            host.sh("ip addr add 192.0.2.2/24 dev eth0; ip addr add 192.0.2.3/32 dev eth0; ip addr add 192.0.2.11/31 dev eth0");
            host.sh("ip addr add 2001:db8::2/64 dev eth0 nodad");
            if by_hand {
                task.drop(&[vip(V4), vip(V6)]).await;
                task.expect(&dropped(), nothing).await;
            } else {
                task.expect(&VipEvent::Expired { group: mail() }, nothing).await;
            }
            assert!(!host.has(vip(V4)) && !host.has(vip(V6)));
            for own in ["192.0.2.2", "192.0.2.3", "192.0.2.11", "2001:db8::2"] {
                assert!(host.has(vip(own)), "{own} went along: {}", host.sh("ip addr"));
            }
            let routes = host.sh("ip route; ip -6 route");
            assert!(
                routes.contains("192.0.2.0/24 dev eth0") && routes.contains("2001:db8::/64 dev eth0"),
                "{routes}"
            );
            host.sh("ip addr flush dev eth0");
        }
    });
}

#[test]
fn an_address_in_a_network_without_a_route_is_named() {
    run("an_address_in_a_network_without_a_route_is_named", |lab| async move {
        let host = lab.host(2).await;
        let (near, far, alone) = (
            vip(V4),
            vip("198.51.100.10"),
            Vip {
                prefix: 32,
                ..vip("203.0.113.10")
            },
        );
        let far6 = vip("2001:db8:7::10");
        let all = [near, far, alone, vip(V6), far6];
        host.sh("ip route add default via 192.0.2.1; ip -6 addr add 2001:db8::2/64 dev eth0 nodad; ip -6 route add default via 2001:db8::1");
        assert_eq!(
            host.ask(move || async move { unreached("eth0", &all).await }),
            Ok(vec![far, far6])
        );
        host.sh("ip route add 198.51.100.0/24 dev eth0; ip -6 route add 2001:db8:7::/64 dev eth0");
        assert_eq!(
            host.ask(move || async move { unreached("eth0", &all).await }),
            Ok(vec![])
        );
        let missing = host.ask(move || async move { unreached("eth7", &all).await });
        assert_eq!(
            missing.unwrap_err().to_string(),
            "no interface eth7; this host has eth0, lo"
        );
        // Of the host itself, of ours, and of nobody.
        host.sh(&format!(
            "ip addr add {V4}/32 dev eth0 {OURS_V4}; ip addr add {V6}/64 dev eth0 {OURS_V6}"
        ));
        let asked = [near, vip(V6), vip("192.0.2.2"), vip("192.0.2.11")];
        let own = host.ask(move || async move { own_addresses(&asked).await }).unwrap();
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(
            (own[0].address, own[0].interface.as_str()),
            (vip("192.0.2.2").address, "eth0")
        );
    });
}

async fn foreign(lab: Lab, address: &str) {
    let (a, b) = (lab.host(2).await, lab.host(3).await);
    let vip = vip(address);
    let mut task = a.task();
    task.start().await;
    task.hold_quietly(&[vip], after(20_000)).await;
    task.expect(&held(), nothing).await;
    let (prefix, flags) = if vip.address.is_ipv4() { (24, "") } else { (64, "nodad") };
    b.sh(&format!("ip addr add {address}/{prefix} dev eth0 {flags}"));
    lab.mislead(vip);
    // The other kernel announces what it has when its Ethernet address is set, be it to the same.
    let announce = format!("ip link set eth0 address {}", b.mac());
    b.sh(&announce);
    let (group, mac) = (mail(), b.mac());
    task.expect(&VipEvent::Foreign { group, vip, mac }, nothing).await;
    lab.learned(vip, &a).await;
    // Heard again within the second: not reported again.
    b.sh(&announce);
    task.probe(&[]).await;
    task.expect(&VipEvent::Free { group: mail() }, nothing).await;
}

#[test]
fn a_second_owner_is_heard_and_answered() {
    run("a_second_owner_is_heard_and_answered", |lab| foreign(lab, V4));
}

#[test]
fn a_second_owner_is_heard_and_answered_v6() {
    run("a_second_owner_is_heard_and_answered_v6", |lab| foreign(lab, V6));
}

#[test]
fn drop_is_idempotent_and_finds_leftovers_everywhere() {
    run("drop_is_idempotent_and_finds_leftovers_everywhere", |lab| async move {
        let host = lab.host(2).await;
        let vips = [vip(V4), vip("192.0.2.11"), vip(V6)];
        let mut task = host.task();
        task.start().await;
        task.drop(&vips).await;
        task.expect(&dropped(), nothing).await;
        task.hold(&vips, after(20_000)).await;
        task.expect(&held(), nothing).await;
        assert!(vips.iter().all(|vip| host.has(*vip)));
        host.sh(&format!(
            "ip addr add {V4}/32 dev lo {OURS_V4}; ip addr add {V6}/128 dev lo {OURS_V6}"
        ));
        for _ in 0..2 {
            task.drop(&vips).await;
            task.expect(&dropped(), nothing).await;
            assert!(!vips.iter().any(|vip| host.has(*vip)));
        }
        assert!(host.has(vip("192.0.2.2")), "the host's own address stays");
    });
}

async fn carrier(lab: Lab, admin: bool) {
    let host = lab.host(2).await;
    let vips = [vip(V4), vip(V6)];
    let mut task = host.task();
    task.start().await;
    task.hold_quietly(&vips, after(20_000)).await;
    task.expect(&held(), nothing).await;
    let switch = |state: &str| {
        if admin {
            host.sh(&format!("ip link set eth0 {state}"));
        } else {
            lab.plug(&host, state);
        }
    };
    // An interface that is switched off loses its IPv6 addresses; they come back with it.
    let lost = |event: &VipEvent| matches!(event, VipEvent::Lost { vip, .. } if *vip == vips[1]);
    switch("down");
    task.expect(&VipEvent::Link { up: false, mac: None }, lost).await;
    task.probe(&[vip("192.0.2.11")]).await;
    let failed = VipEvent::Failed {
        group: mail(),
        vip: vip("192.0.2.11"),
        error: VipError::LinkDown {
            name: "eth0".to_owned(),
        },
    };
    task.expect(&failed, lost).await;
    vips.iter().for_each(|vip| lab.mislead(*vip));
    switch("up");
    task.expect(&VipEvent::Link { up: true, mac: None }, lost).await;
    for vip in vips {
        host.until_has(vip, true).await;
        lab.learned(vip, &host).await;
    }
}

#[test]
fn a_link_that_returns_is_reported_and_announced() {
    run("a_link_that_returns_is_reported_and_announced", |lab| {
        carrier(lab, false)
    });
}

#[test]
fn an_interface_switched_on_again_has_everything_back() {
    run("an_interface_switched_on_again_has_everything_back", |lab| {
        carrier(lab, true)
    });
}

/// As a bridge or a bond does when its first port goes: the link stays up, and the neighbours would keep the old address.
#[test]
fn another_ethernet_address_is_announced_at_once() {
    const NEW: &str = "02:00:00:00:00:77";
    run("another_ethernet_address_is_announced_at_once", async |lab| {
        let host = lab.host(2).await;
        let vips = [vip(V4), vip(V6)];
        let mut task = host.task();
        task.start().await;
        task.hold_quietly(&vips, after(20_000)).await;
        task.expect(&held(), nothing).await;
        vips.iter().for_each(|vip| lab.mislead(*vip));
        host.sh(&format!("ip link set eth0 address {NEW}"));
        for vip in vips {
            lab.learned_at(vip, NEW).await;
        }
        // Others are told it, too: whose it is that answers for an address.
        let told = task.next().await;
        let VipEvent::Link {
            up: true,
            mac: Some(mac),
        } = told
        else {
            panic!("{told:?}");
        };
        assert_eq!(mac.to_string(), NEW);
    });
}

#[test]
fn a_missing_interface_is_named_with_those_that_exist() {
    run("a_missing_interface_is_named_with_those_that_exist", |lab| async move {
        let host = lab.host(2).await;
        let mut task = host.task_on("eth7", CapabilitySet::empty());
        assert_eq!(task.next().await, VipEvent::Link { up: false, mac: None });
        task.hold(&[vip(V4)], after(5000)).await;
        let VipEvent::Failed { error, .. } = task.next().await else {
            panic!("no failure");
        };
        assert_eq!(error.to_string(), "no interface eth7; this host has eth0, lo");
        // The interface appears, is used, goes and comes back as another one.
        for _ in 0..2 {
            host.sh("ip link set eth0 down; ip link set eth0 name eth7; ip link set eth7 up");
            task.expect(&VipEvent::Link { up: true, mac: None }, nothing).await;
            task.probe(&[vip(V4)]).await;
            task.expect(&VipEvent::Free { group: mail() }, nothing).await;
            host.sh("ip link set eth7 down; ip link set eth7 name eth0");
            task.expect(&VipEvent::Link { up: false, mac: None }, nothing).await;
        }
        assert!(
            leasehold::sidecar::adapters::vip::interface_exists("br0")
                .await
                .unwrap()
        );
        assert!(
            !leasehold::sidecar::adapters::vip::interface_exists("eth7")
                .await
                .unwrap()
        );
    });
}

async fn capability(lab: Lab, without: CapabilitySet, name: &str) {
    let host = lab.host(2).await;
    let mut task = host.task_on("eth0", without);
    task.start().await;
    task.hold(&[vip(V4)], after(5000)).await;
    let VipEvent::Failed { error, .. } = task.next().await else {
        panic!("no failure");
    };
    let text = error.to_string();
    assert!(
        text.contains(name) && text.contains("cap_add: [NET_ADMIN, NET_RAW]"),
        "{text}"
    );
    assert!(!host.has(vip(V4)));
}

#[test]
fn a_missing_capability_is_named() {
    run("a_missing_capability_is_named", |lab| {
        capability(lab, CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN")
    });
}

#[test]
fn a_missing_raw_capability_is_named() {
    run("a_missing_raw_capability_is_named", |lab| {
        capability(lab, CapabilitySet::NET_RAW, "CAP_NET_RAW")
    });
}

#[test]
fn disabled_ipv6_is_named() {
    run("disabled_ipv6_is_named", |lab| async move {
        let host = lab.host(2).await;
        host.sh("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
        let mut task = host.task();
        task.start().await;
        task.hold(&[vip(V6)], after(5000)).await;
        let VipEvent::Failed { error, .. } = task.next().await else {
            panic!("no failure");
        };
        assert_eq!(
            error.to_string(),
            "adding 2001:db8::10/64 to eth0: IPv6 is disabled there"
        );
    });
}

/// A filter that turns a host away leaves alone what neighbours say of each other; for an address that nobody has, nobody answers.
#[test]
fn a_host_that_is_turned_away_still_sees_its_neighbour() {
    run(
        "a_host_that_is_turned_away_still_sees_its_neighbour",
        |lab| async move {
            let (holder, asker) = (lab.host(2).await, lab.host(3).await);
            holder.sh(
                "nft \"add table inet shut; add chain inet shut input { type filter hook input priority 0; }; \
             add rule inet shut input tcp dport 25 drop\"",
            );
            let ask = |address: &str| {
                let address: IpAddr = address.parse().unwrap();
                asker.ask(move || async move {
                    let connect = tokio::net::TcpStream::connect((address, 25));
                    let tried = tokio::time::timeout(Duration::from_secs(1), connect).await;
                    assert!(!matches!(tried, Ok(Ok(_))), "it was let in");
                    vantage(address).await.unwrap()
                })
            };
            let there = ask("192.0.2.2");
            assert!(there.answers && there.from == "192.0.2.3", "{there:?}");
            let nobody = ask("192.0.2.77");
            assert!(!nobody.answers && nobody.from == "192.0.2.3", "{nobody:?}");
        },
    );
}

/// Clients that are there for a moment only, and close first, are seen all the same.
#[test]
fn clients_that_come_and_go_are_seen() {
    run("clients_that_come_and_go_are_seen", |lab| async move {
        let (server, client) = (lab.host(2).await, lab.host(3).await);
        let seen = std::thread::scope(|scope| {
            let served = scope.spawn(|| {
                server.ask(|| async {
                    let listener = tokio::net::TcpListener::bind("0.0.0.0:25").await.unwrap();
                    let end = tokio::time::Instant::now() + Duration::from_secs(5);
                    while let Ok(Ok((mut stream, _))) = tokio::time::timeout_at(end, listener.accept()).await {
                        // Until the client has closed.
                        let _ = tokio::io::AsyncReadExt::read_u8(&mut stream).await;
                    }
                });
            });
            let came = scope.spawn(|| {
                client.ask(|| async {
                    for _ in 0..150 {
                        if let Ok(stream) = tokio::net::TcpStream::connect("192.0.2.2:25").await {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                            drop(stream);
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                });
            });
            std::thread::sleep(Duration::from_secs(1));
            let seen = server.ask(|| async { seen_for_a_while(&[25]) });
            assert!(came.join().is_ok() && served.join().is_ok());
            seen
        });
        assert!(seen.iter().any(|(address, _)| address == "192.0.2.3"), "{seen:?}");
    });
}
