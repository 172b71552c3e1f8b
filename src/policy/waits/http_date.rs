//! HTTP dates.

use jiff::Timestamp;

/// The moment of an HTTP date, in any of its three forms.
pub(in crate::policy) fn parse(text: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Timestamp::try_from(date).ok()
}
