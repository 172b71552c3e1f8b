//! Azure OpenAI: `{"error":{"code":"<string>","message"}}`.

use super::openai;
use crate::policy::credentials::{Carrier, Places};
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;
use crate::policy::scope_in_path;

pub(super) const DIALECT: Dialect = Dialect {
    name: "azure_openai",
    places: Places {
        carrier: Carrier::Header("api-key"),
        accepts: &["authorization"],
        accepts_in_query: &["api-key", "subscription-key"],
        ..openai::PLACES
    },
    scope_in_path: scope_in_path::azure,
    finding,
    ..openai::DIALECT
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    match (response.status().as_u16(), response.text("/error/code")) {
        (401 | 403, "PermissionDenied") => Some(Finding::Here),
        // The code of a 403 is mostly "403", whatever it is about.
        (403, _) if response.says(&["temporarily blocked", "out of call volume quota"]) => {
            Some(Finding::Quota(Reach::Account, None))
        }
        (403, "AccessDenied") => Some(Finding::Here),
        (403, _)
            if response.says(&["virtual network", "firewall", "public access is disabled"]) =>
        {
            Some(Finding::Here)
        }
        // Too little capacity for everyone.
        (429, _) if response.says(&["high demand"]) => Some(Finding::NotTheKey),
        _ => openai::finding(response),
    }
}
