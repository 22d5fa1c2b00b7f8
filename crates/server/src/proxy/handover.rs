//! A restart that nobody notices: the listening sockets and the plain connections go to the process
//! that comes after, with what is known of each miner.
//!
//! Frames over the control socket: a length, JSON, and the descriptors that it is about. The old
//! process has lost nothing until the new one has said that it has all. What is encrypted cannot be
//! handed over: those miners are reset, and are back within a second.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hstratum_core::event::{Arrival, ArrivalKind};
use hstratum_core::proxy::MinerState;
use hstratum_core::units::{Difficulty, hex, unhex};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::limits::{HANDOVER_FRAME_BYTES, HANDOVER_MS, LISTENERS_MAX};

/// The line that asks for all.
pub(super) const ASK: &str = "hand over";
/// What the new process says when it has all.
const TAKEN: &[u8] = b"taken\n";
/// One frame is about so many descriptors at most.
const DESCRIPTORS_MAX: usize = LISTENERS_MAX + 1;

/// What a frame says.
#[derive(Serialize, Deserialize)]
enum Frame {
    /// The descriptors are listening sockets, for miners and for HTTP.
    Listeners,
    /// They are a miner's connection, and that to its server if it has one.
    Miner(Box<MinerFrame>),
    /// Servers that the operator has taken out.
    Drained(Vec<String>),
    /// That was all.
    End,
}

#[derive(Serialize, Deserialize)]
struct MinerFrame {
    state: MinerState,
    address: IpAddr,
    is_proxy: bool,
    /// Bytes that wait to leave, in hex: to the miner, and to its server.
    out: String,
    link_out: String,
}

/// A connection on its way: its descriptor, and the bytes that wait to leave on it.
pub(super) struct Moving<Fd> {
    pub fd: Fd,
    pub out: Vec<u8>,
}

/// A miner on its way.
pub(super) struct MovingMiner<Fd> {
    pub conn: Moving<Fd>,
    pub arrival: Arrival,
    pub link: Option<Moving<Fd>>,
    pub state: MinerState,
}

/// All that another process has handed over.
#[derive(Default)]
pub(super) struct Estate {
    pub listeners: Vec<OwnedFd>,
    /// Names of servers that the operator has taken out.
    pub drained: Vec<String>,
    pub miners: Vec<MovingMiner<OwnedFd>>,
}

/// Hands all over, and waits until the other process has it.
///
/// # Errors
/// When that cannot be: then everything is still ours.
pub(super) fn give<'a>(
    stream: &UnixStream,
    listeners: &[BorrowedFd<'_>],
    drained: Vec<String>,
    miners: impl Iterator<Item = MovingMiner<BorrowedFd<'a>>>,
) -> anyhow::Result<()> {
    let patience = Some(Duration::from_millis(HANDOVER_MS));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    send(stream, &Frame::Listeners, listeners)?;
    send(stream, &Frame::Drained(drained), &[])?;
    for miner in miners {
        let fds: Vec<BorrowedFd<'_>> = [miner.conn.fd]
            .into_iter()
            .chain(miner.link.as_ref().map(|link| link.fd))
            .collect();
        let link_out = miner.link.as_ref().map(|link| hex(&link.out));
        let frame = Frame::Miner(Box::new(MinerFrame {
            state: miner.state,
            address: miner.arrival.address,
            is_proxy: miner.arrival.kind == ArrivalKind::Proxy,
            out: hex(&miner.conn.out),
            link_out: link_out.unwrap_or_default(),
        }));
        send(stream, &frame, &fds)?;
    }
    send(stream, &Frame::End, &[])?;
    let mut answer = [0; TAKEN.len()];
    (&mut &*stream).read_exact(&mut answer)?;
    ensure!(answer == TAKEN, "the other process did not take it");
    Ok(())
}

fn send(mut stream: &UnixStream, frame: &Frame, fds: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, frame)?;
    let length = u32::try_from(bytes.len() - 4)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        let has_room = control.push(SendAncillaryMessage::ScmRights(fds));
        assert!(has_room, "a frame has few descriptors");
    }
    // The descriptors go with the first byte.
    let sent = sendmsg(
        stream,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map_err(io::Error::from)?;
    stream.write_all(&bytes[sent..])?;
    Ok(())
}

/// Asks the proxy of a control socket for all that it has; none when no proxy is there.
///
/// # Errors
/// When it does not hand it over: then it has lost nothing.
pub(super) fn take(path: &Path) -> anyhow::Result<Option<Estate>> {
    let Ok(mut stream) = UnixStream::connect(path) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(Duration::from_millis(HANDOVER_MS)))?;
    let shown = path.display();
    let estate = writeln!(stream, "{ASK}")
        .map_err(anyhow::Error::from)
        .and_then(|()| receive_all(&stream))
        .with_context(|| format!("failed to take over from the proxy at {shown}"))?;
    stream.write_all(TAKEN)?;
    Ok(Some(estate))
}

fn receive_all(stream: &UnixStream) -> anyhow::Result<Estate> {
    let mut estate = Estate::default();
    loop {
        let (frame, fds) = receive(stream)?;
        match frame {
            Frame::Listeners => estate.listeners = fds,
            Frame::Drained(names) => estate.drained = names,
            Frame::Miner(frame) => estate.miners.push(moving(*frame, fds)?),
            Frame::End => return Ok(estate),
        }
    }
}

fn moving(frame: MinerFrame, fds: Vec<OwnedFd>) -> anyhow::Result<MovingMiner<OwnedFd>> {
    let bytes = |text: &str| unhex(text).context("expected hex digits");
    let mut fds = fds.into_iter();
    let conn = Moving {
        fd: fds.next().context("a miner without a connection")?,
        out: bytes(&frame.out)?,
    };
    let link_out = bytes(&frame.link_out)?;
    Ok(MovingMiner {
        conn,
        arrival: Arrival {
            address: frame.address,
            kind: match frame.is_proxy {
                true => ArrivalKind::Proxy,
                false => ArrivalKind::Miner,
            },
            difficulty: Difficulty::new(1.0).expect("above 0"),
        },
        link: fds.next().map(|fd| Moving { fd, out: link_out }),
        state: frame.state,
    })
}

fn receive(mut stream: &UnixStream) -> anyhow::Result<(Frame, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut length = [0; 4];
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(io::Error::from)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.bytes == 0 {
        bail!("it has closed the connection");
    }
    stream.read_exact(&mut length[received.bytes..])?;
    let length = u32::from_be_bytes(length) as usize;
    ensure!(length <= HANDOVER_FRAME_BYTES, "a frame of {length} bytes");
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok((serde_json::from_slice(&bytes)?, fds))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn sockets_go_over_and_the_giver_knows() {
        let (giver, taker) = UnixStream::pair().expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let taking = std::thread::spawn(move || {
            let estate = receive_all(&taker).expect("all of it");
            (&mut &taker).write_all(TAKEN).expect("written");
            estate
        });
        give(
            &giver,
            &[listener.as_fd()],
            vec!["a:3008".to_owned()],
            std::iter::empty(),
        )
        .expect("given");
        drop(listener);
        let estate = taking.join().expect("no panic");
        assert_eq!(estate.drained, ["a:3008"]);
        let [fd] = <[OwnedFd; 1]>::try_from(estate.listeners).expect("one listener");
        let listener = TcpListener::from(fd);
        let _peer = TcpStream::connect(address).expect("it still listens");
        listener.accept().expect("a connection");
    }

    #[test]
    fn a_taker_that_goes_away_is_noticed() {
        let (giver, taker) = UnixStream::pair().expect("a pair");
        drop(taker);
        assert!(give(&giver, &[], Vec::new(), std::iter::empty()).is_err());
    }
}
