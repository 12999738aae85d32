//! Evaluates the update of a ref, by its pusher, and the tag object that it leads
//! to.
//!
//! *Not checked here:* whether the commit of a tag is a state (`steps.rs`).

use super::{ObjectContext, add, signature::validity_mismatch};
use crate::{
    facts::{Action, Finding, Pusher, RefUpdate, SignatureResult, Tag, UpdateKind, codes},
    model::{Policy, Principals, Rule, SignerSet},
    shell,
};
use gitseal_evidence::UnixTime;

const TAGS: &[u8] = b"refs/tags/";
const APPROVALS: &[u8] = b"refs/approvals/";

impl Policy {
    /// Evaluates an update of a ref. The commits that come with it are evaluated on
    /// their own.
    #[must_use]
    pub fn evaluate_update(&self, update: &RefUpdate<'_>, pusher: &Pusher<'_>) -> Vec<Finding> {
        let is_tag = update.name.starts_with(TAGS);
        let action = match update.kind {
            UpdateKind::Create => Action::Create,
            UpdateKind::Update { fast_forward: true } if !is_tag => Action::Update,
            UpdateKind::Update { .. } => Action::Rewrite,
            UpdateKind::Delete => Action::Delete,
        };
        let mut findings = Vec::new();
        let matching = self.matching_rules(action, &[], update.name, false);
        if matching.is_empty() {
            add(&mut findings, self.no_rule(action, update.name));
        }
        for (rule, who) in matching {
            self.evaluate_pusher(rule, who, action, pusher, &mut findings);
        }
        if action != Action::Delete && (is_tag || update.tag.is_some()) {
            let of_tag = match &update.tag {
                Some(tag) => self.evaluate_tag(tag, update.name, pusher.now),
                None => self.lightweight(update),
            };
            for finding in of_tag {
                add(&mut findings, finding);
            }
        }
        let mut trials = Vec::new();
        for (rule, who) in self.matching_rules(action, &[], update.name, true) {
            self.evaluate_pusher(rule, who, action, pusher, &mut trials);
        }
        findings.extend(trials.into_iter().map(Finding::on_trial));
        findings
    }

    // -------------------------------------------------------------------- tags

    /// Evaluates an annotated tag under a ref. `at`: the time at which the age of its
    /// signature counts; `None`: signatures do not age.
    #[must_use]
    pub fn evaluate_tag(
        &self,
        tag: &Tag<'_>,
        ref_name: &[u8],
        at: Option<UnixTime>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !is_named(tag.name, ref_name) {
            add(&mut findings, self.other_name(tag, ref_name));
        }
        if tag.target_type != "commit" {
            let kind = tag.target_type;
            let message = format!("the tag points to a {kind}; only commits are accepted");
            add(
                &mut findings,
                Finding::new(self.mode, codes::TAG_TARGET, message),
            );
        }
        let context = ObjectContext {
            signature: tag.signature,
            matched: self.matched_signers(tag.signature, at),
            commit: None,
            sign_command: sign_command(tag.name, &format!("{}^{{}}", tag.id)).unwrap_or_default(),
        };
        self.evaluate(Action::Tag, &[], ref_name, &context, &mut findings);
        self.tag_thresholds(tag, ref_name, at, false, &mut findings);
        self.evaluate_trials(Action::Tag, &[], ref_name, &context, &mut findings);
        let mut trials = Vec::new();
        self.tag_thresholds(tag, ref_name, at, true, &mut trials);
        findings.extend(trials.into_iter().map(Finding::on_trial));
        findings
    }

    /// Returns the finding about a tag object whose name is not that of its ref.
    fn other_name(&self, tag: &Tag<'_>, ref_name: &[u8]) -> Finding {
        let text = String::from_utf8_lossy;
        let message = format!(
            "the tag object is named \"{}\" but pushed to {}",
            text(tag.name),
            text(ref_name)
        );
        let finding = Finding::new(self.mode, codes::TAG_NAME, message);
        let name = ref_name.strip_prefix(TAGS);
        match name.and_then(|name| sign_command(name, &format!("{}^{{}}", tag.id))) {
            Some(command) => finding.with_command("tag again under this name", command),
            None => finding.with_hint("an approval of a tag NAME is a tag named NAME at refs/approvals/NAME/ANYTHING; elsewhere the ref ends with the name of the tag"),
        }
    }

    fn lightweight(&self, update: &RefUpdate<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let matching = self.matching_rules(Action::Tag, &[], update.name, false);
        if matching.is_empty() {
            add(&mut findings, self.no_rule(Action::Tag, update.name));
        }
        let short = update.name.strip_prefix(TAGS).unwrap_or(update.name);
        for (rule, who) in matching {
            if who.anyone && rule.threshold.is_none() {
                continue;
            }
            let name = String::from_utf8_lossy(short);
            let message = format!("{name} is a lightweight tag; only signed tags are accepted");
            let finding = self.finding(rule, codes::TAG_LIGHTWEIGHT, message);
            let command = sign_command(short, update.new).unwrap_or_default();
            add(&mut findings, finding.with_command("sign the tag", command));
        }
        findings
    }

    /// Counts the distinct signers of a tag and of its approvals: tags of the same
    /// name and commit.
    fn tag_thresholds(
        &self,
        tag: &Tag<'_>,
        ref_name: &[u8],
        at: Option<UnixTime>,
        trial: bool,
        findings: &mut Vec<Finding>,
    ) {
        for (rule, _) in self.matching_rules(Action::Tag, &[], ref_name, trial) {
            let Some(threshold) = &rule.threshold else {
                continue;
            };
            let approvals = tag
                .others
                .iter()
                .filter(|other| other.name == tag.name && is_approval(other.ref_name, tag.name))
                .map(|other| other.signature);
            let mut signers = SignerSet::default();
            for signature in std::iter::once(tag.signature).chain(approvals) {
                if let Some(signer) = self.threshold_signer(signature, &threshold.of, at) {
                    signers.insert(signer);
                }
            }
            if signers.len() < threshold.count {
                let hint = "have another of them sign a tag of the same name and commit";
                let finding = self.threshold_finding(rule, &signers, hint);
                add(
                    findings,
                    match approval_command(tag) {
                        Some(command) => finding
                            .with_command(format!("{hint} and push it as an approval"), command),
                        None => finding,
                    },
                );
            }
        }
    }

    // ----------------------------------------------------------------- pushers

    fn evaluate_pusher(
        &self,
        rule: &Rule,
        who: &Principals,
        action: Action,
        pusher: &Pusher<'_>,
        findings: &mut Vec<Finding>,
    ) {
        if who.anyone {
            return;
        }
        let (phrase, names) = (action.phrase(), who.names.join(", "));
        let finding = match self.pushers(pusher) {
            _ if who.signers.is_empty() => {
                let message = format!("{} is disabled for this ref", action.key());
                self.finding(rule, codes::PUSHER_NOT_ALLOWED, message)
            }
            Ok(signers) if signers.iter().any(|one| who.signers.contains(*one)) => return,
            Ok(_) => {
                let pusher = match pusher.account {
                    Some(account) => format!("account {account}"),
                    None => "the push's signer".to_owned(),
                };
                let message = format!("{pusher} may not {phrase} (allowed: {names})");
                self.finding(rule, codes::PUSHER_NOT_ALLOWED, message)
            }
            Err(reason) => {
                let message = format!("only {names} may {phrase}, and {reason}");
                self.finding(rule, codes::PUSHER_UNKNOWN, message)
                    .with_command("sign the push", "git push --signed")
            }
        };
        add(findings, finding);
    }

    /// Returns the names of those signers of a push certificate who may override
    /// refusals.
    ///
    /// # Errors
    /// Returns why there are none.
    pub fn may_override(&self, pusher: &Pusher<'_>) -> Result<Vec<String>, String> {
        let Some(by) = &self.override_by else {
            return Err("the policy has no [override]".to_owned());
        };
        if pusher.certificate.is_none() {
            return Err("the push is not signed; push again with --signed".to_owned());
        }
        let signers = self.pushers(pusher)?.into_iter();
        let names: Vec<String> = signers
            .filter(|one| by.signers.contains(*one))
            .filter_map(|one| self.signers.get(one))
            .map(|signer| signer.name.clone())
            .collect();
        if names.is_empty() {
            let allowed = by.names.join(", ");
            return Err(format!(
                "the push's signer may not override errors (allowed: {allowed})"
            ));
        }
        Ok(names)
    }

    /// Returns the signers that the pusher is.
    ///
    /// # Errors
    /// Returns why the pusher is not known.
    pub(crate) fn pushers(&self, pusher: &Pusher<'_>) -> Result<Vec<usize>, String> {
        match (pusher.certificate, pusher.account) {
            (Some(signature @ SignatureResult::Good { .. }), _) => {
                Ok(self.matched_signers(signature, pusher.now).signers)
            }
            (Some(SignatureResult::Unsigned), _) | (None, None) => {
                Err("the server did not identify the pusher".to_owned())
            }
            (Some(SignatureResult::Bad { message, .. }), _) => {
                Err(format!("the push certificate does not verify: {message}"))
            }
            (Some(SignatureResult::Other(kind)), _) => Err(format!(
                "the push certificate is signed with {kind}; a Sigstore signature is required"
            )),
            (None, Some(account)) => Ok(self
                .signers
                .iter()
                .enumerate()
                .filter(|(_, signer)| {
                    let mut now = pusher.now.iter();
                    signer.accounts.iter().any(|one| one == account)
                        && now.all(|now| validity_mismatch(signer, *now).is_none())
                })
                .map(|(number, _)| number)
                .collect()),
        }
    }
}

/// Returns whether a tag object of this name may be at a ref: `refs/tags/NAME`,
/// `refs/approvals/NAME/ANYTHING`, and `ANYTHING/NAME` elsewhere.
fn is_named(name: &[u8], ref_name: &[u8]) -> bool {
    if let Some(rest) = ref_name.strip_prefix(TAGS) {
        return rest == name;
    }
    if ref_name.starts_with(APPROVALS) {
        return is_approval(ref_name, name);
    }
    !name.is_empty()
        && ref_name
            .strip_suffix(name)
            .is_some_and(|before| before.ends_with(b"/"))
}

/// Returns whether a ref is a place of approvals of this tag:
/// `refs/approvals/TAG/ANYTHING`.
fn is_approval(ref_name: &[u8], tag: &[u8]) -> bool {
    ref_name
        .strip_prefix(APPROVALS)
        .and_then(|rest| rest.strip_prefix(tag))
        .and_then(|rest| rest.strip_prefix(b"/"))
        .is_some_and(|rest| !rest.is_empty() && !tag.is_empty())
}

/// Returns the command that signs a tag; `None` if its name cannot be pasted.
fn sign_command(name: &[u8], target: &str) -> Option<String> {
    let name = shell::quoted(std::str::from_utf8(name).ok()?)?;
    Some(format!("git tag -s -f {name} {target}"))
}

/// Returns the command that pushes an approval of a tag.
fn approval_command(tag: &Tag<'_>) -> Option<String> {
    let name = std::str::from_utf8(tag.name).ok()?;
    let refspec = shell::quoted(&format!("refs/tags/{name}:refs/approvals/{name}/NAME"))?;
    Some(format!("git push origin {refspec}"))
}
