use clap::{Arg, Command, FromArgMatches};

use super::*;

fn options() -> ProxyOptions {
    ProxyOptions {
        listen: vec!["tcp://127.0.0.1:0".to_owned()],
        backend: vec!["127.0.0.1:3008".to_owned(), "[::1]:3008".to_owned()],
        ..ProxyOptions::default()
    }
}

fn check_error(change: impl FnOnce(&mut ProxyOptions), expected: &str) {
    let mut options = options();
    change(&mut options);
    let error = options.settings().expect_err("refused");
    assert_eq!(format!("{error:#}"), expected);
}

#[test]
fn what_is_not_given_is_the_default() {
    let settings = options().settings().expect("valid");
    assert_eq!(settings.prefix, 1);
    assert_eq!(settings.no_backend, NoBackend::Wait(15_000));
    assert_eq!(
        (settings.max_inbound, settings.max_per_address),
        (10_000, 0)
    );
    assert!(!settings.send_proxy && settings.tls.is_none() && settings.secret.is_none());
    assert_eq!(settings.backends[1].name, "[::1]:3008");
}

#[test]
fn http_is_on_loopback_unless_another_address_is_named() {
    for (text, address) in [("3081", "127.0.0.1:3081"), ("[::]:3081", "[::]:3081")] {
        let mut options = options();
        options.http = Some(text.to_owned());
        let settings = options.settings().expect("valid");
        assert_eq!(settings.http, address.parse().ok());
    }
}

#[test]
fn what_is_wrong_is_named() {
    check_error(
        |o| o.listen.clear(),
        "--listen is required, e.g. --listen tcp://[::]:3008",
    );
    check_error(
        |o| o.backend.clear(),
        "--backend is required, e.g. --backend 10.0.0.1:3008",
    );
    check_error(
        |o| o.listen.push("127.0.0.1:1".to_owned()),
        "listen: expected tcp://IP:PORT, tls://IP:PORT or auto://IP:PORT, found \"127.0.0.1:1\"",
    );
    check_error(
        |o| o.backend.push("127.0.0.1".to_owned()),
        "backend: expected HOST:PORT, found \"127.0.0.1\"",
    );
    check_error(
        |o| o.backend.push("127.0.0.1:3008".to_owned()),
        "backend: \"127.0.0.1:3008\" is there twice",
    );
    for text in ["localhost:80", "127.0.0.1:0", "127.0.0.1", "65536", ""] {
        check_error(
            |o| o.http = Some(text.to_owned()),
            &format!("http: expected IP:PORT or a port, found {text:?}"),
        );
    }
    for prefix in ["00", "1", "+1", "100", "gg"] {
        check_error(
            |o| o.prefix = Some(prefix.to_owned()),
            &format!("prefix: expected two hex digits from 01 to ff, found {prefix:?}"),
        );
    }
    for text in ["wait", "wait:30", "wait:0s", "wait:+1s", "Close"] {
        check_error(
            |o| o.no_backend = Some(text.to_owned()),
            &format!("no-backend: expected close, or wait:1s to wait:3600s, found {text:?}"),
        );
    }
    check_error(
        |o| o.proxy_secret = Some("short".to_owned()),
        "proxy-secret: expected 16 to 64 bytes, found 5",
    );
    check_error(
        |o| o.listen.push("tls://127.0.0.1:1".to_owned()),
        "tls-cert is required, since listen has tls:// or auto://",
    );
    check_error(
        |o| o.public_host = Some("a b".to_owned()),
        "public-host: expected a host name or IP address without a port, found \"a b\"",
    );
}

#[test]
fn flags_go_before_the_file_and_its_errors_have_a_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("proxy.toml");
    let with = |text: &str, own: ProxyOptions| {
        fs::write(&path, text).expect("written");
        ProxyOptions {
            config: Some(path.clone()),
            ..own
        }
        .with_file()
    };
    let text = "prefix = \"0a\"\nno-backend = \"close\"\nbackend = [\"127.0.0.1:1\"]\n";
    let own = ProxyOptions {
        backend: Vec::new(),
        prefix: Some("0b".to_owned()),
        ..options()
    };
    let settings = with(text, own).expect("read").settings().expect("valid");
    assert_eq!(
        (settings.prefix, settings.no_backend),
        (0x0b, NoBackend::Close)
    );
    assert_eq!(settings.backends[0].name, "127.0.0.1:1");
    let error = with("prefix = \"01\"\nprefx = 1\n", options())
        .err()
        .expect("refused");
    let error = format!("{error:#}");
    assert!(error.contains("line 2: unknown field `prefx`"), "{error}");
}

#[test]
fn a_server_that_is_the_proxy_itself_is_refused() {
    for (listen, backend, is_own) in [
        ("tcp://127.0.0.1:3008", "127.0.0.1:3008", true),
        ("tcp://127.0.0.1:3008", "localhost:3008", true),
        ("tcp://[::]:3008", "127.0.0.1:3008", true),
        ("tls://0.0.0.0:3008", "localhost:3008", true),
        ("tcp://[::]:3008", "127.0.0.1:3009", false),
        ("tcp://[::]:3008", "10.0.0.1:3008", false),
        ("tcp://127.0.0.2:3008", "127.0.0.1:3008", false),
        ("tcp://127.0.0.1:0", "127.0.0.1:3008", false),
    ] {
        let mut options = options();
        options.listen = vec![listen.to_owned()];
        options.backend = vec![backend.to_owned()];
        if listen.starts_with("tls") {
            options.tls_cert = Some("cert".into());
            options.tls_key = Some("key".into());
        }
        let outcome = options.settings();
        assert_eq!(outcome.is_err(), is_own, "{listen} {backend}");
        if let Err(error) = outcome {
            let expected = format!("backend: {backend:?} is this proxy's own --listen {listen}");
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn a_list_in_the_file_may_be_one_text_and_a_text_without_quotes_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("proxy.toml");
    let read = |text: &str| {
        fs::write(&path, text).expect("written");
        let options = ProxyOptions {
            config: Some(path.clone()),
            ..ProxyOptions::default()
        };
        options.with_file()
    };
    let options = read("listen = \"tcp://[::]:1\"\nbackend = [\"a:1\", \"b:1\"]\n");
    let options = options.expect("valid");
    assert_eq!(options.listen, ["tcp://[::]:1"]);
    assert_eq!(options.backend, ["a:1", "b:1"]);
    for (text, line) in [
        ("listen = tcp://[::]:3008\n", "texts are quoted"),
        (
            "\nlisten = true\n",
            "line 2: invalid type: boolean `true`, expected a text or a list",
        ),
    ] {
        let error = read(text).err().expect("refused").to_string();
        assert!(error.contains(line), "{error}");
    }
}

fn command() -> Command {
    ProxyOptions::augment_args(Command::new("proxy"))
}

/// The name, what stands for it when it is not given, and what it does.
fn shown(arg: &Arg) -> (String, String, String) {
    let name = arg.get_long().expect("a flag").to_owned();
    let help = arg.get_help().expect("a help text").to_string();
    let (help, default) = help.split_once(" [default: ").unwrap_or((&help, "none]"));
    let default = default.strip_suffix(']').expect("the end of it");
    (name, default.to_owned(), help.to_owned())
}

/// `UPDATE_EXPECT=1` writes it.
#[test]
fn page_of_options_is_the_help_text() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/options.md");
    let page = fs::read_to_string(path).expect("the page");
    let head = "| option of the proxy | default | meaning |\n|---|---|---|\n";
    let (before, _) = page.split_once(head).expect("its table");
    let rows: String = (command().get_arguments().map(shown))
        .map(|(name, default, help)| format!("| `{name}` | {default} | {help} |\n"))
        .collect();
    let expected = format!("{before}{head}{rows}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, expected).expect("written");
    } else {
        assert_eq!(page, expected);
    }
}

#[test]
fn each_option_has_one_name_in_flags_environment_and_file() {
    for arg in command().get_arguments() {
        let (name, ..) = shown(arg);
        let variable = format!("HSTRATUM_PROXY_{}", name.replace('-', "_").to_uppercase());
        let is_flag_only = name == "take-over";
        let given = arg.get_env().map(|name| name.to_str().expect("UTF-8"));
        assert_eq!(given, (!is_flag_only).then_some(&*variable));
        // No option is a table: whichever is known is of another type.
        let error = toml::from_str::<ProxyOptions>(&format!("{name} = {{}}"));
        let error = error.err().expect("no such value").to_string();
        let is_unknown = error.contains("unknown field");
        assert_eq!(is_unknown, is_flag_only || name == "config", "{error}");
    }
}

#[test]
fn defaults_are_those_that_the_help_text_tells() {
    let mut args = vec!["proxy".to_owned()];
    for (name, default, _) in command().get_arguments().map(shown) {
        let is_value = default.contains(|c: char| c.is_ascii_digit());
        if is_value {
            args.push(format!("--{name}={default}"));
        }
    }
    assert_eq!(args.len(), 1 + 5);
    let given = command().get_matches_from(args);
    let given = ProxyOptions {
        listen: options().listen,
        backend: options().backend,
        ..ProxyOptions::from_arg_matches(&given).expect("valid")
    };
    let given = given.settings().expect("valid");
    let default = options().settings().expect("valid");
    assert_eq!(format!("{given:?}"), format!("{default:?}"));
}
