/// The median and the quartiles of samples.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

pub fn spread(samples: impl Iterator<Item = f64>) -> Spread {
    let mut sorted: Vec<f64> = samples.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    Spread { low: at(0.25), median: at(0.5), high: at(0.75) }
}

pub fn median(samples: impl Iterator<Item = f64>) -> f64 {
    spread(samples).median
}
