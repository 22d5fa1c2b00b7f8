//! The driver's side of a handover, in both directions.

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::bail;
use hstratum_core::event::CloseHow;
use hstratum_core::plural::counted;
use hstratum_core::proxy::BackendDrain;

use super::driver::ProxyDriver;
use crate::driver::io::{DriverIo, SystemIo};
use crate::net::ConnOrigin;
use crate::proxy::handover::{self, HandoverMiner, HandoverState, Offered};
use crate::proxy::io::ProxyIo;
use crate::stderr;

impl<S: ProxyIo> ProxyDriver<S> {
    /// Everything that another process gets before the miners.
    pub(super) fn offer(&self) -> anyhow::Result<Offered> {
        let http = self.http.as_ref().map(TcpListener::as_fd);
        let listeners = self.net.listener_fds().into_iter().chain(http);
        let listeners: Result<_, _> = listeners.map(|fd| fd.try_clone_to_owned()).collect();
        let backends = &self.settings.backends;
        let drained = self.drained.iter();
        Ok(Offered {
            listeners: listeners?,
            drained: drained.map(|&place| backends[place].name.clone()).collect(),
        })
    }
}

impl ProxyDriver<SystemIo> {
    /// Takes over the miners of another process.
    pub(super) fn take_over(&mut self, drained: &[String], miners: Vec<HandoverMiner<OwnedFd>>) {
        // The other process may have switched to refusing; these rules start with accepting.
        if let Err(error) = self.net.net.listen_anew() {
            stderr::line("error", format!("failed to listen: {error}"));
        }
        for name in drained {
            // A server that is no longer configured needs no drain.
            self.drain(name, BackendDrain::Out);
        }
        let mut taken = 0;
        for miner in miners {
            match self.take_over_one(miner) {
                Ok(()) => taken += 1,
                Err(error) => {
                    let text = format!("failed to take over a miner: {error:#}");
                    stderr::line("warning", &text);
                }
            }
        }
        stderr::line("info", format!("taken over: {}", counted(taken, "miner")));
    }

    fn take_over_one(&mut self, miner: HandoverMiner<OwnedFd>) -> anyhow::Result<()> {
        let HandoverMiner {
            conn,
            arrival,
            link,
            state,
        } = miner;
        let socket = TcpStream::from(conn.fd);
        let net = &mut self.net.net;
        let conn = net.adopt(socket, arrival, ConnOrigin::Accepted, &conn.out)?;
        let link = link.and_then(|link| {
            let socket = TcpStream::from(link.fd);
            let adopted = net.adopt(socket, arrival, ConnOrigin::Dialed, &link.out);
            adopted.ok()
        });
        if !self.go_on_with((conn, arrival), link, state) {
            self.net.close(conn, CloseHow::Reset);
            bail!("it cannot be read");
        }
        Ok(())
    }

    /// Hands the miners over to another process, if it confirms in time; returns true if it did.
    pub(super) fn hand_over(&mut self, stream: &UnixStream) -> bool {
        self.freeze();
        let net = &self.net.net;
        let mut kept = HashSet::new();
        let miners = self.proxy.hand_over().filter_map(|(conn, link, state)| {
            let moving = |(fd, out, _)| HandoverState {
                fd,
                out: <[u8]>::to_vec(out),
            };
            let handle = net.handle_of(conn)?;
            let arrival = handle.2;
            kept.insert(conn);
            kept.extend(link);
            Some(HandoverMiner {
                conn: moving(handle),
                arrival,
                link: link.and_then(|link| net.handle_of(link)).map(moving),
                state,
            })
        });
        match handover::give(stream, miners) {
            Ok(()) => {
                stderr::line("info", "another process goes on");
                self.net.net.leave_to_others(&kept);
                true
            }
            Err(error) => {
                stderr::line("error", format!("failed to hand over: {error:#}"));
                self.go_on();
                false
            }
        }
    }
}
