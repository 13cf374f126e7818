//! compose/monitoring against Debian's Prometheus: the rules are right and speak when they should, the metrics are what its
//! own checker likes, and a Prometheus that scrapes two sidecars' endpoints answers every query of the dashboard.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::core::event::{Decision, Event};
use leasehold::core::group::{ServiceState, Stage};
use leasehold::core::history::{Phase, PhaseKind};
use leasehold::core::protocol::TxnKind;
use leasehold::core::protocol::keys::Keys;
use leasehold::core::snapshot::code::Code;
use leasehold::core::snapshot::status::{GroupLine, HeldLine, MemberState, NodeLine, NodeState, ServiceLine, Status};
use leasehold::core::store::RequestId;
use leasehold::sidecar::adapters::metrics::{Format, encode};
use leasehold::sidecar::adapters::store;
use leasehold::sidecar::counters::{Counters, Receiver};
use leasehold::sidecar::etcd_history::EtcdHistory;
use leasehold::sidecar::timings::MemberFigures;
use serde_json::Value;

/// Where `docker/requirements prometheus DIR` has put it; without it these tests fail.
fn program(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/prometheus");
    let place = std::env::var_os("LEASEHOLD_PROMETHEUS_DIR").map_or(beside, PathBuf::from);
    let program = place.join(name);
    let missing = "run `docker/requirements prometheus DIR`, and name DIR in LEASEHOLD_PROMETHEUS_DIR";
    assert!(program.is_file(), "{} is missing: {missing}", program.display());
    program
}

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/monitoring")
}

fn read(name: &str) -> String {
    fs::read_to_string(monitoring().join(name)).unwrap()
}

fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program("promtool"))
        .args(arguments)
        .current_dir(monitoring())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// The names of all alerts, from the lines that define them.
fn alerts() -> Vec<String> {
    let rules = read("rules.yml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

#[test]
fn configuration_and_rules_are_right() {
    let output = promtool(&["check", "config", "prometheus.yml"], "");
    assert!(output.status.success(), "{}", said(&output));
    let output = promtool(&["check", "rules", "--lint-fatal", "rules.yml"], "");
    let count = format!("SUCCESS: {} rules found", alerts().len());
    assert!(
        output.status.success() && said(&output).contains(&count),
        "{}",
        said(&output)
    );
}

/// The demo's Prometheus has its configuration in the compose file: the same rules, the demo's three hosts, an Alertmanager.
#[test]
fn the_configuration_beside_the_demo_is_right() {
    let file = read("compose.yaml");
    let block = file.split("  prometheus:\n    content: |\n").nth(1).unwrap();
    let lines = block.lines().map_while(|line| line.strip_prefix("      "));
    let text = lines
        .collect::<Vec<&str>>()
        .join("\n")
        .replace("${DEMO_NET}", "192.0.2");
    let folder = std::env::temp_dir().join(format!("leasehold-beside-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("prometheus.yml"), &text).unwrap();
    fs::write(folder.join("rules.yml"), read("rules.yml")).unwrap();
    let path = folder.join("prometheus.yml");
    let output = promtool(&["check", "config", &path.to_string_lossy()], "");
    fs::remove_dir_all(&folder).unwrap();
    let count = format!("SUCCESS: {} rules found", alerts().len());
    assert!(
        output.status.success() && said(&output).contains(&count),
        "{}",
        said(&output)
    );
    let hosts = r#"targets: ["192.0.2.11:8008", "192.0.2.12:8008", "192.0.2.13:8008"]"#;
    assert!(text.contains(hosts) && text.contains("alertmanagers:"), "{text}");
}

#[test]
fn every_alert_speaks_when_it_should_and_is_silent_before() {
    let output = promtool(&["test", "rules", "rules_test.yml"], "");
    assert!(output.status.success(), "{}", said(&output));
    let tests = read("rules_test.yml");
    for alert in alerts() {
        assert!(
            tests.contains(&format!("alertname: {alert}, exp_alerts: []")),
            "{alert} is never silent"
        );
        let speaks = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        assert!(tests.contains(&speaks), "{alert} never speaks");
    }
}

#[test]
fn every_alert_is_explained_where_its_runbook_points_to() {
    let catalogue = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/messages.md")).unwrap();
    let explained: Vec<&str> = catalogue
        .split("\n### ")
        .filter(|part| part.starts_with("Leasehold"))
        .collect();
    let names: Vec<&str> = explained.iter().map(|part| part.lines().next().unwrap()).collect();
    assert_eq!(
        names.iter().collect::<BTreeSet<_>>(),
        alerts().iter().map(String::as_str).collect::<Vec<_>>().iter().collect()
    );
    for part in explained {
        for line in ["\n- Cause: ", "\n- Remedy: "] {
            let text = part.split(line).nth(1).and_then(|rest| rest.lines().next());
            assert!(text.is_some_and(|text| text.len() > 10), "{part}");
        }
    }
    let rules = read("rules.yml");
    for alert in alerts() {
        let anchor = format!("runbook: docs/messages.md#{}\n", alert.to_lowercase());
        let own = rules.split(&format!("- alert: {alert}\n")).nth(1).unwrap();
        let own = own.split("- alert: ").next().unwrap();
        assert!(own.contains(&anchor), "{alert} wants {anchor}");
    }
}

/// What `a`, which serves, or `b`, which stands by, publishes.
fn status(node: &str) -> Status {
    let up = ServiceLine {
        state: ServiceState::Up,
        healthy: Some(true),
    };
    let held = HeldLine {
        stage: Stage::Active,
        valid_ms: 6500,
        address_held: true,
        services: [("sams".to_owned(), up)].into(),
        probes: [("smtp 25".to_owned(), true)].into(),
        ..HeldLine::default()
    };
    let line = GroupLine {
        epoch: 3,
        holder: Some("a".into()),
        held: (node == "a").then_some(held),
        ..GroupLine::default()
    };
    let other = NodeLine {
        state: NodeState::Alive,
        groups: [("mail".to_owned(), String::new())].into(),
        ..NodeLine::default()
    };
    let mut status = Status {
        node: node.into(),
        version: "1".into(),
        cluster: "c".into(),
        member: MemberState::Joined,
        etcd_age_ms: Some(210),
        ttl_ms: 10_000,
        groups: [("mail".to_owned(), line)].into(),
        nodes: [("a".to_owned(), other.clone()), ("b".to_owned(), other)].into(),
        ..Status::default()
    };
    status.overall = status.judge();
    status
}

/// One alarm, and everything else at zero.
fn counters() -> Counters {
    let counters = Counters::default();
    counters.begin("mail", ["smtp 25".to_owned()]);
    counters.begin_receiver(Receiver::Webhook);
    let decision = Decision {
        code: Code::Jeopardy,
        group: Some("mail".to_owned()),
        epoch: Some(3),
        text: String::new(),
    };
    counters.decided(&decision);
    let timings = &counters.timings;
    timings.sent(RequestId(1), TxnKind::Beat);
    timings.answered(RequestId(1), true);
    timings.probed(
        "mail",
        Run { epoch: 1, n: 1 },
        "smtp 25".to_owned(),
        Duration::from_millis(3),
        None,
    );
    for code in [Code::RecoveryStarted, Code::RecoveryDone] {
        counters.decided(&Decision {
            code,
            ..decision.clone()
        });
    }
    timings.moved("mail", "silent", Duration::from_millis(5600));
    let (what, ms) = (PhaseKind::Silence, 5011);
    timings.phases("mail", &[Phase { what, ms }]);
    let (size, quota) = (Some(20 << 20), Some(2 << 30));
    let (leader, took) = (Some(true), Duration::from_millis(12));
    let said = MemberFigures {
        size,
        quota,
        leader,
        took,
    };
    timings.member("http://10.0.0.1:2379", Some(said));
    counters
}

/// Serves the metrics of the node as its sidecar does, until the test ends.
async fn endpoint(node: &str) -> SocketAddr {
    use leasehold::sidecar::adapters::http::{self, Access, Endpoints, Snapshot};
    use leasehold::sidecar::decision_log::DecisionLog;
    let mut recent = DecisionLog::default();
    recent.counters = counters();
    let recent = Arc::new(recent);
    let (at, status) = (leasehold::base::clock::now(), status(node));
    let (publisher, turn) = tokio::sync::watch::channel(Snapshot { at, status, recent });
    let listen = free_address();
    let socket = std::env::temp_dir().join(format!("leasehold-metrics-{}-{node}", std::process::id()));
    // Nobody asks for the history here.
    let nowhere = store::Settings {
        endpoints: Vec::new(),
        tls: None,
        user: None,
        keys: Keys::new("mail"),
        attempt: Duration::from_secs(1),
    };
    let archive = EtcdHistory::new(
        node,
        nowhere.clone(),
        store::HistoryWriter::spawn(nowhere),
        Arc::default(),
    );
    let (inbox, mut told) = tokio::sync::mpsc::channel(8);
    let wanted = Endpoints {
        listen: Some(listen.to_string()),
        etcd: Vec::new(),
        socket: socket.clone(),
        access: Access::new(None),
        tls: Ok(None),
        hosts: Vec::new(),
        words: Vec::new(),
    };
    let asked = http::serve(wanted, turn, archive, inbox);
    // They are open: at once, or once whoever took the port meanwhile has let it go. Their files may be told of before.
    let is_open = |event| matches!(event, Event::Endpoints { address, fault: None } if address == listen.to_string());
    while !is_open(told.recv().await.unwrap()) {}
    let _ = fs::remove_file(&socket);
    tokio::spawn(async move {
        let _kept = (publisher, asked);
        std::future::pending::<()>().await;
    });
    listen
}

/// Asked of the kernel, and free again a moment later.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_says_has_no_fault_for_promtool() {
    let url = format!("http://{}/metrics", endpoint("a").await);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let text = client.get(url).send().await.unwrap().text().await.unwrap();
    // What was timed is timed anew for each, and the process goes on meanwhile.
    let moves_on = |line: &&str| {
        [
            "process_",
            "leasehold_beat_round_trip_",
            "leasehold_txn_",
            "leasehold_restart_seconds",
        ]
        .iter()
        .any(|name| line.starts_with(name))
    };
    let sorted =
        |text: &str| -> BTreeSet<String> { text.lines().filter(|line| !moves_on(line)).map(str::to_owned).collect() };
    let own = encode(&status("a"), &counters(), Format::Plain).unwrap();
    assert_eq!(sorted(&text), sorted(&own));
    let output = promtool(&["check", "metrics"], &text);
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    let faulty = promtool(
        &["check", "metrics"],
        "# TYPE leasehold_moves counter\nleasehold_moves 1\n",
    );
    assert!(!faulty.status.success(), "the checker sees nothing");
}

/// A Prometheus of the test's own, ended with it.
struct Prometheus {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
    client: reqwest::Client,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Prometheus {
    /// The configuration as it is shipped, with these targets and a quicker pace.
    fn start(targets: &[SocketAddr]) -> Self {
        let folder = std::env::temp_dir().join(format!("leasehold-prometheus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let shipped = read("prometheus.yml");
        let list: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let targets = "[\"10.0.0.1:8008\", \"10.0.0.2:8008\", \"10.0.0.3:8008\"]";
        let own = shipped
            .replace(targets, &format!("[{}]", list.join(", ")))
            .replace(": 10s", ": 1s");
        assert!(own != shipped && own.contains("scrape_interval: 1s"), "{own}");
        fs::write(folder.join("prometheus.yml"), own).unwrap();
        fs::write(folder.join("rules.yml"), read("rules.yml")).unwrap();
        let address = free_address();
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5));
        Self {
            child,
            folder,
            address,
            client: client.build().unwrap(),
        }
    }

    /// None while it does not answer yet.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let words: Vec<String> = query
            .iter()
            .map(|(key, value)| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric();
                let value = value.bytes().map(|byte| match plain(byte) {
                    true => char::from(byte).to_string(),
                    false => format!("%{byte:02X}"),
                });
                format!("{key}={}", value.collect::<String>())
            })
            .collect();
        let url = format!("http://{}/api/v1/{path}?{}", self.address, words.join("&"));
        let answer = self.client.get(url).send().await.ok()?;
        answer.json().await.ok()
    }

    /// What a query finds; panics where it is no query.
    async fn found(&self, query: &str) -> Option<usize> {
        let answer = self.ask("query", &[("query", query)]).await?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        Some(answer["data"]["result"].as_array().unwrap().len())
    }

    async fn until(&self, what: &str, is: impl AsyncFn(&Self) -> bool) {
        for _ in 0..200 {
            if is(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        panic!("never: {what}\n{log}");
    }
}

/// Every query of every panel, with the variables filled in.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = targets.map(|target| {
        let query = target["expr"].as_str().unwrap();
        let query = query.replace("$cluster", ".*").replace("$group", ".*");
        query.replace("$__rate_interval", "1m")
    });
    let queries: Vec<String> = queries.collect();
    assert!(
        queries.len() > 15 && queries.iter().all(|query| !query.contains('$')),
        "{queries:?}"
    );
    queries
}

/// What Grafana takes for granted of a dashboard and does not say: a panel that lies over another, two with one number, a query
/// by a name that nothing defines.
#[test]
fn the_dashboard_holds_together() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert!(!text(&dashboard["title"]).is_empty() && !text(&dashboard["uid"]).is_empty());
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36 && dashboard["id"].is_null());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: BTreeSet<String> = variables.iter().map(|one| text(&one["name"])).collect();
    let (mut numbers, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = text(&panel["title"]);
        assert!(
            numbers.insert(panel["id"].as_u64().unwrap()),
            "{title}: its number is another's"
        );
        assert!(!title.is_empty() && titles.insert(title.clone()), "{title}: twice");
        let kinds = ["stat", "table", "timeseries", "state-timeline"];
        assert!(
            kinds.contains(&text(&panel["type"]).as_str()),
            "{title}: {}",
            panel["type"]
        );
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        let (x, y, width, height) = (side("x"), side("y"), side("w"), side("h"));
        assert!(width > 0 && height > 0 && x + width <= 24, "{title}: beyond the page");
        for place in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title}: it lies over another one");
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: no unit");
        let targets = panel["targets"].as_array().unwrap();
        let names: BTreeSet<String> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert!(
            !targets.is_empty() && names.len() == targets.len(),
            "{title}: {names:?}"
        );
        for source in targets.iter().chain([panel]).map(|one| &one["datasource"]) {
            assert_eq!(
                (text(&source["type"]), text(&source["uid"])),
                ("prometheus".to_owned(), "${datasource}".to_owned()),
                "{title}"
            );
        }
        for expression in targets.iter().map(|target| text(&target["expr"])) {
            let used = expression.split('$').skip(1).map(|rest| {
                let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                rest[..end.unwrap_or(rest.len())].to_owned()
            });
            for name in used.filter(|name| !name.starts_with("__")) {
                assert!(variables.contains(&name), "{title}: nothing defines ${name}");
            }
        }
    }
    assert!(titles.len() > 20, "{titles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_loads_the_rules_and_answers_the_dashboard() {
    let prometheus = Prometheus::start(&[endpoint("a").await, endpoint("b").await]);
    prometheus
        .until("two targets are up", async |own| {
            own.found("up{cluster=\"mail\"} == 1").await == Some(2)
        })
        .await;
    for query in queries() {
        // Rates want two samples.
        let has_data = async |own: &Prometheus| own.found(&query).await.is_some_and(|count| count > 0);
        prometheus.until(&format!("data for {query}"), has_data).await;
    }
    let evaluated = async |own: &Prometheus| {
        let Some(answer) = own.ask("rules", &[]).await else {
            return false;
        };
        let rules = answer["data"]["groups"][0]["rules"].as_array().unwrap().clone();
        assert_eq!(rules.len(), alerts().len());
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:?}");
        rules.iter().all(|rule| rule["health"] == "ok")
    };
    prometheus.until("every rule is evaluated", evaluated).await;
    let firing = prometheus.found("ALERTS{alertstate=\"firing\"}").await;
    assert_eq!(firing, Some(0), "nothing is wrong with this cluster");
}

/// Where rules and dashboard ask for what no sidecar says, they would be silent for ever.
#[test]
fn rules_and_dashboard_ask_only_for_what_is_there() {
    let text = encode(&status("a"), &counters(), Format::Plain).unwrap();
    let known: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let all = format!(
        "{}\n{}\n{}",
        read("rules.yml"),
        read("rules_test.yml"),
        queries().join("\n")
    );
    let words = all.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("leasehold_")).collect();
    assert!(asked.len() > 15, "{asked:?}");
    // A histogram has its samples under three names more.
    let family = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        let histogram = ends.iter().find_map(|end| name.strip_suffix(end));
        known.contains(name) || histogram.is_some_and(|name| known.contains(name))
    };
    let unknown: Vec<&&str> = asked.iter().filter(|name| !family(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not among {known:?}");
}
