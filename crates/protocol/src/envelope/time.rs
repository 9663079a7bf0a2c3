//! Epoch milliseconds as RFC 3339 text.
//!
//! Never asks what time it is. Own calendar arithmetic: one conversion is not worth a date library.

/// 9999-12-31T23:59:59.999Z, the last moment RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

const MS_PER_DAY: u64 = 86_400_000;
const DAYS_PER_400_YEARS: u64 = 146_097;

/// `ms` since 1970-01-01T00:00:00Z as `YYYY-MM-DDTHH:MM:SS.mmmZ`. Later than the year 9999 becomes its last millisecond.
pub fn iso8601(ms: u64) -> String {
    let ms = ms.min(LAST_MS);
    let (year, month, day) = civil_date(ms / MS_PER_DAY);
    let of_day = ms % MS_PER_DAY;
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    let mut text = String::with_capacity(24);
    let parts = [(year, 4, '-'), (month, 2, '-'), (day, 2, 'T'), (hour, 2, ':'), (minute, 2, ':'), (second, 2, '.')];
    for (value, width, behind) in parts.into_iter().chain([(milli, 3, 'Z')]) {
        push_digits(&mut text, value, width);
        text.push(behind);
    }
    text
}

/// Appends the last `width` decimal digits of a value. Every connect writes its time: with `format!` that was a tenth of what a handshake costs
/// outside the kernel.
fn push_digits(text: &mut String, value: u64, width: u32) {
    for place in (0..width).rev() {
        text.push(char::from(b'0' + (value / 10_u64.pow(place) % 10) as u8));
    }
}

/// Year, month and day of the day that many days after 1970-01-01.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Count from 1600-03-01, so that a 400-year cycle starts at 0 and a leap day ends its year, its
    // century's last group and its cycle: the `min`s below keep that one extra day where it belongs.
    const DAYS_FROM_1600_03_01: u64 = 135_080;
    let mut rest = days + DAYS_FROM_1600_03_01;
    let cycles = rest / DAYS_PER_400_YEARS;
    rest %= DAYS_PER_400_YEARS;
    let centuries = (rest / 36_524).min(3);
    rest -= centuries * 36_524;
    let groups = rest / 1461;
    rest %= 1461;
    let years = (rest / 365).min(3);
    rest -= years * 365;
    let march_year = 1600 + cycles * 400 + centuries * 100 + groups * 4 + years;

    const MONTH_LENGTHS: [u64; 12] = [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29];
    let mut months_after_march = 0;
    for length in MONTH_LENGTHS {
        if rest < length {
            break;
        }
        rest -= length;
        months_after_march += 1;
    }
    // January and February belong to the civil year after the one that began in March.
    if months_after_march < 10 {
        (march_year, months_after_march + 3, rest + 1)
    } else {
        (march_year + 1, months_after_march - 9, rest + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_234_567_890_123, "2009-02-13T23:31:30.123Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso8601(ms), text);
        }
    }

    /// Every day until 9999-12-31 against a calendar that just counts.
    #[test]
    fn every_day() {
        let (mut year, mut month, mut day) = (1970_u64, 1_u64, 1_u64);
        for days in 0..=LAST_MS / MS_PER_DAY {
            assert_eq!(civil_date(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }
}
