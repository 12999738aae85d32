//! Entries that a search found: each goes through the steps, one that passes them is
//! enough, and the most telling refusal is shown if none does.

use crate::support::forge::{EntrySpec, IDENTITY, ISSUER, Key, Lab, NOW, Spec, commit_payload};
use gitseal_evidence::{
    entry::{LogEntry, hashedrekord_v1},
    identity::{ExpectedIdentity, IdentityMatcher, Pattern},
    object::HashKind,
    refusal::{Refusal, Step},
    signed_data,
    trusted_root::TrustedRoot,
    verify::{
        MAX_FOUND_ENTRIES, NoopObserver, SignatureInput, StepObserver, Verified, VerifyInputs,
        verify,
    },
};
use sha2::{Digest as _, Sha256};

struct Scene {
    lab: Lab,
    payload: Vec<u8>,
    /// Without an embedded entry.
    signature: String,
    trust: TrustedRoot,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        let payload = commit_payload();
        Self {
            signature: lab.sign_with(&payload, |spec| spec.entry = None),
            trust: TrustedRoot::from_json(lab.trusted_root().as_bytes()).unwrap(),
            lab,
            payload,
        }
    }

    /// An entry about the signature, as a log returns it: with its body.
    fn entry(&self, change: impl Fn(&mut EntrySpec)) -> LogEntry {
        self.entry_of(|spec| change(spec.entry.as_mut().unwrap()))
    }

    fn entry_of(&self, change: impl Fn(&mut Spec)) -> LogEntry {
        let mut spec = self.lab.spec();
        change(&mut spec);
        let message = signed_data::read(&self.lab.cms(&self.payload, &spec)).unwrap();
        let entry = LogEntry::from_protobuf(message.log_entry.as_ref().unwrap()).unwrap();
        let digest = Sha256::digest(&message.attributes).into();
        let body = hashedrekord_v1(&digest, &message.signature, message.leaf.der());
        LogEntry {
            body: Some(body),
            ..entry
        }
    }

    fn good(&self) -> LogEntry {
        self.entry(|_| {})
    }

    /// The same once more, later: anyone can log that.
    fn late(&self) -> LogEntry {
        self.entry(|entry| entry.integrated_time = NOW + 601)
    }

    fn result(
        &self,
        found: &[LogEntry],
        expected: &ExpectedIdentity,
        observer: &mut dyn StepObserver,
    ) -> Result<Verified, Refusal> {
        let subject = SignatureInput {
            payload: Some(&self.payload),
            signature: self.signature.as_bytes(),
            hash: HashKind::Sha1,
        };
        let against = VerifyInputs {
            found,
            expected,
            ..VerifyInputs::new(&self.trust)
        };
        verify(&subject, &against, observer)
    }

    fn verdict(&self, found: &[LogEntry]) -> String {
        match self.result(found, &ExpectedIdentity::Any, &mut NoopObserver) {
            Ok(_) => "good".to_owned(),
            Err(refusal) => format!(
                "{}{} {}",
                if refusal.is_undecided() {
                    "undecided "
                } else {
                    ""
                },
                refusal.step().number(),
                refusal.code()
            ),
        }
    }
}

#[test]
fn one_good_entry_is_enough_in_whatever_order() {
    let scene = Scene::new();
    let (good, late) = (scene.good(), scene.late());
    let foreign = scene.entry(|entry| *entry = EntrySpec::v1(&Key::p256(99)));
    let kind = scene.entry(|entry| entry.kind = "dsse".into());
    let torn = LogEntry {
        proof: None,
        ..good.clone()
    };
    let other = LogEntry {
        body: Some(b"{}".to_vec()),
        ..good.clone()
    };
    for bad in [&late, &foreign, &kind, &torn, &other] {
        for found in [
            [bad, &good].map(Clone::clone),
            [&good, bad].map(Clone::clone),
        ] {
            assert_eq!(scene.verdict(&found), "good");
        }
    }
    let found = [&late, &foreign, &good, &late].map(Clone::clone);
    let verified = scene
        .result(&found, &ExpectedIdentity::Any, &mut NoopObserver)
        .unwrap();
    assert_eq!((verified.time, &verified.entry), (NOW + 2, &good));
}

#[test]
fn without_a_good_entry_the_furthest_one_is_shown() {
    let scene = Scene::new();
    let late = scene.late();
    let foreign = scene.entry(|entry| *entry = EntrySpec::v1(&Key::p256(99)));
    let proof = scene.entry(|entry| entry.hashes = Box::new(|hashes| hashes[0][0] ^= 1));
    for (found, expected) in [
        (vec![&late], "6 time-outside-certificate"),
        (vec![&late, &late], "6 time-outside-certificate"),
        (vec![&foreign], "4 log-unknown"),
        (vec![&foreign, &proof], "5 proof-root-mismatch"),
        (vec![&proof, &foreign], "5 proof-root-mismatch"),
        (vec![&proof, &late, &foreign], "6 time-outside-certificate"),
    ] {
        let found: Vec<LogEntry> = found.into_iter().cloned().collect();
        assert_eq!(scene.verdict(&found), expected);
    }
    // Another object's entries are none of this one's.
    let other = LogEntry {
        body: Some(hashedrekord_v1(&[7; 32], b"x", b"y")),
        ..scene.good()
    };
    assert_eq!(scene.verdict(&[other]), "undecided 4 log-entry-not-found");
    assert_eq!(scene.verdict(&[]), "undecided 4 no-log-entry");
}

/// An entry that a search returned is checked like one that was parsed.
#[test]
fn numbers_of_found_entries_are_checked() {
    let scene = Scene::new();
    let changed = |change: &dyn Fn(&mut LogEntry)| {
        let mut entry = scene.good();
        change(&mut entry);
        scene.verdict(&[entry])
    };
    for change in [
        &(|entry: &mut LogEntry| entry.log_index = -1) as &dyn Fn(&mut LogEntry),
        &|entry| entry.integrated_time = -1,
        &|entry| entry.proof.as_mut().unwrap().log_index = -1,
        &|entry| entry.proof.as_mut().unwrap().log_index = 3,
        &|entry| entry.proof.as_mut().unwrap().tree_size = -3,
    ] {
        assert_eq!(changed(change), "4 entry-number");
    }
    assert_eq!(
        changed(&|entry| entry.log_id.clear()),
        "4 entry-hash-length"
    );
    assert_eq!(
        changed(&|entry| entry.version = "0.0.3".into()),
        "4 entry-version"
    );
}

/// Too many entries do not make a signature refused, only undecided.
#[test]
fn more_entries_than_are_tried_leave_it_undecided() {
    let scene = Scene::new();
    let (good, late) = (scene.good(), scene.late());
    let mut found = vec![late; MAX_FOUND_ENTRIES];
    assert_eq!(scene.verdict(&found), "6 time-outside-certificate");
    found.push(good.clone());
    assert_eq!(scene.verdict(&found), "undecided 4 log-entries-too-many");
    let last = MAX_FOUND_ENTRIES - 1;
    found[last] = good;
    assert_eq!(scene.verdict(&found), "good");
    // The certificate names another signer with every entry.
    let matcher = |name: &str| {
        let exact = |what, text| vec![Pattern::exact(what, text).unwrap()];
        let (identity, issuer) = (exact("identity", name), exact("issuer", ISSUER));
        ExpectedIdentity::OneOf(vec![
            IdentityMatcher::new(identity, issuer, vec![]).unwrap(),
        ])
    };
    let result = |name| scene.result(&found, &matcher(name), &mut NoopObserver);
    assert!(result(IDENTITY).unwrap().identity_matched);
    let refusal = result("bob@example.test").unwrap_err();
    assert_eq!(refusal.code(), "identity-mismatch");
}

/// A bad embedded entry is not a missing one: no other takes its place.
#[test]
fn nothing_replaces_an_embedded_entry() {
    let mut scene = Scene::new();
    let good = scene.good();
    scene.signature = scene.lab.sign_with(&scene.payload, |spec| {
        spec.entry.as_mut().unwrap().integrated_time = NOW + 601;
    });
    let refused = "6 time-outside-certificate";
    assert_eq!(scene.verdict(&[]), refused);
    assert_eq!(scene.verdict(std::slice::from_ref(&good)), refused);
    let many = vec![good; MAX_FOUND_ENTRIES + 1];
    assert_eq!(scene.verdict(&many), refused);
}

/// The observer hears of one entry, the one that counts.
#[test]
fn each_step_is_reported_once() {
    #[derive(Default)]
    struct Heard(Vec<(Step, String)>);
    impl StepObserver for Heard {
        fn passed(&mut self, step: Step, detail: &dyn Fn() -> String) {
            self.0.push((step, detail()));
        }
    }
    let scene = Scene::new();
    let (good, late) = (scene.good(), scene.late());
    let proof = scene.entry(|entry| entry.hashes = Box::new(|hashes| hashes[0][0] ^= 1));
    for (found, steps) in [
        (vec![&good], 9),
        (vec![&late, &proof, &good], 9),
        (vec![&proof, &late], 5),
        (vec![&proof], 4),
    ] {
        let found: Vec<LogEntry> = found.into_iter().cloned().collect();
        let mut heard = Heard::default();
        let _ = scene.result(&found, &ExpectedIdentity::Any, &mut heard);
        let passed: Vec<Step> = heard.0.iter().map(|(step, _)| *step).collect();
        assert_eq!(passed, Step::ALL[..steps], "{:?}", heard.0);
    }
}
