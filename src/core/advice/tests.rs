use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn timing(ttl: u64, election: u64) -> Timing {
    Timing::new(ms(ttl), 0.01, None, ms(election))
}

/// A quiet day on an etcd that answers in some milliseconds.
fn quiet() -> Measured {
    let mut measured = Measured {
        time: DAY,
        ..Measured::default()
    };
    (0..1000).for_each(|_| measured.answers.add(ms(4)));
    measured
}

fn said(measured: &Measured, timing: &Timing, promises: bool) -> String {
    judge(measured, timing, promises).lines(measured).join("\n")
}

#[test]
fn a_quiet_day_carries_the_smallest_ttl_and_says_so() {
    let (day, timing) = (quiet(), timing(5_000, 200));
    let advice = judge(&day, &timing, false);
    assert_eq!(advice.smallest(), Some(ms(1_000)));
    assert_eq!(advice.of_now(), Some(&Verdict::Carried));
    assert_eq!(
        said(&day, &timing, false),
        "etcd answered this host within 4.0 ms (half of 1000 requests), 4.0 ms (99 of 100), 4.0 ms (all)\n\
         this host never paused for 50 ms\n\
         this cluster would carry ttl 1 s"
    );
}

#[test]
fn a_stall_stops_what_its_length_and_the_sums_of_the_core_say() {
    let (mut day, timing) = (quiet(), timing(3_000, 200));
    // Longer than 790 ms and shorter than the 1,418 ms of two seconds, both less a beat.
    (0..3).for_each(|_| day.stalls.add(ms(1_000)));
    let advice = judge(&day, &timing, false);
    assert_eq!(advice.verdicts()[&ms(1_000)], Verdict::Stops(3.0));
    assert_eq!(advice.smallest(), Some(ms(2_000)));
    // Half a day of the same is twice as often.
    day.time = DAY / 2;
    let text = said(&day, &timing, false);
    let wanted = "this cluster would carry ttl 2 s; at 1 s it would have stopped 6.0 times a day: \
                  measured for 12 h, and a day is better";
    assert!(text.ends_with(wanted), "{text}");
    // It begins somewhere between two beats: some of those that are nearly too long stop nothing.
    let mut day = quiet();
    day.stalls.add(ms(760));
    let Verdict::Stops(a_day) = judge(&day, &timing, false).verdicts()[&ms(1_000)] else {
        panic!("none");
    };
    assert!((0.4..0.7).contains(&a_day), "{a_day}");
}

#[test]
fn with_promises_the_hosts_own_pauses_alone_count() {
    let (mut day, timing) = (quiet(), timing(3_000, 200));
    day.stalls.add(ms(60_000));
    assert_eq!(judge(&day, &timing, false).smallest(), None);
    assert_eq!(judge(&day, &timing, true).smallest(), Some(ms(1_000)));
    day.pauses.add(ms(1_000));
    let text = said(&day, &timing, true);
    assert!(
        text.contains("this host paused for more than 50 ms once, for 1 s at most"),
        "{text}"
    );
    let wanted = "would carry ttl 2 s; at 1 s it would have stopped 1.0 times a day (with promises: this host's pauses alone count)";
    assert!(text.ends_with(wanted), "{text}");
    let text = said(&day, &timing, false);
    assert!(
        text.contains("would carry no ttl that is offered here; at 10 s it would have stopped 1.0"),
        "{text}"
    );
}

#[test]
fn answers_that_are_slower_than_a_call_may_take_carry_nothing() {
    let timing = timing(5_000, 200);
    let mut day = quiet();
    (0..60).for_each(|_| day.answers.add(ms(150)));
    let advice = judge(&day, &timing, false);
    let slow = Verdict::Slow {
        answer: ms(150),
        attempt: ms(100),
    };
    assert_eq!(advice.verdicts()[&ms(1_000)], slow);
    assert_eq!(advice.smallest(), Some(ms(2_000)));
    let text = said(&day, &timing, false);
    assert!(
        text.contains("at 1 s a call may take 100 ms, and one answer in twenty takes 150 ms or more"),
        "{text}"
    );
}

#[test]
fn of_a_few_answers_nobody_knows_how_slow_they_usually_are() {
    let mut day = quiet();
    day.answers = Spread::default();
    (0..99).for_each(|_| day.answers.add(ms(150)));
    assert_eq!(judge(&day, &timing(5_000, 200), false).smallest(), Some(ms(1_000)));
}

#[test]
fn what_the_sums_refuse_is_no_advice() {
    let text = said(&quiet(), &timing(5_000, 1_000), false);
    assert!(text.contains("this cluster would carry ttl 5 s\n"), "{text}");
    assert!(
        text.contains("1 s, 2 s and 3 s would be refused, whatever was measured: "),
        "{text}"
    );
    assert!(text.ends_with("the smallest ttl that would do here is 5 s"), "{text}");
}

#[test]
fn the_ttl_of_now_is_judged_whatever_it_is() {
    let mut day = quiet();
    day.stalls.add(ms(30_000));
    let advice = judge(&day, &timing(30_000, 1_000), false);
    assert_eq!(advice.of_now(), Some(&Verdict::Stops(1.0)));
    let advice = judge(&day, &timing(60_000, 1_000), false);
    assert_eq!(advice.smallest(), Some(ms(60_000)));
}

#[test]
fn what_is_known_of_disks_is_said_and_what_is_not() {
    let mut measured = Measured {
        time: ms(720_000),
        failed: 3,
        ..Measured::default()
    };
    // Who was never answered has measured no etcd that could carry anything.
    let text = said(&measured, &timing(5_000, 200), false);
    assert!(text.ends_with("this host never paused for 50 ms"), "{text}");
    measured.answers.add(ms(2));
    let disk = |fsync, commit| Disk {
        is_mute: false,
        fsync: Some(ms(fsync)),
        commit: Some(ms(commit)),
    };
    let mute = Disk {
        is_mute: true,
        ..Disk::default()
    };
    measured.disks.insert("http://a".to_owned(), disk(4, 9));
    measured.disks.insert("http://b".to_owned(), disk(32, 60));
    measured.disks.insert("http://c".to_owned(), mute);
    measured.disks.insert("http://d".to_owned(), Disk::default());
    let text = said(&measured, &timing(5_000, 200), false);
    assert_eq!(
        text,
        "etcd answered this host within 2.0 ms (half of 1 requests), 2.0 ms (99 of 100), 2.0 ms (all); 3 requests had no good answer\n\
         etcd http://a wrote its log in 4.0 ms, its file in 9.0 ms (99 of 100)\n\
         etcd http://b wrote its log in 32 ms (etcd asks for 10 ms at most), its file in 60 ms (etcd asks for 25 ms at most) (99 of 100)\n\
         etcd http://c shows no figures of its disk: its page of metrics can't be read from here\n\
         etcd http://d was looked at once so far: its disk is known a minute later\n\
         this host never paused for 50 ms\n\
         this cluster would carry ttl 1 s: measured for 12 min, and a day is better"
    );
}

#[test]
fn in_less_than_an_hour_there_is_no_rate() {
    let (mut measured, timing) = (quiet(), timing(5_000, 200));
    measured.time = ms(30_000);
    (0..2).for_each(|_| measured.stalls.add(ms(1_000)));
    let text = said(&measured, &timing, false);
    let wanted = "at 1 s it would have stopped 2.0 times so far: measured for less than a minute, and a day is better";
    assert!(text.ends_with(wanted), "{text}");
}

#[test]
fn rates_are_as_exact_as_they_are_known() {
    for (a_day, said) in [(0.01, "less than 0.1"), (0.3, "0.3"), (9.94, "9.9"), (99.4, "99")] {
        assert_eq!(text::advice::rate(a_day), said);
    }
}
