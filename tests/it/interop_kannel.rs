//! Interop the other way round: Kannel's bearerbox binds to our simulator, as a check of the simulator.
//!
//! What passes here is not our codec on both sides: an SMSC that Kannel understands is one.

use sim::smsc::{Faults, FromHandset, Seen, Smsc, SmscConfig};
use trunkline_tests::kannel::Kannel;
use trunkline_tests::scene::smsc_config;
use trunkline_tests::{SOON, peers, wait_for};

/// The same as in `sms-segments-calculator`: 200 septets are two segments.
const LONG: &str = "0123456789";

struct On {
    smsc: Smsc,
    kannel: Kannel,
}

impl On {
    async fn start(test: &str, password: &str) -> Option<Self> {
        if !peers::debian(test, "kannel", "/usr/sbin/bearerbox") {
            return None;
        }
        let account = Some(("main".to_owned(), "secret".to_owned()));
        let config = SmscConfig {
            account,
            ..smsc_config()
        };
        let smsc = Smsc::start(config).await.unwrap();
        let lines = format!("smsc-password = {password}\nenquire-link-interval = 1");
        let kannel = Kannel::start(smsc.addr(), &lines).await.unwrap();
        Some(Self { smsc, kannel })
    }

    async fn seen(&self, to: &str, count: usize) -> Vec<Seen> {
        wait_for(&format!("{count} submits to {to}"), SOON, async || {
            let seen: Vec<Seen> = self
                .smsc
                .messages()
                .into_iter()
                .filter(|m| m.dest.2 == to)
                .collect();
            (seen.len() >= count).then_some(seen)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_sends_gsm7_ucs2_and_long_and_gets_its_receipts() {
    let name = "kannel_sends_gsm7_ucs2_and_long_and_gets_its_receipts";
    let Some(on) = On::start(name, "secret").await else {
        return;
    };
    // Type 8: the SMSC took it; 1: delivered; 2: not delivered (Kannel's user guide, "Delivery reports").
    on.kannel
        .send("46700000700", "Hej @ [5 €]", 0)
        .await
        .unwrap();
    let seen = on.seen("46700000700", 1).await;
    assert_eq!(seen[0].short_message, b"Hej \x00 \x1b<5 \x1be\x1b>");
    on.kannel
        .called(&["/dlr", "to=46700000700", "type=8"])
        .await
        .unwrap();
    on.kannel
        .called(&["/dlr", "to=46700000700", "type=1"])
        .await
        .unwrap();

    on.kannel.send("46700000701", "Привет", 2).await.unwrap();
    let seen = on.seen("46700000701", 1).await;
    let utf16: Vec<u8> = "Привет".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!((&seen[0].short_message, seen[0].data_coding), (&utf16, 8));
    on.kannel
        .called(&["/dlr", "to=46700000701", "type=1"])
        .await
        .unwrap();

    on.kannel
        .send("46700000702", &LONG.repeat(20), 0)
        .await
        .unwrap();
    let seen = on.seen("46700000702", 2).await;
    let text: Vec<u8> = seen
        .iter()
        .flat_map(|part| part.short_message[6..].to_vec())
        .collect();
    assert_eq!(text, LONG.repeat(20).as_bytes());
    assert!(seen.iter().all(|part| part.esm_class & 0x40 != 0));

    // Refused at submit: 16; a receipt with bad news: 2.
    on.kannel.send("46700000002", "refused", 0).await.unwrap();
    on.kannel
        .called(&["/dlr", "to=46700000002", "type=16"])
        .await
        .unwrap();
    on.kannel
        .send("46700000001", "not delivered", 0)
        .await
        .unwrap();
    on.kannel
        .called(&["/dlr", "to=46700000001", "type=2"])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_takes_what_handsets_write_and_hands_it_on() {
    let name = "kannel_takes_what_handsets_write_and_hands_it_on";
    let Some(on) = On::start(name, "secret").await else {
        return;
    };
    wait_for("its bind", SOON, async || {
        (on.smsc.report().binds_now == 1).then_some(())
    })
    .await;
    let hand = async |message: FromHandset| {
        // Acknowledged with ROK: bearerbox has it in its store, or has handed it to smsbox.
        assert_eq!(on.smsc.hand(0, message).await, Some(0));
    };
    // In the GSM alphabet @ is 0x00 and $ is 0x02.
    let mut gsm7 = FromHandset::text("46700000800", "12345", "Hej ");
    gsm7.octets.extend(b"\x00 \x02");
    hand(gsm7).await;
    // %p has the plus of an international number.
    on.kannel
        .called(&["/mo?", "from=%2B46700000800&to=12345", "text=Hej+%40+%24"])
        .await
        .unwrap();
    let ucs2 = FromHandset {
        data_coding: 8,
        octets: "Привет".encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ..FromHandset::text("46700000801", "12345", "")
    };
    hand(ucs2).await;
    // Kannel hands UCS-2 on in its octets: 04 1F, 04 40, 04 38 (which is an 8), and so on.
    let words = "text=%04%1F%04%40%048%042%045%04B";
    on.kannel
        .called(&["/mo?", "from=%2B46700000801", "coding=2", words])
        .await
        .unwrap();
    // In parts, the last one first: Kannel puts them together.
    for (place, words) in [(2, "one"), (1, "Two in ")] {
        hand(FromHandset::text("46700000802", "12345", words).part(7, 2, place)).await;
    }
    on.kannel
        .called(&["/mo?", "from=%2B46700000802", "text=Two+in+one"])
        .await
        .unwrap();
    assert_eq!(on.smsc.report().odd, 0, "Kannel saw or did something odd");
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_with_a_wrong_password_stays_out() {
    let Some(on) = On::start("kannel_with_a_wrong_password_stays_out", "wrong").await else {
        return;
    };
    wait_for("a refused bind", SOON, async || {
        (on.smsc.report().binds_refused > 0).then_some(())
    })
    .await;
    assert_eq!(on.smsc.report().binds, 0);
    assert!(!on.kannel.status().await.unwrap().contains("online"));
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_comes_back_after_a_cut_waits_through_throttling_and_unbinds() {
    let name = "kannel_comes_back_after_a_cut_waits_through_throttling_and_unbinds";
    let Some(mut on) = On::start(name, "secret").await else {
        return;
    };
    on.kannel.send("46700000710", "before", 0).await.unwrap();
    on.seen("46700000710", 1).await;
    on.smsc.disconnect_all();
    on.kannel.send("46700000711", "after", 0).await.unwrap();
    on.seen("46700000711", 1).await;
    assert!(on.smsc.report().binds >= 2);
    on.smsc.set(Faults {
        per_second: Some(1),
        ..Faults::default()
    });
    for n in 0..4 {
        on.kannel
            .send(&format!("4670000072{n}"), "slowly", 0)
            .await
            .unwrap();
    }
    for n in 0..4 {
        on.kannel
            .called(&["/dlr", &format!("to=4670000072{n}"), "type=1"])
            .await
            .unwrap();
    }
    on.kannel.stop().await.unwrap();
    wait_for("its unbind", SOON, async || {
        (on.smsc.report().binds_now == 0).then_some(())
    })
    .await;
    assert_eq!(on.smsc.report().odd, 0, "Kannel saw or did something odd");
}
