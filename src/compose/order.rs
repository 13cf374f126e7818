//! The start order of a group: whoever is depended on comes first, otherwise the order of the file.

use super::model::Service;

/// Sorts the services; the error names those that wait for each other.
pub(super) fn sort(services: Vec<Service>) -> Result<Vec<Service>, Vec<String>> {
    let mut waiting = services;
    let mut sorted: Vec<Service> = Vec::new();
    while !waiting.is_empty() {
        let is_waiting = |name: &String| waiting.iter().any(|service| service.name == *name);
        let next = waiting
            .iter()
            .position(|service| !service.depends_on.keys().any(is_waiting));
        match next {
            Some(index) => sorted.push(waiting.remove(index)),
            None => return Err(waiting.into_iter().map(|service| service.name).collect()),
        }
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::super::model::Dependency;
    use super::*;

    fn service(name: &str, needs: &[&str]) -> Service {
        Service {
            name: name.into(),
            depends_on: needs
                .iter()
                .map(|need| ((*need).to_owned(), Dependency::Started))
                .collect(),
            ..Service::default()
        }
    }

    #[test]
    fn dependencies_come_first_and_the_file_decides_the_rest() {
        let services = vec![
            service("web", &["db", "cache"]),
            service("db", &[]),
            service("z", &[]),
            service("cache", &["z"]),
        ];
        let names: Vec<_> = sort(services)
            .unwrap()
            .into_iter()
            .map(|service| service.name)
            .collect();
        assert_eq!(names, ["db", "z", "cache", "web"]);
    }

    #[test]
    fn a_circle_is_named() {
        let services = vec![service("a", &["b"]), service("b", &["a"]), service("c", &[])];
        assert_eq!(sort(services).unwrap_err(), ["a", "b"]);
    }
}
