//! The command `serve`: starts and connects the services, writes the configuration
//! for clients, and stops in order.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gitseal_evidence::{
    checkpoint::{self, Checkpoint},
    keys::PublicKey,
    trusted_root::{
        CertificateAuthority, CtLog as TrustedCtLog, TimestampAuthority, TransparencyLog,
        TrustedRoot, ValidityPeriod,
    },
};
use gitseal_services::http::{
    client::{Client, HttpRequest, Retry, Timeouts},
    message::{Headers, Method, ServerRequest},
    server::{self as http, Handler, Limits, ServerHandle},
};
use gitseal_terminal::{self as terminal, Styled, styled};
use p256::ecdsa::signature::Signer as _;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{
    config,
    ct::{CtServer, CtServerError},
    error::CommandError,
    fulcio::{
        issue::IssuedBy,
        principal::Issuers,
        server::{FulcioState, SubmitError},
        tokens::{Fetch, MAX_DOCUMENT, TokenVerifier},
    },
    log::{Directory, Log, LogIdentity},
    oidc::{CLIENT, Config as IssuerConfig, ReferenceIssuer, TOKEN_LIFETIME, users},
    rekor::{self, RekorServer},
    store::{self, CT, FULCIO, OIDC, REKOR, SERVICES, ServerDirectory, State},
    system,
    tsa::TsaServer,
};

/// The time that open requests have once the servers stop.
const DRAIN: Duration = Duration::from_secs(10);
/// The interval at which tiles and checkpoints are published.
const PUBLISH: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT, then completes open requests. Each service
/// has its own port. The ports are stored in DIR, so that a restart keeps the
/// URLs in certificates.
#[derive(clap::Args)]
pub struct ServeArgs {
    /// Directory of keys, logs and configuration; created if missing
    #[arg(long)]
    pub dir: PathBuf,
    /// Address to listen on: IP, or IP:PORT for five ports from PORT on [default: the stored one, or 127.0.0.1 and free ports]
    #[arg(long, value_name = "IP[:PORT]")]
    pub listen: Option<String>,
    /// Host name in the services' URLs [default: the address]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// User who may log in at the built-in issuer (repeatable)
    #[arg(
        long,
        value_name = "EMAIL",
        default_value = "alice@example.test",
        conflicts_with = "issuers"
    )]
    pub user: Vec<String>,
    /// Prompt at each login, in a browser; without it, the user name is enough
    #[arg(long, conflicts_with = "issuers")]
    pub ask: bool,
    /// Trust the identity providers in this file (Fulcio's configuration, as JSON) instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub issuers: Option<PathBuf>,
    /// Print the URLs as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// The services of one process, while they run.
pub struct RunningServers {
    /// The addresses of the services.
    pub state: State,
    /// The locked directory of the servers.
    pub store: ServerDirectory,
    running: Vec<ServerHandle>,
    publisher: Option<(Arc<AtomicBool>, thread::JoinHandle<()>)>,
    logs: Vec<Arc<Log>>,
}

/// Starts the servers, waits for a signal, and stops them.
///
/// # Errors
///
/// Returns an error if the servers cannot start, or the last publication fails.
pub fn serve(arguments: &ServeArgs) -> Result<(), CommandError> {
    // Before anything is started, so that an early signal is not lost.
    #[cfg(unix)]
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
    ])?;
    let servers = RunningServers::start(arguments)?;
    servers.announce(arguments)?;
    #[cfg(unix)]
    let _ = signals.forever().next();
    #[cfg(not(unix))]
    loop {
        thread::park();
    }
    #[cfg(unix)]
    {
        terminal::info("serve: stopping");
        servers.stop()
    }
}

impl RunningServers {
    /// Starts all services and returns them.
    ///
    /// # Errors
    ///
    /// DIR or an address is not to be had.
    pub fn start(arguments: &ServeArgs) -> Result<Self, CommandError> {
        let store = ServerDirectory::open(&arguments.dir, system::now())?;
        let issuers = arguments.issuers.as_deref().map(read_issuers).transpose()?;
        let place = Place::choose(arguments, store.state.as_ref(), issuers.is_none())?;
        let listeners = place.bind(issuers.is_none())?;
        let ports = listeners
            .iter()
            .map(|listener| match listener {
                Some(listener) => Ok(listener.local_addr()?.port()),
                None => Ok(0),
            })
            .collect::<Result<Vec<u16>, std::io::Error>>()?;
        let state = State {
            version: 1,
            since: store.since,
            address: place.address,
            host: place.host,
            ports,
        };
        let mut logs = Vec::new();
        let handlers = handlers(arguments, &store, &state, issuers, &mut logs)?;
        let trust = trusted_root(&store, &state)?;
        let headless = arguments.user.first().filter(|_| !arguments.ask);
        config::write(&store, &state, &trust, headless.map(String::as_str))?;
        store.save_state(&state)?;
        let mut running = Vec::new();
        for (listener, handler) in listeners.into_iter().zip(handlers) {
            if let (Some(listener), Some(handler)) = (listener, handler) {
                let limits = Limits {
                    hosts: vec![state.host.clone()],
                    ..Limits::default()
                };
                running.push(http::serve(listener, limits, handler)?);
            }
        }
        Ok(Self {
            publisher: Some(publish(&logs)?),
            state,
            store,
            running,
            logs,
        })
    }

    fn announce(&self, arguments: &ServeArgs) -> Result<(), CommandError> {
        let dir = self.store.path.display().to_string();
        let mut addresses = Vec::new();
        for (index, name) in SERVICES.iter().enumerate() {
            if let Ok(url) = self.state.service_url(index) {
                addresses.push((*name, url));
            }
        }
        if arguments.json {
            let mut object = serde_json::Map::new();
            for (name, url) in addresses {
                object.insert(name.to_owned(), url.into());
            }
            object.insert("dir".into(), dir.into());
            let line = serde_json::Value::Object(object);
            return Ok(terminal::print(&Styled::lines(&format!("{line}\n")))?);
        }
        // Without an expected identity `git log` prints U.
        let identity = match (arguments.user.first(), self.state.service_url(OIDC)) {
            (Some(user), Ok(issuer)) => identity_commands(user, &issuer),
            _ => Styled::default(),
        };
        let rows: Vec<Vec<String>> = addresses
            .into_iter()
            .map(|(name, url)| vec![name.to_owned(), url])
            .collect();
        Ok(terminal::print(&styled!(
            "{}\nSign and verify with Git against these servers:\n  git config --global --add include.path {}\n{}Stop with Ctrl-C or SIGTERM.\n",
            terminal::table(&rows),
            config::shell_quote(&self.store.path.join("gitconfig").display().to_string()),
            identity
        ))?)
    }

    /// Lets requests that have begun finish, publishes the logs, and closes.
    ///
    /// # Errors
    ///
    /// The last publication failed; what was acknowledged is in the journal.
    pub fn stop(mut self) -> Result<(), CommandError> {
        let deadline = Instant::now() + DRAIN;
        // All stop accepting before any is waited for: Fulcio needs the CT log.
        for running in self.running.drain(..) {
            running.shutdown(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some((ending, thread)) = self.publisher.take() {
            ending.store(true, Ordering::SeqCst);
            thread.thread().unpark();
            if thread.join().is_err() {
                terminal::warn("log: publisher exited early");
            }
        }
        for log in &self.logs {
            log.publish().map_err(|error| {
                CommandError::new(format!("cannot publish the log: {error}"), "")
            })?;
        }
        Ok(())
    }
}

fn read_issuers(path: &Path) -> Result<Issuers, CommandError> {
    let text = std::fs::read(path).map_err(|error| {
        CommandError::new(format!("cannot read {}: {error}", path.display()), "")
    })?;
    Issuers::from_json(&text).map_err(|refusal| {
        CommandError::new(
            format!("{}: {refusal}", path.display()),
            "the file must be Fulcio's configuration, in JSON",
        )
    })
}

/// The addresses to listen on.
struct Place {
    address: IpAddr,
    host: String,
    /// The ports; 0 is any free port.
    ports: [u16; 5],
}

impl Place {
    fn choose(
        arguments: &ServeArgs,
        state: Option<&State>,
        own_issuer: bool,
    ) -> Result<Self, CommandError> {
        let remembered = || -> (IpAddr, [u16; 5]) {
            state
                .and_then(|state| {
                    let ports = state.ports.as_slice().try_into().ok()?;
                    Some((state.address, ports))
                })
                .unwrap_or((Ipv4Addr::LOCALHOST.into(), [0; 5]))
        };
        let (address, ports) = match &arguments.listen {
            None => remembered(),
            Some(text) => match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
                (Ok(socket), _) if socket.port() == 0 => (socket.ip(), [0; 5]),
                (Ok(socket), _) => {
                    let mut ports = [0; 5];
                    for (offset, port) in (0_u16..).zip(ports.iter_mut()) {
                        *port = socket.port().checked_add(offset).ok_or_else(|| {
                            CommandError::new(
                                format!("there are no five ports from {} on", socket.port()),
                                "",
                            )
                        })?;
                    }
                    (socket.ip(), ports)
                }
                (Err(_), Ok(address)) => match remembered() {
                    (known, ports) if known == address => (address, ports),
                    _ => (address, [0; 5]),
                },
                (Err(_), Err(_)) => {
                    return Err(CommandError::new(
                        format!("{text:?} is not an address to listen on"),
                        "set an IP address, or one with a port: 127.0.0.1, [::1]:7000",
                    ));
                }
            },
        };
        if own_issuer && !address.is_loopback() {
            return Err(CommandError::new(
                format!(
                    "refusing to serve the built-in issuer on {address}: it has no passwords, so anyone could log in as any user"
                ),
                "listen on 127.0.0.1, or use --issuers",
            ));
        }
        let host = match (&arguments.host, state) {
            (Some(host), _) => host.clone(),
            (None, Some(state)) if state.address == address => state.host.clone(),
            (None, _) if address.is_unspecified() => {
                return Err(CommandError::new(
                    format!("{address} is not an address that clients can use"),
                    "set the host name that clients use: --host NAME",
                ));
            }
            (None, _) => match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            },
        };
        let fits = Url::parse(&format!("http://{host}:1/"))
            .ok()
            .and_then(|url| url.host_str().map(|found| found == host));
        if fits != Some(true) {
            return Err(CommandError::new(
                format!("{host:?} is not a host name"),
                "",
            ));
        }
        Ok(Self {
            address,
            host,
            ports,
        })
    }

    fn bind(&self, own_issuer: bool) -> Result<Vec<Option<TcpListener>>, CommandError> {
        let mut listeners = Vec::new();
        for (index, port) in self.ports.into_iter().enumerate() {
            if index == OIDC && !own_issuer {
                listeners.push(None);
                continue;
            }
            let socket = SocketAddr::new(self.address, port);
            let listener = TcpListener::bind(socket).map_err(|error| {
                CommandError::new(
                    format!("cannot listen on {socket}: {error}"),
                    "the port is stored in DIR; --listen with another one changes it, and the services' URLs with it",
                )
            })?;
            listeners.push(Some(listener));
        }
        Ok(listeners)
    }
}

type Handlers = Vec<Option<Arc<dyn Handler>>>;

fn handlers(
    arguments: &ServeArgs,
    store: &ServerDirectory,
    state: &State,
    issuers: Option<Issuers>,
    logs: &mut Vec<Arc<Log>>,
) -> Result<Handlers, CommandError> {
    let (issuer, issuers) = match issuers {
        Some(issuers) => (None, issuers),
        None => {
            let url = state.service_url(OIDC)?;
            let issuer = ReferenceIssuer::new(
                IssuerConfig {
                    issuer: url.clone(),
                    clients: vec![CLIENT.into()],
                    users: users(arguments.user.iter().map(String::as_str))?,
                    headless: !arguments.ask,
                    lifetime: TOKEN_LIFETIME,
                },
                store.keys.oidc.clone(),
                Box::new(system::now),
                Box::new(system::entropy),
            )?
            .with_log(Box::new(|line| {
                terminal::info(line);
            }));
            (Some(Arc::new(issuer)), Issuers::email(&url, CLIENT))
        }
    };
    let ct = Arc::new(ct_log(store, state, logs)?);
    let (issuing, root) = match store.fulcio.as_slice() {
        [issuing, root] => (issuing, root),
        _ => {
            return Err(CommandError::new(
                "fulcio.pem must contain two certificates",
                "",
            ));
        }
    };
    let fulcio_key = store.keys.fulcio.clone();
    let submit_to = Arc::clone(&ct);
    let fulcio = FulcioState {
        chain: vec![issuing.der().to_vec(), root.der().to_vec()],
        issuer: IssuedBy {
            name: issuing.subject_der().to_vec(),
            key: public(issuing.spki())?,
        },
        sign: Box::new(move |tbs| {
            let signature: p384::ecdsa::DerSignature = fulcio_key.sign(tbs);
            signature.as_bytes().to_vec()
        }),
        tokens: TokenVerifier::new(issuers, fetch(issuer.clone(), state.service_url(OIDC).ok())),
        submit: Box::new(move |chain| {
            submit_to
                .add_pre_chain(chain)
                .map(|sct| sct.to_bytes())
                .map_err(|error| match error {
                    CtServerError::Submission(why) => SubmitError::Refused(why),
                    CtServerError::Log(error) => SubmitError::Unavailable(error.to_string()),
                })
        }),
        clock: Box::new(system::now),
        entropy: Box::new(system::entropy),
        log: Box::new(terminal::info),
    };
    let tsa_key = store.keys.tsa.clone();
    let tsa = TsaServer {
        chain: store.tsa.clone(),
        algorithm: gitseal_evidence::keys::SignatureAlgorithm::EcdsaSha256,
        sign: Box::new(move |bytes| {
            let signature: p256::ecdsa::DerSignature = tsa_key.sign(bytes);
            signature.as_bytes().to_vec()
        }),
        clock: Box::new(system::now),
        entropy: Box::new(system::entropy),
    };
    Ok(vec![
        issuer.map(|issuer| issuer as Arc<dyn Handler>),
        Some(Arc::new(fulcio)),
        Some(ct),
        Some(Arc::new(rekor(store, state, logs)?)),
        Some(Arc::new(tsa)),
    ])
}

fn public(spki: &[u8]) -> Result<PublicKey, CommandError> {
    PublicKey::from_spki(spki).map_err(|error| CommandError::new(error.to_string(), ""))
}

fn key_of(key: &p256::ecdsa::SigningKey) -> Result<PublicKey, CommandError> {
    let spki = store::spki(key.verifying_key())
        .ok_or_else(|| CommandError::new("cannot encode a key as SPKI", ""))?;
    public(&spki)
}

fn ct_log(
    store: &ServerDirectory,
    state: &State,
    logs: &mut Vec<Arc<Log>>,
) -> Result<CtServer, CommandError> {
    let public = key_of(&store.keys.ct)?;
    // The submission prefix without its scheme (C2SP static-ct-api).
    let origin = state.service_url(CT)?.replacen("http://", "", 1);
    let log_id = public.sha256();
    let mut named = origin.clone().into_bytes();
    named.extend(*b"\n\x05");
    named.extend(log_id);
    let key_id: [u8; 32] = Sha256::digest(&named).into();
    let key = store.keys.ct.clone();
    let name = origin.clone();
    let sign = move |checkpoint: &Checkpoint| {
        // RFC6962NoteSignature: the time, and a TreeHeadSignature over it.
        let time = system::milliseconds().to_be_bytes();
        let mut signed = vec![0, 1];
        signed.extend(time);
        signed.extend(checkpoint.size.to_be_bytes());
        signed.extend(checkpoint.root);
        let signature: p256::ecdsa::DerSignature = key.sign(&signed);
        let mut blob = time.to_vec();
        blob.extend([4, 3]);
        let length = u16::try_from(signature.as_bytes().len()).unwrap_or(0);
        blob.extend(length.to_be_bytes());
        blob.extend(signature.as_bytes());
        checkpoint::signed(
            &checkpoint.to_text(),
            &name,
            checkpoint::key_hint(&key_id),
            &blob,
        )
    };
    let log = open_log(&store.path.join("ct"), origin, key_id, Box::new(sign))?;
    logs.push(Arc::clone(&log));
    let roots = store.fulcio.last().cloned().into_iter().collect();
    Ok(CtServer::new(
        log,
        store.keys.ct.clone(),
        public.spki(),
        roots,
        Box::new(system::milliseconds),
    ))
}

fn rekor(
    store: &ServerDirectory,
    state: &State,
    logs: &mut Vec<Arc<Log>>,
) -> Result<RekorServer, CommandError> {
    let public = key_of(&store.keys.rekor)?;
    let key = || store.keys.rekor.clone();
    let identity = rekor::identity(&state.host, public.spki());
    let sign = rekor::checkpoint_signer(&state.host, key(), public.spki());
    let log = open_log(
        &store.path.join("rekor"),
        identity.origin,
        identity.key_id,
        sign,
    )?;
    logs.push(Arc::clone(&log));
    RekorServer::new(log, &state.host, key(), public.spki())
        .map_err(|error| CommandError::new(format!("cannot read the log of Rekor: {error}"), ""))
}

fn open_log(
    path: &Path,
    origin: String,
    key_id: [u8; 32],
    sign: Box<dyn Fn(&Checkpoint) -> String + Send + Sync>,
) -> Result<Arc<Log>, CommandError> {
    let problem = |what: String| {
        CommandError::new(
            format!("cannot open the log in {}: {what}", path.display()),
            "",
        )
    };
    let storage = Directory::open(path).map_err(|error| problem(error.to_string()))?;
    let log = Log::open(
        LogIdentity { origin, key_id },
        Arc::new(storage),
        sign,
        Box::new(system::now),
    )
    .map_err(|error| problem(error.to_string()))?;
    Ok(Arc::new(log))
}

/// Starts a thread that publishes tiles and checkpoints until the flag is set.
fn publish(logs: &[Arc<Log>]) -> Result<(Arc<AtomicBool>, thread::JoinHandle<()>), std::io::Error> {
    let ending = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&ending);
    let logs = logs.to_vec();
    let thread = thread::Builder::new()
        .name("publish".into())
        .spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                for log in &logs {
                    if let Err(error) = log.publish() {
                        terminal::warn(&format!(
                            "log: publication failed origin={} error={error:?}",
                            log.identity().origin
                        ));
                    }
                }
                thread::park_timeout(PUBLISH);
            }
        })?;
    Ok((ending, thread))
}

/// Returns a function that fetches documents of issuers: of the built-in one
/// without a socket, of others over HTTP.
fn fetch(own: Option<Arc<ReferenceIssuer>>, own_url: Option<String>) -> Fetch {
    let client = Client::new(
        Timeouts {
            connect: Duration::from_secs(5),
            one_try: Duration::from_secs(10),
            all_tries: Duration::from_secs(10),
        },
        || 0,
    );
    Box::new(move |url| {
        if let (Some(own), Some(own_url)) = (&own, &own_url)
            && Url::parse(own_url).is_ok_and(|own_url| own_url.origin() == url.origin())
        {
            let answer = own.handle(&ServerRequest {
                method: Method::Get,
                head_only: false,
                path: url.path().to_owned(),
                query: Vec::new(),
                headers: Headers::default(),
                body: Vec::new(),
                peer: (Ipv4Addr::LOCALHOST, 0).into(),
            });
            return if answer.status == 200 {
                Ok(answer.body)
            } else {
                Err(format!("{url}: HTTP {}", answer.status))
            };
        }
        let request = HttpRequest {
            retry: Retry::NO_RETRY,
            ..HttpRequest::get("the issuer's keys", url, MAX_DOCUMENT)
        };
        let answer = client.send(&request).map_err(|error| error.to_string())?;
        if answer.status == 200 {
            Ok(answer.body)
        } else {
            Err(answer.unexpected().to_string())
        }
    })
}

fn trusted_root(store: &ServerDirectory, state: &State) -> Result<TrustedRoot, CommandError> {
    let window = ValidityPeriod {
        start: store.since,
        end: None,
    };
    let rekor = key_of(&store.keys.rekor)?;
    let ct = key_of(&store.keys.ct)?;
    Ok(TrustedRoot {
        logs: vec![TransparencyLog {
            base_url: state.service_url(REKOR)?,
            log_id: rekor.sha256().to_vec(),
            key: rekor,
            window,
        }],
        ct_logs: vec![TrustedCtLog {
            base_url: state.service_url(CT)?,
            log_id: ct.sha256(),
            key: ct,
            window,
        }],
        authorities: vec![CertificateAuthority {
            uri: state.service_url(FULCIO)?,
            chain: store.fulcio.clone(),
            window,
        }],
        timestamp_authorities: vec![TimestampAuthority {
            uri: state.timestamp_url()?,
            chain: store.tsa.clone(),
            window,
        }],
        ..TrustedRoot::default()
    })
}

/// Returns the commands that set the expected identity.
fn identity_commands(user: &str, issuer: &str) -> Styled {
    styled!(
        "  git config --global gitseal.certificateIdentity {}\n  git config --global gitseal.certificateOidcIssuer {}\n",
        config::shell_quote(user),
        issuer
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_can_be_pasted() {
        let with = identity_commands("it's alice@example.test", "http://127.0.0.1:5556");
        assert_eq!(
            with.to_string(),
            "  git config --global gitseal.certificateIdentity 'it'\\''s alice@example.test'\n  \
             git config --global gitseal.certificateOidcIssuer http://127.0.0.1:5556\n"
        );
    }
}
