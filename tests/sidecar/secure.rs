//! etcd that takes nobody without a certificate of its authority and a password.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, Permission, PermissionType, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

use crate::etcd::{Cluster, FAST, strings};
use crate::process::Sidecar;

const PASSWORD: &str = "horse-battery-staple";

/// Writes an authority and what it has signed into the directory.
fn certificates(dir: &Path) {
    let pem = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    };
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.join(format!("{name}.crt")), pem("CERTIFICATE", certificate.der())).unwrap();
        Issuer::new(params, key)
    };
    authority("other");
    let issuer = authority("ca");
    for (name, until) in [("server", 2999), ("client", 2999), ("old", 2001), ("old-server", 2001)] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.join(format!("{name}.crt")), pem("CERTIFICATE", certificate.der())).unwrap();
        std::fs::write(
            dir.join(format!("{name}.key")),
            pem("PRIVATE KEY", &key.serialize_der()),
        )
        .unwrap();
    }
}

/// One member with this certificate.
fn etcd(server: &str) -> Cluster {
    Cluster::launch("https", 1, |dir| {
        certificates(dir);
        let file = |name: &str| dir.join(name).display().to_string();
        let mut arguments = strings(&FAST);
        arguments.extend([
            format!("--cert-file={}", file(&format!("{server}.crt"))),
            format!("--key-file={}", file(&format!("{server}.key"))),
            format!("--trusted-ca-file={}", file("ca.crt")),
            "--client-cert-auth".to_owned(),
        ]);
        arguments
    })
}

/// Turns passwords on, once the member answers: `node` may use the keys of Leasehold.
async fn with_users(etcd: &Cluster) {
    let read = |name: &str| std::fs::read(etcd.dir.join(name)).unwrap();
    let mut client = None;
    for _ in 0..200 {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read("ca.crt")))
            .identity(Identity::from_pem(read("client.crt"), read("client.key")));
        let mut one = Client::connect([etcd.url(0)], Some(ConnectOptions::new().with_tls(tls)))
            .await
            .unwrap();
        if one.get("x", None).await.is_ok() {
            client = Some(one);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut admin = client.expect("etcd answers");
    admin.role_add("leasehold").await.unwrap();
    let permission = Permission::new(PermissionType::Readwrite, "/leasehold/").with_prefix();
    admin.role_grant_permission("leasehold", permission).await.unwrap();
    for (user, role, password) in [("node", "leasehold", PASSWORD), ("root", "root", "toor-toor")] {
        admin.user_add(user, password, None).await.unwrap();
        admin.user_grant_role(user, role).await.unwrap();
    }
    admin.auth_enable().await.unwrap();
}

fn node(etcd: &Cluster, ca: &str, client: &str, password: &str) -> Sidecar {
    let file = |name: String| etcd.dir.join(name).display().to_string();
    let secret = file(format!("password-{password}"));
    std::fs::write(&secret, password).unwrap();
    let [ca, certificate, key] = [format!("{ca}.crt"), format!("{client}.crt"), format!("{client}.key")].map(file);
    let tls = format!("{{ ca: {ca}, certificate: {certificate}, key: {key} }}");
    let user = format!("{{ name: node, password_file: {secret} }}");
    Sidecar::new(&[etcd.url(0)], "3s", &[("etcd_tls", tls), ("etcd_user", user)])
}

#[tokio::test]
async fn a_node_joins_and_beats_with_certificate_and_password() {
    let etcd = etcd("server");
    with_users(&etcd).await;
    let mut joined = node(&etcd, "ca", "client", PASSWORD);
    joined.start();
    let beats = |status: &serde_json::Value| {
        status["member"] == "joined" && status["nodes"]["a"]["state"] == "alive" && status["etcd_failure"].is_null()
    };
    joined.wait("joined and beating", beats);
    let checked = joined.cli(&["check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(!said.contains("etcd does not answer"), "{said}");
    assert!(!joined.log().contains(PASSWORD) && !said.contains(PASSWORD));

    let ours = |name: &str| etcd.dir.join(name).display().to_string();
    for (ca, client, password, words) in [
        (
            "other",
            "client",
            PASSWORD,
            format!("etcd's certificate is not of the authority in {}", ours("other.crt")),
        ),
        (
            "ca",
            "old",
            PASSWORD,
            format!("this node's certificate {} has run out on ", ours("old.crt")),
        ),
        ("ca", "client", "wrong-password", "authentication failed".to_owned()),
    ] {
        let mut refused = node(&etcd, ca, client, password);
        refused.start();
        says(&refused, &words);
    }
}

/// The sentence stands in the status and in what `check` prints.
fn says(refused: &Sidecar, words: &str) {
    let reason = |status: &serde_json::Value| status["etcd_failure"].as_str().is_some_and(|why| why.contains(words));
    let status = refused.wait(words, reason);
    assert_ne!(status["member"], "joined", "{status}");
    let shown = refused.cli(&["status"]);
    assert_eq!(shown.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&shown.stdout).contains(words));
    let checked = String::from_utf8_lossy(&refused.cli(&["check"]).stderr).into_owned();
    assert!(checked.contains(words), "{checked}");
}

#[test]
fn a_certificate_of_etcd_that_has_run_out_is_named_so() {
    let etcd = etcd("old-server");
    let mut refused = node(&etcd, "ca", "client", PASSWORD);
    refused.start();
    says(&refused, "etcd's certificate has run out: renew it on that host");
}
