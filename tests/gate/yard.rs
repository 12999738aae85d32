//! The yard behind the gate: a bare server repository with the hook, a clone of
//! whoever pushes, and signed commits of several people.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use gitseal_evidence::object::{self, HashKind, ObjectKind};

use crate::{
    forge::{self, ISSUER, Spec},
    servers::Prepare,
    stage::{Ended, GITSEAL, Stage},
};

pub const ALICE: &str = "alice@example.test";
pub const BOB: &str = "bob@example.test";
pub const MALLORY: &str = "mallory@example.test";

/// A policy with two signers and these rules.
pub fn policy(rules: &str) -> String {
    format!(
        "version = 2\n\n[signers.alice]\nissuer = \"{ISSUER}\"\nidentity = \"{ALICE}\"\n\n\
         [signers.bob]\nissuer = \"{ISSUER}\"\nidentity = \"{BOB}\"\n\n{rules}"
    )
}

/// Alice and Bob may do on branches what they want, but for rewriting.
pub const BRANCHES: &str = r#"
[[rules]]
name = "branches"
refs = ["refs/heads/**"]
commit = ["alice", "bob"]
merge = ["alice", "bob"]
create = ["anyone"]
update = ["anyone"]
delete = ["anyone"]
"#;

pub struct Yard {
    pub stage: Stage,
    hash: HashKind,
}

impl Yard {
    /// A server with this policy, and an empty clone.
    pub fn new(policy: &str) -> Self {
        Self::with(Stage::new(), HashKind::Sha1, policy)
    }

    pub fn sha256(policy: &str) -> Self {
        Self::with(Stage::sha256(), HashKind::Sha256, policy)
    }

    fn with(stage: Stage, hash: HashKind, policy: &str) -> Self {
        let yard = Self { stage, hash };
        let mut arguments = vec!["init", "-q", "--bare", "-b", "main"];
        if hash == HashKind::Sha256 {
            arguments.push("--object-format=sha256");
        }
        let server = yard.server();
        arguments.push(server.to_str().unwrap());
        yard.stage.git(arguments).ok();
        yard.stage
            .git(["remote", "add", "origin", server.to_str().unwrap()])
            .ok();
        yard.on_server(["config", "http.receivepack", "true"]).ok();
        yard.stage.config("protocol.file.allow", "always");
        yard.stage.config("receive.autogc", "false");
        yard.policy(policy);
        yard.hook("pre-receive", "");
        yard
    }

    pub fn base(&self) -> PathBuf {
        self.stage.repo().parent().unwrap().to_owned()
    }

    pub fn server(&self) -> PathBuf {
        self.stage.path("server.git")
    }

    pub fn policy_file(&self) -> PathBuf {
        self.stage.home("policy.toml")
    }

    pub fn policy(&self, text: &str) {
        fs::write(self.policy_file(), text).unwrap();
    }

    /// Installs a hook as an administrator would: one line.
    pub fn hook(&self, name: &str, more: &str) {
        let line = format!(
            "exec {GITSEAL} {name} --policy {} {more} \"$@\"",
            self.policy_file().display()
        );
        self.script(name, &line);
    }

    pub fn script(&self, name: &str, line: &str) {
        let directory = self.server().join("hooks");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(name);
        // Written aside: a script that another process still runs is not changed.
        let new = directory.join(format!("{name}.new"));
        fs::write(&new, format!("#!/bin/sh\n{line}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    pub fn no_hook(&self) {
        for name in ["pre-receive", "update"] {
            let _ = fs::remove_file(self.server().join("hooks").join(name));
        }
    }

    /// Pushes past the gate: what was there before there was one.
    pub fn smuggle(&self, specs: &[&str]) {
        let hooks = self.server().join("hooks");
        let aside = self.server().join("hooks.aside");
        fs::rename(&hooks, &aside).unwrap();
        self.push(specs).ok();
        fs::rename(&aside, &hooks).unwrap();
    }

    pub fn on_server<const N: usize>(&self, arguments: [&str; N]) -> Ended {
        self.stage.git_at(&self.server(), arguments)
    }

    pub fn push(&self, specs: &[&str]) -> Ended {
        self.push_to("origin", specs)
    }

    pub fn push_to(&self, remote: &str, specs: &[&str]) -> Ended {
        let mut arguments = vec!["push", remote];
        arguments.extend_from_slice(specs);
        self.stage.git(arguments)
    }

    /// A push that is let through.
    #[track_caller]
    pub fn allowed(&self, specs: &[&str]) -> Ended {
        self.push(specs).ok()
    }

    /// A push that is refused with these words, and changes nothing.
    #[track_caller]
    pub fn refused(&self, specs: &[&str], words: &[&str]) -> Ended {
        let before = self.state();
        let ended = self.push(specs).fails(1);
        for words in words {
            assert!(
                ended.err.contains(words),
                "{words:?} is not in:\n{}",
                ended.err
            );
        }
        assert_eq!(self.state(), before, "a refused push changed something");
        ended
    }

    /// References and objects of the server, which must be in order.
    #[track_caller]
    pub fn state(&self) -> String {
        let references = self
            .on_server(["for-each-ref", "--format=%(refname) %(objectname)"])
            .ok();
        let whole = self.on_server(["fsck", "--full", "--no-dangling", "--connectivity-only"]);
        assert_eq!(whole.code, 0, "{whole:?}");
        let counted = self.on_server(["count-objects", "-v"]).ok();
        let kept = |name: &str| {
            counted
                .out
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default()
                .to_owned()
        };
        // The quarantine of a refused push leaves nothing behind.
        let incoming = fs::read_dir(self.server().join("objects"))
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with("tmp_objdir")
            })
            .count();
        format!(
            "{}{}\n{}\n{incoming}",
            references.out,
            kept("count:"),
            kept("in-pack:")
        )
    }

    /// Writes a file of the work tree and puts it into the index.
    pub fn file(&self, path: &str, content: &str) {
        let full = self.stage.repo().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, content).unwrap();
        self.stage.git(["add", path]).ok();
    }

    /// A commit of the index, signed by `who`.
    pub fn commit(&self, who: &str, message: &str) -> String {
        self.stage.payload(message);
        self.sign_head(who)
    }

    pub fn unsigned(&self, message: &str) -> String {
        self.stage.payload(message);
        self.head()
    }

    /// A merge of `other` into HEAD, signed by `who`.
    pub fn merge(&self, who: &str, other: &str, message: &str) -> String {
        self.stage
            .git([
                "merge",
                "-q",
                "--no-ff",
                "--no-gpg-sign",
                "-m",
                message,
                other,
            ])
            .ok();
        self.sign_head(who)
    }

    /// Signs what HEAD is, again.
    pub fn sign_head(&self, who: &str) -> String {
        let payload = self.stage.git(["cat-file", "commit", "HEAD"]).ok().out;
        let signature = self
            .stage
            .lab
            .sign_with(payload.as_bytes(), |spec| by(spec, who));
        self.stage.place(&object::attach_signature(
            ObjectKind::Commit,
            self.hash,
            payload.as_bytes(),
            signature.as_bytes(),
        ))
    }

    /// A tag of HEAD that names itself `inside`, under the name `name`.
    pub fn tag(&self, who: &str, name: &str, inside: &str) -> String {
        let head = self.head();
        self.tag_of(who, name, inside, &head, "commit")
    }

    pub fn tag_of(&self, who: &str, name: &str, inside: &str, of: &str, kind: &str) -> String {
        let payload = format!(
            "object {of}\ntype {kind}\ntag {inside}\ntagger T <{who}> 1795176000 +0000\n\nA release\n"
        );
        let signature = self
            .stage
            .lab
            .sign_with(payload.as_bytes(), |spec| by(spec, who));
        let id = self
            .stage
            .write("tag", format!("{payload}{signature}").as_bytes());
        self.stage
            .git(["update-ref", &format!("refs/tags/{name}"), &id])
            .ok();
        id
    }

    pub fn head(&self) -> String {
        self.stage.git(["rev-parse", "HEAD"]).ok().line().to_owned()
    }

    pub fn branch(&self, name: &str, at: &str) {
        self.stage.git(["checkout", "-q", "-B", name, at]).ok();
    }

    /// How a server process is started here.
    pub fn prepare(&self) -> Prepare {
        let home = self.stage.home("");
        let ceiling = self.base();
        Arc::new(move |program: &str| server_command(program, &home, &ceiling))
    }
}

fn server_command(program: &str, home: &Path, ceiling: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CEILING_DIRECTORIES", ceiling);
    command
}

/// Makes the certificate one of `who`.
pub fn by(spec: &mut Spec, who: &str) {
    let names = forge::san(&[forge::email(forge::IDENTITY)]);
    for extension in &mut spec.leaf.extensions {
        if *extension == names {
            *extension = forge::san(&[forge::email(who)]);
        }
    }
}
