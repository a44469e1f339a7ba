//! Reads work packages by their ids, many in one request.
//!
//! OpenProject refuses the whole request if one of the ids is missing or not shown. Then this file asks for halves. It
//! remembers the missing id and from then on asks for it alone. [`super::tracker`] knows what a row means.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::look_up::rows;

/// Ids in a request: an instance shows at least 50 rows a page, mostly 1,000, and the address stays below 2 KB.
const IDS: usize = 100;
/// The most failures in one sweep after which less is asked for: enough to find one row among a hundred, twice.
const MOST_FAILURES: u32 = 16;
/// After so many requests in a row without an answer the next one will have none either.
const IN_VAIN: u32 = 2;
/// The most missing ids that are remembered. If there are more, all are forgotten and found again by halving.
const MOST_MISSING: usize = 10_000;

/// For each id the work package, or `None` where it is not there or not shown.
pub type Rows = HashMap<u64, Result<Option<Value>, ApiError>>;

/// Reads, and remembers what is missing.
pub struct Reader {
    client: Arc<Client>,
    /// Those that were not there when last asked for.
    missing: BTreeSet<u64>,
}

/// One look at many work packages.
#[derive(Default)]
struct Look {
    found: Rows,
    /// Failures of OpenProject itself.
    failures: u32,
    /// Requests in a row without an answer.
    unanswered: u32,
    /// Why no more is asked.
    in_vain: Option<ApiError>,
}

impl Look {
    /// A server that fails over everything is not asked for smaller and smaller parts.
    fn asks_for_halves(&mut self, err: &ApiError) -> bool {
        self.failures += u32::from(err.kind == Kind::TooMuch);
        err.kind == Kind::InvalidQuery || (err.kind == Kind::TooMuch && self.failures <= MOST_FAILURES)
    }

    /// If OpenProject is away or asks for a pause, the next request would fail as well.
    fn note(&mut self, ids: &[u64]) {
        let failed = ids.first().and_then(|id| self.found.get(id)?.as_ref().err());
        let is_unanswered = failed.is_some_and(|err| err.kind == Kind::Unknown);
        self.unanswered = if is_unanswered { self.unanswered + 1 } else { 0 };
        let is_over = |err: &&ApiError| err.kind == Kind::Unavailable || self.unanswered >= IN_VAIN;
        self.in_vain = failed.filter(is_over).cloned();
    }

    fn fail(&mut self, ids: &[u64], err: &ApiError) {
        self.found.extend(ids.iter().map(|id| (*id, Err(err.clone()))));
    }
}

impl Reader {
    /// Reads through this client.
    pub fn new(client: Arc<Client>) -> Reader {
        Reader { client, missing: BTreeSet::new() }
    }

    /// Reads all of these.
    pub fn read(&mut self, ids: &BTreeSet<u64>) -> Rows {
        let mut look = Look::default();
        let (doubtful, sure): (Vec<u64>, Vec<u64>) = ids.iter().partition(|id| self.missing.contains(id));
        for ids in sure.chunks(IDS) {
            match look.in_vain.clone() {
                Some(err) => look.fail(ids, &err),
                None => self.read_together(ids, &mut look),
            }
            look.note(ids);
        }
        for id in doubtful {
            let row = match look.in_vain.clone() {
                Some(err) => Err(err),
                None => self.read_one(id),
            };
            look.found.insert(id, row);
            look.note(&[id]);
        }
        self.note_missing(&look.found);
        look.found
    }

    fn note_missing(&mut self, found: &Rows) {
        for (id, row) in found {
            match row {
                Ok(None) => drop(self.missing.insert(*id)),
                Ok(Some(_)) => drop(self.missing.remove(id)),
                Err(_) => {}
            }
        }
        if self.missing.len() > MOST_MISSING {
            self.missing.clear();
        }
    }

    /// Reads these, in halves where one of them makes OpenProject refuse all, or fail.
    fn read_together(&self, ids: &[u64], look: &mut Look) {
        match (self.read_pages(ids), ids) {
            (Ok(rows), _) => {
                // An id that a complete answer does not show is asked for alone. Only then it counts as gone.
                let missing: Vec<u64> = ids.iter().copied().filter(|id| !rows.contains_key(id)).collect();
                look.found.extend(rows.into_iter().map(|(id, row)| (id, Ok(Some(row)))));
                look.found.extend(missing.into_iter().map(|id| (id, self.read_one(id))));
            }
            (Err(err), [id]) if err.kind == Kind::InvalidQuery => drop(look.found.insert(*id, self.read_one(*id))),
            (Err(err), [_, _, ..]) if look.asks_for_halves(&err) => {
                let (left, right) = ids.split_at(ids.len() / 2);
                self.read_together(left, look);
                self.read_together(right, look);
            }
            (Err(err), _) => look.fail(ids, &err),
        }
    }

    /// All pages: an instance may show fewer rows than were asked for.
    fn read_pages(&self, ids: &[u64]) -> Result<HashMap<u64, Value>, ApiError> {
        let mut read = HashMap::new();
        for page in 1.. {
            let reply = self.client.call(&list(ids, page))?;
            let rows = rows(&reply).ok_or_else(|| ApiError::unclear("GET work_packages: the reply has no list"))?;
            let before = read.len();
            let asked = rows.iter().filter_map(|row| Some((row["id"].as_u64().filter(|id| ids.contains(id))?, row)));
            read.extend(asked.map(|(id, row)| (id, row.clone())));
            let total = reply["total"].as_u64().and_then(|total| usize::try_from(total).ok()).unwrap_or(0);
            // A page that brings nothing new is the last one, whatever the total says.
            if read.len() >= ids.len() || read.len() >= total || read.len() == before {
                break;
            }
        }
        Ok(read)
    }

    fn read_one(&self, id: u64) -> Result<Option<Value>, ApiError> {
        match self.client.call(&Call::get(format!("/work_packages/{id}"))) {
            Ok(row) if row["id"] == id => Ok(Some(row)),
            Ok(_) => Err(ApiError::unclear("GET work_packages: the reply is about another one")),
            Err(err) if err.kind == Kind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }
}

/// Asks for work packages by their ids, whatever their state.
fn list(ids: &[u64], page: usize) -> Call {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    Call::list("/work_packages", &json!([{"id": {"operator": "=", "values": ids}}]), page, IDS)
}
