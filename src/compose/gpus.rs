//! `gpus` and the devices of `deploy`: what the engine looks for among the drivers of its host.

use super::cursor::At;
use super::fault::Faults;
use super::model::DeviceRequest;
use super::networks::options;

/// As the engine counts: every device there is.
const ALL: i64 = -1;

/// `gpus: all`, or a list of requests.
pub(super) fn gpus(at: &At<'_>, faults: &mut Faults) -> Vec<DeviceRequest> {
    let mut requests = match at.node.scalar() {
        Some(_) => {
            let all = |text: &str| {
                (text == "all").then(|| DeviceRequest {
                    count: ALL,
                    ..DeviceRequest::default()
                })
            };
            at.parsed(faults, "all, or a list", all).into_iter().collect()
        }
        None => devices(at, faults),
    };
    for request in &mut requests {
        request.capabilities.push("gpu".to_owned());
    }
    requests
}

/// `deploy.resources.reservations.devices`.
pub(super) fn devices(at: &At<'_>, faults: &mut Faults) -> Vec<DeviceRequest> {
    at.list(faults).iter().map(|item| device(item, faults)).collect()
}

fn device(at: &At<'_>, faults: &mut Faults) -> DeviceRequest {
    let mut request = DeviceRequest::default();
    let mut count = None;
    for field in at.map_of(faults, &["capabilities", "count", "device_ids", "driver", "options"]) {
        match field.name {
            "capabilities" => request.capabilities = field.strings(faults),
            "count" => {
                let number = |text: &str| match text {
                    "all" => Some(ALL),
                    text => text.parse().ok(),
                };
                count = field.parsed(faults, "all or a number", number);
            }
            "device_ids" => request.device_ids = field.strings(faults),
            "driver" => request.driver = field.text(faults),
            _ => request.options = options(&field, faults),
        }
    }
    // Whoever names neither devices nor a number means all of them.
    let none_named = request.device_ids.is_empty();
    request.count = count.unwrap_or(if none_named { ALL } else { 0 });
    request
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_one, faults, service};

    #[test]
    fn devices_are_asked_for_as_compose_asks() {
        for (keys, seen) in [
            ("gpus: all", "- -1 [] gpu"),
            ("gpus: [{driver: nvidia, count: 2}]", "nvidia 2 [] gpu"),
            (
                "deploy: {resources: {reservations: {devices: [{capabilities: [gpu, utility], device_ids: ['0', '3']}]}}}",
                "- 0 [0,3] gpu,utility",
            ),
            (
                "deploy: {resources: {reservations: {devices: [{capabilities: [tpu], count: all}, {capabilities: [gpu]}]}}}",
                "- -1 [] tpu; - -1 [] gpu",
            ),
        ] {
            let requests = service(keys).0.device_requests;
            let show = requests.iter().map(|request| {
                let driver = request.driver.as_deref().unwrap_or("-");
                let (ids, able) = (request.device_ids.join(","), request.capabilities.join(","));
                format!("{driver} {} [{ids}] {able}", request.count)
            });
            assert_eq!(show.collect::<Vec<_>>().join("; "), seen, "{keys}");
        }
        assert_one(&faults("", "gpus: some"), &["all, or a list"], "word");
    }
}
