//! One condition from its start to its end: when it is told, and when it is over. Pure: it knows no clock, and not what
//! the condition is.

use std::time::Duration;

use super::Moment;

/// How patient the alerts are. All times are multiples of the pause between two looks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two looks.
    pub look: Duration,
    /// What stands must stand for so long before it is told.
    pub settles: Duration,
    /// What stood is over when it is gone for so long.
    pub calm: Duration,
    /// What happens again and again is over when it has not happened for so long.
    pub quiet: Duration,
    /// A lane is stalled when messages wait and nothing is settled for so long.
    pub stalled: Duration,
    /// Before a message that did not go is tried again; longer each time.
    pub retry: Duration,
}

impl Pace {
    /// The times for this pause between two looks. With five seconds: 10 seconds, 1 minute, 15 minutes, 10 minutes,
    /// 30 seconds.
    pub fn of(look: Duration) -> Pace {
        Pace { look, settles: look * 2, calm: look * 12, quiet: look * 180, stalled: look * 120, retry: look * 6 }
    }
}

/// What a look shows of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It is there. Each time that it comes counts.
    Stands,
    /// It has happened so often since the last look.
    Happened(u64),
    /// It is so large; zero: it is gone.
    Amount(u64),
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// It has come, and counts so much by now.
    Here(u64),
    /// It is over. It counted so much, and lasted so long.
    Over(u64, Duration),
}

/// A condition that is there, or was a moment ago.
#[derive(Debug)]
pub struct Episode {
    /// When it was seen first.
    pub since: Moment,
    /// When it was seen last.
    last: Moment,
    /// Since when it stands, this time.
    stands: Option<Moment>,
    /// This time is counted.
    is_counted: bool,
    count: u64,
    /// The count that was told last.
    told: u64,
    /// It is over when it was not seen for so long.
    rest: Duration,
}

impl Episode {
    /// It is seen for the first time.
    pub fn new(now: Moment) -> Episode {
        let rest = Duration::ZERO;
        Episode { since: now, last: now, stands: None, is_counted: false, count: 0, told: 0, rest }
    }

    /// What a look shows of it; `None`: nothing.
    pub fn see(&mut self, sight: Option<Sight>, now: Moment, pace: &Pace) -> Option<Telling> {
        let is_there = sight.is_some_and(|sight| !matches!(sight, Sight::Happened(0) | Sight::Amount(0)));
        if is_there {
            self.last = now;
        }
        match sight {
            Some(Sight::Stands) => self.stands(now, pace),
            Some(Sight::Happened(times)) => (self.count, self.rest) = (self.count + times, pace.quiet),
            Some(Sight::Amount(amount)) => (self.count, self.rest) = (self.count.max(amount), pace.calm),
            None => (self.stands, self.is_counted) = (None, false),
        }
        if threshold(self.count) > self.told {
            self.told = threshold(self.count);
            return Some(Telling::Here(self.count));
        }
        let is_over = self.told > 0 && !is_there && self.is_over(now);
        is_over.then(|| Telling::Over(self.count, self.last.at.saturating_duration_since(self.since.at)))
    }

    fn stands(&mut self, now: Moment, pace: &Pace) {
        self.rest = pace.calm;
        let since = self.stands.get_or_insert(now).at;
        if !self.is_counted && now.at.saturating_duration_since(since) >= pace.settles {
            self.is_counted = true;
            self.count += 1;
        }
    }

    /// Nothing was seen of it for long enough.
    pub fn is_over(&self, now: Moment) -> bool {
        now.at.saturating_duration_since(self.last.at) >= self.rest.max(Duration::from_nanos(1))
    }
}

/// The 1st, the 10th, the 100th and so on: the last of these that this count has reached.
fn threshold(count: u64) -> u64 {
    if count == 0 { 0 } else { 10_u64.pow(count.ilog10()) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;

    fn pace() -> Pace {
        Pace::of(Duration::from_secs(5))
    }

    /// What is told at which second, when this is seen from second 0 on, every five seconds.
    fn told(sights: impl IntoIterator<Item = Option<Sight>>) -> Vec<(u64, Telling)> {
        let mut episode = Episode::new(at(0));
        let seconds = (0..).step_by(5);
        let tell = |(second, sight)| Some((second, episode.see(sight, at(second), &pace())?));
        seconds.zip(sights).filter_map(tell).collect()
    }

    fn times(sight: Option<Sight>, times: usize) -> impl Iterator<Item = Option<Sight>> {
        std::iter::repeat_n(sight, times)
    }

    #[test]
    fn what_stands_is_told_once_after_a_moment_and_over_after_a_minute_of_calm() {
        let seen = times(Some(Sight::Stands), 10).chain(times(None, 12));
        assert_eq!(told(seen), [(10, Telling::Here(1)), (105, Telling::Over(1, Duration::from_secs(45)))]);
    }

    #[test]
    fn what_goes_again_at_once_is_not_told() {
        assert_eq!(told(times(Some(Sight::Stands), 2).chain(times(None, 30))), []);
    }

    #[test]
    fn what_comes_and_goes_is_told_at_the_first_and_the_tenth_time_and_is_over_once() {
        let flapping = (0..12).flat_map(|_| times(Some(Sight::Stands), 3).chain(times(None, 2)));
        let tellings: Vec<Telling> = told(flapping.chain(times(None, 10))).into_iter().map(|(_, told)| told).collect();
        assert_eq!(
            tellings,
            [Telling::Here(1), Telling::Here(10), Telling::Over(12, Duration::from_secs((11 * 5 + 2) * 5))]
        );
    }

    #[test]
    fn what_happens_is_told_at_the_1st_10th_and_100th_time_and_over_after_a_quarter_of_an_hour() {
        let seen = [1, 8, 0, 3, 200].map(|times| Some(Sight::Happened(times)));
        let seen = seen.into_iter().chain(times(Some(Sight::Happened(0)), 180));
        let here = [(0, 1), (15, 12), (20, 212)].map(|(second, count)| (second, Telling::Here(count)));
        let over = (920, Telling::Over(212, Duration::from_secs(20)));
        assert_eq!(told(seen), [&here[..], &[over]].concat());
    }

    #[test]
    fn an_amount_is_told_when_it_grows_tenfold_and_over_when_it_is_nothing() {
        let seen = [3, 9, 2, 11, 12].map(|amount| Some(Sight::Amount(amount)));
        let seen = seen.into_iter().chain(times(Some(Sight::Amount(0)), 12));
        let over = Telling::Over(12, Duration::from_secs(20));
        assert_eq!(told(seen), [(0, Telling::Here(3)), (15, Telling::Here(11)), (80, over)]);
    }
}
