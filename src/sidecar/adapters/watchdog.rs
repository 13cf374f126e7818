//! The hardware watchdog: armed by the first feed, fed by a thread of its own, put to sleep by the magic close.
//!
//! When it may be fed the core decides; this only writes. The timeout is the driver's: it is read, never set, because a
//! device that another program also uses must not get a shorter one behind its back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use leasehold_base::clock;
use leasehold_base::time::Time;

/// Where the kernel shows the first device, under whatever name it was opened.
const FIRST: &str = "/sys/class/watchdog/watchdog0";
/// Meals that wait for a slow device; what it is given later would be too late.
const WAITING_MAX: usize = 2;
/// How long an orderly end waits for the device to fall asleep.
const SLEEP_WAIT: Duration = Duration::from_secs(1);
/// `WDIOF_MAGICCLOSE` and `WDIOF_ALARMONLY` of the kernel.
const MAGIC_CLOSE: u32 = 0x0100;
const ALARM_ONLY: u32 = 0x0400;

/// Why a device can't serve; the operator loads its driver with other options, or chooses another one.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// The device or what the kernel says about it can't be read.
    #[error("LEASEHOLD_WATCHDOG={}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    /// It does not do what is needed.
    #[error("LEASEHOLD_WATCHDOG={}: {why}", path.display())]
    Unfit { path: PathBuf, why: String },
}

/// A device that could serve; nothing is armed by it.
#[derive(Clone, Debug)]
pub struct Device {
    path: PathBuf,
    /// From the last feed to the reset.
    pub timeout: Duration,
    /// The driver's name for it.
    pub identity: String,
}

/// What keeps a device fed.
#[derive(Debug)]
pub struct WatchdogDevice {
    device: Device,
    orders: Option<Sender<Order>>,
    /// Meals that the device has not taken yet.
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Order {
    Feed(Time),
    Sleep(SyncSender<io::Result<()>>),
}

impl Device {
    /// Reads what the kernel says about it, without opening it: that alone would arm it.
    ///
    /// # Errors
    /// [`WatchdogError`]
    pub fn find(path: &Path) -> Result<Self, WatchdogError> {
        let found = fs::metadata(path).map_err(|error| Self::failed(path, error))?;
        if !found.file_type().is_char_device() {
            return Err(Self::unfit(path, "it is no device".to_owned()));
        }
        let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
        let own = PathBuf::from(format!("/sys/dev/char/{major}:{minor}"));
        let facts = if own.join("timeout").exists() {
            own
        } else {
            PathBuf::from(FIRST)
        };
        Self::with_facts(path, &facts)
    }

    /// The same with the directory in which its facts stand, as in `/sys/class/watchdog/watchdog0`.
    ///
    /// # Errors
    /// [`WatchdogError`]
    pub fn with_facts(path: &Path, facts: &Path) -> Result<Self, WatchdogError> {
        let fact = |name: &str| fs::read_to_string(facts.join(name)).map(|text| text.trim().to_owned());
        let timeout = fact("timeout").map_err(|error| Self::failed(&facts.join("timeout"), error))?;
        let seconds = timeout.parse().ok().filter(|seconds| *seconds > 0);
        let Some(seconds) = seconds else {
            return Err(Self::unfit(
                path,
                format!("its timeout {timeout:?} is no number of seconds"),
            ));
        };
        if fact("nowayout").is_ok_and(|word| word == "1") {
            let why = "its driver was loaded with `nowayout`: every orderly end would reset this host; load it with \
                       `nowayout=0`";
            return Err(Self::unfit(path, why.to_owned()));
        }
        let options = fact("options").ok();
        let options = options.and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        if options.is_some_and(|options| options & ALARM_ONLY != 0) {
            return Err(Self::unfit(
                path,
                "it gives an alarm and does not reset the host".to_owned(),
            ));
        }
        if options.is_some_and(|options| options & MAGIC_CLOSE == 0) {
            let why = "it falls asleep when the sidecar dies (no magic close), so it guards nothing";
            return Err(Self::unfit(path, why.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            timeout: Duration::from_secs(seconds),
            identity: fact("identity").unwrap_or_default(),
        })
    }

    /// Arms it and puts it to sleep at once: whether it can be had at all, and that one which an earlier sidecar left
    /// awake does not strike. Only while nothing runs: this is a feed.
    ///
    /// # Errors
    /// Most likely that another program has it.
    pub fn try_out(&self) -> Result<(), WatchdogError> {
        let opened = self.open().and_then(fall_asleep);
        opened.map_err(|error| {
            if error.kind() != io::ErrorKind::ResourceBusy {
                return Self::failed(&self.path, error);
            }
            let why = "another program has it open (systemd's RuntimeWatchdogSec, watchdogd, sbd?): only one can";
            Self::unfit(&self.path, why.to_owned())
        })
    }

    fn open(&self) -> io::Result<File> {
        File::options().write(true).open(&self.path)
    }

    fn failed(path: &Path, error: io::Error) -> WatchdogError {
        WatchdogError::Io {
            path: path.to_owned(),
            error,
        }
    }

    fn unfit(path: &Path, why: String) -> WatchdogError {
        WatchdogError::Unfit {
            path: path.to_owned(),
            why,
        }
    }
}

impl WatchdogDevice {
    /// Nothing is armed yet.
    #[must_use]
    pub fn new(device: Device) -> Self {
        Self {
            device,
            orders: None,
            waiting: Arc::default(),
        }
    }

    /// One feed, unless it is `until` or later when the device takes it. The first one arms it, here and now.
    ///
    /// # Errors
    /// It can't be armed.
    pub fn feed(&mut self, until: Time) -> io::Result<()> {
        let orders = match &self.orders {
            Some(orders) => orders,
            None => {
                // To open it is a feed.
                if clock::now().reached(until) {
                    return Ok(());
                }
                let file = self.device.open();
                let file = file.map_err(|error| {
                    io::Error::new(
                        error.kind(),
                        format!("the watchdog {}: {error}", self.device.path.display()),
                    )
                })?;
                let (orders, taken) = channel();
                self.waiting = Arc::default();
                let waiting = Arc::clone(&self.waiting);
                std::thread::Builder::new()
                    .name("watchdog".to_owned())
                    .spawn(move || serve(file, &taken, &waiting))?;
                self.orders.insert(orders)
            }
        };
        if self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            // The thread ends only when it is told to.
            let _ = orders.send(Order::Feed(until));
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Puts it to sleep; waits for it, because the process may end at once afterwards.
    pub fn disarm(&mut self) {
        let Some(orders) = self.orders.take() else { return };
        let (done, told) = sync_channel(1);
        let _ = orders.send(Order::Sleep(done));
        let asleep = told.recv_timeout(SLEEP_WAIT).map_err(io::Error::other).flatten();
        if let Err(error) = asleep {
            tracing::error!(
                code = "watchdog_awake",
                %error,
                alarm = true,
                "the watchdog could not be put to sleep: it resets this host within {:?}, unless a sidecar feeds it before",
                self.device.timeout
            );
        }
    }
}

fn serve(mut file: File, orders: &Receiver<Order>, waiting: &AtomicUsize) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Feed(until) => {
                if !clock::now().reached(until)
                    && let Err(error) = file.write_all(b".")
                {
                    tracing::warn!(code = "watchdog_refuses", %error, "the watchdog does not take its feed");
                }
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Order::Sleep(done) => {
                // Whoever asked may have waited long enough.
                let _ = done.send(fall_asleep(file));
                return;
            }
        }
    }
}

/// The magic close: without it the kernel lets the device go on.
fn fall_asleep(mut file: File) -> io::Result<()> {
    file.write_all(b"V")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A named pipe in place of the device, and its facts; gone when the test ends.
    struct StandIn(PathBuf);

    impl Drop for StandIn {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    impl StandIn {
        fn new(name: &str, facts: &[(&str, &str)]) -> Self {
            let directory = std::env::temp_dir().join(format!("leasehold-watchdog-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory).unwrap();
            for (fact, value) in facts {
                fs::write(directory.join(fact), format!("{value}\n")).unwrap();
            }
            nix::unistd::mkfifo(&directory.join("device"), nix::sys::stat::Mode::S_IRWXU).unwrap();
            Self(directory)
        }

        fn device(&self) -> Result<Device, WatchdogError> {
            Device::with_facts(&self.0.join("device"), &self.0)
        }

        /// What is written until the device is closed.
        fn record(&self) -> Receiver<Vec<u8>> {
            let path = self.0.join("device");
            let (send, receive) = channel();
            std::thread::spawn(move || {
                let mut all = Vec::new();
                File::open(path).unwrap().read_to_end(&mut all).unwrap();
                send.send(all).unwrap();
            });
            receive
        }
    }

    fn soon() -> Time {
        clock::now().plus(Duration::from_secs(60))
    }

    const FACTS: [(&str, &str); 4] = [
        ("timeout", "4"),
        ("nowayout", "0"),
        ("identity", "Stand-in"),
        ("options", "0x8180"),
    ];

    #[test]
    fn it_is_armed_fed_and_put_to_sleep() {
        let stand_in = StandIn::new("fed", &FACTS);
        let device = stand_in.device().unwrap();
        assert_eq!(device.timeout, Duration::from_secs(4));
        let written = stand_in.record();
        let mut watchdog = WatchdogDevice::new(device);
        watchdog.feed(soon()).unwrap();
        watchdog.disarm();
        assert_eq!(written.recv_timeout(Duration::from_secs(5)).unwrap(), b".V");
    }

    #[test]
    fn a_sidecar_that_dies_leaves_it_awake() {
        let stand_in = StandIn::new("dies", &FACTS);
        let written = stand_in.record();
        let mut watchdog = WatchdogDevice::new(stand_in.device().unwrap());
        watchdog.feed(soon()).unwrap();
        drop(watchdog);
        assert_eq!(written.recv_timeout(Duration::from_secs(5)).unwrap(), b".");
    }

    #[test]
    fn a_meal_that_is_too_late_is_not_given_and_does_not_arm() {
        let stand_in = StandIn::new("late", &FACTS);
        let mut watchdog = WatchdogDevice::new(stand_in.device().unwrap());
        // There is no reader yet: to open it now would hang.
        watchdog.feed(clock::now()).unwrap();
        let written = stand_in.record();
        watchdog.feed(soon()).unwrap();
        watchdog.feed(clock::now()).unwrap();
        watchdog.disarm();
        assert_eq!(written.recv_timeout(Duration::from_secs(5)).unwrap(), b".V");
    }

    #[test]
    fn what_could_not_guard_is_refused() {
        let refused = |name: &str, changed: (&str, &str)| {
            let mut facts = FACTS;
            for fact in facts.iter_mut().filter(|fact| fact.0 == changed.0) {
                fact.1 = changed.1;
            }
            StandIn::new(name, &facts).device().unwrap_err().to_string()
        };
        assert!(refused("nowayout", ("nowayout", "1")).contains("nowayout=0"));
        assert!(refused("timeout", ("timeout", "0")).contains("seconds"));
        assert!(refused("alarm", ("options", "0x8580")).contains("does not reset"));
        assert!(refused("magic", ("options", "0x8080")).contains("guards nothing"));
        assert!(
            Device::find(Path::new("/tmp"))
                .unwrap_err()
                .to_string()
                .contains("no device")
        );
        assert!(Device::find(Path::new("/no/device")).is_err());
    }
}
