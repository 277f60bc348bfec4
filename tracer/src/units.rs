//! Sizes, counts and times as people read and write them.

/// `18.9 MiB`; below a KiB exact.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS.get(unit).unwrap_or(&"EiB"))
}

/// `±3.2 %`: a standard error against its value; nothing if there is none.
pub fn plus_minus(value: u64, error: Option<u64>) -> String {
    match error {
        None => String::new(),
        Some(_) if value == 0 => String::new(),
        Some(0) => "±0 %".to_owned(),
        Some(error) => match error as f64 * 100.0 / value as f64 {
            percent if percent < 0.05 => "±<0.1 %".to_owned(),
            percent if percent < 9.95 => format!("±{percent:.1} %"),
            percent if percent <= 100.0 => format!("±{percent:.0} %"),
            // That it is more than the value is all that it says.
            _ => "±>100 %".to_owned(),
        },
    }
}

/// `+1.9 MiB/s`.
pub fn rate(bytes_per_s: i64) -> String {
    format!("{}/s", bytes_more(bytes_per_s))
}

/// `+1.9 MiB`, `-12 B`, `0 B`.
pub fn bytes_more(difference: i64) -> String {
    format!("{}{}", sign(difference), bytes(difference.unsigned_abs()))
}

/// `+1,234`, `-12`, `0`.
pub fn count_more(difference: i64) -> String {
    format!("{}{}", sign(difference), count(difference.unsigned_abs()))
}

fn sign(difference: i64) -> &'static str {
    match difference {
        0 => "",
        1.. => "+",
        _ => "-",
    }
}

/// `1.9 MiB/s`, of what is known to rise.
pub fn bytes_per_s(slope: f64) -> String {
    format!("{}/s", bytes(slope.max(0.0).round() as u64))
}

/// `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3 allocations`, `1 allocation`.
pub fn counted(value: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(value), if value == 1 { "" } else { "s" })
}

/// `10.0 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    match seconds {
        0..120 => format!("{:.1} s", nanoseconds as f64 / 1e9),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// `999 of 1,000 (99.9 %)`; never 100 % unless it is all.
pub fn share(part: u64, whole: u64) -> String {
    let shown = if part >= whole {
        "100".to_owned()
    } else {
        let tenths = (u128::from(part) * 1_000 / u128::from(whole)) as f64;
        format!("{:.1}", tenths / 10.0)
    };
    format!("{} of {} ({shown} %)", count(part), count(whole))
}

/// Bytes from `4096`, `10k`, `1.5M`, `2GiB`; units are binary.
///
/// # Errors
/// The text is no size; the message says why.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let value: f64 =
        number.parse().map_err(|_| "not a size; write for example 512, 4k or 1.5m".to_owned())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(format!("`{unit}` is no unit of size: use K, M, G or T")),
    };
    let bytes = value * 1024_f64.powi(power);
    if bytes < 2_f64.powi(63) { Ok(bytes as u64) } else { Err("it is larger than any memory".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_people_read() {
        for (value, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (19_818_086, "18.9 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        for (value, error, text) in [
            (1_000, None, ""),
            (0, Some(0), ""),
            (1_000, Some(0), "±0 %"),
            (1_000_000, Some(1), "±<0.1 %"),
            (1_000, Some(32), "±3.2 %"),
            (1_000, Some(99), "±9.9 %"),
            (1_000, Some(512), "±51 %"),
            (1_000, Some(1_200), "±>100 %"),
        ] {
            assert_eq!(plus_minus(value, error), text);
        }
        assert_eq!(rate(-2_048), "-2.0 KiB/s");
        assert_eq!(rate(0), "0 B/s");
        assert_eq!(bytes_more(1_024), "+1.0 KiB");
        assert_eq!(count_more(-1_234), "-1,234");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(counted(1, "thread"), "1 thread");
        assert_eq!(duration(10_040_000_000), "10.0 s");
        assert_eq!(duration(200_000_000_000), "3 min 20 s");
        assert_eq!(duration(7_500_000_000_000), "2 h 5 min");
        assert_eq!(share(9_999, 10_000), "9,999 of 10,000 (99.9 %)");
        assert_eq!(share(0, 0), "0 of 0 (100 %)");
    }

    #[test]
    fn sizes_people_write() {
        for (text, value) in [
            ("4096", 4_096),
            ("10k", 10_240),
            ("1.5M", 1_572_864),
            ("2 GiB", 2 << 30),
            ("3TB", 3 << 40),
            ("7b", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(value), "{text}");
        }
        for text in ["", "M", "-1", "1x", "1.2.3", "9999999999T", "10 MiBs"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
