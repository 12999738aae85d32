//! A Sigstore of one's own, in memory, with a knob on everything: it makes
//! signatures that are right in every part but the one that a test breaks.
//!
//! It shares no code with the library beyond the bare algorithms, so that a
//! mistake in one does not hide in the other.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::type_complexity
)]

pub mod der;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use der::{
    algorithm, bits, content, explicit, extension, int, name, octets, oid, retag, seq, set_of, tlv,
    uint, utc_time, utf8,
};
use p256::ecdsa::signature::{Signer as _, hazmat::PrehashSigner as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

pub const SHA1: &str = "1.3.14.3.2.26";
pub const SHA256: &str = "2.16.840.1.101.3.4.2.1";
pub const SHA384: &str = "2.16.840.1.101.3.4.2.2";
pub const SHA512: &str = "2.16.840.1.101.3.4.2.3";
pub const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
pub const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
pub const ID_DATA: &str = "1.2.840.113549.1.7.1";
pub const ID_SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
pub const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
pub const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
pub const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
pub const LOG_ENTRY: &str = "1.3.6.1.4.1.57264.3.1";
pub const TIMESTAMP: &str = "1.2.840.113549.1.9.16.2.14";
pub const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
pub const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";

/// 2026-11-20T12:00:00Z.
pub const NOW: i64 = 1_795_176_000;
pub const IDENTITY: &str = "alice@example.test";
pub const ISSUER: &str = "https://issuer.example.test";
pub const LOG_NAME: &str = "rekor.example.test";
pub const LOG_HOST_V2: &str = "log.example.test";
pub const TREE_ID: &str = "1193050959916656506";

/// A key of the forge.
#[derive(Clone)]
pub enum Key {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    /// P-384 with SHA-256, as Rekor v1 signs with such a key.
    P384Sha256(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl Key {
    /// A P-256 key, the same for the same seed.
    pub fn p256(seed: u8) -> Self {
        Self::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    pub fn p384(seed: u8) -> Self {
        Self::P384(p384::ecdsa::SigningKey::from_slice(&[seed; 48]).unwrap())
    }

    pub fn p384_sha256(seed: u8) -> Self {
        Self::P384Sha256(p384::ecdsa::SigningKey::from_slice(&[seed; 48]).unwrap())
    }

    pub fn ed25519(seed: u8) -> Self {
        Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::DerSignature = key.sign(message);
                signature.as_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::DerSignature = key.sign(message);
                signature.as_bytes().to_vec()
            }
            Self::P384Sha256(key) => {
                let digest = Sha256::digest(message);
                let signature: p384::ecdsa::DerSignature = key.sign_prehash(&digest).unwrap();
                signature.as_bytes().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        }
    }

    pub fn signature_oid(&self) -> &'static str {
        match self {
            Self::P256(_) | Self::P384Sha256(_) => ECDSA_SHA256,
            Self::P384(_) => ECDSA_SHA384,
            Self::Ed25519(_) => "1.3.101.112",
        }
    }

    pub fn spki(&self) -> Vec<u8> {
        let ec = |curve: &str, point: &[u8]| {
            seq(&[
                &seq(&[&oid("1.2.840.10045.2.1"), &oid(curve)]),
                &bits(point),
            ])
        };
        match self {
            Self::P256(key) => ec(
                "1.2.840.10045.3.1.7",
                key.verifying_key().to_sec1_point(false).as_bytes(),
            ),
            Self::P384(key) | Self::P384Sha256(key) => ec(
                "1.3.132.0.34",
                key.verifying_key().to_sec1_point(false).as_bytes(),
            ),
            Self::Ed25519(key) => seq(&[
                &seq(&[&oid("1.3.101.112")]),
                &bits(key.verifying_key().as_bytes()),
            ]),
        }
    }

    pub fn log_id(&self) -> [u8; 32] {
        Sha256::digest(self.spki()).into()
    }

    /// The SHA-1 of the key's bits, as RFC 5280 §4.2.1.2 suggests.
    pub fn key_id(&self) -> Vec<u8> {
        let spki = self.spki();
        let bits = match self {
            Self::P256(_) => &spki[spki.len() - 65..],
            Self::P384(_) | Self::P384Sha256(_) => &spki[spki.len() - 97..],
            Self::Ed25519(_) => &spki[spki.len() - 32..],
        };
        Sha1::digest(bits).to_vec()
    }
}

/// A certificate to be made. Extensions are given raw, in order.
#[derive(Clone)]
pub struct CertificateSpec {
    /// `None`: version 1 (the field is absent).
    pub version: Option<u64>,
    pub serial: Vec<u8>,
    pub issuer: Vec<u8>,
    pub subject: Vec<u8>,
    pub not_before: Vec<u8>,
    pub not_after: Vec<u8>,
    pub spki: Vec<u8>,
    pub extensions: Vec<Vec<u8>>,
    /// Inside and outside; usually the same.
    pub algorithms: Option<(Vec<u8>, Vec<u8>)>,
}

impl CertificateSpec {
    pub fn tbs(&self, inner_algorithm: &[u8]) -> Vec<u8> {
        let version = self
            .version
            .map(|version| explicit(0, &int(version)))
            .unwrap_or_default();
        let extensions = if self.extensions.is_empty() {
            vec![]
        } else {
            explicit(3, &tlv(0x30, &self.extensions.concat()))
        };
        seq(&[
            &version,
            &uint(&self.serial),
            inner_algorithm,
            &self.issuer,
            &seq(&[&self.not_before, &self.not_after]),
            &self.subject,
            &self.spki,
            &extensions,
        ])
    }

    pub fn sign(&self, key: &Key) -> Vec<u8> {
        let default = algorithm(key.signature_oid());
        let (inner, outer) = self
            .algorithms
            .clone()
            .unwrap_or_else(|| (default.clone(), default));
        let tbs = self.tbs(&inner);
        seq(&[&tbs, &outer, &bits(&key.sign(&tbs))])
    }
}

/// A certificate authority's certificate.
pub fn ca(
    subject: &[u8],
    issuer: &[u8],
    key: &Key,
    issuer_key: &Key,
    path_len: Option<u64>,
) -> CertificateSpec {
    let constraints = match path_len {
        Some(limit) => seq(&[&der::yes(), &int(limit)]),
        None => seq(&[&der::yes()]),
    };
    let mut extensions = vec![
        extension("2.5.29.15", true, &[0x03, 0x02, 0x01, 0x06]),
        extension("2.5.29.19", true, &constraints),
        extension("2.5.29.14", false, &octets(&key.key_id())),
    ];
    if subject != issuer {
        extensions.push(extension("2.5.29.37", false, &seq(&[&oid(CODE_SIGNING)])));
        extensions.push(authority_key_id(issuer_key));
    }
    CertificateSpec {
        version: Some(2),
        serial: vec![0x11, 0x22],
        issuer: issuer.to_vec(),
        subject: subject.to_vec(),
        not_before: utc_time(NOW - 30 * 86_400),
        not_after: utc_time(NOW + 3_000 * 86_400),
        spki: key.spki(),
        extensions,
        algorithms: None,
    }
}

pub fn authority_key_id(issuer: &Key) -> Vec<u8> {
    extension("2.5.29.35", false, &seq(&[&tlv(0x80, &issuer.key_id())]))
}

pub fn email(address: &str) -> Vec<u8> {
    tlv(0x81, address.as_bytes())
}

pub fn uri(address: &str) -> Vec<u8> {
    tlv(0x86, address.as_bytes())
}

pub fn san(names: &[Vec<u8>]) -> Vec<u8> {
    extension("2.5.29.17", true, &tlv(0x30, &names.concat()))
}

pub fn eku(critical: bool, uses: &[&str]) -> Vec<u8> {
    let uses: Vec<u8> = uses.iter().flat_map(|one| oid(one)).collect();
    extension("2.5.29.37", critical, &tlv(0x30, &uses))
}

/// A Fulcio extension of the older, raw kind (.1 to .6).
pub fn fulcio_raw(arc: u8, value: &str) -> Vec<u8> {
    extension(
        &format!("1.3.6.1.4.1.57264.1.{arc}"),
        false,
        value.as_bytes(),
    )
}

/// A Fulcio extension of the newer kind (.8 and up).
pub fn fulcio(arc: u8, value: &str) -> Vec<u8> {
    extension(&format!("1.3.6.1.4.1.57264.1.{arc}"), false, &utf8(value))
}

/// One SCT to be embedded.
#[derive(Clone)]
pub struct SctSpec {
    pub key: Key,
    pub timestamp_ms: u64,
    pub extensions: Vec<u8>,
    /// Whose key hash is signed; usually the issuing certificate's.
    pub issuer: Option<Key>,
    /// Changes the signed precertificate TBS before it is signed.
    pub other_tbs: bool,
}

/// The log entry to be embedded.
pub struct EntrySpec {
    pub v2: bool,
    pub key: Key,
    pub kind: String,
    pub version: String,
    pub log_id: Option<Vec<u8>>,
    pub log_index: i64,
    pub integrated_time: i64,
    pub set: bool,
    /// What the SET is really over: (time, index), if it is to differ.
    pub set_over: Option<(i64, i64)>,
    pub proof: bool,
    pub proof_index: Option<i64>,
    pub tree_size: Option<i64>,
    pub root_hash: Option<Vec<u8>>,
    pub hashes: Box<dyn Fn(&mut Vec<Vec<u8>>)>,
    pub origin: String,
    pub note_name: String,
    /// Changes the checkpoint's text before it is signed.
    pub text: Box<dyn Fn(String) -> String>,
    /// Changes the finished note.
    pub note: Box<dyn Fn(String) -> String>,
    /// Another body than the one about this signature goes into the tree.
    pub body: Option<Vec<u8>>,
    /// The body that is sent along (gitsign sends none).
    pub sent_body: Option<Vec<u8>>,
}

impl EntrySpec {
    pub fn v1(key: &Key) -> Self {
        Self {
            v2: false,
            key: key.clone(),
            kind: "hashedrekord".into(),
            version: "0.0.1".into(),
            log_id: None,
            log_index: 4_242,
            integrated_time: NOW + 2,
            set: true,
            set_over: None,
            proof: true,
            proof_index: None,
            tree_size: None,
            root_hash: None,
            hashes: Box::new(|_| {}),
            origin: format!("{LOG_NAME} - {TREE_ID}"),
            note_name: LOG_NAME.into(),
            text: Box::new(|text| text),
            note: Box::new(|note| note),
            body: None,
            sent_body: None,
        }
    }

    pub fn v2(key: &Key) -> Self {
        Self {
            v2: true,
            version: "0.0.2".into(),
            log_index: 2,
            integrated_time: 0,
            set: false,
            origin: LOG_HOST_V2.into(),
            note_name: LOG_HOST_V2.into(),
            ..Self::v1(key)
        }
    }
}

/// A timestamp to be embedded.
#[derive(Clone)]
pub struct TimestampSpec {
    pub key: Key,
    pub at: i64,
    /// What is stamped instead of the signature.
    pub over: Option<Vec<u8>>,
    pub imprint_digest: &'static str,
    pub with_certificate: bool,
    pub extra_certificates: Vec<Vec<u8>>,
    pub certificate: Vec<u8>,
    /// The issuer in the SignerIdentifier.
    pub issuer: Vec<u8>,
    /// Breaks the token's signature.
    pub bad_signature: bool,
    /// Another message digest than that of the TSTInfo.
    pub bad_digest: bool,
    pub signing_certificate_attribute: bool,
}

/// Everything about one signature.
pub struct Spec {
    pub key: Key,
    pub leaf: CertificateSpec,
    pub leaf_issuer: Key,
    pub scts: Vec<SctSpec>,
    /// Bytes put where the SCT list extension's value goes, if not the real one.
    pub sct_list: Option<Vec<u8>>,
    pub digest: &'static str,
    /// The signer's digestAlgorithm, if it is to lie.
    pub digest_algorithm: Option<Vec<u8>>,
    pub digest_algorithms: Option<Vec<Vec<u8>>>,
    pub signature_algorithm: Vec<u8>,
    pub signed_attributes: bool,
    pub content_type: Option<&'static str>,
    pub econtent_type: &'static str,
    pub econtent: Option<Vec<u8>>,
    pub signing_time: Option<i64>,
    pub message_digest: Option<Vec<Vec<u8>>>,
    pub extra_attributes: Vec<Vec<u8>>,
    /// Reorders the encoded attributes (they are sorted before).
    pub arrange: Box<dyn Fn(&mut Vec<Vec<u8>>)>,
    pub mutate_signature: Box<dyn Fn(Vec<u8>) -> Vec<u8>>,
    pub certificates: Box<dyn Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>>,
    pub signers: Box<dyn Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>>,
    pub entry: Option<EntrySpec>,
    pub timestamps: Vec<TimestampSpec>,
    pub unsigned_attributes: Box<dyn Fn(&mut Vec<Vec<u8>>)>,
    pub mutate_cms: Box<dyn Fn(Vec<u8>) -> Vec<u8>>,
}

/// The authorities, with fixed keys.
pub struct Lab {
    pub root: Key,
    pub intermediate: Key,
    pub ct: Key,
    pub rekor: Key,
    pub rekor2: Key,
    pub tsa: Key,
    pub tsa_root: Key,
    pub root_certificate: Vec<u8>,
    pub intermediate_certificate: Vec<u8>,
    pub tsa_certificate: Vec<u8>,
    pub tsa_root_certificate: Vec<u8>,
}

pub fn root_name() -> Vec<u8> {
    name("example.test", "root")
}

pub fn intermediate_name() -> Vec<u8> {
    name("example.test", "intermediate")
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    pub fn new() -> Self {
        let (root, intermediate) = (Key::p384(1), Key::p384(2));
        let (tsa, tsa_root) = (Key::p256(6), Key::p256(7));
        let tsa_root_name = name("example.test", "tsa-root");
        let tsa_name = name("example.test", "tsa");
        let mut tsa_spec = ca(&tsa_name, &tsa_root_name, &tsa, &tsa_root, None);
        tsa_spec.extensions = vec![
            extension("2.5.29.15", true, &[0x03, 0x02, 0x07, 0x80]),
            eku(true, &[TIME_STAMPING]),
            authority_key_id(&tsa_root),
        ];
        // One issuer gives each serial number once.
        let mut tsa_root_spec = ca(&tsa_root_name, &tsa_root_name, &tsa_root, &tsa_root, None);
        tsa_root_spec.serial = vec![1];
        Self {
            root_certificate: ca(&root_name(), &root_name(), &root, &root, None).sign(&root),
            intermediate_certificate: ca(
                &intermediate_name(),
                &root_name(),
                &intermediate,
                &root,
                Some(0),
            )
            .sign(&root),
            tsa_certificate: tsa_spec.sign(&tsa_root),
            tsa_root_certificate: tsa_root_spec.sign(&tsa_root),
            ct: Key::p256(3),
            rekor: Key::p256(4),
            rekor2: Key::ed25519(5),
            root,
            intermediate,
            tsa,
            tsa_root,
        }
    }

    /// The `trusted_root.json` of this lab.
    pub fn trusted_root(&self) -> String {
        let b64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let start = r#"{"start":"2026-10-01T00:00:00Z"}"#;
        let log = |url: &str, key: &Key, details: &str, id: &[u8]| {
            format!(
                r#"{{"baseUrl":"{url}","hashAlgorithm":"SHA2_256","publicKey":{{"rawBytes":"{}","keyDetails":"{details}","validFor":{start}}},"logId":{{"keyId":"{}"}}}}"#,
                b64(&key.spki()),
                b64(id)
            )
        };
        let authority = |url: &str, chain: [&[u8]; 2]| {
            format!(
                r#"{{"subject":{{"organization":"example.test","commonName":"x"}},"uri":"{url}","certChain":{{"certificates":[{{"rawBytes":"{}"}},{{"rawBytes":"{}"}}]}},"validFor":{start}}}"#,
                b64(chain[0]),
                b64(chain[1])
            )
        };
        let p256 = "PKIX_ECDSA_P256_SHA_256";
        format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{},{}],"certificateAuthorities":[{}],"ctlogs":[{}],"timestampAuthorities":[{}]}}"#,
            log(
                "https://rekor.example.test",
                &self.rekor,
                p256,
                &self.rekor.log_id()
            ),
            log(
                &format!("https://{LOG_HOST_V2}"),
                &self.rekor2,
                "PKIX_ED25519",
                &note_key_id(LOG_HOST_V2, &self.rekor2)
            ),
            authority(
                "https://fulcio.example.test",
                [&self.intermediate_certificate, &self.root_certificate]
            ),
            log(
                "https://ct.example.test/2026",
                &self.ct,
                p256,
                &self.ct.log_id()
            ),
            authority(
                "https://tsa.example.test/api/v1/timestamp",
                [&self.tsa_certificate, &self.tsa_root_certificate]
            ),
        )
    }

    /// A signature in which nothing is wrong.
    pub fn spec(&self) -> Spec {
        let key = Key::p256(20);
        Spec {
            leaf: self.leaf(&key),
            key,
            leaf_issuer: self.intermediate.clone(),
            scts: vec![self.sct()],
            sct_list: None,
            digest: SHA256,
            digest_algorithm: None,
            digest_algorithms: None,
            signature_algorithm: algorithm(ECDSA_SHA256),
            signed_attributes: true,
            content_type: Some(ID_DATA),
            econtent_type: ID_DATA,
            econtent: None,
            signing_time: Some(NOW + 1),
            message_digest: None,
            extra_attributes: vec![],
            arrange: Box::new(|_| {}),
            mutate_signature: Box::new(|signature| signature),
            certificates: Box::new(|certificates| certificates),
            signers: Box::new(|signers| signers),
            entry: Some(EntrySpec::v1(&self.rekor)),
            timestamps: vec![],
            unsigned_attributes: Box::new(|_| {}),
            mutate_cms: Box::new(|cms| cms),
        }
    }

    /// The leaf of Fulcio's profile, without its SCT list.
    pub fn leaf(&self, key: &Key) -> CertificateSpec {
        CertificateSpec {
            version: Some(2),
            serial: (1..=20).collect(),
            issuer: intermediate_name(),
            subject: seq(&[]),
            not_before: utc_time(NOW),
            not_after: utc_time(NOW + 600),
            spki: key.spki(),
            extensions: vec![
                extension("2.5.29.15", true, &[0x03, 0x02, 0x07, 0x80]),
                eku(false, &[CODE_SIGNING]),
                authority_key_id(&self.intermediate),
                san(&[email(IDENTITY)]),
                fulcio_raw(1, ISSUER),
                fulcio(8, ISSUER),
                fulcio(24, "subject-1"),
            ],
            algorithms: None,
        }
    }

    pub fn sct(&self) -> SctSpec {
        SctSpec {
            key: self.ct.clone(),
            timestamp_ms: (NOW * 1000) as u64,
            extensions: vec![],
            issuer: None,
            other_tbs: false,
        }
    }

    pub fn timestamp(&self) -> TimestampSpec {
        TimestampSpec {
            key: self.tsa.clone(),
            at: NOW + 3,
            over: None,
            imprint_digest: SHA256,
            with_certificate: true,
            extra_certificates: vec![],
            certificate: self.tsa_certificate.clone(),
            issuer: name("example.test", "tsa-root"),
            bad_signature: false,
            bad_digest: false,
            signing_certificate_attribute: true,
        }
    }

    /// Makes the signature: the armoured text.
    pub fn sign(&self, payload: &[u8], spec: &Spec) -> String {
        armor(&self.cms(payload, spec))
    }

    /// Makes the signature with one thing changed.
    pub fn sign_with(&self, payload: &[u8], change: impl FnOnce(&mut Spec)) -> String {
        let mut spec = self.spec();
        change(&mut spec);
        self.sign(payload, &spec)
    }

    /// The finished leaf certificate of a spec, SCTs embedded.
    pub fn leaf_certificate(&self, spec: &Spec) -> Vec<u8> {
        let mut leaf = spec.leaf.clone();
        if !spec.scts.is_empty() || spec.sct_list.is_some() {
            let inner = spec.leaf.algorithms.clone().map_or_else(
                || algorithm(spec.leaf_issuer.signature_oid()),
                |both| both.0,
            );
            let tbs = spec.leaf.tbs(&inner);
            let list: Vec<u8> = spec
                .scts
                .iter()
                .flat_map(|sct| {
                    let bytes = sct.bytes(&tbs, &spec.leaf_issuer);
                    [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
                })
                .collect();
            let list = spec.sct_list.clone().unwrap_or_else(|| {
                octets(&[&(list.len() as u16).to_be_bytes()[..], &list].concat())
            });
            leaf.extensions
                .push(extension("1.3.6.1.4.1.11129.2.4.2", false, &list));
        }
        leaf.sign(&spec.leaf_issuer)
    }

    /// The CMS in DER.
    pub fn cms(&self, payload: &[u8], spec: &Spec) -> Vec<u8> {
        let leaf = self.leaf_certificate(spec);
        let attributes = spec.attributes(payload);
        let signed = tlv(0x31, &attributes);
        let over = if spec.signed_attributes {
            signed.clone()
        } else {
            payload.to_vec()
        };
        let signature = (spec.mutate_signature)(spec.key.sign(&over));
        let mut unsigned = Vec::new();
        if let Some(entry) = &spec.entry {
            let bytes = entry.bytes(&Sha256::digest(&signed), &signature, &leaf);
            unsigned.push(attribute(LOG_ENTRY, &[octets(&bytes)]));
        }
        let tokens: Vec<Vec<u8>> = spec
            .timestamps
            .iter()
            .map(|stamp| stamp.token(&signature))
            .collect();
        if !tokens.is_empty() {
            unsigned.push(attribute(TIMESTAMP, &tokens));
        }
        (spec.unsigned_attributes)(&mut unsigned);
        let digest_algorithm = spec
            .digest_algorithm
            .clone()
            .unwrap_or_else(|| algorithm(spec.digest));
        let signer = seq(&[
            &int(1),
            &seq(&[&spec.leaf.issuer, &uint(&spec.leaf.serial)]),
            &digest_algorithm,
            &if spec.signed_attributes {
                tlv(0xa0, &attributes)
            } else {
                vec![]
            },
            &spec.signature_algorithm,
            &octets(&signature),
            &if unsigned.is_empty() {
                vec![]
            } else {
                retag(0xa1, &set_of(&unsigned))
            },
        ]);
        let digest_algorithms = spec
            .digest_algorithms
            .clone()
            .unwrap_or_else(|| vec![digest_algorithm]);
        let econtent = spec
            .econtent
            .as_ref()
            .map(|text| explicit(0, &octets(text)))
            .unwrap_or_default();
        let certificates = (spec.certificates)(vec![leaf]);
        let certificates = if certificates.is_empty() {
            vec![]
        } else {
            retag(0xa0, &set_of(&certificates))
        };
        let signed_data = seq(&[
            &int(1),
            &set_of(&digest_algorithms),
            &seq(&[&oid(spec.econtent_type), &econtent]),
            &certificates,
            &set_of(&(spec.signers)(vec![signer])),
        ]);
        (spec.mutate_cms)(seq(&[&oid(ID_SIGNED_DATA), &explicit(0, &signed_data)]))
    }
}

impl Spec {
    /// The content of the SET OF signed attributes.
    fn attributes(&self, payload: &[u8]) -> Vec<u8> {
        let digests = self
            .message_digest
            .clone()
            .unwrap_or_else(|| vec![hash(self.digest, payload)]);
        let mut all = Vec::new();
        if let Some(kind) = self.content_type {
            all.push(attribute(CONTENT_TYPE, &[oid(kind)]));
        }
        if let Some(at) = self.signing_time {
            all.push(attribute(SIGNING_TIME, &[utc_time(at)]));
        }
        if !digests.is_empty() {
            let values: Vec<Vec<u8>> = digests.iter().map(|digest| octets(digest)).collect();
            all.push(attribute(MESSAGE_DIGEST, &values));
        }
        all.extend(self.extra_attributes.clone());
        all.sort();
        (self.arrange)(&mut all);
        all.concat()
    }
}

impl SctSpec {
    fn bytes(&self, tbs: &[u8], issuer: &Key) -> Vec<u8> {
        let mut tbs = tbs.to_vec();
        if self.other_tbs {
            *tbs.last_mut().unwrap() ^= 1;
        }
        let issuer = self.issuer.as_ref().unwrap_or(issuer);
        let mut signed = vec![0, 0];
        signed.extend(self.timestamp_ms.to_be_bytes());
        signed.extend([0, 1]);
        signed.extend(issuer.log_id());
        signed.extend(&(tbs.len() as u32).to_be_bytes()[1..]);
        signed.extend(&tbs);
        signed.extend((self.extensions.len() as u16).to_be_bytes());
        signed.extend(&self.extensions);
        let signature = self.key.sign(&signed);
        let mut out = vec![0];
        out.extend(self.key.log_id());
        out.extend(self.timestamp_ms.to_be_bytes());
        out.extend((self.extensions.len() as u16).to_be_bytes());
        out.extend(&self.extensions);
        out.extend([4, 3]);
        out.extend((signature.len() as u16).to_be_bytes());
        out.extend(signature);
        out
    }
}

impl EntrySpec {
    /// The body that Rekor would hold.
    pub fn real_body(&self, digest: &[u8], signature: &[u8], leaf: &[u8]) -> Vec<u8> {
        let b64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        if self.v2 {
            format!(
                r#"{{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{{"hashedRekordV002":{{"data":{{"algorithm":"SHA2_256","digest":"{}"}},"signature":{{"content":"{}","verifier":{{"keyDetails":"PKIX_ECDSA_P256_SHA_256","x509Certificate":{{"rawBytes":"{}"}}}}}}}}}}}}"#,
                b64(digest),
                b64(signature),
                b64(leaf)
            )
        } else {
            format!(
                r#"{{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{{"data":{{"hash":{{"algorithm":"sha256","value":"{}"}}}},"signature":{{"content":"{}","publicKey":{{"content":"{}"}}}}}}}}"#,
                hex(digest),
                b64(signature),
                b64(pem("CERTIFICATE", leaf).as_bytes())
            )
        }
        .into_bytes()
    }

    /// The TransparencyLogEntry in protobuf: the third leaf of a tree of three.
    fn bytes(&self, digest: &[u8], signature: &[u8], leaf: &[u8]) -> Vec<u8> {
        let body = self
            .body
            .clone()
            .unwrap_or_else(|| self.real_body(digest, signature, leaf));
        let leaf_hash =
            |data: &[u8]| -> Vec<u8> { Sha256::digest([&[0u8][..], data].concat()).to_vec() };
        let node = |left: &[u8], right: &[u8]| -> Vec<u8> {
            Sha256::digest([&[1u8][..], left, right].concat()).to_vec()
        };
        let sibling = node(&leaf_hash(b"first"), &leaf_hash(b"second"));
        let root = node(&sibling, &leaf_hash(&body));
        let text = (self.text)(format!(
            "{}\n3\n{}\n",
            self.origin,
            BASE64_STANDARD.encode(&root)
        ));
        let note = (self.note)(sign_note(&text, &self.note_name, &self.key));
        let log_id = self.log_id.clone().unwrap_or_else(|| {
            if self.v2 {
                note_key_id(&self.note_name, &self.key).to_vec()
            } else {
                self.key.log_id().to_vec()
            }
        });
        let mut out = Vec::new();
        proto_int(&mut out, 1, self.log_index);
        proto_bytes(
            &mut out,
            2,
            &proto_message(|inner| proto_bytes(inner, 1, &log_id)),
        );
        proto_bytes(
            &mut out,
            3,
            &proto_message(|inner| {
                proto_bytes(inner, 1, self.kind.as_bytes());
                proto_bytes(inner, 2, self.version.as_bytes());
            }),
        );
        proto_int(&mut out, 4, self.integrated_time);
        let set = if self.set {
            let (time, index) = self
                .set_over
                .unwrap_or((self.integrated_time, self.log_index));
            let payload = format!(
                r#"{{"body":"{}","integratedTime":{time},"logID":"{}","logIndex":{index}}}"#,
                BASE64_STANDARD.encode(&body),
                hex(&log_id)
            );
            self.key.sign(payload.as_bytes())
        } else {
            vec![]
        };
        proto_bytes(
            &mut out,
            5,
            &proto_message(|inner| {
                if !set.is_empty() {
                    proto_bytes(inner, 1, &set);
                }
            }),
        );
        if self.proof {
            let mut hashes = vec![sibling];
            (self.hashes)(&mut hashes);
            proto_bytes(
                &mut out,
                6,
                &proto_message(|inner| {
                    proto_int(inner, 1, self.proof_index.unwrap_or(2));
                    proto_bytes(inner, 2, self.root_hash.as_ref().unwrap_or(&root));
                    proto_int(inner, 3, self.tree_size.unwrap_or(3));
                    for hash in &hashes {
                        proto_bytes(inner, 4, hash);
                    }
                    proto_bytes(
                        inner,
                        5,
                        &proto_message(|inner| proto_bytes(inner, 1, note.as_bytes())),
                    );
                }),
            );
        }
        if let Some(body) = &self.sent_body {
            proto_bytes(&mut out, 7, body);
        }
        out
    }
}

impl TimestampSpec {
    /// The TimeStampToken: a CMS over a TSTInfo (RFC 3161 §2.4.2).
    pub fn token(&self, signature: &[u8]) -> Vec<u8> {
        let over = self.over.as_deref().unwrap_or(signature);
        let imprint = seq(&[
            &algorithm(self.imprint_digest),
            &octets(&hash(self.imprint_digest, over)),
        ]);
        let info = seq(&[
            &int(1),
            &oid("1.3.6.1.4.1.57264.2"),
            &imprint,
            &int(77),
            &der::generalized_time(self.at),
        ]);
        let mut digest = Sha256::digest(&info).to_vec();
        if self.bad_digest {
            digest[0] ^= 1;
        }
        let tst_info = "1.2.840.113549.1.9.16.1.4";
        let mut attributes = vec![
            attribute(CONTENT_TYPE, &[oid(tst_info)]),
            attribute(MESSAGE_DIGEST, &[octets(&digest)]),
        ];
        if self.signing_certificate_attribute {
            let id = seq(&[&octets(&Sha256::digest(&self.certificate))]);
            attributes.push(attribute(
                "1.2.840.113549.1.9.16.2.47",
                &[seq(&[&seq(&[&id])])],
            ));
        }
        let signed = set_of(&attributes);
        let mut token_signature = self.key.sign(&signed);
        if self.bad_signature {
            *token_signature.last_mut().unwrap() ^= 1;
        }
        let signer = seq(&[
            &int(1),
            &seq(&[&self.issuer, &int(0x1122)]),
            &algorithm(SHA256),
            &retag(0xa0, &signed),
            &algorithm(self.key.signature_oid()),
            &octets(&token_signature),
        ]);
        let mut certificates = self.extra_certificates.clone();
        if self.with_certificate {
            certificates.push(self.certificate.clone());
        }
        let certificates = if certificates.is_empty() {
            vec![]
        } else {
            retag(0xa0, &set_of(&certificates))
        };
        let signed_data = seq(&[
            &int(3),
            &set_of(&[algorithm(SHA256)]),
            &seq(&[&oid(tst_info), &explicit(0, &octets(&info))]),
            &certificates,
            &set_of(&[signer]),
        ]);
        seq(&[&oid(ID_SIGNED_DATA), &explicit(0, &signed_data)])
    }
}

/// `Attribute ::= SEQUENCE { type OID, values SET OF }`.
pub fn attribute(kind: &str, values: &[Vec<u8>]) -> Vec<u8> {
    seq(&[&oid(kind), &set_of(values)])
}

/// The C2SP key id of a note key: 32 bytes, of which the first four are the hint.
pub fn note_key_id(name: &str, key: &Key) -> [u8; 32] {
    match key {
        Key::Ed25519(key) => {
            Sha256::digest([name.as_bytes(), b"\n\x01", key.verifying_key().as_bytes()].concat())
                .into()
        }
        _ => key.log_id(),
    }
}

/// One signature line.
pub fn note_line(text: &str, name: &str, key: &Key) -> String {
    let blob = [&note_key_id(name, key)[..4], &key.sign(text.as_bytes())].concat();
    format!("\u{2014} {name} {}\n", BASE64_STANDARD.encode(blob))
}

pub fn sign_note(text: &str, name: &str, key: &Key) -> String {
    format!("{text}\n{}", note_line(text, name, key))
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

pub fn armor(der: &[u8]) -> String {
    pem("SIGNED MESSAGE", der)
}

pub fn hash(algorithm: &str, data: &[u8]) -> Vec<u8> {
    match algorithm {
        SHA1 => Sha1::digest(data).to_vec(),
        SHA256 => Sha256::digest(data).to_vec(),
        SHA384 => Sha384::digest(data).to_vec(),
        SHA512 => Sha512::digest(data).to_vec(),
        other => panic!("no digest {other}"),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn proto_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn proto_int(out: &mut Vec<u8>, field: u64, value: i64) {
    if value != 0 {
        proto_varint(out, field << 3);
        proto_varint(out, value as u64);
    }
}

pub fn proto_bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    proto_varint(out, field << 3 | 2);
    proto_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn proto_message(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut inner = Vec::new();
    fill(&mut inner);
    inner
}

/// A commit's payload as git signs it.
pub fn commit_payload() -> Vec<u8> {
    format!(
        "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent 1111111111111111111111111111111111111111\nauthor Alice <{IDENTITY}> {NOW} +0000\ncommitter Alice <{IDENTITY}> {NOW} +0000\n\nA change\n"
    )
    .into_bytes()
}

/// A commit object out of a payload and a signature.
pub fn commit_object(payload: &[u8], signature: &str) -> Vec<u8> {
    let text = String::from_utf8(payload.to_vec()).unwrap();
    let (headers, message) = text.split_once("\n\n").unwrap();
    let mut out = format!("{headers}\ngpgsig ");
    out.push_str(&signature.trim_end_matches('\n').replace('\n', "\n "));
    out.push_str("\n\n");
    out.push_str(message);
    out.into_bytes()
}

/// Reads a TLV's content; kept here so that tests need no second import.
pub fn inner(der: &[u8]) -> &[u8] {
    content(der)
}
