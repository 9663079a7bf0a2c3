//! Owns how a TCP stream becomes a TLS stream: one certificate for new connections, replaceable while running.
//! Never opens a socket, never reads a file, never sets a deadline (the caller bounds the handshake in time).

use std::future::Future;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// A server-side TLS connection over a stream.
pub use tokio_rustls::server::TlsStream;

/// Most bytes one connection holds inside TLS before a write has to wait: two records of 16 KiB. The engine
/// has its own counted queue; what lies below it should be small. An idle connection holds none of it.
const BUFFER_BYTES: usize = 32 * 1024;

/// A certificate or key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tls.{field}: {reason}")]
pub struct TlsConfigError {
    /// The option below `tls`: `cert` or `key`.
    pub field: &'static str,
    /// What is wrong. Contains no key material.
    pub reason: String,
}

/// A certificate chain with its key, checked and ready to serve: TLS 1.2 and 1.3, ALPN `http/1.1`, aws-lc-rs,
/// stateless session tickets, no client certificates, no early data (it could be replayed).
#[derive(Clone)]
pub struct TlsConfig(Arc<ServerConfig>);

impl TlsConfig {
    /// Reads a PEM chain (leaf first) and its PEM private key (PKCS#8, PKCS#1 or SEC1, not encrypted).
    ///
    /// # Errors
    /// [`TlsConfigError`] when either cannot be read, holds nothing, or they do not belong together.
    pub fn from_pem(cert: &[u8], key: &[u8]) -> Result<Self, TlsConfigError> {
        let error = |field, reason: String| TlsConfigError { field, reason };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|e| error("cert", format!("not readable as PEM: {e}")))?;
        if chain.is_empty() {
            return Err(error("cert", "holds no certificate in PEM form".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|e| error("key", format!("holds no unencrypted private key in PEM form: {e}")))?;

        // The provider is named, not taken from the process default, which another crate could have set.
        let provider = Arc::new(aws_lc_rs::default_provider());
        // Checked apart from the chain, so that the error names the option that is wrong.
        provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|e| error("key", format!("not usable: {e}")))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|e| error("cert", e.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| match e {
                rustls::Error::InconsistentKeys(_) => error("key", "does not belong to the certificate".to_owned()),
                e => error("cert", format!("not usable: {e}")),
            })?;
        // A WebSocket upgrade needs HTTP/1.1; a client that insists on h2 must fail here, not later.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Resumption lives in the client's ticket, so no session costs the server memory.
        config.ticketer =
            aws_lc_rs::Ticketer::new().map_err(|e| error("key", format!("no session ticket key: {e}")))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        Ok(Self(Arc::new(config)))
    }
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

/// The certificate for *new* connections. Shared by every thread that accepts.
#[derive(Debug)]
pub struct ReloadableTls {
    current: RwLock<TlsConfig>,
}

impl ReloadableTls {
    /// Starts with this configuration.
    pub fn new(config: TlsConfig) -> Self {
        Self { current: RwLock::new(config) }
    }

    /// Serves new connections with another pair from now on. Open connections and handshakes under way keep
    /// theirs; session tickets of before lead to a full handshake, so a replaced certificate is not resumed.
    ///
    /// # Errors
    /// [`TlsConfigError`] as [`TlsConfig::from_pem`]; the old pair then stays in use.
    pub fn reload(&self, cert: &[u8], key: &[u8]) -> Result<(), TlsConfigError> {
        let next = TlsConfig::from_pem(cert, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The TLS handshake. It has no deadline of its own; dropping the future closes the socket.
    ///
    /// # Errors
    /// Any I/O error of the socket, or `InvalidData` when the peer does not speak acceptable TLS.
    pub fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> impl Future<Output = io::Result<TlsStream<S>>> + use<S> {
        // The configuration is taken now and the lock is gone before the first await.
        let TlsConfig(config) = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept_with(stream, |connection| connection.set_buffer_limit(Some(BUFFER_BYTES)))
    }
}
