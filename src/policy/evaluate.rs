//! Evaluates one commit, one tag or one ref update against a policy.
//!
//! An action is allowed if at least one rule matches it and every rule that matches
//! it allows it. A rule matches an action if it has the action's key, its `refs`
//! match the ref, and it has no `paths` or they match a path that is changed. Each
//! changed path must be matched. So the order of rules has no meaning, and adding a
//! rule never removes a requirement of another one.
//!
//! *Not checked here:* thresholds over several commits (`threshold.rs`), and which
//! policy applies (`walk.rs`).

use std::fmt::Display;

use super::{
    facts::{
        Action, CommitFacts, Finding, NameEmail, POLICY_FOLDER, Pusher, RefUpdate, SignatureResult,
        Tag, UpdateKind, codes,
    },
    model::{Condition, Policy, Principals, Rule, Signer, SignerSet},
};
use gitseal_evidence::{
    UnixTime,
    certificate::{FulcioExtensions, Identity, San},
};

const TAGS: &[u8] = b"refs/tags/";
const APPROVALS: &[u8] = b"refs/approvals/";

/// The signers of a policy that match a signature.
#[derive(Debug, Default)]
struct MatchedSigners {
    /// Signers whose every condition holds.
    signers: Vec<usize>,
    /// Signers whose identity matches, but not another condition.
    nearly: Vec<(usize, SignerMismatch)>,
}

/// Code and message of a condition that a signature does not meet.
type SignerMismatch = (&'static str, String);

/// A commit or tag during its evaluation.
struct ObjectContext<'a> {
    signature: &'a SignatureResult,
    matched: MatchedSigners,
    /// The committer, and whether it is a direct commit; `None` for tags.
    commit: Option<(NameEmail<'a>, bool)>,
    /// The command that signs the object again.
    sign_command: String,
}

/// An action of a signer, and the first path that a rule matches.
#[derive(Clone, Copy)]
struct SignedAction<'a> {
    action: Action,
    path: Option<&'a [u8]>,
}

impl Policy {
    /// Evaluates a commit on its way to a ref. No finding: everything is allowed.
    /// `direct`: the commit is in the first-parent history between the ref's old and
    /// new value. Findings that do not refuse also report what is accepted unverified.
    #[must_use]
    pub fn evaluate_commit<I: Display>(
        &self,
        commit: &CommitFacts<I>,
        direct: bool,
        ref_name: &[u8],
    ) -> Vec<Finding> {
        let context = self.commit_context(commit, direct);
        let all = paths(commit, false);
        let changed = paths(commit, true);
        let mut findings = Vec::new();
        let mut evaluate = |action, paths: &[&[u8]]| {
            self.evaluate(action, paths, ref_name, &context, &mut findings);
        };
        if commit.is_merge() {
            evaluate(Action::Merge, &all);
        }
        if !commit.is_merge() || !changed.is_empty() {
            evaluate(
                Action::Commit,
                if commit.is_merge() { &changed } else { &all },
            );
        }
        if all.iter().any(|path| is_policy(path)) {
            evaluate(Action::Policy, &[]);
        }
        findings
    }

    /// Evaluates whether the signer of a merge may merge unauthenticated history.
    #[must_use]
    pub fn evaluate_adoption<I: Display>(
        &self,
        merge: &CommitFacts<I>,
        ref_name: &[u8],
    ) -> Vec<Finding> {
        let context = self.commit_context(merge, false);
        let mut findings = Vec::new();
        let all = paths(merge, false);
        self.evaluate(Action::Adopt, &all, ref_name, &context, &mut findings);
        findings
    }

    /// Evaluates an annotated tag under a ref.
    #[must_use]
    pub fn evaluate_tag(&self, tag: &Tag<'_>, ref_name: &[u8]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let text = String::from_utf8_lossy;
        let sign_command = |name| format!("git tag -s -f {} {}^{{}}", text(name), tag.id);
        if !is_named(tag.name, ref_name) {
            let message = format!(
                "the tag object is named \"{}\" but pushed to {}",
                text(tag.name),
                text(ref_name)
            );
            let finding = Finding::new(self.mode, codes::TAG_NAME, message);
            let hint = "sign a tag with the name of this ref";
            add(&mut findings, finding.with_hint(hint));
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
            matched: self.matched_signers(tag.signature),
            commit: None,
            sign_command: sign_command(tag.name),
        };
        self.evaluate(Action::Tag, &[], ref_name, &context, &mut findings);
        self.tag_thresholds(tag, ref_name, &mut findings);
        findings
    }

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
        let matching = self.matching_rules(action, &[], update.name);
        if matching.is_empty() {
            add(&mut findings, self.no_rule(action, update.name));
        }
        for (rule, who) in matching {
            self.evaluate_pusher(rule, who, action, pusher, &mut findings);
        }
        if action == Action::Delete || !(is_tag || update.tag.is_some()) {
            return findings;
        }
        match &update.tag {
            Some(tag) => {
                for finding in self.evaluate_tag(tag, update.name) {
                    add(&mut findings, finding);
                }
            }
            None => self.lightweight(update, &mut findings),
        }
        findings
    }

    // ---------------------------------------------------------- matching rules

    fn matching_rules(
        &self,
        action: Action,
        paths: &[&[u8]],
        ref_name: &[u8],
    ) -> Vec<(&Rule, &Principals)> {
        self.rules
            .iter()
            .filter_map(|rule| Some((rule, rule.may.get(&action)?)))
            .filter(|(rule, _)| {
                !rule.trial
                    && rule.matches_ref(ref_name)
                    && (rule.paths.is_none() || paths.iter().any(|path| rule.matches_path(path)))
            })
            .collect()
    }

    /// Evaluates one action on some paths by every rule that matches.
    fn evaluate(
        &self,
        action: Action,
        paths: &[&[u8]],
        ref_name: &[u8],
        context: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let matching = self.matching_rules(action, paths, ref_name);
        if matching.is_empty() {
            add(findings, self.no_rule(action, ref_name));
            return;
        }
        let is_unmatched =
            |path: &&&[u8]| !matching.iter().any(|(rule, _)| rule.matches_path(path));
        let mut unmatched = paths.iter().filter(is_unmatched);
        if let Some(first) = unmatched.next() {
            let more = match unmatched.count() {
                0 => String::new(),
                1 => " (and 1 more path)".to_owned(),
                others => format!(" (and {others} more paths)"),
            };
            let (phrase, path) = (action.phrase(), String::from_utf8_lossy(first));
            let message = format!("no rule allows anyone to {phrase} in {path}{more}");
            let key = action.key();
            let policy_hint = format!("add a rule whose paths match, with {key} = [\"…\"]");
            add(
                findings,
                Finding {
                    policy_hint: Some(policy_hint),
                    ..Finding::new(self.mode, codes::PATH_NO_RULE, message)
                },
            );
        }
        for (rule, who) in matching {
            let path = paths.iter().copied().find(|path| rule.matches_path(path));
            let path = path.filter(|_| rule.paths.is_some());
            let signed = SignedAction { action, path };
            self.evaluate_signature(rule, who, signed, context, findings);
        }
    }

    fn no_rule(&self, action: Action, ref_name: &[u8]) -> Finding {
        let name = String::from_utf8_lossy(ref_name);
        let (message, hint) = match action {
            Action::Rewrite if ref_name.starts_with(b"refs/heads/") => (
                format!("{name} may not be force-pushed"),
                Some("run 'git pull --rebase', then push without --force"),
            ),
            Action::Rewrite => (format!("{name} may not be force-pushed"), None),
            Action::Delete => (format!("{name} may not be deleted"), None),
            Action::Create => (
                format!("creating {name} is not allowed"),
                Some("push to another name, or ask the repository's administrators"),
            ),
            _ => {
                let phrase = action.phrase();
                (format!("no rule allows anyone to {phrase} on {name}"), None)
            }
        };
        let key = action.key();
        Finding {
            hint: hint.map(str::to_owned),
            policy_hint: Some(format!("add a rule about {name} with {key} = [\"…\"]")),
            ..Finding::new(self.mode, codes::NO_RULE, message)
        }
    }

    // -------------------------------------------------------------- signatures

    fn commit_context<'a, I: Display>(
        &self,
        commit: &'a CommitFacts<I>,
        direct: bool,
    ) -> ObjectContext<'a> {
        const AGAIN: &str = "--exec 'git commit --amend --no-edit -S'";
        ObjectContext {
            signature: &commit.signature,
            matched: self.matched_signers(&commit.signature),
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
    fn matched_signers(&self, signature: &SignatureResult) -> MatchedSigners {
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
            let mismatch = claim_mismatch(&signer.claims, claims);
            match mismatch.or_else(|| validity_mismatch(signer, *signed_at)) {
                None => found.signers.push(number),
                Some(mismatch) => found.nearly.push((number, mismatch)),
            }
        }
        found
    }

    fn evaluate_signature(
        &self,
        rule: &Rule,
        who: &Principals,
        signed: SignedAction<'_>,
        context: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let adds = matches!(signed.action, Action::Commit | Action::Merge);
        let command = &context.sign_command;
        match context.signature {
            SignatureResult::Bad { code, message } => {
                let message = format!("the signature does not verify: {message} ({code})");
                let hint = match code.as_str() {
                    "no-log-entry" => format!(
                        "the signature lacks its log entry; run 'git config --global gitseal.rekorMode offline' (with gitsign: gitsign.rekorMode), then sign again: {command}"
                    ),
                    "log-unknown" | "chain-no-authority" => "signed with a Sigstore instance that this server does not trust; ask the repository's administrators which one to use".to_owned(),
                    _ => format!("sign again and push: {command}"),
                };
                let finding = self.finding(rule, codes::SIGNATURE_BAD, message);
                add(findings, finding.with_hint(hint));
            }
            SignatureResult::Unsigned | SignatureResult::Other(_) if who.anyone => {}
            SignatureResult::Unsigned => {
                let kind = context.commit.map_or("tag", |_| "commit");
                let message = format!("the {kind} is not signed");
                let hint = format!("sign the {kind} and push again: {command}");
                let finding = self.finding(rule, codes::UNSIGNED, message);
                add(findings, finding.with_hint(hint));
            }
            SignatureResult::Other(kind) => {
                let message =
                    format!("signed with {kind}; this repository requires a Sigstore signature");
                let hint = format!("run 'gitseal setup', then sign again: {command}");
                let finding = self.finding(rule, codes::SIGNATURE_OTHER, message);
                add(findings, finding.with_hint(hint));
            }
            SignatureResult::Good { identity, .. } => {
                let refusal = self.check_allowed(rule, who, signed, &context.matched, identity);
                if let Some(finding) = refusal {
                    add(findings, finding);
                    return;
                }
                if adds {
                    self.check_direct(rule, signed.action, context, findings);
                    self.check_people(rule, who, identity, context, findings);
                }
            }
        }
    }

    /// Checks that one of the signers is listed.
    fn check_allowed(
        &self,
        rule: &Rule,
        who: &Principals,
        signed: SignedAction<'_>,
        matched: &MatchedSigners,
        identity: &Identity,
    ) -> Option<Finding> {
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
            return Some(self.finding(rule, code, message.clone()));
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
        let place = match signed.path {
            Some(path) => format!("in {}", String::from_utf8_lossy(path)),
            None => "here".to_owned(),
        };
        let (phrase, names) = (signed.action.phrase(), who.names.join(", "));
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
    fn check_people(
        &self,
        rule: &Rule,
        who: &Principals,
        identity: &Identity,
        context: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let Some((committer, _)) = context.commit else {
            return;
        };
        let san = identity.san.value();
        let is_signer = |person| self.is_signer(person, who, &context.matched, identity);
        if rule.match_committer && !is_signer(committer) {
            let message = format!("the committer is {committer}, but the signer is {san}");
            let hint = format!(
                "commit again as the signer: git -c user.email={san} commit --amend --no-edit -S"
            );
            let finding = self.finding(rule, codes::COMMITTER_MISMATCH, message);
            add(findings, finding.with_hint(hint));
        }
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

    /// Returns a finding of a rule, without hints.
    fn finding(&self, rule: &Rule, code: &'static str, message: String) -> Finding {
        Finding {
            rule: rule.name.clone(),
            ..Finding::new(self.mode, code, message)
        }
    }

    // -------------------------------------------------------------------- tags

    fn lightweight(&self, update: &RefUpdate<'_>, findings: &mut Vec<Finding>) {
        let matching = self.matching_rules(Action::Tag, &[], update.name);
        if matching.is_empty() {
            add(findings, self.no_rule(Action::Tag, update.name));
        }
        let name = String::from_utf8_lossy(update.name);
        let short = name.strip_prefix("refs/tags/").unwrap_or(&name);
        for (rule, who) in matching {
            if who.anyone && rule.threshold.is_none() {
                continue;
            }
            let message = format!("{short} is a lightweight tag; only signed tags are accepted");
            let hint = format!("sign the tag: git tag -s -f {short} {}", update.new);
            let finding = self.finding(rule, codes::TAG_LIGHTWEIGHT, message);
            add(findings, finding.with_hint(hint));
        }
    }

    fn tag_thresholds(&self, tag: &Tag<'_>, ref_name: &[u8], findings: &mut Vec<Finding>) {
        for (rule, _) in self.matching_rules(Action::Tag, &[], ref_name) {
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
                if let Some(signer) = self.threshold_signer(signature, &threshold.of) {
                    signers.insert(signer);
                }
            }
            if signers.len() < threshold.count {
                let hint = "have another of them sign a tag of the same commit and name, and push it to refs/approvals/";
                add(findings, self.threshold_finding(rule, &signers, hint));
            }
        }
    }

    /// Returns the one signer of a group as whom a signature counts: the same for
    /// every signature of one identity, so that no identity counts twice. It is the
    /// first of the group whose identity it is; the other conditions decide only
    /// whether the signature counts.
    pub(super) fn threshold_signer(
        &self,
        signature: &SignatureResult,
        of: &Principals,
    ) -> Option<usize> {
        let MatchedSigners { signers, nearly } = self.matched_signers(signature);
        if !signers.iter().any(|one| of.signers.contains(*one)) {
            return None;
        }
        let all = signers.iter().chain(nearly.iter().map(|(one, _)| one));
        all.copied().filter(|one| of.signers.contains(*one)).min()
    }

    /// Returns the finding of a rule whose threshold is not met.
    pub(super) fn threshold_finding(&self, rule: &Rule, found: &SignerSet, hint: &str) -> Finding {
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
            Err(reason) => self
                .finding(
                    rule,
                    codes::PUSHER_UNKNOWN,
                    format!("only {names} may {phrase}, and {reason}"),
                )
                .with_hint("sign the push: git push --signed"),
        };
        add(findings, finding);
    }

    /// Returns the signers that the pusher is.
    fn pushers(&self, pusher: &Pusher<'_>) -> Result<Vec<usize>, String> {
        match (pusher.certificate, pusher.account) {
            (Some(signature @ SignatureResult::Good { .. }), _) => {
                Ok(self.matched_signers(signature).signers)
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
        .is_some_and(|rest| !rest.is_empty())
}

/// Returns whether a path belongs to the policy.
#[must_use]
pub fn is_policy(path: &[u8]) -> bool {
    path.strip_prefix(POLICY_FOLDER.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn paths<I>(commit: &CommitFacts<I>, only_changed: bool) -> Vec<&[u8]> {
    let paths = commit.paths.iter();
    paths
        .filter(|path| path.changed || !only_changed)
        .map(|path| path.path.as_slice())
        .collect()
}

/// Adds a finding unless an equal one exists. An error replaces a warning.
fn add(findings: &mut Vec<Finding>, finding: Finding) {
    let same = findings
        .iter_mut()
        .find(|other| other.code == finding.code && other.message == finding.message);
    match same {
        Some(other) if other.mode < finding.mode => *other = finding,
        Some(_) => {}
        None => findings.push(finding),
    }
}

fn validity_mismatch(signer: &Signer, at: UnixTime) -> Option<SignerMismatch> {
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

/// Formats a time as RFC 3339.
pub(super) fn time(at: UnixTime) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}

#[cfg(test)]
#[path = "evaluate/tests.rs"]
pub(crate) mod tests;
