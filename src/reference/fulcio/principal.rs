//! The identity providers that an authority trusts, and the identity in the
//! claims of a verified token.
//!
//! The configuration is Fulcio's own, as JSON: `{"oidc-issuers": {URL: {…}},
//! "ci-issuer-metadata": {NAME: {…}}}`, with its kebab-case names or the ones of
//! its Go types. Supported issuer types: `email`, `uri`, `username`, `spiffe`,
//! `kubernetes`, `github-workflow` and `ci-provider`. Rejected: the other,
//! deprecated CI types (write them as `ci-provider`), `chainguard-identity`,
//! meta-issuers, `issuer-claim`, and templates that do more than name a claim.
//!
//! *Not checked here:* the token's signature, audience and times (`tokens.rs`),
//! and the length and characters of a value (`issue.rs`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use gitseal_services::fulcio::wire::OidcIssuer;

/// The maximum number of issuers in a configuration.
pub const MAX_ISSUERS: usize = 100;
/// The maximum length of a configuration, in bytes.
pub const MAX_CONFIG: usize = 256 << 10;

/// The claims of a verified token.
pub type ClaimMap = Map<String, Value>;

/// The identity in a certificate: one subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalName {
    /// An email address, as an rfc822Name.
    Email(String),
    /// A URI, as a uniformResourceIdentifier.
    Uri(String),
    OtherName(String),
}

/// The identity in a token, as a certificate contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub san: PrincipalName,
    pub issuer: String,
    /// The value that a proof of possession signs.
    pub challenge: String,
    /// The other extensions: the last arc, and the value.
    others: BTreeMap<u8, String>,
}

impl Principal {
    /// Returns the extensions in the order in which Fulcio writes them: the last
    /// arc, and the value. Empty values are omitted.
    pub fn extensions(&self) -> impl Iterator<Item = (u8, &str)> {
        // .1 and .8 both hold the issuer; .7 is the type of an otherName.
        (1..=24)
            .filter_map(|arc| match arc {
                1 | 8 => Some((arc, self.issuer.as_str())),
                arc => self.others.get(&arc).map(|value| (arc, value.as_str())),
            })
            .filter(|(_, value)| !value.is_empty())
    }
}

/// Reasons that a verified token does not name an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// A claim that this type of issuer requires is missing.
    #[error("the token has no claim {claim:?}")]
    Missing { claim: String },
    /// The identity provider has not verified the email address.
    #[error("the email address {email:?} is not verified, according to the token")]
    Unverified { email: String },
    /// A claim does not have the form that this type of issuer requires.
    #[error("the claim {claim:?} is {value:?}: {problem}")]
    Form {
        claim: &'static str,
        /// The first 128 characters of the value.
        value: String,
        problem: &'static str,
    },
}

/// Reasons to reject an issuer configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerConfigError {
    /// The file is not the JSON of a configuration.
    #[error("the issuer configuration cannot be parsed: {0}")]
    Json(String),
    /// One issuer is not usable.
    #[error("issuer {issuer:?}: {problem}")]
    Issuer { issuer: String, problem: String },
    /// The configuration has no issuers, or too many.
    #[error("the configuration has {found} issuers; expected 1 to {MAX_ISSUERS}")]
    Count { found: usize },
    /// A feature of Fulcio that this server does not have.
    #[error("{what} are not supported")]
    NotBuilt { what: &'static str },
}

/// The type of the identities of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerType {
    /// Email addresses, which the provider must have verified.
    Email {
        /// Whether tokens without `email_verified` are accepted.
        unverified: bool,
    },
    /// URIs under `domain` (scheme and host).
    Uri { domain: String },
    /// Names, to which `domain` is added.
    Username { domain: String },
    /// SPIFFE IDs of one trust domain.
    Spiffe { trust_domain: String },
    /// Service accounts of a Kubernetes cluster.
    Kubernetes,
    /// Jobs of a CI system.
    Ci(Box<CiProvider>),
}

/// Templates that map the claims of a CI system's tokens to a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CiProvider {
    defaults: BTreeMap<String, String>,
    /// The last arc of the extension, and the template of its value.
    templates: BTreeMap<u8, String>,
    san: String,
}

/// An identity provider that the authority trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The URL, exactly as in tokens.
    pub url: String,
    /// The audience that its tokens must name.
    pub audience: String,
    pub kind: IssuerType,
    /// The type's name in the configuration.
    type_name: String,
}

/// All identity providers of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuers(Vec<Issuer>);

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default, rename = "oidc-issuers", alias = "OIDCIssuers")]
    issuers: BTreeMap<String, IssuerEntry>,
    #[serde(default, rename = "meta-issuers", alias = "MetaIssuers")]
    meta: BTreeMap<String, Value>,
    #[serde(default, rename = "ci-issuer-metadata", alias = "CIIssuerMetadata")]
    ci: BTreeMap<String, CiEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct IssuerEntry {
    #[serde(alias = "IssuerURL")]
    issuer_url: String,
    #[serde(alias = "ClientID")]
    client_id: String,
    #[serde(rename = "type", alias = "Type")]
    type_name: String,
    #[serde(alias = "CIProvider")]
    ci_provider: String,
    #[serde(alias = "IssuerClaim")]
    issuer_claim: String,
    #[serde(alias = "SubjectDomain")]
    subject_domain: String,
    #[serde(rename = "spiffe-trust-domain", alias = "SPIFFETrustDomain")]
    trust_domain: String,
    #[serde(alias = "SkipEmailVerification")]
    skip_email_verification: bool,
    #[serde(rename = "ca-cert", alias = "CACert")]
    ca_cert: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct CiEntry {
    #[serde(alias = "DefaultTemplateValues")]
    default_template_values: BTreeMap<String, String>,
    #[serde(alias = "ExtensionTemplates")]
    extension_templates: BTreeMap<String, String>,
    #[serde(alias = "SubjectAlternativeNameTemplate")]
    subject_alternative_name_template: String,
}

impl Issuers {
    /// Returns one issuer of email addresses, the default of the reference server.
    #[must_use]
    pub fn email(url: &str, audience: &str) -> Self {
        Self(vec![Issuer {
            url: url.to_owned(),
            audience: audience.to_owned(),
            kind: IssuerType::Email { unverified: false },
            type_name: "email".into(),
        }])
    }

    /// Parses a configuration file.
    ///
    /// # Errors
    ///
    /// Returns [`IssuerConfigError`] if the file is malformed or requires a feature
    /// that is not supported.
    pub fn from_json(text: &[u8]) -> Result<Self, IssuerConfigError> {
        if text.len() > MAX_CONFIG {
            return Err(IssuerConfigError::Json(format!(
                "{} bytes exceed the maximum of {MAX_CONFIG}",
                text.len()
            )));
        }
        let file: ConfigFile = serde_json::from_slice(text)
            .map_err(|error| IssuerConfigError::Json(error.to_string()))?;
        if !file.meta.is_empty() {
            return Err(IssuerConfigError::NotBuilt {
                what: "meta-issuers (URLs with wildcards)",
            });
        }
        if !(1..=MAX_ISSUERS).contains(&file.issuers.len()) {
            return Err(IssuerConfigError::Count {
                found: file.issuers.len(),
            });
        }
        let mut issuers = Vec::new();
        for (url, entry) in &file.issuers {
            let issuer =
                issuer(url, entry, &file.ci).map_err(|problem| IssuerConfigError::Issuer {
                    issuer: url.clone(),
                    problem,
                })?;
            issuers.push(issuer);
        }
        Ok(Self(issuers))
    }

    /// Returns the issuer with exactly this URL.
    #[must_use]
    pub fn find(&self, url: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.url == url)
    }

    /// Returns all issuers in order of URL.
    #[must_use]
    pub fn all(&self) -> &[Issuer] {
        &self.0
    }

    /// Returns the issuers as `/api/v2/configuration` lists them.
    #[must_use]
    pub fn public(&self) -> Vec<OidcIssuer> {
        self.0
            .iter()
            .map(|issuer| {
                let mut listed = OidcIssuer {
                    issuer_url: issuer.url.clone(),
                    audience: issuer.audience.clone(),
                    challenge_claim: "sub".into(),
                    issuer_type: issuer.type_name.clone(),
                    ..OidcIssuer::default()
                };
                match &issuer.kind {
                    IssuerType::Email { unverified } => {
                        listed.challenge_claim = "email".into();
                        listed.skip_email_verification = *unverified;
                    }
                    IssuerType::Uri { domain } | IssuerType::Username { domain } => {
                        listed.subject_domain = domain.clone();
                    }
                    IssuerType::Spiffe { trust_domain } => {
                        listed.spiffe_trust_domain = trust_domain.clone();
                    }
                    IssuerType::Kubernetes | IssuerType::Ci(_) => {}
                }
                listed
            })
            .collect()
    }
}

fn issuer(
    url: &str,
    entry: &IssuerEntry,
    ci: &BTreeMap<String, CiEntry>,
) -> Result<Issuer, String> {
    if entry.issuer_url != url {
        return Err(format!(
            "issuer-url {:?} differs from the key of its entry",
            entry.issuer_url
        ));
    }
    let parsed = Url::parse(url).map_err(|error| format!("the URL is malformed: {error}"))?;
    let loopback = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    if parsed.scheme() != "https" && !(parsed.scheme() == "http" && loopback) {
        return Err("the URL must use https, or http on the loopback interface".into());
    }
    if entry.client_id.is_empty() {
        return Err("client-id (the audience of the tokens) is missing".into());
    }
    if !entry.issuer_claim.is_empty() {
        return Err("issuer-claim is not supported".into());
    }
    if !entry.ca_cert.is_empty() {
        return Err(
            "ca-cert is not supported; add the authority to the system's trust store".into(),
        );
    }
    let needed = |name: &str, value: &str| match value {
        "" => Err(format!("missing {name}")),
        value => Ok(value.to_owned()),
    };
    let kind = match entry.type_name.as_str() {
        "email" => IssuerType::Email {
            unverified: entry.skip_email_verification,
        },
        "uri" => {
            let domain = needed("subject-domain", &entry.subject_domain)?;
            let parsed_domain = Url::parse(&domain)
                .map_err(|_| "subject-domain must have a scheme and a host".to_owned())?;
            if parsed_domain.scheme() != parsed.scheme()
                || !related(parsed_domain.host_str(), parsed.host_str())
            {
                return Err(format!(
                    "subject-domain {domain:?} is not in the issuer's domain"
                ));
            }
            IssuerType::Uri { domain }
        }
        "username" => {
            let domain = needed("subject-domain", &entry.subject_domain)?;
            if domain.contains("://") || !related(Some(&domain), parsed.host_str()) {
                return Err(format!(
                    "subject-domain {domain:?} is not in the issuer's domain"
                ));
            }
            IssuerType::Username { domain }
        }
        "spiffe" => IssuerType::Spiffe {
            trust_domain: needed("spiffe-trust-domain", &entry.trust_domain)?,
        },
        "kubernetes" => IssuerType::Kubernetes,
        "github-workflow" => IssuerType::Ci(Box::new(github())),
        "ci-provider" => {
            let name = needed("ci-provider", &entry.ci_provider)?;
            let metadata = ci
                .get(&name)
                .ok_or_else(|| format!("ci-issuer-metadata has no {name:?}"))?;
            IssuerType::Ci(Box::new(CiProvider::read(metadata)?))
        }
        other => {
            return Err(format!(
                "issuer type {other:?} is not supported; expected email, uri, username, \
                 spiffe, kubernetes, github-workflow or ci-provider"
            ));
        }
    };
    Ok(Issuer {
        url: url.to_owned(),
        audience: entry.client_id.clone(),
        kind,
        type_name: entry.type_name.clone(),
    })
}

/// Returns whether two hosts are equal, or share their last two labels (Fulcio's
/// rule). IP addresses and single labels must be equal.
fn related(left: Option<&str>, right: Option<&str>) -> bool {
    let (Some(left), Some(right)) = (left, right) else {
        return false;
    };
    if left == right {
        return true;
    }
    let is_name = |host: &str| {
        host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('[') && host.contains('.')
    };
    let tail = |host: &str| -> Vec<String> {
        let mut labels: Vec<String> = host.rsplit('.').take(2).map(str::to_owned).collect();
        labels.reverse();
        labels
    };
    is_name(left) && is_name(right) && tail(left) == tail(right)
}

/// Names of extensions in `extension-templates`, and the last arcs of their OIDs.
const EXTENSIONS: [(&str, u8); 20] = [
    ("github-workflow-trigger", 2),
    ("github-workflow-sha", 3),
    ("github-workflow-name", 4),
    ("github-workflow-repository", 5),
    ("github-workflow-ref", 6),
    ("build-signer-uri", 9),
    ("build-signer-digest", 10),
    ("runner-environment", 11),
    ("source-repository-uri", 12),
    ("source-repository-digest", 13),
    ("source-repository-ref", 14),
    ("source-repository-identifier", 15),
    ("source-repository-owner-uri", 16),
    ("source-repository-owner-identifier", 17),
    ("build-config-uri", 18),
    ("build-config-digest", 19),
    ("build-trigger", 20),
    ("run-invocation-uri", 21),
    ("source-repository-visibility-at-signing", 22),
    ("deployment-environment", 23),
];

impl CiProvider {
    fn read(entry: &CiEntry) -> Result<Self, String> {
        let mut templates = BTreeMap::new();
        for (name, template) in &entry.extension_templates {
            let (_, arc) = EXTENSIONS
                .iter()
                .find(|(known, _)| known == name)
                .ok_or_else(|| format!("unknown extension {name:?}"))?;
            check_template(template)?;
            templates.insert(*arc, template.clone());
        }
        check_template(&entry.subject_alternative_name_template)?;
        if entry.subject_alternative_name_template.is_empty() {
            return Err("missing subject-alternative-name-template".into());
        }
        Ok(Self {
            defaults: entry.default_template_values.clone(),
            templates,
            san: entry.subject_alternative_name_template.clone(),
        })
    }

    fn value(&self, name: &str, claims: &ClaimMap) -> Result<String, PrincipalError> {
        match claims.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(Value::Bool(flag)) => Ok(flag.to_string()),
            _ => self
                .defaults
                .get(name)
                .cloned()
                .ok_or_else(|| PrincipalError::Missing {
                    claim: name.to_owned(),
                }),
        }
    }

    /// Fills in a template. A template without `{{` is the name of a claim.
    fn fill(&self, template: &str, claims: &ClaimMap) -> Result<String, PrincipalError> {
        if !template.contains("{{") {
            return self.value(template, claims);
        }
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, inside)) = rest.split_once("{{") {
            out.push_str(before);
            let (name, after) = inside.split_once("}}").unwrap_or((inside, ""));
            out.push_str(&self.value(name.trim().trim_start_matches('.'), claims)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// Checks that a template contains no action but `{{ .claim }}`.
fn check_template(template: &str) -> Result<(), String> {
    let mut rest = template;
    while let Some((_, inside)) = rest.split_once("{{") {
        let (action, after) = inside
            .split_once("}}")
            .ok_or_else(|| format!("the template {template:?} does not close its braces"))?;
        let name = action.trim().strip_prefix('.').unwrap_or("");
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            return Err(format!(
                "the template {template:?} does more than name claims, which is not supported"
            ));
        }
        rest = after;
    }
    Ok(())
}

/// Returns the templates for GitHub's workflows from Fulcio's own configuration.
fn github() -> CiProvider {
    let templates = [
        (2, "event_name"),
        (3, "sha"),
        (4, "workflow"),
        (5, "repository"),
        (6, "ref"),
        (9, "{{ .url }}/{{ .job_workflow_ref }}"),
        (10, "job_workflow_sha"),
        (11, "runner_environment"),
        (12, "{{ .url }}/{{ .repository }}"),
        (13, "sha"),
        (14, "ref"),
        (15, "repository_id"),
        (16, "{{ .url }}/{{ .repository_owner }}"),
        (17, "repository_owner_id"),
        (18, "{{ .url }}/{{ .workflow_ref }}"),
        (19, "workflow_sha"),
        (20, "event_name"),
        (
            21,
            "{{ .url }}/{{ .repository }}/actions/runs/{{ .run_id }}/attempts/{{ .run_attempt }}",
        ),
        (22, "repository_visibility"),
        (23, "environment"),
    ];
    let defaults = [("url", "https://github.com"), ("environment", "")];
    CiProvider {
        defaults: defaults
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        templates: templates
            .into_iter()
            .map(|(arc, template)| (arc, template.to_owned()))
            .collect(),
        san: "{{ .url }}/{{ .job_workflow_ref }}".into(),
    }
}

impl Issuer {
    /// Returns the identity in the claims of a token.
    ///
    /// # Errors
    ///
    /// Returns [`PrincipalError`] if a claim is missing or does not have its form.
    pub fn principal(&self, claims: &ClaimMap) -> Result<Principal, PrincipalError> {
        let text = |name: &'static str| -> Result<&str, PrincipalError> {
            claims
                .get(name)
                .and_then(Value::as_str)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| PrincipalError::Missing {
                    claim: name.to_owned(),
                })
        };
        let subject = text("sub")?;
        let mut others = BTreeMap::from([(24, subject.to_owned())]);
        let mut challenge = subject.to_owned();
        let san = match &self.kind {
            IssuerType::Email { unverified } => {
                let email = text("email")?;
                check_email(email)?;
                let verified = match claims.get("email_verified") {
                    Some(Value::Bool(flag)) => *flag,
                    Some(Value::String(word)) => word == "true",
                    _ => false,
                };
                if !verified && !unverified {
                    return Err(PrincipalError::Unverified {
                        email: email.to_owned(),
                    });
                }
                challenge = email.to_owned();
                PrincipalName::Email(email.to_owned())
            }
            IssuerType::Uri { domain } => PrincipalName::Uri(under(subject, domain)?),
            IssuerType::Username { domain } => {
                if subject.contains(['!', '@']) {
                    return Err(form("sub", subject, "a user name must not contain ! or @"));
                }
                PrincipalName::OtherName(format!("{subject}!{domain}"))
            }
            IssuerType::Spiffe { trust_domain } => {
                PrincipalName::Uri(spiffe(subject, trust_domain)?)
            }
            IssuerType::Kubernetes => PrincipalName::Uri(kubernetes(claims)?),
            IssuerType::Ci(provider) => {
                for (arc, template) in &provider.templates {
                    others.insert(*arc, provider.fill(template, claims)?);
                }
                let san = provider.fill(&provider.san, claims)?;
                if Url::parse(&san).is_err() {
                    return Err(form("sub", &san, "the identity is not a URI"));
                }
                PrincipalName::Uri(san)
            }
        };
        Ok(Principal {
            san,
            issuer: self.url.clone(),
            challenge,
            others,
        })
    }
}

fn form(claim: &'static str, value: &str, problem: &'static str) -> PrincipalError {
    PrincipalError::Form {
        claim,
        value: value.chars().take(128).collect(),
        problem,
    }
}

/// Checks that an rfc822Name can contain the address (RFC 5280 §4.2.1.6: a Mailbox
/// of IA5String).
fn check_email(email: &str) -> Result<(), PrincipalError> {
    let refuse = |problem| Err(form("email", email, problem));
    if email.len() > 254 {
        return refuse("longer than 254 bytes");
    }
    if !email.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("not plain ASCII");
    }
    match email.rsplit_once('@') {
        Some((local, domain))
            if !local.is_empty()
                && !domain.is_empty()
                && !local.contains('@')
                && !domain.starts_with('.')
                && domain
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) =>
        {
            Ok(())
        }
        _ => refuse("not of the form name@domain"),
    }
}

fn under(subject: &str, domain: &str) -> Result<String, PrincipalError> {
    let refuse = |problem| Err(form("sub", subject, problem));
    let (Ok(parsed), Ok(allowed)) = (Url::parse(subject), Url::parse(domain)) else {
        return refuse("not a URI");
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return refuse("a URI with a user name or password");
    }
    if parsed.scheme() != allowed.scheme() || parsed.host_str() != allowed.host_str() {
        return refuse("not under the issuer's subject-domain");
    }
    Ok(subject.to_owned())
}

/// Checks the form `spiffe://TRUST-DOMAIN/PATH` (SPIFFE ID §2).
fn spiffe(subject: &str, trust_domain: &str) -> Result<String, PrincipalError> {
    let refuse = |problem| Err(form("sub", subject, problem));
    let Some(rest) = subject.strip_prefix("spiffe://") else {
        return refuse("not a SPIFFE ID");
    };
    let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
    if domain != trust_domain {
        return refuse("not in the issuer's trust domain");
    }
    let segments_hold = path.split('/').all(|segment| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    });
    if path.is_empty() || !segments_hold {
        return refuse("not the SPIFFE ID of a workload");
    }
    Ok(subject.to_owned())
}

fn kubernetes(claims: &ClaimMap) -> Result<String, PrincipalError> {
    let missing = |claim: &str| PrincipalError::Missing {
        claim: claim.to_owned(),
    };
    let about = claims
        .get("kubernetes.io")
        .ok_or_else(|| missing("kubernetes.io"))?;
    let part = |value: Option<&Value>, name: &str| -> Result<String, PrincipalError> {
        let text = value.and_then(Value::as_str).ok_or_else(|| missing(name))?;
        // RFC 1123 labels and subdomains: what Kubernetes allows as names.
        let holds = !text.is_empty()
            && text.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
            });
        if holds {
            Ok(text.to_owned())
        } else {
            Err(form("kubernetes.io", text, "not a Kubernetes name"))
        }
    };
    let namespace = part(about.get("namespace"), "kubernetes.io/namespace")?;
    let account = part(
        about
            .get("serviceaccount")
            .and_then(|account| account.get("name")),
        "kubernetes.io/serviceaccount/name",
    )?;
    Ok(format!(
        "https://kubernetes.io/namespaces/{namespace}/serviceaccounts/{account}"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    fn issuers(type_and_more: Value) -> Result<Issuers, IssuerConfigError> {
        let mut entry = json!({ "issuer-url": "https://id.example.test", "client-id": "sigstore" });
        entry
            .as_object_mut()
            .unwrap()
            .extend(type_and_more.as_object().unwrap().clone());
        let config = json!({
            "oidc-issuers": { "https://id.example.test": entry },
            "ci-issuer-metadata": {
                "lab": {
                    "default-template-values": { "url": "https://ci.example.test" },
                    "extension-templates": {
                        "source-repository-uri": "{{ .url }}/{{.repo}}",
                        "source-repository-identifier": "repo_id",
                    },
                    "subject-alternative-name-template": "{{ .url }}/{{ .repo }}//{{ .job }}",
                },
                "clever": { "subject-alternative-name-template": "{{ if .x }}y{{ end }}" },
            },
        });
        Issuers::from_json(config.to_string().as_bytes())
    }

    fn principal(type_and_more: Value, claims: Value) -> Result<Principal, PrincipalError> {
        let issuers = issuers(type_and_more).unwrap();
        let issuer = issuers.find("https://id.example.test").unwrap();
        issuer.principal(claims.as_object().unwrap())
    }

    #[test]
    fn an_address_must_be_verified() {
        let email = json!({ "type": "email" });
        let claims = json!({ "sub": "s", "email": "a@b.test", "email_verified": true });
        let principal_ = principal(email.clone(), claims).unwrap();
        assert_eq!(principal_.san, PrincipalName::Email("a@b.test".into()));
        assert_eq!(principal_.challenge, "a@b.test");
        let extensions: Vec<_> = principal_.extensions().collect();
        assert_eq!(
            extensions,
            [
                (1, "https://id.example.test"),
                (8, "https://id.example.test"),
                (24, "s")
            ]
        );
        let word = json!({ "sub": "s", "email": "a@b.test", "email_verified": "true" });
        assert!(principal(email.clone(), word).is_ok());
        for verified in [json!(false), json!("false"), json!(1), json!(null)] {
            let claims = json!({ "sub": "s", "email": "a@b.test", "email_verified": verified });
            assert!(matches!(
                principal(email.clone(), claims),
                Err(PrincipalError::Unverified { .. })
            ));
        }
        let skipped = json!({ "type": "email", "skip-email-verification": true });
        assert!(principal(skipped, json!({ "sub": "s", "email": "a@b.test" })).is_ok());
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "ü@b.test",
            "a@b@c",
            "a b@c",
            "a@b\u{0}",
            "a@.b",
            "a@b,c",
        ] {
            let claims = json!({ "sub": "s", "email": bad, "email_verified": true });
            assert!(principal(email.clone(), claims).is_err(), "{bad:?}");
        }
        let no_subject = json!({ "email": "a@b.test", "email_verified": true });
        assert!(principal(email, no_subject).is_err());
    }

    #[test]
    fn other_kinds_of_names() {
        let uri = json!({ "type": "uri", "subject-domain": "https://example.test" });
        let good = principal(uri.clone(), json!({ "sub": "https://example.test/x" })).unwrap();
        assert_eq!(
            good.san,
            PrincipalName::Uri("https://example.test/x".into())
        );
        assert_eq!(good.challenge, "https://example.test/x");
        for bad in [
            "http://example.test/x",
            "https://evil.test/",
            "https://a@example.test/",
            "x",
        ] {
            assert!(
                principal(uri.clone(), json!({ "sub": bad })).is_err(),
                "{bad}"
            );
        }
        let name = json!({ "type": "username", "subject-domain": "example.test" });
        let good = principal(name.clone(), json!({ "sub": "bob" })).unwrap();
        assert_eq!(
            good.san,
            PrincipalName::OtherName("bob!example.test".into())
        );
        assert!(principal(name.clone(), json!({ "sub": "bob!x" })).is_err());
        assert!(principal(name, json!({ "sub": "bob@x.test" })).is_err());
        let spiffe = json!({ "type": "spiffe", "spiffe-trust-domain": "td.test" });
        assert!(principal(spiffe.clone(), json!({ "sub": "spiffe://td.test/a/b" })).is_ok());
        for bad in [
            "spiffe://other.test/a",
            "spiffe://td.test",
            "spiffe://td.test/a/../b",
            "a",
        ] {
            assert!(
                principal(spiffe.clone(), json!({ "sub": bad })).is_err(),
                "{bad}"
            );
        }
        let kube = principal(
            json!({ "type": "kubernetes" }),
            json!({ "sub": "x", "kubernetes.io": { "namespace": "n", "serviceaccount": { "name": "a" } } }),
        )
        .unwrap();
        assert_eq!(
            kube.san,
            PrincipalName::Uri("https://kubernetes.io/namespaces/n/serviceaccounts/a".into())
        );
    }

    #[test]
    fn a_ci_system_by_templates() {
        let lab = json!({ "type": "ci-provider", "ci-provider": "lab" });
        let claims = json!({ "sub": "s", "repo": "o/r", "repo_id": 12345678901_i64, "job": "j" });
        let found = principal(lab.clone(), claims).unwrap();
        assert_eq!(
            found.san,
            PrincipalName::Uri("https://ci.example.test/o/r//j".into())
        );
        let extensions: Vec<_> = found.extensions().skip(2).collect();
        assert_eq!(
            extensions,
            [
                (12, "https://ci.example.test/o/r"),
                (15, "12345678901"),
                (24, "s")
            ]
        );
        assert_eq!(
            principal(lab, json!({ "sub": "s", "repo": "o/r", "job": "j" })),
            Err(PrincipalError::Missing {
                claim: "repo_id".into()
            })
        );
    }

    #[test]
    fn a_github_workflow() {
        let claims = json!({
            "sub": "repo:o/r:ref:refs/heads/main", "event_name": "push", "sha": "c0ffee",
            "workflow": "CI", "repository": "o/r", "ref": "refs/heads/main",
            "job_workflow_ref": "o/r/.github/workflows/ci.yml@refs/heads/main",
            "job_workflow_sha": "c0ffee", "runner_environment": "github-hosted",
            "repository_id": "1", "repository_owner": "o", "repository_owner_id": "2",
            "workflow_ref": "o/r/.github/workflows/ci.yml@refs/heads/main",
            "workflow_sha": "c0ffee", "run_id": "7", "run_attempt": "1",
            "repository_visibility": "public",
        });
        let found = principal(json!({ "type": "github-workflow" }), claims).unwrap();
        assert_eq!(
            found.san,
            PrincipalName::Uri(
                "https://github.com/o/r/.github/workflows/ci.yml@refs/heads/main".into()
            )
        );
        let arcs: Vec<u8> = found.extensions().map(|(arc, _)| arc).collect();
        let all: Vec<u8> = (1..=24).filter(|arc| ![7, 23].contains(arc)).collect();
        assert_eq!(arcs, all);
        assert_eq!(found.challenge, "repo:o/r:ref:refs/heads/main");
    }

    #[test]
    fn configurations_that_ask_for_more_are_refused() {
        for bad in [
            json!({ "type": "chainguard-identity" }),
            json!({ "type": "" }),
            json!({ "type": "email", "client-id": "" }),
            json!({ "type": "email", "issuer-url": "https://id.example.test/" }),
            json!({ "type": "email", "issuer-claim": "$.x" }),
            json!({ "type": "uri" }),
            json!({ "type": "uri", "subject-domain": "https://evil.test" }),
            json!({ "type": "username", "subject-domain": "evil.test" }),
            json!({ "type": "spiffe" }),
            json!({ "type": "ci-provider", "ci-provider": "absent" }),
            json!({ "type": "ci-provider", "ci-provider": "clever" }),
        ] {
            assert!(issuers(bad.clone()).is_err(), "{bad}");
        }
        assert!(Issuers::from_json(b"{}").is_err());
        assert!(Issuers::from_json(br#"{"meta-issuers":{"https://*.x":{}}}"#).is_err());
        let plain = br#"{"OIDCIssuers":{"http://x.test":{"IssuerURL":"http://x.test","ClientID":"sigstore","Type":"email"}}}"#;
        assert!(Issuers::from_json(plain).is_err(), "http beyond loopback");
        let go = br#"{"OIDCIssuers":{"http://127.0.0.1:1":{"IssuerURL":"http://127.0.0.1:1","ClientID":"sigstore","Type":"email"}}}"#;
        let public = Issuers::from_json(go).unwrap().public();
        assert_eq!(public[0].challenge_claim, "email");
    }

    #[test]
    fn hosts_are_related_by_their_last_two_labels() {
        assert!(related(Some("a.example.test"), Some("example.test")));
        assert!(!related(Some("a.example.test"), Some("evil.test")));
        assert!(!related(Some("127.0.0.1"), Some("10.1.0.1")));
        assert!(related(Some("127.0.0.1"), Some("127.0.0.1")));
        assert!(!related(Some("localhost"), Some("elsewhere")));
    }
}
