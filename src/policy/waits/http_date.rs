//! HTTP dates.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The moment of an HTTP date, in any of its three forms. The name of the day is not checked.
pub(in crate::policy) fn parse(text: &str) -> Option<Timestamp> {
    // IMF-fixdate, the form of RFC 850 and that of C's `asctime`. Only the last has no comma.
    let text = text.trim();
    let date = match text.split_once(',') {
        Some((_, rest)) => rest.trim_start().strip_suffix(" GMT")?,
        None => text.split_once(' ')?.1,
    };
    [
        "%d %b %Y %H:%M:%S",
        "%d-%b-%y %H:%M:%S",
        "%b %e %H:%M:%S %Y",
    ]
    .iter()
    .find_map(|form| DateTime::strptime(form, date).ok())
    .and_then(|date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn http_dates_are_read_in_all_three_forms() {
        let moment = "1994-11-06T08:49:37Z".parse().ok();
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text), moment, "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_http_dates() {
        for text in [
            "",
            "120",
            "tomorrow",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 PST",
            "Sun, 36 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
