//! Interop the other way round: Kannel's bearerbox binds to our simulator, as a check of the simulator.
//!
//! What passes here is not our codec on both sides: an SMSC that Kannel understands is one.

use codecs::smpp::CommandStatus;
use sim::smsc::{ErrorShare, Faults, FromHandset, Receipts, Seen, Smsc, SmscConfig};
use trunkline_tests::kannel::{Binds, Kannel, Setup};
use trunkline_tests::scene::smsc_config;
use trunkline_tests::{SOON, peers, wait_for};

/// The same as in `sms-segments-calculator`: 200 septets are two segments.
const LONG: &str = "0123456789";

/// The account that Kannel has.
fn account_config() -> SmscConfig {
    SmscConfig {
        account: Some(("main".to_owned(), "secret".to_owned())),
        ..smsc_config()
    }
}

/// Kannel with the right password and these binds and groups.
fn setup(binds: Binds, groups: &str) -> Setup {
    Setup {
        binds,
        lines: "smsc-password = secret\nenquire-link-interval = 1".to_owned(),
        groups: groups.to_owned(),
    }
}

struct On {
    smsc: Smsc,
    kannel: Kannel,
}

impl On {
    async fn start(test: &str) -> Option<Self> {
        Self::with(test, account_config(), &setup(Binds::Transceiver, "")).await
    }

    async fn with(test: &str, config: SmscConfig, setup: &Setup) -> Option<Self> {
        if !peers::debian(test, "kannel", "/usr/sbin/bearerbox") {
            return None;
        }
        let smsc = Smsc::start(config).await.unwrap();
        let kannel = Kannel::start(smsc.addr(), setup).await.unwrap();
        Some(Self { smsc, kannel })
    }

    async fn bound(&self, binds: u64) {
        wait_for(&format!("{binds} binds"), SOON, async || {
            (self.smsc.report().binds_now == binds).then_some(())
        })
        .await;
    }

    /// Kannel reports it as delivered.
    async fn delivered(&self, to: &str) {
        let to = format!("to={to}");
        self.kannel.called(&["/dlr", &to, "type=1"]).await.unwrap();
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
    let Some(on) = On::start(name).await else {
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
    let Some(on) = On::start(name).await else {
        return;
    };
    on.bound(1).await;
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
    // Kannel 1.4.5 panics when its bind is refused before it has started whole.
    let not_yet = SmscConfig {
        faults: Faults {
            half_open: true,
            ..Faults::default()
        },
        ..account_config()
    };
    let setup = Setup {
        lines: "smsc-password = wrong".to_owned(),
        ..Setup::default()
    };
    let name = "kannel_with_a_wrong_password_stays_out";
    let Some(on) = On::with(name, not_yet, &setup).await else {
        return;
    };
    on.smsc.set(Faults::default());
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
    let Some(mut on) = On::start(name).await else {
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
    on.bound(0).await;
    assert_eq!(on.smsc.report().odd, 0, "Kannel saw or did something odd");
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_with_a_transmitter_and_a_receiver_sends_on_one_and_hears_on_the_other() {
    let name = "kannel_with_a_transmitter_and_a_receiver_sends_on_one_and_hears_on_the_other";
    let setup = setup(Binds::Pair, "");
    // Kannel 1.4.5 loses a receipt that overtakes its submit_sm_resp on the other bind: it remembers
    // no id before. Carriers take their time too.
    let receipts = Receipts {
        delay_ms: 1_500,
        ..Receipts::default()
    };
    let config = SmscConfig {
        faults: Faults {
            receipts,
            ..Faults::default()
        },
        ..account_config()
    };
    let Some(on) = On::with(name, config, &setup).await else {
        return;
    };
    for to in ["46700000730", "46700000731"] {
        on.bound(2).await;
        on.kannel.send(to, "one way", 0).await.unwrap();
        on.seen(to, 1).await;
        on.delivered(to).await;
        // The simulator hands it to a bind that receives.
        let mo = FromHandset::text(to, "12345", "other way");
        assert_eq!(on.smsc.hand(0, mo).await, Some(0));
        let from = format!("from=%2B{to}");
        on.kannel
            .called(&["/mo?", &from, "text=other+way"])
            .await
            .unwrap();
        // The second time after a cut of both.
        let before = on.smsc.report().binds;
        on.smsc.disconnect_all();
        wait_for("both binds again", SOON, async || {
            (on.smsc.report().binds == before + 2).then_some(())
        })
        .await;
    }
    let pdus = on.kannel.pdus().unwrap();
    let count = |name: &str| pdus.iter().filter(|pdu| pdu.name == name).count();
    assert!(count("bind_transmitter_resp") >= 2, "{pdus:?}");
    assert!(count("bind_receiver_resp") >= 2, "{pdus:?}");
    assert_eq!(count("bind_transceiver"), 0, "{pdus:?}");
    assert_eq!(on.smsc.report().odd, 0, "Kannel saw or did something odd");
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_sends_tlvs_of_all_its_kinds() {
    let groups: String = [
        ("entity", "0x1400", "octetstring", 30),
        ("campaign", "0x1401", "nulterminated", 10),
        ("level", "0x1402", "integer", 2),
    ]
    .iter()
    .map(|(name, tag, kind, length)| {
        format!(
            "group = smpp-tlv\nname = {name}\ntag = {tag}\ntype = {kind}\nlength = {length}\n\
             smsc-id = sim\n\n"
        )
    })
    .collect();
    let setup = setup(Binds::Transceiver, &groups);
    let name = "kannel_sends_tlvs_of_all_its_kinds";
    let Some(on) = On::with(name, account_config(), &setup).await else {
        return;
    };
    let meta_data = "?smpp?entity=1101+0000&campaign=spring&level=515";
    on.kannel
        .send_with("46700000740", "with TLVs", 0, meta_data)
        .await
        .unwrap();
    let seen = on.seen("46700000740", 1).await;
    assert_eq!(seen[0].short_message, b"with TLVs");
    // Tag, length, value (SMPP v3.4 §3.2.4.1), in the order of Kannel's table.
    let wanted: [&[u8]; 3] = [
        b"\x14\x00\x00\x091101 0000",
        b"\x14\x01\x00\x07spring\0",
        b"\x14\x02\x00\x02\x02\x03",
    ];
    let tlvs = &seen[0].tlvs;
    for tlv in wanted {
        let has = tlvs.windows(tlv.len()).any(|window| window == tlv);
        assert!(has, "no {tlv:02x?} in {tlvs:02x?}");
    }
    assert_eq!(tlvs.len(), wanted.concat().len(), "{tlvs:02x?}");
    on.delivered("46700000740").await;
    assert_eq!(on.smsc.report().odd, 0, "Kannel saw or did something odd");
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_and_the_simulator_answer_each_others_enquire_links() {
    let name = "kannel_and_the_simulator_answer_each_others_enquire_links";
    // Kannel asks every second; the simulator after less silence than that.
    let config = SmscConfig {
        enquire_link_ms: 200,
        ..account_config()
    };
    let setup = setup(Binds::Transceiver, "");
    let Some(on) = On::with(name, config, &setup).await else {
        return;
    };
    let pairs = [
        (true, "enquire_link"),
        (false, "enquire_link_resp"),
        (false, "enquire_link"),
        (true, "enquire_link_resp"),
    ];
    // An answer with a sequence_number that the simulator did not send would be odd.
    wait_for("three enquire_links each way", SOON, async || {
        let pdus = on.kannel.pdus().unwrap();
        let count = |&(sent, name): &(bool, &str)| {
            let same = pdus.iter().filter(|p| p.sent == sent && p.name == name);
            same.count()
        };
        pairs.iter().all(|pair| count(pair) >= 3).then_some(())
    })
    .await;
    let report = on.smsc.report();
    assert_eq!((report.binds, report.binds_now, report.odd), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_killed_with_a_queue_hands_it_over_once_when_it_runs_again() {
    let name = "kannel_killed_with_a_queue_hands_it_over_once_when_it_runs_again";
    let Some(mut on) = On::start(name).await else {
        return;
    };
    on.bound(1).await;
    // Nothing is taken: all of it stays in Kannel's spool.
    let throttled = ErrorShare {
        status: CommandStatus::THROTTLED.0,
        share: 1.0,
    };
    on.smsc.set(Faults {
        errors: vec![throttled],
        ..Faults::default()
    });
    let queued = ["46700000750", "46700000751", "46700000752"];
    for to in queued {
        on.kannel.send(to, "queued", 0).await.unwrap();
    }
    wait_for("a throttled submit", SOON, async || {
        (on.smsc.report().throttled > 0).then_some(())
    })
    .await;
    on.kannel.kill().await;
    on.bound(0).await;
    assert_eq!(on.smsc.report().accepted, 0);
    on.smsc.set(Faults::default());
    on.kannel.restart().await.unwrap();
    for to in queued {
        on.delivered(to).await;
    }
    let report = on.smsc.report();
    assert_eq!((report.accepted, report.unique), (3, 3));
    assert_eq!((report.binds, report.odd), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn kannel_hands_over_what_was_unanswered_and_queued_when_the_simulator_died() {
    let name = "kannel_hands_over_what_was_unanswered_and_queued_when_the_simulator_died";
    let Some(on) = On::start(name).await else {
        return;
    };
    on.bound(1).await;
    on.smsc.set(Faults {
        silent: 1.0,
        ..Faults::default()
    });
    on.kannel
        .send("46700000760", "unanswered", 0)
        .await
        .unwrap();
    wait_for("an unanswered submit", SOON, async || {
        (on.smsc.report().silent == 1).then_some(())
    })
    .await;
    let On { smsc, kannel } = on;
    // Without unbind; its process would end so.
    let listen = smsc.addr();
    drop(smsc);
    for to in ["46700000761", "46700000762"] {
        kannel.send(to, "queued", 0).await.unwrap();
    }
    let config = SmscConfig {
        listen,
        ..account_config()
    };
    let smsc = wait_for("its port to be free", SOON, async || {
        Smsc::start(config.clone()).await.ok()
    })
    .await;
    let on = On { smsc, kannel };
    for to in ["46700000760", "46700000761", "46700000762"] {
        on.delivered(to).await;
    }
    let report = on.smsc.report();
    assert_eq!((report.accepted, report.unique), (3, 3));
    assert_eq!((report.binds, report.odd), (1, 0));
}
