//! One row of a report, and its effect on the result of the run.

use crate::{
    cli::ReportArgs,
    exit::{EXIT_OK, EXIT_REFUSED},
    verdict::{Failure, Verdict},
};
use gitseal_terminal::{Style, Styled, style, styled};

/// Results that are counted but are not failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tolerances {
    pub unsigned: bool,
    pub other_kinds: bool,
    /// The boundary of a shallow clone.
    pub shallow: bool,
}

impl From<&ReportArgs> for Tolerances {
    fn from(arguments: &ReportArgs) -> Self {
        Self {
            unsigned: arguments.allow_unsigned,
            other_kinds: arguments.allow_other_kinds,
            shallow: arguments.allow_shallow,
        }
    }
}

/// The effect of one result on the result of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impact {
    None,
    Refused,
    Undecided,
}

impl Impact {
    pub(super) fn of(verdict: &Verdict, tolerances: Tolerances) -> Self {
        let is_tolerated = match verdict {
            Verdict::Unsigned(_) => tolerances.unsigned,
            Verdict::OtherFormat { .. } => tolerances.other_kinds,
            Verdict::Unreadable { boundary, .. } => boundary.is_some() && tolerances.shallow,
            _ => false,
        };
        match verdict.exit() {
            _ if is_tolerated => Self::None,
            EXIT_OK => Self::None,
            EXIT_REFUSED => Self::Refused,
            _ => Self::Undecided,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "good",
            Self::Refused => "refused",
            Self::Undecided => "undecided",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::None => Style::Good,
            Self::Refused => Style::Bad,
            Self::Undecided => Style::Warning,
        }
    }
}

/// One row of a report: an object, or a ref, tag name or log that fails.
#[derive(Debug, Clone, Copy)]
pub struct ResultLine<'a> {
    /// `commit`, `tag`, `reference`, `tag name` or `log`.
    pub kind: &'a str,
    pub name: &'a str,
    pub verdict: &'static str,
    pub impact: Impact,
    /// The reason, unless it is verified.
    pub failure: Option<&'a Failure>,
}

impl ResultLine<'_> {
    pub(super) fn text(&self) -> Styled {
        let Some(failure) = self.failure else {
            return Styled::default();
        };
        let step = failure.step.map(|step| format!(" at {step}"));
        styled!(
            "{} {} {}{}: {} [{}]\n",
            self.kind,
            self.name,
            style(self.impact.style(), self.verdict),
            step,
            failure.message,
            failure.code
        )
    }
}
