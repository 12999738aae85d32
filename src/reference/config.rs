//! The configuration of clients, in the formats that they read.

use gitseal_evidence::{keys::PublicKey, trusted_root::TrustedRoot};
use serde_json::{Value, json};

use crate::{
    error::CommandError,
    oidc::CLIENT,
    store::{FULCIO, OIDC, REKOR, ServerDirectory, State},
};

/// The operator of these services, in `signing_config.json`.
const OPERATOR: &str = "gitseal-reference";

/// Writes all files for clients into DIR. `headless` is the user of logins without
/// a prompt, if the issuer allows them.
///
/// # Errors
///
/// Returns an error if the disk fails.
pub fn write(
    store: &ServerDirectory,
    state: &State,
    trust: &TrustedRoot,
    headless: Option<&str>,
) -> Result<(), CommandError> {
    let trusted_root = gitseal_services::trusted_root::to_json(trust);
    store.write("trusted_root.json", trusted_root.as_bytes())?;
    let signing = signing_config(state)?;
    store.write("signing_config.json", pretty(&signing).as_bytes())?;
    let trust_value: Value =
        serde_json::from_str(&trusted_root).map_err(|error| error.to_string())?;
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
    store.write("gitconfig", gitconfig(store, state, headless)?.as_bytes())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Returns the content of Returns `signing_config.json`, version 0.2. Fulcio's API version
/// is 1 even for paths of version 2: clients know no other.
fn signing_config(state: &State) -> Result<Value, CommandError> {
    let start = jiff::Timestamp::from_second(state.since)
        .map_err(|error| error.to_string())?
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
        "caUrls": service(state.service_url(FULCIO)?),
        "rekorTlogUrls": service(state.service_url(REKOR)?),
        "rekorTlogConfig": { "selector": "ANY" },
        "tsaUrls": service(state.timestamp_url()?),
        "tsaConfig": { "selector": "ANY" },
    });
    if let (Ok(url), Some(members)) = (state.service_url(OIDC), config.as_object_mut()) {
        members.insert("oidcUrls".into(), service(url));
    }
    Ok(config)
}

/// Returns environment variables for other Sigstore clients, as shell commands.
fn environment(store: &ServerDirectory, state: &State) -> Result<String, CommandError> {
    let file = |name: &str| store.path.join(name).display().to_string();
    let mut variables = vec![
        ("SIGSTORE_ROOT_FILE", file("fulcio.pem")),
        ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", file("ctfe.pub")),
        ("SIGSTORE_REKOR_PUBLIC_KEY", file("rekor.pub")),
        ("SIGSTORE_TSA_CERTIFICATE_FILE", file("tsa.pem")),
        ("SIGSTORE_FULCIO_URL", state.service_url(FULCIO)?),
        ("SIGSTORE_REKOR_URL", state.service_url(REKOR)?),
        ("SIGSTORE_TIMESTAMP_SERVER_URL", state.timestamp_url()?),
        ("GITSIGN_FULCIO_ROOT", file("fulcio.pem")),
        ("GITSIGN_TIMESTAMP_CERT_CHAIN", file("tsa.pem")),
    ];
    if let Ok(issuer) = state.service_url(OIDC) {
        variables.push(("SIGSTORE_OIDC_ISSUER", issuer));
        variables.push(("SIGSTORE_OIDC_CLIENT_ID", CLIENT.into()));
    }
    let mut text = String::from("# Read this file in a shell: . DIR/env\n");
    for (name, value) in variables {
        text.push_str(&format!("export {name}={}\n", shell_quote(&value)));
    }
    Ok(text)
}

/// Returns a configuration file for Git to include.
fn gitconfig(
    store: &ServerDirectory,
    state: &State,
    headless: Option<&str>,
) -> Result<String, CommandError> {
    let trusted_root = store.path.join("trusted_root.json").display().to_string();
    let mut rows = vec![
        ("fulcio", state.service_url(FULCIO)?),
        ("rekor", state.service_url(REKOR)?),
        ("trustedRoot", trusted_root),
    ];
    if let Ok(issuer) = state.service_url(OIDC) {
        rows.push(("issuer", issuer));
        rows.push(("clientID", CLIENT.into()));
        if let Some(user) = headless {
            rows.push(("tokenProvider", "headless".into()));
            rows.push(("loginHint", user.to_owned()));
        }
    }
    let mut text = String::from(
        "# Include this file: git config --global --add include.path DIR/gitconfig\n\
         [gpg]\n\tformat = x509\n[gpg \"x509\"]\n\tprogram = gitseal\n[gitseal]\n",
    );
    for (name, value) in rows {
        text.push_str(&format!("\t{name} = {}\n", git_value(&value)));
    }
    Ok(text)
}

/// Quotes a value as one word of a POSIX shell.
pub fn shell_quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@=+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Quotes a value of Git's configuration.
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
