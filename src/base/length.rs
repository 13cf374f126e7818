//! Lengths of time as people write them: `90s`, `1m30s`, `2h`, `1d`.

use std::time::Duration;

/// Whole units, the largest first or not; none for anything else.
#[must_use]
pub fn read(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u32 = rest[..digits].parse().ok()?;
        let mut letters = rest[digits..].chars();
        let seconds = match letters.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(Duration::from_secs(seconds).checked_mul(count)?)?;
        rest = letters.as_str();
    }
    (!text.is_empty()).then_some(total)
}

/// The same back: `1m30s`. What is no whole number of seconds is written as a fraction.
#[must_use]
pub fn write(length: Duration) -> String {
    if length.subsec_nanos() != 0 || length.is_zero() {
        return format!("{length:?}");
    }
    let seconds = length.as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, unit)| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (text, seconds) in [
            ("10s", 10),
            ("1m30s", 90),
            ("10m", 600),
            ("2h", 7200),
            ("24h", 86_400),
            ("1h1s", 3601),
        ] {
            assert_eq!(read(text), Some(Duration::from_secs(seconds)), "{text}");
            assert_eq!(write(Duration::from_secs(seconds)), text);
        }
        assert_eq!(read("1d"), Some(Duration::from_secs(86_400)));
        assert_eq!(write(Duration::from_millis(1500)), "1.5s");
    }

    #[test]
    fn what_is_no_length_is_none() {
        for wrong in [
            "",
            "120",
            "s",
            "1x",
            "m5",
            "1.5s",
            "-1s",
            "4294967296s",
            "4294967295d1",
            "1ß",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
