//! Durations, sizes, names: the scalars of a compose file.

use std::time::Duration;

/// The pattern of names, for messages.
pub(super) const NAME_PATTERN: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]*";

/// Whether a text may name a cluster, a group or a service.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// `1m30s`, `1.5s`, `250ms`, `2h`, `1d`; `0` needs no unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let tail = &rest[digits..];
        let length = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let number: f64 = rest[..digits].parse().ok()?;
        let part = Duration::try_from_secs_f64(number * unit_seconds(&tail[..length])?).ok()?;
        total = total.checked_add(part)?;
        rest = &tail[length..];
    }
    (!text.is_empty()).then_some(total)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-9),
        "us" | "µs" | "μs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(86_400.0),
        "w" => Some(604_800.0),
        _ => None,
    }
}

/// `64m`, `1.5g`, `512MiB`, `1024`, `-1`: bytes, with powers of 1024 as the engine counts.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    if text == "-1" {
        return Some(-1);
    }
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let unit = text[digits..].trim();
    let power = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let number: f64 = text[..digits].parse().ok()?;
    float_to_int(number * 1024_f64.powi(power))
}

/// `0.5` processors as billionths.
pub(super) fn nano_cpus(text: &str) -> Option<i64> {
    let number: f64 = text.trim().parse().ok()?;
    float_to_int((number * 1e9).round())
}

fn float_to_int(value: f64) -> Option<i64> {
    // 2^53: above it a float no longer holds every integer.
    if !(0.0..9_007_199_254_740_992.0).contains(&value) {
        return None;
    }
    format!("{value:.0}").parse().ok()
}

/// A mode such as `0440` or `288`: YAML has made a number of an unquoted octal already; text is octal.
pub(super) fn mode(text: &str, was_text: bool) -> Option<u32> {
    if was_text {
        u32::from_str_radix(text.trim_start_matches("0o"), 8).ok()
    } else {
        text.parse().ok()
    }
}

/// What the user may have meant; only names that are close are offered.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    let limit = (word.len() / 2).clamp(1, 2);
    let close = known.iter().map(|name| (distance(word, name), *name));
    let best = close.filter(|(distance, _)| *distance <= limit).min()?;
    Some(format!("did you mean {}?", best.1))
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let cost = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1h2m3s", 3_723_000),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("0", 0),
            ("0s", 0),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "1x",
            "-1s",
            "1m 30s",
            "1..5s",
            "99999999999999999999999w",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("1.5g", 3 << 29),
            ("512MiB", 512 << 20),
            ("1024", 1024),
            ("2k", 2048),
            ("10b", 10),
            ("-1", -1),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "m", "1x", "-2", "1e3", "99999999p"] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(nano_cpus("0.5"), Some(500_000_000));
        assert_eq!(nano_cpus("2"), Some(2_000_000_000));
        assert_eq!(nano_cpus("two"), None);
        assert_eq!(
            (mode("288", false), mode("0440", true), mode("9", true)),
            (Some(0o440), Some(0o440), None)
        );
    }

    #[test]
    fn names_and_near_misses() {
        assert!(
            is_name("a") && is_name("Mail-1.2_x") && !is_name("-a") && !is_name("") && !is_name("a b") && !is_name("ä")
        );
        let known = ["healthcheck", "hostname", "volumes", "image"];
        assert_eq!(did_you_mean("helthcheck", &known).unwrap(), "did you mean healthcheck?");
        assert_eq!(did_you_mean("volume", &known).unwrap(), "did you mean volumes?");
        assert_eq!(did_you_mean("runtime", &known), None);
    }
}
