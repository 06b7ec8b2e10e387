//! Small statistics.

use std::cmp::Ordering;

/// The value below which a share of the sorted values lies; 0 when there are none.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(0.0)
}

/// Sorts by value.
pub fn sort(values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
}

/// Of several runs the one in the middle by `key`, so that all its figures belong together.
pub fn median_by<T>(mut runs: Vec<T>, key: impl Fn(&T) -> f64) -> Option<T> {
    runs.sort_by(|a, b| -> Ordering { key(a).total_cmp(&key(b)) });
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=101).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 51.0);
        assert_eq!(percentile(&values, 0.99), 100.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn the_median_run_is_the_one_in_the_middle() {
        assert_eq!(median_by(vec![3, 1, 2], |v| f64::from(*v)), Some(2));
        assert_eq!(median_by(Vec::<i32>::new(), |v| f64::from(*v)), None);
    }
}
