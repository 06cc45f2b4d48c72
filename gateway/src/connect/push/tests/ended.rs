//! What proves who we are ends while a connection stands.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::connect::credentials::{Certificate, CertificateSpec};

const HOUR: Duration = Duration::from_secs(3_600);
/// In 2100, after the end of the certificate below.
const END: UnixMs = UnixMs(4_118_000_000_000);

fn anywhere(_: &mut Target) {}

/// A certificate of its own making that ends before [`END`].
pub(super) fn certificate(dir: &TempDir, clock: &Clock) -> Who {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_after = date_time_ymd(2100, 1, 1);
    let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    let path = dir.0.join("shop.pem");
    std::fs::write(&path, pem).unwrap();
    let spec = CertificateSpec {
        route: "apns".to_owned(),
        certificate: Source::File(path),
        key: None,
    };
    Who::Certificate(Certificate::open(spec, clock).unwrap().0)
}

/// The token has ended and the next one does not come. With a window that stays open the dispatcher would
/// hand over, and get back, in a loop, and write each round down for `on_ambiguous: hold`.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_asked_for_until_there_is_one() {
    let start = Clock::system().now();
    let clock = Clock::manual(start);
    let who = |provider, _: &TempDir| (Who::Provider(provider), anywhere);
    let mut rig = Rig::named(ApnsConfig::default(), http2::Config::default(), &clock, who).await;
    let sent = rig.send(&token("", 1)).await;
    assert_eq!(sent.result, OutcomeResult::Accepted);
    while rig.window < 1_000 {
        rig.event().await;
    }
    clock.set(start.plus(HOUR));
    while rig.window > 0 {
        rig.event().await;
    }
    let down = matches!(rig.down, Some(Then::Again(_)));
    assert!(down, "it may come by itself: {:?}", rig.down);
    clock.set(start);
    let sent = rig.send(&token("", 2)).await;
    assert_eq!((sent.result, rig.ups), (OutcomeResult::Accepted, 2));
    assert_eq!(rig.apns.report().connections, 1);
    rig.stopper.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_stops_the_route_though_its_connection_stands() {
    let clock = Clock::manual(Clock::system().now());
    let who = |_, dir: &TempDir| (certificate(dir, &clock), anywhere);
    let mut rig = Rig::named(ApnsConfig::default(), http2::Config::default(), &clock, who).await;
    while rig.ups == 0 {
        rig.event().await;
    }
    clock.set(END);
    while rig.down != Some(Then::Stopped) {
        rig.event().await;
    }
    rig.stopper.stop();
}

/// A renewed certificate is known a little before connections can show it: one that is made in between
/// shows the old one, and must not pass for the new one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_of_the_certificate_that_it_has_shown() {
    let clock = Clock::system();
    let who = |_, dir: &TempDir| (certificate(dir, &clock), anywhere);
    let mut rig = Rig::named(ApnsConfig::default(), http2::Config::default(), &clock, who).await;
    while rig.ups == 0 {
        rig.event().await;
    }
    rig.retarget.send_modify(|target| {
        *target = Arc::new(Target {
            host: target.host.clone(),
            server_name: None,
            tls: target.tls.clone(),
            generation: 2,
            connect_timeout: SOON,
            tcp_user_timeout: SOON,
            addresses: Addresses::default(),
        });
    });
    let next = rig.apns.until(SOON, |report| report.connections == 2);
    next.await.unwrap();
    rig.stopper.stop();
}
