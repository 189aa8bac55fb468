//! How much traffic an endpoint gets against the others.
//!
//! `weight = configured × (1/2 if degraded) × clamp(free / mean free, 0.1, 2)`, where `free` is what the metric of
//! `weight_by` leaves of 1, and the mean is over the available endpoints with a fresh figure. An endpoint without one
//! counts as average. A cluster whose endpoints are all equally full spreads as if there were no `weight_by`; one that is
//! full while others are empty keeps a tenth, so that its figure stays a measurement and not a rumour.
//!
//! A free share is used in whole points and moves only when it differs by [`STEP`] of them, and the mean by a twentieth:
//! a load that trembles would otherwise publish a new picker with every report.

use crate::health::verdict::State;

/// Points (hundredths) by which a free share must differ from the one in use.
const STEP: u8 = 5;

/// How far the mean may be from the one in use, as a share of it.
const MEAN_STEP: f64 = 0.05;

/// Bounds of the factor.
const FACTOR: (f64, f64) = (0.1, 2.0);

/// The factor of a state.
pub(super) fn of_state(state: State) -> f64 {
    if state == State::Degraded { 0.5 } else { 1.0 }
}

/// The free share in points to use from now on, given the one in use and the metric's fresh value.
pub(super) fn free(in_use: Option<u8>, value: Option<f64>) -> Option<u8> {
    let points = to_points(1.0 - value?);
    match in_use {
        Some(used) if used.abs_diff(points) < STEP => Some(used),
        _ => Some(points),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
fn to_points(share: f64) -> u8 {
    (share.clamp(0.0, 1.0) * 100.0).round() as u8
}

/// The mean free share of a cluster's available endpoints.
#[derive(Debug, Clone, Default)]
pub(super) struct Mean {
    sum: u64,
    count: u32,
    /// The mean that factors are taken from, in points.
    in_use: Option<f64>,
}

impl Mean {
    /// One endpoint's free share goes from `before` to `after`; `None` while it does not count.
    pub(super) fn replace(&mut self, before: Option<u8>, after: Option<u8>) {
        if let Some(points) = before {
            self.sum -= u64::from(points);
            self.count -= 1;
        }
        if let Some(points) = after {
            self.sum += u64::from(points);
            self.count += 1;
        }
    }

    /// Takes a mean that has moved far enough into use. Returns whether it did.
    #[expect(clippy::cast_precision_loss, reason = "at most a hundred points for each endpoint")]
    pub(super) fn adopt(&mut self) -> bool {
        let mean = (self.count > 0).then(|| self.sum as f64 / f64::from(self.count));
        let moved = match (self.in_use, mean) {
            (Some(used), Some(mean)) => (used - mean).abs() > used * MEAN_STEP,
            (used, mean) => used.is_some() != mean.is_some(),
        };
        if moved {
            self.in_use = mean;
        }
        moved
    }

    /// The factor of an endpoint with this free share.
    pub(super) fn factor(&self, free: Option<u8>) -> f64 {
        match (free, self.in_use) {
            (Some(free), Some(mean)) if mean > 0.0 => (f64::from(free) / mean).clamp(FACTOR.0, FACTOR.1),
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(free: &[Option<u8>]) -> Vec<f64> {
        let mut mean = Mean::default();
        for points in free {
            mean.replace(None, *points);
        }
        mean.adopt();
        free.iter().map(|points| (mean.factor(*points) * 100.0).round() / 100.0).collect()
    }

    #[test]
    fn fuller_endpoints_weigh_less() {
        assert_eq!(factors(&[Some(50), Some(50)]), [1.0, 1.0]);
        assert_eq!(factors(&[Some(90), Some(30)]), [1.5, 0.5]);
        assert_eq!(factors(&[Some(100), Some(100), Some(0)]), [1.5, 1.5, 0.1]);
        assert_eq!(factors(&[Some(1), Some(1), Some(1), Some(100)]), [0.1, 0.1, 0.1, 2.0]);
        assert_eq!(factors(&[Some(60), None, Some(20)]), [1.5, 1.0, 0.5]);
        assert_eq!(factors(&[Some(0), Some(0)]), [1.0, 1.0]);
        assert_eq!(factors(&[None]), [1.0]);
    }

    #[test]
    fn a_trembling_load_moves_nothing() {
        assert_eq!(free(Some(50), Some(0.46)), Some(50));
        assert_eq!(free(Some(50), Some(0.45)), Some(55));
        assert_eq!(free(None, Some(0.46)), Some(54));
        assert_eq!(free(Some(50), None), None);
        assert_eq!(free(None, Some(7.0)), Some(0));
        assert_eq!(free(None, Some(-1.0)), Some(100));
    }

    #[test]
    fn the_mean_follows_in_steps() {
        let mut mean = Mean::default();
        mean.replace(None, Some(50));
        assert!(mean.adopt());
        mean.replace(Some(50), Some(52));
        assert!(!mean.adopt());
        mean.replace(Some(52), Some(53));
        assert!(mean.adopt());
        mean.replace(Some(53), None);
        assert!(mean.adopt());
        assert!(!mean.adopt());
    }
}
