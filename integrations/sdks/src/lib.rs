//! Tests of `tower-key-failover` with provider SDKs.
