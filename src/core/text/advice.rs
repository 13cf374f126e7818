//! What measurements say of the ttl (docs/times.md).

use std::time::Duration;

use crate::advice::{Advice, COMMIT_MAX, DAY, Disk, FSYNC_MAX, LEAST, Measured, Verdict};

pub(crate) const NOTHING: &str =
    "nothing was measured here yet: a sidecar that runs measures etcd's answers, its disks and this host's pauses";

pub(crate) fn lines(measured: &Measured, advice: &Advice) -> Vec<String> {
    let mut lines = vec![answers(measured)];
    lines.extend(disks(measured));
    lines.push(pauses(measured));
    if measured.answers.count() > 0 {
        lines.extend(would_carry(measured, advice));
    }
    lines
}

fn answers(measured: &Measured) -> String {
    let spread = &measured.answers;
    let quantile = |share| spread.quantile(share).map_or_else(String::new, length);
    let failed = match measured.failed {
        0 => String::new(),
        count => format!("; {count} requests had no good answer"),
    };
    match spread.longest() {
        Some(longest) => format!(
            "etcd answered this host within {} (half of {} requests), {} (99 of 100), {} (all){failed}",
            quantile(0.5),
            spread.count(),
            quantile(0.99),
            length(longest)
        ),
        None => format!("etcd did not answer this host at all{failed}"),
    }
}

fn disks(measured: &Measured) -> Vec<String> {
    let told = measured.disks.iter().map(|(url, disk)| match disk {
        Disk { is_mute: true, .. } => {
            format!("etcd {url} shows no figures of its disk: its page of metrics can't be read from here")
        }
        Disk {
            fsync: None,
            commit: None,
            ..
        } => format!("etcd {url} was looked at once so far: its disk is known a minute later"),
        disk => format!(
            "etcd {url} wrote its log in {}, its file in {} (99 of 100)",
            written(disk.fsync, FSYNC_MAX),
            written(disk.commit, COMMIT_MAX)
        ),
    });
    told.collect()
}

/// With what etcd's guide asks for, where it takes longer.
fn written(took: Option<Duration>, most: Duration) -> String {
    match took {
        None => "a time that is not known".to_owned(),
        Some(took) if took > most => format!("{} (etcd asks for {} at most)", length(took), length(most)),
        Some(took) => length(took),
    }
}

fn pauses(measured: &Measured) -> String {
    let Some(longest) = measured.pauses.longest() else {
        return "this host never paused for 50 ms".to_owned();
    };
    let times = match measured.pauses.count() {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    format!(
        "this host paused for more than 50 ms {times}, for {} at most",
        length(longest)
    )
}

/// The sentence that all of it is for.
fn would_carry(measured: &Measured, advice: &Advice) -> Vec<String> {
    let mut clauses = Vec::new();
    clauses.push(match advice.smallest() {
        Some(ttl) => format!("this cluster would carry ttl {}", length(ttl)),
        None => "this cluster would carry no ttl that is offered here".to_owned(),
    });
    let below = |ttl: &Duration| advice.smallest().is_none_or(|smallest| *ttl < smallest);
    for (ttl, verdict) in advice.verdicts().iter().rev().filter(|(ttl, _)| below(ttl)) {
        clauses.push(match verdict {
            Verdict::Refused(_) | Verdict::Carried => continue,
            Verdict::Slow { answer, attempt } => format!(
                "at {} a call may take {}, and one answer in twenty takes {} or more",
                length(*ttl),
                length(*attempt),
                length(*answer)
            ),
            Verdict::Stops(a_day) => format!(
                "at {} it would have stopped {}",
                length(*ttl),
                times(*a_day, measured.time)
            ),
        });
    }
    let refused = advice.verdicts().iter().filter_map(|(ttl, verdict)| match verdict {
        Verdict::Refused(short) => Some((length(*ttl), short)),
        Verdict::Slow { .. } | Verdict::Stops(_) | Verdict::Carried => None,
    });
    let refused: Vec<_> = refused.collect();
    let mut lines = vec![format!("{}{}", clauses.join("; "), measured_for(measured, advice))];
    if let Some((_, short)) = refused.last() {
        let ttls: Vec<&str> = refused.iter().map(|(ttl, _)| ttl.as_str()).collect();
        let smallest = length(Duration::from_millis(
            u64::try_from(short.smallest_ms).unwrap_or(u64::MAX),
        ));
        let ttls = super::listed(&ttls);
        lines.push(format!(
            "{ttls} would be refused, whatever was measured: {}; the smallest ttl that would do here is {smallest}",
            short.sum
        ));
    }
    lines
}

/// How much all of it is worth.
fn measured_for(measured: &Measured, advice: &Advice) -> String {
    let promises = if advice.counts_on_promises() {
        " (with promises: this host's pauses alone count)"
    } else {
        ""
    };
    // The day's last part of an hour is always under way.
    if measured.time >= DAY - Duration::from_secs(1800) {
        return promises.to_owned();
    }
    format!("{promises}: measured for {}, and a day is better", long(measured.time))
}

/// A rate, where it was seen for long enough to be one.
fn times(a_day: f64, measured: Duration) -> String {
    if measured >= LEAST {
        return format!("{} times a day", rate(a_day));
    }
    let seen = a_day * measured.as_secs_f64() / DAY.as_secs_f64();
    format!("{} times so far", rate(seen))
}

pub(crate) fn rate(a_day: f64) -> String {
    if a_day >= 9.95 {
        format!("{a_day:.0}")
    } else if a_day >= 0.095 {
        format!("{a_day:.1}")
    } else {
        "less than 0.1".to_owned()
    }
}

/// As short as people say it.
fn length(length: Duration) -> String {
    let ms = length.as_secs_f64() * 1000.0;
    if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if length.subsec_millis() == 0 {
        format!("{} s", length.as_secs())
    } else {
        format!("{:.1} s", length.as_secs_f64())
    }
}

fn long(length: Duration) -> String {
    let minutes = length.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, 0) => "less than a minute".to_owned(),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}
