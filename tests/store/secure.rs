//! TLS and users.

use std::time::Duration;

use etcd_client::{Client, Permission, PermissionType, RoleGetResponse};
use leasehold::compose::model::{EtcdTls, EtcdUser};
use leasehold::core::store::{Answer, Hint, StoreError};
use leasehold::sidecar::adapters::store::{Settings, floor_probe, member, member_count, once};

use crate::adapter::{Adapter, always, put};
use crate::etcd::{Cluster, FAST, certificates, strings};

const PASSWORD: &str = "horse-battery-staple";

#[tokio::test]
async fn tls_with_a_client_certificate() {
    let etcd = Cluster::launch("https", 1, |dir| {
        certificates(dir, "node");
        let file = |name: &str| dir.join(name).display().to_string();
        let mut arguments = strings(&FAST);
        arguments.extend([
            format!("--cert-file={}", file("server.crt")),
            format!("--key-file={}", file("server.key")),
            format!("--trusted-ca-file={}", file("ca.crt")),
            "--client-cert-auth".to_owned(),
        ]);
        arguments
    });
    let mut settings = etcd.settings();
    let dir = &etcd.dir;
    let files = EtcdTls {
        ca: dir.join("ca.crt"),
        certificate: Some(dir.join("client.crt")),
        key: Some(dir.join("client.key")),
    };
    settings.tls = Some(files.clone());
    etcd.wait(&settings).await;
    let mut adapter = Adapter::new(settings.clone());
    adapter.hint(&Hint::Changed).await;
    let key = settings.keys.node("a");
    assert!(adapter.txn(always(vec![put(key, "1", 0)])).await.unwrap().succeeded);

    // Without the certificate, and with another CA.
    let mut bare = settings.clone();
    bare.tls = Some(EtcdTls {
        certificate: None,
        key: None,
        ..files.clone()
    });
    let result = once(&bare, &always(Vec::new())).await;
    // Sometimes with the reason (CertificateRequired), sometimes etcd's end of the connection is quicker.
    assert!(unknown(&result, ""), "{result:?}");
    let mut other = settings.clone();
    other.tls = Some(EtcdTls {
        ca: dir.join("client.crt"),
        ..files.clone()
    });
    let result = once(&other, &always(Vec::new())).await;
    assert!(unknown(&result, "UnknownIssuer"), "{result:?}");
    let mut half = settings.clone();
    half.tls = Some(EtcdTls {
        key: None,
        ..files.clone()
    });
    assert!(refused(&once(&half, &always(Vec::new())).await, "needs its key"));
    let mut missing = settings;
    missing.tls = Some(EtcdTls {
        ca: dir.join("nowhere.crt"),
        ..files
    });
    assert!(refused(&once(&missing, &always(Vec::new())).await, "nowhere.crt"));
}

#[tokio::test]
async fn a_user_under_a_prefix_role() {
    let mut etcd = Cluster::start(1, &FAST).await;
    let settings = with_user(&etcd).await;
    let key = settings.keys.node("a");
    let mut adapter = Adapter::new(settings.clone());
    adapter.hint(&Hint::Changed).await;
    adapter.grant(0x7003, Duration::from_secs(60)).await.unwrap();
    adapter.txn(always(vec![put(key, "1", 0x7003)])).await.unwrap();
    let outside = adapter.txn(always(vec![put("/other".to_owned(), "1", 0)])).await;
    assert!(refused(&outside, "permission denied"), "{outside:?}");
    assert_eq!(floor_probe(&settings).await.unwrap(), Duration::from_secs(1));
    assert_eq!(member_count(&settings).await.unwrap(), 1);
    // The status of a member is for administrators; its metrics are for everybody.
    let member = member(&settings, &etcd.url(0)).await.unwrap();
    assert!(member.version.unwrap().starts_with("3."));
    assert!(member.quota.is_some_and(|quota| quota > 1 << 30), "{:?}", member.quota);

    // A restarted etcd has forgotten the token.
    etcd.kill(0);
    etcd.run(0);
    etcd.wait(&settings).await;
    recovers_within(&mut adapter, 2).await;

    let mut nobody = settings.clone();
    nobody.user = None;
    let result = once(&nobody, &always(Vec::new())).await;
    assert!(refused(&result, "user name is empty"), "{result:?}");
    std::fs::write(etcd.dir.join("password"), "wrong").unwrap();
    let result = once(&settings, &always(Vec::new())).await;
    assert!(refused(&result, "authentication failed"), "{result:?}");
    std::fs::remove_file(etcd.dir.join("password")).unwrap();
    let result = once(&settings, &always(Vec::new())).await;
    assert!(refused(&result, "password"), "{result:?}");
}

#[tokio::test]
async fn an_expired_token_costs_one_refusal() {
    let mut arguments = FAST.to_vec();
    arguments.extend(["--auth-token-ttl", "1"]);
    let etcd = Cluster::start(1, &arguments).await;
    let settings = with_user(&etcd).await;
    let mut adapter = Adapter::new(settings);
    adapter.read().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let expired = adapter.read().await;
    assert!(refused(&expired, "invalid auth token"), "{expired:?}");
    adapter.read().await.unwrap();
}

#[tokio::test]
async fn the_password_is_in_no_debug_output() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = with_user(&etcd).await;
    let mut adapter = Adapter::new(settings.clone());
    let answer = adapter.read().await;
    std::fs::write(etcd.dir.join("password"), format!("{PASSWORD}-but-wrong")).unwrap();
    let error = once(&settings, &always(Vec::new())).await;
    let events = adapter.all_within(Duration::from_millis(100)).await;
    let shown = format!("{settings:?} {answer:?} {error:?} {events:?}");
    assert!(!shown.contains(PASSWORD), "{shown}");
}

/// Turns authentication on and returns the settings of a user that may use the cluster's prefix only.
async fn with_user(etcd: &Cluster) -> Settings {
    let mut settings = etcd.settings();
    let mut admin = Client::connect([etcd.url(0)], None).await.unwrap();
    admin.role_add("leasehold").await.unwrap();
    let prefix = settings.keys.prefix();
    let permission = Permission::new(PermissionType::Readwrite, prefix).with_prefix();
    admin.role_grant_permission("leasehold", permission).await.unwrap();
    let role: RoleGetResponse = admin.role_get("leasehold").await.unwrap();
    assert_eq!(role.permissions().len(), 1);
    admin.user_add("node", PASSWORD, None).await.unwrap();
    admin.user_grant_role("node", "leasehold").await.unwrap();
    admin.user_add("root", "root", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.auth_enable().await.unwrap();
    let password_file = etcd.dir.join("password");
    std::fs::write(&password_file, format!("{PASSWORD}\n")).unwrap();
    settings.user = Some(EtcdUser {
        name: "node".to_owned(),
        password_file,
    });
    settings
}

fn unknown(result: &Result<Answer, StoreError>, reason: &str) -> bool {
    matches!(result, Err(StoreError::Unknown(text)) if text.contains(reason))
}

fn refused(result: &Result<Answer, StoreError>, reason: &str) -> bool {
    matches!(result, Err(StoreError::Refused(text)) if text.contains(reason))
}

async fn recovers_within(adapter: &mut Adapter, failures_max: usize) {
    for _ in 0..failures_max {
        if adapter.read().await.is_ok() {
            return;
        }
    }
    adapter.read().await.unwrap();
}
