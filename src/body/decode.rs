//! Undoing a content encoding, for evidence.
