//! Faults of the machine that all hosts run on, and with them whatever else runs there.

use std::process::{Command, Stdio};

use crate::cluster::Cluster;
use crate::shell::{sh, within};

/// Ends by itself, after so many seconds of the processor, should these tests be killed.
const HOG: &str = "ulimit -t 40; while :; do :; done";
/// Busy processes for each processor, before all others in the queue.
const HOGS: usize = 4;
/// Steps the wall clock by so many seconds, waits for three seconds of a clock that nobody sets, and steps it back. It
/// runs on its own: it must do the second step whatever becomes of the tests.
const STEP: &str = "
import sys, time
REAL, BOOT = time.CLOCK_REALTIME, time.CLOCK_BOOTTIME
true = time.clock_gettime_ns(REAL) - time.clock_gettime_ns(BOOT)
end = time.clock_gettime_ns(BOOT) + 3 * 10**9
try:
    time.clock_settime_ns(REAL, time.clock_gettime_ns(REAL) + int(sys.argv[1]) * 10**9)
except PermissionError:
    sys.exit('this machine does not let us set its clock: CAP_SYS_TIME is missing')
try:
    while time.clock_gettime_ns(BOOT) < end:
        time.sleep(0.05)
finally:
    time.clock_settime_ns(REAL, time.clock_gettime_ns(BOOT) + true)
";
/// What else runs on the machine and takes the times of files for the order in which they were written.
const COMPILERS: [&str; 3] = ["rustc", "cc1", "cc1plus"];

pub(crate) fn starve(cluster: &mut Cluster, _: usize) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..processors * HOGS {
        let hog = Command::new("nice")
            .args(["-n", "-5", "sh", "-c", HOG])
            .stdin(Stdio::null())
            .spawn();
        cluster.broken.hogs.push(hog.expect("a busy process"));
    }
}

/// By so many seconds, for three seconds. Ahead only while nothing is compiled on the machine: a file from the future
/// would be taken for newer than what is written later. One from the past is only written once more.
pub(crate) fn step_clock(seconds: i32) {
    if seconds > 0 {
        let quiet = within(crate::scenarios::RETURN_LIMIT, || {
            let names = sh("cat /proc/[0-9]*/comm 2> /dev/null || true");
            let busy = names.lines().any(|name| COMPILERS.contains(&name));
            (!busy).then_some(())
        });
        assert!(
            quiet.is_some(),
            "something is being compiled on this machine: its clock can't be set ahead now"
        );
    }
    let output = Command::new("setsid")
        .args(["python3", "-c", STEP, &seconds.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("python3");
    assert!(output.status.success(), "{}", crate::shell::words(&output));
}
