//! Protection of the process before it holds a key: no core images, no tracing
//! or reading by other processes of the same user, no memory on a swap device.
//!
//! *Not checked here:* that secrets are zeroized (`secret.rs`, `store.rs`).

use rustix::process::{Resource, Rlimit, setrlimit};

/// The protections that the system granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protections {
    /// Whether all memory, present and future, stays off swap devices.
    pub locked: bool,
    /// The protections that were refused, as text for the user.
    pub warnings: Vec<String>,
}

/// Turns off core images (RLIMIT_CORE 0), makes the process not dumpable (which
/// also refuses ptrace and /proc/PID/mem to all but root), and locks all memory
/// as it is touched.
pub fn harden() -> Protections {
    let mut granted = Protections::default();
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        granted
            .warnings
            .push(format!("cannot disable core images: {error}"));
    }
    restrict_memory(&mut granted);
    granted
}

/// Locks all pages that are or will be used, but not those that are only mapped:
/// the process stays small.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn restrict_memory(granted: &mut Protections) {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        granted
            .warnings
            .push(format!("the process stays dumpable: {error}"));
    }
    let flags = MlockAllFlags::CURRENT
        .union(MlockAllFlags::FUTURE)
        .union(MlockAllFlags::ONFAULT);
    match mlockall(flags) {
        Ok(()) => granted.locked = true,
        Err(error) => granted.warnings.push(format!(
            "memory cannot be locked ({error}): a key could reach a swap device; \
             raise `ulimit -l` (LimitMEMLOCK= under systemd)"
        )),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn restrict_memory(granted: &mut Protections) {
    granted
        .warnings
        .push("memory is not locked on this system".into());
}
