//! The way to the service: TLS on loopback with certificates made here, and h2's own server behind it.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::reach::race;
use super::*;
use crate::connect::tls::Identity;
use crate::store::tests::TempDir;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(ca: &Ca) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["push.test".to_owned()]).unwrap();
    (params.signed_by(&key, ca).unwrap(), key)
}

/// What a service does with a connection after TLS.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Answers,
    SaysNothing,
}

/// A service; with `clients` it wants a certificate of that CA.
async fn serve(ca: &Ca, clients: Option<&Ca>, alpn: &[u8], then: Then) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca.der().clone()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let (certificate, key) = leaf(ca);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = builder
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // The client may not like us, nor we it.
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                if then == Then::SaysNothing {
                    std::future::pending::<()>().await;
                }
                let Ok(mut h2) = h2::server::handshake(stream).await else {
                    return;
                };
                while let Some(Ok((request, mut answers))) = h2.accept().await {
                    let mut body = request.into_body();
                    tokio::spawn(async move {
                        while let Some(Ok(octets)) = body.data().await {
                            drop(body.flow_control().release_capacity(octets.len()));
                        }
                        drop(answers.send_response(http::Response::new(()), true));
                    });
                }
            });
        }
    });
    address
}

fn target(address: SocketAddr, ca: &Ca, dir: &TempDir, identity: Option<Identity<'_>>) -> Target {
    let path = dir.0.join("ca.pem");
    std::fs::write(&path, ca.pem()).unwrap();
    Target {
        host: address.to_string(),
        server_name: Some("push.test".to_owned()),
        tls: client_tls(Some(&path), identity).unwrap(),
        connect_timeout: Duration::from_secs(10),
        tcp_user_timeout: Duration::from_secs(30),
        generation: 0,
        addresses: Addresses::default(),
    }
}

async fn open(target: &Target) -> Result<Connection, NotConnected> {
    let config = Arc::new(Config::default());
    connect(target, config, Clock::system(), Meters::new("push")).await
}

async fn exchanges(connection: &mut Connection, count: u64) {
    let (mut next, mut answered) = (0, 0);
    while answered < count {
        while next < count && connection.room() > 0 {
            let (request, body) = request(next);
            connection.send(next, request, body);
            next += 1;
        }
        connection.turn().await;
        let news = std::mem::take(connection.news());
        assert_eq!(news.closed, None);
        for (_, fate) in news.fates {
            assert_eq!(status(&fate), (200, true));
            answered += 1;
        }
    }
}

#[tokio::test]
async fn requests_are_answered_over_tls_and_many_share_a_write() {
    let (ca, dir) = (ca(), TempDir::new());
    let address = serve(&ca, None, b"h2", Then::Answers).await;
    let target = target(address, &ca, &dir, None);
    let mut connection = open(&target).await.unwrap();
    assert!(connection.peer().contains(&address.to_string()));
    let before = connection.writes();
    exchanges(&mut connection, 5_000).await;
    let writes = connection.writes() - before;
    assert!(writes < 5_000 / 4, "{writes} writes");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let (service, ours, dir) = (ca(), ca(), TempDir::new());
    let address = serve(&service, Some(&ours), b"h2", Then::Answers).await;
    let (certificate, key) = leaf(&ours);
    let (certificate_file, key_file) = (dir.0.join("client.pem"), dir.0.join("client.key"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let identity = Identity {
        certificate: &certificate_file,
        key: &key_file,
    };
    let target_with = target(address, &service, &dir, Some(identity));
    exchanges(&mut open(&target_with).await.unwrap(), 1).await;
    let without = target(address, &service, &dir, None);
    let error = open(&without).await.unwrap_err();
    // TLS 1.3 tells the client only after its own handshake is done.
    assert_eq!((error.step, error.address), (Step::Http2, Some(address)));
    let said = error.to_string();
    assert_eq!(said.matches(&address.to_string()).count(), 1, "{said}");
}

#[tokio::test]
async fn errors_name_the_host_the_address_and_the_step() {
    let (right, wrong, dir) = (ca(), ca(), TempDir::new());
    let address = serve(&right, None, b"h2", Then::Answers).await;
    let error = open(&target(address, &wrong, &dir, None))
        .await
        .unwrap_err();
    assert_eq!((error.step, error.address), (Step::Tls, Some(address)));
    assert!(error.to_string().contains("TLS"), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");

    let old = serve(&right, None, b"http/1.1", Then::Answers).await;
    let error = open(&target(old, &right, &dir, None)).await.unwrap_err();
    assert_eq!(error.step, Step::Tls);

    let silent = serve(&right, None, b"h2", Then::SaysNothing).await;
    let mut target = target(silent, &right, &dir, None);
    target.connect_timeout = Duration::from_millis(500);
    let error = open(&target).await.unwrap_err();
    assert_eq!((error.step, error.address), (Step::Http2, Some(silent)));

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    target.host = nobody.to_string();
    let error = open(&target).await.unwrap_err();
    assert_eq!((error.step, error.address), (Step::Connect, Some(nobody)));
}

#[tokio::test]
async fn a_dead_address_does_not_hide_the_others() {
    let (ca, dir) = (ca(), TempDir::new());
    let address = serve(&ca, None, b"h2", Then::Answers).await;
    let target = target(address, &ca, &dir, None);
    // Nobody listens there; and one that takes connections and says nothing.
    let refuses = SocketAddr::from(([127, 0, 0, 77], address.port()));
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let silent = (silent.local_addr().unwrap(), silent);
    let addresses = vec![refuses, silent.0, address];
    let (_, reached) = race(&target, addresses, &Clock::system()).await.unwrap();
    assert_eq!(reached, address);
}
