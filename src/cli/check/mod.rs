//! `leasehold check`: everything that can be known before anything starts.

mod certificates;
mod images;
mod mail;
mod members;
mod prospect;
#[cfg(test)]
pub(super) mod testing;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::text::{print, say};
use crate::adapters::http::Access;
use crate::adapters::{events, fence, reset, store};
use crate::compose;
use crate::compose::model::{Fence, Group, OnStopFailure, Service};
use crate::core::sizing::Timing;
use crate::core::store::StoreError;
use crate::node_facts::NodeFacts;
use crate::site::{Site, SiteError};

/// Of one call to etcd.
const ETCD_PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn check(facts: &NodeFacts) -> Result<ExitCode> {
    let site = match Site::open(facts).await {
        Ok(site) => site,
        Err(SiteError::File(faults)) => {
            for fault in &faults {
                say(&fault.to_string());
            }
            return Ok(ExitCode::FAILURE);
        }
        Err(other) => return Err(other.into()),
    };
    print(&compose::report(&site.project));
    let mut faults: Vec<String> = site
        .check_grace()
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect();
    let members = members::look(&site.store(ETCD_PATIENCE)).await;
    members.lines.iter().for_each(|line| print(line));
    let timing = timing(&site, &mut faults).await;
    faults.extend(endpoints(facts));
    faults.extend(site.project.cluster.fence.iter().flat_map(fence::faults));
    faults.extend(site.project.cluster.events.iter().flat_map(events::faults));
    let certificates = certificates::look(&site.project.cluster, facts).await;
    faults.extend(certificates.faults);
    let mut warnings = members.warnings.clone();
    warnings.extend(certificates.warnings);
    let published = images::published(&site.store(ETCD_PATIENCE)).await;
    for group in site.project.groups.values() {
        let (digests, found) = group_here(&site, group).await;
        faults.extend(found);
        for (service, digest) in &digests {
            print(&format!("image {} is here: {digest}", service.image));
        }
        // A node publishes the image of the first service.
        let first = digests
            .iter()
            .find(|(service, _)| group.services.first() == Some(*service));
        let differing = |digest: &String| images::differing(&group.name, digest, &site.name, &published);
        warnings.extend(first.map(|(_, digest)| differing(digest)).unwrap_or_default());
    }
    warn(&site, warnings).await;
    if let Some(timing) = timing {
        print(&format!("\n{}", prospect::tell(&site.project, &timing, members.voters)));
    }
    for fault in &faults {
        say(fault);
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The times of the election, where they can be kept here.
async fn timing(site: &Site, faults: &mut Vec<String>) -> Option<Timing> {
    let (timeout, source) = election(site).await.map_err(|why| faults.push(why)).ok()?;
    let timing = site
        .timing(timeout)
        .map_err(|short| faults.push(short.to_string()))
        .ok()?;
    print(&times(&timing, source, site.project.cluster.fence.as_ref()));
    Some(timing)
}

/// The digest of each image that is here, and what keeps the group from running on this host.
async fn group_here<'g>(site: &Site, group: &'g Group) -> (Vec<(&'g Service, String)>, Vec<String>) {
    let mut digests = Vec::new();
    let mut faults: Vec<String> = reset_fault(site, group).into_iter().collect();
    for service in &group.services {
        match site.engine.image(&service.image).await {
            Ok(image) => digests.push((service, image.digest)),
            Err(error) => faults.push(format!("service {}: {error}", service.name)),
        }
    }
    (digests, faults)
}

/// What `check` finds wrong with a group on this host.
pub(super) async fn faults_of(site: &Site, group: &Group) -> Vec<String> {
    let grace = site.check_grace().err().map(|error| error.to_string());
    let (_, faults) = group_here(site, group).await;
    grace.into_iter().chain(faults).collect()
}

fn reset_fault(site: &Site, group: &Group) -> Option<String> {
    if group.on_stop_failure != OnStopFailure::Reboot {
        return None;
    }
    let why = reset::possible(&site.facts.sysrq_trigger).err()?;
    Some(format!(
        "group {}: on_stop_failure: reboot can't reset this host: {why}; mount the host's /proc/sysrq-trigger into the \
         sidecar, writable, and name it in LEASEHOLD_SYSRQ_TRIGGER",
        group.name
    ))
}

/// What keeps nobody from running, but will be missed one day.
async fn warn(site: &Site, mut warnings: Vec<String>) {
    for group in site.project.groups.values() {
        warnings.extend(mail::warnings(group).await);
    }
    if let Some(watchdog) = &site.watchdog {
        print(&format!(
            "watchdog {}: resets this host {:?} after its last meal",
            watchdog.identity, watchdog.timeout
        ));
    }
    match site.cgroups().check() {
        Ok(seen) => print(&format!(
            "where a tether can't tell that its service has ended, the cgroups will: {seen}"
        )),
        Err(why) => warnings.push(format!(
            "when a tether can't tell that its service has ended, nothing else can, and the group is not handed over: {why}"
        )),
    }
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
}

/// What is wrong with the files of the endpoints.
fn endpoints(facts: &NodeFacts) -> Vec<String> {
    let tls = facts
        .tls()
        .and_then(|files| files.map_or(Ok(()), |files| files.check()));
    let access = Access::new(facts.tokens.clone()).check();
    let access = access.map_err(|error| error.to_string());
    [tls, access].into_iter().filter_map(Result::err).collect()
}

async fn election(site: &Site) -> Result<(Duration, &'static str), String> {
    if let Some(stated) = site.project.cluster.election_timeout {
        return Ok((stated, "stated in the file"));
    }
    let settings = site.store(ETCD_PATIENCE);
    match store::floor_probe(&settings).await {
        Ok(floor) => Ok((floor.div_f64(1.5), "bounded by the lowest lease that etcd grants")),
        Err(StoreError::Unknown(why) | StoreError::Refused(why)) => Err(format!(
            "etcd does not answer, so its election timeout is not known: {why}"
        )),
    }
}

fn times(timing: &Timing, source: &str, fence: Option<&Fence>) -> String {
    let soft = timing.soft_after();
    let fenced = fence.map_or_else(String::new, |fence| {
        let agent = fence.agent.display();
        format!(", once {agent} has fenced it, which may take {:?}", fence.timeout)
    });
    format!(
        "ttl {:?}: a beat every {:?}, each call to etcd at most {:?}; etcd's election timeout {:?} ({source})\n\
         without an answer of etcd the service gets its stop signal {soft:?} after the last answered beat was sent, \
         the kill {:?} after it\n\
         when a host dies, another starts the service {:?} after the last beat that it saw{fenced}",
        timing.ttl,
        timing.beat,
        timing.attempt,
        timing.election_timeout,
        soft + timing.grace,
        timing.ttl,
    )
}
