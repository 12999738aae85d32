//! Tokens of CI jobs and cloud machines, each provider against a real HTTP
//! endpoint of the documented shape: right, and wrong in every way that has its
//! own answer.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::stub::{CannedResponse, RecordedRequest, Stub};
use crate::support::{ALICE, GITSEAL, PAYLOAD, peers::Repository, process::run, servers::Lab};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gitseal_services::http::client::{Client, Timeouts};
use gitseal_services::oidc::ambient::{
    self, AmbientContext, AmbientError, PROVIDERS, TOKEN_VARIABLE, TokenProvider,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

const NOW: i64 = 1_800_000_000;
const SECRET: &str = "the-credential-of-this-very-job";

/// A machine: variables and files.
#[derive(Default, Clone)]
struct Machine {
    variables: HashMap<String, OsString>,
    files: HashMap<PathBuf, String>,
    locked: Vec<PathBuf>,
    token_file: Option<PathBuf>,
}

impl Machine {
    fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }

    fn token_file(mut self, path: &str) -> Self {
        self.token_file = Some(path.into());
        self
    }

    fn around<T>(&self, run: impl FnOnce(&AmbientContext<'_>) -> T) -> T {
        let http = Client::new(
            Timeouts {
                connect: Duration::from_secs(1),
                one_try: Duration::from_secs(1),
                all_tries: Duration::from_secs(3),
            },
            || 0,
        );
        run(&AmbientContext {
            variable: &|name| self.variables.get(name).cloned(),
            file: &|path: &Path| {
                if self.locked.iter().any(|locked| locked == path) {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                Ok(self.files.get(path).cloned().map(Zeroizing::new))
            },
            now: &|| NOW,
            http: &http,
            token_file: self.token_file.as_deref(),
        })
    }

    fn detect(&self) -> Option<&'static str> {
        self.around(ambient::detect).map(|provider| provider.name)
    }

    fn binding(&self, provider: &str) -> String {
        self.around(|around| ambient::job_fingerprint(named(provider), around))
    }

    /// The subject of the token, or the error.
    fn obtain(&self, provider: &str) -> Result<String, AmbientError> {
        self.around(|around| ambient::obtain(named(provider), "sigstore", around))
            .map(|token| token.claims().subject.clone())
    }

    /// The words of the error and its hint, which hold no secret.
    #[track_caller]
    fn refusal(&self, provider: &str) -> (AmbientError, String) {
        let error = match self.obtain(provider) {
            Ok(subject) => panic!("a token of {subject}"),
            Err(error) => error,
        };
        let words = format!("{error}\nhint: {}", error.hint().unwrap_or_default());
        let debug = format!("{error:?}");
        for shown in [&words, &debug] {
            assert!(!shown.contains(SECRET), "{shown}");
            assert!(!shown.contains("eyJ"), "{shown}");
        }
        (error, words)
    }
}

fn named(name: &str) -> &'static TokenProvider {
    ambient::named(name).unwrap()
}

fn jwt(claims: &Value) -> String {
    format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"1"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        URL_SAFE_NO_PAD.encode("signature")
    )
}

fn claims() -> Value {
    json!({"iss": "https://ci.test", "sub": "repo:a/b", "aud": "sigstore", "exp": NOW + 300, "iat": NOW})
}

fn token() -> String {
    jwt(&claims())
}

fn token_with(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    jwt(&claims)
}

#[track_caller]
fn says(words: &str, parts: &[&str]) {
    for part in parts {
        assert!(words.contains(part), "{part:?} is not in: {words}");
    }
}

// --------------------------------------------------------------- one HTTP way

/// A provider that asks over HTTP, and how its endpoint is told where it is.
struct Way {
    provider: &'static str,
    machine: fn(&Stub) -> Machine,
    /// Whether a request is the documented one.
    fits: fn(&RecordedRequest) -> bool,
    good: fn(&str) -> CannedResponse,
}

fn query(asked: &RecordedRequest) -> Vec<(String, String)> {
    let query = asked.target.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

fn has(asked: &RecordedRequest, name: &str, value: &str) -> bool {
    query(asked)
        .iter()
        .filter(|(n, _)| n == name)
        .map(|(_, v)| v.as_str())
        .eq([value])
}

const GITHUB: Way = Way {
    provider: "github-actions",
    machine: |stub| {
        Machine::default()
            .with("GITHUB_ACTIONS", "true")
            .with(
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                format!("{}pool//idtoken/1?api-version=2.0", stub.url),
            )
            .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", SECRET)
    },
    fits: |asked| {
        asked.method == "GET"
            && asked.target.starts_with("/pool//idtoken/1?")
            && has(asked, "api-version", "2.0")
            && has(asked, "audience", "sigstore")
            && asked.header("authorization") == Some(&format!("Bearer {SECRET}"))
    },
    good: |token| CannedResponse::json(200, &json!({"count": 1, "value": token})),
};

const BUILDKITE: Way = Way {
    provider: "buildkite-agent",
    machine: |stub| {
        Machine::default()
            .with("BUILDKITE", "true")
            .with("BUILDKITE_AGENT_ENDPOINT", format!("{}v3", stub.url))
            .with("BUILDKITE_AGENT_ACCESS_TOKEN", SECRET)
            .with("BUILDKITE_JOB_ID", "0184990a-477b-4fa8-9968-496074483cee")
    },
    fits: |asked| {
        asked.method == "POST"
            && asked.target == "/v3/jobs/0184990a-477b-4fa8-9968-496074483cee/oidc/tokens"
            && asked.header("authorization") == Some(&format!("Token {SECRET}"))
            && asked.header("content-type") == Some("application/json")
            && serde_json::from_slice::<Value>(&asked.body).ok()
                == Some(json!({"audience": "sigstore"}))
    },
    good: |token| CannedResponse::json(201, &json!({"token": token})),
};

const GOOGLE: Way = Way {
    provider: "google-workload-identity",
    machine: |stub| Machine::default().with("GCE_METADATA_HOST", stub.address.to_string()),
    fits: |asked| {
        asked.method == "GET"
            && asked
                .target
                .starts_with("/computeMetadata/v1/instance/service-accounts/default/identity?")
            && has(asked, "audience", "sigstore")
            && has(asked, "format", "full")
            && asked.header("metadata-flavor") == Some("Google")
    },
    good: |token| CannedResponse::new(200, "text/html", token).with("Metadata-Flavor", "Google"),
};

/// The second request: the first is answered by [`google`].
const IMPERSONATE: Way = Way {
    provider: "google-impersonate",
    machine: |stub| {
        Machine::default()
            .with("GCE_METADATA_HOST", stub.address.to_string())
            .with(
                "GOOGLE_SERVICE_ACCOUNT_NAME",
                "signer@p-1.iam.gserviceaccount.com",
            )
            .with(
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS",
                stub.url.as_str(),
            )
    },
    fits: |asked| {
        asked.method == "POST"
            && asked.target
                == "/v1/projects/-/serviceAccounts/signer@p-1.iam.gserviceaccount.com:generateIdToken"
            && asked.header("authorization") == Some(&format!("Bearer {SECRET}"))
            && serde_json::from_slice::<Value>(&asked.body).ok()
                == Some(json!({"audience": "sigstore", "includeEmail": true}))
    },
    good: |token| CannedResponse::json(200, &json!({"token": token})),
};

const WAYS: [&Way; 4] = [&GITHUB, &BUILDKITE, &GOOGLE, &IMPERSONATE];

/// What comes before the request that is looked at: the access token.
fn before(asked: &RecordedRequest) -> Option<CannedResponse> {
    asked
        .target
        .ends_with("/service-accounts/default/token")
        .then(|| {
            assert_eq!(asked.header("metadata-flavor"), Some("Google"));
            CannedResponse::json(
                200,
                &json!({"access_token": SECRET, "expires_in": 3599, "token_type": "Bearer"}),
            )
            .with("Metadata-Flavor", "Google")
        })
}

impl Way {
    fn endpoint(
        &self,
        answer: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
    ) -> Stub {
        let fits = self.fits;
        Stub::start(move |asked| {
            before(asked).unwrap_or_else(|| {
                if fits(asked) {
                    answer(asked)
                } else {
                    CannedResponse::new(418, "text/plain", format!("not documented: {asked:?}"))
                }
            })
        })
    }
}

#[test]
fn each_service_gives_its_token() {
    for way in WAYS {
        let good = way.good;
        let stub = way.endpoint(move |_| good(&token()));
        let machine = (way.machine)(&stub);
        assert_eq!(machine.detect(), Some(way.provider));
        assert_eq!(machine.obtain(way.provider).unwrap(), "repo:a/b");
    }
}

#[test]
fn a_service_that_stumbles_is_asked_again() {
    for way in WAYS {
        let good = way.good;
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let stub =
            way.endpoint(
                move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                    0 => CannedResponse::new(500, "text/plain", "oops"),
                    1 => CannedResponse::new(429, "text/plain", "slowly").with("Retry-After", "0"),
                    _ => good(&token()),
                },
            );
        assert_eq!(
            (way.machine)(&stub).obtain(way.provider).unwrap(),
            "repo:a/b"
        );
    }
}

#[test]
fn a_service_that_says_no_is_quoted_and_the_permission_named() {
    for (way, hint) in [
        (&GITHUB, "id-token: write"),
        (&BUILDKITE, "BUILDKITE_AGENT_ACCESS_TOKEN"),
        (&GOOGLE, "attach a service account"),
        (&IMPERSONATE, "roles/iam.serviceAccountTokenCreator"),
    ] {
        for status in [401, 403, 404] {
            let stub = way.endpoint(move |_| {
                CannedResponse::json(status, &json!({"message": "no\u{1b}[1m permission"}))
            });
            let (error, words) = (way.machine)(&stub).refusal(way.provider);
            assert!(matches!(error, AmbientError::Denied { .. }), "{error:?}");
            says(
                &words,
                &[way.provider, &status.to_string(), "permission", hint],
            );
            assert!(!words.contains('\u{1b}'));
        }
        // A server that repeats the credential is not quoted.
        let stub = way.endpoint(|asked| {
            let repeated = asked.header("authorization").unwrap_or_default().to_owned();
            CannedResponse::new(
                403,
                "text/plain",
                format!("bad credential {repeated} {SECRET}"),
            )
        });
        if way.provider != "google-workload-identity" {
            (way.machine)(&stub).refusal(way.provider);
        }
    }
}

#[test]
fn an_answer_that_is_none_is_refused() {
    std::thread::scope(|scope| {
        for way in WAYS {
            scope.spawn(move || answers_that_are_none(way));
        }
    });
}

fn answers_that_are_none(way: &'static Way) {
    type Case = (&'static str, fn() -> CannedResponse, Option<&'static str>);
    let cases: Vec<Case> = vec![
        (
            "html",
            || CannedResponse::new(200, "text/html", "<html>log in</html>"),
            None,
        ),
        (
            "other json",
            || CannedResponse::json(200, &json!({"values": [1]})),
            None,
        ),
        (
            "null",
            || CannedResponse::json(200, &json!({"value": null, "token": null})),
            None,
        ),
        (
            "empty",
            || CannedResponse::new(200, "application/json", ""),
            None,
        ),
        (
            "not UTF-8",
            || CannedResponse::new(200, "text/plain", vec![0xff, 0xfe]),
            None,
        ),
        (
            "too large",
            || CannedResponse::new(200, "application/json", vec![b'a'; 1 << 20]),
            Some("larger than"),
        ),
        (
            "five hundred",
            || CannedResponse::new(503, "text/plain", "later"),
            Some("503"),
        ),
    ];
    for (name, answer, part) in cases {
        let stub = way.endpoint(move |_| answer().with("Metadata-Flavor", "Google"));
        let (error, words) = (way.machine)(&stub).refusal(way.provider);
        says(&words, &[way.provider, part.unwrap_or_default()]);
        let content = matches!(
            error,
            AmbientError::Answer { .. } | AmbientError::Token { .. }
        );
        assert_eq!(content, part.is_none(), "{name}: {error:?}");
    }
    let stub = Stub::hanging_up(usize::MAX, |_| unreachable!());
    let (_, words) = (way.machine)(&stub).refusal(way.provider);
    says(&words, &[way.provider]);
}

#[test]
fn a_slow_service_ends_in_time() {
    for way in [&GITHUB, &BUILDKITE] {
        let stub = way.endpoint(|_| CannedResponse {
            drip: Duration::from_millis(200),
            ..CannedResponse::json(200, &json!({"value": "a".repeat(4000)}))
        });
        let begun = Instant::now();
        let (error, words) = (way.machine)(&stub).refusal(way.provider);
        assert!(matches!(error, AmbientError::Http { .. }), "{error:?}");
        says(&words, &["timed out after"]);
        assert!(
            begun.elapsed() < Duration::from_secs(6),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn credentials_follow_no_redirect() {
    for way in WAYS {
        let stub = way.endpoint(|asked| {
            assert!(!asked.target.contains("elsewhere"), "followed");
            CannedResponse::new(302, "text/plain", "").with("Location", "/elsewhere")
        });
        let (error, words) = (way.machine)(&stub).refusal(way.provider);
        assert!(matches!(error, AmbientError::Http { .. }), "{error:?}");
        says(&words, &["unexpected redirect"]);
        assert!(
            stub.asked()
                .iter()
                .all(|asked| asked.target != "/elsewhere")
        );
    }
}

#[test]
fn a_token_that_does_not_do_is_refused() {
    for way in WAYS {
        for (text, parts) in [
            (
                token_with("aud", json!("https://github.com/a")),
                vec!["https://github.com/a", "\"sigstore\""],
            ),
            (
                token_with("exp", json!(NOW - 1)),
                vec!["expired", "new token"],
            ),
            (
                token_with("nbf", json!(NOW + 3600)),
                vec!["not valid before"],
            ),
            (token_with("sub", json!("")), vec!["has no subject"]),
            ("a.b".to_owned(), vec!["not a JWT"]),
        ] {
            let good = way.good;
            let stub = way.endpoint(move |_| good(&text));
            let (error, words) = (way.machine)(&stub).refusal(way.provider);
            assert!(matches!(error, AmbientError::Token { .. }), "{error:?}");
            says(&words, &parts);
        }
    }
}

// ----------------------------------------------------------- what is missing

#[test]
fn github_without_the_permission_says_so() {
    let machine = Machine::default().with("GITHUB_ACTIONS", "true");
    assert_eq!(machine.detect(), Some("github-actions"));
    let (_, words) = machine.refusal("github-actions");
    says(
        &words,
        &["ACTIONS_ID_TOKEN_REQUEST_URL", "not set", "id-token: write"],
    );
    let half = machine.with("ACTIONS_ID_TOKEN_REQUEST_URL", "https://h.test/?a=b");
    let (_, words) = half.refusal("github-actions");
    says(
        &words,
        &["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "id-token: write"],
    );
}

#[test]
fn github_sends_its_credential_nowhere_in_the_clear() {
    for (url, part) in [
        ("http://actions.test/token?a=b", "plain http"),
        ("http://10.0.0.1/token", "plain http"),
        ("ftp://127.0.0.1/token", "neither"),
        ("https://user:pass@h.test/", "user name"),
        ("/token", "not a URL"),
        ("unix:/run/x", "has no host"),
    ] {
        let machine = Machine::default()
            .with("ACTIONS_ID_TOKEN_REQUEST_URL", url)
            .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", SECRET);
        let (error, words) = machine.refusal("github-actions");
        assert!(matches!(error, AmbientError::Value { .. }), "{error:?}");
        says(&words, &["ACTIONS_ID_TOKEN_REQUEST_URL", part]);
    }
    // A line end in the credential would end its header.
    let stub = GITHUB.endpoint(|_| panic!("sent"));
    let machine = (GITHUB.machine)(&stub).with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "a\r\nX: y");
    says(
        &machine.refusal("github-actions").1,
        &["invalid characters"],
    );
    assert_eq!(stub.asked().len(), 0);
}

#[test]
fn gitlab_says_which_lines_are_missing() {
    let machine = Machine::default().with("GITLAB_CI", "true");
    assert_eq!(machine.detect(), Some("gitlab"));
    let (_, words) = machine.refusal("gitlab");
    says(
        &words,
        &[
            "SIGSTORE_ID_TOKEN",
            "id_tokens: { SIGSTORE_ID_TOKEN: { aud: sigstore } }",
        ],
    );
    let given = machine.clone().with(TOKEN_VARIABLE, token());
    assert_eq!(given.detect(), Some("envvar"));
    assert_eq!(given.obtain("gitlab").unwrap(), "repo:a/b");
    let other = machine.with(
        TOKEN_VARIABLE,
        token_with("aud", json!("https://gitlab.com")),
    );
    says(
        &other.refusal("gitlab").1,
        &["https://gitlab.com", "{ aud: sigstore }"],
    );
}

#[test]
fn buildkite_says_which_variable_is_missing() {
    let machine = Machine::default().with("BUILDKITE", "true");
    assert_eq!(machine.detect(), Some("buildkite-agent"));
    says(
        &machine.refusal("buildkite-agent").1,
        &["BUILDKITE_AGENT_ACCESS_TOKEN is not set", "container"],
    );
    let machine = machine.with("BUILDKITE_AGENT_ACCESS_TOKEN", SECRET);
    says(
        &machine.refusal("buildkite-agent").1,
        &["BUILDKITE_JOB_ID is not set"],
    );
    for job in ["../../other", "a/b", "a?b", ""] {
        says(
            &machine
                .clone()
                .with("BUILDKITE_JOB_ID", job)
                .refusal("buildkite-agent")
                .1,
            &["BUILDKITE_JOB_ID"],
        );
    }
    let machine = machine
        .with("BUILDKITE_JOB_ID", "1")
        .with("BUILDKITE_AGENT_ENDPOINT", "http://agent.test/v3");
    says(
        &machine.refusal("buildkite-agent").1,
        &["BUILDKITE_AGENT_ENDPOINT", "plain http"],
    );
}

#[test]
fn circleci_uses_the_token_that_fits_and_names_the_command_otherwise() {
    let machine = Machine::default().with("CIRCLECI", "true");
    assert_eq!(machine.detect(), Some("circleci"));
    says(
        &machine.refusal("circleci").1,
        &["CIRCLE_OIDC_TOKEN_V2 is not set", "circleci run oidc get"],
    );
    let organization = token_with("aud", json!("5a9c1b3e-organization"));
    let usual = machine
        .with("CIRCLE_OIDC_TOKEN", organization.clone())
        .with("CIRCLE_OIDC_TOKEN_V2", organization);
    let (error, words) = usual.refusal("circleci");
    assert!(matches!(error, AmbientError::Token { .. }));
    says(
        &words,
        &[
            "5a9c1b3e-organization",
            r#"SIGSTORE_ID_TOKEN='$(circleci run oidc get --claims '{"aud":"sigstore"}')'"#,
        ],
    );
    let fits = usual.with("CIRCLE_OIDC_TOKEN", token());
    assert_eq!(fits.obtain("circleci").unwrap(), "repo:a/b");
}

#[test]
fn google_is_known_without_asking_anybody() {
    let machine = Machine::default();
    assert_eq!(machine.detect(), None);
    let dmi = "/sys/class/dmi/id/product_name";
    assert_eq!(
        machine.clone().file(dmi, "Standard PC (Q35)\n").detect(),
        None
    );
    let google = machine.clone().file(dmi, "Google Compute Engine\n");
    assert_eq!(google.detect(), Some("google-workload-identity"));
    assert_eq!(
        google.with("GOOGLE_SERVICE_ACCOUNT_NAME", "a@b").detect(),
        Some("google-impersonate")
    );
    let machine = machine.with("GCE_METADATA_HOST", "127.0.0.1:1");
    let (_, words) = machine.refusal("google-workload-identity");
    says(
        &words,
        &[
            "google-workload-identity",
            "cannot connect",
            "GCE_METADATA_HOST",
        ],
    );
}

#[test]
fn google_takes_no_token_from_afar() {
    for host in ["metadata.example.com", "8.8.8.8", "[2001:db8::1]:80"] {
        let machine = Machine::default().with("GCE_METADATA_HOST", host);
        says(
            &machine.refusal("google-workload-identity").1,
            &["GCE_METADATA_HOST", "not on this machine's own network"],
        );
    }
    for host in ["h/../x", "a@b", "h?x", "h#x", " "] {
        let machine = Machine::default().with("GCE_METADATA_HOST", host);
        says(
            &machine.refusal("google-workload-identity").1,
            &["GCE_METADATA_HOST"],
        );
    }
    // A page of somebody else's, such as that of a hotel's network.
    let stub = GOOGLE.endpoint(|_| CannedResponse::new(200, "text/html", token()));
    says(
        &(GOOGLE.machine)(&stub)
            .refusal("google-workload-identity")
            .1,
        &["no header Metadata-Flavor: Google"],
    );
}

#[test]
fn google_accounts_have_names() {
    let stub = IMPERSONATE.endpoint(|_| panic!("sent"));
    for account in ["a/b", "../x", "a:b", "a b", "a%2fb", "..", "é"] {
        let machine = (IMPERSONATE.machine)(&stub).with("GOOGLE_SERVICE_ACCOUNT_NAME", account);
        says(
            &machine.refusal("google-impersonate").1,
            &["GOOGLE_SERVICE_ACCOUNT_NAME"],
        );
    }
    let machine = Machine::default();
    says(
        &machine.refusal("google-impersonate").1,
        &["GOOGLE_SERVICE_ACCOUNT_NAME is not set"],
    );
    let machine = (IMPERSONATE.machine)(&stub).with(
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS",
        "http://iam.test/",
    );
    says(&machine.refusal("google-impersonate").1, &["plain http"]);
    assert_eq!(stub.asked().len(), 0);
}

// ---------------------------------------------------------- variable and file

#[test]
fn the_variable_comes_first_and_its_faults_are_told() {
    let machine = Machine::default()
        .with("GITHUB_ACTIONS", "true")
        .file(ambient_file(), &token_with("sub", json!("file")));
    assert_eq!(machine.detect(), Some("filesystem"));
    let machine = machine.with(TOKEN_VARIABLE, format!("{}\n", token()));
    assert_eq!(machine.detect(), Some("envvar"));
    assert_eq!(machine.obtain("envvar").unwrap(), "repo:a/b");

    // Empty is not set, and said.
    let empty = machine.clone().with(TOKEN_VARIABLE, "");
    assert_eq!(empty.detect(), Some("filesystem"));
    says(&empty.refusal("envvar").1, &["SIGSTORE_ID_TOKEN is empty"]);
    let notes = empty.around(ambient::notes);
    assert_eq!(notes.len(), 1);
    says(&notes[0], &["SIGSTORE_ID_TOKEN", "empty"]);
    assert_eq!(machine.around(ambient::notes), Vec::<String>::new());

    // Broken is broken, whatever else is there.
    let broken = machine.clone().with(TOKEN_VARIABLE, "garbage");
    assert_eq!(broken.detect(), Some("envvar"));
    says(&broken.refusal("envvar").1, &["envvar", "not a JWT"]);
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt as _;
        let other = machine.with(TOKEN_VARIABLE, OsString::from_vec(vec![b'e', 0xff]));
        assert_eq!(other.detect(), Some("envvar"));
        says(
            &other.refusal("envvar").1,
            &["SIGSTORE_ID_TOKEN is not UTF-8"],
        );
    }
}

fn ambient_file() -> &'static str {
    "/var/run/sigstore/cosign/oidc-token"
}

#[test]
fn files_are_read_where_they_are_named() {
    let none = Machine::default();
    says(
        &none.refusal("filesystem").1,
        &[ambient_file(), "does not exist", "gitseal.tokenFile"],
    );
    says(
        &none.refusal("kubernetes").1,
        &[
            "gitseal.tokenFile is not set",
            "serviceAccountToken: { audience: sigstore, path: token }",
        ],
    );
    says(
        &none.refusal("azure").1,
        &[
            "AZURE_FEDERATED_TOKEN_FILE is not set",
            "azure.workload.identity/use",
        ],
    );

    let path = "/var/run/secrets/tokens/sigstore";
    let named = none
        .clone()
        .token_file(path)
        .file(path, &format!("{}\n", token()));
    assert_eq!(named.detect(), Some("filesystem"));
    for provider in ["filesystem", "kubernetes", "azure"] {
        assert_eq!(named.obtain(provider).unwrap(), "repo:a/b");
    }
    // Lying there is not enough.
    assert_eq!(none.clone().file(path, &token()).detect(), None);

    let azure = none
        .clone()
        .with("AZURE_FEDERATED_TOKEN_FILE", "/a/token")
        .file("/a/token", &token());
    assert_eq!(azure.detect(), None);
    assert_eq!(azure.obtain("azure").unwrap(), "repo:a/b");
    let exchange = azure.file(
        "/a/token",
        &token_with("aud", json!(["api://AzureADTokenExchange"])),
    );
    says(
        &exchange.refusal("azure").1,
        &["api://AzureADTokenExchange", "\"sigstore\""],
    );

    let mut locked = none.token_file(path);
    locked.locked.push(path.into());
    assert_eq!(locked.detect(), Some("filesystem"));
    says(
        &locked.refusal("filesystem").1,
        &[path, "permission denied"],
    );
}

// -------------------------------------------------------------------- SPIFFE

#[test]
fn spiffe_reads_the_file_that_its_helper_writes() {
    let workload = Machine::default().with("SPIFFE_ENDPOINT_SOCKET", "unix:///run/agent.sock");
    assert_eq!(workload.detect(), Some("spiffe"));
    for machine in [&workload, &Machine::default()] {
        says(
            &machine.refusal("spiffe").1,
            &[
                "gitseal.tokenFile is not set",
                "run spiffe-helper",
                r#"jwt_audience = "sigstore""#,
                "jwt_svid_file_name",
            ],
        );
    }
    let path = "/run/spiffe/token";
    let id = "spiffe://example.test/ci/signer";
    let written = workload
        .token_file(path)
        .file(path, &token_with("sub", json!(id)));
    assert_eq!(written.obtain("spiffe").unwrap(), id);
    // The file that is configured comes first, whatever wrote it.
    assert_eq!(written.detect(), Some("filesystem"));
}

// --------------------------------------------------------------- names, jobs

#[test]
fn providers_have_the_names_that_gitsign_gave_them() {
    assert_eq!(
        PROVIDERS.map(|provider| provider.name),
        [
            "envvar",
            "filesystem",
            "github-actions",
            "gitlab",
            "buildkite-agent",
            "circleci",
            "spiffe",
            "google-impersonate",
            "google-workload-identity",
            "azure",
            "kubernetes",
        ]
    );
    assert_eq!(named("google-impersonation").name, "google-impersonate");
    assert_eq!(ambient::named("interactive"), None);
    assert_eq!(ambient::named(""), None);
}

#[test]
fn the_order_is_the_documented_one() {
    // Everything is there at once, and taken away in order.
    let mut machine = Machine::default()
        .with(TOKEN_VARIABLE, "x")
        .with("GITHUB_ACTIONS", "true")
        .with("GITLAB_CI", "true")
        .with("BUILDKITE", "true")
        .with("CIRCLECI", "true")
        .with("SPIFFE_ENDPOINT_SOCKET", "unix:///run/agent.sock")
        .with("GOOGLE_SERVICE_ACCOUNT_NAME", "a@b")
        .with("GCE_METADATA_HOST", "127.0.0.1:1")
        .token_file("/t");
    for (provider, name) in [
        ("envvar", TOKEN_VARIABLE),
        ("filesystem", ""),
        ("github-actions", "GITHUB_ACTIONS"),
        ("gitlab", "GITLAB_CI"),
        ("buildkite-agent", "BUILDKITE"),
        ("circleci", "CIRCLECI"),
        ("spiffe", "SPIFFE_ENDPOINT_SOCKET"),
        ("google-impersonate", "GOOGLE_SERVICE_ACCOUNT_NAME"),
        ("google-workload-identity", "GCE_METADATA_HOST"),
    ] {
        assert_eq!(machine.detect(), Some(provider));
        if machine.variables.remove(name).is_none() {
            machine.token_file = None;
        }
    }
    assert_eq!(machine.detect(), None);
}

#[test]
fn two_jobs_have_two_bindings() {
    let job = |credential: &str| {
        Machine::default()
            .with("ACTIONS_ID_TOKEN_REQUEST_URL", "https://h.test/?a=b")
            .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", credential)
    };
    let one = job("one").binding("github-actions");
    assert_eq!(one.len(), 64);
    assert_eq!(one, job("one").binding("github-actions"));
    assert_ne!(one, job("two").binding("github-actions"));
    assert_ne!(one, job("one").binding("buildkite-agent"));
    // Parts do not run into each other.
    let split = |a: &str, b: &str| {
        Machine::default()
            .with("CIRCLE_OIDC_TOKEN_V2", a)
            .with("CIRCLE_OIDC_TOKEN", b)
            .binding("circleci")
    };
    assert_ne!(split("ab", "c"), split("a", "bc"));

    let file = |text: &str| {
        let path = ambient_file();
        Machine::default().file(path, text).binding("filesystem")
    };
    assert_ne!(file("a"), file("b"));
    let variable = |text: &str| {
        Machine::default()
            .with(TOKEN_VARIABLE, text)
            .binding("envvar")
    };
    assert_ne!(variable("a"), variable("b"));
}

// ------------------------------------------------------------- through git

/// `git commit -S` in a job: nobody logs in, nothing is set, and the certificate
/// names whom the CI's token names.
#[test]
fn a_job_commits_as_itself() {
    let lab = Lab::without_login();
    let mut repository = Repository::new(&lab, &[]);
    let token = std::mem::take(&mut repository.token);
    let stub = GITHUB.endpoint(move |_| (GITHUB.good)(&token));
    let job = (GITHUB.machine)(&stub);

    let sign = |machine: &Machine| {
        let mut git = repository.command("git");
        git.env_remove(TOKEN_VARIABLE)
            .envs(&machine.variables)
            .args(["commit", "-S", "--allow-empty", "-m", "by a job"]);
        run(&mut git, b"")
    };
    let done = sign(&job);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(stub.asked().len(), 1, "one signature, one token");
    let head = repository.git(["rev-parse", "HEAD"]).ok();
    repository.verify(head.line(), ALICE, &lab.issuer());

    // Another job on this machine has its own credential and its own token.
    let other = job
        .clone()
        .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another-job");
    let refused = sign(&other);
    assert_ne!(refused.code, 0, "signed with the first job's");
    assert_eq!(stub.asked().len(), 2);

    // Without the permission nothing else is tried, and the helper says why.
    let without = Machine::default().with("GITHUB_ACTIONS", "true");
    assert!(sign(&without).code != 0);

    let mut helper = repository.command(GITSEAL);
    helper
        .env_remove(TOKEN_VARIABLE)
        .envs(&without.variables)
        .args(["--status-fd=2", "-bsau", ALICE]);
    let said = run(&mut helper, PAYLOAD);
    let words = &said.err;
    assert_ne!(said.code, 0, "{words}");
    says(words, &["ACTIONS_ID_TOKEN_REQUEST_URL", "id-token: write"]);
    assert!(said.out.is_empty());
}
