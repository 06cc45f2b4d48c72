//! Tests of the command line: verbs, exit codes, and what is said where.

use super::*;

fn run_args(args: &[&str]) -> (Exit, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["trunkline"].iter().chain(args);
    let exit = match parse(args, &mut out, &mut err) {
        Ok(cli) => run(&cli, &mut out, &mut err),
        Err(exit) => exit,
    };
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (exit, text(out), text(err))
}

#[test]
fn the_definition_is_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn verbs_of_the_contract_that_are_not_there_are_named() {
    for verb in ["route list", "config diff", "store backup", "doctor"] {
        let args: Vec<&str> = verb.split(' ').collect();
        let (exit, out, err) = run_args(&args);
        assert_eq!(exit, Exit::Usage, "{verb}");
        assert!(out.is_empty());
        let whole = if verb == "route list" { "route" } else { verb };
        let said = format!(
            "trunkline: `trunkline {whole}` is known to the contract but not available in this version\n"
        );
        assert_eq!(err, said);
    }
}

#[test]
fn usage_mistakes_exit_2_and_help_exits_0() {
    let (exit, out, err) = run_args(&["serv"]);
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert!(
        err.starts_with("error: unrecognized subcommand 'serv'"),
        "{err}"
    );
    assert!(err.contains("serve"), "{err}");
    let (exit, out, err) = run_args(&["--help"]);
    assert_eq!((exit, err.as_str()), (Exit::Ok, ""));
    assert!(out.contains("webhook"), "{out}");
    let (exit, _, err) = run_args(&["--json", "serve"]);
    assert_eq!(exit, Exit::Usage);
    let error: serde_json::Value = serde_json::from_str(&err).expect("--json holds for mistakes");
    assert_eq!(error["exit"], 2);
}

#[test]
fn version_is_text_or_json() {
    let (exit, out, _) = run_args(&["version"]);
    assert_eq!(exit, Exit::Ok);
    assert_eq!(out, format!("trunkline {}\n", env!("CARGO_PKG_VERSION")));
    let (_, out, _) = run_args(&["version", "--json"]);
    assert_eq!(
        out,
        format!("{{\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn config_check_counts_or_complains() {
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/gateway.toml");
    let (exit, out, err) = run_args(&["config", "check", good]);
    assert_eq!((exit, err.as_str()), (Exit::Ok, ""));
    assert_eq!(
        out,
        format!("{good}: ok, 0 tenants, 0 keys, 0 routes, 0 rules, 0 endpoints\n")
    );
    // Its secrets are not in the environment of the tests.
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/example.toml");
    let (exit, out, err) = run_args(&["config", "check", example]);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    assert!(out.ends_with("3 problems\n"), "{out}");
    let (exit, out, _) = run_args(&["config", "check", example, "--json"]);
    assert_eq!(exit, Exit::Failed);
    let answer: serde_json::Value = serde_json::from_str(&out).expect("--json");
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["problems"].as_array().map(Vec::len), Some(3));
}

#[test]
fn config_print_is_a_config_again() {
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/gateway.toml");
    let (exit, out, _) = run_args(&["config", "print", good]);
    assert_eq!(exit, Exit::Ok);
    let table: toml::Table = out.parse().expect("it prints TOML");
    assert_eq!(table["limits"]["queued"].as_integer(), Some(50_000_000));
    let (_, out, _) = run_args(&["config", "print", good, "--json"]);
    let table: serde_json::Value = serde_json::from_str(&out).expect("--json");
    assert_eq!(table["lanes"]["otp"], 50);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cli = parse(["trunkline", "version"], &mut Closed, &mut Closed).expect("a verb");
    assert_eq!(run(&cli, &mut Closed, &mut Closed), Exit::Ok);
    assert_eq!(
        parse(["trunkline", "--help"], &mut Closed, &mut Closed).err(),
        Some(Exit::Ok)
    );
}

/// The example of the Standard Webhooks reference libraries' own tests.
#[test]
fn a_known_webhook_signature_verifies() {
    let mut asked = Verify {
        secret_env: String::new(),
        id: String::from("msg_p5jXN8AQM9LWM0D4loKWxJek"),
        timestamp: 1_614_265_330,
        signature: String::from("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        tolerance: None,
        file: PathBuf::new(),
    };
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = br#"{"test": 2432232314}"#;
    let judge = |asked: &Verify, body| verify::judge(asked, secret, body, 1_614_265_330 + 301);
    assert_eq!(judge(&asked, body).expect("a secret"), None);
    assert_eq!(
        judge(&asked, b"{}").expect("a secret"),
        Some("no signature fits")
    );
    asked.tolerance = Some(300);
    let late = Some("the timestamp is out of tolerance");
    assert_eq!(judge(&asked, body).expect("a secret"), late);
    assert!(verify::judge(&asked, "hunter2", body, 0).is_err());
}

#[test]
fn store_verbs_tell_what_is_no_store_and_leave_nothing_there() {
    let temp = crate::files::temp::TempDir::new();
    let dir = &temp.0;
    let file = dir.join("file");
    std::fs::write(&file, "").expect("a file");
    let empty = dir.join("empty");
    std::fs::create_dir_all(&empty).expect("a directory");
    for (path, told) in [
        (&empty, "not a store: no state.db and no journal in it"),
        (&file, "not a directory, so not a store"),
        (&dir.join("none"), "No such file or directory (os error 2)"),
    ] {
        let path = path.display().to_string();
        let out_file = dir.join("out").display().to_string();
        for args in [
            &["store", "check", &path][..],
            &["store", "export", &path, "--out", &out_file],
        ] {
            let (exit, out, err) = run_args(args);
            assert_eq!((exit, out.as_str()), (Exit::Failed, ""));
            assert_eq!(err, format!("trunkline: {path}: {told}\n"));
        }
        let (exit, out, err) = run_args(&["--json", "store", "check", &path]);
        assert_eq!((exit, out.as_str()), (Exit::Failed, ""));
        let error: serde_json::Value = serde_json::from_str(&err).expect("--json");
        assert_eq!(error["error"], format!("{path}: {told}"));
        assert_eq!(error["exit"], 1);
    }
    assert_eq!(std::fs::read_dir(&empty).expect("still there").count(), 0);
}

#[test]
fn sim_smsc_has_handsets_write_only_with_a_number_to_write_to() {
    let handsets = |options: &[&str]| {
        let args = ["trunkline", "sim", "smsc"].iter().chain(options);
        let cli = parse(args, &mut io::sink(), &mut io::sink()).expect("a verb");
        let Verb::Sim(SimVerb::Smsc(smsc)) = cli.verb else {
            panic!("not sim smsc")
        };
        smsc.handsets()
    };
    assert_eq!(handsets(&[]), None);
    let plain = sim::smsc::Handsets {
        to: String::from("71234"),
        ..sim::smsc::Handsets::default()
    };
    assert_eq!(handsets(&["--mo-to", "71234"]), Some(plain.clone()));
    let all = "--mo-to 71234 --mo-from 46700000001 --mo-text STOP --mo-rate 2.5 --mo-count 3";
    let all: Vec<&str> = all.split(' ').collect();
    let wanted = sim::smsc::Handsets {
        from: String::from("46700000001"),
        text: String::from("STOP"),
        per_second: 2.5,
        count: 3,
        ..plain
    };
    assert_eq!(handsets(&all), Some(wanted));
    for option in ["--mo-from", "--mo-text", "--mo-rate", "--mo-count"] {
        let (exit, out, err) = run_args(&["sim", "smsc", option, "1"]);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{option}");
        assert!(err.contains("--mo-to"), "{option}: {err}");
    }
    for rate in ["often", "0", "-1", "NaN", "inf"] {
        let rate = format!("--mo-rate={rate}");
        let (exit, _, err) = run_args(&["sim", "smsc", "--mo-to", "71234", &rate]);
        assert_eq!(exit, Exit::Usage, "{rate}");
        assert!(err.contains("messages a second, above 0"), "{err}");
    }
}

#[test]
fn sim_smsc_refuses_a_text_that_no_message_holds() {
    // 255 parts of 153 septets are the most. 3GPP TS 23.040 §9.2.3.24.1.
    let long = "a".repeat(255 * 153 + 1);
    let args = ["sim", "smsc", "--listen", "127.0.0.1:0", "--mo-to", "71234"];
    let args = [&args[..], &["--mo-text", &long]].concat();
    let (exit, out, err) = run_args(&args);
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert!(err.starts_with("trunkline: --mo-text: "), "{err}");
}
