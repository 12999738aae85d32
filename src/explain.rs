//! `gitseal explain`: the nine steps for one signature, what was compared in
//! each, and what a signature like this does not prove.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::host::git::Object;
use crate::{
    cli,
    context::{ContextError, VerifyRequest},
    verify::{Verdict, judge_object, tag_name},
};
use gitseal_evidence::{
    identity::{self, ExpectedIdentity},
    refusal::Step,
    trusted_root::TrustedRoot,
    verify::{self, NoopObserver, Refusal, SignatureInput, StepObserver, Verified},
};
use gitseal_terminal::{self as terminal, Escape, Tone, escape, paint};

/// Writes down which steps passed, and what was compared.
#[derive(Debug, Default)]
pub struct Recorder {
    listens: bool,
    passed: Vec<(Step, String)>,
    looked_up: bool,
    /// What the certificate says of itself, verified or not.
    claimed: Option<Claimed>,
}

/// What can be said of a signature without evidence.
#[derive(Debug)]
struct Claimed {
    certificate_sha1: String,
    identity: Option<(String, String)>,
    /// Steps 7 to 9 at an assumed time.
    assumed: Vec<(Step, bool, String)>,
}

impl StepObserver for Recorder {
    fn passed(&mut self, step: Step, detail: &dyn Fn() -> String) {
        if self.listens {
            self.passed.push((step, detail()));
        }
    }
}

impl Recorder {
    /// One that writes nothing down.
    #[must_use]
    pub fn deaf() -> Self {
        Self::default()
    }

    /// One that does.
    #[must_use]
    pub fn listening() -> Self {
        Self {
            listens: true,
            ..Self::default()
        }
    }

    /// The steps begin again, with entries that were looked up.
    pub fn restart(&mut self) {
        self.passed.clear();
        self.looked_up = true;
    }

    /// Writes down what the signature itself says, for the steps that will not be
    /// reached.
    pub fn about(
        &mut self,
        subject: &SignatureInput<'_>,
        trust: &TrustedRoot,
        wanted: &ExpectedIdentity,
    ) {
        if !self.listens {
            return;
        }
        let Ok(read) = verify::read(subject, &mut NoopObserver) else {
            return;
        };
        let message = read.message();
        let mut assumed = Vec::new();
        let trial = verify::verify_at_assumed_time(message, trust);
        let at = verify::rfc3339(trial.at);
        match trial.chain {
            Ok(issuer) => assumed.push((
                Step::Chain,
                true,
                format!("issued by {issuer}, assuming it was used at {at}"),
            )),
            Err(refusal) => assumed.push((Step::Chain, false, refusal.to_string())),
        }
        match trial.sct {
            Some(Ok(time)) => assumed.push((
                Step::Sct,
                true,
                format!("SCT of {} by a trusted CT log", verify::rfc3339(time)),
            )),
            Some(Err(refusal)) => assumed.push((Step::Sct, false, refusal.to_string())),
            None => {}
        }
        let identity = message.leaf.identity();
        match &identity {
            Ok(found) => {
                let (ok, detail) = match identity::check(&message.leaf, found, wanted) {
                    Ok(true) => (true, "as asked for, if the rest holds".to_owned()),
                    Ok(false) => (true, "nobody asked who may sign".to_owned()),
                    Err(refusal) => (false, refusal.to_string()),
                };
                let name = found.san.value();
                let issuer = &found.issuer;
                assumed.push((
                    Step::Identity,
                    ok,
                    format!("{name} vouched for by {issuer}: {detail}"),
                ));
            }
            Err(refusal) => assumed.push((Step::Identity, false, refusal.to_string())),
        }
        self.claimed = Some(Claimed {
            certificate_sha1: message.leaf.sha1_hex(),
            identity: identity
                .ok()
                .map(|identity| (identity.san.value().to_owned(), identity.issuer)),
            assumed,
        });
    }

    /// The nine steps: whether each holds (`None`: not reached), and what was
    /// compared or why not.
    fn steps(&self, verdict: &Verdict) -> Vec<(Step, Option<bool>, String)> {
        let refusal = refusal_of(verdict);
        let undecided = matches!(verdict, Verdict::Undecided { .. });
        Step::ALL
            .into_iter()
            .map(|step| {
                if let Some((_, detail)) = self.passed.iter().find(|(passed, _)| *passed == step) {
                    let detail = if step == Step::Entry && self.looked_up {
                        format!("{detail}; the entry was looked up in the log")
                    } else {
                        detail.clone()
                    };
                    return (step, Some(true), detail);
                }
                if let Some(refusal) = refusal
                    && refusal.step == step
                {
                    let ok = (!undecided).then_some(false);
                    return (step, ok, refusal.reason.to_string());
                }
                let assumed = self
                    .claimed
                    .iter()
                    .flat_map(|claimed| &claimed.assumed)
                    .find(|(assumed, _, _)| undecided && *assumed == step);
                match assumed {
                    Some((_, ok, detail)) => (step, Some(*ok), detail.clone()),
                    None => (step, None, "not reached".to_owned()),
                }
            })
            .collect()
    }

    /// Whether what is said of this step holds only if the evidence that is missing
    /// is as assumed.
    fn is_assumed(&self, verdict: &Verdict, step: Step) -> bool {
        matches!(verdict, Verdict::Undecided { .. })
            && !self.passed.iter().any(|(passed, _)| *passed == step)
    }

    /// The report as JSON. Its members are a contract.
    #[must_use]
    pub fn report(&self, verdict: &Verdict, object: &Object) -> Value {
        let verified = verified_of(verdict);
        let steps: Vec<Value> = self
            .steps(verdict)
            .into_iter()
            .map(|(step, ok, detail)| {
                json!({
                    "step": step.number(),
                    "name": step.name(),
                    "ok": ok,
                    "assumed": ok.is_some() && self.is_assumed(verdict, step),
                    "detail": detail,
                })
            })
            .collect();
        let claimed = self.claimed.as_ref();
        let claimed_identity = claimed.and_then(|claimed| claimed.identity.as_ref());
        let refusal = match (verdict, refusal_of(verdict)) {
            (
                Verdict::Undecided {
                    lookup: Some(error),
                    ..
                },
                _,
            ) => json!({
                "step": Step::Entry.number(),
                "code": "lookup-failed",
                "message": error.to_string(),
            }),
            (_, Some(refusal)) => json!({
                "step": refusal.step.number(),
                "code": refusal.code(),
                "message": refusal.reason.to_string(),
            }),
            (_, None) => Value::Null,
        };
        json!({
            "object": object.id,
            "type": object.kind.name(),
            "tag": tag_name(object),
            "steps": steps,
            "verdict": match verdict {
                Verdict::Good(_) => "good",
                Verdict::NotWanted { .. } | Verdict::Refused(_) => "refused",
                Verdict::Undecided { .. } => "undecided",
            },
            "refusal": refusal,
            "named": verified.is_some_and(|verified| verified.named),
            "identity": verified
                .map(|verified| verified.identity.san.value())
                .or(claimed_identity.map(|(name, _)| name.as_str())),
            "issuer": verified
                .map(|verified| verified.identity.issuer.as_str())
                .or(claimed_identity.map(|(_, issuer)| issuer.as_str())),
            "time": verified.map(|verified| verify::rfc3339(verified.time)),
            "time_source": verified.map(|verified| verified.time_source.words()),
            "log_index": verified.and_then(|verified| verified.log_index),
            "certificate_sha1": verified
                .map(|verified| verified.certificate.sha1_hex())
                .or(claimed.map(|claimed| claimed.certificate_sha1.clone())),
        })
    }
}

fn refusal_of(verdict: &Verdict) -> Option<&Refusal> {
    match verdict {
        Verdict::Good(_) => None,
        Verdict::NotWanted { refusal, .. }
        | Verdict::Refused(refusal)
        | Verdict::Undecided { refusal, .. } => Some(refusal),
    }
}

fn verified_of(verdict: &Verdict) -> Option<&Verified> {
    match verdict {
        Verdict::Good(verified) | Verdict::NotWanted { verified, .. } => Some(verified),
        Verdict::Refused(_) | Verdict::Undecided { .. } => None,
    }
}

/// What each step is about, for people.
fn question_of(step: Step) -> &'static str {
    match step {
        Step::Read => "the object and its signature can be read in one way only",
        Step::Content => "the signature is about this content",
        Step::Signature => "the certificate's key made the signature",
        Step::Entry => "the log entry is about this signature",
        Step::Inclusion => "a trusted log holds the entry",
        Step::Time => "somebody trusted says when",
        Step::Chain => "a trusted authority issued the certificate, and it was valid then",
        Step::Sct => "a trusted CT log saw the certificate",
        Step::Identity => "whose signature it is, and whether that was asked for",
    }
}

/// What no signature proves (`docs/trust.md`).
const NOT_PROVED: &[&str] = &[
    "that author and committer, which anybody can write into a commit, are the signer",
    "that the commit belongs to this branch or this repository: it can be pushed elsewhere as it is",
    "that its ancestors, or a tag that is signed around it, were signed by anybody",
    "that the signer meant to sign it, or that the identity provider's account was not taken over",
    "that the log shows everybody the same tree",
];

/// `gitseal explain`.
pub fn run(arguments: &cli::ExplainArgs) -> u8 {
    explain(arguments).unwrap_or_else(|error| error.report())
}

fn explain(arguments: &cli::ExplainArgs) -> Result<u8, ContextError> {
    let request = VerifyRequest::resolve(&arguments.identity, &arguments.trust)?;
    let object = request
        .workspace
        .repository()?
        .commit_or_tag(&arguments.revision)?;
    let mut recorder = Recorder::listening();
    let verdict = judge_object(&request, &object, arguments.trust.offline, &mut recorder)?;
    let written = if arguments.json {
        terminal::print_json(&recorder.report(&verdict, &object))
    } else {
        terminal::print(&report(&recorder, &verdict, &object, &request.trust.source))
    };
    Ok(verdict.exit().max(crate::exit::written(written)))
}

/// The report for people.
fn report(recorder: &Recorder, verdict: &Verdict, object: &Object, trust: &str) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} {}\n{} {}\n",
        paint(Tone::Strong, object.kind.name()),
        object.id,
        paint(Tone::Strong, "trust"),
        escape(trust, Escape::Prose)
    );
    for (step, ok, detail) in recorder.steps(verdict) {
        let (mark, tone) = match ok {
            Some(true) if recorder.is_assumed(verdict, step) => ("ok?", Tone::Warning),
            Some(true) => ("ok", Tone::Good),
            Some(false) => ("NO", Tone::Bad),
            None => ("--", Tone::Quiet),
        };
        let _ = writeln!(
            out,
            "{} {}  {}\n       {}",
            step.number(),
            paint(tone, mark),
            question_of(step),
            paint(Tone::Quiet, &escape(&detail, Escape::Prose))
        );
    }
    out.push('\n');
    match verdict {
        Verdict::Good(verified) => {
            let _ = writeln!(
                out,
                "{}: signed by {} ({}) at {}",
                paint(Tone::Good, "good"),
                escape(verified.identity.san.value(), Escape::Ascii),
                escape(&verified.identity.issuer, Escape::Ascii),
                verify::rfc3339(verified.time)
            );
            if !verified.named {
                out.push_str("nobody said who may sign, so anybody could have\n");
            }
        }
        Verdict::NotWanted { refusal, .. } | Verdict::Refused(refusal) => {
            let _ = writeln!(
                out,
                "{} at {}: {} [{}]",
                paint(Tone::Bad, "refused"),
                refusal.step,
                escape(&refusal.reason.to_string(), Escape::Prose),
                refusal.code()
            );
        }
        Verdict::Undecided { refusal, lookup } => {
            let _ = writeln!(
                out,
                "{} at {}: {} [{}]",
                paint(Tone::Warning, "undecided"),
                refusal.step,
                escape(&refusal.reason.to_string(), Escape::Prose),
                refusal.code()
            );
            if let Some(error) = lookup {
                let _ = writeln!(
                    out,
                    "the log could not be asked: {}",
                    escape(&error.to_string(), Escape::Prose)
                );
            }
            out.push_str("steps 7 to 9 are shown as they would be at the certificate's begin; only the log can say whether it was used then\n");
        }
    }
    let _ = writeln!(
        out,
        "\n{}",
        paint(Tone::Strong, "A good signature does not prove")
    );
    for line in NOT_PROVED {
        let _ = writeln!(out, "- {line}");
    }
    out
}
