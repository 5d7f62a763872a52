//! The search for an issuer's metadata at its well-known locations.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::time::{Instant, timeout_at};

use crate::clock::{UnixTime, monotonic};
use crate::issuer::document::{Refused, check_issuer_of};
use crate::issuer::exchange::{Network, ask};
use crate::issuer::fault::{Fault, FaultKind};
use crate::issuer::places::metadata_places;
use crate::issuer::race::first_success;
use crate::telemetry::event;
#[cfg(feature = "tracing")]
use crate::text::one_line;
use crate::transport::TransportErrorKind;
#[cfg(feature = "tracing")]
use crate::transport::printable;

/// The locations of one issuer's metadata, and the last result of each.
#[derive(Debug)]
pub(crate) struct Search {
    issuer: Box<str>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    uri: Uri,
    known: Mutex<Known>,
}

/// The last result at a location.
#[derive(Clone, Copy, Debug)]
enum Known {
    Nothing,
    Metadata,
    Empty(Instant),
}

/// While other locations may have metadata, one that had none isn't requested again for this long.
const EMPTY: Duration = Duration::from_secs(60 * 60);
/// When the other locations fail, it is requested again no sooner than this.
const EMPTY_AT_LEAST: Duration = Duration::from_secs(60);

/// The most characters of an error and its causes.
#[cfg(feature = "tracing")]
const MAX_ERROR: usize = 500;

impl Search {
    /// Takes an issuer whose URL was checked: it has neither query nor fragment.
    pub(crate) fn new(issuer: &str, uri: &Uri) -> Self {
        let place = |uri| Place { uri, known: Mutex::new(Known::Nothing) };
        Self {
            issuer: issuer.into(),
            places: metadata_places(uri).into_iter().map(place).collect(),
        }
    }

    /// Takes the one address of an issuer's metadata, wherever that is.
    pub(crate) fn at(issuer: &str, document: Uri) -> Self {
        let place = Place { uri: document, known: Mutex::new(Known::Nothing) };
        Self { issuer: issuer.into(), places: vec![place] }
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the first location.
    pub(crate) fn first_place(&self) -> Option<&Uri> {
        self.places.first().map(|place| &place.uri)
    }

    /// Requests metadata at each location, first where it was found before, and reads it with `accept`.
    /// The whole search takes no longer than one exchange may. When a location doesn't answer for a
    /// quarter of that, the next is requested as well.
    ///
    /// An answer that isn't this issuer's metadata doesn't end the search: some servers answer every
    /// path with 200 and a login page, and proxies forward only some paths. Only an unreachable host
    /// ends it.
    pub(crate) async fn find<T>(
        &self,
        network: &Network,
        now: UnixTime,
        accept: impl Fn(&[u8]) -> Result<T, Refused>,
    ) -> Result<T, Fault> {
        let began = monotonic();
        let timeout = network.limits.timeout;
        let deadline = began.checked_add(timeout).unwrap_or(began);
        let mut worst = Fault::from(FaultKind::Status(404));
        let search = async {
            let (first, later) = self.order();
            let found = self.ask_all(&first, network, now, &accept, &mut worst).await;
            if found.is_some() || worst.kind.ends_the_search() {
                return found;
            }
            // Where all others have answered that they have nothing, the server may have changed.
            let changed = worst.kind.means_empty();
            let later: Vec<&Place> =
                later.into_iter().filter(|it| changed || !it.was_empty(EMPTY_AT_LEAST)).collect();
            self.ask_all(&later, network, now, &accept, &mut worst).await
        };
        match timeout_at(deadline, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(worst),
            Err(_) => {
                let timed_out = FaultKind::from(TransportErrorKind::Timeout);
                Err(if timed_out.rank() > worst.kind.rank() { timed_out.into() } else { worst })
            }
        }
    }

    /// Returns the locations to request, and those to request if the first fail.
    fn order(&self) -> (Vec<&Place>, Vec<&Place>) {
        let (later, mut first): (Vec<&Place>, Vec<&Place>) =
            self.places.iter().partition(|place| place.was_empty(EMPTY));
        first.sort_by_key(|place| !matches!(place.known(), Known::Metadata));
        if first.is_empty() { (later, first) } else { (first, later) }
    }

    async fn ask_all<T>(
        &self,
        places: &[&Place],
        network: &Network,
        now: UnixTime,
        accept: &impl Fn(&[u8]) -> Result<T, Refused>,
        worst: &mut Fault,
    ) -> Option<T> {
        let mut questions = Vec::new();
        for place in places {
            questions.push(self.ask_at(place, network, now, accept));
        }
        let apart = network.limits.timeout.checked_div(4).unwrap_or_default();
        let failed = |fault: &Fault| {
            let ends = fault.kind.ends_the_search();
            if ends || fault.kind.rank() > worst.kind.rank() {
                *worst = fault.clone();
            }
            ends
        };
        first_success(questions, apart, failed).await
    }

    async fn ask_at<T>(
        &self,
        place: &Place,
        network: &Network,
        now: UnixTime,
        accept: &impl Fn(&[u8]) -> Result<T, Refused>,
    ) -> Result<T, Fault> {
        let result = self.document(&place.uri, network, now).await.and_then(|document| {
            accept(&document).map_err(|refused| Fault::from(FaultKind::from(refused)))
        });
        self.tell(place, result.as_ref().err());
        match &result {
            Ok(_) => place.remember(Known::Metadata),
            Err(fault) if fault.kind.means_empty() => place.remember(Known::Empty(monotonic())),
            Err(_) => {}
        }
        result
    }

    /// Logs what came of the question at one location.
    fn tell(&self, _place: &Place, _fault: Option<&Fault>) {
        event!(
            DEBUG,
            issuer = &*self.issuer,
            url = printable(&_place.uri.to_string()),
            result = match _fault {
                None => "found".to_owned(),
                Some(fault) => one_line(&fault.kind.to_string(), MAX_ERROR),
            },
            "metadata_asked"
        );
    }

    /// Returns this issuer's metadata, unread.
    async fn document(&self, uri: &Uri, network: &Network, now: UnixTime) -> Result<Bytes, Fault> {
        let json = HeaderValue::from_static("application/json");
        let headers: HeaderMap = [(ACCEPT, json)].into_iter().collect();
        let answer = ask(network, uri, headers, now).await?;
        if answer.status() != StatusCode::OK {
            return Err(FaultKind::Status(answer.status().as_u16()).into());
        }
        check_issuer_of(answer.body(), &self.issuer)?;
        Ok(answer.into_body())
    }
}

impl Place {
    fn known(&self) -> Known {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Returns `true` if it was requested within this time and had no metadata.
    fn was_empty(&self, within: Duration) -> bool {
        match self.known() {
            Known::Empty(at) => monotonic().saturating_duration_since(at) < within,
            Known::Nothing | Known::Metadata => false,
        }
    }
}
