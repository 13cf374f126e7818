use std::path::PathBuf;

use super::*;

const TICK: Duration = Duration::from_millis(50);
/// Some half hour.
const WALL: u64 = 1_800_000_000;

fn at(ms: u64) -> Time {
    Time::default().plus(Duration::from_millis(ms))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Sent and answered.
fn beat(measure: &Measure, sent: u64, answered: u64) {
    measure.sent(at(sent));
    measure.answered(at(answered), at(sent), true, WALL);
}

fn sum(measure: &Measure) -> Measured {
    measure.lock().day.sum()
}

#[test]
fn a_stall_lasts_from_the_first_request_to_the_first_good_answer_and_began_a_little_before() {
    let measure = Measure::default();
    beat(&measure, 0, 4);
    beat(&measure, 400, 405);
    assert_eq!(sum(&measure).stalls.count(), 0, "two answers");
    measure.sent(at(805));
    measure.answered(at(1_305), at(805), false, WALL);
    beat(&measure, 1_310, 1_500);
    let seen = sum(&measure);
    assert_eq!((seen.answers.count(), seen.failed), (3, 1));
    // 695 ms, and half of the 400 ms before that.
    assert_eq!(seen.stalls.longest(), Some(ms(895)));
    beat(&measure, 1_900, 1_905);
    assert_eq!(sum(&measure).stalls.count(), 1, "it is over");
    // Nobody asked anything for an hour: that is no stall.
    beat(&measure, 3_600_000, 3_600_150);
    assert_eq!(sum(&measure).stalls.longest(), Some(ms(895)));
    assert!(
        sum(&measure)
            .stalls
            .sum(|length| if length <= ms(700) { 1.0 } else { 0.0 })
            > 0.9
    );
}

#[test]
fn a_pause_of_this_host_is_no_silence_of_etcd_whoever_wakes_first() {
    for thread_first in [true, false] {
        let measure = Measure::default();
        beat(&measure, 0, 4);
        measure.sent(at(400));
        let answer = || measure.answered(at(1_500), at(400), true, WALL);
        let wake = || measure.woke(at(420), at(1_499), TICK, WALL);
        if thread_first {
            wake();
            answer();
        } else {
            answer();
            wake();
        }
        let seen = sum(&measure);
        assert_eq!((seen.stalls.count(), seen.pauses.count()), (0, 1), "{thread_first}");
        assert_eq!(seen.pauses.longest(), Some(ms(1_029)));
        assert_eq!(seen.time, ms(1_079));
    }
    // A short one explains no long silence.
    let measure = Measure::default();
    measure.woke(at(300), at(450), TICK, WALL);
    beat(&measure, 400, 1_500);
    measure.woke(at(1_400), at(1_550), TICK, WALL);
    let seen = sum(&measure);
    assert_eq!((seen.stalls.count(), seen.pauses.count()), (1, 2));
    measure.woke(at(1_550), at(1_649), TICK, WALL);
    assert_eq!(sum(&measure).pauses.count(), 2, "49 ms");
}

#[test]
fn a_day_is_kept_and_no_more() {
    let measure = Measure::default();
    for half in 0..100 {
        let wall = WALL + half * 1800;
        measure.answered(at(5), at(0), true, wall);
        measure.woke(at(0), at(50), TICK, wall);
    }
    assert_eq!(sum(&measure).answers.count(), 48);
    // The clock is set back by some seconds, then by a year.
    measure.answered(at(5), at(0), true, WALL + 99 * 1800 - 5);
    assert_eq!(sum(&measure).answers.count(), 49);
    measure.answered(at(5), at(0), true, WALL - 31_536_000);
    assert_eq!(sum(&measure).answers.count(), 1);
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("leasehold-measure-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn it_outlives_the_sidecar_in_a_bounded_file_and_what_is_none_of_ours_counts_for_nothing() {
    let dir = folder("file");
    assert_eq!(read(&dir, WALL).unwrap(), None);
    let measure = Measure::default();
    let page: String = (0..24)
        .map(|bound| format!("etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"0.{bound:04}\"}} 9007199254740992\n"))
        .collect();
    let counts = DiskCounts::of_metrics(&page);
    for half in 0..48 {
        let wall = WALL + half * 1800;
        for step in 0..160 {
            let length = Duration::from_micros(200).mul_f64(1.09_f64.powi(step));
            let mut state = measure.lock();
            let part = state.day.part(wall);
            part.answers.add(length);
            part.stalls.add(length);
            part.pauses.add(length);
        }
        measure.woke(at(0), at(50), TICK, wall);
        for member in 0..9 {
            measure.disk(&format!("https://{}{member}", "e".repeat(250)), counts.as_ref(), wall);
        }
    }
    let now = WALL + 47 * 1800;
    let day = measure.lock().day.clone();
    day::save(&dir, &day).unwrap();
    let file = dir.join("measured.json");
    let length = std::fs::metadata(&file).unwrap().len();
    assert!(length < 1 << 20, "{length} bytes");
    assert_eq!(day::load(&dir).unwrap(), Some(day));
    assert_eq!(read(&dir, now).unwrap(), Some(sum(&measure)));
    assert_eq!(read(&dir, now + 7 * 86_400).unwrap(), None, "a week old");
    for damaged in [
        "",
        "{}",
        r#"{"parts":[{"number":2},{"number":1}]}"#,
        r#"{"parts":[{"number":1,"looked_us":1,"answers":{"bins":{"999":1},"longest_us":1},"failed":0,"stalls":{"bins":{},"longest_us":0},"pauses":{"bins":{},"longest_us":0},"disks":{}}]}"#,
    ] {
        std::fs::write(&file, damaged).unwrap();
        read(&dir, now).unwrap_err();
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_status_is_told_after_an_hour_and_of_the_ttl_of_now() {
    let timing = |ttl| Timing::new(ms(ttl), 0.01, None, ms(200));
    let measure = Measure::default();
    beat(&measure, 0, 1_000);
    measure.woke(at(0), at(1), TICK, WALL);
    assert_eq!(measure.line(at(0), &timing(1_000), false), None, "too early");
    measure.lock().day.part(WALL).add_time(Duration::from_secs(12 * 3600));
    assert_eq!(
        measure.line(at(59_000), &timing(1_000), false),
        None,
        "judged once a minute"
    );
    let line = measure.line(at(60_000), &timing(1_000), false).unwrap();
    assert_eq!((line.for_s, line.would_carry_ms), (12 * 3600, Some(2_000)));
    assert!((line.stops_a_day - 2.0).abs() < 0.01, "{line:?}");
    let line = measure.line(at(60_000), &timing(3_000), false).unwrap();
    assert!(line.stops_a_day.abs() < 0.01, "{line:?}");
    let line = measure.line(at(60_000), &timing(1_000), true).unwrap();
    assert_eq!(line.would_carry_ms, Some(1_000), "with promises");
}
