//! Relates a request's full path to what axum's nested routers matched of it.

use std::borrow::Cow;

use http::Request;
use smallvec::{SmallVec, smallvec};

use crate::middleware::routes::path;

/// The paths and patterns of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths<'a> {
    /// The path before any nesting.
    pub(crate) full: &'a str,
    /// The path as it is now.
    pub(crate) current: &'a str,
    /// The pattern that axum matched, before any nesting.
    pub(crate) matched: Option<&'a str>,
    /// The pattern at which axum has nested what is reached.
    pub(crate) nested: Option<&'a str>,
    /// The names and decoded values of the parameters in all patterns that axum matched on the way,
    /// once they were needed.
    pub(crate) parameters: Option<&'a Parameters<'a>>,
}

pub(crate) type Parameters<'p> = [(&'p str, &'p str)];

/// Why it is unclear where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The path is ambiguous.
    Ambiguous,
    /// The parameters must be known.
    Parameters,
}

/// The most ways to assign parameters of the same name that are followed.
const MAX_WAYS: usize = 16;

impl<'a> Paths<'a> {
    #[cfg(feature = "axum")]
    pub(crate) fn of<B>(request: &'a Request<B>, parameters: Option<&'a Parameters<'a>>) -> Self {
        use axum::extract::{MatchedPath, NestedPath, OriginalUri};
        let current = request.uri().path();
        let full = request.extensions().get::<OriginalUri>().map_or(current, |uri| uri.path());
        let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let nested = request.extensions().get::<NestedPath>().map(NestedPath::as_str);
        Self { full, current, matched, nested, parameters }
    }

    #[cfg(not(feature = "axum"))]
    pub(crate) fn of<B>(request: &'a Request<B>, parameters: Option<&'a Parameters<'a>>) -> Self {
        let path = request.uri().path();
        Self { full: path, current: path, matched: None, nested: None, parameters }
    }

    /// Returns `true` if nothing is nested, nothing was rewritten, and axum matched the path as it is.
    #[inline]
    pub(crate) fn are_plain(&self) -> bool {
        self.nested.is_none()
            && self.full == self.current
            && self.matched.is_none_or(|pattern| path::fits(pattern, self.full))
    }

    /// Returns `true` if the pattern that axum matched is for the full path. Nested routers append
    /// their patterns to those of the outer ones.
    pub(crate) fn are_matched(&self) -> bool {
        let Some(pattern) = self.matched else { return true };
        path::fits(pattern, self.full)
            || path::suffixes(pattern).any(|pattern| path::fits(pattern, self.full))
    }

    /// Returns the part of the nesting that axum removes from a path. It doesn't where a segment of the
    /// prefix is more than a parameter, or has a brace.
    pub(crate) fn taken_off(&self) -> &'a str {
        let nested = self.nested.unwrap_or_default().trim_end_matches('/');
        let mut from = 0;
        for segment in nested.split('/') {
            let is_parameter = segment.starts_with('{')
                && segment.ends_with('}')
                && !segment.starts_with("{{")
                && !segment.ends_with("}}");
            if segment.contains(['{', '}']) && !is_parameter {
                return nested.get(..from).unwrap_or_default().trim_end_matches('/');
            }
            from = from.saturating_add(segment.len()).saturating_add(1);
        }
        nested
    }

    /// Returns the number of segments that axum has removed.
    pub(crate) fn depth(&self) -> usize {
        path::segments(self.taken_off())
    }

    /// Returns the prefixes that nesting may have removed, with the values of parameters. Nearly
    /// always there is one.
    pub(crate) fn prefixes(&self) -> Result<SmallVec<[Cow<'a, str>; 1]>, Doubt> {
        let nested = self.taken_off();
        if nested.contains('{') {
            Ok(self.filled(nested)?.into_iter().map(Cow::Owned).collect())
        } else {
            Ok(smallvec![Cow::Borrowed(nested)])
        }
    }

    /// Returns what axum matched, with the values of parameters.
    pub(crate) fn matched_paths(&self) -> Result<Vec<String>, Doubt> {
        self.matched.map_or(Ok(Vec::new()), |pattern| self.filled(pattern))
    }

    fn filled(&self, pattern: &str) -> Result<Vec<String>, Doubt> {
        let parameters = self.parameters.ok_or(Doubt::Parameters)?;
        let mut ways = Vec::new();
        fill(pattern, parameters, String::new(), &mut ways);
        match ways.len() {
            1..MAX_WAYS => Ok(ways),
            _ => Err(Doubt::Ambiguous),
        }
    }

    /// Returns `true` if the full path is a prefix that nesting removed, followed by the current path.
    pub(crate) fn are_whole_with(&self, prefix: &str) -> bool {
        let rest = path::suffixes(self.full).nth(path::segments(prefix));
        let rest = rest.unwrap_or(if self.full.ends_with('/') { "/" } else { "" });
        let Some(before) = self.full.strip_suffix(rest) else { return false };
        let is_rest = rest == self.current || (rest.is_empty() && self.current == "/");
        is_rest && (before == prefix || path::decode(before) == path::decode(prefix))
    }

    /// Returns `true` if nothing was removed from the path since the first router, though something is nested.
    pub(crate) fn are_untouched(&self) -> bool {
        self.full == self.current
            && self.taken_off() != self.nested.unwrap_or_default().trim_end_matches('/')
    }
}

/// Reads the parameters of all patterns that axum has matched; `None` if they aren't
/// UTF-8.
#[cfg(feature = "axum")]
pub(crate) fn with_parameters<B, T>(
    request: &mut Request<B>,
    look: impl FnOnce(&Request<B>, &Parameters<'_>) -> Option<T>,
) -> Option<T> {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use axum::extract::rejection::RawPathParamsRejection;
    use axum::extract::{FromRequestParts as _, RawPathParams};

    let (mut parts, ()) = Request::new(()).into_parts();
    std::mem::swap(&mut parts.extensions, request.extensions_mut());
    let found = {
        // It never waits.
        let extract = pin!(RawPathParams::from_request_parts(&mut parts, &()));
        extract.poll(&mut Context::from_waker(Waker::noop()))
    };
    std::mem::swap(&mut parts.extensions, request.extensions_mut());
    match found {
        Poll::Ready(Ok(found)) => {
            let parameters: SmallVec<[_; 8]> = found.iter().collect();
            look(request, &parameters)
        }
        Poll::Ready(Err(RawPathParamsRejection::MissingPathParams(_))) => look(request, &[]),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

/// Without axum, nothing is nested, and no parameters are needed.
#[cfg(not(feature = "axum"))]
pub(crate) fn with_parameters<B, T>(
    _: &mut Request<B>,
    _: impl FnOnce(&Request<B>, &Parameters<'_>) -> Option<T>,
) -> Option<T> {
    None
}

/// Replaces a pattern's parameters by values. Of several with the same name, any may be the
/// right one; those of a pattern follow each other.
fn fill(pattern: &str, parameters: &Parameters<'_>, mut filled: String, ways: &mut Vec<String>) {
    if ways.len() >= MAX_WAYS {
        return;
    }
    let literal = pattern.find(['{', '}']).unwrap_or(pattern.len());
    let (before, special) = pattern.split_at_checked(literal).unwrap_or((pattern, ""));
    filled.push_str(before);
    if special.is_empty() {
        if !ways.contains(&filled) {
            ways.push(filled);
        }
        return;
    }
    if let Some(after) = special.strip_prefix("{{").or_else(|| special.strip_prefix("}}")) {
        filled.push_str(special.get(..1).unwrap_or_default());
        fill(after, parameters, filled, ways);
        return;
    }
    let Some((name, after)) = special.split_once('}') else { return };
    let name = name.trim_start_matches('{');
    let (name, slashes) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
    for (at, (_, value)) in parameters.iter().enumerate().filter(|(_, (known, _))| *known == name) {
        let mut filled = filled.clone();
        path::push_encoded(&mut filled, value, slashes);
        let following = parameters.get(at.saturating_add(1)..).unwrap_or_default();
        fill(after, following, filled, ways);
    }
}
