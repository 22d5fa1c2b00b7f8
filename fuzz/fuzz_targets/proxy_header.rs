#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hstratum_fuzz::run("proxy_header", data));
