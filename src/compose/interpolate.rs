//! `$VAR`, `${VAR:-default}` and their kin, filled in as Compose fills them in.

use super::fault::{Fault, Faults};
use super::yaml::{Node, Value};

/// Where the value of a variable comes from.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A text without variables, and the names that had no value and became empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    pub(super) unset: Vec<String>,
}

/// Fills in one text; the error is a sentence for the user.
pub(super) fn fill(template: &str, lookup: &Lookup<'_>) -> Result<Filled, String> {
    let mut filled = Filled::default();
    let mut rest = template;
    while let Some(start) = rest.find('$') {
        filled.text.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        if let Some(next) = after.strip_prefix('$') {
            filled.text.push('$');
            rest = next;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = closing_brace(inner).ok_or_else(|| invalid(template))?;
            braced(&inner[..end], template, lookup, &mut filled)?;
            rest = &inner[end + 1..];
        } else {
            // Compose takes a dollar sign that nothing follows as it stands.
            let length = name_length(after);
            match length {
                0 => filled.text.push('$'),
                _ => plain(&after[..length], lookup, &mut filled),
            }
            rest = &after[length..];
        }
    }
    filled.text.push_str(rest);
    Ok(filled)
}

fn invalid(template: &str) -> String {
    format!("{template:?} is no valid template: write a literal dollar sign as $$")
}

/// The index of the brace that closes an opened `${`. Compose counts every brace within, and passes over what follows an opening
/// one; where the count never ends, the last brace of the line closes.
fn closing_brace(inner: &str) -> Option<usize> {
    let mut depth = 1_usize;
    let mut bytes = inner.bytes().enumerate().skip(1);
    if inner.starts_with('}') {
        return None;
    }
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'}' if depth == 1 => return Some(index),
            b'}' => depth -= 1,
            b'{' => {
                depth += 1;
                bytes.next();
            }
            _ => {}
        }
    }
    inner.lines().next()?.rfind('}')
}

fn name_length(text: &str) -> usize {
    let starts_well = text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    if starts_well { end.unwrap_or(text.len()) } else { 0 }
}

fn plain(name: &str, lookup: &Lookup<'_>, filled: &mut Filled) {
    match lookup(name) {
        Some(value) => filled.text.push_str(&value),
        None => filled.unset.push(name.to_owned()),
    }
}

fn braced(inner: &str, template: &str, lookup: &Lookup<'_>, filled: &mut Filled) -> Result<(), String> {
    let length = name_length(inner);
    let (name, rest) = inner.split_at(length);
    if length == 0 {
        return Err(invalid(template));
    }
    if rest.is_empty() {
        plain(name, lookup, filled);
        return Ok(());
    }
    let (empty_counts_as_unset, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let value = lookup(name).filter(|value| !(empty_counts_as_unset && value.is_empty()));
    let argument = rest.get(1..).unwrap_or_default();
    match (rest.as_bytes().first(), value) {
        (Some(b'-' | b'?'), Some(value)) => filled.text.push_str(&value),
        (Some(b'-'), None) | (Some(b'+'), Some(_)) => {
            let nested = fill(argument, lookup)?;
            filled.text.push_str(&nested.text);
            filled.unset.extend(nested.unset);
        }
        (Some(b'+'), None) => {}
        (Some(b'?'), None) => return Err(required(name, &fill(argument, lookup)?.text)),
        (Some(_) | None, _) => return Err(invalid(template)),
    }
    Ok(())
}

fn required(name: &str, message: &str) -> String {
    if message.is_empty() {
        format!("the variable {name} is required and has no value")
    } else {
        format!("the variable {name} is required and has no value: {message}")
    }
}

/// What came up while a tree was filled in; whether it matters depends on whose key it is.
#[derive(Clone, Debug)]
pub(super) struct Remark {
    pub(super) path: Vec<String>,
    pub(super) kind: RemarkKind,
}

impl Remark {
    /// The same for a service that extends the one it is about.
    pub(super) fn of(&self, base: &str, service: &str) -> Option<Self> {
        let [services, name, rest @ ..] = self.path.as_slice() else {
            return None;
        };
        if services != "services" || name != base {
            return None;
        }
        let path = [services.clone(), service.to_owned()].into_iter().chain(rest.to_vec());
        Some(Self {
            path: path.collect(),
            kind: self.kind.clone(),
        })
    }
}

#[derive(Clone, Debug)]
pub(super) enum RemarkKind {
    Fault(Fault),
    /// A variable without a value, and the text of the warning.
    Unset(Fault),
}

/// Fills in every text of the tree; keys are left as they are, as Compose does.
pub(super) fn fill_tree(node: &mut Node, lookup: &Lookup<'_>, faults: &Faults, remarks: &mut Vec<Remark>) {
    walk(node, &mut Vec::new(), lookup, faults, remarks);
}

fn walk(node: &mut Node, path: &mut Vec<String>, lookup: &Lookup<'_>, faults: &Faults, remarks: &mut Vec<Remark>) {
    let mark = node.mark;
    match &mut node.value {
        Value::Text(text) if text.contains('$') => {
            let key = path.join(".");
            let mut remark = |kind| {
                remarks.push(Remark {
                    path: path.clone(),
                    kind,
                });
            };
            match fill(text, lookup) {
                Ok(filled) => {
                    for name in filled.unset {
                        let message = format!("the variable {name} has no value and becomes empty");
                        let remedy = format!("set it in .env, or write ${{{name}:-default}}");
                        remark(RemarkKind::Unset(faults.make(mark, &key, message, remedy)));
                    }
                    *text = filled.text;
                }
                Err(message) => remark(RemarkKind::Fault(faults.make(mark, &key, message, String::new()))),
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(index.to_string());
                walk(item, path, lookup, faults, remarks);
                path.pop();
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                walk(&mut entry.node, path, lookup, faults, remarks);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".into()),
            "EMPTY" => Some(String::new()),
            "_n1" => Some("under".into()),
            _ => None,
        }
    }

    #[test]
    fn every_form_is_filled_in() {
        for (template, text) in [
            ("no variable", "no variable"),
            ("$SET", "value"),
            ("a${SET}b", "avalueb"),
            ("$SET-$_n1.", "value-under."),
            ("$$SET", "$SET"),
            ("$$$SET", "$value"),
            ("${NONE}", ""),
            ("${NONE:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${SET:-d}", "value"),
            ("${NONE-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NONE:-}", ""),
            ("${SET:+other}", "other"),
            ("${EMPTY:+other}", ""),
            ("${EMPTY+other}", "other"),
            ("${NONE+other}", ""),
            ("${SET:?why}", "value"),
            ("${EMPTY?why}", ""),
            ("${NONE:-${SET}}", "value"),
            ("${NONE:-a${NONE:-b${SET}}c}d", "abvaluecd"),
            ("${NONE:-${ALSO:-x}}:${SET}", "x:value"),
            ("${NONE:-127.0.0.1:13306}:3306", "127.0.0.1:13306:3306"),
            ("${NONE:-fd4d::/64}", "fd4d::/64"),
            ("${NONE:-a-b}", "a-b"),
            ("{not} a template", "{not} a template"),
            ("$", "$"),
            ("a $ b", "a $ b"),
            ("^x$", "^x$"),
            ("$1 $.", "$1 $."),
            ("${NONE:-$}", "$"),
            ("${NONE:-$2a$14$1abc}", "$2a$14$1abc"),
            ("awk '{print $2}'", "awk '{print $2}'"),
            ("${NONE:-{\"a\": 1}}x", "{\"a\": 1}x"),
            ("${SET:-{\"a\": 1}}x", "valuex"),
            ("${NONE:-{}}", "{}"),
            ("${NONE:-a{b}", "a{b"),
        ] {
            assert_eq!(fill(template, &lookup).unwrap().text, text, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_said() {
        for template in ["${SET", "${}", "${1}", "${SET!x}", "${", "${NONE:-${1}}"] {
            assert!(fill(template, &lookup).unwrap_err().contains("$$"), "{template}");
        }
        for (template, message) in [
            (
                "${NONE:?set it}",
                "the variable NONE is required and has no value: set it",
            ),
            ("${NONE?}", "the variable NONE is required and has no value"),
            (
                "${EMPTY:?for ${SET}}",
                "the variable EMPTY is required and has no value: for value",
            ),
        ] {
            assert_eq!(fill(template, &lookup).unwrap_err(), message);
        }
    }

    #[test]
    fn variables_without_a_value_are_named_unless_a_default_was_meant() {
        assert_eq!(fill("$A ${B} ${C:-}", &lookup).unwrap().unset, ["A", "B"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[${}:?+a-cA-Cé\"'\\\\\\[\\],#=&*!|<> \\t\\n0-9.-]{0,60}") {
            let _ = fill(&text, &lookup);
            let _ = super::super::dotenv::parse(&text, &Default::default(), &lookup);
            let _ = super::super::words::split(&text);
            let _ = super::super::scalar::duration(&text);
            let _ = super::super::scalar::bytes(&text);
            let _ = super::super::yaml::parse(&text, 0);
            let text = super::super::testing::file("", &format!("user: {text:?}\nvolumes: [{text:?}]\nports: [{text:?}]"), "");
            let _ = super::super::testing::said(&text);
        }
    }
}
