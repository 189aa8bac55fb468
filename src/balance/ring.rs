//! A ring of points: the same key leads to the same endpoint, in every worker, process and version, whoever else is there.
//!
//! Every endpoint has points on a circle of 2^64 places, as many as its weight asks for, at places that only its address
//! decides. A key is put on the circle at [`PROBES`] places, and the point that follows one of them most closely wins. An
//! endpoint that leaves takes its points with it: keys that another one had won still have the same nearest point. Looking
//! from several places evens the shares out as many times more points would (multi-probe consistent hashing, Appleton and
//! O'Reilly 2015): with 32 points in use each, shares of equal endpoints differ by some 5 %.
//!
//! The ring is made once for all endpoints of a cluster. What an endpoint is worth at the moment decides how many of its points
//! are in use, the first ones first; so health changes no place on it, and less weight moves only the keys that must move.
//!
//! Places are hashed with XXH3, whose results are fixed for ever; a test pins some of ours.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::balance::to_position;

/// Points of an endpoint for each unit of its configured weight. At that weight half of them are in use, so that an endpoint
/// can also get up to twice of it.
const POINTS: u32 = 64;
/// Effective over configured weight at which all points are in use.
const MOST: f64 = 2.0;
/// Points of a ring; where weights ask for more, a unit of weight has a half, a quarter, ... of [`POINTS`].
const MAX_POINTS: u64 = 1 << 22;
/// From how many places the nearest point is looked for.
const PROBES: u64 = 8;
/// Golden ratio of 2^64: the distance between the seeds of a key's places.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The points of all endpoints of a cluster, known by their numbers.
#[derive(Debug)]
pub struct Ring {
    /// Places of the points, in order.
    places: Box<[u64]>,
    /// Whose they are.
    points: Box<[Point]>,
    /// The first point at or after the beginning of each of so many equal parts of the circle.
    parts: Box<[u32]>,
    /// 64 less the number of bits that tell the part.
    shift: u32,
    endpoints: Box<[Entry]>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    endpoint: u32,
    /// Its number among the endpoint's points.
    rank: u32,
}

#[derive(Debug)]
struct Entry {
    weight: f64,
    points: u32,
}

impl Ring {
    /// A ring of endpoints, each with its address and configured weight.
    #[must_use]
    pub fn new<'a>(endpoints: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let endpoints: Vec<(&str, u32)> = endpoints.map(|(address, weight)| (address, weight.max(1))).collect();
        let sum = endpoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut all: Vec<(u64, Point)> = Vec::new();
        for (endpoint, (address, weight)) in (0_u32..).zip(&endpoints) {
            let place = |rank: u32| xxh3_64_with_seed(address.as_bytes(), u64::from(rank));
            all.extend((0..points(*weight, sum)).map(|rank| (place(rank), Point { endpoint, rank })));
        }
        all.sort_unstable_by_key(|(place, point)| (*place, point.endpoint, point.rank));
        let bits = (all.len() / 2).max(2).next_power_of_two().trailing_zeros();
        let shift = u64::BITS - bits;
        let mut parts = Vec::with_capacity(1 << bits);
        for (number, (place, _)) in (0_u32..).zip(&all) {
            while parts.len() as u64 <= place >> shift {
                parts.push(number);
            }
        }
        parts.resize(1 << bits, u32::try_from(all.len()).unwrap_or(u32::MAX));
        Self {
            places: all.iter().map(|(place, _)| *place).collect(),
            points: all.iter().map(|(_, point)| *point).collect(),
            parts: parts.into(),
            shift,
            endpoints: endpoints
                .iter()
                .map(|(_, weight)| Entry { weight: f64::from(*weight), points: points(*weight, sum) })
                .collect(),
        }
    }

    /// How many endpoints it was made of.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether it was made of none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// How many points of an endpoint are in use at an effective weight, at least one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the endpoint's points")]
    pub(super) fn in_use(&self, endpoint: usize, weight: f64) -> u32 {
        let Some(entry) = self.endpoints.get(endpoint) else { return 0 };
        let share = (weight / (entry.weight * MOST)).clamp(0.0, 1.0);
        ((f64::from(entry.points) * share).round() as u32).max(1)
    }

    /// The number of the point that a key leads to among those in use; `None` if there are none.
    pub(super) fn find(&self, key: u64, used: &impl Fn(usize) -> u32) -> Option<usize> {
        let probes = (0..PROBES).map(|probe| mix(key.wrapping_add(probe.wrapping_mul(STRIDE))));
        let nearest = probes.filter_map(|place| {
            let number = self.next_used(self.first_at(place), used)?;
            Some((self.places[number].wrapping_sub(place), number))
        });
        nearest.min().map(|(_, number)| number)
    }

    /// The point in use that comes after another one.
    pub(super) fn after(&self, number: usize, used: &impl Fn(usize) -> u32) -> Option<usize> {
        self.next_used(number + 1, used)
    }

    /// Whose a point is.
    pub(super) fn owner(&self, number: usize) -> usize {
        to_position(self.points[number].endpoint)
    }

    fn first_at(&self, place: u64) -> usize {
        let part = usize::try_from(place >> self.shift).unwrap_or(usize::MAX);
        let start = self.parts.get(part).map_or(0, |number| to_position(*number));
        start + self.places[start..].iter().take_while(|known| **known < place).count()
    }

    fn next_used(&self, from: usize, used: &impl Fn(usize) -> u32) -> Option<usize> {
        let count = self.points.len();
        let is_used = |number: &usize| {
            let point = self.points[*number];
            point.rank < used(to_position(point.endpoint))
        };
        (from..count).chain(0..from.min(count)).find(is_used)
    }
}

/// Points of an endpoint of this weight, where all weights come to `sum`.
fn points(weight: u32, sum: u64) -> u32 {
    let mut unit = u64::from(POINTS);
    while unit > 1 && unit * sum > MAX_POINTS {
        unit /= 2;
    }
    let scale = if unit * sum > MAX_POINTS { sum.div_ceil(MAX_POINTS) } else { 1 };
    u32::try_from((u64::from(weight) * unit / scale).max(1)).unwrap_or(u32::MAX)
}

/// Spreads a number over all 64 bits (the finaliser of SplitMix64, Steele, Lea and Flood 2014).
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
