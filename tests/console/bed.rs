//! Three nodes on one engine, as in the demo, with a service that runs on one of them.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;

use crate::busybox::{Swept, images, said};
use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

/// A debug build beside a browser may lose the processor for a while.
const TTL: &str = "8s";
pub(crate) const OPERATOR: &str = "0123456789abcdef-operator";
pub(crate) const ADMIN: &str = "0123456789abcdef-admin";
pub(crate) const VIEWER: &str = "0123456789abcdef-viewer";

/// What goes first is declared first: the sidecars, what they left on the engine, etcd.
pub(crate) struct Bed {
    pub(crate) nodes: Vec<Sidecar>,
    _swept: Swept,
    _etcd: Cluster,
}

impl Bed {
    pub(crate) async fn start() -> Self {
        let etcd = Cluster::start(1, &FAST).await;
        let mut nodes = Vec::new();
        for (node, priority) in [("a", "10"), ("b", "20"), ("c", "30")] {
            let sidecar = Sidecar::new(&[etcd.url(0)], TTL, &[]).with("LEASEHOLD_NODE", node);
            let tokens = sidecar.dir.join("tokens");
            let mut lines = String::new();
            for (role, name, token) in [
                ("operator", "ann", OPERATOR),
                ("viewer", "vic", VIEWER),
                ("admin", "kim", ADMIN),
            ] {
                writeln!(lines, "{role} {name} {token}").unwrap();
            }
            std::fs::write(&tokens, lines).unwrap();
            std::fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).unwrap();
            let sidecar = sidecar.with("LEASEHOLD_TOKENS", tokens.display().to_string());
            nodes.push(sidecar.with("LEASEHOLD_PRIORITY", priority));
        }
        let name = nodes[0].dir.file_name().unwrap().to_string_lossy().into_owned();
        let swept = Swept(name.clone());
        images(&name, &nodes[0].dir);
        let file = std::fs::read_to_string(nodes[0].dir.join("compose.yaml")).unwrap();
        // As it is to stand in pictures.
        let file = file.replace(&format!("cluster: {name}"), "cluster: office");
        let (head, _) = file.split_once("    image:").unwrap();
        // The tether of a debug build needs this machine's libraries.
        let service = format!(
            "    image: {name}:1\n    profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n    \
             command: [/bin/busybox, sleep, \"6000\"]\n    network_mode: none\n    stop_grace_period: 1s\n    \
             x-leasehold: {{group: mail, storage_look: off}}\n    \
             volumes: [\"/usr:/usr:ro\", \"/lib:/lib:ro\", \"/lib64:/lib64:ro\"]\n"
        );
        for node in &mut nodes {
            std::fs::write(node.dir.join("compose.yaml"), format!("{head}{service}")).unwrap();
            node.start();
        }
        nodes[0].wait("joined", |status| status["member"] == "joined");
        said(&nodes[0].cli(&["init", "mail"]));
        nodes[0].wait("served, with two that could take it", |status| {
            let ready = |node: &str| status["nodes"][node]["groups"]["mail"] == "";
            status["groups"]["mail"]["holder"].is_string()
                && status["overall"]["health"] == "normal"
                && ready("b")
                && ready("c")
        });
        Self {
            nodes,
            _swept: swept,
            _etcd: etcd,
        }
    }

    /// Another environment for the service, on every node.
    pub(crate) fn change_file(&self) {
        for node in &self.nodes {
            let file = node.dir.join("compose.yaml");
            let text = std::fs::read_to_string(&file).unwrap();
            let (head, rest) = text.split_once("    image:").unwrap();
            std::fs::write(file, format!("{head}    environment: {{V: two}}\n    image:{rest}")).unwrap();
        }
    }

    /// The console of a node.
    pub(crate) fn url(&self, node: usize, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.nodes[node].port)
    }
}
