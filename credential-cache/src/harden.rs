//! What the process gives up before it holds a key: core images, being traced
//! or read by others of the same user, and memory that is written to a swap
//! device.
//!
//! *Not checked here:* that secrets are zeroized (`secret.rs`, `store.rs`).

use rustix::process::{Resource, Rlimit, setrlimit};

/// How much of it the system granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardened {
    /// Whether all memory, present and future, stays off swap devices.
    pub locked: bool,
    /// What was refused, in words for a person.
    pub complaints: Vec<String>,
}

/// No core image (RLIMIT_CORE 0), not dumpable (which also refuses ptrace and
/// /proc/PID/mem to all but root), all memory locked as it is touched.
pub fn harden() -> Hardened {
    let mut hardened = Hardened::default();
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        hardened
            .complaints
            .push(format!("core images cannot be switched off: {error}"));
    }
    not_dumpable(&mut hardened);
    lock(&mut hardened);
    hardened
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn not_dumpable(hardened: &mut Hardened) {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        hardened
            .complaints
            .push(format!("the process stays dumpable: {error}"));
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn not_dumpable(_hardened: &mut Hardened) {}

/// All pages that hold anything now or later, but not those that are only
/// mapped: the process stays small.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn lock(hardened: &mut Hardened) {
    use rustix::mm::{MlockAllFlags, mlockall};
    let flags = MlockAllFlags::CURRENT
        .union(MlockAllFlags::FUTURE)
        .union(MlockAllFlags::ONFAULT);
    match mlockall(flags) {
        Ok(()) => hardened.locked = true,
        Err(error) => hardened.complaints.push(format!(
            "memory cannot be locked ({error}): a key could reach a swap device; \
             raise `ulimit -l` (LimitMEMLOCK= under systemd)"
        )),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn lock(hardened: &mut Hardened) {
    hardened
        .complaints
        .push("memory is not locked on this system".into());
}
