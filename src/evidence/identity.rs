//! Expected identities: patterns over the identity (the one SAN), the issuer and
//! the other claims of a Fulcio certificate. Step 9 compares a certificate with
//! them.
//!
//! Patterns are anchored at both ends, always: `alice@lab\.example` never
//! matches `malice@lab.example.evil`. Comparison is byte-exact: no case
//! folding, no Unicode normalisation, no decoding of percent signs.
//!
//! Not checked here: whether the certificate is genuine (`chain.rs`, `sct.rs`).

use regex::{Regex, RegexBuilder};

use crate::{
    certificate::{Certificate, Identity, San},
    object::{Ident, ObjectKind},
    refusal::{Reason, codes, reason},
};

/// The longest pattern that is compiled, in bytes.
pub(crate) const MAX_PATTERN: usize = 4096;

/// Reasons why an expected identity is not usable: a mistake of the caller, not of the
/// signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields appear in the message")]
pub enum PatternError {
    /// An empty string would match nothing, or everything: neither is meant.
    #[error("an empty {what} matches nothing")]
    Empty { what: &'static str },
    /// The pattern is longer than the limit.
    #[error("the {what} pattern is {length} bytes; the limit is {MAX_PATTERN}")]
    TooLong { what: &'static str, length: usize },
    /// The pattern does not compile.
    #[error("the {what} pattern {pattern:?} is not a regular expression: {reason}")]
    Syntax {
        what: &'static str,
        pattern: String,
        reason: String,
    },
    /// An identity means nothing without the issuer that authenticated it.
    #[error("an identity was set without an issuer")]
    WithoutIssuer,
    /// An issuer alone would accept every account there.
    #[error("an issuer was set without an identity")]
    WithoutIdentity,
}

impl PatternError {
    /// The stable, kebab-case name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "pattern-empty",
            Self::TooLong { .. } => "pattern-too-long",
            Self::Syntax { .. } => "pattern-syntax",
            Self::WithoutIssuer => "identity-without-issuer",
            Self::WithoutIdentity => "issuer-without-identity",
        }
    }
}

/// One condition on a text.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// The same string, byte for byte.
    Exact(String),
    /// A regular expression that must match the whole text.
    Matching {
        /// The pattern as it was written.
        written: String,
        /// Compiled, with both anchors.
        compiled: Regex,
    },
}

impl Pattern {
    /// Creates a condition that compares byte for byte.
    ///
    /// # Errors
    /// The text is empty.
    pub fn exact(what: &'static str, text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty { what });
        }
        Ok(Self::Exact(text.to_owned()))
    }

    /// A regular expression (linear time, the RE2 dialect without `\Q`),
    /// anchored at both ends whether it says so or not.
    ///
    /// # Errors
    /// The pattern is empty, too long, or no regular expression.
    pub fn matching(what: &'static str, pattern: &str) -> Result<Self, PatternError> {
        Self::matching_within(what, pattern, 1 << 20)
    }

    /// Creates a pattern like [`matching`](Self::matching), where the compiled expression may take
    /// `size` bytes: for lists of patterns, which are bounded together.
    ///
    /// # Errors
    /// As [`matching`](Self::matching).
    pub fn matching_within(
        what: &'static str,
        pattern: &str,
        size: usize,
    ) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Err(PatternError::Empty { what });
        }
        if pattern.len() > MAX_PATTERN {
            return Err(PatternError::TooLong {
                what,
                length: pattern.len(),
            });
        }
        let syntax = |error: regex::Error| PatternError::Syntax {
            what,
            pattern: pattern.to_owned(),
            reason: error.to_string().replace('\n', " "),
        };
        // First alone, so that `a)(b` cannot climb out of the group below.
        RegexBuilder::new(pattern)
            .size_limit(size)
            .build()
            .map_err(syntax)?;
        let compiled = RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
            .size_limit(size)
            .build()
            .map_err(syntax)?;
        Ok(Self::Matching {
            written: pattern.to_owned(),
            compiled,
        })
    }

    /// Whether the whole of `text` satisfies the condition.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == text,
            Self::Matching { compiled, .. } => compiled.is_match(text),
        }
    }

    /// The condition as it was written, for messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(text) => text,
            Self::Matching { written, .. } => written,
        }
    }
}

/// One accepted signer: every condition must hold.
#[derive(Debug, Clone)]
pub struct IdentityMatcher {
    identity: Vec<Pattern>,
    issuer: Vec<Pattern>,
    claims: Vec<(String, Pattern)>,
}

impl IdentityMatcher {
    /// Creates a matcher. Where an exact text and a pattern are both given, both must hold.
    /// `claims` are Fulcio extensions by name (see
    /// [`FulcioExtensions`](super::certificate::FulcioExtensions)); a claim that
    /// the certificate does not carry does not match.
    ///
    /// # Errors
    /// The identity or the issuer is missing.
    pub fn new(
        identity: Vec<Pattern>,
        issuer: Vec<Pattern>,
        claims: Vec<(String, Pattern)>,
    ) -> Result<Self, PatternError> {
        if identity.is_empty() {
            return Err(PatternError::WithoutIdentity);
        }
        if issuer.is_empty() {
            return Err(PatternError::WithoutIssuer);
        }
        Ok(Self {
            identity,
            issuer,
            claims,
        })
    }

    /// Returns the matcher that accepts only this identity.
    #[must_use]
    pub fn exact(identity: &Identity) -> Self {
        Self {
            identity: vec![Pattern::Exact(identity.san.value().to_owned())],
            issuer: vec![Pattern::Exact(identity.issuer.clone())],
            claims: Vec::new(),
        }
    }

    fn mismatch(&self, certificate: &Certificate, identity: &Identity) -> Option<Reason> {
        let san = identity.san.value();
        if let Some(expected) = self.identity.iter().find(|expected| !expected.matches(san)) {
            return Some(reason!(
                codes::IDENTITY_MISMATCH,
                "signed by {found:?}, expected {expected:?}",
                found = san,
                expected = expected.as_str()
            ));
        }
        let issuer = &identity.issuer;
        if let Some(expected) = self
            .issuer
            .iter()
            .find(|expected| !expected.matches(issuer))
        {
            return Some(reason!(
                codes::ISSUER_MISMATCH,
                "issuer is {found:?}, expected {expected:?}",
                found = issuer,
                expected = expected.as_str()
            ));
        }
        for (claim, expected) in &self.claims {
            match certificate.fulcio().by_name(claim) {
                None => {
                    return Some(reason!(
                        "claim-absent",
                        "the certificate has no {claim}, expected {expected:?}",
                        expected = expected.as_str()
                    ));
                }
                Some(found) if !expected.matches(found) => {
                    return Some(reason!(
                        "claim-mismatch",
                        "the certificate's {claim} is {found:?}, expected {expected:?}",
                        expected = expected.as_str()
                    ));
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// The identity that the caller expects.
#[derive(Debug, Clone, Default)]
pub enum ExpectedIdentity {
    /// No expected identity; the result reports that none was checked.
    #[default]
    Any,
    /// One of these matchers must accept it.
    OneOf(Vec<IdentityMatcher>),
}

/// The reason for an object without the committer or tagger that is expected.
#[must_use]
pub fn no_committer() -> Reason {
    reason!("committer-absent", "the tag has no tagger")
}

/// Compares a certificate's identity with the committer (tagger) that the
/// object names, as gitsign's `matchCommitter` compares: an e-mail address with
/// the address, any other identity with the name, byte for byte.
///
/// # Errors
/// They differ, or the object names no committer.
pub fn check_committer(
    identity: &Identity,
    kind: ObjectKind,
    person: Option<&Ident>,
) -> Result<(), Reason> {
    let person = person.ok_or_else(no_committer)?;
    let found = identity.san.value();
    let same = match &identity.san {
        San::Email(email) => *email == person.email,
        San::Uri(_) | San::OtherName(_) => found == person.name,
    };
    if same {
        return Ok(());
    }
    Err(reason!(
        "committer-mismatch",
        "signed by {found:?}, and the {role} is {name} <{email}>",
        role = match kind {
            ObjectKind::Commit => "committer",
            ObjectKind::Tag => "tagger",
        },
        name = person.name,
        email = person.email
    ))
}

/// Compares a certificate's identity with the expected one. `Ok(true)`: a
/// matcher accepts it; `Ok(false)`: none is expected.
///
/// # Errors
/// No rule matches. The refusal is that of the rule that came furthest (its
/// identity matched, or else its issuer), so that it tells most.
pub fn check(
    certificate: &Certificate,
    identity: &Identity,
    expected: &ExpectedIdentity,
) -> Result<bool, Reason> {
    let rules = match expected {
        ExpectedIdentity::Any => return Ok(false),
        ExpectedIdentity::OneOf(rules) => rules,
    };
    let mut telling = reason!(
        codes::IDENTITY_NO_RULE,
        "the list of expected identities is empty"
    );
    for rule in rules {
        match rule.mismatch(certificate, identity) {
            None => return Ok(true),
            Some(refusal) if rank(&refusal) > rank(&telling) => telling = refusal,
            Some(_) => {}
        }
    }
    Err(telling)
}

fn rank(refusal: &Reason) -> u8 {
    match refusal.code() {
        codes::IDENTITY_NO_RULE => 0,
        codes::IDENTITY_MISMATCH => 1,
        codes::ISSUER_MISMATCH => 2,
        _ => 3,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_anchored() {
        let pattern = Pattern::matching("identity", r"alice@lab\.dev").unwrap();
        assert!(pattern.matches("alice@lab.dev"));
        for other in [
            "malice@lab.dev",
            "alice@lab.dev.evil.io",
            "alice@lab.dev\n",
            "\nalice@lab.dev",
            "x\nalice@lab.dev\nx",
        ] {
            assert!(!pattern.matches(other), "{other:?}");
        }
    }

    #[test]
    fn alternatives_do_not_escape_the_anchors() {
        let pattern = Pattern::matching("identity", "alice|bob").unwrap();
        assert!(pattern.matches("alice") && pattern.matches("bob"));
        assert!(!pattern.matches("alicex") && !pattern.matches("xbob"));
        assert!(matches!(
            Pattern::matching("identity", "a)|(?:b").unwrap_err(),
            PatternError::Syntax { .. }
        ));
        // An inline flag inside cannot turn `\z` into a line end.
        let pattern = Pattern::matching("identity", "(?m)alice").unwrap();
        assert!(!pattern.matches("alice\nmallory"));
    }

    #[test]
    fn empty_and_huge_patterns_are_refused() {
        assert!(matches!(
            Pattern::exact("identity", "").unwrap_err(),
            PatternError::Empty { .. }
        ));
        assert!(matches!(
            Pattern::matching("identity", "").unwrap_err(),
            PatternError::Empty { .. }
        ));
        assert!(matches!(
            Pattern::matching("identity", &"a".repeat(MAX_PATTERN + 1)).unwrap_err(),
            PatternError::TooLong { .. }
        ));
        assert!(matches!(
            Pattern::matching("identity", "(a{1000}){1000}").unwrap_err(),
            PatternError::Syntax { .. }
        ));
    }

    #[test]
    fn exact_is_byte_exact() {
        let pattern = Pattern::exact("identity", "alice@example.test").unwrap();
        for other in [
            "ALICE@example.test",
            "alice@example.test.",
            "alice@example.test\0",
            "аlice@example.test",
        ] {
            assert!(!pattern.matches(other), "{other:?}");
        }
    }

    #[test]
    fn a_rule_needs_both_halves() {
        let alice = || vec![Pattern::exact("identity", "alice").unwrap()];
        assert!(matches!(
            IdentityMatcher::new(alice(), vec![], vec![]).unwrap_err(),
            PatternError::WithoutIssuer
        ));
        assert!(matches!(
            IdentityMatcher::new(vec![], alice(), vec![]).unwrap_err(),
            PatternError::WithoutIdentity
        ));
    }

    #[test]
    fn i7_the_committer_is_compared_by_address_or_by_name() {
        let person = |name: &str, email: &str| Ident {
            name: name.into(),
            email: email.into(),
            time: 0,
            offset_minutes: 0,
            raw: Vec::new(),
        };
        let of = |san| Identity {
            san,
            issuer: "https://issuer.example".into(),
        };
        let alice = of(San::Email("alice@lab.dev".into()));
        let commit = ObjectKind::Commit;
        check_committer(&alice, commit, Some(&person("x", "alice@lab.dev"))).unwrap();
        for other in ["Alice@lab.dev", "alice@lab.dev.", "alice@lab.de", ""] {
            let refusal = check_committer(&alice, commit, Some(&person("alice@lab.dev", other)));
            assert_eq!(refusal.unwrap_err().code(), "committer-mismatch", "{other}");
        }
        let job = of(San::Uri("https://ci.example/job".into()));
        check_committer(&job, commit, Some(&person("https://ci.example/job", "x"))).unwrap();
        let refusal = check_committer(
            &job,
            ObjectKind::Tag,
            Some(&person("x", "https://ci.example/job")),
        )
        .unwrap_err();
        assert_eq!(refusal.code(), "committer-mismatch");
        assert!(refusal.message().contains("the tagger is"), "{refusal}");
        let refusal = check_committer(&alice, ObjectKind::Tag, None).unwrap_err();
        assert_eq!(refusal.code(), "committer-absent");
    }
}
