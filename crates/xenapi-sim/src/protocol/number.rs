//! Floats as C's `printf` writes them, which is what XAPI uses.

/// `%.{digits}g`.
pub(crate) fn general(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{:.*e}", digits - 1, number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let places = i32::try_from(digits).unwrap_or(i32::MAX) - 1 - exponent;
    if exponent < -4 || places < 0 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs());
    }
    trimmed(&format!("{number:.*}", usize::try_from(places).unwrap_or(0))).to_owned()
}

/// A float as XAPI's JSON has it: always recognisable as one.
pub(super) fn json(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let mut text = general(number, 16);
    if text.parse() != Ok(number) {
        text = general(number, 17);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        text.push_str(".0");
    }
    text
}

/// An integer's digits in the scientific form: `3.221225472e9`.
pub(super) fn floating(digits: &[u8]) -> Vec<u8> {
    let (sign, digits) = match digits.strip_prefix(b"-") {
        Some(digits) => (&b"-"[..], digits),
        None => (&b""[..], digits),
    };
    let (first, rest) = digits.split_at(1);
    let kept = rest.iter().rposition(|digit| *digit != b'0').map_or(&b"0"[..], |at| &rest[..=at]);
    [sign, first, b".", kept, format!("e{}", rest.len()).as_bytes()].concat()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_like_printf() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (123_456.789, "123456.789"),
            (-2.0, "-2"),
        ];
        for (number, text) in cases {
            assert_eq!(general(number, 16), text);
        }
        assert_eq!(general(1.0 / 3.0, 6), "0.333333");
        assert_eq!(general(f64::NAN, 16), "nan");
    }

    #[test]
    fn json_floats_are_floats() {
        let cases =
            [(1.0, "1.0"), (0.0, "0.0"), (0.25, "0.25"), (f64::NAN, "NaN"), (1e16, "1e+16")];
        for (number, text) in cases {
            assert_eq!(json(number), text);
        }
        assert_eq!(json(0.1 + 0.2), "0.30000000000000004");
    }
}
