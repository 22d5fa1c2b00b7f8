//! TLS: loading the certificate, and the encrypted transport of a connection.
//!
//! Nothing waits here, and buffers stay small: incoming plaintext is taken before more is read, and at most
//! one record is queued to leave.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use mio::net::TcpStream;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection};

use crate::limits::{HANDSHAKE_BYTES_MAX, PEM_BYTES_MAX, TLS_RECORD_BYTES};
use crate::net::conn::ReadInput;
use crate::net::listener::{Encryption, ListenSpec};

/// Files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, the server's own first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Checks that a certificate and its key are configured together, and exactly when a listener speaks TLS.
///
/// # Errors
/// The option that is missing, or not used.
pub fn files(
    listen: &[ListenSpec],
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<TlsFiles>, String> {
    let is_used = listen
        .iter()
        .any(|spec| spec.encryption != Encryption::Never);
    let wrong = match (cert, key) {
        (Some(cert), Some(key)) if is_used => return Ok(Some(TlsFiles { cert, key })),
        (None, None) if !is_used => return Ok(None),
        (None, None) => "tls-cert is required, since listen has tls:// or auto://",
        (Some(_), None) => "tls-key is required with tls-cert",
        (None, Some(_)) => "tls-cert is required with tls-key",
        (Some(_), Some(_)) => "tls-cert is not used, since listen has no tls:// or auto://",
    };
    Err(wrong.to_owned())
}

/// Reads a certificate chain and its key, and makes the TLS configuration of new connections.
///
/// # Errors
/// Names the file that cannot be read, or that does not fit the other.
pub(crate) fn load(cert: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(&read_pem(cert).context("tls-cert")?)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("tls-cert: failed to read {}", cert.display()))?;
    ensure!(
        !chain.is_empty(),
        "tls-cert: failed to read {}: no certificate in it",
        cert.display()
    );
    let pem = read_pem(key).context("tls-key")?;
    let encrypted: [&[u8]; 2] = [b"ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    ensure!(
        !encrypted
            .iter()
            .any(|mark| pem.windows(mark.len()).any(|part| part == *mark)),
        "tls-key: failed to read {}: the key is encrypted; write it without a passphrase (openssl pkey -in … -out …)",
        key.display()
    );
    let private = PrivateKeyDer::from_pem_slice(&pem)
        .with_context(|| format!("tls-key: failed to read {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("failed to set up TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "tls-cert, tls-key: failed to use {} with {}",
                cert.display(),
                key.display()
            )
        })?;
    // Sessions are resumed by tickets, which the miner keeps; the server stores none.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new().context("failed to set up TLS")?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn read_pem(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut bytes))
        .with_context(|| format!("failed to read {}", path.display()))?;
    Ok(bytes)
}

/// The server's side of an encrypted connection.
pub(crate) struct TlsSession {
    inner: ServerConnection,
    /// Bytes read before the handshake was done.
    handshake_bytes: usize,
}

impl TlsSession {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            inner: ServerConnection::new(config)?,
            handshake_bytes: 0,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    /// True if encrypted bytes are queued to leave.
    pub(crate) fn wants_write(&self) -> bool {
        self.inner.wants_write()
    }

    /// Reads once and continues the handshake.
    pub(crate) fn shake_hands(&mut self, socket: &mut TcpStream) -> ReadInput {
        match self.take_in(socket) {
            ReadInput::Bytes(len) => {
                self.handshake_bytes += len;
                if self.handshake_bytes > HANDSHAKE_BYTES_MAX && self.is_handshaking() {
                    return ReadInput::Gone;
                }
                ReadInput::Again
            }
            other => other,
        }
    }

    /// Reads plaintext. The socket is read only when none is left.
    pub(crate) fn read(&mut self, socket: &mut TcpStream, into: &mut [u8]) -> ReadInput {
        match self.plaintext(into) {
            ReadInput::Nothing => {}
            other => return other,
        }
        match self.take_in(socket) {
            ReadInput::Bytes(_) => {}
            other => return other,
        }
        match self.plaintext(into) {
            ReadInput::Nothing => ReadInput::Again,
            other => other,
        }
    }

    /// Encrypts and writes as much as fits into one record; bytes taken count as written.
    pub(crate) fn write(&mut self, socket: &mut TcpStream, plaintext: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        let record = &plaintext[..plaintext.len().min(TLS_RECORD_BYTES)];
        let len = self.inner.writer().write(record)?;
        match self.flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(len),
        }
    }

    /// Writes all encrypted bytes.
    pub(crate) fn flush(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        while self.inner.wants_write() {
            match self.inner.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Queues the closing alert, by which the peer knows that nothing was cut off.
    pub(crate) fn say_goodbye(&mut self) {
        self.inner.send_close_notify();
    }

    fn plaintext(&mut self, into: &mut [u8]) -> ReadInput {
        match self.inner.reader().read(into) {
            Ok(0) => ReadInput::Finished,
            Ok(len) => ReadInput::Bytes(len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ReadInput::Nothing,
            Err(_) => ReadInput::Gone,
        }
    }

    /// Reads encrypted bytes once from the socket.
    fn take_in(&mut self, socket: &mut TcpStream) -> ReadInput {
        match self.inner.read_tls(socket) {
            Ok(0) => ReadInput::Gone,
            Ok(len) => match self.inner.process_new_packets() {
                Ok(_) => ReadInput::Bytes(len),
                Err(_) => {
                    // The alert tells whoever set the peer up what is wrong.
                    let _ = self.flush(socket);
                    ReadInput::Gone
                }
            },
            Err(error) => ReadInput::of_error(&error),
        }
    }
}
