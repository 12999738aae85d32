//! `git verify-commit`, `git verify-tag`, `gitseal verify` and `gitseal
//! verify-tag`: two doors, one room. The room is [`judge`]; a door brings the
//! bytes in and the verdict out.
//!
//! ```text
//! git ──── host/gnupg ──┐                                   ┌── status lines, stderr
//!                       ├─ judge ─ evidence/verify (1 to 9) ─┤
//! person ─ host/git ────┘      └── commands/lookup           └── text or JSON
//! ```

use url::Url;

use crate::host::{
    git::{GitError, Object, Repository},
    gnupg::{self, Outcome, Signer, Status},
    settings::RekorMode,
    trust_files,
};
use crate::{
    cli::{IdentityArgs, TrustArgs, VerifyArgs, VerifyTagArgs},
    context::{ContextError, VerifyRequest, expected_identity_from_settings, open_context},
    exit::{EXIT_OK, EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE},
    explain::Recorder,
    lookup, range,
};
use gitseal_evidence::{
    entry::LogEntry,
    identity::{self, ExpectedIdentity},
    memo::Memo,
    object::{self, HashKind, ObjectKind},
    refusal::Step,
    trusted_root::TrustedRoot,
    verify::{
        self, CrossCheckRefusal, NoopObserver, Reason, Refusal, SignatureInput, StepObserver,
        Verified, VerifyInputs,
    },
};
use gitseal_terminal::{self as terminal, Escape, Tone, escape, paint};

/// What the room found.
#[derive(Debug)]
pub enum Verdict {
    /// Good, by somebody who was asked for, or nobody asked (`named`).
    Good(Box<Verified>),
    /// Good, by somebody else than was asked for.
    NotWanted {
        /// The signature.
        verified: Box<Verified>,
        /// What was asked for, and what was found.
        refusal: Refusal,
    },
    /// Not good.
    Refused(Refusal),
    /// Evidence is missing.
    Undecided {
        /// Which.
        refusal: Refusal,
        /// Why it could not be had, if it was looked for in vain.
        lookup: Option<lookup::LookupError>,
    },
}

/// Whether the log may be asked for an entry that the signature does not carry.
#[derive(Debug, Clone, Copy)]
pub enum Search<'a> {
    /// Nobody is asked.
    No,
    /// This log is.
    Log(&'a Url),
    /// Nobody is asked: these entries were found already. They are believed no
    /// more than embedded ones.
    Found(&'a [LogEntry]),
}

/// Judges one signature.
pub fn judge(
    subject: &SignatureInput<'_>,
    trust: &TrustedRoot,
    wanted: &ExpectedIdentity,
    search: Search<'_>,
    recorder: &mut Recorder,
) -> Verdict {
    judge_once(subject, trust, wanted, search, Memo::disabled(), recorder)
}

/// As [`judge`], for one of many signatures: `memo` remembers what they share.
pub fn judge_once(
    subject: &SignatureInput<'_>,
    trust: &TrustedRoot,
    wanted: &ExpectedIdentity,
    search: Search<'_>,
    memo: &Memo,
    recorder: &mut Recorder,
) -> Verdict {
    let once = |wanted: &ExpectedIdentity, found: &[LogEntry], observer: &mut dyn StepObserver| {
        let against = VerifyInputs {
            trust,
            wanted,
            found,
        };
        verify::verify_memoized(subject, &against, memo, observer)
    };
    let mut found: Vec<LogEntry> = match search {
        Search::Found(entries) => entries.to_vec(),
        Search::No | Search::Log(_) => Vec::new(),
    };
    let mut result = once(wanted, &found, recorder);
    let mut failed_lookup = None;
    if let (Err(refusal), Search::Found([])) = (&mut result, search)
        && matches!(
            refusal.reason,
            Reason::CrossCheck(CrossCheckRefusal::NoEntry)
        )
    {
        refusal.reason = CrossCheckRefusal::NotFound { candidates: 0 }.into();
    }
    if let (Err(refusal), Search::Log(rekor)) = (&result, search)
        && matches!(
            refusal.reason,
            Reason::CrossCheck(CrossCheckRefusal::NoEntry)
        )
    {
        match lookup::find_entries(subject, rekor, &crate::context::http_client()) {
            Ok(entries) if entries.is_empty() => {
                result = Err(Refusal {
                    step: Step::Entry,
                    reason: CrossCheckRefusal::NotFound { candidates: 0 }.into(),
                });
            }
            Ok(entries) => {
                found = entries;
                recorder.restart();
                result = once(wanted, &found, recorder);
            }
            Err(error) => failed_lookup = Some(error),
        }
    }
    match result {
        Ok(verified) => Verdict::Good(Box::new(verified)),
        Err(refusal) if refusal.step == Step::Identity => {
            // Everything else holds, if it does without the question as well.
            match once(&ExpectedIdentity::Any, &found, &mut NoopObserver) {
                Ok(verified) => Verdict::NotWanted {
                    verified: Box::new(verified),
                    refusal,
                },
                Err(_) => Verdict::Refused(refusal),
            }
        }
        Err(refusal) if refusal.is_undecided() => Verdict::Undecided {
            refusal,
            lookup: failed_lookup,
        },
        Err(refusal) => Verdict::Refused(refusal),
    }
}

impl Verdict {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Good(_) => EXIT_OK,
            Self::NotWanted { .. } | Self::Refused(_) => EXIT_REFUSED,
            Self::Undecided { .. } => EXIT_UNDECIDED,
        }
    }

    /// What git reads.
    fn outcome(&self, subject: &SignatureInput<'_>) -> Outcome {
        match self {
            Self::Good(verified) => {
                let signer = signer_of(subject, verified);
                let time = verified.time;
                if verified.named {
                    Outcome::Named { signer, time }
                } else {
                    Outcome::Unnamed { signer, time }
                }
            }
            Self::NotWanted { verified, .. } => Outcome::NotWanted {
                signer: signer_of(subject, verified),
                time: verified.time,
            },
            Self::Refused(_) => Outcome::Refused {
                signer: claimed_signer(subject),
            },
            Self::Undecided { .. } => Outcome::Undecided {
                signer: claimed_signer(subject),
            },
        }
    }

    /// The summary that gitsign's users know, and why not.
    fn told(&self) -> String {
        match self {
            Self::Good(verified) => summary(verified),
            Self::NotWanted { verified, refusal } => format!(
                "{}\n{}",
                summary(verified),
                refused_line("refused", refusal)
            ),
            Self::Refused(refusal) => format!(
                "{}\nValidated Git signature: {}",
                refused_line("refused", refusal),
                paint(Tone::Bad, "false")
            ),
            Self::Undecided { refusal, lookup } => {
                let mut text = refused_line("undecided", refusal);
                if let Some(error) = lookup {
                    text.push_str(&format!(
                        "\ngitseal: the log could not be asked: {}",
                        escape(&error.to_string(), Escape::Prose)
                    ));
                }
                text
            }
        }
    }

    /// What to do next.
    fn hint(&self, asked: bool) -> Option<&'static str> {
        match self {
            Self::Good(verified) if !verified.named => Some(
                "nobody said who may sign: set gitseal.certificateIdentity and gitseal.certificateOidcIssuer with git config --global, or use gitseal verify",
            ),
            Self::Good(_) | Self::NotWanted { .. } => None,
            Self::Refused(refusal) => hint_for(refusal),
            Self::Undecided {
                lookup: Some(error),
                ..
            } => error.hint(),
            Self::Undecided { refusal, .. } => match refusal.reason {
                Reason::CrossCheck(CrossCheckRefusal::NoEntry) if !asked => Some(
                    "the signature does not carry its log entry: gitseal verify without --offline, or gitseal.rekorMode online, asks the log",
                ),
                _ => hint_for(refusal),
            },
        }
    }
}

fn hint_for(refusal: &Refusal) -> Option<&'static str> {
    match refusal.code() {
        "log-unknown" | "chain-no-authority" => Some(
            "signatures of another Sigstore than the public one need its trusted_root.json: gitseal.trustedRoot or --trusted-root",
        ),
        "chain-not-sigstore" => {
            Some("an ordinary S/MIME signature: gpgsm checks those, as gpg.x509.program")
        }
        "object-unsigned" => Some("git commit -S and git tag -s sign"),
        "armor-label" => Some(
            "only signatures with gpg.format x509 are verified here; git itself checks OpenPGP and SSH signatures",
        ),
        _ => None,
    }
}

fn refused_line(word: &str, refusal: &Refusal) -> String {
    format!(
        "gitseal: {} at {}: {} [{}]",
        paint(Tone::Bad, word),
        refusal.step,
        escape(&refusal.reason.to_string(), Escape::Prose),
        refusal.code()
    )
}

/// The lines of a good signature.
fn summary(verified: &Verified) -> String {
    let mut lines = Vec::new();
    if let Some(index) = verified.log_index {
        lines.push(format!("tlog index: {index}"));
    }
    lines.push(format!(
        "gitseal: Signature made using certificate ID 0x{} | {}",
        verified.certificate.sha1_hex(),
        escape(&verified.certificate.issuer_text(), Escape::Prose)
    ));
    lines.push(format!(
        "gitseal: {} from [{}]({})",
        paint(Tone::Good, "Good signature"),
        escape(verified.identity.san.value(), Escape::Ascii),
        escape(&verified.identity.issuer, Escape::Ascii)
    ));
    lines.push(format!(
        "gitseal: signed at {} ({})",
        verify::rfc3339(verified.time),
        verified.time_source.words()
    ));
    lines.push("Validated Git signature: true".to_owned());
    lines.push("Validated Rekor entry: true".to_owned());
    lines.push(format!("Validated Certificate claims: {}", verified.named));
    lines.join("\n")
}

fn signer_of(subject: &SignatureInput<'_>, verified: &Verified) -> Signer {
    // The signature was read to get here; P-256 is what there is to fall back on.
    let algorithm = verify::read(subject, &mut NoopObserver).map_or(
        gitseal_evidence::keys::SignatureAlgorithm::EcdsaSha256,
        |read| read.message().signature_algorithm,
    );
    Signer {
        fingerprint: verified.certificate.sha1_hex(),
        name: verified.identity.san.value().to_owned(),
        algorithm,
    }
}

/// The signer that an unverified certificate names, if it can be read at all.
fn claimed_signer(subject: &SignatureInput<'_>) -> Option<Signer> {
    let read = verify::read(subject, &mut NoopObserver).ok()?;
    let message = read.message();
    Some(Signer {
        fingerprint: message.leaf.sha1_hex(),
        name: message
            .leaf
            .identity()
            .map(|identity| identity.san.value().to_owned())
            .unwrap_or_default(),
        algorithm: message.signature_algorithm,
    })
}

/// Git's door: `--verify FILE -`.
pub fn helper(request: &gnupg::Verify) -> u8 {
    let mut status = match Status::open(request.status) {
        Ok(status) => status,
        Err(error) => {
            terminal::error(
                &format!("the descriptor for status lines cannot be used: {error}"),
                None,
            );
            return EXIT_USAGE;
        }
    };
    let (lines, exit, told) = match helper_verdict(request) {
        Ok((outcome, told)) => {
            let (lines, exit) = outcome.lines();
            (lines, exit, Ok(told))
        }
        // git shows an undecidable signature, and the exit code says why.
        Err(obstacle) => {
            let (lines, _) = Outcome::Undecided { signer: None }.lines();
            (lines, EXIT_USAGE, Err(obstacle))
        }
    };
    match told {
        Ok((text, hint)) => {
            terminal::tell(&text);
            if let Some(hint) = hint {
                terminal::tell(&format!("{} {hint}", paint(Tone::Strong, "hint:")));
            }
        }
        Err(error) => {
            error.report();
        }
    }
    match status.write(&lines) {
        Ok(()) => exit,
        Err(error) => {
            terminal::error(
                &format!(
                    "the status lines cannot be written, so nobody learns the verdict: {error}"
                ),
                None,
            );
            exit.max(EXIT_UNDECIDED)
        }
    }
}

type Told = (String, Option<&'static str>);

fn helper_verdict(request: &gnupg::Verify) -> Result<(Outcome, Told), ContextError> {
    let unreadable = |what| move |error| ContextError::Input { what, error };
    let signature =
        gnupg::read_signature(&request.signature).map_err(unreadable("the signature"))?;
    let payload = match &request.content {
        Some(source) => Some(gnupg::read_payload(source).map_err(unreadable("what was signed"))?),
        None => None,
    };
    let (workspace, settings) = open_context()?;
    let trust = trust_files::load(None, &settings)?;
    let wanted = expected_identity_from_settings(&settings)?;
    let subject = SignatureInput {
        payload: payload.as_deref(),
        signature: &signature,
        hash: workspace
            .repository()
            .map_or(HashKind::Sha1, Repository::hash),
    };
    let search = match settings.rekor_mode.value {
        RekorMode::Offline => Search::No,
        RekorMode::Online => Search::Log(settings.rekor_lookup.value.url()),
    };
    let verdict = judge(
        &subject,
        &trust.root,
        &wanted,
        search,
        &mut Recorder::deaf(),
    );
    let hint = verdict.hint(matches!(search, Search::Log(_)));
    Ok((verdict.outcome(&subject), (verdict.told(), hint)))
}

/// `gitseal verify`.
pub fn commit(arguments: &VerifyArgs) -> u8 {
    if !range::is_single(arguments) {
        return range::run(arguments);
    }
    let revision = arguments.revisions.first().map_or("HEAD", String::as_str);
    person(
        &arguments.identity,
        &arguments.trust,
        arguments.json,
        |repository| repository.commit(revision),
    )
}

/// `gitseal verify-tag`.
pub fn tag(arguments: &VerifyTagArgs) -> u8 {
    person(
        &arguments.identity,
        &arguments.trust,
        arguments.json,
        |repository| repository.tag(&arguments.name),
    )
}

/// A person's door.
fn person(
    identity: &IdentityArgs,
    trust: &TrustArgs,
    json: bool,
    find: impl FnOnce(&Repository) -> Result<Object, GitError>,
) -> u8 {
    let answer = || -> Result<u8, ContextError> {
        let request = VerifyRequest::resolve(identity, trust)?.with_expected_identity()?;
        let object = find(request.workspace.repository()?)?;
        let mut recorder = Recorder::listening();
        let verdict = judge_object(&request, &object, trust.offline, &mut recorder)?;
        let exit = verdict.exit();
        let written = if json {
            let report = recorder.report(&verdict, &object);
            terminal::print_json(&report)
        } else if exit == EXIT_OK {
            terminal::print(&format!(
                "{}\n{}\n",
                verdict.told(),
                verified_object(&object)
            ))
        } else {
            terminal::tell(&verdict.told());
            if let Some(hint) = verdict.hint(!trust.offline) {
                terminal::tell(&format!("{} {hint}", paint(Tone::Strong, "hint:")));
            }
            Ok(())
        };
        Ok(exit.max(crate::exit::written(written)))
    };
    answer().unwrap_or_else(|error| error.report())
}

/// Which object the verdict is about: the name that was asked for may mean
/// another one by now, and a tag object may lie under a name that is not its own.
fn verified_object(object: &Object) -> String {
    let line = format!("gitseal: verified {} {}", object.kind, object.id);
    match tag_name(object) {
        Some(name) => format!(
            "{line}, which names itself {}",
            escape(&name, Escape::Ascii)
        ),
        None => line,
    }
}

/// The name inside a tag object.
pub(super) fn tag_name(object: &Object) -> Option<String> {
    match object.kind {
        ObjectKind::Commit => None,
        ObjectKind::Tag => object::tag_view(&object.raw).ok().map(|view| view.tag),
    }
}

/// Judges an object of the repository.
///
/// # Errors
/// There is no repository.
pub fn judge_object(
    request: &VerifyRequest,
    object: &Object,
    offline: bool,
    recorder: &mut Recorder,
) -> Result<Verdict, ContextError> {
    let hash = request.workspace.repository()?.hash();
    let signed = match object::split_signature(object.kind, hash, &object.raw) {
        Ok(signed) => signed,
        Err(reason) => {
            return Ok(Verdict::Refused(Refusal {
                step: Step::Read,
                reason: Reason::Object(reason),
            }));
        }
    };
    let subject = SignatureInput {
        payload: Some(&signed.payload),
        signature: &signed.signature,
        hash,
    };
    let search = if offline {
        Search::No
    } else {
        Search::Log(request.settings.rekor_lookup.value.url())
    };
    recorder.about(&subject, &request.trust.root, &request.expected);
    let verdict = judge(
        &subject,
        &request.trust.root,
        &request.expected,
        search,
        recorder,
    );
    Ok(match verdict {
        Verdict::Good(verified) if request.match_committer => {
            committed_by(verified, object.kind, &signed.payload)
        }
        verdict => verdict,
    })
}

/// Step 9, where the committer or tagger has to be who signed.
fn committed_by(verified: Box<Verified>, kind: ObjectKind, payload: &[u8]) -> Verdict {
    let person = match kind {
        ObjectKind::Commit => object::commit_view(payload).ok().map(|view| view.committer),
        ObjectKind::Tag => object::tag_view(payload).ok().and_then(|view| view.tagger),
    };
    match identity::check_committer(&verified.identity, kind, person.as_ref()) {
        Ok(()) => Verdict::Good(verified),
        Err(reason) => Verdict::NotWanted {
            verified,
            refusal: Refusal {
                step: Step::Identity,
                reason: Reason::Identity(reason),
            },
        },
    }
}
