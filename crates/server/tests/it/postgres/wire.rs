//! Proxy between a server and its database that cuts a connection at one of the commits that write batches.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Message that is lost with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The commit request: the database rolls everything back.
    Order,
    /// The answer: the database has committed, and the client does not know.
    Answer,
}

/// The proxy. Its threads end with the connections, and the last one with the program.
pub(crate) struct Wire {
    port: u16,
    next: Next,
}

/// Message that the next commit loses.
#[derive(Clone, Default)]
struct Next(Arc<Mutex<Option<Lost>>>);

impl Next {
    fn get(&self) -> MutexGuard<'_, Option<Lost>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    /// Starts a proxy to the database at a port of loopback.
    pub(crate) fn to(database: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let next = Next::default();
        let cuts = next.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", database)) {
                    pass(client, server, cuts.clone());
                }
            }
        });
        Self { port, next }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://pool@127.0.0.1:{}/pool", self.port)
    }

    /// Makes the next commit of batches lose this message.
    pub(crate) fn lose(&self, lost: Lost) {
        *self.next.get() = Some(lost);
    }

    /// True once it has lost it.
    pub(crate) fn has_lost(&self) -> bool {
        self.next.get().is_none()
    }
}

fn pass(client: TcpStream, server: TcpStream, next: Next) {
    let is_deaf = Arc::new(AtomicBool::new(false));
    let deaf = is_deaf.clone();
    let both = || {
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        (clone(&client), clone(&server))
    };
    let (mut from, mut to) = both();
    thread::spawn(move || {
        let mut ships = false;
        copy(&mut from, &mut to, |bytes| {
            ships |= contains(bytes, b"INTO batches");
            if !ships || !contains(bytes, b"COMMIT") {
                return true;
            }
            match next.get().take() {
                None => true,
                Some(Lost::Order) => false,
                Some(Lost::Answer) => {
                    deaf.store(true, Ordering::SeqCst);
                    true
                }
            }
        });
    });
    let (mut to, mut from) = both();
    thread::spawn(move || copy(&mut from, &mut to, |_| !is_deaf.load(Ordering::SeqCst)));
}

/// Copies bytes until either side has closed or `passes` refuses some; then closes both.
fn copy(from: &mut TcpStream, to: &mut TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer)
        && passes(&buffer[..length])
        && to.write_all(&buffer[..length]).is_ok()
    {}
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
