//! `git verify-commit` and `git verify-tag` (`gitseal --verify`), `gitseal verify`
//! and `gitseal verify-tag`: where a signature comes in and its verdict goes out.
//!
//! ```text
//! Git ── host/gnupg ─┐                               ┌── status lines, stderr
//!                    ├─ verdict ─ evidence (1 to 9) ─┤
//! user ─ host/git ───┘     └───── lookup             └── text or JSON
//! ```

use crate::{
    cli::{VerifyArgs, VerifyTagArgs},
    context::{ContextError, open_context, open_context_for_git},
    exit::{EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE, written},
    explain,
    host::{
        git::{
            GitError, Object, Repository,
            resolve::{MisnamedTag, ResolvedName},
        },
        gnupg::{self, Status, StatusSigner, StatusTrust},
    },
    names, range,
    recorder::StepRecorder,
    verdict::{
        MISNAMED_TAG, RequestArgs, Verdict, VerifyRequest, unverified_header, verify_object,
        verify_with_lookup,
    },
};
use gitseal_evidence::{
    object::HashKind,
    refusal::{Refusal, codes},
    rfc3339,
    verify::{self, NoopObserver, SignatureInput, Verified},
};
use gitseal_terminal::{self as terminal, Style, Styled, style, styled};

/// Runs `gitseal --verify FILE -`, as Git starts it.
pub fn verify_for_git(request: &gnupg::VerifyOptions) -> u8 {
    let mut status = match Status::open(request.status) {
        Ok(status) => status,
        Err(error) => {
            terminal::error(
                &format!("cannot open the status file descriptor: {error}"),
                None,
            );
            return EXIT_USAGE;
        }
    };
    let (lines, exit) = verify_input(request).unwrap_or_else(|error| {
        // Git shows an undecidable signature, and the exit code says why.
        (gnupg::unchecked_signature(None), error.report())
    });
    match status.write(&lines) {
        Ok(()) => exit,
        Err(error) => {
            terminal::error(&format!("cannot write the status lines: {error}"), None);
            exit.max(EXIT_UNDECIDED)
        }
    }
}

/// Verifies what Git sent, prints the summary, and returns the status lines and
/// the exit code.
fn verify_input(request: &gnupg::VerifyOptions) -> Result<(String, u8), ContextError> {
    let unreadable = |what| move |error| ContextError::Input { what, error };
    let signature =
        gnupg::read_signature(&request.signature).map_err(unreadable("the signature"))?;
    let payload = match &request.content {
        Some(source) => {
            Some(gnupg::read_payload(source).map_err(unreadable("the signed content"))?)
        }
        None => None,
    };
    let (workspace, settings) = open_context_for_git()?;
    let request = VerifyRequest::from_settings(&settings)?;
    let input = SignatureInput {
        payload: payload.as_deref(),
        signature: &signature,
        hash: workspace
            .repository()
            .map_or(HashKind::Sha1, Repository::hash),
    };
    let verdict = verify_with_lookup(&input, &request, &mut StepRecorder::disabled());
    let no_lookup = request.log().is_none().then_some(
        "the signature has no embedded log entry; 'gitseal verify' queries the log; to let Git query it too: git config --global gitseal.rekorMode online",
    );
    report_for_people(&verdict, no_lookup);
    Ok((status_lines(&verdict, &input), verdict.exit()))
}

/// Returns the lines that Git reads.
fn status_lines(verdict: &Verdict, input: &SignatureInput<'_>) -> String {
    let valid = |verified: &Verified, trust| {
        let signer = StatusSigner {
            fingerprint: verified.certificate.sha1_hex(),
            name: verified.identity.san.value().to_owned(),
            algorithm: verified.signature_algorithm,
        };
        gnupg::valid_signature(&signer, verified.time, trust)
    };
    match verdict {
        Verdict::Verified(verified) if verified.identity_matched => {
            valid(verified, StatusTrust::Fully)
        }
        Verdict::Verified(verified) => valid(verified, StatusTrust::Undefined),
        Verdict::UnexpectedIdentity { verified, .. } => valid(verified, StatusTrust::Never),
        Verdict::Refused(_) | Verdict::Unsigned(_) | Verdict::OtherFormat { .. } => {
            gnupg::bad_signature(claimed_signer(input).as_ref())
        }
        Verdict::Undecided { .. } | Verdict::Unreadable { .. } => {
            gnupg::unchecked_signature(claimed_signer(input).as_ref())
        }
    }
}

/// Returns the signer that an unverified certificate names.
fn claimed_signer(input: &SignatureInput<'_>) -> Option<StatusSigner> {
    let parsed = verify::read(input, &mut NoopObserver).ok()?;
    let message = parsed.message();
    Some(StatusSigner {
        fingerprint: message.leaf.sha1_hex(),
        name: message
            .leaf
            .identity()
            .map(|identity| identity.san.value().to_owned())
            .unwrap_or_default(),
        algorithm: message.signature_algorithm,
    })
}

/// Runs `gitseal verify`: on one commit, or on many.
pub fn commit(arguments: &VerifyArgs) -> u8 {
    match range::single_revision(arguments) {
        None => range::run(arguments),
        Some(revision) => verify_one(&arguments.request, arguments.json, |repository| {
            repository.commit(revision)
        }),
    }
}

pub fn tag(arguments: &VerifyTagArgs) -> u8 {
    verify_one(&arguments.request, arguments.json, |repository| {
        repository.tag(&arguments.name)
    })
}

fn verify_one(
    flags: &RequestArgs,
    json: bool,
    find: impl FnOnce(&Repository) -> Result<(Object, ResolvedName), GitError>,
) -> u8 {
    let verify = || -> Result<u8, ContextError> {
        let (workspace, settings) = open_context()?;
        let request = VerifyRequest::from_flags(flags, &settings)?.with_expected_identity()?;
        let repository = workspace.repository()?;
        let (object, resolved) = find(repository)?;
        if !json {
            names::print(std::slice::from_ref(&resolved));
        }
        let misnamed = repository.misnamed_tag(&resolved)?;
        let mut recorder = StepRecorder::enabled();
        let hash = repository.hash();
        let verdict = verify_object(&request, &object, hash, &mut recorder);
        let exit = match &misnamed {
            Some(_) => EXIT_REFUSED,
            None => verdict.exit(),
        };
        let report = explain::Report {
            recorder: &recorder,
            verdict: &verdict,
            object: &object,
            resolved: &resolved,
            misnamed: misnamed.as_ref(),
        };
        let result = match (&verdict, &misnamed) {
            _ if json => terminal::print_json(&report.json()),
            (verdict, Some(misnamed)) => {
                report_misnamed(verdict, misnamed);
                Ok(())
            }
            (Verdict::Verified(verified), None) => {
                terminal::print(&verified_object(&object, verified))
            }
            _ => {
                let no_lookup = request.log().is_none().then_some(
                    "the signature has no embedded log entry; run without --offline to query the log",
                );
                report_for_people(&verdict, no_lookup);
                Ok(())
            }
        };
        Ok(exit.max(written(result)))
    };
    verify().unwrap_or_else(|error| error.report())
}

/// Prints that a tag object is under the ref of another name, after the verdict on its
/// signature if that is another reason.
fn report_misnamed(verdict: &Verdict, misnamed: &MisnamedTag) {
    if !matches!(verdict, Verdict::Verified(_)) {
        report_for_people(verdict, None);
    }
    terminal::info(&styled!(
        "gitseal: {}: {} [{}]",
        style(Style::Bad, "verification failed"),
        misnamed.to_string(),
        MISNAMED_TAG
    ));
    terminal::hint(
        "a signed tag is valid under its own name only; name it by its ID to verify the signature alone",
    );
}

/// Names the object that was verified: the requested name may name another object
/// by now, and a tag object may be stored under a name that is not its own.
fn verified_object(object: &Object, verified: &Verified) -> Styled {
    let name = explain::tag_name(object)
        .map(|name| styled!(" (tag object is named {})", Styled::name(&name)));
    let unverified = unverified_header(object).map(|header| {
        styled!(
            "gitseal: its header {} is a signature over the other object format, which is not verified\n",
            header
        )
    });
    styled!(
        "gitseal: {} {} {}{}: signed by {} (issuer {}) at {}\n{}",
        style(Style::Good, "verified"),
        object.kind.name(),
        object.id.to_string(),
        name,
        Styled::name(verified.identity.san.value()),
        Styled::name(&verified.identity.issuer),
        rfc3339(verified.time),
        unverified
    )
}

/// Prints the verdict, and what to do next, on standard error. `no_lookup` is the
/// hint where a log entry is missing and the log was not queried.
fn report_for_people(verdict: &Verdict, no_lookup: Option<&'static str>) {
    terminal::info(&summary(verdict));
    if let Some(hint) = hint(verdict, no_lookup) {
        terminal::hint(hint);
    }
}

/// Returns the lines that gitsign's users know, and the reason of a failure.
fn summary(verdict: &Verdict) -> Styled {
    let failed = |word: &str, refusal: &Refusal| {
        styled!(
            "gitseal: {} at {}: {} [{}]",
            style(Style::Bad, word),
            refusal.step().to_string(),
            refusal.message().to_owned(),
            refusal.code()
        )
    };
    const FAILED: &str = "verification failed";
    match verdict {
        Verdict::Verified(verified) => valid_lines(verified),
        Verdict::UnexpectedIdentity { verified, refusal } => {
            styled!("{}\n{}", valid_lines(verified), failed(FAILED, refusal))
        }
        Verdict::Refused(refusal)
        | Verdict::Unsigned(refusal)
        | Verdict::OtherFormat { refusal, .. } => styled!(
            "{}\nValidated Git signature: {}",
            failed(FAILED, refusal),
            style(Style::Bad, "false")
        ),
        Verdict::Undecided {
            refusal,
            lookup: None,
        } => failed("undecided", refusal),
        Verdict::Undecided {
            refusal,
            lookup: Some(error),
        } => styled!(
            "{}\ngitseal: cannot query the log: {}",
            failed("undecided", refusal),
            error.to_string()
        ),
        Verdict::Unreadable { error, .. } => styled!("gitseal: {}", error.to_string()),
    }
}

fn valid_lines(verified: &Verified) -> Styled {
    let index = verified
        .log_index
        .map(|index| styled!("tlog index: {}\n", index));
    styled!(
        "{}gitseal: Signature made using certificate ID 0x{} | {}\n\
         gitseal: {} from [{}]({})\n\
         gitseal: signed at {} ({})\n\
         Validated Git signature: true\n\
         Validated Rekor entry: true\n\
         Validated Certificate claims: {}",
        index,
        verified.certificate.sha1_hex(),
        verified.certificate.issuer_text(),
        style(Style::Good, "Good signature"),
        Styled::name(verified.identity.san.value()),
        Styled::name(&verified.identity.issuer),
        rfc3339(verified.time),
        verified.time_source.description(),
        verified.identity_matched
    )
}

/// Returns the suggested next step.
fn hint(verdict: &Verdict, no_lookup: Option<&'static str>) -> Option<&'static str> {
    match verdict {
        Verdict::Verified(verified) if !verified.identity_matched => Some(
            "the signature is valid, but no expected identity is set; set gitseal.certificateIdentity and gitseal.certificateOidcIssuer to the signer you expect",
        ),
        Verdict::Undecided {
            lookup: Some(error),
            ..
        } => error.hint(),
        Verdict::Undecided { refusal, .. } if refusal.code() == codes::NO_LOG_ENTRY => no_lookup,
        Verdict::UnexpectedIdentity { .. } => None,
        _ => match verdict.refusal()?.code() {
            "log-unknown" | "chain-no-authority" => Some(
                "this is not from the public Sigstore instance; set gitseal.trustedRoot or --trusted-root to that instance's trusted_root.json",
            ),
            "chain-not-sigstore" => Some(
                "this is an S/MIME signature; verify it with 'git -c gpg.x509.program=gpgsm verify-commit'",
            ),
            "object-unsigned" => Some("sign with 'git commit -S' or 'git tag -s'"),
            "armor-label" => Some(
                "only signatures with gpg.format x509 are verified here; Git itself verifies OpenPGP and SSH signatures",
            ),
            _ => None,
        },
    }
}
