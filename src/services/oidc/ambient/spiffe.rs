//! SPIFFE: the workload API of an agent on this machine says who the process
//! that asks is (it looks at the process, not at a credential), and gives a
//! JWT-SVID for an audience.
//!
//! `SpiffeWorkloadAPI.FetchJWTSVID` over gRPC on `SPIFFE_ENDPOINT_SOCKET`
//! (`unix:///PATH` or `tcp://IP:PORT`), with the header
//! `workload.spiffe.io: true`. Sources: SPIFFE Workload Endpoint §4, §5; SPIFFE
//! Workload API §6.
//!
//! *Not checked here:* the token (`mod.rs`).

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use prost::Message;
use socket2::SockAddr;
use url::{Host, Url};
use zeroize::{Zeroize, Zeroizing};

use super::{
    Ambient, AmbientContext, AmbientError, IdentityToken, LOCAL_TRY, MAX_NAME,
    grpc::{self, Call, GrpcError},
    is_near,
};

/// Where the agent listens.
pub const SOCKET_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Where SPIRE's agent listens, unless told otherwise.
pub const USUAL_SOCKET: &str = "/tmp/spire-agent/public/api.sock";
/// What is missing when the agent does not know the caller.
pub const NO_ENTRY: &str = "register an entry for this workload (spire-server entry create) whose selectors match this process";
/// What is missing when a token cannot be used with Fulcio.
pub const NO_ISSUER: &str =
    "set jwt_issuer in the configuration of the SPIRE server: Fulcio must know whose token it is";

/// `JWTSVIDRequest`; `spiffe_id` left out asks for every identity.
#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
}

/// `JWTSVIDResponse`.
#[derive(Clone, PartialEq, Message)]
struct Told {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Svid>,
}

/// `JWTSVID`.
#[derive(Clone, PartialEq, Message)]
struct Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    svid: String,
}

pub(super) fn is_present(around: &AmbientContext<'_>) -> bool {
    around.has(SOCKET_VARIABLE) || (around.socket)(Path::new(USUAL_SOCKET))
}

pub(super) fn fetch(
    audience: &str,
    around: &AmbientContext<'_>,
) -> Result<Zeroizing<String>, AmbientError> {
    const WHAT: &str = "JWT-SVID";
    let provider = Ambient::Spiffe;
    let place = match around.text(SOCKET_VARIABLE)? {
        Some(text) => place(&text)?,
        None if (around.socket)(Path::new(USUAL_SOCKET)) => Place::Unix(USUAL_SOCKET.into()),
        None => {
            return Err(AmbientError::Unset {
                provider,
                variable: SOCKET_VARIABLE,
                empty: (around.variable)(SOCKET_VARIABLE).is_some(),
                audience: audience.to_owned(),
            });
        }
    };
    let failed = |error| AmbientError::Grpc {
        provider,
        place: match &place {
            Place::Unix(path) => path.display().to_string(),
            Place::Tcp(address) => address.to_string(),
        },
        error,
    };
    let address = match &place {
        Place::Unix(path) => SockAddr::unix(path).map_err(|error| {
            failed(GrpcError::Connection {
                reason: error.to_string(),
            })
        })?,
        Place::Tcp(address) => SockAddr::from(*address),
    };
    let message = Asked {
        audience: vec![audience.to_owned()],
    }
    .encode_to_vec();
    let answer = grpc::call(
        &address,
        &Call {
            path: "/SpiffeWorkloadAPI/FetchJWTSVID",
            headers: &[("workload.spiffe.io", "true")],
            message: &message,
            // Whoever set the variable knows whose it is.
            own: !around.has(SOCKET_VARIABLE),
            time: LOCAL_TRY,
        },
    )
    .map_err(failed)?;
    let answer = Zeroizing::new(answer);
    let wrong = |reason: &str| AmbientError::Answer {
        provider,
        what: WHAT,
        reason: reason.to_owned(),
    };
    let mut told =
        Told::decode(answer.as_slice()).map_err(|_| wrong("not the message that is documented"))?;
    // The first is the one to use, if nothing else is known (Workload API §4.4).
    let first = told
        .svids
        .first_mut()
        .map(|first| (std::mem::take(&mut first.svid), first.spiffe_id.clone()));
    for other in &mut told.svids {
        other.svid.zeroize();
    }
    let (svid, id) = first.ok_or_else(|| wrong("there is none in the answer"))?;
    let svid = Zeroizing::new(svid);
    if let Ok(token) = IdentityToken::parse(svid.clone())
        && token.claims().subject != id
    {
        return Err(wrong("its subject is not the identity that comes with it"));
    }
    Ok(svid)
}

/// Where the agent is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// The address in the variable (Workload Endpoint §4).
fn place(text: &str) -> Result<Place, AmbientError> {
    let fail = |reason: &str| AmbientError::Value {
        variable: SOCKET_VARIABLE,
        reason: reason.to_owned(),
    };
    if text.len() > MAX_NAME {
        return Err(fail("longer than any address"));
    }
    // A path is taken as it is: the form for addresses has no escapes.
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.contains(['?', '#', '\0']) {
            return Err(fail("not unix:///PATH with an absolute path"));
        }
        return Ok(Place::Unix(path.into()));
    }
    if !text.starts_with("tcp://") {
        return Err(fail("neither unix:///PATH nor tcp://IP:PORT"));
    }
    let url = Url::parse(text).map_err(|_| fail("not tcp://IP:PORT"))?;
    // An unknown scheme leaves the host as text.
    let host = url
        .host_str()
        .and_then(|host| Host::parse(host).ok())
        .ok_or_else(|| fail("not tcp://IP:PORT"))?;
    let ip = match host {
        Host::Ipv4(ip) => ip.into(),
        Host::Ipv6(ip) => ip.into(),
        Host::Domain(_) => return Err(fail("not tcp://IP:PORT: a name is not allowed")),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
        return Err(fail("there is more than tcp://IP:PORT"));
    }
    if !is_near(&host) {
        return Err(fail(
            "it is not on this machine's own network, and there is no TLS",
        ));
    }
    let port = url.port().ok_or_else(|| fail("there is no port"))?;
    Ok(Place::Tcp(SocketAddr::new(ip, port)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_strictly() {
        let unix = |path: &str| Place::Unix(path.into());
        assert_eq!(
            place("unix:///run/a b.sock").unwrap(),
            unix("/run/a b.sock")
        );
        assert_eq!(place("unix:/run/a.sock").unwrap(), unix("/run/a.sock"));
        assert_eq!(
            place("tcp://127.0.0.1:8000").unwrap(),
            Place::Tcp("127.0.0.1:8000".parse().unwrap())
        );
        assert_eq!(
            place("tcp://[::1]:8000").unwrap(),
            Place::Tcp("[::1]:8000".parse().unwrap())
        );
        for text in [
            "",
            "/run/a.sock",
            "unix:run/a.sock",
            "unix://host/a.sock?x",
            "unix:///a?b",
            "tcp://localhost:80",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:80/x",
            "tcp://8.8.8.8:80",
            "https://127.0.0.1:80",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
