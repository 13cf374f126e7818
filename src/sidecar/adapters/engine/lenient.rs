//! Answers with a word that the library does not know: Podman says `stopped` and `initialized`, and a later engine may say
//! more. Such a word is put into the library's own, and the rest of the answer counts.

use bollard::errors::Error as ClientError;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum, HealthStatusEnum,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

type Answer<T> = Result<T, ClientError>;

/// What is told of one container.
pub(super) async fn container(
    call: impl Future<Output = Answer<ContainerInspectResponse>>,
) -> Answer<ContainerInspectResponse> {
    again(call.await, |found| {
        mend::<ContainerStateStatusEnum>(found.pointer_mut("/State/Status"));
        mend::<HealthStatusEnum>(found.pointer_mut("/State/Health/Status"));
    })
}

/// A list of containers.
pub(super) async fn list(call: impl Future<Output = Answer<Vec<ContainerSummary>>>) -> Answer<Vec<ContainerSummary>> {
    again(call.await, |found| {
        for one in found.as_array_mut().into_iter().flatten() {
            mend::<ContainerSummaryStateEnum>(one.get_mut("State"));
        }
    })
}

/// Reads an answer once more that was not understood.
fn again<T: DeserializeOwned>(answer: Answer<T>, mend: impl Fn(&mut Value)) -> Answer<T> {
    let Err(ClientError::JsonDataError { contents, .. }) = &answer else {
        return answer;
    };
    let Ok(mut found) = serde_json::from_str(contents) else {
        return answer;
    };
    mend(&mut found);
    serde_json::from_value(found).or(answer)
}

/// Replaces a word that is none of `T`.
fn mend<T: DeserializeOwned>(word: Option<&mut Value>) {
    let Some(word) = word.filter(|word| T::deserialize(&**word).is_err()) else {
        return;
    };
    let known = match word.as_str() {
        Some("stopped") => Value::from("exited"),
        Some("initialized" | "configured") => Value::from("created"),
        Some(_) | None => Value::from(""),
    };
    *word = if T::deserialize(&known).is_ok() {
        known
    } else {
        Value::from("")
    };
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;

    use super::*;

    fn not_understood<T>(contents: &str) -> Answer<T> {
        Err(ClientError::JsonDataError {
            message: "unknown variant".to_owned(),
            contents: contents.to_owned(),
            column: 1,
        })
    }

    async fn status(state: &str) -> Option<ContainerStateStatusEnum> {
        let text = format!(r#"{{"Id":"c1","State":{{"Status":"{state}","Pid":7,"Health":{{"Status":"stopped"}}}}}}"#);
        let found = container(async { not_understood(&text) }).await.unwrap();
        let ContainerState {
            pid, status, health, ..
        } = found.state.unwrap();
        assert_eq!((found.id.as_deref(), pid), (Some("c1"), Some(7)));
        assert!(health.is_some());
        status
    }

    #[tokio::test]
    async fn the_words_of_other_engines_are_read() {
        assert_eq!(status("stopped").await, Some(ContainerStateStatusEnum::EXITED));
        assert_eq!(status("initialized").await, Some(ContainerStateStatusEnum::CREATED));
        assert_eq!(status("hibernating").await, Some(ContainerStateStatusEnum::EMPTY));
        assert_eq!(status("running").await, Some(ContainerStateStatusEnum::RUNNING));
        let text = r#"[{"Id":"a","State":"stopped"},{"Id":"b","State":"running"},{"Id":"c","State":"odd"}]"#;
        let found = list(async { not_understood(text) }).await.unwrap();
        let states: Vec<_> = found.into_iter().map(|one| one.state.unwrap()).collect();
        assert_eq!(states[0], ContainerSummaryStateEnum::EXITED);
        assert_eq!(states[1], ContainerSummaryStateEnum::RUNNING);
        assert_eq!(states[2], ContainerSummaryStateEnum::EMPTY);
    }

    #[tokio::test]
    async fn what_makes_no_sense_stays_an_error() {
        for text in ["", "7", r#"{"State":[]}"#] {
            assert!(container(async { not_understood(text) }).await.is_err(), "{text:?}");
        }
    }
}
