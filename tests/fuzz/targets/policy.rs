#![no_main]
#[path = "../properties.rs"]
mod properties;
#[path = "../seeds.rs"]
mod seeds;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::policy(data));
