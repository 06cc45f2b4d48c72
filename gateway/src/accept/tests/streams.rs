//! NDJSON streams: answered line by line, with limits, at their tenant's rate.

use super::*;

fn stream(count: usize) -> String {
    let line = |n: usize| {
        format!(
            "{{\"to\":\"+4670{n:07}\",\"text\":\"n{n}\",\"client_ref\":\"c{n}\",\"idempotency_key\":\"k{n}\"}}\n"
        )
    };
    let lines: String = (0..count).map(line).collect();
    format!("{{\"defaults\":{{\"from\":\"ACME\"}}}}\n{lines}")
}

#[tokio::test]
async fn a_stream_is_answered_line_by_line() {
    let rig = Rig::new();
    let mut body = stream(1200);
    body.push_str("\n{not json}\n");
    body.push_str("{\"to\":\"+46701234567\",\"text\":\"\"}");
    let answer = rig
        .post("/v1/batches", &[NDJSON, STREAM], body.clone())
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let mut lines = answer.lines();
    let summary = lines.pop().unwrap();
    let summary = &summary["summary"];
    assert_eq!(
        (&summary["accepted"], &summary["rejected"]),
        (&1200.into(), &2.into())
    );
    assert_eq!(summary["complete"], true);
    lines.sort_by_key(|line| line["index"].as_u64().unwrap());
    assert_eq!(lines.len(), 1202);
    for (index, line) in lines[..1200].iter().enumerate() {
        assert_eq!(line["index"], index);
        assert_eq!(line["status"], 202);
        assert_eq!(line["client_ref"], format!("c{index}"));
    }
    assert!(
        lines[..1200].is_sorted_by_key(|line| line["id"].as_str().unwrap().to_owned()),
        "ids rise with the lines"
    );
    assert_eq!(lines[1200]["error"]["code"], "malformed_json");
    // The defaults' line, 1,200 messages and a blank line come before it.
    assert_eq!(
        lines[1200]["error"]["detail"],
        "key must be a string at column 2 of the stream's line 1203"
    );
    assert_eq!(lines[1201]["error"]["code"], "content_missing_for_channel");
    let again = rig.post("/v1/batches", &[NDJSON, STREAM], body).await;
    let summary = again.lines().pop().unwrap();
    assert_eq!(
        summary["summary"]["replayed"], 1200,
        "resending all is safe"
    );
}

#[tokio::test]
async fn a_stream_without_accept_is_answered_once() {
    let rig = Rig::new();
    let answer = rig.post("/v1/batches", &[NDJSON], stream(700)).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let json = answer.json();
    assert_eq!(json["accepted"], 700);
    let results = json["results"].as_array().unwrap();
    let indexes: Vec<_> = results
        .iter()
        .map(|r| r["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes, (0..700).collect::<Vec<u64>>());
    let empty = rig.post("/v1/batches", &[NDJSON], "").await;
    assert_eq!(empty.json()["results"], serde_json::json!([]));
}

#[tokio::test]
async fn a_streams_limits_are_told() {
    let rig = Rig::new();
    let keyed = [NDJSON, ("idempotency-key", "k")];
    rig.post("/v1/batches", &keyed, stream(1))
        .await
        .is(422, "invalid_request");
    let atomic = rig
        .post("/v1/batches?atomic=true", &[NDJSON], stream(1))
        .await;
    atomic.is(422, "invalid_request");
    let held = rig
        .gateway
        .streams
        .clone()
        .acquire_many_owned(2)
        .await
        .unwrap();
    let full = rig.post("/v1/batches", &[NDJSON], stream(1)).await;
    full.is(503, "overloaded");
    assert!(full.headers.contains_key("retry-after"));
    drop(held);
    let long = format!("{{\"text\":\"{}\"}}\n", "x".repeat(ITEM_MAX));
    let answer = rig
        .post("/v1/batches", &[NDJSON, STREAM], long + &stream(1))
        .await;
    let lines = answer.lines();
    assert_eq!(lines[0]["status"], 413);
    let bad = "{\"defaults\":{\"nope\":1}}\n{}\n";
    let lines = rig
        .post("/v1/batches", &[NDJSON, STREAM], bad)
        .await
        .lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["summary"]["complete"], false);
    assert_eq!(
        lines[0]["summary"]["error"]["errors"][0]["pointer"],
        "/defaults/nope"
    );
}

#[tokio::test]
async fn a_streams_defaults_stand_in_its_first_line_that_is_not_blank() {
    let rig = Rig::new();
    let to = r#"{"to":"+46701234567","text":"x"}"#;
    let defaults = r#"{"defaults":{"from":"ACME"}}"#;
    let body = format!("\r\n \n{defaults}\r\n{to}\r\n{defaults}\n\n{to}");
    let mut lines = rig
        .post("/v1/batches", &[NDJSON, STREAM], body)
        .await
        .lines();
    lines[..3].sort_by_key(|line| line["index"].as_u64());
    assert_eq!(
        (&lines[0]["status"], &lines[2]["status"]),
        (&202.into(), &202.into())
    );
    let error = &lines[1]["error"]["errors"][0];
    assert_eq!(
        (&error["pointer"], &error["code"]),
        (&"/defaults".into(), &"not_allowed_here".into())
    );
    let wrong = rig
        .post("/v1/batches", &[NDJSON, STREAM], "{\"defaults\":[]}")
        .await;
    let error = &wrong.lines()[0]["summary"]["error"]["errors"][0];
    assert_eq!(error["pointer"], "/defaults");
}

#[tokio::test]
async fn a_stream_that_is_too_long_keeps_what_it_stored() {
    let rig = Rig::new();
    let mut body = format!("{HELLO}\n{HELLO}");
    body.push_str(&"\n".repeat(100_000));
    body.push_str(HELLO);
    let lines = rig
        .post("/v1/batches", &[NDJSON, STREAM], body)
        .await
        .lines();
    let statuses: Vec<_> = lines[..2]
        .iter()
        .map(|line| line["status"].clone())
        .collect();
    assert_eq!(statuses, [202, 202]);
    let summary = &lines[2]["summary"];
    assert_eq!(
        (&summary["accepted"], &summary["complete"]),
        (&2.into(), &false.into())
    );
    assert_eq!(summary["error"]["code"], "batch_too_large");
}

#[tokio::test]
async fn a_stream_waits_for_its_tenants_rate() {
    let rig = Rig::with(|config| {
        let rate = config.tenants[1].1.ingress.as_mut().unwrap();
        rate.per = Duration::from_millis(20);
    });
    let answer = rig
        .post("/v1/batches", &[NDJSON, STREAM, HIVE], stream(60))
        .await;
    let summary = answer.lines().pop().unwrap();
    assert_eq!(
        summary["summary"]["accepted"], 60,
        "three bursts of 20, and no 429"
    );
}
