//! What a verb ends with, and the one place that writes it: words for people, or with `--json` one object on stdout, whether
//! it went well or not. A verb that returns its answer can't forget either.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use super::page::{self, Page};
use super::text::{print, print_as_it_is, print_json, say};
use leasehold_api::Outcome;

/// A misused command line, as clap has it.
pub(super) const USAGE: u8 = 2;

/// What a verb ends with.
#[derive(Debug)]
pub(super) enum Answer {
    /// To be written.
    Told(Told),
    /// Written already, while it went on.
    Written(ExitCode),
}

/// An answer for people and for machines.
#[derive(Debug)]
pub(super) struct Told {
    code: u8,
    /// For people, to stdout.
    text: String,
    /// The same for a terminal with colours; none where it has none.
    painted: Option<String>,
    /// For people, to stderr.
    complaint: String,
    document: Document,
}

/// What machines get, on stdout.
#[derive(Debug)]
enum Document {
    /// As `/v1` has it.
    Read(String),
    /// As `/v1` answers an act.
    Act(Act),
}

#[derive(Debug, Serialize)]
struct Act {
    ok: bool,
    /// The word of `/v1`, where that refused it.
    #[serde(rename = "code", skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    message: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Answer {
    /// It is done, or was before.
    pub(super) fn good(message: impl Into<String>) -> Self {
        let message = message.into();
        let text = message.clone();
        Self::act(true, message, text, String::new())
    }

    /// It is not done: the sentence says why.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        let message = message.into();
        let complaint = format!("leasehold: {message}");
        Self::act(false, message, String::new(), complaint)
    }

    fn act(ok: bool, message: String, text: String, complaint: String) -> Self {
        let more = Map::new();
        Self::Told(Told {
            code: u8::from(!ok),
            text,
            painted: None,
            complaint,
            document: Document::Act(Act {
                ok,
                refusal: None,
                message,
                more,
            }),
        })
    }

    /// Something to read.
    pub(super) fn document(document: &impl Serialize, text: String) -> Result<Self> {
        Ok(Self::Told(Told {
            code: 0,
            text,
            painted: None,
            complaint: String::new(),
            document: Document::Read(serde_json::to_string_pretty(document)?),
        }))
    }

    /// The same, laid out.
    pub(super) fn page(document: &impl Serialize, page: &Page) -> Result<Self> {
        let mut answer = Self::document(document, page.text())?;
        if let Self::Told(told) = &mut answer {
            told.painted = Some(page.painted());
        }
        Ok(answer)
    }

    /// Whether what was asked for is done.
    pub(super) fn is_good(&self) -> bool {
        match self {
            Self::Told(told) => told.code == 0,
            Self::Written(code) => *code == ExitCode::SUCCESS,
        }
    }

    /// What people read on stdout.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Told(told) => &told.text,
            Self::Written(_) => "",
        }
    }

    /// What machines read on stdout.
    #[cfg(test)]
    pub(super) fn machine(&self) -> String {
        match self {
            Self::Told(told) => told.machine(),
            Self::Written(_) => String::new(),
        }
    }

    /// With another exit code.
    pub(super) fn code(mut self, code: u8) -> Self {
        if let Self::Told(told) = &mut self {
            told.code = code;
        }
        self
    }

    /// With one more field of an act for machines.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Self::Told(told) = &mut self
            && let Document::Act(act) = &mut told.document
        {
            act.more.insert(name.to_owned(), value.into());
        }
        self
    }

    /// With the word of a refusal for machines.
    pub(super) fn refused_as(mut self, word: Option<&str>) -> Self {
        if let Self::Told(told) = &mut self
            && let Document::Act(act) = &mut told.document
        {
            act.refusal = word.map(str::to_owned);
        }
        self
    }

    /// With something for people to read before it.
    pub(super) fn below(mut self, words: &str) -> Self {
        if let Self::Told(told) = &mut self {
            told.text = [words, &told.text].join("\n").trim_end_matches('\n').to_owned();
            told.painted = None;
        }
        self
    }

    /// With other words for people, to stdout and to stderr.
    pub(super) fn instead(mut self, text: String, complaint: String) -> Self {
        if let Self::Told(told) = &mut self {
            (told.text, told.complaint) = (text, complaint);
            told.painted = None;
        }
        self
    }

    /// Writes it; with `json` nothing but the object.
    pub(super) fn write(self, json: bool) -> ExitCode {
        let told = match self {
            Self::Told(told) => told,
            Self::Written(code) => return code,
        };
        if json {
            print_json(&told.machine());
        } else if let Some(painted) = told.painted.as_ref().filter(|_| page::has_colours()) {
            // Made plain piece by piece.
            print_as_it_is(painted);
        } else {
            for (words, write) in [(&told.text, print as fn(&str)), (&told.complaint, say)] {
                if !words.is_empty() {
                    write(words);
                }
            }
        }
        told.code.into()
    }
}

impl Told {
    fn machine(&self) -> String {
        match &self.document {
            Document::Read(text) => text.clone(),
            // Plain data: serialising it cannot fail.
            Document::Act(act) => serde_json::to_string_pretty(act).unwrap_or_default(),
        }
    }
}

impl From<&Outcome> for Answer {
    fn from(outcome: &Outcome) -> Self {
        match outcome.ok {
            true => Self::good(&outcome.message),
            false => Self::bad(&outcome.message).refused_as(outcome.code.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: Answer) -> Told {
        match answer {
            Answer::Told(told) => told,
            Answer::Written(_) => panic!("nothing to be written"),
        }
    }

    #[test]
    fn both_ways_say_the_same() {
        let good = told(Answer::good("done").with("id", 7).below("a table"));
        assert_eq!((good.code, good.text.as_str()), (0, "a table\ndone"));
        let wanted = "{\n  \"ok\": true,\n  \"message\": \"done\",\n  \"id\": 7\n}";
        assert_eq!(good.machine(), wanted);
        let refused = Outcome {
            ok: false,
            code: Some("no_standby".to_owned()),
            message: "no standby is ready".to_owned(),
            wish: None,
        };
        let wanted = "{\n  \"ok\": false,\n  \"code\": \"no_standby\",\n  \"message\": \"no standby is ready\"\n}";
        assert_eq!(told(Answer::from(&refused)).machine(), wanted);
        let bad = told(Answer::bad("no disk").below("a table").code(3));
        assert_eq!((bad.code, bad.text.as_str()), (3, "a table"));
        assert_eq!(bad.complaint, "leasehold: no disk");
        assert_eq!(bad.machine(), "{\n  \"ok\": false,\n  \"message\": \"no disk\"\n}");
    }
}
