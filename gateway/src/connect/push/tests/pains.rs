//! What users of other gateways suffered from (push.md §8), as far as one link meets it.

use tokio::net::TcpListener;

use super::*;

/// Reads events until there are so many outcomes.
async fn outcomes(rig: &mut Rig, count: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while outcomes.len() < count {
        let came = rig.event().await.into_iter();
        outcomes.extend(came.map(|(_, outcome)| outcome));
    }
    outcomes
}

/// Hands over pushes for these tokens, whatever the window is.
async fn hand_over(rig: &mut Rig, tokens: &[String]) {
    let attempts = tokens.iter().zip(1..).map(|(device, number)| Attempt {
        token: 1_000_000 + number,
        message: message(number, &[device], UnixMs::ZERO),
        part: 0,
        form: Form::default(),
    });
    rig.out += tokens.len();
    rig.attempts.send(attempts.collect()).await.unwrap();
}

fn parts(tokens: &[String]) -> Vec<(Arc<Message>, u8)> {
    let messages = tokens.iter().zip(1..);
    messages
        .map(|(token, id)| (message(id, &[token], UnixMs::ZERO), 0))
        .collect()
}

/// Pushes of which two in five are refused.
fn two_in_five_refused(count: u64) -> Vec<String> {
    let prefix = |n| if n % 5 < 2 { "b4000000" } else { "" };
    (0..count).map(|n| token(prefix(n), n)).collect()
}

/// Each accepted once, or refused, as its token says; nothing unknown.
fn check_two_in_five(rig: &Rig, tokens: &[String], outcomes: &[Outcome]) {
    for (token, outcome) in tokens.iter().zip(outcomes) {
        let counts = rig.apns.token(token);
        if token.starts_with("b4") {
            assert_eq!(outcome.reason, Some(Reason::TokenInvalid), "{outcome:?}");
            assert_eq!((counts.requests, counts.accepted), (1, 0));
        } else {
            assert_eq!(outcome.result, OutcomeResult::Accepted, "{outcome:?}");
            assert_eq!(counts.accepted, 1);
        }
    }
    assert_eq!(rig.apns.report().stream_limit_violations, 0);
}

/// pushy#1025, pushy#312: each GOAWAY takes the connection, and none a push. A pause that grew with each
/// of them would not end in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_goaways_without_a_reason_loses_doubles_and_delays_nothing() {
    let apns = ApnsConfig {
        rejects_max: Some(20),
        ..ApnsConfig::default()
    };
    let mut rig = Rig::start(apns, http2::Config::default()).await;
    let tokens = two_in_five_refused(1_000);
    let outcomes = tokio::time::timeout(SOON, rig.send_all(&parts(&tokens))).await;
    check_two_in_five(&rig, &tokens, &outcomes.unwrap());
    let report = rig.apns.report();
    assert!(report.go_aways >= 10, "{report:?}");
    assert!(
        !rig.goaways.is_empty() && rig.goaways.iter().all(|why| why == "NO_ERROR"),
        "{:?}",
        rig.goaways
    );
    rig.stopper.stop();
}

/// The same with little traffic: nothing is out any more when the connection ends, and the next one is as
/// good as the first.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_after_each_answer_do_not_slow_down_the_next() {
    let apns = ApnsConfig {
        rejects_max: Some(1),
        ..ApnsConfig::default()
    };
    let mut rig = Rig::start(apns, http2::Config::default()).await;
    let all = async {
        for n in 0..12 {
            let outcome = rig.send(&token("b4000000", n)).await;
            assert_eq!(outcome.result, OutcomeResult::Refused);
        }
    };
    tokio::time::timeout(SOON, all).await.unwrap();
    assert!(rig.apns.report().connections >= 12);
    rig.stopper.stop();
}

/// ECONNRESET (node-apn#451, firebase-admin-node#2789, rpush#607): the next connection is there at once, and
/// the pauses do not grow to minutes.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_again_and_again_are_followed_by_others_at_once() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    rig.send(&token("", 0)).await;
    let all = async {
        for n in 1..=10 {
            rig.apns.kill();
            let next = rig.apns.until(SOON, |report| report.connections > n);
            next.await.unwrap();
            // The first one may still be handed to what was cut.
            while rig.send(&token("", n)).await.result != OutcomeResult::Accepted {}
        }
    };
    tokio::time::timeout(SOON, all).await.unwrap();
    rig.stopper.stop();
}

/// pushy#732: after each refusal one stream, until a push is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_collapses_at_each_refusal_opens_again() {
    let apns = ApnsConfig {
        shrink_on_reject: true,
        common: sim::push::Config {
            latency_ms: 5,
            ..sim::push::Config::default()
        },
        ..ApnsConfig::default()
    };
    let mut rig = Rig::start(apns, http2::Config::default()).await;
    let tokens = two_in_five_refused(1_000);
    let outcomes = tokio::time::timeout(SOON, rig.send_all(&parts(&tokens))).await;
    check_two_in_five(&rig, &tokens, &outcomes.unwrap());
    assert_eq!(rig.apns.report().connections, 1, "it is not given up");
    rig.stopper.stop();
}

/// pushy#408, pushy#529: InternalServerError for ever on one connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_sick_connection_is_given_up_after_two_faults() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    let sick = token("50000001", 1);
    for device in [&sick, &token("", 2)] {
        let outcome = rig.send(device).await;
        assert_eq!(
            (outcome.result, outcome.code),
            (OutcomeResult::Refused, 500)
        );
        assert!(
            matches!(outcome.retry, Retry::Scheduled { .. }),
            "{outcome:?}"
        );
    }
    for n in 3..20 {
        let outcome = rig.send(&token("", n)).await;
        assert_eq!(outcome.result, OutcomeResult::Accepted);
    }
    assert_eq!(rig.apns.report().connections, 2);
    rig.stopper.stop();
}

/// pushy#816, APNSwift#93, vapor/apns#28: an answer that never comes blocks nothing but its own push.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_are_unknown_once_and_hold_up_no_other() {
    let mut rig = Rig::start(ApnsConfig::default(), quick()).await;
    let prefix = |n| match n % 50 {
        7 => "b1ac0000",
        8 => "b1ac0001",
        _ => "",
    };
    let tokens: Vec<String> = (0..1_000).map(|n| token(prefix(n), n)).collect();
    let sent = rig.send_all(&parts(&tokens)).await;
    for (token, outcome) in tokens.iter().zip(sent) {
        let lost = token.starts_with("b1ac");
        let wanted = if lost {
            OutcomeResult::Unknown
        } else {
            OutcomeResult::Accepted
        };
        assert_eq!(outcome.result, wanted, "{token}");
        assert_eq!(rig.apns.token(token).requests, 1, "{token}");
    }
    assert_eq!(rig.apns.report().connections, 1, "it is well");
    rig.stopper.stop();
}

/// pushy#816, apns2#24, node-apn#518: nothing comes any more, and nobody closes. The requests' own deadline
/// is further away than this test's.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_under_load_is_left_within_seconds() {
    let http2 = http2::Config {
        request_timeout: 4 * SOON,
        ..quick()
    };
    let mut rig = Rig::start(ApnsConfig::default(), http2).await;
    rig.send(&token("", 1)).await;
    rig.apns.set_stalled(true);
    let tokens: Vec<String> = (10..60).map(|n| token("", n)).collect();
    hand_over(&mut rig, &tokens).await;
    let came = rig.apns.until(SOON, |report| report.requests == 51).await;
    came.unwrap();
    rig.apns.silence();
    rig.apns.set_stalled(false);
    for outcome in outcomes(&mut rig, 50).await {
        assert_eq!(outcome.result, OutcomeResult::Unknown);
    }
    assert_eq!(
        rig.send(&token("", 2)).await.result,
        OutcomeResult::Accepted
    );
    // What was left is gone, and not kept beside the new one.
    let alone = rig.apns.until(SOON, |report| report.connections_open == 1);
    assert_eq!(alone.await.unwrap().connections, 2);
    rig.stopper.stop();
}

/// What is always refused certainly has not been taken and waits; but not by asking as fast as it can.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_refused_again_and_again_are_tried_in_peace() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    rig.send(&token("", 1)).await;
    let refused = token("4e5e0000", 2);
    let sending = rig.send(&refused);
    let seconds = Duration::from_secs(2);
    let sent = tokio::time::timeout(seconds, sending).await;
    assert!(sent.is_err(), "it waits");
    let requests = rig.apns.token(&refused).requests;
    assert!((3..=20).contains(&requests), "{requests} in two seconds");
    rig.stopper.stop();
}

/// push.md §1.5: pool-wide back-off.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_too_busy_is_left_alone_until_it_takes_a_push_again() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    rig.send(&token("", 1)).await;
    while rig.window < 1_000 {
        rig.event().await;
    }
    // One device's 503 after the other is not the service's.
    for _ in 0..4 {
        let outcome = rig.send(&token("50300000", 2)).await;
        assert_eq!(outcome.code, 503);
    }
    assert_eq!(rig.window, 1_000);
    // Nor are several, as long as it has looked at another within a second.
    let mut n = 3;
    while rig.window == 1_000 {
        rig.send(&token("50300000", n)).await;
        n += 1;
        assert!(n < 1_000_000, "it never waits");
    }
    assert_eq!(rig.down, None, "it waits, and is not down");
    while rig.window == 0 {
        rig.event().await;
    }
    assert_eq!(rig.window, 3, "no more than what could make it wait again");
    let sent = rig.send(&token("", 7)).await;
    assert_eq!(sent.result, OutcomeResult::Accepted);
    while rig.window < 1_000 {
        rig.event().await;
    }
    assert_eq!(rig.apns.report().connections, 1);
    rig.stopper.stop();
}

/// It may be that one machine of the service which is too busy.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_the_service_stays_too_busy_is_replaced() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    let mut n = 0;
    while rig.apns.report().connections < 2 {
        rig.send(&token("50300000", n)).await;
        n += 1;
        assert!(n < 1_000, "it is kept");
    }
    assert!(n >= 6, "the route has waited twice: {n}");
    let sent = rig.send(&token("", 7)).await;
    assert_eq!(sent.result, OutcomeResult::Accepted);
    rig.stopper.stop();
}

/// pushy#811: PING is answered, and no push is: 1.5 hours in that case.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_no_push_is_answered_any_more_is_given_up() {
    let mut rig = Rig::start(ApnsConfig::default(), quick()).await;
    rig.send(&token("", 1)).await;
    rig.apns.set_stalled(true);
    let tokens: Vec<String> = (10..60).map(|n| token("", n)).collect();
    hand_over(&mut rig, &tokens).await;
    for outcome in outcomes(&mut rig, 50).await {
        assert_eq!(outcome.result, OutcomeResult::Unknown);
    }
    let next = rig.apns.until(SOON / 3, |report| report.connections == 2);
    next.await.unwrap();
    rig.apns.set_stalled(false);
    assert_eq!(
        rig.send(&token("", 2)).await.result,
        OutcomeResult::Accepted
    );
    rig.stopper.stop();
}

/// node-apn#454, rpush#607, uniqush-push#68: forgotten by a NAT while nothing was sent. No push has to be
/// lost to find out.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_a_nat_forgot_is_found_by_ping_before_the_next_push() {
    let http2 = http2::Config {
        ping_idle: Duration::from_millis(300),
        ..quick()
    };
    let mut rig = Rig::start(ApnsConfig::default(), http2).await;
    rig.send(&token("", 1)).await;
    rig.apns.silence();
    let next = rig.apns.until(SOON, |report| report.connections == 2);
    next.await.unwrap();
    for n in 2..10 {
        assert_eq!(
            rig.send(&token("", n)).await.result,
            OutcomeResult::Accepted
        );
        assert_eq!(rig.apns.token(&token("", n)).requests, 1);
    }
    rig.stopper.stop();
}

/// What is cut without a word looks like a broken network to the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_says_goodbye_to_the_service() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    rig.send(&token("", 1)).await;
    rig.stopper.stop();
    // The dispatcher lets go of the link.
    let (closed, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut rig.attempts, closed));
    let said = rig.apns.until(SOON, |report| report.connections_open == 0);
    assert_eq!(said.await.unwrap().goodbyes, 1);
}

/// apns2#20, pushy#885: the address takes connections, and nobody is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_takes_connections_and_says_nothing_is_given_up_and_tried_again() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("localhost:{}", dead.local_addr().unwrap().port());
    let mut rig = Rig::aimed(ApnsConfig::default(), quick(), |target| {
        target.host = host;
        target.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let taken = tokio::time::timeout(SOON, dead.accept()).await;
        held.push(taken.unwrap().unwrap());
        rig.down = None;
        while rig.down.is_none() {
            rig.event().await;
        }
        assert!(matches!(rig.down, Some(Then::Again(_))), "{:?}", rig.down);
    }
    hand_over(&mut rig, &[token("", 1)]).await;
    let outcome = outcomes(&mut rig, 1).await.remove(0);
    assert_eq!(outcome.result, OutcomeResult::NotSent);
    rig.stopper.stop();
}

/// pushy#669, pushy#857, node-apn#191: what has no stream is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_window_nothing_is_kept_but_handed_back_at_once() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    rig.send(&token("", 1)).await;
    while rig.window < 1_000 {
        rig.event().await;
    }
    rig.apns.set_stalled(true);
    let tokens: Vec<String> = (10..3_010).map(|n| token("", n)).collect();
    hand_over(&mut rig, &tokens).await;
    for outcome in outcomes(&mut rig, 2_000).await {
        assert_eq!(outcome.result, OutcomeResult::NotSent);
    }
    let came = rig.apns.until(SOON, |report| report.requests == 1_001);
    came.await.unwrap();
    rig.apns.set_stalled(false);
    for outcome in outcomes(&mut rig, 1_000).await {
        assert_eq!(outcome.result, OutcomeResult::Accepted);
    }
    let report = rig.apns.report();
    assert_eq!((report.requests, report.streams_max), (1_001, 1_000));
    rig.stopper.stop();
}

/// pushy#811, APNSwift#34: the connection is of no more use, and another token would make it worse.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_token_updates_end_the_connection_and_leave_the_token_as_it_is() {
    let apns = ApnsConfig {
        common: sim::push::Config {
            last_max: 100,
            ..sim::push::Config::default()
        },
        ..ApnsConfig::default()
    };
    let mut rig = Rig::start(apns, http2::Config::default()).await;
    rig.send(&token("", 1)).await;
    let refused = rig.send(&token("42900001", 2)).await;
    assert_eq!(
        (refused.result, refused.code),
        (OutcomeResult::Refused, 429)
    );
    let Retry::After { seconds, .. } = refused.retry else {
        panic!("{refused:?}");
    };
    assert_eq!(seconds, 1_200, "Apple's 20 minutes");
    for n in 3..20 {
        assert_eq!(
            rig.send(&token("", n)).await.result,
            OutcomeResult::Accepted
        );
    }
    let seen = rig.apns.requests();
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    assert_eq!((first.connection, last.connection), (1, 2));
    let bearer = |seen: &sim::push::Seen| seen.header("authorization").map(str::to_owned);
    assert!(seen.iter().all(|seen| bearer(seen) == bearer(first)));
    rig.stopper.stop();
}
