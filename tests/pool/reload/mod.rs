//! A pool whose keys change while it is in use.

mod concurrent_changes;
mod groups;
mod reference_model;
mod replace;
mod replaced_secrets;
mod requests_in_flight;
mod single_keys;
