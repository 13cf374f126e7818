//! The lines that protect a service.

use std::time::Duration;

use super::super::fault::{Fault, Faults};
use super::super::model::NetworkMode;
use super::super::sidecar;
use super::super::yaml::Node;
use super::lines::{Block, Edit, Lines, indent};
use super::{Hints, KEPT, OURS, Request, Subject, context, guess};

const TETHER: &str = "/leasehold/tether";
/// Documentation's addresses, for want of the real ones.
const ETCD_EXAMPLE: [&str; 3] = [
    "http://192.0.2.1:2379",
    "http://192.0.2.2:2379",
    "http://192.0.2.3:2379",
];

/// What is to be done, and said.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) edits: Vec<Edit>,
    /// Those that come after all others of their place: the cluster and the sidecar.
    pub(super) last: Vec<Edit>,
    pub(super) notes: Vec<String>,
}

/// What of a service's lines only its own `x-leasehold` says.
struct OwnKeys {
    /// That it had, in words of the file.
    entrypoint: Option<String>,
    own_init: bool,
}

const OWN_INIT: &str = "its image's init must be PID 1, where the tether is: `own_init: true` in its x-leasehold gives it a PID \
                        namespace of its own; for that the container gets CAP_SYS_ADMIN, which the tether gives away before the \
                        init starts";

/// One edit in the making.
struct Work<'a> {
    subject: &'a Subject,
    lines: Lines<'a>,
    service: Block,
    indent: String,
    plan: Plan,
    /// Lines that go where the service says what it is.
    head: Vec<String>,
}

/// `inits`: the services that need a PID namespace of their own; `longest`: what the services of a group may take to stop.
pub(super) fn plan(
    subjects: &[Subject],
    request: &Request,
    hints: &[Hints],
    inits: &[&str],
    longest: Duration,
) -> Result<Plan, Fault> {
    let mut plan = Plan::default();
    let mut probes = Vec::new();
    let mut works = Vec::new();
    for (subject, hints) in subjects.iter().zip(hints) {
        let lines = Lines::of(&subject.text);
        let service = subject.service_block(&lines)?;
        let mut work = Work {
            subject,
            service,
            indent: " ".repeat(lines.inner_indent(service)),
            lines,
            plan: Plan::default(),
            head: Vec::new(),
        };
        let entrypoint = work.demanded_lines();
        work.switches();
        let host = work.network();
        work.place_head();
        probes.extend(guess::probes(&subject.service, host, hints));
        works.push((work, entrypoint));
    }
    let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
    for (index, (mut work, entrypoint)) in works.into_iter().enumerate() {
        let stated = (index == 0).then(|| std::mem::take(&mut probes));
        let own = OwnKeys {
            entrypoint,
            own_init: inits.contains(&work.subject.name.as_str()),
        };
        work.leasehold(request, stated, &names, own);
        if index == 0 {
            work.cluster(request)?;
            work.sidecar(longest)?;
        }
        plan.edits.extend(work.plan.edits);
        plan.last.extend(work.plan.last);
        plan.notes.extend(work.plan.notes);
    }
    Ok(plan)
}

impl Work<'_> {
    fn value(&self, key: &str) -> Option<&Node> {
        let services = self.subject.own.get("services")?;
        Some(&services.node.get(&self.subject.name)?.node.get(key)?.node)
    }

    fn add(&mut self, line: &str) {
        self.head.push(format!("{}{line}", self.indent));
    }

    /// Puts a key of the service into a comment; one that is inherited is overridden by `instead`.
    fn put_away(&mut self, key: &str, instead: Option<&str>) {
        let Some(block) = self.subject.key_block(&self.lines, self.service, key) else {
            if let Some(instead) = instead.filter(|_| self.value(key).is_some()) {
                self.add(&format!("{instead}{OURS}instead of what it inherits"));
            }
            return;
        };
        let kept = |index: usize| {
            let line = self.lines.line(index);
            // Empty lines and comments further to the left stay what they are.
            match line.get(block.indent..) {
                Some(rest) if indent(line) >= block.indent && !rest.is_empty() => {
                    format!("{}{KEPT}{rest}", self.indent)
                }
                Some(_) | None => line.to_owned(),
            }
        };
        let insert = (block.first..block.end).map(kept).collect();
        self.plan.edits.push(Edit {
            at: block.first,
            remove: block.end - block.first,
            insert,
        });
    }

    /// The three lines; gives back the entrypoint that was there.
    fn demanded_lines(&mut self) -> Option<String> {
        let words = |node: &Node| -> Vec<String> { node.items().iter().filter_map(Node::scalar).collect() };
        if self.value("profiles").map(words) != Some(vec!["leasehold".to_owned()]) {
            self.put_away("profiles", None);
            self.add("profiles: [leasehold]");
        }
        if self.value("scale").and_then(Node::scalar).as_deref() != Some("0") {
            self.put_away("scale", None);
            self.add("scale: 0");
        }
        let stated = self.value("entrypoint").cloned();
        let is_tether = stated
            .as_ref()
            .is_some_and(|node| node.scalar().as_deref() == Some(TETHER) || words(node) == [TETHER.to_owned()]);
        if is_tether {
            return None;
        }
        self.put_away("entrypoint", None);
        self.add(&format!("entrypoint: [\"{TETHER}\"]"));
        stated.filter(|node| !node.is_null()).map(|node| match node.scalar() {
            Some(text) => quoted(&text),
            None => format!(
                "[{}]",
                words(&node)
                    .iter()
                    .map(|word| quoted(word))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        })
    }

    /// What the engine or another init would do in the tether's place.
    fn switches(&mut self) {
        let is = |node: Option<&Node>, text: &str| node.and_then(Node::scalar).as_deref() == Some(text);
        if self.value("restart").is_some() && !is(self.value("restart"), "no") {
            self.put_away("restart", Some("restart: \"no\""));
        }
        if is(self.value("init"), "true") {
            self.put_away("init", Some("init: false"));
        }
    }

    /// Whether it is in the host's network. Nothing else is changed: others may find it by its name or address.
    fn network(&mut self) -> bool {
        let host = self.subject.service.network_mode == Some(NetworkMode::Host);
        if host {
            self.put_away("ports", Some("ports: []"));
        }
        host
    }

    fn place_head(&mut self) {
        let image = self.subject.key_block(&self.lines, self.service, "image");
        let insert = std::mem::take(&mut self.head);
        if !insert.is_empty() {
            self.plan.edits.push(Edit {
                at: image.map_or(self.service.first + 1, |block| block.end),
                remove: 0,
                insert,
            });
        }
    }

    /// The first of several services states what is the group's.
    fn leasehold(&mut self, request: &Request, stated: Option<Vec<String>>, subjects: &[&str], own: OwnKeys) {
        if own.own_init {
            self.plan
                .notes
                .push(format!("services.{}: {OWN_INIT}", self.subject.name));
        }
        let is_done = self.value("x-leasehold").is_some();
        let first = subjects.first().copied().unwrap_or_default();
        let group = request.group.clone().unwrap_or_else(|| first.to_owned());
        let mut keys = vec![format!("group: {group}")];
        let stated = stated.filter(|_| !is_done && !self.is_known(&group, subjects));
        if let Some(probes) = stated {
            let vips = request.vips.iter().map(|vip| quoted(vip)).collect::<Vec<_>>();
            if vips.is_empty() {
                let advice =
                    "no virtual IP: its clients find it only if they know every host; give --vip ADDRESS/PREFIX";
                self.plan.notes.push(format!("{group}: {advice}"));
            } else {
                keys.push(format!("vips: [{}]", vips.join(", ")));
            }
            if probes.is_empty() {
                let advice =
                    "nothing tells how a client would notice that it is sick: write probes into its x-leasehold";
                self.plan.notes.push(format!("{group}: {advice}"));
            } else {
                keys.push(format!("probes: [{}]", probes.join(", ")));
                let states_start = self.subject.service.healthcheck.as_ref();
                if states_start.is_none_or(|check| check.start_period.is_none()) {
                    let advice = "a start that takes longer than 60s counts as failed: if it may take longer, write start_timeout \
                                  into its x-leasehold; the first start with another image has ten times as long";
                    self.plan.notes.push(format!("{group}: {advice}"));
                }
            }
        }
        if is_done {
            if !request.vips.is_empty() || request.group.is_some() {
                let name = &self.subject.name;
                let advice = "its x-leasehold is there already: what --vip and --group say is not written into it";
                self.plan.notes.push(format!("services.{name}: {advice}"));
            }
            return;
        }
        keys.extend(own.entrypoint.map(|words| format!("entrypoint: {words}")));
        keys.extend(own.own_init.then(|| "own_init: true".to_owned()));
        let own = format!("{}x-leasehold:", self.indent);
        let keys = keys.into_iter().map(|key| format!("{}  {key}", self.indent));
        self.plan.edits.push(Edit {
            at: self.service.end,
            remove: 0,
            insert: std::iter::once(own).chain(keys).collect(),
        });
    }

    /// Whether another service states this group, and with it its addresses and probes.
    fn is_known(&self, group: &str, subjects: &[&str]) -> bool {
        let context = context(&self.subject.loaded);
        let services = context.root.get("services");
        let services = services.iter().flat_map(|at| at.map(&mut Faults::default()));
        services.filter(|at| !subjects.contains(&at.name)).any(|at| {
            let own = at.protection();
            let stated = own.as_ref().and_then(|own| own.get("group"));
            let name = stated.and_then(|name| name.node.scalar());
            own.is_some() && name.unwrap_or_else(|| at.name.to_owned()) == group
        })
    }

    /// The top-level `x-leasehold`, where there is none.
    fn cluster(&mut self, request: &Request) -> Result<(), Fault> {
        let subject = self.subject;
        if subject.loaded.tree.get("x-leasehold").is_some() {
            return Ok(());
        }
        let mark = subject.own.get("services").map(|entry| entry.mark).unwrap_or_default();
        let services = subject.open_block(&self.lines, "services", mark)?;
        let mut etcd = request.etcd.clone();
        if etcd.is_empty() {
            etcd = ETCD_EXAMPLE.map(str::to_owned).to_vec();
            let advice =
                "x-leasehold.etcd: these addresses are examples: write those of your etcd members, or give --etcd URL";
            self.plan.notes.push(advice.to_owned());
        }
        let etcd: Vec<_> = etcd.iter().map(|url| quoted(url)).collect();
        self.plan.last.push(Edit {
            at: self.lines.with_comments(services.first),
            remove: 0,
            insert: vec![
                "x-leasehold:".to_owned(),
                format!("  cluster: {}", subject.loaded.name),
                format!("  etcd: [{}]", etcd.join(", ")),
                "  ttl: 10s".to_owned(),
                String::new(),
            ],
        });
        Ok(())
    }

    /// The sidecar and its volumes, where there is none.
    fn sidecar(&mut self, longest: Duration) -> Result<(), Fault> {
        let subject = self.subject;
        let context = context(&subject.loaded);
        if sidecar::find(&context).is_some() {
            return Ok(());
        }
        let mark = subject.own.get("services").map(|entry| entry.mark).unwrap_or_default();
        let services = subject.open_block(&self.lines, "services", mark)?;
        let indent = self.lines.inner_indent(services);
        let taken = context.top("services", "leasehold").is_some();
        let name = if taken { "leasehold-sidecar" } else { "leasehold" };
        let grace = longest + sidecar::MORE;
        let text = SIDECAR
            .replace("NAME", name)
            .replace("GRACE", &grace.as_secs().to_string());
        let insert = std::iter::once(String::new())
            .chain(text.lines().map(|line| format!("{}{line}", " ".repeat(indent))))
            .collect();
        self.plan.last.push(Edit {
            at: services.end,
            remove: 0,
            insert,
        });
        let advice = "name each host's interface and priority in its .env: LEASEHOLD_INTERFACE (eth0), LEASEHOLD_PRIORITY (unique, \
                      lower is preferred)";
        self.plan.notes.push(format!("services.{name}: {advice}"));
        self.sidecar_volumes()
    }

    fn sidecar_volumes(&mut self) -> Result<(), Fault> {
        let lines = |indent: usize| {
            let line = |text: &str| format!("{}{text}", " ".repeat(indent));
            vec![line("leasehold-bin: { name: leasehold-bin }"), line("leasehold-state:")]
        };
        let (at, insert) = match self.subject.own.get("volumes") {
            Some(entry) => {
                let block = self.subject.open_block(&self.lines, "volumes", entry.mark)?;
                (block.end, lines(self.lines.inner_indent(block)))
            }
            None => {
                let head = [String::new(), "volumes:".to_owned()];
                (self.lines.len(), head.into_iter().chain(lines(2)).collect())
            }
        };
        self.plan.last.push(Edit { at, remove: 0, insert });
        Ok(())
    }
}

/// As YAML takes every text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// As in `compose/node`, where every line is explained.
const SIDECAR: &str = "\
NAME:
  image: ${LEASEHOLD_IMAGE:-leasehold/leasehold:dev}
  network_mode: host
  restart: always
  read_only: true
  cap_drop: [ALL]
  cap_add: [NET_ADMIN, NET_RAW]
  security_opt: [\"no-new-privileges:true\"]
  userns_mode: host
  stop_grace_period: GRACEs
  environment:
    LEASEHOLD_NODE: ${LEASEHOLD_NODE:-}
    LEASEHOLD_INTERFACE: ${LEASEHOLD_INTERFACE:-eth0}
    LEASEHOLD_PRIORITY: ${LEASEHOLD_PRIORITY:-100}
  volumes:
    - /var/run/docker.sock:/var/run/docker.sock
    - .:/project:ro
    - /run/leasehold:/run/leasehold
    - leasehold-bin:/leasehold
    - leasehold-state:/var/lib/leasehold
    - /sys/fs/cgroup:/sys/fs/cgroup
";
