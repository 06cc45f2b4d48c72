//! Ways to a carrier: TLS with certificates that are right and wrong, our own address, dead links.

use std::net::SocketAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData as _,
    date_time_ymd,
};
use rustls_pki_types::PrivateKeyDer;
use sha2::{Digest as _, Sha256};

use super::binds::{leap, now};
use super::raw::{BIND, Carrier, ENQUIRE, ENQUIRE_RESP, Pdu, SUBMIT_RESP};
use super::*;
use crate::connect::tls::{self, Identity, Pin};
use crate::connect::x509;
use crate::store::tests::TempDir;

/// A CA, made for one test.
type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `smsc.test` that ends with this year, and its key.
fn leaf(ca: &Ca, last_year: i32) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["smsc.test".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(last_year, 12, 31);
    (params.signed_by(&key, ca).unwrap(), key)
}

fn pin(key: &KeyPair) -> Pin {
    Sha256::digest(key.subject_public_key_info()).into()
}

/// Listens with TLS and passes on to `to`. With `clients`, it wants a certificate of that CA.
async fn front(
    to: SocketAddr,
    leaf: (rcgen::Certificate, KeyPair),
    clients: Option<&Ca>,
) -> SocketAddr {
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
    let key = PrivateKeyDer::try_from(leaf.1.serialize_der()).unwrap();
    let server = builder
        .with_single_cert(vec![leaf.0.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The client may not like our certificate, nor we its.
            let Ok(mut inner) = acceptor.accept(stream).await else {
                continue;
            };
            let mut outer = tokio::net::TcpStream::connect(to).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut inner, &mut outer).await);
        }
    });
    address
}

/// The config of a link that trusts this CA.
fn trusting(address: SocketAddr, dir: &TempDir, ca: &Ca, identity: Option<Identity<'_>>) -> Config {
    let path = dir.0.join("ca.pem");
    std::fs::write(&path, ca.pem()).unwrap();
    let mut config = config(address);
    config.tls = Some(Tls {
        config: tls::client(tls::ca_file(&path).unwrap(), identity).unwrap(),
        server_name: Some("smsc.test".into()),
        pins: Vec::new(),
    });
    config
}

fn settings(config: &mut Config) -> &mut Tls {
    config.tls.as_mut().unwrap()
}

/// What becomes of a link that is not to come up.
async fn fails(config: Config) -> (String, Then) {
    let mut rig = start(config);
    let fell = rig.falls().await;
    rig.stop().await;
    fell
}

#[tokio::test]
async fn submits_go_over_tls_with_a_pinned_key() {
    let smsc = smsc(Faults::default()).await;
    let (dir, ca) = (TempDir::new(), ca("carrier"));
    let leaf = leaf(&ca, 2100);
    let own = pin(&leaf.1);
    let end = x509::read(leaf.0.der()).unwrap().not_after;
    assert_eq!(end.to_string(), "2100-12-31T00:00:00.000Z");
    let address = front(smsc.addr(), leaf, None).await;
    let mut config = trusting(address, &dir, &ca, None);
    settings(&mut config).pins = vec![[7; 32], own];
    let mut rig = start(config);
    rig.up().await;
    rig.send(attempts(5)).await;
    let answers = rig.answers(5).await;
    let accepted = |outcome: &Outcome| outcome.result == OutcomeResult::Accepted;
    assert!(answers.values().all(accepted));
    rig.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_wrong_is_named_and_no_password_goes_out() {
    let smsc = smsc(Faults::default()).await;
    let (dir, ca_right, ca_wrong) = (TempDir::new(), ca("carrier"), ca("somebody"));
    // By another CA, for another name, over, and of another key than the pinned one.
    let address = front(smsc.addr(), leaf(&ca_wrong, 2100), None).await;
    let (why, then) = fails(trusting(address, &dir, &ca_right, None)).await;
    assert!(why.contains("UnknownIssuer"), "{why}");
    assert!(matches!(then, Then::Again(_)));

    let address = front(smsc.addr(), leaf(&ca_right, 2100), None).await;
    let mut config = trusting(address, &dir, &ca_right, None);
    settings(&mut config).server_name = Some("other.test".into());
    let (why, _) = fails(config).await;
    assert!(
        why.contains("not valid for") && why.contains("other.test"),
        "{why}"
    );

    let address = front(smsc.addr(), leaf(&ca_right, 2001), None).await;
    let (why, _) = fails(trusting(address, &dir, &ca_right, None)).await;
    assert!(why.contains("expired"), "{why}");

    let own = leaf(&ca_right, 2100);
    let found = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pin(&own.1));
    let address = front(smsc.addr(), own, None).await;
    let mut config = trusting(address, &dir, &ca_right, None);
    settings(&mut config).pins = vec![[0; 32]];
    let account = config.account.clone();
    let (why, _) = fails(config).await;
    assert!(why.contains(&format!("sha256/{found}")), "{why}");
    assert!(why.contains("(sha256/AAAAAAAA"), "{why}");
    assert!(account.is_doubtful(), "counted as refused credentials are");
    assert_eq!(smsc.report().binds + smsc.report().binds_refused, 0);
}

#[tokio::test]
async fn a_carrier_that_wants_to_know_us_gets_our_certificate() {
    let smsc = smsc(Faults::default()).await;
    let (dir, ca) = (TempDir::new(), ca("carrier"));
    let address = front(smsc.addr(), leaf(&ca, 2100), Some(&ca)).await;
    let (why, _) = fails(trusting(address, &dir, &ca, None)).await;
    assert!(why.contains("CertificateRequired"), "{why}");

    let (certificate, key) = leaf(&ca, 2100);
    let paths = ["own.pem", "own.key"].map(|name| dir.0.join(name));
    std::fs::write(&paths[0], certificate.pem()).unwrap();
    std::fs::write(&paths[1], key.serialize_pem()).unwrap();
    let identity = Identity {
        certificate: &paths[0],
        key: &paths[1],
    };
    let mut rig = start(trusting(address, &dir, &ca, Some(identity)));
    rig.up().await;
    rig.stop().await;

    // Files that are not what they should be, or not there, are named.
    let roots = || tls::ca_file(&dir.0.join("ca.pem")).unwrap();
    let swapped = Identity {
        certificate: &paths[1],
        key: &paths[0],
    };
    let error = tls::client(roots(), Some(swapped)).unwrap_err().to_string();
    assert!(
        error.contains("own.key") && !error.contains("PRIVATE"),
        "{error}"
    );
    let other = dir.0.join("other.key");
    std::fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let foreign = Identity {
        certificate: &paths[0],
        key: &other,
    };
    let error = tls::client(roots(), Some(foreign)).unwrap_err().to_string();
    assert!(error.contains("other.key"), "{error}");
    assert!(tls::ca_file(&paths[1]).is_err());
}

#[tokio::test]
async fn tls_to_a_port_without_it_is_told() {
    let (dir, ca) = (TempDir::new(), ca("carrier"));
    let carrier = Carrier::new().await;
    let config = trusting(carrier.address(), &dir, &ca, None);
    let mut rig = start(config);
    let mut one = carrier.accepted().await;
    one.write(&[(0x8000_0000, 2, 0, b"")]).await;
    let why = rig.down().await;
    assert!(why.contains("does this port speak TLS at all?"), "{why}");
    rig.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_left_after_five_seconds() {
    let (dir, ca) = (TempDir::new(), ca("carrier"));
    let carrier = Carrier::new().await;
    let config = trusting(carrier.address(), &dir, &ca, None);
    let mut rig = start(config);
    let mut one = carrier.accepted().await;
    // It has begun, and nothing is said to it.
    assert!(!one.is_closed().await);
    let began = now();
    for _ in 0..5 {
        leap(Duration::from_secs(1)).await;
    }
    let why = rig.down().await;
    assert!(why.contains("TLS: no handshake in time"), "{why}");
    let took = now().duration_since(began);
    assert!(took < Duration::from_secs(7), "{took:?}");
    rig.stop().await;
}

#[tokio::test]
async fn connections_come_from_the_address_that_the_carrier_knows() {
    let carrier = Carrier::new().await;
    let mut config = carrier.config();
    config.source_address = Some("127.0.0.9".parse().unwrap());
    let rig = start(config.clone());
    let mut one = carrier.accepted().await;
    assert_eq!(
        one.stream().peer_addr().unwrap().ip().to_string(),
        "127.0.0.9"
    );
    drop(one);
    rig.stop().await;

    config.source_address = Some("::1".parse().unwrap());
    let (why, _) = fails(config.clone()).await;
    assert!(
        why.contains("has no IPv6 address") && why.contains("source_address"),
        "{why}"
    );
    config.source_address = Some("203.0.113.7".parse().unwrap());
    let (why, _) = fails(config).await;
    assert!(why.contains("source_address 203.0.113.7"), "{why}");
}

#[tokio::test]
async fn a_link_that_swallows_everything_is_found_and_its_submits_are_unknown() {
    let carrier = Carrier::new().await;
    let mut config = carrier.config();
    config.enquire_link = Duration::from_millis(50);
    config.enquire_link_timeout = Duration::from_millis(50);
    let mut rig = start(config);
    let mut one = carrier.next_bind(BIND, 0).await;
    rig.up().await;
    rig.send(attempts(2)).await;
    // It reads, and answers nothing any more: submits, then enquire_link, twice.
    one.read_submits(2).await;
    for _ in 0..2 {
        assert_eq!(one.read().await.0, ENQUIRE);
    }
    let answers = rig.answers(2).await;
    let unknown = |outcome: &Outcome| outcome.result == OutcomeResult::Unknown;
    assert!(answers.values().all(unknown));
    let why = rig.down().await;
    assert!(why.contains("enquire_link was not answered twice"), "{why}");
    rig.stop().await;
}

#[tokio::test]
async fn a_full_window_does_not_keep_enquire_link_waiting() {
    let carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    let mut one = carrier.next_bind(BIND, 0).await;
    assert_eq!(rig.up().await, 10);
    // Ten are out, as many wait in the link, and none is answered.
    rig.send(attempts(20)).await;
    let sequences = one.read_submits(10).await;
    for asked in 1..=5 {
        one.write(&[(ENQUIRE, 0, asked, b"")]).await;
        assert_eq!(one.read().await, Pdu(ENQUIRE_RESP, 0, asked, vec![]));
    }
    for sequence in sequences {
        one.write(&[(SUBMIT_RESP, 0, sequence, b"1\0")]).await;
    }
    for sequence in one.read_submits(10).await {
        one.write(&[(SUBMIT_RESP, 0, sequence, b"1\0")]).await;
    }
    assert_eq!(rig.answers(20).await.len(), 20);
    let stopped = tokio::spawn(rig.stop());
    one.unbound().await;
    stopped.await.unwrap();
}
