//! What clients need to know of the servers, in the forms that they read.

use gitseal_evidence::{keys::PublicKey, trusted_root::TrustedRoot};
use gitseal_reference::tsa::TIMESTAMP;
use serde_json::{Value, json};

use super::{
    CLIENT, CommandError,
    serve::{FULCIO, OIDC, REKOR, ServeArgs, TSA, service_url},
    store::{ServerDirectory, State},
};

/// Who runs these services, in `signing_config.json`.
const OPERATOR: &str = "gitseal-reference";

/// Where timestamps are made.
///
/// # Errors
///
/// The service does not run.
pub fn timestamp_url(state: &State) -> Result<String, CommandError> {
    Ok(format!("{}{TIMESTAMP}", service_url(state, TSA)?))
}

/// Writes all files for clients into DIR.
///
/// # Errors
///
/// The disk fails.
pub fn write(
    store: &ServerDirectory,
    state: &State,
    trust: &TrustedRoot,
    arguments: &ServeArgs,
) -> Result<(), CommandError> {
    let problem = |what: String| CommandError::new(what, "");
    let trusted_root = trust.to_json();
    store.write("trusted_root.json", trusted_root.as_bytes())?;
    let signing = signing_config(state)?;
    store.write("signing_config.json", pretty(&signing).as_bytes())?;
    let trust_value: Value =
        serde_json::from_str(&trusted_root).map_err(|error| problem(error.to_string()))?;
    let client = json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": trust_value,
        "signingConfig": signing,
    });
    store.write("client_trust_config.json", pretty(&client).as_bytes())?;
    let pem = |key: Option<&PublicKey>| key.map(PublicKey::to_pem).unwrap_or_default();
    let rekor = pem(trust.logs.first().map(|log| &log.key));
    store.write("rekor.pub", rekor.as_bytes())?;
    let ct = pem(trust.ct_logs.first().map(|log| &log.key));
    store.write("ctfe.pub", ct.as_bytes())?;
    store.write("env", environment(store, state)?.as_bytes())?;
    store.write("gitconfig", gitconfig(store, state, arguments)?.as_bytes())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// `signing_config.json`, version 0.2. Fulcio's API version is 1 whatever its
/// paths say: clients know no other.
fn signing_config(state: &State) -> Result<Value, CommandError> {
    let start = jiff::Timestamp::from_second(state.since)
        .map_err(|error| CommandError::new(error.to_string(), ""))?
        .to_string();
    let service = |url: String| {
        json!([{
            "url": url,
            "majorApiVersion": 1,
            "validFor": { "start": start },
            "operator": OPERATOR,
        }])
    };
    let mut config = json!({
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": service(service_url(state, FULCIO)?),
        "rekorTlogUrls": service(service_url(state, REKOR)?),
        "rekorTlogConfig": { "selector": "ANY" },
        "tsaUrls": service(timestamp_url(state)?),
        "tsaConfig": { "selector": "ANY" },
    });
    if let (Ok(url), Some(members)) = (service_url(state, OIDC), config.as_object_mut()) {
        members.insert("oidcUrls".into(), service(url));
    }
    Ok(config)
}

/// Variables for Sigstore's other clients, to be read by a shell.
fn environment(store: &ServerDirectory, state: &State) -> Result<String, CommandError> {
    let file = |name: &str| store.path.join(name).display().to_string();
    let mut variables = vec![
        ("SIGSTORE_ROOT_FILE", file("fulcio.pem")),
        ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", file("ctfe.pub")),
        ("SIGSTORE_REKOR_PUBLIC_KEY", file("rekor.pub")),
        ("SIGSTORE_TSA_CERTIFICATE_FILE", file("tsa.pem")),
        ("SIGSTORE_FULCIO_URL", service_url(state, FULCIO)?),
        ("SIGSTORE_REKOR_URL", service_url(state, REKOR)?),
        ("SIGSTORE_TIMESTAMP_SERVER_URL", timestamp_url(state)?),
        ("GITSIGN_FULCIO_ROOT", file("fulcio.pem")),
        ("GITSIGN_TIMESTAMP_CERT_CHAIN", file("tsa.pem")),
    ];
    if let Ok(issuer) = service_url(state, OIDC) {
        variables.push(("SIGSTORE_OIDC_ISSUER", issuer));
        variables.push(("SIGSTORE_OIDC_CLIENT_ID", CLIENT.into()));
    }
    let mut text = String::from("# Read this in a shell:  . DIR/env\n");
    for (name, value) in variables {
        text.push_str(&format!("export {name}={}\n", shell_quote(&value)));
    }
    Ok(text)
}

/// A configuration for git to include.
fn gitconfig(
    store: &ServerDirectory,
    state: &State,
    arguments: &ServeArgs,
) -> Result<String, CommandError> {
    let trusted_root = store.path.join("trusted_root.json").display().to_string();
    let mut rows = vec![
        ("fulcio", service_url(state, FULCIO)?),
        ("rekor", service_url(state, REKOR)?),
        ("trustedRoot", trusted_root),
    ];
    if let Ok(issuer) = service_url(state, OIDC) {
        rows.push(("issuer", issuer));
        rows.push(("clientID", CLIENT.into()));
        if !arguments.ask {
            rows.push(("tokenProvider", "headless".into()));
            if let Some(user) = arguments.user.first() {
                rows.push(("loginHint", user.clone()));
            }
        }
    }
    let mut text = String::from(
        "# Include this:  git config --global include.path DIR/gitconfig\n\
         [gpg]\n\tformat = x509\n[gpg \"x509\"]\n\tprogram = gitseal\n[gitseal]\n",
    );
    for (name, value) in rows {
        text.push_str(&format!("\t{name} = {}\n", git_value(&value)));
    }
    Ok(text)
}

/// One word of a POSIX shell.
pub fn shell_quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@=+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A value of git's configuration, quoted.
fn git_value(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', r"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_values_are_quoted() {
        assert_eq!(shell_quote("/a/b.pem"), "/a/b.pem");
        assert_eq!(shell_quote("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(git_value(r#"C:\a "b""#), r#""C:\\a \"b\"""#);
    }
}
