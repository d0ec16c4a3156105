//! Asks the directory for names that backends want to know, beside the runs that read it.

use std::time::{Duration, Instant};

use pgaad_core::Reason;
use pgaad_core::directory::Named;
use pgaad_core::inline::Inline;
use pgaad_core::log_line::LogLine;
use pgaad_provider::graph::{Graph, GraphError, GraphRequest};

use super::aside::{Aside, Threads};
use super::directory::{THREADS, graph_request};
use super::job::{Job, ReadSettings};
use crate::pg::lookup_board::{self, LookupAnswer};

/// How often it looks whether an answer has come.
const POLL: Duration = Duration::from_millis(5);

/// Longest time that Graph is asked for one name: who asked waits for ten seconds.
const TIME: Duration = Duration::from_secs(9);

/// What Graph has found.
type Found = Result<Vec<Named>, GraphError>;

/// The job.
#[derive(Default)]
pub(super) struct LookUpNames {
    threads: Threads,
    asking: Option<(u64, Aside<Found>)>,
}

impl Job for LookUpNames {
    fn due(&mut self, now: Instant) -> Option<Instant> {
        match &self.asking {
            Some(_) => Some(now + POLL),
            None => lookup_board::is_asked().then_some(now),
        }
    }

    fn run(&mut self, settings: &ReadSettings) {
        if let Some((number, aside)) = self.asking.take() {
            match aside.poll() {
                None => self.asking = Some((number, aside)),
                Some(answer) => {
                    lookup_board::answer(number, answer_of(answer.unwrap_or(Err(GraphError::TimedOut))));
                }
            }
            return;
        }
        let Some((number, question, name)) = lookup_board::take() else { return };
        let request = match request_of(settings) {
            Ok(request) => request,
            Err(reason) => return lookup_board::answer(number, unusable(&reason)),
        };
        // A run may go on beside it.
        let find = move || Graph::new(request).find(question, &name);
        match self.threads.start(TIME + POLL, THREADS, find) {
            Ok(aside) => self.asking = Some((number, aside)),
            Err(_) => lookup_board::answer(number, answer_of(Err(GraphError::TimedOut))),
        }
    }

    fn on_reload(&mut self, _settings: &ReadSettings) {
        self.threads.on_reload();
    }
}

fn request_of(settings: &ReadSettings) -> Result<GraphRequest, Reason> {
    let settings = settings.as_ref().map_err(Reason::clone)?;
    let policy = settings.token.as_ref().ok_or(Reason::NotConfigured)?;
    let directory = settings.directory.as_ref().map_err(Reason::clone)?;
    Ok(graph_request(settings, directory, &policy.tenant, TIME))
}

/// The answer while a setting cannot be used.
fn unusable(reason: &Reason) -> LookupAnswer {
    let words = reason.facts(LogLine::new("bad setting:")).into_text();
    LookupAnswer {
        code: Inline::new(reason.code().as_bytes()).unwrap_or_default(),
        words: Inline::new(words.as_bytes()).unwrap_or_default(),
        ..LookupAnswer::default()
    }
}

fn answer_of(found: Found) -> LookupAnswer {
    let mut answer = LookupAnswer::default();
    match found {
        Ok(found) => {
            for (place, named) in answer.found.iter_mut().zip(found) {
                *place = Some(named);
            }
        }
        Err(error) => {
            let words = error.words().unwrap_or_default();
            answer.code = Inline::new(error.code().as_bytes()).unwrap_or_default();
            answer.words = Inline::new(words.as_bytes()).unwrap_or_default();
        }
    }
    answer
}
