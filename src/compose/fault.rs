//! What is wrong in a compose file: where, what, and what to do about it; all of it is collected before anything is said.

use std::fmt;

/// One thing that keeps the project from being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file as the user knows it.
    pub file: String,
    /// From 1; 0 when the fault belongs to the file as a whole.
    pub line: u32,
    /// The way to the key, as in `services.sams.restart`; empty when the file itself is meant.
    pub key: String,
    pub message: String,
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// A place in one of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// Index into [`Faults::files`].
    pub(super) file: usize,
    pub(super) line: u32,
}

/// Collects faults and warnings while the files are read.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The names of the files, by the index that marks carry.
    pub(super) files: Vec<String>,
    found: Vec<Fault>,
    warnings: Vec<String>,
}

impl Faults {
    /// Registers a file and returns its index.
    pub(super) fn add_file(&mut self, name: &str) -> usize {
        self.files.push(name.to_owned());
        self.files.len() - 1
    }

    pub(super) fn fault(&mut self, mark: Mark, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let fault = self.make(mark, key, message.into(), remedy.into());
        self.push(fault);
    }

    /// Takes a fault once, however many readers find it.
    pub(super) fn push(&mut self, fault: Fault) {
        if !self.found.contains(&fault) {
            self.found.push(fault);
        }
    }

    pub(super) fn warn(&mut self, mark: Mark, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let warning = self.make(mark, key, message.into(), remedy.into());
        self.push_warning(&warning);
    }

    /// Takes a warning that was made earlier.
    pub(super) fn push_warning(&mut self, warning: &Fault) {
        let warning = warning.to_string();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// A fault that is kept until it is known whether it matters.
    pub(super) fn make(&self, mark: Mark, key: &str, message: String, remedy: String) -> Fault {
        Fault {
            file: self.files.get(mark.file).cloned().unwrap_or_default(),
            line: mark.line,
            key: key.to_owned(),
            message,
            remedy,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The faults in the order of files and lines, and the warnings.
    pub(super) fn into_parts(mut self) -> (Vec<Fault>, Vec<String>) {
        let files = self.files;
        let rank = |name: &str| files.iter().position(|file| file == name).unwrap_or(usize::MAX);
        self.found.sort_by_key(|fault| (rank(&fault.file), fault.line));
        (self.found, self.warnings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_file_line_key_message_and_remedy() {
        let mut fault = Fault {
            file: "compose.yaml".into(),
            line: 12,
            key: "services.sams.restart".into(),
            message: "is not Leasehold's".into(),
            remedy: "remove it".into(),
        };
        assert_eq!(
            fault.to_string(),
            "compose.yaml:12: services.sams.restart: is not Leasehold's (remove it)"
        );
        fault.line = 0;
        fault.key.clear();
        fault.remedy.clear();
        assert_eq!(fault.to_string(), "compose.yaml: is not Leasehold's");
    }

    #[test]
    fn faults_come_in_the_order_of_the_files_and_only_once() {
        let mut faults = Faults::default();
        let (first, second) = (faults.add_file("z.yaml"), faults.add_file("a.yaml"));
        faults.fault(Mark { file: second, line: 1 }, "k", "three", "");
        faults.fault(Mark { file: first, line: 9 }, "k", "two", "");
        faults.fault(Mark { file: first, line: 2 }, "k", "one", "");
        faults.fault(Mark { file: first, line: 2 }, "k", "one", "");
        let words: Vec<_> = faults.into_parts().0.into_iter().map(|fault| fault.message).collect();
        assert_eq!(words, ["one", "two", "three"]);
    }
}
