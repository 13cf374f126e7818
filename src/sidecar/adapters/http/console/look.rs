//! Words, colours and icons that all pages share.

use std::net::SocketAddr;

use maud::{Markup, html};

use leasehold_core::protocol::TroubleState;
use leasehold_core::snapshot::health::Health;
use leasehold_core::snapshot::status::Status;

/// How a word is coloured; word and icon alone say it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Calm,
    Warn,
    Bad,
    Unknown,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "word good",
            Self::Calm => "word calm",
            Self::Warn => "word warn",
            Self::Bad => "word bad",
            Self::Unknown => "word unknown",
        }
    }

    pub(super) fn of_trouble(state: &TroubleState) -> Self {
        match state {
            TroubleState::Restarting | TroubleState::Impaired | TroubleState::Endangered => Self::Warn,
            TroubleState::Sick | TroubleState::Down | TroubleState::Other(_) => Self::Bad,
        }
    }

    pub(super) fn of_health(health: Health) -> Self {
        match health {
            Health::Normal => Self::Good,
            Health::Warning => Self::Warn,
            Health::Failed => Self::Bad,
            Health::Unknown => Self::Unknown,
        }
    }
}

/// The shape of a tone, for those who see no colours.
fn icon(tone: Tone) -> Markup {
    let (is_filled, path) = match tone {
        Tone::Good => (true, "M4.5 8.5 7 11l4.5-5.5"),
        Tone::Calm => (false, ""),
        Tone::Warn => (false, "M8 4v5M8 11.2v.6"),
        Tone::Bad => (true, "M5 5l6 6M11 5l-6 6"),
        Tone::Unknown => (false, "M6 6.2a2 2 0 1 1 2.6 1.9c-.5.2-.6.5-.6 1.1M8 11.2v.6"),
    };
    html! {
        svg.icon viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" {
            circle.disc.filled[is_filled] cx="8" cy="8" r="6.5" {}
            path.mark.on[is_filled] d=(path) {}
        }
    }
}

pub(super) fn word(tone: Tone, text: &str) -> Markup {
    html! { span class=(tone.class()) { (icon(tone)) (text) } }
}

/// Other nodes that can be asked, where their endpoints are known.
pub(super) fn elsewhere(status: &Status) -> Markup {
    let others = status.nodes.iter().filter(|(name, _)| **name != status.node);
    let others: Vec<(&String, &String)> = others
        .map(|(name, node)| (name, &node.address))
        .filter(|(_, address)| is_address(address))
        .collect();
    html! {
        @if !others.is_empty() {
            p {
                "Ask another node:"
                @for (name, address) in others { " " a data-console=(address) href={ "//" (address) "/" } { (name) } }
            }
        }
    }
}

/// What may stand in a link: another node's word, not ours.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
}

/// From a page to those above it.
pub(super) fn way_back(status: &Status, group: Option<&str>) -> Markup {
    html! {
        nav aria-label="Back" {
            a #back href="/" { "Cluster " (status.cluster) }
            @if let Some(group) = group { " / " a #group href={ "/group/" (group) } { (group) } }
        }
    }
}

/// Milliseconds as a person says them.
pub(super) fn span(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        172_800_000.. => format!("{} days", ms / 86_400_000),
    }
}

/// A time that the script says relative to now. Without it: to a second, as it was written.
pub(super) fn time(at: &str) -> Markup {
    html! { time datetime=(at) { (plain(at)) } }
}

fn plain(at: &str) -> String {
    match at.split_once('T') {
        Some((day, rest)) => format!("{day} {} UTC", rest.get(..8).unwrap_or(rest)),
        None => at.to_owned(),
    }
}

/// A sentence of the core, whose times are shown as times, and what is to be typed as such.
pub(super) fn said(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (with_times(part)) }
        }
    }
}

fn with_times(text: &str) -> Markup {
    let parts = text.split_inclusive(' ').map(|part| {
        let end = part.trim_end_matches([' ', ',', '.', ':', ';', ')']).len();
        let (word, rest) = part.split_at(end);
        html! { @if is_time(word) { time.at datetime=(word) { (plain(word)) } (rest) } @else { (part) } }
    });
    html! { @for part in parts { (part) } }
}

/// Whether it is written as the core writes a time.
fn is_time(word: &str) -> bool {
    let shape = word.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    let shape: Vec<u8> = shape.take(19).collect();
    shape == b"0000-00-00T00:00:00" && word.ends_with('Z') && word.len() <= 30
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_coloured_as_health_judges_it() {
        assert_eq!(Tone::of_trouble(&TroubleState::Restarting), Tone::Warn);
        assert_eq!(Tone::of_trouble(&TroubleState::Endangered), Tone::Warn);
        assert_eq!(Tone::of_trouble(&TroubleState::Sick), Tone::Bad);
        assert_eq!(
            Tone::of_trouble(&TroubleState::Other("bewitched".to_owned())),
            Tone::Bad
        );
    }

    #[test]
    fn lengths_and_times_are_said_shortly() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1250, "1.2 s"),
            (61_000, "1 min"),
            (7_200_000, "2 h"),
        ] {
            assert_eq!(span(ms), text);
        }
        // The script changes its units where this does.
        let units = "[[60, 1, 's'], [7200, 60, 'min'], [172800, 3600, 'h'], [Infinity, 86400, 'days']]";
        assert!(super::super::SCRIPT.contains(units));
        for (seconds, length, unit) in [(7199, 60, "min"), (172_799, 3600, "h"), (172_800, 86_400, "days")] {
            assert_eq!(span(seconds * 1000), format!("{} {unit}", seconds / length));
        }
        let text = time("2026-11-30T18:02:50.123456Z").into_string();
        assert!(text.contains(">2026-11-30 18:02:50 UTC<"), "{text}");
        assert!(time("<b>").into_string().contains("&lt;b&gt;"));
        let text = said("by <b> at 2026-11-30T18:02:50.1Z, until 2026-11-31: `do <it>` ok").into_string();
        let wanted = "by &lt;b&gt; at <time class=\"at\" datetime=\"2026-11-30T18:02:50.1Z\">2026-11-30 18:02:50 UTC</time>, \
                      until 2026-11-31: <code>do &lt;it&gt;</code> ok";
        assert_eq!(text, wanted);
    }

    /// How bright a colour of the style sheet is, as WCAG 2 has it.
    fn brightness(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    #[test]
    fn every_text_can_be_read_on_its_ground_by_day_and_by_night() {
        let sheets: Vec<&str> = super::super::STYLE.split(":root {").skip(1).take(2).collect();
        for sheet in sheets {
            let colour = |name: &str| {
                let rest = sheet.split(&format!("--{name}: ")).nth(1).unwrap();
                rest.split(';').next().unwrap()
            };
            let pairs = [
                ("ink", "paper"),
                ("ink", "soft"),
                ("quiet", "paper"),
                ("quiet", "soft"),
                ("link", "paper"),
                ("link", "soft"),
                ("onlink", "link"),
                ("paper", "bad"),
                ("good", "good-back"),
                ("warn", "warn-back"),
                ("bad", "bad-back"),
                ("calm", "calm-back"),
                ("unknown", "unknown-back"),
            ];
            for (text, ground) in pairs {
                let (one, other) = (brightness(colour(text)), brightness(colour(ground)));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
            }
        }
    }
}
