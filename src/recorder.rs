//! Records which of the nine steps pass, and what an unverified signature claims.

use gitseal_evidence::{
    refusal::Step,
    rfc3339,
    verify::{self, NoopObserver, SignatureInput, StepObserver, VerifyInputs},
};

/// An observer that records the details of each step that passes.
#[derive(Debug, Default)]
pub struct StepRecorder {
    is_enabled: bool,
    passed: Vec<(Step, String)>,
    /// Whether the log entry was found online.
    is_looked_up: bool,
    claims: Option<UnverifiedClaims>,
}

/// The contents of a signature that need no evidence.
#[derive(Debug)]
pub struct UnverifiedClaims {
    pub certificate_sha1: String,
    /// The identity and the issuer that the certificate names.
    pub identity: Option<(String, String)>,
    /// Results of steps 7 to 9 at an assumed time.
    pub assumed: Vec<(Step, Result<String, String>)>,
}

impl StepObserver for StepRecorder {
    fn passed(&mut self, step: Step, detail: &dyn Fn() -> String) {
        if self.is_enabled {
            self.passed.push((step, detail()));
        }
    }
}

impl StepRecorder {
    /// Creates a recorder that ignores every step.
    #[must_use]
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Creates a recorder that stores every step.
    #[must_use]
    pub fn enabled() -> Self {
        Self {
            is_enabled: true,
            ..Self::default()
        }
    }

    /// Discards the steps: verification starts again with entries found online.
    pub fn restart(&mut self) {
        self.passed.clear();
        self.is_looked_up = true;
    }

    /// Returns what was compared in a step that passed.
    #[must_use]
    pub fn passed(&self, step: Step) -> Option<String> {
        let (_, detail) = self.passed.iter().find(|(passed, _)| *passed == step)?;
        Some(if step == Step::Entry && self.is_looked_up {
            format!("{detail}; the entry was found online")
        } else {
            detail.clone()
        })
    }

    /// Returns the contents of the signature that were recorded before verification.
    #[must_use]
    pub fn claims(&self) -> Option<&UnverifiedClaims> {
        self.claims.as_ref()
    }

    /// Records what the signature itself contains, for steps that are not reached.
    pub fn record_unverified(&mut self, input: &SignatureInput<'_>, inputs: &VerifyInputs<'_>) {
        if !self.is_enabled {
            return;
        }
        let Ok(parsed) = verify::read(input, &mut NoopObserver) else {
            return;
        };
        let message = parsed.message();
        let trial = verify::verify_at_assumed_time(message, inputs.trust);
        let at = rfc3339(trial.at);
        let chain = trial
            .chain
            .map(|issuer| format!("issued by {issuer}, assuming it was used at {at}"));
        let mut assumed = vec![(Step::Chain, chain.map_err(|refusal| refusal.to_string()))];
        if let Some(sct) = trial.sct {
            let sct = sct.map(|time| format!("SCT of {} by a trusted CT log", rfc3339(time)));
            assumed.push((Step::Sct, sct.map_err(|refusal| refusal.to_string())));
        }
        let identity = message.leaf.identity();
        let matched = match &identity {
            Err(refusal) => Err(refusal.to_string()),
            Ok(found) => {
                let name = format!("{} (issuer {})", found.san.value(), found.issuer);
                match parsed.check_identity(found, inputs) {
                    Ok(true) => Ok(format!("{name}: matches the expected identity")),
                    Ok(false) => Ok(format!("{name}: no expected identity set")),
                    Err(refusal) => Err(format!("{name}: {refusal}")),
                }
            }
        };
        assumed.push((Step::Identity, matched));
        self.claims = Some(UnverifiedClaims {
            certificate_sha1: message.leaf.sha1_hex(),
            identity: identity
                .ok()
                .map(|identity| (identity.san.value().to_owned(), identity.issuer)),
            assumed,
        });
    }
}
