//! Config errors: all at once, each with file, line, key and a hint; no secret is shown.

use trunkline_tests::config::KEY;
use trunkline_tests::gateway::run;
use trunkline_tests::{Directory, Endpoint, Gateway, Route, Setup};

fn setup() -> Setup {
    let nobody = "127.0.0.1:9".parse().unwrap();
    Setup {
        routes: vec![Route::new("main", nobody)],
        endpoints: vec![Endpoint::new("crm", nobody)],
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_told_at_once() {
    let directory = Directory::new("mistakes").unwrap();
    let mut wrong = setup();
    wrong.routes[0].window = 0;
    wrong.routes[0] = wrong.routes[0].clone().with("enquire_lnk = \"30s\"");
    wrong.endpoints[0] = wrong.endpoints[0]
        .clone()
        .with("types = [\"message.delivred\"]");
    wrong.limits = "queued = \"many\"".into();
    directory.configure(&wrong).unwrap();
    let file = directory.config().display().to_string();
    let output = run(&["config", "check", &file]).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for told in [
        "routes.main.window",
        "enquire_link",
        "message.delivered",
        "limits.queued",
        &format!("{file}:"),
    ] {
        assert!(said.contains(told), "{told} is not in:\n{said}");
    }
    assert!(!said.contains(KEY), "a secret is shown");

    let ended = Gateway::try_start(&directory, &[]).await.unwrap();
    let ended = ended.expect_err("it started on a config with mistakes");
    assert_ne!(ended.code, Some(0));
    assert!(ended.said.contains("routes.main.window"), "{}", ended.said);
    assert!(!directory.store().exists(), "the store is not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_config_passes_and_prints_no_secret() {
    let directory = Directory::new("good").unwrap();
    directory.configure(&setup()).unwrap();
    let file = directory.config().display().to_string();
    let check = run(&["config", "check", &file]).await.unwrap();
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );
    let print = run(&["config", "print", &file]).await.unwrap();
    let text = String::from_utf8_lossy(&print.stdout);
    assert!(
        print.status.success() && text.contains("[routes.main]"),
        "{text}"
    );
    assert!(!text.contains(KEY), "a secret is shown");

    let usage = run(&["serv"]).await.unwrap();
    assert_eq!(usage.status.code(), Some(2));
}
