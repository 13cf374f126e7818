//! What the adapters report, in the core's words.

use tokio::sync::mpsc;

use crate::adapters::store::StoreEvent;
use crate::adapters::tether::TetherEvent;
use crate::adapters::vip::VipEvent;
use crate::counters::Counters;
use leasehold_compose::model::Vip;
use leasehold_core::event::{Event, ServiceKey, VipNews};

/// Takes an adapter's events, in its own words, to the inbox.
pub(super) fn forward<T: Send + 'static>(
    mut from: mpsc::Receiver<T>,
    inbox: mpsc::Sender<Event>,
    translate: impl Fn(T) -> Option<Event> + Send + 'static,
) {
    tokio::spawn(async move {
        while let Some(event) = from.recv().await {
            if let Some(event) = translate(event)
                && inbox.send(event).await.is_err()
            {
                return;
            }
        }
    });
}

pub(super) fn from_store(event: StoreEvent, counters: &Counters) -> Option<Event> {
    match event {
        StoreEvent::Answer { id, result } => {
            counters.timings.answered(id, result.is_ok());
            if result.is_err() {
                counters.beat_failed();
            }
            Some(Event::Answer { id, result })
        }
        StoreEvent::Granted { lease, result } => Some(Event::Granted {
            lease,
            result: result.map(|_| ()),
        }),
        StoreEvent::Hint(hint) => Some(Event::Hint(hint)),
        StoreEvent::Endpoint { url, healthy: true, .. } => {
            tracing::info!(code = "endpoint_restored", url, "etcd endpoint answers");
            None
        }
        StoreEvent::Endpoint {
            url,
            healthy: false,
            error,
        } => {
            tracing::warn!(code = "endpoint_lost", url, error, "etcd endpoint does not answer");
            None
        }
    }
}

pub(super) fn from_vip(event: VipEvent) -> Option<Event> {
    let text = |vip: Vip| vip.address.to_string();
    let news = match event {
        VipEvent::Free { group } => VipNews::Free { group },
        VipEvent::Conflict { group, vip, mac } => VipNews::Conflict {
            group,
            vip: text(vip),
            mac: mac.to_string(),
        },
        VipEvent::Held { group } => VipNews::Held { group },
        VipEvent::Failed { group, vip, error } => VipNews::Failed {
            group,
            error: format!("{}: {error}", text(vip)),
        },
        VipEvent::Occupied { group, by } => VipNews::Occupied { group, by },
        VipEvent::Dropped { group } => VipNews::Dropped { group },
        VipEvent::Foreign { group, vip, mac } => VipNews::Foreign {
            group,
            vip: text(vip),
            mac: mac.to_string(),
        },
        VipEvent::Link { up, mac } => VipNews::Link {
            up,
            mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
        },
        VipEvent::Lost { group, vip } => VipNews::Lost { group, vip: text(vip) },
        VipEvent::Expired { group } => {
            tracing::info!(
                code = "address_expired",
                group,
                "the addresses ended with their lifetime"
            );
            return None;
        }
    };
    Some(Event::Vip(news))
}

pub(super) fn from_tether(group: &str, event: TetherEvent) -> Event {
    let key = |service| ServiceKey {
        group: group.to_owned(),
        service,
    };
    match event {
        TetherEvent::Hello {
            service,
            run,
            running,
            connection,
            ..
        } => Event::TetherHello {
            of: key(service),
            run,
            running,
            connection,
        },
        TetherEvent::ClaimAbove {
            service,
            run,
            epoch,
            connection,
        } => Event::ClaimAbove {
            of: key(service),
            run,
            epoch,
            connection,
        },
        TetherEvent::Woke { late } => Event::TetherWoke { late },
        TetherEvent::Gone {
            service,
            run,
            connection,
        } => Event::TetherGone {
            of: key(service),
            run,
            connection,
        },
    }
}
