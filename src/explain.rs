//! `gitseal explain`: the nine steps for one signature, what was compared in each,
//! and what a signature does not prove.

use serde_json::{Value, json};

use crate::{
    cli::ExplainArgs,
    context::{ContextError, open_context},
    exit::{EXIT_REFUSED, written},
    host::git::{
        Object,
        resolve::{MisnamedTag, ResolvedName},
    },
    names,
    recorder::StepRecorder,
    verdict::{
        Failure, MISNAMED_TAG, Verdict, VerifyRequest, exit_name, unverified_header, verify_object,
    },
};
use gitseal_evidence::{
    object::{self, ObjectKind},
    refusal::Step,
    rfc3339,
};
use gitseal_terminal::{self as terminal, Style, Styled, style, styled};

/// Returns each step, whether it passes (`None`: not reached), and what was compared
/// or why it fails.
fn steps(recorder: &StepRecorder, verdict: &Verdict) -> Vec<(Step, Option<bool>, String)> {
    Step::ALL
        .into_iter()
        .map(|step| {
            if let Some(detail) = recorder.passed(step) {
                return (step, Some(true), detail);
            }
            let is_undecided = matches!(verdict, Verdict::Undecided { .. });
            if let Some(refusal) = verdict.refusal()
                && refusal.step() == step
            {
                let passes = (!is_undecided).then_some(false);
                return (step, passes, refusal.message().to_owned());
            }
            let mut assumed = recorder.claims().into_iter().flat_map(|one| &one.assumed);
            match assumed.find(|(assumed, _)| is_undecided && *assumed == step) {
                Some((_, Ok(detail))) => (step, Some(true), detail.clone()),
                Some((_, Err(reason))) => (step, Some(false), reason.clone()),
                None => (step, None, "not reached".to_owned()),
            }
        })
        .collect()
}

/// Returns whether the result of this step depends on the missing evidence.
fn is_assumed(recorder: &StepRecorder, verdict: &Verdict, step: Step) -> bool {
    matches!(verdict, Verdict::Undecided { .. }) && recorder.passed(step).is_none()
}

/// The verification of one object.
pub struct Report<'a> {
    pub recorder: &'a StepRecorder,
    pub verdict: &'a Verdict,
    pub object: &'a Object,
    pub resolved: &'a ResolvedName,
    /// The tag object that the name leads to, if its ref has another name.
    pub misnamed: Option<&'a MisnamedTag>,
}

impl Report<'_> {
    /// Returns the report as JSON. Its keys are stable.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut report = signature_json(self.recorder, self.verdict, self.object);
        if let Some(report) = report.as_object_mut() {
            let resolved = std::slice::from_ref(self.resolved);
            report.insert("resolved".to_owned(), names::json(resolved));
            if let Some(misnamed) = self.misnamed {
                report.insert("verdict".to_owned(), json!(exit_name(EXIT_REFUSED)));
                let failure = Failure::new(MISNAMED_TAG, misnamed);
                report.insert("refusal".to_owned(), failure.json());
            }
        }
        report
    }
}

fn signature_json(recorder: &StepRecorder, verdict: &Verdict, object: &Object) -> Value {
    let steps: Vec<Value> = steps(recorder, verdict)
        .into_iter()
        .map(|(step, passes, detail)| {
            json!({
                "step": step.number(),
                "name": step.name(),
                "ok": passes,
                "assumed": passes.is_some() && is_assumed(recorder, verdict, step),
                "detail": detail,
            })
        })
        .collect();
    let failure = match verdict {
        Verdict::Unsigned(refusal) | Verdict::OtherFormat { refusal, .. } => Some(refusal.into()),
        _ => verdict.failure(),
    };
    let mut report = verdict.json(json!({
        "object": object.id.to_string(),
        "type": object.kind.name(),
        "tag": tag_name(object),
        "unverified_header": unverified_header(object),
        "steps": steps,
        "verdict": exit_name(verdict.exit()),
        "refusal": failure.as_ref().map(Failure::json),
    }));
    if let (None, Some(claims), Some(report)) = (
        verdict.verified(),
        recorder.claims(),
        report.as_object_mut(),
    ) {
        let identity = claims.identity.as_ref();
        report.insert(
            "certificate_sha1".to_owned(),
            json!(claims.certificate_sha1),
        );
        report.insert("identity".to_owned(), json!(identity.map(|(name, _)| name)));
        report.insert(
            "issuer".to_owned(),
            json!(identity.map(|(_, issuer)| issuer)),
        );
    }
    report
}

/// Returns the name inside a tag object.
#[must_use]
pub fn tag_name(object: &Object) -> Option<String> {
    match object.kind {
        ObjectKind::Commit => None,
        ObjectKind::Tag => object::tag_view(&object.raw).ok().map(|view| view.tag),
    }
}

/// Returns what each step checks.
fn description(step: Step) -> &'static str {
    match step {
        Step::Read => "well-formed object and signature",
        Step::Content => "content digest matches",
        Step::Signature => "signature verifies with the certificate's key",
        Step::Entry => "log entry matches the signature",
        Step::Inclusion => "inclusion proof verifies",
        Step::Time => "signing time is trusted",
        Step::Chain => "certificate chains to a trusted CA",
        Step::Sct => "SCT verifies",
        Step::Identity => "identity matches the expected one",
    }
}

/// Properties that no signature proves (`docs/trust.md`).
const NOT_PROVED: &[&str] = &[
    "the author or committer is the signer",
    "the commit belongs on this branch or in this repository",
    "its parents are signed",
    "the signer reviewed the change",
    "the account was not compromised",
    "the log shows everyone the same tree",
];

pub fn run(arguments: &ExplainArgs) -> u8 {
    explain(arguments).unwrap_or_else(|error| error.report())
}

fn explain(arguments: &ExplainArgs) -> Result<u8, ContextError> {
    let (workspace, settings) = open_context()?;
    let request = VerifyRequest::from_flags(&arguments.request, &settings)?;
    let repository = workspace.repository()?;
    let (object, resolved) = repository.commit_or_tag(&arguments.revision)?;
    let misnamed = repository.misnamed_tag(&resolved)?;
    let mut recorder = StepRecorder::enabled();
    let hash = repository.hash();
    let verdict = verify_object(&request, &object, hash, &mut recorder);
    let report = Report {
        recorder: &recorder,
        verdict: &verdict,
        object: &object,
        resolved: &resolved,
        misnamed: misnamed.as_ref(),
    };
    let result = if arguments.json {
        terminal::print_json(&report.json())
    } else {
        names::print(std::slice::from_ref(&resolved));
        let mut out = text(&recorder, &verdict, &object, request.trust_source());
        if let Some(header) = unverified_header(&object) {
            out.push(&styled!(
                "\nThe header {} is a signature over the other object format. It is not verified.\n",
                header
            ));
        }
        if let Some(misnamed) = &misnamed {
            out.push(&styled!(
                "\n{}: {} [{}]\n",
                style(Style::Bad, "verification failed"),
                misnamed.to_string(),
                MISNAMED_TAG
            ));
        }
        terminal::print(&out)
    };
    let exit = match misnamed {
        Some(_) => EXIT_REFUSED,
        None => verdict.exit(),
    };
    Ok(exit.max(written(result)))
}

fn text(recorder: &StepRecorder, verdict: &Verdict, object: &Object, trust: &str) -> Styled {
    let mut out = styled!(
        "{} {}\n{} {}\n\n",
        style(Style::Strong, object.kind.name()),
        object.id.to_string(),
        style(Style::Strong, "trusted root"),
        trust
    );
    for (step, passes, detail) in steps(recorder, verdict) {
        let (mark, tone) = match passes {
            Some(true) if is_assumed(recorder, verdict, step) => ("ok?", Style::Warning),
            Some(true) => ("ok", Style::Good),
            Some(false) => ("NO", Style::Bad),
            None => ("--", Style::Quiet),
        };
        out.push(&styled!(
            "{} {}  {}\n       {}\n",
            step.number(),
            style(tone, mark),
            description(step),
            style(Style::Quiet, &detail)
        ));
    }
    if let Verdict::Verified(verified) = verdict {
        out.push(&styled!(
            "\n{}: signed by {} (issuer {}) at {}\n",
            style(Style::Good, "verified"),
            Styled::name(verified.identity.san.value()),
            Styled::name(&verified.identity.issuer),
            rfc3339(verified.time)
        ));
        if !verified.identity_matched {
            out.push(&styled!(
                "no expected identity set: signatures by anyone are counted as verified\n"
            ));
        }
    }
    if let Some(refusal) = verdict.refusal() {
        let word = match verdict {
            Verdict::Undecided { .. } => style(Style::Warning, "undecided"),
            _ => style(Style::Bad, "verification failed"),
        };
        out.push(&styled!(
            "\n{} at {}: {} [{}]\n",
            word,
            refusal.step().to_string(),
            refusal.message().to_owned(),
            refusal.code()
        ));
    }
    if let Verdict::Undecided { lookup, .. } = verdict {
        if let Some(error) = lookup {
            out.push(&styled!("cannot query the log: {}\n", error.to_string()));
        }
        out.push(&styled!("steps 7 to 9 assume that the signature was made at the start of the certificate's validity; only the log can confirm it\n"));
    }
    if !matches!(verdict, Verdict::Unsigned(_)) {
        let title = style(Style::Strong, "A valid signature does not prove that");
        out.push(&styled!("\n{}\n", title));
        for line in NOT_PROVED {
            out.push(&styled!("- {}\n", line));
        }
    }
    out
}
