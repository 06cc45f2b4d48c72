//! Second form: what a carrier refuses for its validity_period or its data_coding is tried once more
//! without the one, or in UCS-2; and only once.

use serde_json::{Value, json};
use sim::smsc::{Scripted, ScriptedAnswer, SmscConfig};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Scene, message};

/// A carrier that answers the first tries of every part so.
fn carrier(parts: &[u8], answers: &[ScriptedAnswer]) -> SmscConfig {
    let mut config = smsc_config();
    let script = parts.iter().map(|part| Scripted {
        part: *part,
        answers: answers.to_vec(),
    });
    config.faults.script = script.collect();
    config
}

/// What the timeline tells of the attempts: status, next form, and what followed.
async fn attempts(scene: &Scene, id: &str) -> Vec<(Value, Value, Value)> {
    let path = format!("/v1/messages/{id}/timeline");
    let timeline = scene.client.json(&path).await.unwrap();
    let entries = timeline["data"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["type"] == "attempt")
        .map(|entry| {
            let status = entry["provider"]["status"].clone();
            (status, entry["next_form"].clone(), entry["then"].clone())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_whose_validity_is_refused_goes_out_without() {
    let refused = [ScriptedAnswer::Refused(0x62)];
    let scene = Scene::start("no-validity", carrier(&[1, 2, 3], &refused), |_| {})
        .await
        .unwrap();
    let id = scene
        .send(&message(&number(1), &"three parts ".repeat(30)))
        .await;
    let delivered = scene.status(&id, "delivered").await;
    assert_eq!(delivered["attempts"], 2, "{delivered}");
    assert_eq!(delivered["duplicate_possible"], false, "{delivered}");
    let attempts = attempts(&scene, &id).await;
    let refused = attempts.iter().filter(|(status, form, _)| {
        (status, form) == (&json!("0x00000062"), &json!("without_validity"))
    });
    assert_eq!((attempts.len(), refused.count()), (6, 3), "{attempts:?}");
    let seen = scene.smsc.messages();
    let without = seen.iter().map(|seen| seen.validity_period.is_empty());
    assert_eq!(
        without.collect::<Vec<_>>(),
        [false, false, false, true, true, true]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_in_the_second_form_as_well_has_failed() {
    for (status, form) in [(0x62, "without_validity"), (0x104, "ucs2")] {
        let always = [ScriptedAnswer::Refused(status); 5];
        let scene = Scene::start("second-form", carrier(&[0], &always), |_| {})
            .await
            .unwrap();
        let id = scene.send(&message(&number(2), "hello")).await;
        let failed = scene.status(&id, "failed").await;
        assert_eq!(failed["attempts"], 2, "{failed}");
        let attempts = attempts(&scene, &id).await;
        let code = json!(format!("0x{status:08X}"));
        let expected = vec![
            (code.clone(), json!(form), json!("again")),
            (code, Value::Null, json!("rest")),
        ];
        assert_eq!(attempts, expected);
        let seen = scene.smsc.messages();
        let sent = seen
            .iter()
            .map(|seen| (seen.validity_period.is_empty(), seen.data_coding));
        let second = if status == 0x62 {
            (true, 0)
        } else {
            (false, 8)
        };
        assert_eq!(sent.collect::<Vec<_>>(), [(false, 0), second]);
    }
}
