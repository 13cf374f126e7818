//! `leasehold check`: everything that can be known before anything starts.

mod addresses;
mod certificates;
mod engine;
pub(super) mod images;
mod mail;
mod measured;
mod members;
mod nfs;
mod promises;
mod prospect;
mod relay;
#[cfg(test)]
pub(super) mod testing;
pub(super) mod volumes;

use std::time::Duration;

use anyhow::Result;

use super::answer::Answer;
use super::init;
use leasehold_base::clock;
use leasehold_compose::model::{Fence, Group, OnStopFailure, Service};
use leasehold_core::protocol::records::Readiness;
use leasehold_core::protocol::sizing::Timing;
use leasehold_core::store::StoreError;
use leasehold_sidecar::adapters::engine::Image;
use leasehold_sidecar::adapters::http::{Access, listen_address};
use leasehold_sidecar::adapters::{events, fence, reset, store};
use leasehold_sidecar::node_args::NodeArgs;
use leasehold_sidecar::node_context::{NodeContext, SiteError};

/// Of one call to etcd.
const ETCD_PATIENCE: Duration = Duration::from_secs(2);

/// etcd's election timeout and how it is known, or why it is not.
type Election = Result<(Duration, &'static str), String>;

/// What was found, in the order in which it is told.
#[derive(Debug, Default)]
struct Findings {
    report: Vec<String>,
    warnings: Vec<String>,
    faults: Vec<String>,
}

impl Findings {
    fn answer(self) -> Answer {
        let Self {
            report,
            warnings,
            faults,
        } = self;
        let answer = match faults.len() {
            0 => Answer::good("no fault"),
            1 => Answer::bad("one fault: mend it, and say `leasehold check` again"),
            count => Answer::bad(format!("{count} faults: mend them, and say `leasehold check` again")),
        };
        let warned = warnings.iter().map(|warning| format!("warning: {warning}"));
        let complaint: Vec<String> = warned.chain(faults.iter().cloned()).collect();
        answer
            .instead(report.join("\n"), complaint.join("\n"))
            .with("faults", faults)
            .with("warnings", warnings)
            .with("report", report)
    }
}

pub(super) async fn check(facts: &NodeArgs) -> Result<Answer> {
    let mut found = Findings::default();
    match NodeContext::open(facts).await {
        Ok(site) => look(facts, &site, &mut found).await,
        Err(SiteError::File(faults)) => found.faults = faults.iter().map(ToString::to_string).collect(),
        Err(other) => return Err(other.into()),
    }
    Ok(found.answer())
}

async fn look(facts: &NodeArgs, site: &NodeContext, found: &mut Findings) {
    found.report.push(leasehold_compose::report(&site.project));
    found
        .faults
        .extend(site.check_grace().err().map(|error| error.to_string()));
    found.faults.extend(volumes::files(&site.project, &site.sources));
    let members = members::look(&site.store(ETCD_PATIENCE)).await;
    found.report.extend(members.lines.iter().cloned());
    let election = election(site).await;
    let timing = timing(site, &election, found);
    found.faults.extend(clock::unshifted().err());
    let Findings { faults, warnings, .. } = found;
    faults.extend(endpoints(facts));
    faults.extend(site.project.cluster.fence.iter().flat_map(fence::faults));
    faults.extend(site.project.cluster.events.iter().flat_map(events::faults));
    faults.extend(relay::faults(&site.project).await);
    let certificates = certificates::look(&site.project.cluster, facts).await;
    faults.extend(certificates.faults);
    warnings.extend(Access::new(facts.tokens.clone()).warning());
    warnings.extend(members.warnings.clone());
    warnings.extend(certificates.warnings);
    let asked = promises::look(facts, site);
    found.report.extend(asked.report);
    found.warnings.extend(asked.warnings);
    found.faults.extend(asked.faults);
    let addresses = addresses::look(&site.project, &facts.interface).await;
    found.faults.extend(addresses.faults);
    found.warnings.extend(addresses.warnings);
    let engine = engine::look(site).await;
    found.faults.extend(engine.faults);
    found.warnings.extend(engine.warnings);
    images(site, found).await;
    warn(site, found).await;
    if let Ok((timeout, _)) = election {
        let told = measured::tell(
            facts,
            &site.wanted_timing(timeout),
            site.project.cluster.promises.is_some(),
        );
        found.report.push(format!("\n{told}"));
    }
    if let Some(timing) = timing {
        let prospect = prospect::tell(&site.project, &timing, members.voters);
        found.report.push(format!("\n{prospect}"));
    }
}

/// Whether each image is here, and the same as the other nodes'.
async fn images(site: &NodeContext, found: &mut Findings) {
    let published = images::published(&site.store(ETCD_PATIENCE)).await;
    for group in site.project.groups.values() {
        let (images, faults) = group_here(site, group).await;
        found.faults.extend(faults);
        // Where etcd can't be asked, it may be new.
        let is_new = !init::is_done(site, &group.name).await.unwrap_or(false);
        for service in group.services.iter().filter(|_| is_new) {
            let image = images
                .iter()
                .find(|(known, _)| *known == service)
                .map(|(_, image)| image);
            let warning =
                |wants: images::WantsEmpty| format!("for a database that is not there yet: {}", wants.remedy());
            found
                .warnings
                .extend(images::WantsEmpty::find(service, image).map(warning));
        }
        for (service, image) in &images {
            found
                .report
                .push(format!("image {} is here: {}", service.image, image.digest));
        }
        // A node publishes the image of the first service.
        let first = images
            .into_iter()
            .find(|(service, _)| group.services.first() == Some(*service));
        let differing = first.map(|(_, image)| images::differing(&group.name, &own(image), &site.name, &published));
        found.warnings.extend(differing.unwrap_or_default());
    }
}

/// The times of the election, where they can be kept here.
fn timing(site: &NodeContext, election: &Election, found: &mut Findings) -> Option<Timing> {
    let (timeout, source) = election.as_ref().map_err(|why| found.faults.push(why.clone())).ok()?;
    let timing = site
        .timing(*timeout)
        .map_err(|short| found.faults.push(short.to_string()))
        .ok()?;
    let times = times(&timing, source, site.project.cluster.fence.as_ref());
    found.report.push(times);
    Some(timing)
}

/// As this node would publish it.
fn own(image: Image) -> Readiness {
    Readiness {
        image: image.digest,
        content: image.content,
        ..Readiness::default()
    }
}

/// Each image that is here, and what keeps the group from running on this host.
async fn group_here<'g>(site: &NodeContext, group: &'g Group) -> (Vec<(&'g Service, Image)>, Vec<String>) {
    let mut images = Vec::new();
    let mut faults: Vec<String> = reset_fault(site, group).into_iter().collect();
    for service in &group.services {
        match site.engine.image(&service.image).await {
            Ok(image) => {
                faults.extend(images::unfit(service, &image));
                images.push((service, image));
            }
            Err(error) => faults.push(format!("service {}: {error}", service.name)),
        }
    }
    (images, faults)
}

/// What `check` finds wrong with a group on this host.
pub(super) async fn faults_of(site: &NodeContext, group: &Group) -> Vec<String> {
    let grace = site.check_grace().err().map(|error| error.to_string());
    let (_, faults) = group_here(site, group).await;
    grace.into_iter().chain(faults).collect()
}

fn reset_fault(site: &NodeContext, group: &Group) -> Option<String> {
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
async fn warn(site: &NodeContext, found: &mut Findings) {
    for group in site.project.groups.values() {
        found.warnings.extend(mail::warnings(group).await);
        let guard = volumes::Guard::of(site, group);
        found
            .warnings
            .extend(nfs::warnings(&site.project, &site.sources, group, guard));
        let volumes = volumes::look(site, group).await;
        found.report.extend(volumes.report);
        found.warnings.extend(volumes.warnings);
    }
    if let Some(watchdog) = &site.watchdog {
        found.report.push(format!(
            "watchdog {}: resets this host {:?} after it was fed last",
            watchdog.identity, watchdog.timeout
        ));
    }
    if let Err(why) = site.cgroups().can_end() {
        found.warnings.push(format!(
            "a service that keeps its tether from running can be ended through the engine alone: {why}"
        ));
    }
    match site.cgroups().check() {
        Ok(seen) => found.report.push(format!(
            "where a tether can't tell that its service has ended, the cgroups will: {seen}"
        )),
        Err(why) => found.warnings.push(format!(
            "when a tether can't tell that its service has ended, nothing else can, and the group is not handed over: {why}"
        )),
    }
}

/// What is wrong with the settings and the files of the endpoints.
fn endpoints(facts: &NodeArgs) -> Vec<String> {
    let tls = facts
        .tls()
        .and_then(|files| files.map_or(Ok(()), |files| files.check()));
    let access = Access::new(facts.tokens.clone()).check();
    let access = access.map_err(|error| error.to_string());
    let given = facts.listen.as_deref();
    let listen = given.map_or(Ok(()), |given| listen_address(Some(given), &[]).map(drop));
    [listen, tls, access].into_iter().filter_map(Result::err).collect()
}

async fn election(site: &NodeContext) -> Election {
    if let Some(stated) = site.project.cluster.election_timeout {
        return Ok((stated, "stated in the file"));
    }
    let settings = site.store(ETCD_PATIENCE);
    match store::floor_probe(&settings).await {
        Ok(floor) => Ok((floor.div_f64(1.5), "bounded by the lowest lease that etcd grants")),
        Err(StoreError::Unknown(why) | StoreError::Refused(why)) => Err(format!(
            "etcd does not answer, so its election timeout is not known: {why}; mend that first"
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
