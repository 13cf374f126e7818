//! A fence agent, by the contract of the fence-agents project: options come as `key=value` lines on its stdin, exit code
//! 0 says that the node can't write any more. Nothing is said on its command line, which everybody on the host can read.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use leasehold_base::small_file;
use leasehold_compose::model::Fence;

/// What is kept of an agent's output, of each stream; the rest is read and dropped, so that it never blocks.
const OUTPUT_MAX: usize = 2048;
/// What is kept of it in one line of the log.
const LINE_MAX: usize = 400;
/// Where agents find the programs they call; nothing else of the sidecar's environment is theirs.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The options of one try, secrets among them.
struct AgentInput {
    options: BTreeMap<String, String>,
    secrets: Vec<String>,
}

/// Fences a node, once. `Ok` with what the agent said, secrets taken out.
///
/// # Errors
/// Why the node must be taken for not fenced.
pub async fn fence(fence: &Fence, node: &str) -> Result<String, String> {
    let told = told(fence, node)?;
    let mut child = start(&fence.agent).map_err(|error| format!("{}: {error}", fence.agent.display()))?;
    let group = child.id();
    let outcome = tokio::time::timeout(fence.timeout, talk(&mut child, &told.lines())).await;
    let result = match outcome {
        Ok(Ok((status, output))) => {
            let line = told.one_line(&output);
            match status.success() {
                true => Ok(line),
                false => Err(format!("{status}: {line}")),
            }
        }
        Ok(Err(error)) => Err(format!("talking to it: {error}")),
        Err(_) => Err(format!("it did not end within {:?} and was killed", fence.timeout)),
    };
    // Whatever it started and left behind must not go on fencing on its own.
    end(group, &mut child).await;
    result
}

/// What keeps the fence from working, as far as it can be known without using it.
#[must_use]
pub fn faults(fence: &Fence) -> Vec<String> {
    let mut faults = Vec::new();
    let agent = fence.agent.display();
    match std::fs::metadata(&fence.agent) {
        Ok(file) if !file.is_file() || file.permissions().mode() & 0o111 == 0 => {
            faults.push(format!("fence: {agent} is not a program"));
        }
        Ok(_) => {}
        Err(error) => faults.push(format!(
            "fence: {agent}: {error}; the sidecar's own image holds no agent: build one that does (see docs/fencing.md)"
        )),
    }
    let common = fence.common.secret_files.iter();
    let files = common.chain(fence.nodes.values().flat_map(|node| &node.secret_files));
    faults.extend(files.filter_map(|(name, path)| secret(name, path).err()));
    faults
}

fn told(fence: &Fence, node: &str) -> Result<AgentInput, String> {
    let own = match fence.nodes.get(node) {
        None if !fence.nodes.is_empty() => return Err(format!("fence.nodes in the compose file does not name {node}")),
        own => own.cloned().unwrap_or_default(),
    };
    // The node's own options win; agents that know nodes by name get it as the plug, too.
    let mut options = BTreeMap::from([("plug".to_owned(), node.to_owned())]);
    options.extend(fence.common.options.clone());
    options.extend(own.options.clone());
    let mut secrets = Vec::new();
    let files = fence.common.secret_files.iter().chain(&own.secret_files);
    for (name, path) in files.collect::<BTreeMap<&String, &PathBuf>>() {
        let value = secret(name, path)?;
        secrets.push(value.clone());
        options.insert(name.clone(), value);
    }
    options.insert("action".to_owned(), fence.action.clone());
    options.insert("nodename".to_owned(), node.to_owned());
    Ok(AgentInput { options, secrets })
}

fn secret(name: &str, path: &Path) -> Result<String, String> {
    let text = small_file::read_text(path, small_file::MAX);
    let text = text.map_err(|error| format!("fence: secret_files.{name}: {}: {error}", path.display()))?;
    let value = text.trim_end_matches(['\n', '\r']);
    if value.is_empty() || value.contains(['\n', '\r']) {
        return Err(format!(
            "fence: secret_files.{name}: {} must hold one line and nothing else",
            path.display()
        ));
    }
    Ok(value.to_owned())
}

impl AgentInput {
    fn lines(&self) -> String {
        let lines = self.options.iter().map(|(key, value)| format!("{key}={value}\n"));
        lines.collect()
    }

    /// The output in one line, short, without control characters and without secrets.
    fn one_line(&self, output: &str) -> String {
        let mut text = output.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let line = words.join(" ");
        match line.char_indices().nth(LINE_MAX) {
            Some((end, _)) => format!("{} ...", &line[..end]),
            None if line.is_empty() => "it said nothing".to_owned(),
            None => line,
        }
    }
}

/// In a process group of its own, so that nothing that it starts outlives its deadline.
fn start(agent: &Path) -> io::Result<Child> {
    Command::new(agent)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn talk(child: &mut Child, lines: &str) -> io::Result<(ExitStatus, String)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let say = async {
        if let Some(mut stdin) = stdin {
            // One that ends without reading all of it says by its exit code what that means.
            let _ = stdin.write_all(lines.as_bytes()).await;
        }
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ((), out_read, err_read, status) =
        tokio::join!(say, keep(stdout, &mut out), keep(stderr, &mut err), child.wait());
    out_read.and(err_read)?;
    // What went wrong is on stderr, and matters more.
    err.push(b' ');
    err.extend(out);
    Ok((status?, String::from_utf8_lossy(&err).into_owned()))
}

/// Reads to the end, keeps the beginning.
async fn keep(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = [0; 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let room = OUTPUT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}

async fn end(group: Option<u32>, child: &mut Child) {
    let group = group.and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
    if let Some(group) = group {
        // ESRCH: nothing of it is left, which is as wished.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use leasehold_compose::model::FenceOptions;

    static COUNT: AtomicU32 = AtomicU32::new(0);

    /// A directory with an agent of the test's own, removed at the end.
    struct Lab(PathBuf);

    impl Drop for Lab {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    impl Lab {
        fn new(script: &str) -> Self {
            let unique = format!(
                "leasehold-fence-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            );
            let lab = Self(std::env::temp_dir().join(unique));
            std::fs::create_dir_all(&lab.0).unwrap();
            let here = lab.0.display();
            let text = format!(
                "#!/bin/sh\ncat > {here}/told\ntr '\\0' ' ' < /proc/$$/cmdline > {here}/argv\nenv > {here}/env\n{script}\n"
            );
            std::fs::write(lab.0.join("agent"), text).unwrap();
            std::fs::set_permissions(lab.0.join("agent"), std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::write(lab.0.join("secret"), "s3cr3t\n").unwrap();
            lab
        }

        fn fence(&self) -> Fence {
            Fence {
                agent: self.0.join("agent"),
                action: "off".into(),
                timeout: Duration::from_secs(20),
                tries: 1,
                common: FenceOptions {
                    options: [("username".into(), "u".into()), ("ip".into(), "10.0.0.1".into())].into(),
                    secret_files: [("password".into(), self.0.join("secret"))].into(),
                },
                nodes: BTreeMap::new(),
            }
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    #[tokio::test]
    async fn an_agent_is_told_by_stdin_alone_and_its_success_counts() {
        let lab = Lab::new("echo 'Success: Powered OFF'");
        let mut wanted = lab.fence();
        let own = FenceOptions {
            options: [("ip".into(), "10.0.0.11".into())].into(),
            ..FenceOptions::default()
        };
        wanted.nodes.insert("a".into(), own);
        assert_eq!(fence(&wanted, "a").await.unwrap(), "Success: Powered OFF");
        let told = "action=off\nip=10.0.0.11\nnodename=a\npassword=s3cr3t\nplug=a\nusername=u\n";
        assert_eq!(lab.read("told"), told);
        let (argv, env) = (lab.read("argv"), lab.read("env"));
        assert!(!argv.contains("s3cr3t") && !argv.contains("off"), "{argv}");
        assert!(!env.contains("s3cr3t") && env.contains("LC_ALL=C"), "{env}");
        assert!(fence(&wanted, "b").await.unwrap_err().contains("does not name b"));
    }

    #[tokio::test]
    async fn a_failure_is_one_line_without_secrets() {
        let lab = Lab::new(
            "echo \"login s3cr3t failed\n\tfor $(tail -n 1 /dev/null)u\" >&2; yes 0123456789 | head -n 9999; exit 1",
        );
        let why = fence(&lab.fence(), "a").await.unwrap_err();
        assert!(
            why.starts_with("exit status: 1: login *** failed for u 0123456789"),
            "{why}"
        );
        assert!(
            !why.contains("s3cr3t") && !why.contains('\n') && why.len() < LINE_MAX + 40,
            "{why}"
        );
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_everything_it_started() {
        let lab = Lab::new("sleep 1000 & echo $! > $(dirname $0)/child; sleep 1000");
        let mut wanted = lab.fence();
        wanted.timeout = Duration::from_secs(2);
        let why = fence(&wanted, "a").await.unwrap_err();
        assert!(why.contains("did not end within 2s"), "{why}");
        let child = PathBuf::from(format!("/proc/{}/stat", lab.read("child").trim()));
        for _ in 0..100 {
            // Gone, or dead and not yet reaped by whoever inherited it.
            let state = std::fs::read_to_string(&child).unwrap_or_else(|_| ") Z".to_owned());
            if state.contains(") Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the agent's child lives on");
    }

    #[tokio::test]
    async fn one_that_cannot_be_used_is_no_success() {
        let lab = Lab::new("exit 0");
        let mut wanted = lab.fence();
        assert_eq!(faults(&wanted), Vec::<String>::new());
        wanted.common.secret_files.insert("password".into(), lab.0.join("none"));
        assert!(fence(&wanted, "a").await.unwrap_err().contains("secret_files.password"));
        std::fs::write(lab.0.join("secret"), "\n").unwrap();
        wanted
            .common
            .secret_files
            .insert("password".into(), lab.0.join("secret"));
        assert!(fence(&wanted, "a").await.unwrap_err().contains("one line"));
        wanted.agent = lab.0.join("absent");
        wanted.common.secret_files.clear();
        assert!(fence(&wanted, "a").await.is_err());
        assert!(faults(&wanted)[0].contains("absent"), "{:?}", faults(&wanted));
    }
}
