//! Which containers were started in this boot, kept in a file: a restarted sidecar must know what it looks for without
//! asking an engine that may be dead or mistaken.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Place;

/// A container that may have been started, and where it was seen alive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub id: String,
    pub seen: Vec<Place>,
    /// The block devices that its volumes lie on; none where a sidecar of an earlier version started it.
    #[serde(default)]
    pub devices: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    boot: String,
    /// An earlier sidecar of this boot left no memory: what it started is not known.
    lost: bool,
    /// For each service.
    started: BTreeMap<String, Vec<Started>>,
}

/// The file and what it says.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    content: Content,
}

impl Memory {
    /// Reads the file of this boot or begins a new one. `expected`: an earlier sidecar of this boot has run containers,
    /// so that a file that is not there has been lost.
    ///
    /// # Errors
    /// It is there and can't be read, or it can't be written.
    pub fn open(path: &Path, boot: &str, expected: bool) -> io::Result<Self> {
        let fresh = Content {
            boot: boot.to_owned(),
            lost: expected,
            started: BTreeMap::new(),
        };
        let content = match fs::read_to_string(path) {
            Ok(text) => match serde_json::from_str::<Content>(&text) {
                Ok(content) if content.boot == boot => content,
                Ok(_) | Err(_) => fresh,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => fresh,
            Err(error) => return Err(error),
        };
        let memory = Self {
            path: path.to_owned(),
            content,
        };
        memory.write()?;
        Ok(memory)
    }

    /// What was started for a service in this boot; `None` where that is not known.
    #[must_use]
    pub fn of(&self, service: &str) -> Option<Vec<Started>> {
        let known = self.content.started.get(service).cloned();
        // Nothing is started before all that came earlier is proved to be over: from then on it is known again.
        known.or_else(|| (!self.content.lost).then(Vec::new))
    }

    /// Before a container is started, which mounts these devices.
    ///
    /// # Errors
    /// The disk's: then it must not be started.
    pub fn will_start(&mut self, service: &str, id: &str, devices: &[String]) -> io::Result<()> {
        let all = self.content.started.entry(service.to_owned()).or_default();
        match all.iter_mut().find(|one| one.id == id) {
            Some(known) => {
                let noted = known.devices.get_or_insert_default();
                let count = noted.len();
                noted.extend(devices.iter().cloned());
                noted.sort();
                noted.dedup();
                if noted.len() == count {
                    return Ok(());
                }
            }
            // Earlier ones stay: an engine that hung may start one of them late.
            None => all.push(Started {
                id: id.to_owned(),
                seen: Vec::new(),
                devices: Some(devices.to_vec()),
            }),
        }
        self.write()
    }

    /// A container was seen alive.
    ///
    /// # Errors
    /// The disk's.
    pub fn saw(&mut self, id: &str, place: Place) -> io::Result<()> {
        let mut all = self.content.started.values_mut().flatten();
        match all.find(|one| one.id == id) {
            Some(one) if !one.seen.contains(&place) => {
                one.seen.push(place);
                self.write()
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Nothing is left of what was started for a service; all but `current` can't be started again.
    ///
    /// # Errors
    /// The disk's.
    pub fn over(&mut self, service: &str, current: Option<&str>) -> io::Result<()> {
        let Some(all) = self.content.started.get_mut(service) else {
            return Ok(());
        };
        let before = all.len();
        all.retain(|one| current == Some(one.id.as_str()));
        if all.len() == before { Ok(()) } else { self.write() }
    }

    fn write(&self) -> io::Result<()> {
        let next = self.path.with_extension("next");
        let mut file = File::create(&next)?;
        file.write_all(serde_json::to_string(&self.content)?.as_bytes())?;
        file.sync_data()?;
        fs::rename(&next, &self.path)
    }
}
