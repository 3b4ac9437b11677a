//! Conversions between numbers that say what they give up.

/// An integer as a float; above 2^53 the nearest one.
#[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
pub(super) fn to_float(number: i64) -> f64 {
    number as f64
}

/// A count as a float.
#[expect(clippy::cast_precision_loss, reason = "counts of rows stay far below 2^53")]
pub(super) fn count_to_float(count: usize) -> f64 {
    count as f64
}

/// The integer that equals `number`, if there is one.
pub(super) fn to_int(number: f64) -> Option<i64> {
    // 2^63 as a float; the largest float below it is a valid i64.
    const EDGE: f64 = 9_223_372_036_854_775_808.0;
    let whole = number.fract() == 0.0 && (-EDGE..EDGE).contains(&number);
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within range")]
    whole.then_some(number as i64)
}

/// A size as `u64`.
pub(super) fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A count as `usize`, or the largest there is.
pub(super) fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_floats_within_range_are_integers() {
        assert_eq!(to_int(5.0), Some(5));
        assert_eq!(to_int(-0.0), Some(0));
        for none in [5.5, f64::NAN, f64::INFINITY, 9.3e18, -9.3e18] {
            assert_eq!(to_int(none), None, "{none}");
        }
        assert_eq!(to_int(-9_223_372_036_854_775_808.0), Some(i64::MIN));
    }
}
