//! A certificate factory: self-signed pairs for `localhost`, made at test time. Writes no file.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection};
use wse_crypto::tls::{ReloadableTls, TlsConfig};

/// A certificate with its key.
pub struct Certificate {
    /// The certificate in PEM.
    pub cert: String,
    /// The private key in PEM.
    pub key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// A new pair for `localhost`.
    pub fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        Self { cert: cert.pem(), key: signing_key.serialize_pem(), der: cert.der().clone() }
    }

    /// The pair as an engine's `Config` takes it.
    pub fn server(&self) -> Arc<ReloadableTls> {
        let config = TlsConfig::from_pem(self.cert.as_bytes(), self.key.as_bytes()).expect("a usable pair");
        Arc::new(ReloadableTls::new(config))
    }

    /// The first bytes of a TLS connection, for peers that send them and go no further.
    ///
    /// # Panics
    /// Never: a client can always begin.
    pub fn client_hello(&self) -> Vec<u8> {
        let name = "localhost".try_into().expect("a name");
        let mut connection = ClientConnection::new(self.client(), name).expect("a client");
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).expect("a vector takes anything");
        hello
    }

    /// A client that trusts this certificate and no other.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate to trust");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
