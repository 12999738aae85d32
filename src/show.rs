//! `gitseal show`: a commit or a tag and its signature as an in-toto statement.
//! Nothing is verified.
//!
//! The statement's members are those of the standard (`_type`, `subject`,
//! `predicateType`, `predicate`: in-toto attestation framework, statement v1);
//! the predicate is gitsign's, with its names.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use crate::host::git::{Object, Workspace};
use crate::{
    cli,
    context::{ContextError, open_context},
    names,
};
use gitseal_evidence::{
    armor,
    object::{self, HashKind, Ident, ObjectKind},
    refusal::Reason,
    rfc3339, signed_data,
};
use gitseal_terminal as terminal;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const COMMIT: &str = "https://gitsign.sigstore.dev/predicate/git/v0.1";
const TAG: &str = "https://gitsign.sigstore.dev/predicate/tag/v0.1";

pub fn run(arguments: &cli::ShowArgs) -> u8 {
    match show(arguments) {
        Ok(Ok(statement)) => crate::exit::written(terminal::print_json(&statement)),
        Ok(Err(refusal)) => {
            terminal::error(&refusal.to_string(), None);
            crate::exit::EXIT_REFUSED
        }
        Err(error) => error.report(),
    }
}

fn show(arguments: &cli::ShowArgs) -> Result<Result<Value, Reason>, ContextError> {
    let (workspace, _) = open_context()?;
    let repository = workspace.repository()?;
    let (object, resolved) = repository.commit_or_tag(&arguments.revision)?;
    names::print(&[resolved]);
    Ok(statement(
        &object,
        repository.hash(),
        remote(&workspace, &arguments.remote),
    ))
}

/// The remote's address without what is secret in it.
fn remote(workspace: &Workspace, name: &str) -> Option<String> {
    let address = workspace.remote_url(name)?;
    Some(match url::Url::parse(&address) {
        Ok(mut url) => {
            let stripped = url.set_username("").is_ok() && url.set_password(None).is_ok();
            if stripped { url.to_string() } else { address }
        }
        Err(_) => address,
    })
}

/// The statement about one object.
///
/// # Errors
/// The object is malformed or not signed.
fn statement(object: &Object, hash: HashKind, remote: Option<String>) -> Result<Value, Reason> {
    let signed = object::split_signature(object.kind, hash, &object.raw)?;
    let (predicate_type, source) = match object.kind {
        ObjectKind::Commit => (COMMIT, commit_source(&signed.payload)?),
        ObjectKind::Tag => (TAG, tag_source(&signed.payload)?),
    };
    let mut digest = Map::new();
    if hash == HashKind::Sha1 {
        digest.insert("sha1".to_owned(), json!(object.id.to_string()));
    }
    let key = match object.kind {
        ObjectKind::Commit => "gitCommit",
        ObjectKind::Tag => "gitTag",
    };
    digest.insert(key.to_owned(), json!(object.id.to_string()));
    let mut subject = Map::new();
    if let Some(name) = remote {
        subject.insert("name".to_owned(), json!(name));
    }
    subject.insert("digest".to_owned(), Value::Object(digest));
    let mut predicate = Map::new();
    predicate.insert("source".to_owned(), source);
    predicate.insert(
        "signature".to_owned(),
        json!(String::from_utf8_lossy(&signed.signature)),
    );
    if let Some(signer) = signer_info(&signed.signature) {
        predicate.insert("signer_info".to_owned(), json!([signer]));
    }
    Ok(json!({
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": predicate_type,
        "predicate": predicate,
    }))
}

/// Attributes and certificate of a CMS signature; nothing for another kind.
fn signer_info(signature: &[u8]) -> Option<Value> {
    let message =
        signed_data::read(&armor::decode(armor::without_folded_newline(signature)).ok()?).ok()?;
    Some(json!({
        "attributes": BASE64_STANDARD.encode(&message.attributes),
        "certificate": message.leaf.to_pem(),
    }))
}

fn commit_source(payload: &[u8]) -> Result<Value, Reason> {
    let commit = object::commit_view(payload)?;
    let mut source = Map::new();
    source.insert("tree".to_owned(), json!(commit.tree));
    if !commit.parents.is_empty() {
        source.insert("parents".to_owned(), json!(commit.parents));
    }
    source.insert("author".to_owned(), person(&commit.author));
    source.insert("committer".to_owned(), person(&commit.committer));
    source.insert(
        "message".to_owned(),
        json!(String::from_utf8_lossy(&commit.message)),
    );
    Ok(Value::Object(source))
}

fn tag_source(payload: &[u8]) -> Result<Value, Reason> {
    let tag = object::tag_view(payload)?;
    let mut source = Map::new();
    source.insert("object".to_owned(), json!(tag.object));
    source.insert("object_type".to_owned(), json!(tag.object_type));
    source.insert("tag".to_owned(), json!(tag.tag));
    if let Some(tagger) = &tag.tagger {
        source.insert("tagger".to_owned(), person(tagger));
    }
    source.insert(
        "message".to_owned(),
        json!(String::from_utf8_lossy(&tag.message)),
    );
    Ok(Value::Object(source))
}

fn person(person: &Ident) -> Value {
    json!({
        "name": person.name,
        "email": person.email,
        "date": rfc3339(person.time),
    })
}
