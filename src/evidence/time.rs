//! Times as text (RFC 3339) and as dates, in UTC.

use crate::UnixTime;

/// Formats a time as RFC 3339 in UTC; one beyond the year 9999 as its seconds.
#[must_use]
pub fn rfc3339(at: UnixTime) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}

/// Parses an RFC 3339 time; fractions of a second are cut off.
pub(crate) fn parse_rfc3339(text: &str) -> Option<UnixTime> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}

/// The time of a date and time of day in UTC: year, month, day, hour, minute and
/// second. `None` if it does not exist or is not between 1970 and 9999.
pub(crate) fn from_civil(civil: [i64; 6]) -> Option<UnixTime> {
    let [year, month, day, hour, minute, second] = civil;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (before, length) = match month {
        1 => (0, 31),
        2 => (31, 28 + i64::from(leap)),
        3 => (59, 31),
        4 => (90, 30),
        5 => (120, 31),
        6 => (151, 30),
        7 => (181, 31),
        8 => (212, 31),
        9 => (243, 30),
        10 => (273, 31),
        11 => (304, 30),
        12 => (334, 31),
        _ => return None,
    };
    let exists = (1970..=9999).contains(&year)
        && (1..=length).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    if !exists {
        return None;
    }
    // Leap days from the year 1 up to the end of a year.
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let days = 365 * (year - 1970) + leap_days(year - 1) - leap_days(1969)
        + before
        + i64::from(leap && month > 2)
        + (day - 1);
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::{civil, tz::Offset};

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Every day until 2150, then each 97th; the last that jiff knows is earlier.
        let mut date = civil::date(1970, 1, 1);
        while date.year() < 9999 {
            let at = Offset::UTC.to_timestamp(date.at(23, 5, 59, 0)).unwrap();
            let parts = [
                date.year().into(),
                date.month().into(),
                date.day().into(),
                23,
                5,
                59,
            ];
            assert_eq!(from_civil(parts), Some(at.as_second()), "{date}");
            let step = if date.year() < 2150 { 1 } else { 97 };
            date = date.saturating_add(jiff::Span::new().days(step));
        }
        assert_eq!(
            from_civil([9999, 12, 31, 23, 59, 59]),
            Some(253_402_300_799)
        );
    }

    #[test]
    fn dates_that_do_not_exist() {
        for bad in [
            [1969, 12, 31, 23, 59, 59],
            [10_000, 1, 1, 0, 0, 0],
            [1970, 0, 1, 0, 0, 0],
            [1970, 13, 1, 0, 0, 0],
            [1970, 1, 0, 0, 0, 0],
            [1970, 2, 29, 0, 0, 0],
            [2000, 2, 30, 0, 0, 0],
            [2100, 2, 29, 0, 0, 0],
            [1970, 4, 31, 0, 0, 0],
            [1970, 1, 1, 24, 0, 0],
            [1970, 1, 1, 0, 60, 0],
            [1970, 1, 1, 0, 0, 60],
        ] {
            assert_eq!(from_civil(bad), None, "{bad:?}");
        }
        assert!(from_civil([2000, 2, 29, 0, 0, 0]).is_some());
    }

    #[test]
    fn rfc_3339_is_parsed_to_the_second() {
        assert_eq!(
            parse_rfc3339("2022-04-13T20:06:15.000Z"),
            Some(1_649_880_375)
        );
        assert_eq!(
            parse_rfc3339("2022-04-13T22:06:15+02:00"),
            Some(1_649_880_375)
        );
        for bad in ["", "2022-04-13", "2022-04-13T20:06:15", "1649880375"] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
        assert_eq!(rfc3339(1_649_880_375), "2022-04-13T20:06:15Z");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }
}
