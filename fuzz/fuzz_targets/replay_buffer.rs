#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tower_key_failover_fuzz::replay_buffer::run(data));
