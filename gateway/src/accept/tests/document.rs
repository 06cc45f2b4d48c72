//! The OpenAPI document against the router and the types.

use super::*;

#[tokio::test]
async fn the_document_is_openapi_31_and_complete() {
    let rig = Rig::new();
    let answer = rig
        .send(request(
            "GET",
            "/openapi.json",
            &[("authorization", "")],
            "",
        ))
        .await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert!(
        json["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        json["openapi"]
    );
    for entry in &router::TABLE {
        let method = entry.method.as_str().to_lowercase();
        assert!(
            json["paths"][entry.path][&method].is_object(),
            "{} {}",
            method,
            entry.path
        );
    }
    let text = std::str::from_utf8(&answer.bytes).unwrap();
    let schemas = json["components"]["schemas"].as_object().unwrap();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(
            schemas.contains_key(name),
            "{name} is referred to and not there"
        );
    }
    let batch = &json["paths"]["/v1/batches"]["post"];
    assert!(batch["requestBody"]["content"]["application/x-ndjson"].is_object());
    let limited = &batch["responses"]["429"];
    assert!(limited["content"]["application/problem+json"].is_object());
    assert!(limited["headers"]["RateLimit"].is_object());
    let fields = schemas["SendMessage"]["properties"].as_object().unwrap();
    assert!(fields.contains_key("ttl") && fields.contains_key("callback"));
}

#[tokio::test]
async fn the_document_lists_what_is_there_and_what_it_answers() {
    let rig = Rig::new();
    let document = request("GET", "/openapi.json", &[("authorization", "")], "");
    let json = rig.send(document).await.json();
    let operations = json["paths"].as_object().unwrap().iter();
    let operations = operations.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| (path.clone(), method.to_uppercase()))
    });
    for (path, method) in operations {
        let known = |entry: &router::Entry| entry.path == path && entry.method == *method;
        assert!(
            router::TABLE.iter().any(known),
            "{method} {path} is not there"
        );
    }
    let statuses = |path: &str, method: &str| -> Vec<String> {
        let responses = json["paths"][path][method]["responses"].as_object();
        responses.unwrap().keys().cloned().collect()
    };
    assert_eq!(
        statuses("/v1/messages", "post"),
        [
            "202", "400", "401", "403", "406", "408", "413", "415", "422", "429", "500", "503"
        ]
    );
    assert_eq!(
        statuses("/v1/messages/{id}", "get"),
        ["200", "401", "403", "404", "406", "422", "500"]
    );
    let schemas = &json["components"]["schemas"];
    let revoke = &schemas["Step"]["properties"]["revoke"];
    assert_eq!(revoke["enum"], serde_json::json!([true]));
    for (schema, field) in [
        ("Recipient", "devices"),
        ("Device", "registered_at"),
        ("PushContent", "collapse_key"),
        ("Content", "push"),
        ("PayloadView", "octets"),
        ("MessageWait", "due"),
    ] {
        assert!(
            schemas[schema]["properties"][field].is_object(),
            "{schema} {field}"
        );
    }
    let message = schemas["Message"].to_string();
    assert!(message.contains("\"waits_for\""), "{message}");
    assert!(message.contains("schemas/MessageWait"), "{message}");
    let limit = &json["paths"]["/v1/events"]["get"]["parameters"];
    let limit = limit
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["name"] == "limit");
    assert_eq!(limit.unwrap()["schema"]["maximum"], 1000);
}
