//! Telling a gitsign credential cache from a dead or foreign process: it speaks
//! Go's `net/rpc` over `encoding/gob`, and answers a call of a method that it
//! does not have with a response that names the method and the reason.
//!
//! The call asks for nothing: gitsign's daemon would hand out a private key, or
//! log in by itself, if it were asked by one of its real names.
//!
//! *Not checked here:* which version of gitsign it is.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::client::{Bounded, Deadline, connect};

/// A gob stream: the definition of type 64, `Request { ServiceMethod string; Seq
/// uint }`, the value `{ "Gitseal.Hello", 1 }`, the definition of an empty
/// struct type 65 and its value.
const CALL: &[u8] =
    b"\x2e\x7f\x03\x01\x01\x07Request\x01\xff\x80\x00\x01\x02\x01\x0dServiceMethod\x01\x0c\x00\
    \x01\x03Seq\x01\x06\x00\x00\x00\x14\xff\x80\x01\x0dGitseal.Hello\x01\x01\x00\
    \x0a\xff\x81\x03\x01\x02\xff\x82\x00\x00\x00\x03\xff\x82\x00";

/// What the response of a Go RPC server begins with: the definition of the type
/// `Response`, and its first field.
const ANSWER: [&[u8]; 2] = [b"Response", b"ServiceMethod"];

/// Whether a Go RPC server listens there.
pub fn answers(socket: &Path, patience: Duration) -> bool {
    let deadline = Deadline::after(patience);
    let Ok(stream) = connect(socket, deadline) else {
        return false;
    };
    let mut stream = Bounded { stream, deadline };
    if stream.write_all(CALL).is_err() {
        return false;
    }
    let mut heard = Vec::new();
    let mut chunk = [0u8; 256];
    while heard.len() < 1024 {
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => heard.extend_from_slice(chunk.get(..count).unwrap_or(&[])),
            Ok(_) | Err(_) => break,
        }
        if ANSWER.iter().all(|part| holds(&heard, part)) {
            return true;
        }
    }
    false
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
