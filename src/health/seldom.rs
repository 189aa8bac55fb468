//! Room for what few endpoints need: none, until it differs from how it is with everybody else.
//!
//! Thousands of endpoints have no heartbeats, no order of an operator and no requests. What is kept of each of these is read all
//! the time and hardly ever written, so one value of it stands for all who never wrote.

use std::ops::{Deref, DerefMut};

/// What is the same with nearly everybody.
pub(super) trait Usual: Clone + 'static {
    /// How it is with them.
    const USUAL: &'static Self;
}

/// A value that is the usual one until it is written to. Who only reads it needs no room for it.
#[derive(Debug, Clone)]
pub(super) struct Seldom<T>(Option<Box<T>>);

impl<T> Seldom<T> {
    /// It has been written to; otherwise there is nothing in it that could end or be forgotten.
    pub(super) fn unusual(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// It is the usual one again.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<T> for Seldom<T> {
    fn from(value: T) -> Self {
        Self(Some(Box::new(value)))
    }
}

impl<T: Usual> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::USUAL)
    }
}

impl<T: Usual> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::USUAL.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::health::incarnation::Incarnation;
    use crate::health::lateness::Lateness;
    use crate::health::operator::Operator;
    use crate::health::outliers::Outliers;
    use crate::health::quorum::Quorum;
    use crate::health::recent::Recent;
    use crate::health::wishes::Wishes;

    #[derive(Debug, Clone, PartialEq)]
    struct Mood(u8);

    impl Usual for Mood {
        const USUAL: &'static Self = &Self(5);
    }

    #[test]
    fn it_is_the_usual_one_until_it_is_written_to_and_when_it_is_forgotten() {
        let mut mood = Seldom::<Mood>::default();
        assert!(*mood == Mood(5) && mood.unusual().is_none());
        let changed: &mut Mood = &mut mood;
        changed.0 += 1;
        assert_eq!((mood.clone().deref(), mood.unusual()), (&Mood(6), Some(&mut Mood(6))));
        mood.forget();
        assert!(*mood == *Mood::USUAL && mood.unusual().is_none());
    }

    fn is_as_new<T: Usual + Default + Debug>() -> bool {
        format!("{:?}", T::USUAL) == format!("{:?}", T::default())
    }

    #[test]
    fn the_usual_one_is_the_new_one() {
        assert!(is_as_new::<Incarnation>() && is_as_new::<Lateness>() && is_as_new::<Operator>() && is_as_new::<Outliers>());
        assert!(is_as_new::<Quorum>() && is_as_new::<Recent>() && is_as_new::<Wishes>());
    }
}
