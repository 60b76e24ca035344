//! A socket, plain or under TLS, behind one interface.
//!
//! Promises, under TLS as without: a call moves what can be moved now and says how it ended; bytes arrive in
//! order and once. A read that moved fewer bytes than there was room has taken all that had arrived, so that
//! waiting for the socket is right after it; [`Stream::is_pending`] says when it is not. The certificate and
//! key of a connection are those in force when it was accepted. The plain socket costs one branch more.
//! Leaves to the caller: when to try again, and every deadline, that of the handshake too.
//!
//! TLS 1.2 and 1.3 by rustls with ring. Its state belongs to the connection and goes with it from thread to
//! thread. What it holds is bounded: two records received (some 36 KiB) and
//! [`TLS_UNSENT_BYTES_MAX`] to be sent.

use std::fmt;
use std::io::{self, BufRead as _, Read, Write};

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::{Socket, Transfer};
use crate::limits::TLS_UNSENT_BYTES_MAX;
use crate::sync::shim::library;

/// A server's certificate and key, ready to be used by any number of connections.
#[derive(Clone)]
pub struct Identity(library::Arc<ServerConfig>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(hidden)")
    }
}

/// Why a certificate and a key cannot be used. Shows nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file with the certificates is not what it must be.
    #[error("no certificate can be read from it: {0}; it is to be PEM, the server's certificate first")]
    Certificate(pem::Error),
    /// It holds no certificate.
    #[error("it holds no certificate; it is to be PEM, the server's certificate first")]
    NoCertificate,
    /// The key cannot be used.
    #[error("no private key can be read from it: {0}; it is to be PEM (PKCS #8, PKCS #1 or SEC 1)")]
    Key(pem::Error),
    /// The two do not belong together, or are of a kind that is not known.
    #[error("the certificate and the key cannot be used together: {0}")]
    Pair(rustls::Error),
}

impl Identity {
    /// The certificate chain, the server's own first, and its key, both PEM.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(IdentityError::Certificate)?;
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(IdentityError::Key)?;
        let provider = library::Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(IdentityError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(IdentityError::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(library::Arc::new(config)))
    }
}

/// A connected, non-blocking socket, plain or under TLS; closed when dropped.
#[derive(Debug)]
pub enum Stream {
    /// The bytes are those on the wire.
    Plain(Socket),
    /// The bytes on the wire are TLS records.
    Tls(Box<Tls>),
}

/// A socket under TLS.
pub struct Tls {
    socket: Socket,
    session: ServerConnection,
    /// The client has sent something.
    begun: bool,
    /// The client has said that it sends no more.
    finished: bool,
    /// Bytes that were read and not yet taken.
    untaken: bool,
}

impl Stream {
    /// `socket` as it is, or as a server's end of TLS under `identity`.
    ///
    /// # Errors
    /// When the state of TLS cannot be made, which rustls names.
    pub fn new(socket: Socket, identity: Option<&Identity>) -> Result<Self, rustls::Error> {
        let Some(Identity(config)) = identity else {
            return Ok(Self::Plain(socket));
        };
        let mut session = ServerConnection::new(library::Arc::clone(config))?;
        session.set_buffer_limit(Some(TLS_UNSENT_BYTES_MAX));
        Ok(Self::Tls(Box::new(Tls {
            socket,
            session,
            begun: false,
            finished: false,
            untaken: false,
        })))
    }

    /// The socket itself: what readiness is about.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    /// Reads into the spare capacity of `buffer`, which must not be empty: once, or under TLS until it is
    /// full or nothing more is there.
    #[inline]
    pub fn read(&mut self, buffer: &mut Vec<u8>) -> Transfer {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Writes once from `bytes`, which must not be empty. Under TLS what was moved may be held here:
    /// [`Stream::wants_write`].
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Transfer {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Whether bytes are held here that the socket did not take.
    #[inline]
    #[must_use]
    pub fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.wants_write(),
        }
    }

    /// Sends what is held here, as far as the socket takes it.
    ///
    /// # Errors
    /// When the connection is broken.
    #[inline]
    pub fn flush(&mut self) -> Result<(), io::ErrorKind> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Whether it is under TLS.
    #[inline]
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether a read would find something without the socket being ready.
    #[inline]
    #[must_use]
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.untaken || tls.finished,
        }
    }

    /// Whether the two ends have not yet agreed on keys.
    #[inline]
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.is_handshaking(),
        }
    }

    /// Whether they have begun to, and not finished.
    #[must_use]
    pub fn is_mid_handshake(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.begun && tls.session.is_handshaking())
    }

    /// Tells the peer that nothing more will be sent; it can still be read from.
    pub fn finish_sending(&mut self) {
        if let Self::Tls(tls) = self {
            tls.say_goodbye();
        }
        self.socket().finish_sending();
    }
}

impl Tls {
    fn read(&mut self, buffer: &mut Vec<u8>) -> Transfer {
        debug_assert!(buffer.capacity() > buffer.len(), "a read needs room");
        let before = buffer.len();
        let end = self.fill(buffer);
        // Replies of the handshake, and the alert that says what was wrong.
        if let Err(kind) = self.flush() {
            return Transfer::Broken(kind);
        }
        match buffer.len() - before {
            0 => end,
            count => Transfer::Moved(count),
        }
    }

    /// Fills the spare capacity of `buffer` as far as there are bytes; says why it stopped, which is
    /// `WouldBlock` also when the buffer is full.
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Transfer {
        loop {
            self.take(buffer);
            if self.untaken {
                return Transfer::WouldBlock;
            }
            if self.finished {
                return Transfer::End;
            }
            match self.session.read_tls(&mut Wire(&self.socket)) {
                Ok(0) if self.session.is_handshaking() => {
                    return Transfer::Broken(io::ErrorKind::UnexpectedEof);
                }
                // Without the goodbye of TLS. What it cut short is for the framing of HTTP to find, which
                // counts its bytes.
                Ok(0) => return Transfer::End,
                Ok(_) => self.begun = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Transfer::WouldBlock,
                Err(error) => return Transfer::Broken(error.kind()),
            }
            match self.session.process_new_packets() {
                Ok(state) => self.finished |= state.peer_has_closed(),
                Err(_) => {
                    // The alert; it is lost when there is no room, and the connection closes either way.
                    let _ = self.flush();
                    return Transfer::Broken(io::ErrorKind::InvalidData);
                }
            }
        }
    }

    /// Takes decrypted bytes into the spare capacity of `buffer`; what it does not take is `untaken`.
    fn take(&mut self, buffer: &mut Vec<u8>) {
        let mut reader = self.session.reader();
        self.untaken = loop {
            // Nothing there is an error of kind WouldBlock, or, at the end, no bytes.
            let Ok(bytes) = reader.fill_buf() else {
                break false;
            };
            if bytes.is_empty() {
                break false;
            }
            let count = bytes.len().min(buffer.capacity() - buffer.len());
            if count == 0 {
                break true;
            }
            buffer.extend_from_slice(&bytes[..count]);
            reader.consume(count);
        };
    }

    fn write(&mut self, bytes: &[u8]) -> Transfer {
        debug_assert!(!bytes.is_empty(), "a write needs bytes");
        if let Err(kind) = self.flush() {
            return Transfer::Broken(kind);
        }
        if self.session.wants_write() {
            return Transfer::WouldBlock;
        }
        // Encrypts into memory, as far as its limit allows.
        let count = self.session.writer().write(bytes).unwrap_or(0);
        match self.flush() {
            Err(kind) => Transfer::Broken(kind),
            Ok(()) if count == 0 => Transfer::WouldBlock,
            Ok(()) => Transfer::Moved(count),
        }
    }

    fn flush(&mut self) -> Result<(), io::ErrorKind> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Wire(&self.socket)) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.kind()),
            }
        }
        Ok(())
    }

    /// The alert close_notify (RFC 8446 section 6.1), so that the peer can tell the end from a cut.
    fn say_goodbye(&mut self) {
        self.session.send_close_notify();
        // A peer that takes nothing more will not miss it.
        let _ = self.flush();
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.say_goodbye();
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("socket", &self.socket)
            .field("handshaking", &self.session.is_handshaking())
            .finish_non_exhaustive()
    }
}

/// A socket as rustls wants it.
struct Wire<'a>(&'a Socket);

fn moved(transfer: Transfer) -> io::Result<usize> {
    match transfer {
        Transfer::Moved(count) => Ok(count),
        Transfer::End => Ok(0),
        Transfer::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
        Transfer::Broken(kind) => Err(kind.into()),
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        moved(self.0.read_into(bytes))
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        moved(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
