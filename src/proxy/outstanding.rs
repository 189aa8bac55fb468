//! The requests that wait for one endpoint's answer, in the order in which they were sent, and which of them is the oldest.
//!
//! An endpoint that answers newer requests while an older one waits is slow at that one and not silent. So with every answer
//! the requests sent before it are left out of account, and the oldest is the oldest of what was sent since.

use std::collections::VecDeque;

use crate::base::time::Timestamp;

/// The line of requests.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    /// The number of the first in `sent`.
    first: u64,
    /// When each was sent; none if it waits no more. Neither end is none.
    sent: VecDeque<Option<Timestamp>>,
}

impl Outstanding {
    /// A request is sent. Returns its number.
    pub(crate) fn enter(&mut self, at: Timestamp) -> u64 {
        self.sent.push_back(Some(at));
        self.first + self.sent.len() as u64 - 1
    }

    /// A request has been answered.
    pub(crate) fn answer(&mut self, number: u64) {
        if let Some(place) = self.place(number) {
            self.sent.drain(..=place);
            self.first = number + 1;
            self.trim();
        }
    }

    /// A request waits no more, and was not answered.
    pub(crate) fn leave(&mut self, number: u64) {
        if let Some(place) = self.place(number) {
            self.sent[place] = None;
            self.trim();
        }
    }

    /// When the oldest was sent.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.sent.front().copied().flatten()
    }

    fn place(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (place < self.sent.len()).then_some(place)
    }

    fn trim(&mut self) {
        while self.sent.front().is_some_and(Option::is_none) {
            self.sent.pop_front();
            self.first += 1;
        }
        while self.sent.back().is_some_and(Option::is_none) {
            self.sent.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn the_oldest_is_the_oldest_of_what_was_sent_after_the_last_answered() {
        let mut line = Outstanding::default();
        assert_eq!(line.oldest(), None);
        let [a, b, c, d] = [1, 2, 3, 4].map(|millis| line.enter(at(millis)));
        assert_eq!(line.oldest(), Some(at(1)));
        line.answer(b);
        assert_eq!(line.oldest(), Some(at(3)), "the first was overtaken: it is slow, not unanswered");
        line.answer(a);
        line.leave(a);
        assert_eq!(line.oldest(), Some(at(3)));
        line.leave(c);
        assert_eq!(line.oldest(), Some(at(4)));
        line.leave(d);
        assert_eq!((line.oldest(), line.sent.len()), (None, 0));
    }

    #[test]
    fn numbers_stay_true_however_requests_end() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (mut line, mut model) = (Outstanding::default(), Vec::<(u64, u64)>::new());
        for millis in 1..5000 {
            if rng.bool() || model.is_empty() {
                model.push((line.enter(at(millis)), millis));
            } else {
                let place = rng.usize(..model.len());
                let (number, _) = model.remove(place);
                if rng.bool() {
                    line.answer(number);
                    model.drain(..place);
                } else {
                    line.leave(number);
                }
            }
            assert_eq!(line.oldest(), model.first().map(|(_, sent)| at(*sent)));
            let bound = model.last().map_or(0, |last| last.0 + 1 - model[0].0);
            assert_eq!(line.sent.len() as u64, bound);
        }
    }
}
