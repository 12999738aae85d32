//! Two clocks, because neither is enough: the wall clock knows when a
//! certificate ends but can be set back, and the clock since boot cannot be set
//! but knows no dates. A lifetime ends as soon as either clock has passed it.
//!
//! *Not checked here:* whether the wall clock is right when a lifetime starts.

use std::time::Duration;

/// The longest that anything is kept, whatever its certificate or token contains.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time since boot, including suspended time.
    pub since_boot: Duration,
    /// The wall clock in Unix seconds.
    pub wall: u64,
}

impl Now {
    /// Returns the time that has passed since an earlier moment.
    pub fn since(self, earlier: Self) -> Duration {
        self.since_boot.saturating_sub(earlier.since_boot)
    }
}

/// A source of the current time: the system, or a test.
pub type Clock = Box<dyn Fn() -> Now>;

/// Reads the system clocks: CLOCK_BOOTTIME on Linux, elsewhere the monotonic
/// clock (which on macOS runs on while the machine sleeps).
#[cfg(unix)]
pub fn system() -> Now {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const SINCE_BOOT: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const SINCE_BOOT: ClockId = ClockId::Monotonic;
    let boot = clock_gettime(SINCE_BOOT);
    Now {
        since_boot: Duration::new(
            u64::try_from(boot.tv_sec).unwrap_or(0),
            u32::try_from(boot.tv_nsec).unwrap_or(0),
        ),
        wall: u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0),
    }
}

/// The time during which something may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    end_since_boot: Duration,
    last_second: u64,
}

impl Lifetime {
    /// Starts a lifetime that ends at `last_second` (Unix seconds, included), or
    /// after `limit` if that is earlier. Returns None if it is already over.
    pub fn until(last_second: u64, limit: Duration, now: Now) -> Option<Self> {
        let remaining = Duration::from_secs(last_second.checked_sub(now.wall)?)
            .min(limit)
            .min(MAX_LIFETIME);
        if remaining.is_zero() {
            return None;
        }
        Some(Self {
            end_since_boot: now.since_boot.saturating_add(remaining),
            last_second,
        })
    }

    /// Returns the remaining time, or None if it is over on either clock.
    pub fn remaining(&self, now: Now) -> Option<Duration> {
        let boot = self.end_since_boot.checked_sub(now.since_boot)?;
        let wall = self.last_second.checked_sub(now.wall)?;
        if boot.is_zero() || wall == 0 {
            return None;
        }
        Some(boot.min(Duration::from_secs(wall)))
    }

    /// Returns the last second on the wall clock, in Unix seconds.
    pub fn last_second(&self) -> u64 {
        self.last_second
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn at(since_boot: u64, wall: u64) -> Now {
        Now {
            since_boot: Duration::from_secs(since_boot),
            wall,
        }
    }

    const LONG: Duration = Duration::from_secs(1 << 40);

    #[test]
    fn d8_a_lifetime_ends_on_both_clocks() {
        let lifetime = Lifetime::until(1600, LONG, at(50, 1000)).unwrap();
        assert_eq!(
            lifetime.remaining(at(50, 1000)),
            Some(Duration::from_secs(600))
        );
        assert_eq!(
            lifetime.remaining(at(649, 1599)),
            Some(Duration::from_secs(1))
        );
        assert_eq!(lifetime.remaining(at(650, 1600)), None);
    }

    #[test]
    fn d8_the_wall_clock_set_back_lengthens_nothing() {
        let lifetime = Lifetime::until(1600, LONG, at(50, 1000)).unwrap();
        // An hour back, 599 s later: one second left; then none.
        assert_eq!(lifetime.remaining(at(649, 0)), Some(Duration::from_secs(1)));
        assert_eq!(lifetime.remaining(at(650, 0)), None);
    }

    #[test]
    fn d8_the_wall_clock_set_forward_ends_it() {
        let lifetime = Lifetime::until(1600, LONG, at(50, 1000)).unwrap();
        assert_eq!(lifetime.remaining(at(51, 4600)), None);
    }

    #[test]
    fn d8_time_asleep_counts() {
        // Suspended for an hour: both clocks have gone on.
        let lifetime = Lifetime::until(1600, LONG, at(50, 1000)).unwrap();
        assert_eq!(lifetime.remaining(at(3650, 1001)), None);
    }

    #[test]
    fn a_lifetime_is_bounded() {
        assert_eq!(Lifetime::until(1000, LONG, at(0, 1000)), None);
        assert_eq!(Lifetime::until(999, LONG, at(0, 1000)), None);
        assert_eq!(Lifetime::until(2000, Duration::ZERO, at(0, 1000)), None);
        let most = Duration::from_secs(600);
        let lifetime = Lifetime::until(u64::MAX, most, at(0, 0)).unwrap();
        assert_eq!(lifetime.remaining(at(0, 0)), Some(most));
        let lifetime = Lifetime::until(u64::MAX, LONG, at(0, 0)).unwrap();
        assert_eq!(lifetime.remaining(at(0, 0)), Some(MAX_LIFETIME));
    }

    #[cfg(unix)]
    #[test]
    fn the_system_has_both() {
        let now = system();
        assert!(now.wall > 1_700_000_000);
        assert!(!now.since_boot.is_zero());
    }
}
