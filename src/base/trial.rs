//! How a trial start is asked for: `tether try [--absent PATH | --certificate PATH]... ARGUMENTS`, with the arguments of a true one;
//! and how it shows the certificates that it was asked for, on its standard output.

/// The tether's first word in this form.
pub const FORM: &str = "try";

/// Before a mount of the service that the trial goes without.
pub const ABSENT: &str = "--absent";

/// Before a file with a certificate, as the service would find it.
pub const CERTIFICATE: &str = "--certificate";

/// Begins the line before each certificate: `certificate 0`, in the order of the arguments, then the certificate as it stands in
/// the file; or `certificate 0 WHY` where there is none.
const SHOWN: &str = "certificate ";

pub const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
pub const END: &str = "-----END CERTIFICATE-----";

/// What a trial shows of one file: its first certificate in PEM, or why there is none.
pub type Shown = Result<String, String>;

/// The lines for one file.
#[must_use]
pub fn show(number: usize, shown: &Shown) -> String {
    match shown {
        Ok(block) => format!("{SHOWN}{number}\n{block}\n"),
        Err(why) => format!("{SHOWN}{number} {}\n", why.replace(char::is_control, " ")),
    }
}

/// What was shown of so many files. None for one of which nothing stands there: the output may not be readable on this engine.
#[must_use]
pub fn shown(output: &str, count: usize) -> Vec<Option<Shown>> {
    let mut found = vec![None; count];
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix(SHOWN) else {
            continue;
        };
        let (number, why) = rest.split_once(' ').unwrap_or((rest, ""));
        let Some(place) = number.parse().ok().and_then(|number: usize| found.get_mut(number)) else {
            continue;
        };
        *place = match why {
            "" => block(lines.by_ref()).map(Ok),
            why => Some(Err(why.to_owned())),
        };
    }
    found
}

/// The first certificate of a text; nothing else of it, such as a key.
#[must_use]
pub fn first_certificate(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim_end).skip_while(|line| *line != BEGIN);
    block(&mut lines)
}

/// From the beginning of a certificate to its end.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<String> {
    let mut block = Vec::new();
    for line in lines {
        block.push(line);
        if line == END {
            return (block.first() == Some(&BEGIN)).then(|| block.join("\n"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\nAAA=\n-----END CERTIFICATE-----";

    #[test]
    fn of_a_file_only_its_first_certificate_is_taken() {
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----";
        let text = format!("{key}\r\nSubject: CN=mail\n{}\n{PEM}\n", PEM.replace('\n', "\r\n"));
        assert_eq!(first_certificate(&text).as_deref(), Some(PEM));
        assert_eq!(first_certificate(key), None);
        assert_eq!(first_certificate("-----BEGIN CERTIFICATE-----\nMIIB\n"), None);
    }

    #[test]
    fn what_is_shown_is_read() {
        let all: [Shown; 2] = [Ok(PEM.to_owned()), Err("No such file\n(os error 2)".to_owned())];
        let output: String = all.iter().enumerate().map(|(number, it)| show(number, it)).collect();
        let read = shown(&format!("noise\n{output}certificate 7\n"), 3);
        let why = "No such file (os error 2)".to_owned();
        assert_eq!(read, [Some(Ok(PEM.to_owned())), Some(Err(why)), None]);
        assert_eq!(shown("certificate 0\nMIIB\n", 1), [None]);
    }
}
