//! Time stamps without a clock: milliseconds since 1970 written as RFC 3339.

const MILLISECONDS_A_DAY: u64 = 24 * 60 * 60 * 1000;

/// The time in UTC with milliseconds: `2026-01-31T09:05:00.120Z`.
pub fn rfc3339(milliseconds: u64) -> String {
    let (year, month, day) = date(milliseconds / MILLISECONDS_A_DAY);
    let rest = milliseconds % MILLISECONDS_A_DAY;
    let (seconds, fraction) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::with_capacity(24);
    for (number, digits, end) in [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (hour, 2, ':'),
        (minute, 2, ':'),
        (second, 2, '.'),
        (fraction, 3, 'Z'),
    ] {
        push(&mut text, number, digits);
        text.push(end);
    }
    text
}

/// Appends a number in so many digits, or in more if it needs them.
fn push(text: &mut String, number: u64, digits: u32) {
    let before = number / 10_u64.pow(digits);
    if before > 0 {
        push(text, before, 1);
    }
    for place in (0..digits).rev() {
        let digit = (number / 10_u64.pow(place) % 10) as u8;
        text.push(char::from(b'0' + digit));
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian
/// calendar.
///
/// Years are counted from March here, so that the leap day is a year's last
/// and a month's place in its year is a straight line: the months from March
/// on last 153 days for each five.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;

    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let leap_days = day_of_era / 1_460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{MILLISECONDS_A_DAY, date, rfc3339};

    #[test]
    fn known_times() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_767_225_599_000, "2025-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (milliseconds, expected) in cases {
            assert_eq!(rfc3339(milliseconds), expected);
        }
        assert_eq!(rfc3339(u64::MAX), "584556019-04-03T14:25:51.615Z");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut previous = date(0);
        for day in 1..800 * 366 {
            let next = date(day);
            let (year, month, in_month) = previous;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = match (in_month == length, month) {
                (false, _) => (year, month, in_month + 1),
                (true, 12) => (year + 1, 1, 1),
                (true, _) => (year, month + 1, 1),
            };
            assert_eq!(next, expected, "{}", rfc3339(day * MILLISECONDS_A_DAY));
            previous = next;
        }
    }
}
