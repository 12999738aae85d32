//! What a policy says about one commit, one tag or one update of a ref.
//!
//! The rule about rules: what is done is allowed if at least one rule speaks of it
//! and every rule that speaks of it allows it. A rule speaks of an action if it
//! has the action's key, its `refs` match the ref, and it has no `paths` or they
//! match a path that is changed. Each changed path must be spoken of. So the
//! order of rules means nothing, and a further rule never takes back what another
//! one asks for.
//!
//! *Not checked here:* thresholds over several commits (`threshold.rs`), and which
//! policy it is that judges (`walk.rs`).

use super::{
    facts::{
        Action, ChangedPath, Commit, EnforcementMode, Finding, NameEmail, POLICY_FOLDER, Pusher,
        RefUpdate, SignatureResult, Tag, UpdateKind, codes,
    },
    model::{Condition, Policy, Principals, Rule, Signer, SignerSet},
};
use gitseal_evidence::{
    UnixTime,
    certificate::{FulcioExtensions, Identity, San},
};

const TAGS: &[u8] = b"refs/tags/";

/// Who a signature is, by the policy.
#[derive(Debug, Default)]
pub(super) struct MatchedSigners {
    /// Every condition of these signers holds.
    pub(super) signers: Vec<usize>,
    /// The identity is these signers', but something else does not hold.
    nearly: Vec<(usize, SignerMismatch)>,
}

/// What keeps an identity from being a signer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SignerMismatch {
    code: &'static str,
    message: String,
}

/// What is asked about one commit or tag.
struct ObjectContext<'a> {
    signature: SignatureResult<'a>,
    signed: MatchedSigners,
    /// `None` for tags.
    commit: Option<&'a Commit<'a>>,
    /// What to do about a missing signature.
    hint: Option<String>,
}

impl Policy {
    /// What the policy says about a commit on its way to a ref. Empty: all is
    /// allowed. Findings that do not refuse are also told for what is accepted
    /// without a verified signature.
    #[must_use]
    pub fn evaluate_commit(&self, commit: &Commit<'_>, ref_name: &[u8]) -> Vec<Finding> {
        let asked = self.asked(commit);
        let mut findings = Vec::new();
        let own: Vec<&[u8]> = paths(commit.paths.iter().filter(|path| path.changed));
        if commit.is_merge() {
            let all = paths(commit.paths.iter());
            self.judge(Action::Merge, &all, ref_name, &asked, &mut findings);
            if !own.is_empty() {
                self.judge(Action::Commit, &own, ref_name, &asked, &mut findings);
            }
        } else {
            let all = paths(commit.paths.iter());
            self.judge(Action::Commit, &all, ref_name, &asked, &mut findings);
        }
        if commit.paths.iter().any(|path| is_policy(&path.path)) {
            self.judge(Action::Policy, &[], ref_name, &asked, &mut findings);
        }
        findings
    }

    /// Whether whoever made this merge may take in history that nobody
    /// authenticated. Empty: yes.
    #[must_use]
    pub fn evaluate_adoption(&self, merge: &Commit<'_>, ref_name: &[u8]) -> Vec<Finding> {
        let asked = self.asked(merge);
        let mut findings = Vec::new();
        let all = paths(merge.paths.iter());
        self.judge(Action::Adopt, &all, ref_name, &asked, &mut findings);
        findings
    }

    /// What the policy says about an annotated tag under this ref.
    #[must_use]
    pub fn evaluate_tag(&self, tag: &Tag<'_>, ref_name: &[u8]) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.tag_object(tag, ref_name, &mut findings);
        let asked = ObjectContext {
            signature: tag.signature,
            signed: self.signed(tag.signature),
            commit: None,
            hint: Some(format!(
                "git tag -s -f {} {}^{{}}",
                String::from_utf8_lossy(tag.name),
                tag.id
            )),
        };
        self.judge(Action::Tag, &[], ref_name, &asked, &mut findings);
        self.tag_thresholds(tag, ref_name, &mut findings);
        findings
    }

    /// What the policy says about an update of a ref. The commits that come with
    /// it are judged on their own.
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
            findings.push(self.no_rule(action, update.name));
        }
        for rule in matching {
            if let Some(who) = rule.may.get(&action) {
                self.evaluate_pusher(rule, who, action, pusher, &mut findings);
            }
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

    // ------------------------------------------------------- rules that speak

    fn matching_rules(&self, action: Action, paths: &[&[u8]], ref_name: &[u8]) -> Vec<&Rule> {
        self.rules
            .iter()
            .filter(|rule| {
                rule.may.contains_key(&action)
                    && rule.matches_ref(ref_name)
                    && rule
                        .paths
                        .as_ref()
                        .is_none_or(|globs| paths.iter().any(|path| globs.matches(path)))
            })
            .collect()
    }

    /// One action over some paths, by everything that speaks of it.
    fn judge(
        &self,
        action: Action,
        paths: &[&[u8]],
        ref_name: &[u8],
        asked: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let matching = self.matching_rules(action, paths, ref_name);
        if matching.is_empty() {
            add(findings, self.no_rule(action, ref_name));
            return;
        }
        if matching.iter().all(|rule| rule.paths.is_some()) {
            let mut unspoken = paths.iter().filter(|path| {
                !matching
                    .iter()
                    .any(|rule| rule.paths.as_ref().is_some_and(|globs| globs.matches(path)))
            });
            if let Some(first) = unspoken.next() {
                let others = unspoken.count();
                let more = match others {
                    0 => String::new(),
                    others => format!(" and {others} more"),
                };
                add(
                    findings,
                    Finding {
                        rule: String::new(),
                        mode: self.mode,
                        code: codes::PATH_NO_RULE,
                        message: format!(
                            "no rule says who may {} in {}{more}",
                            action.phrase(),
                            String::from_utf8_lossy(first)
                        ),
                        hint: Some(format!(
                            "in the policy: a rule whose paths match, with {} = [\"…\"]",
                            action.key()
                        )),
                    },
                );
            }
        }
        for rule in matching {
            if let Some(who) = rule.may.get(&action) {
                let globs = rule.paths.as_ref();
                let path = globs.and_then(|globs| paths.iter().find(|path| globs.matches(path)));
                self.evaluate_signature(rule, who, (action, path.copied()), asked, findings);
            }
        }
    }

    fn no_rule(&self, action: Action, ref_name: &[u8]) -> Finding {
        let name = String::from_utf8_lossy(ref_name);
        Finding {
            rule: String::new(),
            mode: self.mode,
            code: codes::NO_RULE,
            message: format!("no rule says who may {} on {name}", action.phrase()),
            hint: Some(format!(
                "in the policy: a rule about {name} with {} = [\"…\"]",
                action.key()
            )),
        }
    }

    // -------------------------------------------------------------- signatures

    fn asked<'a>(&self, commit: &'a Commit<'a>) -> ObjectContext<'a> {
        ObjectContext {
            signature: commit.signature,
            signed: self.signed(commit.signature),
            commit: Some(commit),
            hint: Some(if commit.parents.is_empty() {
                "git rebase --root --exec 'git commit --amend --no-edit -S'".to_owned()
            } else {
                format!(
                    "git rebase --rebase-merges --exec 'git commit --amend --no-edit -S' {}^",
                    commit.id
                )
            }),
        }
    }

    /// Which signers a signature is of.
    pub(super) fn signed(&self, signature: SignatureResult<'_>) -> MatchedSigners {
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
            match mismatch(signer, claims, signed_at) {
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
        (action, path): (Action, Option<&[u8]>),
        asked: &ObjectContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let mut say = |code, message: String, hint: Option<String>| {
            let finding = Finding {
                rule: rule.name.clone(),
                mode: rule.mode,
                code,
                message: match path.filter(|_| code == codes::SIGNER_NOT_ALLOWED) {
                    Some(path) => format!("{}: {message}", String::from_utf8_lossy(path)),
                    None => message,
                },
                hint,
            };
            add(findings, finding);
        };
        let adds = matches!(action, Action::Commit | Action::Merge);
        match asked.signature {
            SignatureResult::Bad { code, message } => say(
                codes::SIGNATURE_BAD,
                format!("the signature is not good: {message} ({code})"),
                asked.hint.clone(),
            ),
            SignatureResult::Unsigned if who.anyone => {}
            SignatureResult::Unsigned => {
                let bot = asked
                    .commit
                    .filter(|_| adds)
                    .and_then(|commit| self.bot(rule, commit));
                match bot {
                    None => say(
                        codes::UNSIGNED,
                        "there is no signature".to_owned(),
                        asked.hint.clone(),
                    ),
                    Some(name) => {
                        if let Some(message) = direct(rule, action, asked, None) {
                            say(codes::NOT_DIRECT, message, None);
                        }
                        note(
                            findings,
                            rule,
                            codes::UNSIGNED_BOT,
                            format!(
                                "unsigned, accepted as the bot {name} by its own word, which anybody can write"
                            ),
                        );
                    }
                }
            }
            SignatureResult::Other(_) if who.anyone => {}
            SignatureResult::Other(kind) => {
                let accepted = (adds || action == Action::Tag) && rule.unverified.contains(&kind);
                if accepted {
                    if let Some(message) = direct(rule, action, asked, None) {
                        say(codes::NOT_DIRECT, message, None);
                    }
                    note(
                        findings,
                        rule,
                        codes::SIGNATURE_UNVERIFIED,
                        format!("the {kind} signature is accepted without being verified"),
                    );
                } else {
                    say(
                        codes::SIGNATURE_OTHER,
                        format!("the signature is an {kind} one, which is not verified here"),
                        asked.hint.clone(),
                    );
                }
            }
            SignatureResult::Good {
                identity, claims, ..
            } => {
                if !who.anyone
                    && let Err(SignerMismatch { code, message }) =
                        self.allowed(who, action, &asked.signed, identity)
                {
                    say(code, message, None);
                    return;
                }
                if let Some(SignerMismatch { code, message }) = claim_mismatch(&rule.claims, claims)
                {
                    say(code, message, None);
                }
                let Some(commit) = asked.commit.filter(|_| adds) else {
                    return;
                };
                if let Some(message) = direct(rule, action, asked, Some(&asked.signed)) {
                    say(codes::NOT_DIRECT, message, None);
                }
                let people = [
                    (
                        rule.match_committer,
                        codes::COMMITTER_MISMATCH,
                        "committer",
                        commit.committer,
                    ),
                    (
                        rule.match_author,
                        codes::AUTHOR_MISMATCH,
                        "author",
                        commit.author,
                    ),
                ];
                for (is_asked, code, what, person) in people {
                    if is_asked && !self.is_signer(person, who, &asked.signed, identity) {
                        say(
                            code,
                            format!(
                                "the {what} is {}, who is not the signer {}",
                                shown(person),
                                identity.san.value()
                            ),
                            Some(match what {
                                "author" => {
                                    "git commit --amend --no-edit -S --reset-author".to_owned()
                                }
                                _ => format!(
                                    "git -c user.email={} commit --amend --no-edit -S",
                                    identity.san.value()
                                ),
                            }),
                        );
                    }
                }
            }
        }
    }

    /// Whether one of the signers is among those who may.
    fn allowed(
        &self,
        who: &Principals,
        action: Action,
        signed: &MatchedSigners,
        identity: &Identity,
    ) -> Result<(), SignerMismatch> {
        if signed.signers.iter().any(|one| who.signers.contains(*one)) {
            return Ok(());
        }
        let san = identity.san.value();
        let nearly = signed
            .nearly
            .iter()
            .find(|(signer, _)| who.signers.contains(*signer))
            .or(signed.nearly.first().filter(|_| signed.signers.is_empty()));
        if let Some((_, mismatch)) = nearly {
            return Err(mismatch.clone());
        }
        let named = signed
            .signers
            .first()
            .and_then(|one| self.signers.get(*one));
        Err(match named {
            Some(signer) => SignerMismatch {
                code: codes::SIGNER_NOT_ALLOWED,
                message: format!(
                    "{} ({san}) may not {}: [{}] may",
                    signer.name,
                    action.phrase(),
                    who.names.join(", ")
                ),
            },
            None => SignerMismatch {
                code: codes::SIGNER_UNKNOWN,
                message: format!("{san}, vouched for by {}, is no signer", identity.issuer),
            },
        })
    }

    fn bot(&self, rule: &Rule, commit: &Commit<'_>) -> Option<&str> {
        let is = |wanted: &Option<String>, person: NameEmail<'_>| {
            wanted.as_ref().is_none_or(|wanted| {
                let wanted = NameEmail::from_header(wanted.as_bytes());
                wanted == person
            })
        };
        rule.unsigned
            .iter()
            .filter_map(|bot| self.bots.get(*bot))
            .find(|bot| is(&bot.author, commit.author) && is(&bot.committer, commit.committer))
            .map(|bot| bot.name.as_str())
    }

    /// Whether an address is one of the signer's, byte for byte.
    fn is_signer(
        &self,
        person: NameEmail<'_>,
        who: &Principals,
        signed: &MatchedSigners,
        identity: &Identity,
    ) -> bool {
        signed
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

    // -------------------------------------------------------------------- tags

    fn tag_object(&self, tag: &Tag<'_>, ref_name: &[u8], findings: &mut Vec<Finding>) {
        let mut say = |code, message| {
            let finding = Finding {
                rule: String::new(),
                mode: self.mode,
                code,
                message,
                hint: None,
            };
            add(findings, finding);
        };
        if let Some(name) = ref_name.strip_prefix(TAGS)
            && name != tag.name
        {
            say(
                codes::TAG_NAME,
                format!(
                    "the tag is named {} by whoever made it, not {}",
                    String::from_utf8_lossy(tag.name),
                    String::from_utf8_lossy(name)
                ),
            );
        }
        if tag.target_type != "commit" {
            say(
                codes::TAG_TARGET,
                format!("the tag is one of a {}, not of a commit", tag.target_type),
            );
        }
    }

    fn lightweight(&self, update: &RefUpdate<'_>, findings: &mut Vec<Finding>) {
        let matching = self.matching_rules(Action::Tag, &[], update.name);
        if matching.is_empty() {
            add(findings, self.no_rule(Action::Tag, update.name));
        }
        for rule in matching {
            let may = rule.may.get(&Action::Tag);
            if may.is_some_and(|who| who.anyone) && rule.threshold.is_none() {
                continue;
            }
            let name = String::from_utf8_lossy(update.name);
            let short = name.strip_prefix("refs/tags/").unwrap_or(&name);
            let finding = Finding {
                rule: rule.name.clone(),
                mode: rule.mode,
                code: codes::TAG_LIGHTWEIGHT,
                message: "the tag is a bare name without an object that could be signed".to_owned(),
                hint: Some(format!("git tag -s -f {short} {}", update.new)),
            };
            add(findings, finding);
        }
    }

    fn tag_thresholds(&self, tag: &Tag<'_>, ref_name: &[u8], findings: &mut Vec<Finding>) {
        for rule in self.matching_rules(Action::Tag, &[], ref_name) {
            let Some(threshold) = &rule.threshold else {
                continue;
            };
            let counts = |name: &[u8]| {
                let refs = threshold.approvals.as_ref().or(rule.refs.as_ref());
                refs.is_none_or(|refs| refs.matches(name))
            };
            let mut signers = SignerSet::default();
            let others = tag
                .others
                .iter()
                .filter(|other| counts(other.ref_name))
                .map(|other| other.signature);
            for signature in std::iter::once(tag.signature).chain(others) {
                if let Some(signer) = self.counted(signature, &threshold.of, rule) {
                    signers.insert(signer);
                }
            }
            let found = signers.len();
            if found < threshold.count {
                add(
                    findings,
                    self.threshold_finding(
                        rule,
                        threshold.count,
                        &threshold.of,
                        &signers,
                        "signed tags of it",
                    ),
                );
            }
        }
    }

    /// The one signer of a group as whom a signature counts: the same for every
    /// signature of one identity, so that nobody counts twice. It is the first of
    /// the group whose identity it is, whatever else is asked of that signer; what
    /// else is asked decides only whether the signature counts.
    pub(super) fn counted(
        &self,
        signature: SignatureResult<'_>,
        of: &Principals,
        rule: &Rule,
    ) -> Option<usize> {
        let SignatureResult::Good { claims, .. } = signature else {
            return None;
        };
        if claim_mismatch(&rule.claims, claims).is_some() {
            return None;
        }
        let signed = self.signed(signature);
        let counts = signed.signers.iter().any(|one| of.signers.contains(*one));
        let nearly = signed.nearly.iter().map(|(signer, _)| signer);
        counts
            .then(|| {
                let all = signed.signers.iter().chain(nearly);
                all.copied().filter(|one| of.signers.contains(*one)).min()
            })
            .flatten()
    }

    /// The finding of a threshold that is not met.
    pub(super) fn threshold_finding(
        &self,
        rule: &Rule,
        count: usize,
        of: &Principals,
        found: &SignerSet,
        what: &str,
    ) -> Finding {
        let names: Vec<&str> = found
            .iter()
            .filter_map(|one| self.signers.get(one))
            .map(|signer| signer.name.as_str())
            .collect();
        let who = match names.as_slice() {
            [] => "nobody".to_owned(),
            names => names.join(", "),
        };
        Finding {
            rule: rule.name.clone(),
            mode: rule.mode,
            code: codes::THRESHOLD,
            message: format!(
                "{count} distinct signers of [{}] are asked for, and {who} made {what}",
                of.names.join(", ")
            ),
            hint: None,
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
        let (code, message, hint) = match self.pushers(pusher) {
            _ if who.signers.is_empty() => (
                codes::PUSHER_NOT_ALLOWED,
                format!("nobody may {}", action.phrase()),
                None,
            ),
            Ok(signers) if signers.iter().any(|one| who.signers.contains(*one)) => return,
            Ok(_) => (
                codes::PUSHER_NOT_ALLOWED,
                format!(
                    "{} may not {} here: [{}] may",
                    pusher.account.unwrap_or("whoever signed the push"),
                    action.phrase(),
                    who.names.join(", ")
                ),
                None,
            ),
            Err(why) => (
                codes::PUSHER_UNKNOWN,
                format!(
                    "only [{}] may {} here, and {why}",
                    who.names.join(", "),
                    action.phrase()
                ),
                Some("git push --signed".to_owned()),
            ),
        };
        let finding = Finding {
            rule: rule.name.clone(),
            mode: rule.mode,
            code,
            message,
            hint,
        };
        add(findings, finding);
    }

    /// The signers that push.
    fn pushers(&self, pusher: &Pusher<'_>) -> Result<Vec<usize>, String> {
        match (&pusher.certificate, pusher.account) {
            (Some(signature @ SignatureResult::Good { .. }), _) => {
                Ok(self.signed(*signature).signers)
            }
            (Some(SignatureResult::Unsigned), _) | (None, None) => {
                Err("the server does not say who pushes".to_owned())
            }
            (Some(SignatureResult::Bad { message, .. }), _) => {
                Err(format!("the push certificate is not good: {message}"))
            }
            (Some(SignatureResult::Other(kind)), _) => Err(format!(
                "the push certificate has an {kind} signature, which is not verified here"
            )),
            (None, Some(account)) => Ok(self
                .signers
                .iter()
                .enumerate()
                .filter(|(_, signer)| {
                    signer.accounts.iter().any(|one| one == account)
                        && pusher.now.is_none_or(|now| validity(signer, now).is_none())
                })
                .map(|(number, _)| number)
                .collect()),
        }
    }
}

/// Whether a path belongs to the policy.
#[must_use]
pub fn is_policy(path: &[u8]) -> bool {
    path.strip_prefix(POLICY_FOLDER.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn paths<'a>(paths: impl Iterator<Item = &'a ChangedPath>) -> Vec<&'a [u8]> {
    paths.map(|path| path.path.as_slice()).collect()
}

/// One finding of each kind is enough: a refusal goes before a warning.
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

/// What is accepted, and must not go unsaid.
fn note(findings: &mut Vec<Finding>, rule: &Rule, code: &'static str, message: String) {
    add(
        findings,
        Finding {
            rule: rule.name.clone(),
            mode: EnforcementMode::Warn,
            code,
            message,
            hint: None,
        },
    );
}

/// Why a commit may not stand on the line of first parents.
fn direct(
    rule: &Rule,
    action: Action,
    asked: &ObjectContext<'_>,
    signed: Option<&MatchedSigners>,
) -> Option<String> {
    let who = rule.direct.as_ref()?;
    let commit = asked.commit?;
    if !commit.direct || commit.is_merge() || action != Action::Commit {
        return None;
    }
    let may =
        signed.is_some_and(|signed| signed.signers.iter().any(|one| who.signers.contains(*one)));
    (!may).then(|| {
        format!(
            "the commit is put on the branch directly, not through a merge: [{}] may do that",
            who.names.join(", ")
        )
    })
}

fn mismatch(signer: &Signer, claims: &FulcioExtensions, at: UnixTime) -> Option<SignerMismatch> {
    claim_mismatch(&signer.claims, claims).or_else(|| validity(signer, at))
}

fn validity(signer: &Signer, at: UnixTime) -> Option<SignerMismatch> {
    let name = &signer.name;
    match (signer.valid_from, signer.valid_until) {
        (Some(from), _) if at < from => Some(SignerMismatch {
            code: codes::SIGNER_TOO_EARLY,
            message: format!(
                "{name} is a signer from {}, and this was signed at {}",
                time(from),
                time(at)
            ),
        }),
        (_, Some(until)) if at >= until => Some(SignerMismatch {
            code: codes::SIGNER_EXPIRED,
            message: format!(
                "{name} was a signer until {}, and this was signed at {}",
                time(until),
                time(at)
            ),
        }),
        _ => None,
    }
}

fn claim_mismatch(
    wanted: &[(String, Condition)],
    claims: &FulcioExtensions,
) -> Option<SignerMismatch> {
    wanted
        .iter()
        .find_map(|(name, condition)| match claims.by_name(name) {
            None => Some(SignerMismatch {
                code: codes::CLAIM_ABSENT,
                message: format!(
                    "the certificate has no {name}, wanted {:?}",
                    condition.as_str()
                ),
            }),
            Some(found) if !condition.matches(found) => Some(SignerMismatch {
                code: codes::CLAIM_MISMATCH,
                message: format!(
                    "the certificate's {name} is {found:?}, wanted {:?}",
                    condition.as_str()
                ),
            }),
            Some(_) => None,
        })
}

/// A time in words.
pub(super) fn time(at: UnixTime) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}

fn shown(person: NameEmail<'_>) -> String {
    format!(
        "{} <{}>",
        String::from_utf8_lossy(person.name),
        String::from_utf8_lossy(person.email)
    )
}

#[cfg(test)]
#[path = "evaluate/tests.rs"]
mod tests;
