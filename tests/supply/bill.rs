//! Bills of materials, as `docker/sbom` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What CycloneDX 1.6 demands of what is in there; the schema itself is not at hand.
pub(crate) fn check_bill(bill: &Value) -> BTreeMap<String, String> {
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"]),
        (&"CycloneDX".into(), &"1.6".into())
    );
    assert_eq!(bill["version"], 1);
    let serial = bill["serialNumber"].as_str().unwrap();
    let uuid: Vec<&str> = serial.strip_prefix("urn:uuid:").unwrap().split('-').collect();
    let is_hex = |text: &str| text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    assert_eq!(
        uuid.iter().map(|part| part.len()).collect::<Vec<_>>(),
        [8, 4, 4, 4, 12],
        "{serial}"
    );
    assert!(uuid.iter().all(|part| is_hex(part)), "{serial}");
    let time = bill["metadata"]["timestamp"].as_str().unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    let mut refs = BTreeSet::from(["this".to_owned()]);
    let mut named = BTreeMap::new();
    for component in bill["components"].as_array().unwrap() {
        let text = |key: &str| {
            component[key]
                .as_str()
                .unwrap_or_else(|| panic!("no {key} in {component}"))
        };
        assert_eq!(text("type"), "library");
        assert!(
            refs.insert(text("bom-ref").to_owned()),
            "{} stands twice",
            text("bom-ref")
        );
        let (name, version, purl) = (text("name"), text("version"), text("purl"));
        assert!(!name.is_empty() && !version.is_empty());
        let known = ["pkg:cargo/", "pkg:deb/debian/", "pkg:generic/"];
        assert!(
            known.iter().any(|start| purl.starts_with(start)) && !purl.contains('+'),
            "{purl}"
        );
        for hash in component["hashes"].as_array().into_iter().flatten() {
            assert_eq!(hash["alg"], "SHA-256");
            let content = hash["content"].as_str().unwrap();
            assert!(content.len() == 64 && is_hex(content), "{content}");
        }
        named.insert(format!("{name} {version}"), purl.to_owned());
    }
    named
}

/// What `docker/sbom` writes.
pub(crate) fn bill(of: &[&str]) -> Value {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/sbom"))
        .args(of)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
