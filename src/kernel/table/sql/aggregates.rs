//! Aggregates that SQLite does not have: `median(x)`, `percentile(x, p)`, `stddev(x)`,
//! `regr_slope(y, x)`, `regr_intercept(y, x)`, `corr(x, y)`. They work as window functions too. Rows
//! where an argument is null do not count, as the standard has it.

use std::collections::VecDeque;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use rusqlite::functions::{Aggregate, Context, FunctionFlags, WindowAggregate};
use rusqlite::{Connection, Error, Result};

use super::fence::Fence;
use super::functions::number_at;
use crate::kernel::table::number;

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// The values of a group, or of a window as it moves on.
struct Sample {
    /// The two arguments; the second is zero where there is one.
    values: VecDeque<(f64, f64)>,
    fence: Arc<Fence>,
}

// Nothing is looked at again after a panic: SQLite ends the query.
impl UnwindSafe for Sample {}
impl RefUnwindSafe for Sample {}

impl Drop for Sample {
    fn drop(&mut self) {
        self.values.iter().for_each(|_| self.fence.drop_sample());
    }
}

type Compute = fn(&VecDeque<(f64, f64)>) -> Result<Option<f64>>;

struct Statistic {
    arguments: usize,
    compute: Compute,
    fence: Arc<Fence>,
}

impl Statistic {
    fn pair(&self, context: &Context<'_>) -> Option<(f64, f64)> {
        let first = number_at(context, 0).filter(|x| !x.is_nan())?;
        let second =
            if self.arguments > 1 { number_at(context, 1).filter(|x| !x.is_nan())? } else { 0.0 };
        Some((first, second))
    }
}

impl Aggregate<Sample, Option<f64>> for Statistic {
    fn init(&self, _context: &mut Context<'_>) -> Result<Sample> {
        Ok(Sample { values: VecDeque::new(), fence: Arc::clone(&self.fence) })
    }

    fn step(&self, context: &mut Context<'_>, sample: &mut Sample) -> Result<()> {
        if let Some(pair) = self.pair(context) {
            if !self.fence.keep_sample() {
                self.fence.drop_sample();
                return Err(self
                    .fence
                    .fail(super::error::too_large("an aggregate holds too many values")));
            }
            sample.values.push_back(pair);
        }
        Ok(())
    }

    fn finalize(&self, _context: &mut Context<'_>, sample: Option<Sample>) -> Result<Option<f64>> {
        sample.map_or(Ok(None), |sample| (self.compute)(&sample.values))
    }
}

impl WindowAggregate<Sample, Option<f64>> for Statistic {
    fn value(&self, sample: Option<&mut Sample>) -> Result<Option<f64>> {
        sample.map_or(Ok(None), |sample| (self.compute)(&sample.values))
    }

    /// Rows leave a window in the order in which they came.
    fn inverse(&self, context: &mut Context<'_>, sample: &mut Sample) -> Result<()> {
        if self.pair(context).is_some() && sample.values.pop_front().is_some() {
            self.fence.drop_sample();
        }
        Ok(())
    }
}

pub(super) fn register(database: &Connection, fence: &Arc<Fence>) -> Result<()> {
    let all: [(&str, usize, Compute); 6] = [
        ("median", 1, |values| Ok(quantile(values, 0.5))),
        ("percentile", 2, percentile),
        ("stddev", 1, |values| Ok(deviation(values))),
        ("regr_slope", 2, |values| Ok(regression(values).map(|(slope, _)| slope))),
        ("regr_intercept", 2, |values| Ok(regression(values).map(|(_, intercept)| intercept))),
        ("corr", 2, |values| Ok(correlation(values))),
    ];
    for (name, arguments, compute) in all {
        let count = i32::try_from(arguments).unwrap_or(1);
        let statistic = Statistic { arguments, compute, fence: Arc::clone(fence) };
        database.create_window_function(name, count, FLAGS, statistic)?;
    }
    Ok(())
}

fn percentile(values: &VecDeque<(f64, f64)>) -> Result<Option<f64>> {
    let Some((_, share)) = values.back() else {
        return Ok(None);
    };
    if (0.0..=1.0).contains(share) {
        Ok(quantile(values, *share))
    } else {
        let why = format!("percentile: the share is between 0 and 1, and {share} is not");
        Err(Error::UserFunctionError(why.into()))
    }
}

/// The value below which a share of the values lies, interpolated between the two nearest.
fn quantile(values: &VecDeque<(f64, f64)>, share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().map(|(x, _)| *x).collect();
    let last = sorted.len().checked_sub(1)?;
    let place = share * number::count_to_float(last);
    let below = usize::try_from(number::to_int(place.floor())?).ok()?.min(last);
    let (_, low, above) = sorted.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let next = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    let part = place - place.floor();
    Some(if part == 0.0 { low } else { low + (next - low) * part })
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = number::count_to_float(values.len());
    values.sum::<f64>() / count
}

/// The standard deviation of a sample.
fn deviation(values: &VecDeque<(f64, f64)>) -> Option<f64> {
    let others = values.len().checked_sub(1).filter(|others| *others > 0)?;
    let middle = mean(values.iter().map(|(x, _)| *x));
    let squares: f64 = values.iter().map(|(x, _)| (x - middle).powi(2)).sum();
    Some((squares / number::count_to_float(others)).sqrt())
}

/// Sums of squares and products around the means: of the first, the second, and both.
fn moments(values: &VecDeque<(f64, f64)>) -> (f64, f64, f64, f64, f64) {
    let first = mean(values.iter().map(|(a, _)| *a));
    let second = mean(values.iter().map(|(_, b)| *b));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (a, b) in values {
        let (a, b) = (a - first, b - second);
        aa += a * a;
        bb += b * b;
        ab += a * b;
    }
    (first, second, aa, bb, ab)
}

/// Slope and intercept of the first argument over the second, by least squares.
fn regression(values: &VecDeque<(f64, f64)>) -> Option<(f64, f64)> {
    let (y, x, _, xx, xy) = moments(values);
    (!values.is_empty() && xx > 0.0).then(|| (xy / xx, y - xy / xx * x))
}

fn correlation(values: &VecDeque<(f64, f64)>) -> Option<f64> {
    let (_, _, aa, bb, ab) = moments(values);
    let scale = (aa * bb).sqrt();
    (!values.is_empty() && scale > 0.0).then(|| (ab / scale).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_lies_between_its_neighbours(mut values in proptest::collection::vec(-1e6..1e6_f64, 1..50), share in 0.0..=1.0_f64) {
            let pairs = values.iter().map(|x| (*x, 0.0)).collect();
            let found = quantile(&pairs, share).unwrap();
            values.sort_by(f64::total_cmp);
            let below = number::count_to_float(values.iter().filter(|x| **x <= found + 1e-6).count() - 1);
            let above = number::count_to_float(values.iter().filter(|x| **x < found - 1e-6).count());
            let place = share * number::count_to_float(values.len() - 1);
            prop_assert!(below >= place.floor() && above <= place.ceil(), "{found} at {place} of {values:?}");
        }
    }
}
