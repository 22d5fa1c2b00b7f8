//! Ports for servers that tests start.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports of one process.
const OF_PROCESS: u16 = 200;

/// A port that is free and stays so: it is below those that connections get, and nobody else in this process has it.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another process begins elsewhere.
    let begin = 20_000 + (std::process::id() % 50) as u16 * OF_PROCESS;
    loop {
        let port = begin + NEXT.fetch_add(1, Ordering::Relaxed) % OF_PROCESS;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
