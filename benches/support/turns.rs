//! Contenders that are measured in turns, so that whatever else the machine does hits all of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, StatusCode};

use crate::service::Template;

/// How long a batch should take: long against the clock's resolution, short against a time slice.
const BATCH: Duration = Duration::from_micros(200);
const MOST: usize = 512;
/// What comes first in a batch finds the processor's caches as others left them, which a service
/// finds between requests too, but not all the more often for a slower algorithm.
const LEAST: usize = 48;

/// Something that is done many times, and is timed while it is.
pub struct Contender<'a> {
    times: Box<dyn FnMut(usize) -> Duration + 'a>,
    prepare: Box<dyn FnMut() + 'a>,
    batch: usize,
}

impl<'a> Contender<'a> {
    /// A function that is called.
    pub fn calls(mut call: impl FnMut() + 'a) -> Self {
        Self::new(move |times| {
            let start = Instant::now();
            for _ in 0..times {
                call();
            }
            start.elapsed()
        })
    }

    /// Requests that are made and sent, one template after the other. To make them all beforehand
    /// would leave the allocator in a state in which no server's is.
    pub fn requests(
        mut send: impl FnMut(Request<Body>) -> StatusCode + 'a,
        templates: Vec<Template>,
        status: StatusCode,
    ) -> Self {
        let mut next = 0;
        Self::calls(move || {
            assert_eq!(send(templates[next].request()), status);
            next = (next + 1) % templates.len();
        })
    }

    /// Requests of which each is another, made ready before each turn.
    pub fn fresh(
        mut send: impl FnMut(Request<Body>) -> StatusCode + 'a,
        template: Template,
        status: StatusCode,
    ) -> Self {
        let ready = Rc::new(RefCell::new(Vec::new()));
        let (made, mut next) = (Rc::clone(&ready), 0);
        let prepare = move || *made.borrow_mut() = [(); LEAST].map(|()| template.ready()).into();
        Self::calls(move || {
            let request = ready.borrow()[next].request();
            assert_eq!(send(request), status);
            next = (next + 1) % LEAST;
        })
        .prepared(prepare)
        .of(LEAST)
    }

    fn new(times: impl FnMut(usize) -> Duration + 'a) -> Self {
        Self { times: Box::new(times), prepare: Box::new(|| ()), batch: 1 }
    }

    /// Does something before each turn, which isn't timed.
    pub fn prepared(mut self, prepare: impl FnMut() + 'a) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// Fixes how many times it is done in one turn.
    pub fn of(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    fn warm_up(&mut self) {
        if self.batch > 1 {
            return;
        }
        (self.times)(8);
        let once = ((self.times)(8) / 8).max(Duration::from_nanos(1));
        let batch = BATCH.as_nanos() / once.as_nanos();
        self.batch = usize::try_from(batch).unwrap_or(MOST).clamp(LEAST, MOST);
    }

    /// Nanoseconds for doing it once.
    fn turn(&mut self) -> f64 {
        (self.prepare)();
        (self.times)(self.batch).as_nanos() as f64 / self.batch as f64
    }
}

/// What `N` contenders took in each round, in nanoseconds.
pub struct Rounds<const N: usize>(Vec<[f64; N]>);

/// Lets contenders take turns.
pub fn turns<const N: usize>(rounds: usize, mut contenders: [Contender<'_>; N]) -> Rounds<N> {
    if rounds > 1 {
        contenders.iter_mut().for_each(Contender::warm_up);
    }
    let mut all = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let mut took = [0.0; N];
        for turn in 0..N {
            // Forwards and backwards, so that nobody always comes after the same other one.
            let turn = if round % 2 == 0 { turn } else { N - 1 - turn };
            let at = (round + turn) % N;
            took[at] = contenders[at].turn();
        }
        all.push(took);
    }
    Rounds(all)
}

impl<const N: usize> Rounds<N> {
    /// The median over all rounds of what a function makes of one.
    pub fn median(&self, of: impl Fn(&[f64; N]) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
