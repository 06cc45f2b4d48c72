//! What a link that is in doubt tells the dispatcher, without any service.

use super::super::doubts::Doubt;
use super::*;

/// The project's quota hears of it though this link sends nothing at that moment.
#[tokio::test]
async fn a_pause_for_refused_streams_does_not_hide_that_the_project_is_to_wait() {
    let (dir, clock) = (TempDir::new(), Clock::system());
    let target = Target {
        host: "localhost:443".to_owned(),
        server_name: None,
        tls: client_tls(None, None).unwrap(),
        generation: 1,
        connect_timeout: SOON,
        tcp_user_timeout: SOON,
        addresses: Addresses::default(),
    };
    let (_retarget, target) = watch::channel(Arc::new(target));
    let (_resume, resumed) = watch::channel(0);
    let service = service("localhost:443".parse().unwrap());
    let who = ended::certificate(&dir, &clock);
    let config = config(service, who, target, http2::Config::default(), resumed);
    let (events, mut heard) = mpsc::channel(16);
    let (_attempts, attempts) = mpsc::channel(1);
    let ends = Ends {
        link: LinkIx(0),
        attempts,
        events,
    };
    let (_stopper, stop) = Stopper::new();
    let mut link = Link::new(Arc::new(config), ends, clock.clone(), stop);
    let (now, wait) = (clock.instant(), Duration::from_secs(60));
    link.paused_until = Some(now + 2 * wait);
    for device in 0..3 {
        link.doubt(Doubt::TooMany(wait), device, now);
    }
    link.ledger.tell_all().await;
    let told = heard.try_recv();
    let refusing = matches!(
        told,
        Ok(LinkEvent::Refusing { until, why: Refuses::Quota }) if until >= now + wait
    );
    assert!(refusing, "{told:?}");
}
