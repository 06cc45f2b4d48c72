//! How a message was written, as it is told: data_coding, header, message waiting indication.

use super::*;

/// A part with a header.
fn headed(place: Option<(u16, u8, u8)>, header: &[u8], content: &str) -> InboundPart {
    let mut part = part(place, "");
    part.header = header.len().try_into().unwrap();
    part.octets = [header, content.as_bytes()].concat().into();
    part
}

#[tokio::test]
async fn a_header_is_told_whole_with_its_ports_and_beside_the_content() {
    let mut world = World::new();
    // To port 2948, from port 9200: WAP push. 3GPP TS 23.040 §9.2.3.24.4.
    let ports = [6, 5, 4, 0x0B, 0x84, 0x23, 0xF0];
    let mut push = headed(None, &ports, "\u{1}\u{6}");
    push.data_coding = 0xF5;
    world.receive(vec![push]).await;
    let young = world.told().await;
    let data = &young[0]["data"];
    assert_eq!(
        (&data["udh"], &data["data"]),
        (&"BgUEC4Qj8A==".into(), &"AQY=".into())
    );
    assert_eq!(data["data_coding"], 0xF5);
    world.store().archive_now().await;
    assert_eq!(world.told().await, young, "from the archive");
    world.reopen();
    assert_eq!(world.told().await, young, "after a restart");
}

#[tokio::test]
async fn of_several_parts_the_first_header_and_data_coding_are_told() {
    let world = World::new();
    let concat = |sequence| [5, 0, 3, 7, 2, sequence];
    let mut second = headed(Some((7, 2, 2)), &concat(2), "\u{0}b");
    second.data_coding = 8;
    world
        .receive(vec![second, headed(Some((7, 2, 1)), &concat(1), "a")])
        .await;
    // By sar_msg_ref_num the first part has none.
    let ports = [6, 5, 4, 0x0B, 0x84, 0x23, 0xF0];
    world
        .receive(vec![
            part(Some((8, 2, 1)), "c"),
            headed(Some((8, 2, 2)), &ports, "d"),
        ])
        .await;
    let told = world.told().await;
    let data = &told[0]["data"];
    assert_eq!(
        (&data["text"], &data["encoding"]),
        (&"ab".into(), &"mixed".into())
    );
    assert_eq!(
        (&data["udh"], &data["data_coding"]),
        (&"BQADBwIB".into(), &0.into())
    );
    let data = &told[1]["data"];
    assert_eq!(
        (&data["text"], &data["udh"]),
        (&"cd".into(), &"BgUEC4Qj8A==".into())
    );
}

#[tokio::test]
async fn a_message_waiting_indication_is_told_beside_its_text() {
    let world = World::new();
    let coded = |data_coding, text: &str| {
        let mut one = part(None, text);
        one.data_coding = data_coding;
        one
    };
    world
        .receive(vec![
            coded(0xC8, "2 new"),
            coded(0xD1, "none"),
            coded(0xEA, "\u{0}H"),
            coded(0xDF, "fax?"),
            coded(0xF0, "flash"),
        ])
        .await;
    let told = world.told().await;
    let waiting = |kind: &str, active: bool, discard: bool| serde_json::json!({"kind": kind, "active": active, "discard": discard});
    for (told, (text, data_coding, wanted)) in told.iter().zip([
        ("2 new", 0xC8, waiting("voicemail", true, true)),
        ("none", 0xD1, waiting("fax", false, false)),
        ("H", 0xEA, waiting("email", true, false)),
        ("fax?", 0xDF, waiting("other", true, false)),
        ("flash", 0xF0, Value::Null),
    ]) {
        let data = &told["data"];
        assert_eq!(data["text"], text);
        assert_eq!(
            (&data["data_coding"], &data["waiting"]),
            (&data_coding.into(), &wanted),
            "{text}"
        );
    }
    assert_eq!(told.len(), 5);
}
