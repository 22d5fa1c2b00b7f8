//! Handover of a running proxy to a new process without resetting miners: the listening sockets and the plain
//! connections go over, with the state of each miner. It has two phases. First the new process gets the
//! listening sockets and does everything that can fail, while the old one serves its miners. Then the miners
//! go over, within one deadline for all. Any failure before the old process has confirmed the transfer leaves
//! the miners with it.
//!
//! Frames over the control socket: a length, a number of descriptors, JSON; the descriptors are sent with the
//! first byte. Encrypted connections cannot be handed over: those miners are reset, and reconnect within a
//! second.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::{Arrival, ArrivalKind};
use hstratum_core::plural::counted;
use hstratum_core::proxy::MinerState;
use hstratum_core::units::{Difficulty, hex, unhex};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::limits::{HANDOVER_FRAME_BYTES, HANDOVER_MS, LISTENERS_MAX, PREPARE_MS};

/// Line that requests the handover. Another version of the format has another number.
pub(super) const ASK: &str = "hand over 2";
/// Messages of the new process: it lacks only the miners; it has received them.
const READY: &[u8; 6] = b"ready\n";
const TAKEN: &[u8; 6] = b"taken\n";
/// Message of the old process: it has released them.
const YOURS: &[u8; 6] = b"yours\n";
/// Greatest number of descriptors of one frame.
const DESCRIPTORS_MAX: usize = LISTENERS_MAX + 1;
/// Bytes of a frame's header: its length and the number of its descriptors.
const HEAD_BYTES: usize = 5;

/// Content of a frame.
#[derive(Serialize, Deserialize)]
enum Frame {
    /// The descriptors are listening sockets, for miners and for HTTP.
    Listeners,
    /// The descriptors are a miner's connection, and its link to a server if it has one.
    Miner(Box<MinerFrame>),
    /// Servers that the operator has taken out.
    Drained(Vec<String>),
    /// End of the transfer.
    End,
}

#[derive(Serialize, Deserialize)]
struct MinerFrame {
    state: MinerState,
    address: IpAddr,
    is_proxy: bool,
    /// Queued bytes in hex: to the miner, and to its server.
    out: String,
    link_out: String,
}

/// A connection in transfer: its descriptor, and the bytes queued to leave on it.
pub(super) struct HandoverState<Fd> {
    pub fd: Fd,
    pub out: Vec<u8>,
}

/// A miner in transfer.
pub(super) struct HandoverMiner<Fd> {
    pub conn: HandoverState<Fd>,
    pub arrival: Arrival,
    pub link: Option<HandoverState<Fd>>,
    pub state: MinerState,
}

/// Everything that another process gets before the miners.
#[derive(Default)]
pub struct Offered {
    pub listeners: Vec<OwnedFd>,
    /// Names of servers that the operator has taken out.
    pub drained: Vec<String>,
}

/// Connection between the two processes, with a deadline for the whole exchange.
pub(super) struct HandoverLine<'a> {
    stream: &'a UnixStream,
    due: Instant,
}

/// The old process, seen by the new one; it keeps the miners until it has confirmed their release.
pub(super) struct HandoverGiver {
    stream: UnixStream,
    shown: String,
}

/// Sends the offer to the process that wants to take over, and waits until it lacks only the miners. These
/// are served meanwhile.
///
/// # Errors
/// When it does not become ready.
pub(super) fn offer(stream: &UnixStream, offered: &Offered) -> anyhow::Result<()> {
    let line = HandoverLine::new(stream, PREPARE_MS);
    let fds: Vec<BorrowedFd<'_>> = offered.listeners.iter().map(AsFd::as_fd).collect();
    line.send(&Frame::Listeners, &fds)?;
    line.send(&Frame::Drained(offered.drained.clone()), &[])?;
    line.expect(READY)
}

/// Transfers all miners, and waits until the other process has them.
///
/// # Errors
/// When that fails: then everything is still ours.
pub(super) fn give<'a>(
    stream: &UnixStream,
    miners: impl Iterator<Item = HandoverMiner<BorrowedFd<'a>>>,
) -> anyhow::Result<()> {
    let line = HandoverLine::new(stream, HANDOVER_MS);
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
        line.send(&frame, &fds)?;
    }
    line.send(&Frame::End, &[])?;
    line.expect(TAKEN)?;
    line.write_all(YOURS)
}

impl HandoverGiver {
    /// Requests a handover from the proxy of a control socket; `None` if there is no proxy.
    ///
    /// # Errors
    /// When it makes no offer.
    pub(super) fn ask(path: &Path) -> anyhow::Result<Option<(Self, Offered)>> {
        let Ok(stream) = UnixStream::connect(path) else {
            return Ok(None);
        };
        let shown = path.display().to_string();
        let giver = Self { stream, shown };
        let offered = giver.while_taking(|| {
            let line = HandoverLine::new(&giver.stream, PREPARE_MS);
            line.write_all(format!("{ASK}\n").as_bytes())?;
            let mut offered = Offered::default();
            loop {
                match line.receive()? {
                    (Frame::Listeners, fds) => offered.listeners = fds,
                    (Frame::Drained(names), _) => {
                        offered.drained = names;
                        return Ok(offered);
                    }
                    _ => bail!("it says something else"),
                }
            }
        })?;
        Ok(Some((giver, offered)))
    }

    /// Takes the miners, at most `most`, once everything is ready.
    ///
    /// # Errors
    /// When they are not ours; then the other process still has them.
    pub(super) fn take(self, most: usize) -> anyhow::Result<Vec<HandoverMiner<OwnedFd>>> {
        self.while_taking(|| {
            // Longer than the other process takes to decide, so that released miners are always received.
            let line = HandoverLine::new(&self.stream, HANDOVER_MS + PREPARE_MS);
            line.write_all(READY)?;
            let mut miners = Vec::new();
            loop {
                match line.receive()? {
                    (Frame::Miner(frame), fds) => miners.push(moving(*frame, fds)?),
                    (Frame::End, _) => break,
                    _ => bail!("it says something else"),
                }
            }
            let count = miners.len();
            ensure!(
                count <= most,
                "it has {}, and there is room for {most}",
                counted(count, "miner")
            );
            line.write_all(TAKEN)?;
            line.expect(YOURS)?;
            Ok(miners)
        })
    }

    fn while_taking<T>(&self, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let shown = &self.shown;
        act().with_context(|| format!("failed to take over from the proxy at {shown}"))
    }
}

impl<'a> HandoverLine<'a> {
    fn new(stream: &'a UnixStream, time_ms: u64) -> Self {
        Self {
            stream,
            due: Instant::now() + Duration::from_millis(time_ms),
        }
    }

    /// Limits the next call on the socket to the time left.
    fn limit(&self) -> anyhow::Result<()> {
        let left = self.due.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "the other process takes too long");
        self.stream.set_read_timeout(Some(left))?;
        self.stream.set_write_timeout(Some(left))?;
        Ok(())
    }

    fn write_all(&self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            self.limit()?;
            match (&mut &*self.stream).write(bytes) {
                Ok(0) => bail!("it has closed the connection"),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read_exact(&self, mut into: &mut [u8]) -> anyhow::Result<()> {
        while !into.is_empty() {
            self.limit()?;
            match (&mut &*self.stream).read(into) {
                Ok(0) => bail!("it has closed the connection"),
                Ok(read) => into = &mut into[read..],
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn expect(&self, word: &[u8; 6]) -> anyhow::Result<()> {
        let mut answer = [0; 6];
        self.read_exact(&mut answer)?;
        let said = String::from_utf8_lossy(&answer);
        ensure!(answer == *word, "the other process says {said:?}");
        Ok(())
    }

    fn send(&self, frame: &Frame, fds: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
        let mut bytes = vec![0; HEAD_BYTES];
        serde_json::to_writer(&mut bytes, frame)?;
        let length = u32::try_from(bytes.len() - HEAD_BYTES)?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[4] = u8::try_from(fds.len())?;
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            let has_room = control.push(SendAncillaryMessage::ScmRights(fds));
            assert!(has_room, "a frame has few descriptors");
        }
        self.limit()?;
        let flags = SendFlags::NOSIGNAL;
        let sent = sendmsg(self.stream, &[IoSlice::new(&bytes)], &mut control, flags);
        let sent = sent.map_err(io::Error::from)?;
        self.write_all(&bytes[sent..])
    }

    fn receive(&self) -> anyhow::Result<(Frame, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut head = [0; HEAD_BYTES];
        self.limit()?;
        let into = &mut [IoSliceMut::new(&mut head)];
        let received = recvmsg(self.stream, into, &mut control, RecvFlags::CMSG_CLOEXEC);
        let received = received.map_err(io::Error::from)?;
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if received.bytes == 0 {
            bail!("it has closed the connection");
        }
        let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
        self.read_exact(&mut head[received.bytes..])?;
        let [a, b, c, d, count] = head;
        ensure!(
            !is_cut && fds.len() == usize::from(count),
            "only {} of {count} descriptors came: this process has reached its limit of file descriptors",
            fds.len()
        );
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        ensure!(length <= HANDOVER_FRAME_BYTES, "a frame of {length} bytes");
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes)?;
        Ok((serde_json::from_slice(&bytes)?, fds))
    }
}

fn is_for_later(error: &io::Error) -> bool {
    // The deadline is checked before the next attempt.
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

fn moving(frame: MinerFrame, fds: Vec<OwnedFd>) -> anyhow::Result<HandoverMiner<OwnedFd>> {
    let bytes = |text: &str| unhex(text).context("expected hex digits");
    let mut fds = fds.into_iter();
    let conn = HandoverState {
        fd: fds.next().context("a miner without a connection")?,
        out: bytes(&frame.out)?,
    };
    let link_out = bytes(&frame.link_out)?;
    Ok(HandoverMiner {
        conn,
        arrival: Arrival {
            address: frame.address,
            kind: match frame.is_proxy {
                true => ArrivalKind::Proxy,
                false => ArrivalKind::Miner,
            },
            difficulty: Difficulty::new(1.0).expect("above 0"),
            payout: Payout::default(),
        },
        link: fds.next().map(|fd| HandoverState { fd, out: link_out }),
        state: frame.state,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn giver_of(stream: UnixStream) -> HandoverGiver {
        let shown = "a test".to_owned();
        HandoverGiver { stream, shown }
    }

    #[test]
    fn sockets_go_over_and_the_giver_knows() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control");
        let control = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let taking = std::thread::spawn(move || {
            let (giver, offered) = HandoverGiver::ask(&path).expect("offered").expect("there");
            (offered, giver.take(0).expect("taken").len())
        });
        let (stream, _) = control.accept().expect("asked");
        let mut asked = [0; ASK.len() + 1];
        (&stream).read_exact(&mut asked).expect("a line");
        let offered = Offered {
            listeners: vec![listener.into()],
            drained: vec!["a:3008".to_owned()],
        };
        offer(&stream, &offered).expect("it is ready");
        give(&stream, std::iter::empty()).expect("given");
        drop(offered);
        let (taken, miners) = taking.join().expect("no panic");
        assert_eq!((taken.drained, miners), (vec!["a:3008".to_owned()], 0));
        let [fd] = <[OwnedFd; 1]>::try_from(taken.listeners).expect("one listener");
        let listener = TcpListener::from(fd);
        let _peer = TcpStream::connect(address).expect("it still listens");
        listener.accept().expect("a connection");
    }

    #[test]
    fn a_taker_that_goes_away_is_noticed() {
        let (giver, taker) = UnixStream::pair().expect("a pair");
        drop(taker);
        assert!(offer(&giver, &Offered::default()).is_err());
        assert!(give(&giver, std::iter::empty()).is_err());
    }

    #[test]
    fn a_frame_that_has_lost_a_descriptor_is_noticed() {
        let (giver, taker) = UnixStream::pair().expect("a pair");
        let text = br#""Listeners""#;
        let length = u8::try_from(text.len()).expect("short");
        (&giver).write_all(&[0, 0, 0, length, 2]).expect("sent");
        (&giver).write_all(text).expect("sent");
        let error = giver_of(taker).take(1).err().expect("refused");
        let text = format!("{error:#}");
        assert!(text.contains("only 0 of 2 descriptors came"), "{text}");
    }

    #[test]
    fn who_was_not_told_that_the_miners_are_its_own_has_none() {
        let (giver, taker) = UnixStream::pair().expect("a pair");
        HandoverLine::new(&giver, 1_000)
            .send(&Frame::End, &[])
            .expect("sent");
        drop(giver);
        assert!(giver_of(taker).take(1).is_err());
    }
}
