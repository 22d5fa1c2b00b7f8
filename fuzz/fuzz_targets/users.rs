#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hstratum_fuzz::run("users", data));
