//! Evaluates the signature of a commit or tag: whether it verifies, whose it is,
//! whether it still counts, and whether a rule lists the signer. Needs no tree.

use std::fmt::Display;

use super::{add, time};
use crate::{
    facts::{Action, ChangedPath, CommitFacts, Finding, NameEmail, SignatureResult, codes},
    model::{Condition, Policy, Principals, Rule, Signer, SignerSet},
    shell,
};
use gitseal_evidence::{
    UnixTime,
    certificate::{FulcioExtensions, Identity, San},
};

/// The signers of a policy that match a signature.
#[derive(Debug, Default)]
pub(super) struct MatchedSigners {
    /// Signers whose every condition holds.
    pub signers: Vec<usize>,
    /// Signers whose identity matches, but not another condition.
    nearly: Vec<(usize, SignerMismatch)>,
}

/// Code and message of a condition that a signature does not meet.
type SignerMismatch = (&'static str, String);

/// A commit or tag during its evaluation.
pub(crate) struct ObjectContext<'a> {
    pub(super) signature: &'a SignatureResult,
    pub(super) matched: MatchedSigners,
    /// The committer, and whether it is a direct commit; `None` for tags.
    pub(super) commit: Option<(NameEmail<'a>, bool)>,
    /// The command that signs the object again.
    pub(super) sign_command: String,
}

impl Policy {
    /// Returns the context of a commit. `at`: the time at which the age of its
    /// signature counts; `None`: signatures do not age.
    pub(crate) fn commit_context<'a, I: Display>(
        &self,
        commit: &'a CommitFacts<I>,
        direct: bool,
        at: Option<UnixTime>,
    ) -> ObjectContext<'a> {
        const AGAIN: &str = "--exec 'git commit --amend --no-edit -S'";
        ObjectContext {
            signature: &commit.signature,
            matched: self.matched_signers(&commit.signature, at),
            commit: Some((
                NameEmail::from_header(&commit.committer),
                direct && !commit.is_merge(),
            )),
            sign_command: if commit.parents.is_empty() {
                format!("git rebase --root {AGAIN}")
            } else {
                format!("git rebase --rebase-merges {AGAIN} {}^", commit.id)
            },
        }
    }

    /// Finds the signers that match a signature.
    pub(super) fn matched_signers(
        &self,
        signature: &SignatureResult,
        at: Option<UnixTime>,
    ) -> MatchedSigners {
        let mut found = MatchedSigners::default();
        let SignatureResult::Good {
            identity,
            claims,
            signed_at,
        } = signature
        else {
            return found;
        };
        let san = identity.san.value();
        for number in self.index.candidates(san) {
            let Some(signer) = self.signers.get(number) else {
                continue;
            };
            if !signer.identity.matches(san) || !signer.issuer.matches(&identity.issuer) {
                continue;
            }
            let mismatch = claim_mismatch(&signer.claims, claims)
                .or_else(|| validity_mismatch(signer, *signed_at))
                .or_else(|| self.age_mismatch(signer, *signed_at, at?));
            match mismatch {
                None => found.signers.push(number),
                Some(mismatch) => found.nearly.push((number, mismatch)),
            }
        }
        found
    }

    fn age_mismatch(
        &self,
        signer: &Signer,
        signed_at: UnixTime,
        at: UnixTime,
    ) -> Option<SignerMismatch> {
        let most = signer.max_age.or(self.max_age)?;
        if at.saturating_sub(signed_at) <= most {
            return None;
        }
        let (name, age, signed_at) = (&signer.name, super::age_text(most), time(signed_at));
        let message = format!(
            "signatures of signer \"{name}\" count for {age}; this was signed at {signed_at}"
        );
        Some((codes::SIGNATURE_TOO_OLD, message))
    }

    /// Adds why a rule refuses an action because of its signature, if it does.
    /// `path`: the first path that the rule speaks of.
    pub(crate) fn evaluate_signature(
        &self,
        rule: &Rule,
        who: &Principals,
        action: Action,
        path: Option<&ChangedPath>,
        context: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let adds = matches!(action, Action::Commit | Action::Merge);
        let command = &context.sign_command;
        if who.anyone && adds {
            // Such a ref is not protected: no signature matters, not even a bad one.
            self.check_direct(rule, action, context, findings);
            return;
        }
        match context.signature {
            SignatureResult::Bad { code, message } => {
                let message = format!("the signature does not verify: {message} ({code})");
                let finding = self.finding(rule, codes::SIGNATURE_BAD, message);
                add(
                    findings,
                    match code.as_str() {
                        "no-log-entry" => finding.with_command("the signature lacks its log entry; run 'git config --global gitseal.rekorMode offline' (with gitsign: gitsign.rekorMode), then sign again", command),
                        "log-unknown" | "chain-no-authority" => finding.with_hint("signed with a Sigstore instance that this server does not trust; ask the repository's administrators which one to use"),
                        _ => finding.with_command("sign again and push", command),
                    },
                );
            }
            SignatureResult::Unsigned | SignatureResult::Other(_) if who.anyone => {}
            SignatureResult::Unsigned => {
                let kind = context.commit.map_or("tag", |_| "commit");
                let message = format!("the {kind} is not signed");
                let hint = format!("sign the {kind} and push again");
                let finding = self.finding(rule, codes::UNSIGNED, message);
                add(findings, finding.with_command(hint, command));
            }
            SignatureResult::Other(kind) => {
                let message =
                    format!("signed with {kind}; this repository requires a Sigstore signature");
                let finding = self.finding(rule, codes::SIGNATURE_OTHER, message);
                let hint = "run 'gitseal setup', then sign again";
                add(findings, finding.with_command(hint, command));
            }
            SignatureResult::Good { identity, .. } => {
                let refusal = self.check_allowed(rule, who, action, path, context, identity);
                if let Some(finding) = refusal {
                    add(findings, finding);
                    return;
                }
                if adds {
                    self.check_direct(rule, action, context, findings);
                    self.check_committer(rule, who, identity, context, findings);
                }
            }
        }
    }

    /// Checks that one of the signers is listed.
    fn check_allowed(
        &self,
        rule: &Rule,
        who: &Principals,
        action: Action,
        path: Option<&ChangedPath>,
        context: &ObjectContext<'_>,
        identity: &Identity,
    ) -> Option<Finding> {
        let matched = &context.matched;
        if who.anyone || matched.signers.iter().any(|one| who.signers.contains(*one)) {
            return None;
        }
        let nearly = matched
            .nearly
            .iter()
            .find(|(signer, _)| who.signers.contains(*signer))
            .or(matched
                .nearly
                .first()
                .filter(|_| matched.signers.is_empty()));
        if let Some((_, (code, message))) = nearly {
            let finding = self.finding(rule, code, message.clone());
            return Some(if *code == codes::SIGNATURE_TOO_OLD {
                finding.with_command("sign again and push", &context.sign_command)
            } else {
                finding
            });
        }
        let san = identity.san.value();
        if matched.signers.is_empty() {
            let message = format!(
                "{san} (issuer {}) is not a signer in the policy",
                identity.issuer
            );
            let hint = "wrong account? run 'gitseal logout' and sign again; otherwise ask the repository's administrators to add you";
            return Some(
                self.finding(rule, codes::SIGNER_UNKNOWN, message)
                    .with_hint(hint),
            );
        }
        let place = match path {
            Some(path) => format!("in {}", String::from_utf8_lossy(&path.path)),
            None => "here".to_owned(),
        };
        let (phrase, names) = (action.phrase(), who.names.join(", "));
        let message = format!("{san} may not {phrase} {place} (allowed: {names})");
        let hint = "ask one of them to make this change, or the administrators to allow you";
        let finding = self.finding(rule, codes::SIGNER_NOT_ALLOWED, message);
        Some(if who.signers.is_empty() {
            finding
        } else {
            finding.with_hint(hint)
        })
    }

    /// Checks that the committer is the signer, where the rule requires it.
    fn check_committer(
        &self,
        rule: &Rule,
        who: &Principals,
        identity: &Identity,
        context: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let Some((committer, _)) = context.commit.filter(|_| rule.match_committer) else {
            return;
        };
        if self.is_signer(committer, who, &context.matched, identity) {
            return;
        }
        let san = identity.san.value();
        let message = format!("the committer is {committer}, but the signer is {san}");
        let finding = self.finding(rule, codes::COMMITTER_MISMATCH, message);
        let hint = "commit again as the signer";
        let command = shell::quoted(&format!("user.email={san}"))
            .map(|setting| format!("git -c {setting} commit --amend --no-edit -S"));
        add(
            findings,
            match command {
                Some(command) => finding.with_command(hint, command),
                None => finding.with_hint(hint),
            },
        );
    }

    /// Returns whether an email address is one of the signer's, byte for byte.
    fn is_signer(
        &self,
        person: NameEmail<'_>,
        who: &Principals,
        matched: &MatchedSigners,
        identity: &Identity,
    ) -> bool {
        matched
            .signers
            .iter()
            .filter(|one| who.anyone || who.signers.contains(**one))
            .filter_map(|one| self.signers.get(*one))
            .any(|signer| match (signer.emails.as_slice(), &identity.san) {
                ([], San::Email(email)) => email.as_bytes() == person.email,
                ([], _) => false,
                (emails, _) => emails.iter().any(|one| one.as_bytes() == person.email),
            })
    }

    /// Checks that a commit may be in the first-parent history.
    fn check_direct(
        &self,
        rule: &Rule,
        action: Action,
        context: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let (Some(who), Some((_, true)), Action::Commit) = (&rule.direct, context.commit, action)
        else {
            return;
        };
        let signers = &context.matched.signers;
        if !signers.iter().any(|one| who.signers.contains(*one)) {
            let names = who.names.join(", ");
            let message = format!("direct commits to this branch are not allowed (except {names})");
            let hint = "push a topic branch and open a pull request";
            let finding = self.finding(rule, codes::NOT_DIRECT, message);
            add(findings, finding.with_hint(hint));
        }
    }

    // -------------------------------------------------------------- thresholds

    /// Returns the one signer of a group as whom a signature counts: the same for
    /// every signature of one identity, so that no identity counts twice. It is the
    /// first of the group whose identity it is; the other conditions decide only
    /// whether the signature counts. `at`: as for [`Self::commit_context`].
    pub(crate) fn threshold_signer(
        &self,
        signature: &SignatureResult,
        of: &Principals,
        at: Option<UnixTime>,
    ) -> Option<usize> {
        let MatchedSigners { signers, nearly } = self.matched_signers(signature, at);
        if !signers.iter().any(|one| of.signers.contains(*one)) {
            return None;
        }
        let all = signers.iter().chain(nearly.iter().map(|(one, _)| one));
        all.copied().filter(|one| of.signers.contains(*one)).min()
    }

    /// Returns the finding of a rule whose threshold is not met.
    pub(crate) fn threshold_finding(&self, rule: &Rule, found: &SignerSet, hint: &str) -> Finding {
        let names: Vec<&str> = found
            .iter()
            .filter_map(|one| self.signers.get(one))
            .map(|signer| signer.name.as_str())
            .collect();
        let (count, of) = rule
            .threshold
            .as_ref()
            .map_or_else(Default::default, |threshold| {
                (threshold.count, threshold.of.names.join(", "))
            });
        let mut message = format!(
            "needs {count} distinct signers from {of}; has {}",
            names.len()
        );
        if !names.is_empty() {
            message = format!("{message}: {}", names.join(", "));
        }
        self.finding(rule, codes::THRESHOLD, message)
            .with_hint(hint)
    }
}

pub(super) fn validity_mismatch(signer: &Signer, at: UnixTime) -> Option<SignerMismatch> {
    let (code, bound) = match (signer.valid_from, signer.valid_until) {
        (Some(from), _) if at < from => (
            codes::SIGNER_TOO_EARLY,
            format!("is valid from {}", time(from)),
        ),
        (_, Some(until)) if at >= until => (
            codes::SIGNER_EXPIRED,
            format!("was valid until {}", time(until)),
        ),
        _ => return None,
    };
    let (name, at) = (&signer.name, time(at));
    let message = format!("signer \"{name}\" {bound}; this was signed at {at}");
    Some((code, message))
}

fn claim_mismatch(
    required: &[(String, Condition)],
    claims: &FulcioExtensions,
) -> Option<SignerMismatch> {
    required.iter().find_map(|(name, condition)| {
        let required = condition.as_str();
        match claims.by_name(name) {
            None => {
                let message =
                    format!("the certificate has no claim {name}; required: {required:?}");
                Some((codes::CLAIM_ABSENT, message))
            }
            Some(found) if !condition.matches(found) => {
                let message = format!("claim {name} is {found:?}; required: {required:?}");
                Some((codes::CLAIM_MISMATCH, message))
            }
            Some(_) => None,
        }
    })
}
