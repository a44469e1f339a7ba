//! Numbers that a system counts by itself and adds to the [`list`](super::list) of its lane.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::histogram::Requests;
use super::list::{Family, Measured, Sample};
use super::{Counter, percent};

/// A number, or several, that a system adds.
#[derive(Clone)]
pub struct Declared(Own);

#[derive(Clone)]
enum Own {
    /// How often something has happened.
    Count(Family, Arc<Counter>),
    /// The share of the first in the sum of both, in percent. It is in the line only.
    Rate(&'static str, Arc<Counter>, Arc<Counter>),
    /// What is so now, for each value of a label. It is not in the line.
    Each(Family, Option<&'static str>, Arc<dyn Fn() -> Vec<(&'static str, f64)> + Send + Sync>),
    /// The requests to the target. They are not in the line.
    Requests(Requests),
}

const TIMES: Family = Family::histogram("http_request_seconds", "How long requests to the target took, by method.");
const ANSWERS: Family = Family::counter(
    "http_requests",
    "Requests to the target, by method and by the class of their answer: 2xx, 4xx, 5xx; none: no complete answer.",
);

impl Declared {
    /// How often something has happened; `name` also stands in the statistics line.
    pub fn count(name: &'static str, help: &'static str, counter: &Arc<Counter>) -> Declared {
        Declared(Own::Count(Family::counter(name, help), Arc::clone(counter)))
    }

    /// The share of the first in the sum of both, for the statistics line.
    pub fn rate(name: &'static str, good: &Arc<Counter>, bad: &Arc<Counter>) -> Declared {
        Declared(Own::Rate(name, Arc::clone(good), Arc::clone(bad)))
    }

    /// What is so now. The name ends in the unit.
    pub fn gauge(name: &'static str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) -> Declared {
        Declared(Own::Each(Family::gauge(name, help), None, Arc::new(move || vec![("", read())])))
    }

    /// What is so now for each value of this label. The name ends in the unit.
    pub fn gauges(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(&'static str, f64)> + Send + Sync + 'static,
    ) -> Declared {
        Declared(Own::Each(Family::gauge(name, help), Some(label), Arc::new(read)))
    }

    /// The requests that its client sends.
    pub fn requests(requests: &Requests) -> Declared {
        Declared(Own::Requests(requests.clone()))
    }

    /// Its word in the statistics line.
    pub(super) fn shown(&self) -> Option<String> {
        match &self.0 {
            Own::Count(family, counter) => Some(format!("{}={}", family.name, counter.get())),
            Own::Rate(name, good, bad) => Some(format!("{name}={}", percent(good.get(), bad.get()))),
            Own::Each(..) | Own::Requests(_) => None,
        }
    }

    /// Its name and value in the JSON, where that is one number.
    pub(super) fn json(&self) -> Option<(String, Value)> {
        match &self.0 {
            Own::Count(family, counter) => Some((family.name.to_owned(), counter.get().into())),
            Own::Each(family, None, _) => Some((family.name.to_owned(), self.value_of(family.name)?.into())),
            Own::Rate(..) | Own::Each(..) | Own::Requests(_) => None,
        }
    }

    /// The value of the gauge of this name.
    pub(super) fn value_of(&self, name: &str) -> Option<f64> {
        match &self.0 {
            Own::Each(family, None, read) if family.name == name => read().first().map(|(_, value)| *value),
            _ => None,
        }
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        match &self.0 {
            Own::Count(family, counter) => vec![Sample::new(*family, Vec::new(), counter.get() as f64)],
            Own::Rate(..) => Vec::new(),
            Own::Each(family, label, read) => {
                let labels = |value: &str| label.map(|label| (label, value.to_owned())).into_iter().collect();
                read().into_iter().map(|(value, number)| Sample::new(*family, labels(value), number)).collect()
            }
            Own::Requests(requests) => {
                let by = |method: &str| vec![("method", method.to_owned())];
                let times = requests.times().into_iter().map(|(method, times)| Sample {
                    family: TIMES,
                    labels: by(method),
                    value: Measured::Times(times),
                });
                let answers = requests.answers().into_iter().map(|(method, class, count)| {
                    let labels = [by(method), vec![("class", class.to_owned())]].concat();
                    Sample::new(ANSWERS, labels, count as f64)
                });
                times.chain(answers).collect()
            }
        }
    }

    fn name(&self) -> &'static str {
        match &self.0 {
            Own::Count(family, _) | Own::Each(family, ..) => family.name,
            Own::Rate(name, ..) => name,
            Own::Requests(_) => TIMES.name,
        }
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Declared").field(&self.name()).finish()
    }
}
