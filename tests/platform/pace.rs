//! How soon the probes judge the service: as `compose/node` has it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Usual,
}
