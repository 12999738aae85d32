//! A small OpenID Connect issuer for named users: the authorization code flow
//! with PKCE, the device flow, and a login without a prompt (`prompt=none` with
//! `login_hint`).
//!
//! It has no passwords: anyone who can reach it can log in as any of its users.
//! It must listen on the loopback interface of a trusted machine only; a team
//! uses its own issuer.
//!
//! Sources: OpenID Connect Core 1.0 §3.1, RFC 6749, RFC 7636 (S256 alone), RFC
//! 8252 §7.3 (a loopback redirect's port is free, everything else is exact), RFC
//! 8628 (device flow), RFC 9207 (`iss` in the answer), RFC 9700 (one use of a
//! code).
//!
//! *Not checked here:* the use of a token (`fulcio/server.rs`).

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use sha2::{Digest as _, Sha256};
use url::Url;

use gitseal_evidence::UnixTime;
use gitseal_services::http::{
    endpoint::{Endpoint, NoEndpoint, dispatch, get, post},
    message::{ServerRequest, ServerResponse, decode_form},
    server::Handler,
};
use gitseal_services::oidc::page::{self, PageOutcome, content_security_policy, escape_html};
use gitseal_services::oidc::wire::{
    AUTHORIZE, DEVICE_CODE, DEVICE_GRANT, DEVICE_PAGE, DISCOVERY, DeviceResponse, Discovery,
    IssuedClaims, Jwk, KEYS, KeySet, OUT_OF_BAND, OauthError, OidcTokenResponse, TOKEN,
    access_token_hash, is_pkce_text, s256, token,
};
use gitseal_services::{Clock, Entropy};

/// The limit of open codes, and of open devices.
pub const MAX_OPEN: usize = 4096;
/// The validity of a code, in seconds.
pub const CODE_LIFETIME: i64 = 60;
/// The time that a device may wait for its user, in seconds.
pub const DEVICE_LIFETIME: i64 = 600;
/// The initial interval between two polls of a device, in seconds.
pub const DEVICE_INTERVAL: i64 = 5;
/// The maximum length of `state`, `nonce` and other parameters, in bytes.
pub const MAX_PARAMETER: usize = 1024;
/// The maximum length of an email address, in bytes (RFC 5321 §4.5.3.1.3).
pub const MAX_EMAIL: usize = 254;
/// The maximum number of wrong device codes per minute, from all users together.
pub const MAX_GUESSES: u32 = 30;

/// The validity of a refresh token, in seconds.
pub const REFRESH_LIFETIME: i64 = 12 * 3600;

/// The client ID that tokens are for by default: the one of all Sigstore
/// clients.
pub const CLIENT: &str = "sigstore";
/// The validity of a token, in seconds.
pub const TOKEN_LIFETIME: i64 = 600;

const LOG_IN: &str = "Log in";
const LOG_DEVICE_IN: &str = "Log in a device";
const LOGGED_IN: &str = "Logged in";

/// A user who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The email address, which the certificate contains.
    pub email: String,
    /// A stable ID, derived from the email address.
    pub subject: String,
}

impl User {
    /// Returns the user with this email address.
    ///
    /// # Errors
    ///
    /// Returns a message if the email address is malformed.
    pub fn new(email: &str) -> Result<Self, String> {
        let problem = |what: &str| Err(format!("{email:?} is not an email address: {what}"));
        if email.len() > MAX_EMAIL {
            return problem("longer than 254 bytes");
        }
        // Valid in a certificate's rfc822Name, and not split by a shell.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>()[],;:\\`".contains(&byte);
        if !email.bytes().all(plain) {
            return problem("only plain ASCII characters are allowed");
        }
        match email.split_once('@') {
            Some((local, domain))
                if !local.is_empty() && !domain.is_empty() && !domain.contains('@') => {}
            _ => return problem("not of the form name@domain"),
        }
        let digest = Sha256::digest(email.as_bytes());
        Ok(Self {
            email: email.to_owned(),
            subject: format!(
                "user-{}",
                URL_SAFE_NO_PAD.encode(digest.get(..15).unwrap_or_default())
            ),
        })
    }
}

/// The configuration of the issuer.
pub struct Config {
    pub issuer: String,
    /// The clients it knows: the audiences of its tokens.
    pub clients: Vec<String>,
    pub users: Vec<User>,
    /// Whether `prompt=none` logs a named user in at once.
    pub headless: bool,
    pub lifetime: i64,
}

/// The reference identity provider.
pub struct ReferenceIssuer {
    config: Config,
    key: SigningKey,
    jwk: Jwk,
    clock: Clock,
    entropy: Entropy,
    log: Option<TokenLog>,
    open: Mutex<Open>,
}

/// Writes a line without secrets for each issued token.
pub type TokenLog = Box<dyn Fn(&str) + Send + Sync>;

#[derive(Default)]
struct Open {
    codes: HashMap<String, Code>,
    devices: HashMap<String, Device>,
    refresh: HashMap<String, Refresh>,
    guesses: u32,
    guesses_since: UnixTime,
}

/// An authorization code that was issued and is not exchanged yet.
struct Code {
    login: Login,
    user: User,
    expires: UnixTime,
}

/// A refresh token, which is valid once. Its successor is in the response. A second
/// use means that it was stolen, and ends the login (RFC 9700 §4.14.2).
struct Refresh {
    /// The ID of the login that the token belongs to.
    family: String,
    client: String,
    user: User,
    scope: String,
    expires: UnixTime,
    used: bool,
}

struct Device {
    user_code: String,
    client: String,
    scope: String,
    challenge: Option<String>,
    expires: UnixTime,
    interval: i64,
    polled: Option<UnixTime>,
    decision: Decision,
}

enum Decision {
    Waiting,
    Denied,
    Granted(User),
}

/// The verified parameters of an authorization request.
#[derive(Clone)]
struct Login {
    client: String,
    redirect: String,
    challenge: String,
    state: Option<String>,
    nonce: Option<String>,
    scope: String,
}

impl ReferenceIssuer {
    /// Returns an issuer with this key, which an HTTP server serves as a [`Handler`].
    ///
    /// # Errors
    ///
    /// Returns a message if the key cannot be encoded as a JWK.
    pub fn new(
        config: Config,
        key: SigningKey,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, String> {
        let point = key.verifying_key().to_sec1_point(false);
        let jwk = Jwk::p256(point.as_bytes()).ok_or("the issuer's key is not a P-256 key")?;
        Ok(Self {
            config,
            key,
            jwk,
            clock,
            entropy,
            log: None,
            open: Mutex::default(),
        })
    }

    /// Sets the function that receives a line for each issued token.
    #[must_use]
    pub fn with_log(mut self, log: TokenLog) -> Self {
        self.log = Some(log);
        self
    }

    /// Issues an identity token for a user without a login.
    ///
    /// # Errors
    ///
    /// Returns a message if the token cannot be encoded.
    pub fn mint(
        &self,
        user: &User,
        client: &str,
        nonce: Option<&str>,
        access_token: Option<&str>,
    ) -> Result<String, String> {
        let now = (self.clock)();
        let claims = IssuedClaims {
            iss: self.config.issuer.clone(),
            sub: user.subject.clone(),
            aud: client.to_owned(),
            exp: now.saturating_add(self.config.lifetime),
            iat: now,
            nonce: nonce.map(str::to_owned),
            at_hash: access_token.map(access_token_hash),
            email: user.email.clone(),
            email_verified: true,
        };
        token(&claims, &self.jwk.kid, |bytes| {
            let signature: Signature = self.key.sign(bytes);
            signature.to_bytes().into()
        })
        .map_err(|error| format!("cannot encode the token: {error}"))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn secret(&self) -> Result<String, Refused> {
        let mut bytes = [0; 32];
        (self.entropy)(&mut bytes).map_err(|_| Refused::server("no entropy"))?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn user(&self, email: &str) -> Option<&User> {
        self.config.users.iter().find(|user| user.email == email)
    }

    // ------------------------------------------------------------ the login

    /// Handles an authorization request. A GET returns the page, or logs a named user
    /// in; the page's form posts the same parameters with the chosen user.
    fn authorize(&self, pairs: &[(String, String)], chosen: bool) -> ServerResponse {
        let parameters = Parameters(pairs);
        // Only a verified redirect URI of a known client gets a response.
        let (client, redirect) = match self.destination(&parameters) {
            Ok(destination) => destination,
            Err(problem) => return page(400, "Login refused", &paragraph(&problem)),
        };
        let state = parameters.one("state").ok().flatten();
        let outcome = self
            .login(&parameters, client, &redirect)
            .and_then(|login| self.decide(&parameters, login, chosen));
        match outcome {
            Ok(response) => response,
            Err(refused) => self.redirect(
                &redirect,
                &[
                    ("error", Some(refused.code)),
                    ("error_description", Some(&refused.words)),
                    ("state", state),
                ],
            ),
        }
    }

    fn destination(&self, parameters: &Parameters<'_>) -> Result<(String, String), String> {
        let client = parameters
            .required("client_id")
            .map_err(|refused| refused.words)?;
        if !self.config.clients.iter().any(|known| known == client) {
            return Err(format!("unknown client {client:?}"));
        }
        let redirect = parameters
            .required("redirect_uri")
            .map_err(|refused| refused.words)?;
        if !is_redirect(redirect) {
            return Err(format!("{redirect:?} is not a redirect URL of this client"));
        }
        Ok((client.to_owned(), redirect.to_owned()))
    }

    fn login(
        &self,
        parameters: &Parameters<'_>,
        client: String,
        redirect: &str,
    ) -> Result<Login, Refused> {
        if parameters.required("response_type")? != "code" {
            return Err(Refused::new(
                "unsupported_response_type",
                "response_type must be code",
            ));
        }
        if parameters.one("request")?.is_some() {
            return Err(Refused::new(
                "request_not_supported",
                "request objects are not supported",
            ));
        }
        let scope = parameters.required("scope")?.to_owned();
        if !scope.split(' ').any(|name| name == "openid") {
            return Err(Refused::new(
                "invalid_scope",
                "the scope must contain openid",
            ));
        }
        let challenge = parameters.required("code_challenge")?.to_owned();
        if parameters.required("code_challenge_method")? != "S256" {
            return Err(Refused::request("code_challenge_method must be S256"));
        }
        if challenge.len() != 43 || !is_pkce_text(&challenge) {
            return Err(Refused::request(
                "code_challenge is not a SHA-256 in base64url",
            ));
        }
        Ok(Login {
            client,
            redirect: redirect.to_owned(),
            challenge,
            state: parameters.one("state")?.map(str::to_owned),
            nonce: parameters.one("nonce")?.map(str::to_owned),
            scope,
        })
    }

    fn decide(
        &self,
        parameters: &Parameters<'_>,
        login: Login,
        chosen: bool,
    ) -> Result<ServerResponse, Refused> {
        if chosen {
            if parameters.one("deny")?.is_some() {
                return Err(Refused::new("access_denied", "the user canceled the login"));
            }
            let user = self
                .user(parameters.required("user")?)
                .ok_or_else(|| Refused::new("access_denied", "unknown user"))?;
            return self.grant(login, user);
        }
        let hint = parameters.one("login_hint")?;
        let prompts: Vec<&str> = parameters.one("prompt")?.unwrap_or("").split(' ').collect();
        if !prompts.contains(&"none") {
            return Ok(self.consent(&login, hint));
        }
        if prompts.len() > 1 {
            return Err(Refused::request("prompt=none must be the only prompt"));
        }
        if !self.config.headless {
            return Err(Refused::new(
                "interaction_required",
                "this issuer requires a prompt at each login",
            ));
        }
        let user = hint.and_then(|hint| self.user(hint)).ok_or_else(|| {
            Refused::new("login_required", "login_hint does not name a known user")
        })?;
        self.grant(login, user)
    }

    fn grant(&self, login: Login, user: &User) -> Result<ServerResponse, Refused> {
        let code = self.secret()?;
        let now = (self.clock)();
        let redirect = login.redirect.clone();
        let state = login.state.clone();
        {
            let mut open = self.open();
            open.codes.retain(|_, code| code.expires >= now);
            if open.codes.len() >= MAX_OPEN {
                return Err(Refused::new(
                    "temporarily_unavailable",
                    "too many open logins",
                ));
            }
            open.codes.insert(
                code.clone(),
                Code {
                    login,
                    user: user.clone(),
                    expires: now.saturating_add(CODE_LIFETIME),
                },
            );
        }
        if redirect == OUT_OF_BAND {
            return Ok(page(
                200,
                LOGGED_IN,
                &format!(
                    "<p>Copy this code to the program that started the login:</p><p><code>{}</code></p>",
                    escape_html(&code)
                ),
            ));
        }
        Ok(self.redirect(
            &redirect,
            &[("code", Some(&code)), ("state", state.as_deref())],
        ))
    }

    /// Redirects the browser to the client (RFC 6749 §4.1.2, RFC 9207 §2).
    fn redirect(&self, redirect: &str, pairs: &[(&str, Option<&str>)]) -> ServerResponse {
        if redirect == OUT_OF_BAND {
            let words = pairs.iter().filter_map(|(_, value)| *value);
            let words: Vec<&str> = words.collect();
            return page(400, "Login refused", &paragraph(&words.join(": ")));
        }
        let Ok(mut url) = Url::parse(redirect) else {
            return page(
                400,
                "Login refused",
                &paragraph("the redirect is not a URL"),
            );
        };
        {
            let mut query = url.query_pairs_mut();
            for (name, value) in pairs {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
            query.append_pair("iss", &self.config.issuer);
        }
        guarded(ServerResponse::empty(302)).with("Location", String::from(url))
    }

    fn consent(&self, login: &Login, hint: Option<&str>) -> ServerResponse {
        let mut form = format!(
            "<p>Log in to {} as:</p><form method=\"post\" action=\"{AUTHORIZE}\">",
            escape_html(&login.client)
        );
        let hidden = [
            ("client_id", Some(login.client.as_str())),
            ("redirect_uri", Some(&login.redirect)),
            ("response_type", Some("code")),
            ("scope", Some(&login.scope)),
            ("code_challenge", Some(&login.challenge)),
            ("code_challenge_method", Some("S256")),
            ("state", login.state.as_deref()),
            ("nonce", login.nonce.as_deref()),
        ];
        for (name, value) in hidden {
            if let Some(value) = value {
                let _ = write!(
                    form,
                    "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
                    escape_html(value)
                );
            }
        }
        form.push_str(&self.choice(hint));
        form.push_str("</form><p><small>This issuer has no passwords. It is for development and testing only.</small></p>");
        page(200, LOG_IN, &form)
    }

    /// Returns the users as radio buttons, and the two buttons of the form.
    fn choice(&self, hint: Option<&str>) -> String {
        let mut html = String::new();
        for (index, user) in self.config.users.iter().enumerate() {
            let checked = hint.map_or(index == 0, |hint| hint == user.email);
            let _ = write!(
                html,
                "<label><input type=\"radio\" name=\"user\" value=\"{0}\"{1}> {0}</label>",
                escape_html(&user.email),
                if checked { " checked" } else { "" }
            );
        }
        html.push_str(
            "<p><button>Log in</button> <button name=\"deny\" value=\"1\">Cancel</button></p>",
        );
        html
    }

    // ------------------------------------------------------------ the token

    fn token(&self, request: &ServerRequest) -> Result<ServerResponse, Refused> {
        let pairs = form(request)?;
        let parameters = Parameters(&pairs);
        let client = self.client(request, &parameters)?;
        match parameters.required("grant_type")? {
            "authorization_code" => self.exchange_code(&parameters, &client),
            DEVICE_GRANT => self.poll_device(&parameters, &client),
            "refresh_token" => self.refresh(&parameters, &client),
            _ => Err(Refused::new(
                "unsupported_grant_type",
                "supported: authorization_code, device_code, refresh_token",
            )),
        }
    }

    /// Returns the client: by `client_id`, or by HTTP Basic with any password,
    /// since the clients of this issuer are programs on people's machines and
    /// hold no secret (RFC 8252 §8.5). The two must not disagree.
    fn client(
        &self,
        request: &ServerRequest,
        parameters: &Parameters<'_>,
    ) -> Result<String, Refused> {
        let invalid = || Refused::new("invalid_client", "unknown client");
        let mut named = parameters.one("client_id")?.map(str::to_owned);
        if let Some(header) = request.headers.first("authorization") {
            let (scheme, value) = header.split_once(' ').ok_or_else(invalid)?;
            if !scheme.eq_ignore_ascii_case("basic") {
                return Err(invalid());
            }
            let decoded = STANDARD.decode(value.trim()).map_err(|_| invalid())?;
            let text = String::from_utf8(decoded).map_err(|_| invalid())?;
            let (name, _) = text.split_once(':').ok_or_else(invalid)?;
            // RFC 6749 §2.3.1: the name is form-encoded.
            let name = decode_form(&format!("n={name}"))
                .ok()
                .and_then(|pairs| pairs.into_iter().next())
                .map(|(_, value)| value)
                .ok_or_else(invalid)?;
            if named.as_ref().is_some_and(|other| *other != name) {
                return Err(invalid());
            }
            named = Some(name);
        }
        named
            .filter(|name| self.config.clients.contains(name))
            .ok_or_else(invalid)
    }

    fn exchange_code(
        &self,
        parameters: &Parameters<'_>,
        client: &str,
    ) -> Result<ServerResponse, Refused> {
        let grant = |words: &str| Refused::new("invalid_grant", words);
        let now = (self.clock)();
        // Removed even if a later check fails: a code is used once.
        let code = self
            .open()
            .codes
            .remove(parameters.required("code")?)
            .ok_or_else(|| grant("the code is unknown, used or expired"))?;
        if code.expires < now {
            return Err(grant("the code is unknown, used or expired"));
        }
        if code.login.client != client {
            return Err(grant("the code was issued to another client"));
        }
        if parameters.required("redirect_uri")? != code.login.redirect {
            return Err(grant("redirect_uri does not match the login"));
        }
        let verifier = parameters.required("code_verifier")?;
        if !is_pkce_text(verifier) || s256(verifier) != code.login.challenge {
            return Err(grant("the code_verifier does not match the challenge"));
        }
        self.tokens(&Given {
            user: &code.user,
            client,
            nonce: code.login.nonce.as_deref(),
            scope: &code.login.scope,
            family: None,
            grant: "code",
        })
    }

    /// Exchanges a refresh token (RFC 6749 §6).
    fn refresh(
        &self,
        parameters: &Parameters<'_>,
        client: &str,
    ) -> Result<ServerResponse, Refused> {
        let grant = |words: &str| Refused::new("invalid_grant", words);
        let unknown = || grant("the refresh token is unknown or expired");
        let now = (self.clock)();
        let token = parameters.required("refresh_token")?;
        let (user, scope, family) = {
            let mut open = self.open();
            let found = open.refresh.get_mut(token).ok_or_else(unknown)?;
            if found.client != client || found.expires < now {
                return Err(unknown());
            }
            if found.used {
                let family = found.family.clone();
                open.refresh.retain(|_, other| other.family != family);
                return Err(grant(
                    "the refresh token was used before; the login is ended",
                ));
            }
            if let Some(wanted) = parameters.one("scope")?
                && !wanted
                    .split(' ')
                    .all(|one| found.scope.split(' ').any(|had| had == one))
            {
                return Err(Refused::new(
                    "invalid_scope",
                    "the scope exceeds that of the login",
                ));
            }
            found.used = true;
            (
                found.user.clone(),
                found.scope.clone(),
                found.family.clone(),
            )
        };
        self.tokens(&Given {
            user: &user,
            client,
            nonce: None,
            scope: &scope,
            family: Some(family),
            grant: "refresh",
        })
    }

    /// Returns the next refresh token, if the login requested one.
    fn successor(&self, given: &Given<'_>) -> Result<Option<String>, Refused> {
        if !given.scope.split(' ').any(|one| one == "offline_access") {
            return Ok(None);
        }
        let token = self.secret()?;
        let family = match &given.family {
            Some(family) => family.clone(),
            None => self.secret()?,
        };
        let now = (self.clock)();
        let mut open = self.open();
        open.refresh.retain(|_, other| other.expires >= now);
        if open.refresh.len() >= MAX_OPEN {
            return Err(Refused::new(
                "temporarily_unavailable",
                "too many open logins",
            ));
        }
        open.refresh.insert(
            token.clone(),
            Refresh {
                family,
                client: given.client.to_owned(),
                user: given.user.clone(),
                scope: given.scope.to_owned(),
                expires: now.saturating_add(REFRESH_LIFETIME),
                used: false,
            },
        );
        Ok(Some(token))
    }

    fn tokens(&self, given: &Given<'_>) -> Result<ServerResponse, Refused> {
        let Given {
            user,
            client,
            nonce,
            scope,
            grant,
            ..
        } = *given;
        let words = |_| Refused::server("cannot encode the token");
        let access_token = self.mint(user, client, None, None).map_err(words)?;
        let id_token = self
            .mint(user, client, nonce, Some(&access_token))
            .map_err(words)?;
        let refresh_token = self.successor(given)?;
        if let Some(log) = &self.log {
            log(&format!(
                "oidc: token issued user={} client={client} grant={grant}",
                user.email
            ));
        }
        json(
            200,
            &OidcTokenResponse {
                access_token,
                token_type: "Bearer".into(),
                expires_in: self.config.lifetime,
                id_token,
                scope: scope.to_owned(),
                refresh_token,
            },
        )
    }

    // ------------------------------------------------------------ the device flow

    fn begin_device(&self, request: &ServerRequest) -> Result<ServerResponse, Refused> {
        let pairs = form(request)?;
        let parameters = Parameters(&pairs);
        let client = self.client(request, &parameters)?;
        let challenge = match parameters.one("code_challenge")? {
            None => None,
            Some(challenge)
                if parameters.one("code_challenge_method")? == Some("S256")
                    && challenge.len() == 43
                    && is_pkce_text(challenge) =>
            {
                Some(challenge.to_owned())
            }
            Some(_) => return Err(Refused::request("code_challenge must be S256")),
        };
        let device_code = self.secret()?;
        let user_code = self.user_code()?;
        let now = (self.clock)();
        let mut open = self.open();
        open.devices.retain(|_, device| device.expires >= now);
        if open.devices.len() >= MAX_OPEN {
            return Err(Refused::new(
                "temporarily_unavailable",
                "too many open device logins",
            ));
        }
        open.devices.insert(
            device_code.clone(),
            Device {
                user_code: user_code.clone(),
                client,
                scope: parameters.one("scope")?.unwrap_or("openid").to_owned(),
                challenge,
                expires: now.saturating_add(DEVICE_LIFETIME),
                interval: DEVICE_INTERVAL,
                polled: None,
                decision: Decision::Waiting,
            },
        );
        drop(open);
        let uri = format!("{}{DEVICE_PAGE}", self.config.issuer);
        json(
            200,
            &DeviceResponse {
                device_code,
                verification_uri_complete: format!("{uri}?user_code={user_code}"),
                verification_uri: uri,
                user_code,
                expires_in: DEVICE_LIFETIME,
                interval: DEVICE_INTERVAL,
            },
        )
    }

    /// Returns eight letters of RFC 8628 §6.1's alphabet (no vowels): 34 bits.
    fn user_code(&self) -> Result<String, Refused> {
        const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
        let mut code = String::with_capacity(9);
        // A byte below 240 gives each letter twelve times out of 256.
        for _ in 0..64 {
            let mut bytes = [0; 16];
            (self.entropy)(&mut bytes).map_err(|_| Refused::server("no entropy"))?;
            for byte in bytes.into_iter().filter(|byte| *byte < 240) {
                if code.len() == 4 {
                    code.push('-');
                }
                let letter = LETTERS.get(usize::from(byte % 20)).copied().unwrap_or(b'B');
                code.push(char::from(letter));
                if code.len() == 9 {
                    return Ok(code);
                }
            }
        }
        Err(Refused::server("no entropy"))
    }

    fn poll_device(
        &self,
        parameters: &Parameters<'_>,
        client: &str,
    ) -> Result<ServerResponse, Refused> {
        let code = parameters.required("device_code")?;
        let now = (self.clock)();
        let mut open = self.open();
        let unknown = || Refused::new("invalid_grant", "the device code is unknown or used");
        let device = open.devices.get_mut(code).ok_or_else(unknown)?;
        if device.client != client {
            return Err(unknown());
        }
        if device.expires < now {
            open.devices.remove(code);
            return Err(Refused::new(
                "expired_token",
                "the login was not completed in time",
            ));
        }
        if let Some(challenge) = &device.challenge {
            let fits = parameters
                .one("code_verifier")?
                .is_some_and(|verifier| is_pkce_text(verifier) && s256(verifier) == *challenge);
            if !fits {
                return Err(Refused::new(
                    "invalid_grant",
                    "the code_verifier does not match the challenge",
                ));
            }
        }
        let early = device
            .polled
            .is_some_and(|last| now.saturating_sub(last) < device.interval);
        device.polled = Some(now);
        match &device.decision {
            Decision::Waiting if early => {
                device.interval = device.interval.saturating_add(5).min(60);
                Err(Refused::new("slow_down", "polled too often"))
            }
            Decision::Waiting => Err(Refused::new(
                "authorization_pending",
                "the login is not completed yet",
            )),
            Decision::Denied => {
                open.devices.remove(code);
                Err(Refused::new("access_denied", "the user canceled the login"))
            }
            Decision::Granted(user) => {
                let (user, scope) = (user.clone(), device.scope.clone());
                open.devices.remove(code);
                drop(open);
                self.tokens(&Given {
                    user: &user,
                    client,
                    nonce: None,
                    scope: &scope,
                    family: None,
                    grant: "device",
                })
            }
        }
    }

    fn device_page(&self, request: &ServerRequest) -> ServerResponse {
        let code = request.parameter("user_code").unwrap_or("");
        page(
            200,
            LOG_DEVICE_IN,
            &format!(
                "<form method=\"post\" action=\"{DEVICE_PAGE}\"><p><label>Code displayed on your \
                 device: <input name=\"user_code\" value=\"{}\" autocomplete=\"off\"></label></p>{}\
                 </form><p>Continue only if you started this login yourself.</p>",
                escape_html(code),
                self.choice(None)
            ),
        )
    }

    fn decide_device(&self, request: &ServerRequest) -> ServerResponse {
        let refused = |status, words: &str| page(status, "Login refused", &paragraph(words));
        let pairs = match form(request) {
            Ok(pairs) => pairs,
            Err(problem) => return refused(400, &problem.words),
        };
        let parameters = Parameters(&pairs);
        let (typed, user, deny) = match (
            parameters.required("user_code"),
            parameters.one("user"),
            parameters.one("deny"),
        ) {
            (Ok(typed), Ok(user), Ok(deny)) => (typed, user, deny.is_some()),
            (Err(problem), ..) | (_, Err(problem), _) | (.., Err(problem)) => {
                return refused(400, &problem.words);
            }
        };
        let letters = |text: &str| -> String {
            text.chars()
                .filter(char::is_ascii_alphabetic)
                .map(|letter| letter.to_ascii_uppercase())
                .collect()
        };
        let typed = letters(typed);
        let now = (self.clock)();
        let mut open = self.open();
        if now.saturating_sub(open.guesses_since) >= 60 {
            open.guesses = 0;
            open.guesses_since = now;
        }
        if open.guesses >= MAX_GUESSES {
            return refused(429, "Too many wrong codes; wait a minute.");
        }
        let found = open.devices.values_mut().find(|device| {
            device.expires >= now
                && matches!(device.decision, Decision::Waiting)
                && letters(&device.user_code) == typed
        });
        let Some(device) = found else {
            open.guesses = open.guesses.saturating_add(1);
            return refused(400, "Unknown or expired code.");
        };
        if deny {
            device.decision = Decision::Denied;
            return page(
                200,
                "Login canceled",
                &paragraph("Your device is not logged in."),
            );
        }
        let Some(user) = user.and_then(|email| self.user(email)) else {
            return refused(400, "unknown user");
        };
        device.decision = Decision::Granted(user.clone());
        page(
            200,
            LOGGED_IN,
            &paragraph(&format!(
                "Your device is logged in as {}. You can close this page.",
                user.email
            )),
        )
    }
}

type Reply = Result<ServerResponse, Refused>;

const ENDPOINTS: [Endpoint<ReferenceIssuer, Reply>; 9] = [
    get(DISCOVERY, |issuer, _| {
        json(200, &Discovery::of(&issuer.config.issuer))
    }),
    get(KEYS, |issuer, _| {
        let keys = vec![issuer.jwk.clone()];
        json(200, &KeySet { keys })
    }),
    get(AUTHORIZE, |issuer, request| {
        Ok(issuer.authorize(&request.query, false))
    }),
    post(AUTHORIZE, |issuer, request| {
        Ok(issuer.authorize(&form(request)?, true))
    }),
    post(TOKEN, ReferenceIssuer::token),
    post(DEVICE_CODE, ReferenceIssuer::begin_device),
    get(DEVICE_PAGE, |issuer, request| {
        Ok(issuer.device_page(request))
    }),
    post(DEVICE_PAGE, |issuer, request| {
        Ok(issuer.decide_device(request))
    }),
    get("/healthz", |_, _| {
        Ok(ServerResponse::json(
            200,
            &serde_json::json!({ "status": "SERVING" }),
        ))
    }),
];

impl Handler for ReferenceIssuer {
    fn handle(&self, request: &ServerRequest) -> ServerResponse {
        match dispatch(&ENDPOINTS, self, request) {
            Ok(outcome) => outcome.unwrap_or_else(Refused::response),
            Err(NoEndpoint::Path) => ServerResponse::text(404, "path not found\n"),
            Err(NoEndpoint::Method(_)) => ServerResponse::text(405, "method not allowed\n"),
        }
    }
}

/// The login that tokens are issued for.
struct Given<'a> {
    user: &'a User,
    client: &'a str,
    nonce: Option<&'a str>,
    scope: &'a str,
    /// The ID of the login, for a refresh.
    family: Option<String>,
    /// The grant type for the log line.
    grant: &'static str,
}

/// An OAuth error response.
struct Refused {
    code: &'static str,
    words: String,
}

impl Refused {
    fn new(code: &'static str, words: &str) -> Self {
        Self {
            code,
            words: words.to_owned(),
        }
    }

    fn request(words: &str) -> Self {
        Self::new("invalid_request", words)
    }

    fn server(words: &str) -> Self {
        Self::new("server_error", words)
    }

    /// Returns the error response of RFC 6749 §5.2.
    fn response(self) -> ServerResponse {
        let status = match self.code {
            "invalid_client" => 401,
            "server_error" => 500,
            "temporarily_unavailable" => 503,
            _ => 400,
        };
        let error = OauthError {
            error: self.code.to_owned(),
            error_description: self.words,
        };
        let response = json(status, &error).unwrap_or_else(|_| ServerResponse::empty(500));
        match status {
            401 => response.with("WWW-Authenticate", "Basic realm=\"token\""),
            _ => response,
        }
    }
}

/// The pairs of a form or a query. Duplicate names are rejected (RFC 6749 §3.1).
struct Parameters<'a>(&'a [(String, String)]);

impl<'a> Parameters<'a> {
    fn one(&self, name: &str) -> Result<Option<&'a str>, Refused> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(Refused::request(&format!("duplicate {name}")));
        }
        if value.is_some_and(|value| value.len() > MAX_PARAMETER) {
            return Err(Refused::request(&format!("{name} is too long")));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn required(&self, name: &str) -> Result<&'a str, Refused> {
        self.one(name)?
            .ok_or_else(|| Refused::request(&format!("missing {name}")))
    }
}

fn form(request: &ServerRequest) -> Result<Vec<(String, String)>, Refused> {
    if request.media_type().as_deref() != Some("application/x-www-form-urlencoded") {
        return Err(Refused::request("expected a form"));
    }
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| Refused::request("the form is not UTF-8"))?;
    decode_form(text).map_err(|fault| Refused::request(fault.message))
}

fn json(status: u16, value: &impl serde::Serialize) -> Result<ServerResponse, Refused> {
    let body =
        serde_json::to_vec(value).map_err(|_| Refused::server("cannot encode the response"))?;
    Ok(ServerResponse::new(status, "application/json", body)
        .with("Cache-Control", "no-store")
        .with("X-Content-Type-Options", "nosniff"))
}

/// Returns whether a redirect URI is allowed: the out-of-band name, or a loopback
/// URL with a path that Sigstore's clients use. The port may differ (RFC 8252
/// §7.3); all else must match exactly, before URL parsing.
fn is_redirect(redirect: &str) -> bool {
    if redirect == OUT_OF_BAND {
        return true;
    }
    let Some(rest) = redirect.strip_prefix("http://") else {
        return false;
    };
    let hosts = ["127.0.0.1", "localhost", "[::1]"];
    let Some(rest) = hosts.iter().find_map(|host| rest.strip_prefix(host)) else {
        return false;
    };
    let path = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (port, path) = rest.split_at(digits);
            if port.parse::<u16>().is_ok_and(|port| port > 0) {
                path
            } else {
                return false;
            }
        }
    };
    ["/auth/callback", "/", ""].contains(&path)
}

fn paragraph(words: &str) -> String {
    format!("<p>{}</p>", escape_html(words))
}

/// Returns an HTML page; `body` is HTML.
fn page(status: u16, title: &str, body: &str) -> ServerResponse {
    let mood = match (status, title) {
        (200, LOG_IN | LOG_DEVICE_IN) => PageOutcome::Asking,
        (200, LOGGED_IN) => PageOutcome::Good,
        _ => PageOutcome::Bad,
    };
    guarded(ServerResponse::new(
        status,
        "text/html; charset=utf-8",
        page::page(mood, title, body, None),
    ))
}

fn guarded(response: ServerResponse) -> ServerResponse {
    response
        .with("Cache-Control", "no-store")
        .with("Referrer-Policy", "same-origin")
        .with("X-Content-Type-Options", "nosniff")
        .with("X-Frame-Options", "DENY")
        .with(
            "Content-Security-Policy",
            content_security_policy(
                None,
                "'self' http://127.0.0.1:* http://localhost:* http://[::1]:*",
            ),
        )
}

/// Returns the users of a list of email addresses, without duplicates.
///
/// # Errors
///
/// Returns a message if an email address is malformed.
pub fn users<'a>(emails: impl IntoIterator<Item = &'a str>) -> Result<Vec<User>, String> {
    let mut seen = HashSet::new();
    let mut users = Vec::new();
    for email in emails {
        if seen.insert(email) {
            users.push(User::new(email)?);
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests;
