//! TLS client as in a miner, for `hstratum mine`, `doctor` and `verify`.
//!
//! The server's certificate is not verified: miners in the field do not verify it, and many pools have a
//! self-signed one. The name and password of an account are sent over it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, IpAddr, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// Bytes of TLS read at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// TLS configuration as in a miner.
///
/// # Errors
/// When the cryptography provider supports none of the usual versions.
pub fn config() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth())
}

/// A miner's connection. Clones share it: one may read while another writes.
#[derive(Clone)]
pub struct Wire {
    socket: Arc<TcpStream>,
    tls: Option<Arc<Mutex<ClientConnection>>>,
}

impl Wire {
    /// A connection without TLS.
    #[must_use]
    pub fn plain(socket: TcpStream) -> Self {
        Self {
            socket: Arc::new(socket),
            tls: None,
        }
    }

    /// A connection with TLS. The handshake is done here, within the socket's time limits.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn tls(mut socket: TcpStream) -> io::Result<Self> {
        let name = ServerName::IpAddress(IpAddr::from(socket.peer_addr()?.ip()));
        let config = Arc::new(config().map_err(io::Error::other)?);
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self {
            socket: Arc::new(socket),
            tls: Some(Arc::new(Mutex::new(tls))),
        })
    }

    /// The underlying socket, to set its limits.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else {
            return (&*self.socket).read(into);
        };
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            match tls.lock().reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            // Reads without holding the lock, so that others may write.
            let length = (&*self.socket).read(&mut chunk)?;
            let mut tls = tls.lock();
            let mut unread = &chunk[..length];
            if unread.is_empty() {
                tls.read_tls(&mut unread)?;
            }
            while !unread.is_empty() {
                tls.read_tls(&mut unread)?;
                tls.process_new_packets().map_err(io::Error::other)?;
            }
            flush(&mut tls, &self.socket)?;
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else {
            return (&*self.socket).write(bytes);
        };
        let mut tls = tls.lock();
        let length = tls.writer().write(bytes)?;
        flush(&mut tls, &self.socket)?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn flush(tls: &mut ClientConnection, mut socket: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut socket)?;
    }
    Ok(())
}

/// Verifier that accepts any certificate.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
