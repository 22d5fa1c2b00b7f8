//! A port that miners connect to: bound from the start to the end, listening or refusing.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};

use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::limits::LISTEN_BACKLOG;

/// Binds and listens. `::` accepts IPv4 too, and becomes 0.0.0.0 on a system without IPv6.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let is_dual = address.is_ipv6() && address.ip().is_unspecified();
    match bind_one(address) {
        Err(error) if is_dual && is_without_ipv6(&error) => {
            bind_one((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

/// Accepts connections again.
pub(crate) fn listen(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    // Needed because of the existing connections.
    socket.set_reuse_address(true)?;
    socket.listen(LISTEN_BACKLOG)
}

/// Refuses connections. On Linux a listening socket that is shut down does so, and keeps its port.
pub(crate) fn refuse(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.shutdown(Shutdown::Read)?;
    // Otherwise another process could bind the port meanwhile.
    socket.set_reuse_address(false)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let mut socket = bind_socket(address)?;
    if address.port() == 0 {
        // A port that was chosen by the system is lost when listening stops, so it is bound again by its
        // number.
        let found = socket.local_addr()?;
        let found = found.as_socket().expect("an internet address");
        socket = bind_socket(found)?;
    }
    socket.listen(LISTEN_BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn bind_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart need not wait until the last connections have timed out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    code == Some(Errno::AFNOSUPPORT.raw_os_error())
        || code == Some(Errno::ADDRNOTAVAIL.raw_os_error())
}
