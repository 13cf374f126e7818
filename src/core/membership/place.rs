//! Where the node's own key puts it: what an answer says of its place, whatever was asked. It changes nothing: `locate` carries
//! out what comes of it.

use super::Member;
use crate::protocol::records::NodeKey;
use crate::text;

/// How often a sidecar that adopts lets a late beat of its predecessor go by.
const ADOPT_TRIES: u32 = 3;

/// What the key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing new.
    Same,
    /// This node is not a member, and looks what to do about that.
    Arrives,
    /// Somebody else has its name.
    Waits,
    /// A beat of this sidecar has landed: it is a member.
    Proved {
        lease: i64,
        mod_revision: i64,
        /// It takes over the runs of an earlier sidecar.
        adopts: bool,
    },
    /// A last beat of the earlier sidecar has landed after all.
    Follows { mod_revision: i64, tries: u32 },
    /// The place of this incarnation is lost.
    Lost { lease: i64, why: &'static str },
}

/// `own`: the key of this node's name, whosever it is. `landed`: it carries a beat that this sidecar sent. `boot`: of this host.
pub(super) fn place(member: &Member, own: Option<&NodeKey>, landed: bool, boot: &str) -> Place {
    let lease = own.map_or(0, |key| key.lease);
    let revision = own.map_or(0, |key| key.mod_revision);
    let proved = |adopts| Place::Proved {
        lease,
        mod_revision: revision,
        adopts,
    };
    let lost = |lease, why| Place::Lost { lease, why };
    match *member {
        Member::Arriving | Member::Waiting => Place::Arrives,
        Member::Registering { lease: wanted } => match own {
            None => Place::Same,
            Some(_) if lease == wanted && landed => proved(false),
            Some(_) => Place::Waits,
        },
        Member::Adopting {
            lease: mine,
            mod_revision,
            tries,
        } => {
            let beat = own.and_then(|key| key.beat.as_ref());
            if lease != mine || beat.is_none_or(|beat| beat.boot != boot) {
                lost(mine, text::membership::EARLIER_KEY_GONE)
            } else if landed {
                proved(true)
            } else if revision == mod_revision {
                Place::Same
            } else if tries < ADOPT_TRIES {
                // The predecessor is dead, so there is at most one such beat.
                Place::Follows {
                    mod_revision: revision,
                    tries: tries + 1,
                }
            } else {
                lost(mine, text::membership::OTHER_BEATS)
            }
        }
        Member::Joined {
            lease: mine,
            mod_revision,
        } => {
            if lease == mine && landed {
                proved(false)
            } else if lease != mine || revision != mod_revision {
                lost(mine, key_loss_reason(own))
            } else {
                Place::Same
            }
        }
        Member::Granting { .. } | Member::Lost { .. } | Member::Frozen { .. } | Member::Left => Place::Same,
    }
}

/// What happened to a node's key that is no longer its last beat.
fn key_loss_reason(own: Option<&NodeKey>) -> &'static str {
    match own {
        None => text::membership::KEY_GONE,
        Some(key) if key.lease == 0 => text::membership::KEY_WITHOUT_LEASE,
        Some(_) => text::membership::KEY_NOT_OWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::records::Beat;

    const JOINED: Member = Member::Joined {
        lease: 7,
        mod_revision: 10,
    };

    fn adopting(tries: u32) -> Member {
        Member::Adopting {
            lease: 7,
            mod_revision: 10,
            tries,
        }
    }

    fn key(lease: i64, mod_revision: i64, boot: &str) -> NodeKey {
        let beat = Beat {
            machine: String::new(),
            boot: boot.to_owned(),
            seq: 1,
            nonce: 1,
            ttl_ms: 5000,
        };
        NodeKey {
            lease,
            mod_revision,
            beat: Some(beat),
        }
    }

    fn put(member: &Member, own: Option<&NodeKey>, landed: bool) -> Place {
        place(member, own, landed, "b")
    }

    fn is_lost(place: &Place) -> bool {
        matches!(place, Place::Lost { lease: 7, .. })
    }

    #[test]
    fn a_member_stays_one_by_its_own_beats_alone() {
        let proved = Place::Proved {
            lease: 7,
            mod_revision: 11,
            adopts: false,
        };
        assert_eq!(put(&JOINED, Some(&key(7, 11, "b")), true), proved);
        assert_eq!(
            put(&JOINED, Some(&key(7, 10, "b")), false),
            Place::Same,
            "none has landed"
        );
        assert!(is_lost(&put(&JOINED, Some(&key(7, 11, "b")), false)), "not its beat");
        assert!(is_lost(&put(&JOINED, Some(&key(8, 11, "b")), true)), "not its lease");
        assert!(is_lost(&put(&JOINED, Some(&key(0, 11, "b")), false)), "written by hand");
        assert!(is_lost(&put(&JOINED, None, false)), "gone");
    }

    #[test]
    fn an_adoption_takes_the_lease_of_this_boot_and_lets_late_beats_go_by() {
        let proved = Place::Proved {
            lease: 7,
            mod_revision: 12,
            adopts: true,
        };
        assert_eq!(put(&adopting(0), Some(&key(7, 12, "b")), true), proved);
        assert_eq!(put(&adopting(0), Some(&key(7, 10, "b")), false), Place::Same);
        let follows = Place::Follows {
            mod_revision: 11,
            tries: 1,
        };
        assert_eq!(put(&adopting(0), Some(&key(7, 11, "b")), false), follows);
        assert!(is_lost(&put(&adopting(ADOPT_TRIES), Some(&key(7, 11, "b")), false)));
        assert!(
            is_lost(&put(&adopting(0), Some(&key(7, 10, "other")), false)),
            "another boot"
        );
        assert!(is_lost(&put(&adopting(0), None, false)));
        let unreadable = NodeKey {
            beat: None,
            ..key(7, 10, "b")
        };
        assert!(is_lost(&put(&adopting(0), Some(&unreadable), false)));
    }

    #[test]
    fn a_node_that_registers_is_a_member_once_its_beat_is_there() {
        let registering = Member::Registering { lease: 7 };
        assert_eq!(put(&registering, None, false), Place::Same);
        assert_eq!(put(&registering, Some(&key(8, 11, "b")), false), Place::Waits);
        assert_eq!(
            put(&registering, Some(&key(7, 11, "b")), false),
            Place::Waits,
            "not its beat"
        );
        let proved = Place::Proved {
            lease: 7,
            mod_revision: 11,
            adopts: false,
        };
        assert_eq!(put(&registering, Some(&key(7, 11, "b")), true), proved);
    }

    #[test]
    fn whoever_has_no_place_is_put_nowhere() {
        let own = key(7, 11, "b");
        let frozen = Member::Frozen {
            why: String::new(),
            before: None,
        };
        for member in [Member::Lost { lease: 7 }, frozen, Member::Left] {
            assert_eq!(put(&member, Some(&own), true), Place::Same, "{member:?}");
        }
        assert_eq!(put(&Member::Waiting, Some(&own), false), Place::Arrives);
        assert_eq!(put(&Member::Arriving, None, false), Place::Arrives);
    }
}
