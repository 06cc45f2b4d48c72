//! Certificates with their task and their files, in virtual time.

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::stop::Stopper;
use crate::store::tests::TempDir;

/// 2027-01-15, by which the certificates below count.
const START: UnixMs = UnixMs(1_800_000_000_000);

/// A certificate for an app that ends with a month of 2027, and its key; both PEM.
fn made(last_month: u8) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "Apple Push Services: com.acme.shop");
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, last_month, 28);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Two files, a clock and a stop.
struct World {
    dir: TempDir,
    clock: Clock,
    _stopper: Stopper,
    stop: Stop,
}

impl World {
    fn new((certificate, key): &(String, String)) -> Self {
        let (stopper, stop) = Stopper::new();
        let world = Self {
            dir: TempDir::new(),
            clock: Clock::manual(START),
            _stopper: stopper,
            stop,
        };
        world.write("shop.pem", certificate);
        world.write("shop.key", key);
        world
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.dir.0.join(name), text).unwrap();
    }

    fn source(&self, name: &str) -> Source {
        Source::File(self.dir.0.join(name))
    }

    fn spec(&self) -> CertificateSpec {
        CertificateSpec {
            route: "apns-shop".to_owned(),
            certificate: self.source("shop.pem"),
            key: Some(self.source("shop.key")),
        }
    }

    fn why(&self) -> String {
        read(&self.spec(), 1).unwrap_err().to_string()
    }

    async fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().plus(time));
        sleep(time).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_taken_when_both_files_fit_and_not_before() {
    let world = World::new(&made(2));
    let (certificate, task) = Certificate::open(world.spec(), &world.clock).unwrap();
    tokio::spawn(task.run(world.stop.clone()));
    let mut states = certificate.subscribe();
    assert_eq!(certificate.state().days_left(START), 43);
    let (next, key) = made(12);
    // The first of the two files: they do not fit each other, and the old pair serves.
    world.write("shop.pem", &next);
    world.pass(LOOK_EVERY * 4).await;
    let state = certificate.state();
    assert_eq!(state.identity.generation, 1);
    let words = state.file.unwrap();
    assert!(
        words.contains("the key is not the certificate's"),
        "{words}"
    );
    states.mark_unchanged();
    world.write("shop.key", &key);
    world.pass(LOOK_EVERY * 4).await;
    assert!(states.has_changed().unwrap());
    let state = certificate.state();
    assert_eq!((state.identity.generation, state.file), (2, None));
    assert_eq!(state.identity.facts.not_after, UnixMs(1_829_952_000_000));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_has_ended_stops_its_route_and_not_the_gateway() {
    let world = World::new(&made(2));
    let (certificate, _task) = Certificate::open(world.spec(), &world.clock).unwrap();
    let state = certificate.state();
    assert_eq!(state.stopped(START), None);
    let end = state.identity.facts.not_after;
    assert_eq!(state.days_left(end), -1);
    let why = state.stopped(end).unwrap();
    assert_eq!(why, "the certificate has ended at 2027-02-28T00:00:00.000Z");
    world.clock.set(end);
    assert!(Certificate::open(world.spec(), &world.clock).is_ok());
}

#[test]
fn certificate_and_key_may_stand_in_one_file() {
    let (certificate, key) = made(2);
    let world = World::new(&(certificate + &key, String::new()));
    let spec = CertificateSpec {
        key: None,
        ..world.spec()
    };
    let identity = read(&spec, 1).unwrap();
    let common = identity.facts.common_name.unwrap();
    assert_eq!(common, "Apple Push Services: com.acme.shop");
}

#[test]
fn what_is_wrong_with_the_files_is_said_without_their_text() {
    let (certificate, key) = made(2);
    let world = World::new(&(certificate.clone(), made(2).1));
    assert!(
        world
            .why()
            .ends_with("shop.key: the key is not the certificate's")
    );
    // A .p12 is DER.
    world.write("shop.pem", [0x30, 0x82, 0x0C, 0x25, 2, 1, 3]);
    let why = world.why();
    assert!(
        why.contains("openssl pkcs12 -legacy -in ") && why.contains("shop.pem -nodes"),
        "{why}"
    );
    world.write("shop.pem", &key);
    assert!(world.why().ends_with("shop.pem: it holds no certificate"));
    world.write("shop.pem", "-----BEGIN CERTIFICATE-----\ns3cret");
    assert!(world.why().ends_with("a PEM section of it is damaged"));
    world.write("shop.pem", "-----BEGIN s3cret\n");
    assert!(!world.why().contains("s3cret"));
    world.write("shop.pem", &certificate);
    world.write("shop.key", "s3cret");
    assert!(world.why().ends_with("shop.key: it holds no private key"));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    world.write("shop.key", encrypted);
    assert!(world.why().contains("its key is encrypted: openssl pkey"));
    std::fs::remove_file(world.dir.0.join("shop.key")).unwrap();
    assert!(world.why().contains("No such file"));
}

/// A server that wants a certificate made by `ca`, and a client's config that trusts it.
fn both_ends(ca: &rcgen::CertifiedIssuer<'_, KeyPair>) -> (TlsAcceptor, ClientConfig) {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["push.test".to_owned()]).unwrap();
    let own = own.signed_by(&key, ca).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), client)
}

#[tokio::test]
async fn a_server_sees_the_certificate_that_is_shown_and_after_a_change_the_next_one() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let (acceptor, plain) = both_ends(&ca);
    // One after the other over the same config, as a pool does.
    for _ in 0..2 {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(Vec::new())
            .unwrap()
            .signed_by(&key, &ca)
            .unwrap();
        let world = World::new(&(own.pem(), key.serialize_pem()));
        let identity = read(&world.spec(), 1).unwrap();
        let config = identity.shown_by(&plain);
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("push.test").unwrap();
        let client = TlsConnector::from(config).connect(name, near);
        let (client, server) = tokio::join!(client, acceptor.accept(far));
        let (_client, server) = (client.unwrap(), server.unwrap());
        let seen = server.get_ref().1.peer_certificates().unwrap();
        assert_eq!(seen.first().unwrap(), own.der());
    }
}
