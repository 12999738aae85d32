//! A gitsign daemon at the path is recognised. The one here is made of what
//! gitsign's is made of, Go's `net/rpc` over `encoding/gob` on a Unix socket,
//! with methods and types of the same names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod daemon;

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon::*;
use gitseal_credential_cache::client::{self, ClientError, Connection, Limits};

const SERVER: &str = r#"
package main

import (
	"fmt"
	"net"
	"net/rpc"
	"os"
)

type Config struct{ Fulcio, Issuer, ClientID, URLOpener string }
type Credential struct{ PrivateKey, Cert, Chain []byte }
type GetCredentialRequest struct {
	ID     string
	Config *Config
}
type StoreCredentialRequest struct {
	ID         string
	Credential *Credential
}
type Service struct{}

func (s *Service) GetCredential(req GetCredentialRequest, resp *Credential) error {
	fmt.Println("asked for a key")
	*resp = Credential{PrivateKey: []byte("key")}
	return nil
}

func (s *Service) StoreCredential(req StoreCredentialRequest, resp *Credential) error {
	fmt.Println("given a key")
	return nil
}

func main() {
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	server := rpc.NewServer()
	server.Register(&Service{})
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go server.ServeConn(connection)
	}
}
"#;

const QUICK: Limits = Limits {
    connect: Duration::from_millis(500),
    answer: Duration::from_secs(2),
};

#[test]
fn a_gitsign_daemon_is_recognised_and_asked_for_nothing() {
    let works = Command::new("go").arg("version").output();
    if !works.is_ok_and(|output| output.status.success()) {
        println!("skipped: no go on PATH");
        return;
    }
    let directory = private_directory();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("main.go"), SERVER).unwrap();
    let build = Command::new("go")
        .args(["build", "-o"])
        .arg(at("server"))
        .arg(at("main.go"))
        .current_dir(directory.path())
        .env("GOFLAGS", "-mod=mod")
        .env("GO111MODULE", "off")
        .output()
        .unwrap();
    assert!(
        build.status.success(),
        "{}",
        String::from_utf8_lossy(&build.stderr)
    );
    let socket = at("s");
    let mut server = Command::new(at("server"))
        .arg(&socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    within(Duration::from_secs(20), || socket.exists());

    let begun = Instant::now();
    let found = Connection::open(&socket, QUICK).map(drop);
    assert!(matches!(found, Err(ClientError::Gitsign(_))), "{found:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    // No daemon of ours is put in its place.
    let started = client::start(PROGRAM.as_ref(), &socket, Duration::from_secs(5));
    assert!(
        matches!(started, Err(ClientError::Gitsign(_))),
        "{started:?}"
    );
    let (status, said) = run(&["--socket", socket.to_str().unwrap()]);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("something else listens"), "{said}");

    server.kill().unwrap();
    server.wait().unwrap();
    let mut said = String::new();
    server
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "", "its methods were called");
}

/// What is neither is not taken for gitsign, and costs no more than twice the
/// time to connect.
#[test]
fn others_are_not_taken_for_gitsign() {
    type Behaviour = fn(std::os::unix::net::UnixStream);
    let behaviours: [(&str, Behaviour); 4] = [
        ("hangs up", drop),
        ("says nothing", |stream| {
            std::thread::sleep(Duration::from_secs(3));
            drop(stream);
        }),
        ("says nonsense", |mut stream| {
            use std::io::Write;
            let _ = stream.write_all(&[0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7]);
            std::thread::sleep(Duration::from_secs(1));
        }),
        ("echoes", |mut stream| {
            let mut copy = stream.try_clone().unwrap();
            let _ = std::io::copy(&mut stream, &mut copy);
        }),
    ];
    for (name, behaviour) in behaviours {
        let directory = private_directory();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || behaviour(stream));
            }
        });
        let begun = Instant::now();
        let result = Connection::open(&socket, QUICK).map(drop);
        assert!(
            matches!(
                result,
                Err(ClientError::Io(_) | ClientError::Timeout | ClientError::Protocol(_))
            ),
            "{name}: {result:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{name}: {:?}",
            begun.elapsed()
        );
    }
}
