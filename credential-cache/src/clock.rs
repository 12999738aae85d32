//! Two clocks, because neither is enough: the wall clock says when a
//! certificate ends but can be set back, and the clock since boot cannot be set
//! but knows no dates. A life ends with whichever says so first.
//!
//! *Not checked here:* whether the wall clock is right when a life begins.

use std::time::Duration;

/// The longest that anything is kept, whatever its certificate or token says.
pub const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since boot, suspended time included.
    pub since_boot: Duration,
    /// The wall clock, unix seconds.
    pub wall: u64,
}

/// Where the time comes from: the system, or a test.
pub type Clock = Box<dyn Fn() -> Now>;

/// The system's clocks: CLOCK_BOOTTIME on Linux, elsewhere the monotonic clock
/// (which on macOS runs on while the machine sleeps).
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

/// How long something may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    end_since_boot: Duration,
    last_second: u64,
}

impl Life {
    /// From now to `last_second` (unix seconds, still within it), but no longer
    /// than `most`. None if it is already over.
    pub fn until(last_second: u64, most: Duration, now: Now) -> Option<Self> {
        let left = Duration::from_secs(last_second.checked_sub(now.wall)?)
            .min(most)
            .min(MAX_LIFE);
        if left.is_zero() {
            return None;
        }
        Some(Self {
            end_since_boot: now.since_boot.saturating_add(left),
            last_second,
        })
    }

    /// What is left of it; None if it is over on either clock.
    pub fn left(&self, now: Now) -> Option<Duration> {
        let boot = self.end_since_boot.checked_sub(now.since_boot)?;
        let wall = self.last_second.checked_sub(now.wall)?;
        if boot.is_zero() || wall == 0 {
            return None;
        }
        Some(boot.min(Duration::from_secs(wall)))
    }

    /// The last second of it on the wall clock, unix seconds.
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
    fn d8_a_life_ends_on_both_clocks() {
        let life = Life::until(1600, LONG, at(50, 1000)).unwrap();
        assert_eq!(life.left(at(50, 1000)), Some(Duration::from_secs(600)));
        assert_eq!(life.left(at(649, 1599)), Some(Duration::from_secs(1)));
        assert_eq!(life.left(at(650, 1600)), None);
    }

    #[test]
    fn d8_the_wall_clock_set_back_lengthens_nothing() {
        let life = Life::until(1600, LONG, at(50, 1000)).unwrap();
        // An hour back, 599 s later: one second left; then none.
        assert_eq!(life.left(at(649, 0)), Some(Duration::from_secs(1)));
        assert_eq!(life.left(at(650, 0)), None);
    }

    #[test]
    fn d8_the_wall_clock_set_forward_ends_it() {
        let life = Life::until(1600, LONG, at(50, 1000)).unwrap();
        assert_eq!(life.left(at(51, 4600)), None);
    }

    #[test]
    fn d8_time_asleep_counts() {
        // Suspended for an hour: both clocks have gone on.
        let life = Life::until(1600, LONG, at(50, 1000)).unwrap();
        assert_eq!(life.left(at(3650, 1001)), None);
    }

    #[test]
    fn a_life_is_bounded() {
        assert_eq!(Life::until(1000, LONG, at(0, 1000)), None);
        assert_eq!(Life::until(999, LONG, at(0, 1000)), None);
        assert_eq!(Life::until(2000, Duration::ZERO, at(0, 1000)), None);
        let most = Duration::from_secs(600);
        let life = Life::until(u64::MAX, most, at(0, 0)).unwrap();
        assert_eq!(life.left(at(0, 0)), Some(most));
        let life = Life::until(u64::MAX, LONG, at(0, 0)).unwrap();
        assert_eq!(life.left(at(0, 0)), Some(MAX_LIFE));
    }

    #[cfg(unix)]
    #[test]
    fn the_system_has_both() {
        let now = system();
        assert!(now.wall > 1_700_000_000);
        assert!(!now.since_boot.is_zero());
    }
}
