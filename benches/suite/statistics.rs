//! Medians, spreads and latencies.

use std::fmt;
use std::time::Duration;

/// The median of some rounds, and the tenth percentile from either end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    /// Of how many values.
    pub count: usize,
}

impl Spread {
    /// None of no values.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let middle = (sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0;
        Some(Spread {
            median: middle,
            low: sorted[sorted.len() / 10],
            high: sorted[last - sorted.len() / 10],
            count: sorted.len(),
        })
    }

    /// The standard error of the median, as if the values lay about it as chance has them.
    pub fn error(&self) -> f64 {
        /// Standard deviations from the tenth to the ninetieth percentile.
        const TENTHS: f64 = 2.56;
        /// The standard error of a median, by that of a mean.
        const MEDIAN: f64 = 1.25;
        MEDIAN * (self.high - self.low) / TENTHS / (self.count as f64).sqrt()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, low, high] =
            [self.median, self.low, self.high].map(|value| match self.median < 100.0 {
                true => number(value),
                false => grouped(value),
            });
        write!(f, "{median} ({low}–{high})")
    }
}

/// A number with as many digits as say something.
pub fn number(value: f64) -> String {
    match value {
        ..0.1 => format!("{value:.3}"),
        ..100.0 => format!("{value:.2}"),
        _ => grouped(value),
    }
}

/// A whole number with a comma before each three digits.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (number, digit) in digits.chars().enumerate() {
        if number > 0 && (digits.len() - number).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Buckets for each doubling: what is read from it is good to about 3 %.
const BUCKETS_PER_DOUBLING: usize = 32;

/// How long each of many operations took.
#[derive(Debug, Clone)]
pub struct Latencies {
    buckets: Vec<u32>,
    count: u64,
}

impl Latencies {
    pub fn new() -> Latencies {
        Latencies {
            buckets: vec![0; 64 * BUCKETS_PER_DOUBLING],
            count: 0,
        }
    }

    pub fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = &mut self.buckets[bucket_of(nanos)];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
    }

    pub fn forget(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }

    /// The time in µs within which this share of the operations was done.
    pub fn percentile_us(&self, share: f64) -> Option<f64> {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted {
                return Some(middle_of(index) / 1000.0);
            }
        }
        None
    }
}

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.max(BUCKETS_PER_DOUBLING as u64);
    let shift = nanos.ilog2() - BUCKETS_PER_DOUBLING.ilog2();
    let within = (nanos >> shift) as usize - BUCKETS_PER_DOUBLING;
    shift as usize * BUCKETS_PER_DOUBLING + within
}

fn middle_of(bucket: usize) -> f64 {
    let scale = ((bucket / BUCKETS_PER_DOUBLING) as f64).exp2();
    let within = (bucket % BUCKETS_PER_DOUBLING + BUCKETS_PER_DOUBLING) as f64;
    (within + 0.5) * scale
}
