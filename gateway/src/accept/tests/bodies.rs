//! Small bodies: what is wrong with them is told as of a message's.

use super::*;
use crate::accept::problem::Code;
use crate::accept::receipts::ReceiptsIn;
use crate::accept::resume::ResumeIn;
use crate::accept::shape::{Fields, Shape, Shaped};
use crate::accept::suppressions::{AddIn, CheckIn};

const RESUME: &str = "/v1/routes/carrier-a/resume";
const SUPPRESSIONS: &str = "/v1/suppressions";
const CHECK: &str = "/v1/suppressions/check";

async fn told(rig: &Rig, path: &str, body: &str) -> Vec<(String, String)> {
    let headers = [
        JSON,
        ("authorization", "Bearer operator-secret"),
        ("trunkline-tenant", "acme"),
    ];
    let answer = rig.post(path, &headers, body.to_owned()).await;
    assert_eq!(answer.status, 422, "{path} {body}: {}", answer.json());
    let json = answer.json();
    assert!(
        !["expected", "struct", "u8"]
            .iter()
            .any(|word| json["errors"].to_string().contains(word)),
        "{json}"
    );
    let errors = json["errors"].as_array().unwrap().iter();
    errors
        .map(|error| {
            let word = |name: &str| error[name].as_str().unwrap().to_owned();
            (word("pointer"), word("code"))
        })
        .collect()
}

/// A path (none: the place for receipts), a body, and each error's pointer and code.
type Wrong = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const WRONG: &[Wrong] = &[
    ("", r#"{"event":1}"#, &[("/event", "wrong_type")]),
    (
        "",
        r#"{"event":"opened","device":["0"]}"#,
        &[("/device", "wrong_type")],
    ),
    (
        "",
        r#"{"receipts":[["opened",null,null]]}"#,
        &[("/receipts/0", "wrong_type")],
    ),
    (
        "",
        r#"{"receipts":[{"event":"opened","device":[0,null,null]}]}"#,
        &[("/receipts/0/device", "wrong_type")],
    ),
    (
        "",
        r#"{"event":"opened","device":{"index":300}}"#,
        &[("/device", "unknown_device")],
    ),
    (
        "",
        r#"{"event":"opened","device":{"index":-1}}"#,
        &[("/device", "unknown_device")],
    ),
    (
        "",
        r#"{"device":{"index":"0"},"at":"now","more":1}"#,
        &[
            ("/device/index", "wrong_type"),
            ("/more", "unknown_field"),
            ("/event", "required"),
            ("/at", "not_rfc3339"),
        ],
    ),
    (
        "",
        r#"{"event":"opened","event":"opened"}"#,
        &[("/event", "duplicate_key")],
    ),
    (RESUME, r#"{"reason":1}"#, &[("/reason", "wrong_type")]),
    (RESUME, r#"{"until":"x"}"#, &[("/until", "unknown_field")]),
    (SUPPRESSIONS, "{}", &[("/phone", "required")]),
    (
        SUPPRESSIONS,
        r#"{"phone":1,"scope":["all",""],"expires_at":"soon","note":""}"#,
        &[
            ("/note", "unknown_field"),
            ("/phone", "wrong_type"),
            ("/scope", "wrong_type"),
            ("/expires_at", "not_rfc3339"),
        ],
    ),
    (
        SUPPRESSIONS,
        r#"{"phone":"+46701234567","scope":{"value":"acme","brand":"x"}}"#,
        &[
            ("/scope/brand", "unknown_field"),
            ("/scope/kind", "required"),
        ],
    ),
    (
        CHECK,
        r#"{"class":"vip","from":5}"#,
        &[
            ("/from", "wrong_type"),
            ("/phone", "required"),
            ("/class", "not_one_of"),
        ],
    ),
];

#[tokio::test]
async fn what_is_no_object_is_refused_everywhere_as_it_is_for_a_message() {
    let rig = Rig::new();
    let receipts = pushed(&rig).await;
    for path in ["/v1/messages", &receipts, RESUME, SUPPRESSIONS, CHECK] {
        for body in [
            "[]",
            "7",
            "null",
            r#"["opened",null,null,null]"#,
            r#"["+46701234567"]"#,
            r#"["why"]"#,
        ] {
            let errors = told(&rig, path, body).await;
            assert_eq!(errors, [("".into(), "wrong_type".into())], "{path} {body}");
        }
    }
}

/// The place for receipts of a push to one device.
async fn pushed(rig: &Rig) -> String {
    let push = r#"{"to":{"devices":[{"platform":"ios","app":"shop","token":"AB01"}]},
        "content":{"push":{"title":"T"}},"receipts":"app"}"#;
    let id = rig.post("/v1/messages", &[JSON], push).await.json()["id"].clone();
    format!("/v1/messages/{}/receipts", id.as_str().unwrap())
}

#[tokio::test]
async fn wrong_shapes_and_wrong_values_are_told_with_their_places() {
    let rig = Rig::new();
    let receipts = &*pushed(&rig).await;
    for (path, body, expected) in WRONG {
        let path = if path.is_empty() { receipts } else { path };
        let errors = told(&rig, path, body).await;
        let errors: Vec<_> = errors.iter().map(|(at, code)| (&**at, &**code)).collect();
        assert_eq!(errors, *expected, "{path} {body}");
    }
    let nulls = r#"{"phone":"+46701234567","scope":null,"text":null,"expires_at":null}"#;
    let headers = [JSON, ("authorization", "Bearer operator-secret")];
    let headers = [headers[0], headers[1], ("trunkline-tenant", "acme")];
    assert_eq!(
        rig.post(SUPPRESSIONS, &headers, nulls).await.status,
        201,
        "null is the same as absent"
    );
    let broken = rig.post(CHECK, &headers, "{\"phone\":").await;
    assert_eq!(broken.code().1, Code::MalformedJson.name());
}

/// The fields that the document tells are those that are read.
#[tokio::test]
async fn the_shapes_of_small_bodies_are_the_documents() {
    let rig = Rig::new();
    let document = request("GET", "/openapi.json", &[("authorization", "")], "");
    let json = rig.send(document).await.json();
    let schemas = &json["components"]["schemas"];
    for (name, fields) in [
        ("AppReceipts", ReceiptsIn::FIELDS),
        ("ResumeRoute", ResumeIn::FIELDS),
        ("AddSuppression", AddIn::FIELDS),
        ("CheckSuppression", CheckIn::FIELDS),
    ] {
        same(schemas, name, &schemas[name], fields);
    }
}

fn same(schemas: &Value, name: &str, schema: &Value, fields: Fields) {
    let properties = schema["properties"].as_object().unwrap();
    let mut told: Vec<&str> = properties.keys().map(String::as_str).collect();
    told.sort_unstable();
    let read: Vec<&str> = fields.iter().map(|field| field.0).collect();
    assert_eq!(told, read, "{name}");
    for (field, shape) in fields {
        let inner = match shape {
            Shape::Object(inner) | Shape::List(Shape::Object(inner)) => *inner,
            _ => continue,
        };
        let text = properties[*field].to_string();
        let of = text.split("#/components/schemas/").nth(1).unwrap();
        let of = of.split('"').next().unwrap();
        same(schemas, of, &schemas[of], inner);
    }
}
