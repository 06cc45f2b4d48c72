//! Resuming a route: who may, and what it takes.

use super::*;

#[tokio::test]
async fn a_route_is_resumed_with_or_without_a_reason() {
    let rig = Rig::new();
    let operator = ("authorization", "Bearer operator-secret");
    let path = "/v1/routes/carrier-a/resume";
    for (headers, body) in [
        (&[operator][..], ""),
        (
            &[operator, JSON],
            r#"{"reason":"the carrier has let us in again"}"#,
        ),
        (&[operator, JSON], "{}"),
    ] {
        let answer = rig.post(path, headers, body).await;
        assert_eq!(
            (answer.status, &answer.json()["name"]),
            (200, &"carrier-a".into())
        );
    }
    let json = [operator, JSON];
    rig.post(path, &json, r#"{"until":"2026-11-21T08:00:00Z"}"#)
        .await
        .is(422, "invalid_request");
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(256));
    rig.post(path, &json, long).await.is(422, "invalid_request");
    let text = [operator, ("content-type", "text/plain")];
    rig.post(path, &text, "why")
        .await
        .is(415, "unsupported_media_type");
    rig.post("/v1/routes/nobody/resume", &[operator], "")
        .await
        .is(404, "not_found");
    rig.post(path, &[], "").await.is(403, "insufficient_scope");
}
