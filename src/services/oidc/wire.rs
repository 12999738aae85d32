//! What an OpenID Connect issuer publishes, signs and answers: the discovery
//! document, the key set, the token and the error.
//!
//! Sources: OpenID Connect Discovery 1.0 §3, RFC 7517 (keys), RFC 7515 and 7519
//! (tokens, compact form), RFC 6749 §5 (answers), RFC 8628 §3.2 (device flow).
//!
//! *Not checked here:* a token's signature (the client and Fulcio do that with
//! the issuer's keys), and who may have one (`server.rs`).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use gitseal_evidence::UnixTime;

/// The path of the discovery document, after the issuer's URL.
pub const DISCOVERY: &str = "/.well-known/openid-configuration";
/// The path of the key set.
pub const KEYS: &str = "/keys";
/// The path of the authorization endpoint.
pub const AUTHORIZE: &str = "/auth";
/// The path of the token endpoint.
pub const TOKEN: &str = "/token";
/// The path of the device authorization endpoint.
pub const DEVICE_CODE: &str = "/device/code";
/// The path of the page to enter a device's code.
pub const DEVICE_PAGE: &str = "/device";

/// The redirect address that means "show the code, the user types it".
pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
/// The grant type of the device flow.
pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// `/.well-known/openid-configuration`, the members that clients read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct Discovery {
    /// The issuer, exactly as in its tokens.
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub device_authorization_endpoint: String,
    pub jwks_uri: String,
    pub response_types_supported: Vec<String>,
    pub response_modes_supported: Vec<String>,
    pub grant_types_supported: Vec<String>,
    pub subject_types_supported: Vec<String>,
    pub id_token_signing_alg_values_supported: Vec<String>,
    pub scopes_supported: Vec<String>,
    pub claims_supported: Vec<String>,
    pub token_endpoint_auth_methods_supported: Vec<String>,
    pub code_challenge_methods_supported: Vec<String>,
    pub authorization_response_iss_parameter_supported: bool,
}

impl Discovery {
    /// The description of an issuer at this address (no trailing slash), with
    /// the paths of this module.
    #[must_use]
    pub fn of(issuer: &str) -> Self {
        let at = |path: &str| format!("{issuer}{path}");
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            issuer: issuer.to_owned(),
            authorization_endpoint: at(AUTHORIZE),
            token_endpoint: at(TOKEN),
            device_authorization_endpoint: at(DEVICE_CODE),
            jwks_uri: at(KEYS),
            response_types_supported: list(&["code"]),
            response_modes_supported: list(&["query"]),
            grant_types_supported: list(&["authorization_code", "refresh_token", DEVICE_GRANT]),
            subject_types_supported: list(&["public"]),
            id_token_signing_alg_values_supported: list(&["ES256"]),
            scopes_supported: list(&["openid", "email", "offline_access"]),
            claims_supported: list(&[
                "iss",
                "sub",
                "aud",
                "exp",
                "iat",
                "nonce",
                "email",
                "email_verified",
            ]),
            token_endpoint_auth_methods_supported: list(&[
                "none",
                "client_secret_basic",
                "client_secret_post",
            ]),
            code_challenge_methods_supported: list(&["S256"]),
            authorization_response_iss_parameter_supported: true,
        }
    }
}

/// A public P-256 key as RFC 7518 §6.2 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct Jwk {
    pub kty: String,
    pub crv: String,
    /// The point's first coordinate, 32 bytes in base64url.
    pub x: String,
    pub y: String,
    #[serde(rename = "use")]
    pub usage: String,
    pub alg: String,
    /// The name that a token's header gives.
    pub kid: String,
}

impl Jwk {
    /// The key of an uncompressed P-256 point (65 bytes, SEC 1 §2.3.3). Its name
    /// is its thumbprint (RFC 7638).
    #[must_use]
    pub fn p256(point: &[u8]) -> Option<Self> {
        let coordinates = point.strip_prefix(&[4]).filter(|rest| rest.len() == 64)?;
        let (x, y) = coordinates.split_at_checked(32)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Some(Self {
            kty: "EC".into(),
            crv: "P-256".into(),
            x,
            y,
            usage: "sig".into(),
            alg: "ES256".into(),
            kid: URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint.as_bytes())),
        })
    }
}

/// A set of public keys (RFC 7517 §5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct KeySet {
    pub keys: Vec<Jwk>,
}

/// The claims of a token of the reference issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct IssuedClaims {
    pub iss: String,
    /// The user, a name that stays when the address changes.
    pub sub: String,
    /// For whom it is: the client's name.
    pub aud: String,
    pub exp: UnixTime,
    pub iat: UnixTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The left half of the access token's SHA-256 (OIDC Core §3.1.3.6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_hash: Option<String>,
    pub email: String,
    /// Whether the issuer saw to it that it is the user's.
    pub email_verified: bool,
}

/// Makes a token in compact form. `sign` makes the raw 64-byte ES256 signature
/// (`r`, then `s`: RFC 7518 §3.4) over the bytes it is given.
///
/// # Errors
///
/// When the claims cannot be written as JSON.
pub fn token(
    claims: &IssuedClaims,
    kid: &str,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<String, serde_json::Error> {
    let header = serde_json::json!({ "alg": "ES256", "kid": kid, "typ": "JWT" });
    let mut token = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?),
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?)
    );
    let signature = sign(token.as_bytes());
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(token)
}

/// `at_hash` for a token signed with SHA-256.
#[must_use]
pub fn access_token_hash(access_token: &str) -> String {
    let digest = Sha256::digest(access_token.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

/// The S256 challenge of a verifier (RFC 7636 §4.2).
#[must_use]
pub fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// Whether a text can be a code verifier or, what is the same alphabet, a code
/// challenge: 43 to 128 unreserved characters (RFC 7636 §4.1).
#[must_use]
pub fn is_pkce_text(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// The answer of the token endpoint.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct OidcTokenResponse {
    /// A full token too: some clients present this one to Fulcio. Secret.
    pub access_token: String,
    pub token_type: String,
    pub expires_in: i64,
    pub id_token: String,
    pub scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// The answer of the device endpoint (RFC 8628 §3.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields have the names of the API")]
pub struct DeviceResponse {
    pub device_code: String,
    pub user_code: String,
    pub verification_uri: String,
    pub verification_uri_complete: String,
    pub expires_in: i64,
    pub interval: i64,
}

/// A refusal (RFC 6749 §5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OauthError {
    /// A code from the list of the RFC.
    pub error: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_description: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_the_rfc() {
        // RFC 7636 appendix B.
        assert_eq!(
            s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert!(is_pkce_text("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!is_pkce_text("short"));
        assert!(!is_pkce_text(&"+".repeat(43)));
        assert!(!is_pkce_text(&"a".repeat(129)));
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        // The key of RFC 7517 appendix A.1.
        let x = URL_SAFE_NO_PAD
            .decode("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4")
            .unwrap();
        let y = URL_SAFE_NO_PAD
            .decode("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM")
            .unwrap();
        let key = Jwk::p256(&[&[4][..], &x, &y].concat()).unwrap();
        assert_eq!(key.x, "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4");
        assert_eq!(key.kid.len(), 43);
        assert!(Jwk::p256(&[&[2][..], &x].concat()).is_none());
        assert!(Jwk::p256(&[&[4][..], &x, &x, &x].concat()).is_none());
    }

    #[test]
    fn a_token_has_three_parts_and_its_claims_inside() {
        let claims = IssuedClaims {
            iss: "http://127.0.0.1:1".into(),
            sub: "s".into(),
            aud: "sigstore".into(),
            exp: 2,
            iat: 1,
            nonce: None,
            at_hash: None,
            email: "alice@example.test".into(),
            email_verified: true,
        };
        let mut signed = Vec::new();
        let token = token(&claims, "key", |bytes| {
            signed = bytes.to_vec();
            [7; 64]
        })
        .unwrap();
        let parts: Vec<_> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(signed, format!("{}.{}", parts[0], parts[1]).into_bytes());
        let payload = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
        assert_eq!(
            serde_json::from_slice::<IssuedClaims>(&payload).unwrap(),
            claims
        );
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap(), [7; 64]);
    }
}
