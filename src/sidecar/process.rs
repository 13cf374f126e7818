//! What every Prometheus client tells of its process, under the common names (`process_*`). Read from `/proc/self` by a few lines
//! of our own: `prometheus-client` has no such collector, and the crates that read `/proc` bring a dozen others along.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};

use leasehold_base::clock;
use leasehold_base::small_file;
use leasehold_base::time::Time;

/// `USER_HZ`, which Linux promises to programs on every architecture that this one is built for.
const TICKS: f64 = 100.0;
/// One file of the kernel.
const FILE_MAX: u64 = 256 * 1024;
const KIB: u64 = 1024;
/// Whoever asks for the metrics again and again does not make the kernel count again and again.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// As the kernel told it last.
static LAST: Mutex<Option<(Time, Figures)>> = Mutex::new(None);

/// As the kernel tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Figures {
    cpu_seconds: f64,
    /// Since 1970.
    start_seconds: f64,
    threads: u64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_files: Option<u64>,
    most_files: Option<u64>,
}

/// Adds them to the metrics; what can't be read is left out.
pub fn register(registry: &mut Registry) {
    let Some(figures) = figures() else { return };
    let cpu: Counter<f64, AtomicU64> = Counter::default();
    cpu.inc_by(figures.cpu_seconds);
    registry.register("process_cpu_seconds", "CPU time of the process, in seconds", cpu);
    let start: Gauge<f64, AtomicU64> = Gauge::default();
    start.set(figures.start_seconds);
    let help = "When the process began, in seconds since 1970";
    registry.register_with_unit("process_start_time", help, Unit::Seconds, start);
    let help = "Memory of the process that is in use";
    registry.register_with_unit(
        "process_resident_memory",
        help,
        Unit::Bytes,
        gauge(figures.resident_bytes),
    );
    let help = "Memory that the process asked for";
    registry.register_with_unit(
        "process_virtual_memory",
        help,
        Unit::Bytes,
        gauge(figures.virtual_bytes),
    );
    registry.register("process_threads", "Threads of the process", gauge(figures.threads));
    if let Some(open) = figures.open_files {
        registry.register("process_open_fds", "Files that the process has open", gauge(open));
    }
    if let Some(most) = figures.most_files {
        registry.register("process_max_fds", "Files that the process may have open", gauge(most));
    }
}

/// Not older than a second.
fn figures() -> Option<Figures> {
    let now = clock::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, figures)) = *last
        && now.since(at) < GOOD_FOR
    {
        return Some(figures);
    }
    let read = |name: &str| small_file::read_text(Path::new(name), FILE_MAX).ok();
    let mut figures = parsed(&read("/proc/self/stat")?, &read("/proc/self/status")?, booted()?)?;
    // The directory itself is one of them.
    let open = std::fs::read_dir("/proc/self/fd").map(|all| all.count().saturating_sub(1));
    figures.open_files = open.ok().and_then(|open| u64::try_from(open).ok());
    figures.most_files = getrlimit(Resource::Nofile).current;
    *last = Some((now, figures));
    Some(figures)
}

/// When this host began, in seconds since 1970; read once, because the file is long.
fn booted() -> Option<f64> {
    static BOOTED: OnceLock<Option<f64>> = OnceLock::new();
    let read = || btime(&small_file::read_text(Path::new("/proc/stat"), small_file::MAX).ok()?);
    *BOOTED.get_or_init(read)
}

fn btime(machine: &str) -> Option<f64> {
    let line = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn gauge(value: u64) -> Gauge {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    gauge
}

/// From `/proc/self/stat`, `/proc/self/status`, and when the host began.
fn parsed(stat: &str, status: &str, booted: f64) -> Option<Figures> {
    // The name of the program may hold blanks and brackets.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<f64>().ok();
    let sized = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Figures {
        cpu_seconds: (field(14)? + field(15)?) / TICKS,
        start_seconds: booted + field(22)? / TICKS,
        threads: sized("Threads:")?,
        resident_bytes: sized("VmRSS:")?.saturating_mul(KIB),
        virtual_bytes: sized("VmSize:")?.saturating_mul(KIB),
        ..Figures::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_their_place() {
        let stat = "4242 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 9 0 1000 1 2";
        let status = "Name:\ta\nVmSize:\t  200 kB\nVmRSS:\t  100 kB\nThreads:\t9\n";
        let figures = parsed(stat, status, btime("cpu 1 2\nbtime 1700000000\n").unwrap()).unwrap();
        let wanted = Figures {
            cpu_seconds: 4.0,
            start_seconds: 1_700_000_010.0,
            threads: 9,
            resident_bytes: 102_400,
            virtual_bytes: 204_800,
            ..Figures::default()
        };
        assert_eq!(figures, wanted);
        assert_eq!(parsed("nonsense", status, 0.0), None);
    }

    #[test]
    fn this_process_has_them_under_the_common_names() {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in [
            "process_cpu_seconds_total ",
            "process_start_time_seconds ",
            "process_resident_memory_bytes ",
            "process_virtual_memory_bytes ",
            "process_threads ",
            "process_open_fds ",
            "process_max_fds ",
        ] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
        }
    }
}
