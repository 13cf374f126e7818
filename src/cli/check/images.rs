//! The images that the services would run from: here, and as the other nodes publish theirs.

use leasehold_compose::model::Service;
use leasehold_core::protocol::keys::Keys;
use leasehold_core::protocol::records::{NodeStatus, Readiness};
use leasehold_core::store::{Answer, Txn};
use leasehold_sidecar::adapters::engine::Image;
use leasehold_sidecar::adapters::store::{self, Settings};

/// What every node says of itself; nothing where etcd does not answer, which is told of elsewhere.
pub(super) async fn published(settings: &Settings) -> Vec<(String, NodeStatus)> {
    match store::once(settings, &Txn::read()).await {
        Ok(answer) => read(&settings.keys, &answer),
        Err(_) => Vec::new(),
    }
}

fn read(keys: &Keys, answer: &Answer) -> Vec<(String, NodeStatus)> {
    let of_node = |kv: &leasehold_core::store::KeyValue| {
        let parts = keys.parts(&kv.key)?;
        let ["status", node] = parts.as_slice() else {
            return None;
        };
        Some(((*node).to_owned(), serde_json::from_str(&kv.value).ok()?))
    };
    answer.keys.iter().filter_map(of_node).collect()
}

/// Why a service can't run from this image behind a tether.
pub(crate) fn unfit(service: &Service, image: &Image) -> Option<String> {
    let line = leasehold_compose::command_line(image.entrypoint.as_deref(), image.cmd.as_deref(), service);
    let unfit = leasehold_compose::fits(&line, service, image.user.as_deref()).err()?;
    Some(format!("service {}: image {} {unfit}", service.name, service.image))
}

/// Variables that name a directory which a program sets up only while nothing at all is in it, the ids of a store included.
/// Others (MySQL, MariaDB, MongoDB) leave names with a dot before them alone.
const EMPTY: [(&str, &str); 1] = [("PGDATA", "PostgreSQL")];

/// A protected mount that a program of this service sets up only while it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantsEmpty {
    pub(crate) target: String,
    service: String,
    variable: &'static str,
    program: &'static str,
}

impl WantsEmpty {
    /// The mount of a service, where there is one.
    pub(crate) fn find(service: &Service, image: Option<&Image>) -> Option<Self> {
        let mut found = EMPTY.iter().filter_map(|(variable, program)| {
            let of_image = || {
                let mut all = image?.env.iter().filter_map(|entry| entry.split_once('='));
                all.find(|(name, _)| name == variable)
                    .map(|(_, value)| value.to_owned())
            };
            let own = service.environment.get(*variable).cloned();
            let directory = own.or_else(of_image)?;
            let target = directory.trim_end_matches('/').to_owned();
            service.protected_targets().contains(&target).then(|| Self {
                target,
                service: service.name.clone(),
                variable,
                program,
            })
        });
        found.next()
    }

    /// What a new installation needs.
    pub(crate) fn remedy(&self) -> String {
        let Self {
            target,
            service,
            variable,
            program,
        } = self;
        format!(
            "{program} sets {target} up only while nothing is in it, and a store id is: put `{variable}: {target}/data` under \
             `environment` of service {service}, on every host"
        )
    }
}

/// Where another node would run the group from another image than this one.
pub(super) fn differing(group: &str, own: &Readiness, me: &str, published: &[(String, NodeStatus)]) -> Vec<String> {
    let others = published.iter().filter(|(node, _)| node != me);
    let others = others.filter_map(|(node, status)| Some((node, status.groups.get(group)?)));
    others
        .filter(|(_, other)| !other.is_same_image(own))
        .map(|(node, other)| {
            let (image, own) = (&other.image, &own.image);
            format!(
                "{group} would be another image on {node} ({image}) than it is here ({own}): pull the same on both, or name it \
                 by its digest"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_image_with_an_init_system_is_told_before_anything_starts() {
        let project = super::super::testing::project("", "", "");
        let service = &project.groups["mail"].services[0];
        let image = |words: &[&str]| Image {
            entrypoint: Some(words.iter().map(|word| (*word).to_owned()).collect()),
            ..Image::default()
        };
        let told = unfit(service, &image(&["/init", "--x"])).unwrap();
        assert!(
            told.contains("service sams: image sams starts /init --x") && told.contains("`own_init: true`"),
            "{told}"
        );
        assert_eq!(unfit(service, &image(&["/entrypoint.sh"])), None);
        let own = super::super::testing::project("", ", own_init: true", "");
        let service = &own.groups["mail"].services[0];
        assert_eq!(unfit(service, &image(&["/init"])), None);
        assert!(unfit(service, &image(&["/sbin/init"])).unwrap().contains("systemd"));
        let app = Image {
            user: Some("app".to_owned()),
            ..image(&["/init"])
        };
        assert!(unfit(service, &app).unwrap().contains("runs as user app"));
    }

    #[test]
    fn a_database_that_wants_an_empty_directory_is_known() {
        let project = super::super::testing::project("", "", "volumes: [\"/srv/db:/var/lib/db\"]");
        let mut service = project.groups["mail"].services[0].clone();
        let target = service.protected_targets()[0].clone();
        let image = |value: &str| Image {
            env: vec!["PATH=/bin".to_owned(), format!("PGDATA={value}")],
            ..Image::default()
        };
        let found = WantsEmpty::find(&service, Some(&image(&format!("{target}/")))).unwrap();
        assert_eq!(found.target, target);
        assert!(
            found.remedy().contains(&format!("PGDATA: {target}/data")),
            "{}",
            found.remedy()
        );
        assert_eq!(WantsEmpty::find(&service, Some(&image("/elsewhere"))), None);
        assert_eq!(WantsEmpty::find(&service, None), None);
        // The file has the last word.
        service
            .environment
            .insert("PGDATA".to_owned(), format!("{target}/data"));
        assert_eq!(WantsEmpty::find(&service, Some(&image(&target))), None);
    }

    #[test]
    fn an_entrypoint_of_the_file_is_what_starts() {
        let image = |words: &[&str]| Image {
            entrypoint: Some(words.iter().map(|word| (*word).to_owned()).collect()),
            ..Image::default()
        };
        let own = super::super::testing::project("", ", entrypoint: /bin/mail", "");
        assert_eq!(unfit(&own.groups["mail"].services[0], &image(&["/init"])), None);
    }

    use super::*;
    use leasehold_core::protocol::records::json;
    use leasehold_core::store::KeyValue;

    #[test]
    fn another_digest_on_another_node_is_warned_of() {
        let keys = Keys::new("mail");
        let image = |image: &str, content: &str| Readiness {
            image: image.to_owned(),
            content: content.to_owned(),
            ..Readiness::default()
        };
        let node = |name: &str, digest: &str| {
            let ready = image(digest, "");
            let status = NodeStatus {
                groups: [("mail".to_owned(), ready)].into(),
                ..NodeStatus::default()
            };
            KeyValue {
                key: keys.status(name),
                value: json(&status),
                create_revision: 1,
                mod_revision: 1,
                lease: 1,
            }
        };
        let stray = KeyValue {
            key: keys.drained("b"),
            ..node("b", "")
        };
        let answer = Answer {
            succeeded: true,
            cluster_id: 1,
            revision: 1,
            keys: vec![
                node("a", "old"),
                node("b", "sha256:1"),
                node("c", "sha256:2"),
                node("d", ""),
                stray,
            ],
        };
        let published = read(&keys, &answer);
        assert_eq!(published.len(), 4);
        let own = image("sha256:1", "");
        let told = differing("mail", &own, "a", &published);
        assert!(
            told.len() == 1 && told[0].contains("on c (sha256:2) than it is here (sha256:1)"),
            "{told:?}"
        );
        assert_eq!(differing("web", &own, "a", &published), Vec::<String>::new());
        // The same image by another digest, as the image stores of Docker know it.
        let of = |content: &str| {
            let groups = [("mail".to_owned(), image("sha256:9", content))].into();
            let status = NodeStatus {
                groups,
                ..NodeStatus::default()
            };
            differing("mail", &image("sha256:1", "c1"), "a", &[("b".to_owned(), status)])
        };
        assert_eq!(of("c1"), Vec::<String>::new());
        assert_eq!((of("c2").len(), of("").len()), (1, 1));
    }
}
