//! Numbers as texts have them.

/// The integer that a text is, in any spelling that JSON has for one (`3221225472`, `3221225472.0`,
/// `3e9`, `32.5E1`), and with a `+` or zeros in front. It is exact: no float stands in between.
pub fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(plain) = text.parse() {
        return Some(plain);
    }
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, decimal_exponent(exponent)?),
        None => (rest, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let digits = || whole.bytes().chain(part.bytes());
    // How many of the digits stand before the point, once it has been moved.
    let before = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let mut number = 0_i64;
    for (place, digit) in (0_i64..).zip(digits()) {
        let digit = i64::from(digit - b'0');
        if place >= before {
            // What stands behind the point must be nothing.
            if digit != 0 {
                return None;
            }
        } else {
            // Downwards, because there is one negative number more.
            number = number.checked_mul(10)?.checked_sub(digit)?;
        }
    }
    let given = i64::try_from(whole.len() + part.len()).ok()?;
    if number != 0 {
        for _ in given..before {
            number = number.checked_mul(10)?;
        }
    }
    if negative { Some(number) } else { number.checked_neg() }
}

/// An exponent. One beyond all measure is as good as a large one.
fn decimal_exponent(text: &str) -> Option<i64> {
    const LARGE: i64 = 1 << 40;
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let exponent = digits.parse().map_or(LARGE, |exponent: i64| exponent.min(LARGE));
    Some(if negative { -exponent } else { exponent })
}

/// Whether a text is a number as JSON writes them.
pub(crate) fn is_json(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let digits = |at: &mut usize| {
        let start = *at;
        while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
            *at += 1;
        }
        *at - start
    };
    let leading_zero = bytes.get(at) == Some(&b'0');
    let whole = digits(&mut at);
    if whole == 0 || (leading_zero && whole > 1) {
        return false;
    }
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        if digits(&mut at) == 0 {
            return false;
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        if digits(&mut at) == 0 {
            return false;
        }
    }
    at == bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_read_in_every_spelling() {
        for (text, want) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0e999999999999999999999", 0),
            ("0.000e-3", 0),
            ("3e9", 3_000_000_000),
            ("3E+9", 3_000_000_000),
            ("3221225472.0", 3_221_225_472),
            ("3.221225472e9", 3_221_225_472),
            ("3.2212254720000e9", 3_221_225_472),
            ("-1.5e1", -15),
            ("1500e-2", 15),
            ("007", 7),
            ("+5", 5),
            (" 12\n", 12),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("9223372036854775807.000", i64::MAX),
            ("9.223372036854775807e18", i64::MAX),
            ("-9223372036854775808.0", i64::MIN),
            ("-9.223372036854775808e18", i64::MIN),
        ] {
            assert_eq!(integer(text), Some(want), "{text}");
        }
        for text in [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e+",
            "1e1.5",
            "1.5",
            "15e-1",
            "1e-1",
            "9223372036854775808",
            "9.223372036854775808e18",
            "1e19",
            "1e999999999999999999999",
            "1e-999999999999999999999",
            "NaN",
            "Infinity",
            "0x10",
            "1_000",
            "1 2",
            "--1",
            "é",
        ] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_integer_is_itself_however_it_is_spelled(int: i64, zeros in 0_usize..4, shift in 0_usize..4) {
            let zeros = "0".repeat(zeros);
            prop_assert_eq!(integer(&format!("{int}.0{zeros}")), Some(int));
            let shifted = "0".repeat(shift);
            prop_assert_eq!(integer(&format!("{int}{shifted}e-{shift}")), Some(int));
            let scientific = format!("{:e}", i128::from(int));
            prop_assert_eq!(integer(&scientific), Some(int), "{}", scientific);
        }

        #[test]
        fn what_json_calls_a_number_is_one(text in "-?[0-9.eE+-]{0,8}") {
            let strict = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_json(&text), strict);
        }
    }
}
