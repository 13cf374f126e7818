//! Where the kernel takes this host's time from. Every deadline counts on clocks whose rate is right; a source that the
//! kernel had to give up was not, and the slow ones are what it falls back to. Besides, what the time is for people.

use std::fs;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use leasehold_base::clock;
use leasehold_core::event::Event;

const PLACE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
/// The kernel's own watchdog of clock sources looks twice a second; a warning need not be that fast.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What the kernel takes when nothing better can be trusted.
const POOR: [&str; 5] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"];

/// Starts the adapter; it ends with the receiver of `events`.
pub fn spawn(events: mpsc::Sender<Event>) {
    tokio::spawn(async move {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut first = None;
        loop {
            looks.tick().await;
            // A file of the kernel: it answers at once or is not there, and then nothing is known.
            let source = fs::read_to_string(PLACE).ok();
            let doubt = source.and_then(|now| doubt(first.get_or_insert_with(|| now.trim().to_owned()), now.trim()));
            let wall = Some(clock::wall_seconds());
            if events.send(Event::Clock { doubt, wall }).await.is_err() {
                return;
            }
        }
    });
}

/// Why the rate of this host's clocks is in doubt.
fn doubt(first: &str, now: &str) -> Option<String> {
    if first != now {
        return Some(format!(
            "the clock source changed from {first} to {now} while the sidecar runs: the kernel found {first} unreliable, so the \
             clocks may have run at another rate than clock_margin allows; see `dmesg | grep -i clocksource`, and reboot the \
             host once it holds nothing"
        ));
    }
    POOR.contains(&now).then(|| {
        format!(
            "the clock source is {now}: the kernel found no reliable one, so the clocks may run at another rate than \
             clock_margin allows; see `dmesg | grep -i clocksource`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poor_source_and_a_change_are_doubted() {
        for good in [
            "tsc",
            "kvm-clock",
            "arch_sys_counter",
            "hyperv_clocksource_tsc_page",
            "xen",
        ] {
            assert_eq!(doubt(good, good), None);
        }
        for poor in POOR {
            assert!(doubt(poor, poor).unwrap().contains(poor));
        }
        let changed = doubt("tsc", "hpet").unwrap();
        assert!(
            changed.contains("from tsc to hpet") && changed.contains("dmesg"),
            "{changed}"
        );
        assert!(doubt("hpet", "tsc").is_some());
    }
}
