//! Python 2's `%` formatting: columns that are at least so wide, in bytes.

/// `%-40s`.
pub(super) fn left(out: &mut String, text: &str, width: usize) {
    out.push_str(text);
    pad(out, text, width);
}

/// `%5s`, and `%5d` of an int's digits.
pub(super) fn right(out: &mut String, text: &str, width: usize) {
    pad(out, text, width);
    out.push_str(text);
}

fn pad(out: &mut String, text: &str, width: usize) {
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(text.len())));
}

/// `%.1f`.
pub(super) fn tenths(float: f64) -> String {
    if float.is_nan() { "nan".into() } else { format!("{float:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_bytes_and_cut_nothing() {
        let mut out = String::new();
        left(&mut out, "é", 4);
        right(&mut out, "é", 3);
        right(&mut out, "longer", 3);
        assert_eq!(out, "é   élonger");
    }

    #[test]
    fn tenths_are_rounded_to_even_where_they_stand_between() {
        for (float, text) in [
            (0.0, "0.0"),
            (0.25, "0.2"),
            (0.75, "0.8"),
            (0.35, "0.3"),
            (638.713, "638.7"),
            (-0.04, "-0.0"),
            (1e21, "1000000000000000000000.0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(tenths(float), text);
        }
    }
}
