use std::time::Duration;

use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::accounting::terms::Scheme;
use hstratum_core::chain::coinbase::Payout;

use super::*;
use crate::config::alert_ways::AlertWays;
use crate::config::peer_address::PeerAddress;

fn raw(origin: OptionOrigin, key: &str, value: &str) -> RawOption {
    RawOption {
        key: key.into(),
        value: value.into(),
        origin,
    }
}

fn flags(options: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let raw: Vec<RawOption> = options
        .iter()
        .map(|(key, value)| raw(OptionOrigin::Flag, key, value))
        .collect();
    Config::parse(&raw)
}

fn check(options: &[(&str, &str)]) -> Config {
    flags(options).expect("valid options")
}

fn check_error(options: &[RawOption], expected: &str) {
    let error = Config::parse(options).expect_err("refused").to_string();
    assert_eq!(error, expected);
    assert_eq!(error.lines().count(), 1);
}

/// Terms with the default window.
fn terms(scheme: &str, fee: &str, threshold: u64) -> PayoutTerms {
    let window = if scheme == "pplns" { "2" } else { "" };
    PayoutTerms {
        scheme: Scheme::from_stored(scheme, window).expect("a scheme"),
        fee: FeePpm::parse_percent(fee).expect("a percentage"),
        threshold,
        threshold_min: threshold.min(1_000_000),
    }
}

const DATABASE: &str = "postgres://pool:secret@db-1,db-2/pool";

#[test]
fn links_of_a_container_platform_are_no_options() {
    let linked = [
        ("port", "tcp://10.0.0.7:3008"),
        ("port3008tcp", "tcp://10.0.0.7:3008"),
        ("port3008tcpaddr", "10.0.0.7"),
        ("port3008tcpproto", "tcp"),
        ("servicehost", "10.0.0.7"),
        ("serviceport", "3008"),
        ("serviceportstratum", "3008"),
    ];
    let option = |origin| {
        move |(key, value): (&str, &str)| RawOption {
            key: key.to_owned(),
            value: value.to_owned(),
            origin,
        }
    };
    let links: Vec<RawOption> = linked.map(option(OptionOrigin::Environment)).into();
    Config::parse(&links).expect("they are passed over");
    for flag in linked.map(option(OptionOrigin::Flag)) {
        Config::parse(&[flag]).expect_err("nobody else sets these");
    }
}

#[test]
fn nothing_given_is_the_defaults() {
    let expected = Config {
        host: "::".parse().expect("an address"),
        port: 3008,
        public_host: None,
        public_port: 3008,
        max_inbound: 10_000,
        max_per_address: 0,
        difficulty: Difficulty::new(8.0).expect("above zero"),
        difficulty_min: Difficulty::new(1.0).expect("above zero"),
        dynamic: true,
        password: None,
        auth: Auth::Open,
        refresh_s: 60,
        verify: Verify::Idle,
        signal: DeploymentSignal::All,
        extra_nodes: Vec::new(),
        listen: Vec::new(),
        tls: None,
        proxy_protocol: Vec::new(),
        http_host: "127.0.0.1".parse().expect("an address"),
        http_port: None,
        http_host_names: Vec::new(),
        http_proxies: Vec::new(),
        http_token: None,
        http_login: true,
        address_delay: Duration::from_secs(86_400),
        dashboard: Dashboard::Public,
        explorer: None,
        proxy_secret: None,
        webhook: None,
        alert_ways: AlertWays::default(),
        hashrate_alarm: 50,
        database: None,
        server_id: host_name(),
        block_payout: Payout::Operator,
        fee_address: None,
        output_min: 1_000_000,
        outputs_max: 400,
        terms: terms("pplns", "0", 10_000_000),
        payout: PayoutConfig {
            wallet: None,
            account: "default".to_owned(),
            fee_max: 10_000_000,
            every: None,
        },
    };
    assert_eq!(check(&[]), expected);
}

/// A value for each option that has no effect on others.
const EVERYTHING: &[(&str, &str)] = &[
    ("host", "127.0.0.1"),
    ("port", "0"),
    ("publichost", "pool.example.com"),
    ("publicport", "65535"),
    ("maxinbound", "1000000"),
    ("difficulty", "1e-3"),
    ("difficultymin", "0.25"),
    ("dynamic", "0"),
    ("password", "p w"),
    ("auth", "address"),
    ("refresh", "1"),
    ("verify", "off"),
    ("signal", "airstop"),
    ("extranodes", "a.example:12038"),
    ("maxperaddress", "100"),
    ("listen", "tcp://0.0.0.0:1, tls://[::]:2?difficulty=1024"),
    ("tlscert", "/etc/cert.pem"),
    ("tlskey", "/etc/key.pem"),
    ("proxyprotocol", "192.0.2.1,10.0.0.0/8"),
    ("httphost", "::1"),
    ("httpport", "8080"),
    ("httphostnames", "hstratum, hstratum.pool.svc"),
    ("httpproxies", "10.21.0.0/16"),
    ("httptoken", "0123456789abcdef"),
    ("http-login", "off"),
    ("address-delay", "off"),
    ("dashboard", "names-hidden"),
    ("explorer", "https://example.com/block/%h"),
    ("proxysecret", "0123456789abcdef"),
    ("database", DATABASE),
    ("serverid", "east-1"),
    ("payout", "solo"),
    ("feeaddress", "hs1qexample"),
    ("outputmin", "2.5"),
    ("outputsmax", "1000"),
    ("scheme", "prop"),
    ("fee", "2.5"),
    ("threshold", "0.5"),
    ("thresholdmin", "0.25"),
    ("payoutwallet", "pool"),
    ("payoutaccount", "cold.1"),
    ("payoutmaxfee", "2"),
    ("payoutevery", "90m"),
];

#[test]
fn everything_can_be_given() {
    let expected = Config {
        host: "127.0.0.1".parse().expect("an address"),
        port: 0,
        public_host: Some("pool.example.com".into()),
        public_port: 65_535,
        max_inbound: 1_000_000,
        max_per_address: 100,
        difficulty: Difficulty::new(0.001).expect("above zero"),
        difficulty_min: Difficulty::new(0.25).expect("above zero"),
        dynamic: false,
        password: Some(Secret("p w".into())),
        auth: Auth::Address,
        refresh_s: 1,
        verify: Verify::Off,
        signal: DeploymentSignal::Names(vec!["airstop".to_owned()]),
        extra_nodes: vec![PeerAddress {
            host: "a.example".to_owned(),
            port: 12_038,
        }],
        listen: ["tcp://0.0.0.0:1", "tls://[::]:2?difficulty=1024"]
            .map(|text| ListenSpec::parse(text).expect("a listener"))
            .into(),
        tls: Some(TlsFiles {
            cert: "/etc/cert.pem".into(),
            key: "/etc/key.pem".into(),
        }),
        webhook: None,
        alert_ways: AlertWays::default(),
        hashrate_alarm: 50,
        proxy_protocol: ["192.0.2.1", "10.0.0.0/8"]
            .map(|text| AddressRange::parse(text).expect("a range"))
            .into(),
        http_host: "::1".parse().expect("an address"),
        http_port: Some(8080),
        http_host_names: vec!["hstratum".to_owned(), "hstratum.pool.svc".to_owned()],
        http_proxies: vec![AddressRange::parse("10.21.0.0/16").expect("a range")],
        http_token: Some(Secret("0123456789abcdef".into())),
        http_login: false,
        address_delay: Duration::ZERO,
        dashboard: Dashboard::NamesHidden,
        explorer: Some("https://example.com/block/%h".into()),
        proxy_secret: ProxySecret::new("0123456789abcdef"),
        database: Some(DATABASE.parse().expect("an address")),
        server_id: "east-1".into(),
        block_payout: Payout::Solo,
        fee_address: Some("hs1qexample".into()),
        output_min: 2_500_000,
        outputs_max: 1_000,
        terms: PayoutTerms {
            threshold_min: 250_000,
            ..terms("prop", "2.5", 500_000)
        },
        payout: PayoutConfig {
            wallet: Some("pool".to_owned()),
            account: "cold.1".to_owned(),
            fee_max: 2_000_000,
            every: Some(Duration::from_secs(5_400)),
        },
    };
    assert_eq!(check(EVERYTHING), expected);
}

#[test]
fn a_window_is_of_pplns_alone() {
    let config = check(&[("window", "1.5")]);
    assert_eq!(config.terms.scheme.window(), "1.5");
    let refused = flags(&[("window", "3"), ("scheme", "prop")]);
    assert_eq!(
        refused.expect_err("refused").to_string(),
        "window is for scheme: pplns, found window: 3 and scheme: prop"
    );
}

#[test]
fn an_accounts_threshold_may_not_have_to_be_above_the_pools() {
    assert_eq!(check(&[("threshold", "0.5")]).terms.threshold_min, 500_000);
    let refused = flags(&[("thresholdmin", "20")]);
    assert_eq!(
        refused.expect_err("refused").to_string(),
        "threshold-min is above threshold, found threshold-min: 20.000000 and threshold: 10.000000"
    );
}

#[test]
fn flag_beats_environment_beats_file() {
    let file = raw(OptionOrigin::File, "port", "1");
    let environment = raw(OptionOrigin::Environment, "port", "2");
    let flag = raw(OptionOrigin::Flag, "port", "3");
    let port = |options: &[&RawOption]| {
        let options: Vec<RawOption> = options.iter().map(|&option| option.clone()).collect();
        Config::parse(&options).expect("valid").port
    };
    assert_eq!(port(&[&flag, &environment, &file]), 3);
    assert_eq!(port(&[&file, &flag, &environment]), 3);
    assert_eq!(port(&[&environment, &file]), 2);
    assert_eq!(port(&[&file]), 1);
}

#[test]
fn defaults_follow_other_options() {
    assert_eq!(check(&[("port", "4000")]).public_port, 4000);
    assert_eq!(check(&[("password", "x")]).auth, Auth::Users);
    assert_eq!(
        check(&[("password", "x"), ("auth", "open")]).auth,
        Auth::Open
    );
}

#[test]
fn bare_flag_switches_on() {
    assert!(check(&[("dynamic", "true")]).dynamic);
    assert!(!check(&[("dynamic", "false")]).dynamic);
}

#[test]
fn malformed_value_names_the_option_as_it_was_written() {
    check_error(
        &[raw(OptionOrigin::Flag, "publichost", "a b")],
        "--stratum-public-host: expected a host name or IP address without a port, found \"a b\"",
    );
    check_error(
        &[raw(OptionOrigin::Environment, "publicport", "0")],
        "HSD_STRATUM_PUBLIC_PORT: expected a port from 1 to 65535, found \"0\"",
    );
    check_error(
        &[raw(OptionOrigin::File, "difficulty", "-1\n")],
        "difficulty in stratum.conf: expected a number above 0, found \"-1\\n\"",
    );
}

#[test]
fn overridden_value_is_judged_too() {
    check_error(
        &[
            raw(OptionOrigin::Flag, "port", "1"),
            raw(OptionOrigin::File, "port", "x"),
        ],
        "port in stratum.conf: expected a port from 0 to 65535, found \"x\"",
    );
}

#[test]
fn unknown_option_is_refused_with_the_nearest_name() {
    check_error(
        &[raw(OptionOrigin::Flag, "dificulty", "8")],
        "--stratum-dificulty: unknown option, did you mean --stratum-difficulty?",
    );
    check_error(
        &[raw(OptionOrigin::Flag, "tls-certificate", "x.pem")],
        "--stratum-tls-certificate: unknown option",
    );
    check_error(
        &[raw(OptionOrigin::File, "stratum-port", "3010")],
        "stratum-port in stratum.conf: unknown option, did you mean port?",
    );
    check_error(
        &[raw(OptionOrigin::Environment, "maxinbounds", "8")],
        "HSD_STRATUM_MAXINBOUNDS: unknown option, did you mean HSD_STRATUM_MAX_INBOUND?",
    );
    check_error(
        &[raw(OptionOrigin::File, "colour", "red")],
        "colour in stratum.conf: unknown option",
    );
    let hostile = format!("x\n{}", "é".repeat(100_000));
    let error = flags(&[(&hostile, "")]).expect_err("refused").to_string();
    assert!(error.lines().count() == 1 && error.len() < 200, "{error}");
}

#[test]
fn values_out_of_bounds_are_refused() {
    let long = "x".repeat(257);
    for (key, values) in [
        ("host", &["", "localhost", "1.2.3", "::1%eth0", "[::]"][..]),
        ("port", &["", "65536", "-1", "+1", "1.0", "0x10", " 1"]),
        ("publichost", &["", "a:1", "a/b", "a\r\nb", "é", &long]),
        ("publicport", &["0", "65536"]),
        ("maxinbound", &["0", "1000001", "99999999999999999999"]),
        (
            "difficulty",
            &["", "0", "-0", "-8", "nan", "inf", "1e999", "8,5", "easy"],
        ),
        ("dynamic", &["yes", "TRUE", "2"]),
        ("password", &["", "true", &long]),
        ("auth", &["", "Users", "none"]),
        ("http-login", &["", "true", "On", "0"]),
        (
            "address-delay",
            &["", "0", "0s", "30s", "1w", "32d", "true"],
        ),
        ("dashboard", &["", "hidden", "Public", "true"]),
        ("refresh", &["0", "3601", "60s"]),
        ("verify", &["on", "Idle", "1"]),
        ("payout", &["Split", "Solo", "true"]),
        ("outputmin", &["0", "-1", "1 HNS", "0.0000001"]),
        ("outputsmax", &["0", "2501", "1.5", "all"]),
        ("scheme", &["PROP", "pps", "true"]),
        ("window", &["0", "-1", "2x", "0.0000000001"]),
        ("fee", &["-1", "100.1", "1%", "0.00001"]),
        ("thresholdmin", &["-1", "x"]),
        ("payoutwallet", &["a/b", "..", &long]),
        ("payoutaccount", &["a b"]),
        ("payoutmaxfee", &["-1", "10 HNS", "0"]),
        ("payoutevery", &["59s", "1", "0m", "1.5h", "32d", "h", "on"]),
        ("threshold", &["-1", "ten", "0.0000001", "1e3"]),
    ] {
        for value in values {
            let error = flags(&[(key, value)]).expect_err(value).to_string();
            assert!(error.starts_with("--stratum-"), "{error}");
            assert!(error.contains("expected") && error.len() < 250, "{error}");
        }
    }
}

#[test]
fn nothing_is_no_value_of_any_option() {
    for spec in OPTIONS {
        for origin in [
            OptionOrigin::Flag,
            OptionOrigin::Environment,
            OptionOrigin::File,
        ] {
            let expected = format!(
                "{}: it is empty: expected {}, or no such option at all",
                origin.spell(spec.name),
                spec.expected
            );
            check_error(&[raw(origin, spec.name, "")], &expected);
        }
    }
}

#[test]
fn ip_address_is_a_public_host() {
    let config = check(&[("publichost", "2001:db8::1")]);
    assert_eq!(config.public_host.as_deref(), Some("2001:db8::1"));
}

#[test]
fn password_is_never_shown() {
    let option = raw(OptionOrigin::Flag, "password", "hunter2");
    assert!(!format!("{option:?}").contains("hunter2"));
    let config = Config::parse(&[option]).expect("valid");
    assert!(!format!("{config:?}").contains("hunter2"));
    let long = "hunter2".repeat(100);
    check_error(
        &[raw(OptionOrigin::Flag, "password", &long)],
        "--stratum-password: expected a password of 1 to 256 bytes, not \"true\", found 700 bytes",
    );
}

#[test]
fn password_flag_without_a_password_is_refused() {
    check_error(
        &[raw(OptionOrigin::Flag, "password", "true")],
        "--stratum-password: expected a password of 1 to 256 bytes, not \"true\", found 4 bytes",
    );
}

#[test]
fn table_is_sound() {
    for (index, spec) in OPTIONS.iter().enumerate() {
        assert!(
            spec.name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-')
        );
        assert!(!spec.help.is_empty() && !spec.help.contains('\n') && !spec.help.ends_with('.'));
        let twice = OPTIONS[index + 1..]
            .iter()
            .any(|other| other.key() == spec.key());
        assert!(!twice, "{}", spec.name);
    }
}

#[test]
fn certificate_is_given_when_and_only_when_a_listener_needs_it() {
    let check = |listen: &[&str], files: &[&str], expected: &str| {
        let listen = listen.iter().map(|value| ("listen", *value));
        let files = files.iter().map(|key| (*key, "/x.pem"));
        let options: Vec<_> = listen.chain(files).collect();
        let error = flags(&options).expect_err("refused").to_string();
        assert_eq!(error, expected);
    };
    let (cert, key) = ("tlscert", "tlskey");
    for listen in ["tls://[::]:1", "tcp://[::]:1,auto://[::]:2"] {
        check(
            &[listen],
            &[],
            "tls-cert is required, since listen has tls:// or auto://",
        );
        check(&[listen], &[cert], "tls-key is required with tls-cert");
        check(&[listen], &[key], "tls-cert is required with tls-key");
    }
    let unused = "tls-cert is not used, since listen has no tls:// or auto://";
    check(&["tcp://[::]:1"], &[cert, key], unused);
    check(&[], &[cert, key], unused);
}

#[test]
fn lists_are_strict_and_short() {
    let many = |item: &str, count| vec![item; count].join(",");
    check(&[("listen", &many("tcp://0.0.0.0:0", 15))]);
    check(&[("proxyprotocol", &many("::1", 256))]);
    for (key, values) in [
        (
            "listen",
            [
                "",
                "tcp://0.0.0.0:1,",
                "0.0.0.0:1",
                &many("tcp://0.0.0.0:0", 16),
            ],
        ),
        (
            "proxyprotocol",
            ["", "10.0.0.1/8", "::1,,::2", &many("::1", 257)],
        ),
    ] {
        for value in values {
            let error = flags(&[(key, value)]).expect_err("refused").to_string();
            assert!(error.contains(": expected up to "), "{error}");
        }
    }
    for key in ["tlscert", "tlskey"] {
        assert!(flags(&[(key, "true")]).is_err());
    }
}

/// `UPDATE_EXPECT=1` writes the table into the page.
#[test]
fn page_of_options_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/options.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let head = "| option | default | value | meaning |\n|---|---|---|---|\n";
    let (before, rest) = page.split_once(head).expect("its table");
    let (rows, after) = rest.split_once("\n\n").expect("its end");
    let expected: Vec<String> = OPTIONS.iter().map(row).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let page = format!("{before}{head}{}\n\n{after}", expected.join("\n"));
        std::fs::write(path, page).expect("written");
    } else {
        assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    }
}

fn row(spec: &OptionSpec) -> String {
    let default = match spec.fallback {
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::None => "none".to_owned(),
        Fallback::Derived(text) => text.to_owned(),
    };
    // Markdown would take `<ADDRESS>` for HTML.
    let (name, expected, help) = (spec.name, spec.expected.replace('<', "\\<"), spec.help);
    format!("| `{name}` | {default} | {expected} | {help} |")
}

/// Ranges of numbers and lengths end where the table says.
#[test]
fn ranges_are_as_they_are_told() {
    let mut ranges = 0;
    for spec in OPTIONS {
        let numbers = spec.expected.split(|c: char| !c.is_ascii_digit());
        let numbers: Vec<u64> = numbers.filter_map(|text| text.parse().ok()).collect();
        let &[min, max] = &numbers[..] else { continue };
        let value = match spec.expected {
            text if text.contains("characters") || text.contains("bytes") => {
                |size: u64| "x".repeat(usize::try_from(size).expect("small"))
            }
            text if text.contains(" from ") => |number: u64| number.to_string(),
            _ => continue,
        };
        ranges += 1;
        let is_taken = |size| (spec.set)(&mut Draft::default(), &value(size)).is_some();
        assert!(is_taken(min) && is_taken(max), "{}", spec.name);
        assert!(!is_taken(max + 1), "{}", spec.name);
        assert!(min == 0 || !is_taken(min - 1), "{}", spec.name);
    }
    assert_eq!(ranges, 13);
}

#[test]
fn explorer_is_a_web_address_with_a_place_for_the_block() {
    for wrong in [
        "example.com/%h",
        "javascript:alert(%h)",
        "https://example.com/block",
        "https://example.com/%h\"onload=",
        "https://example.com/ %h",
    ] {
        assert!(flags(&[("explorer", wrong)]).is_err(), "{wrong}");
    }
    check(&[("explorer", "http://127.0.0.1:8080/#/block/%s")]);
}

#[test]
fn webhook_is_a_url_that_no_error_shows() {
    let config = check(&[
        ("webhook", "https://example.com/hook?token=hidden"),
        ("webhooksecret", "key"),
        ("hashratealarm", "0"),
    ]);
    assert!(config.webhook.is_some() && config.hashrate_alarm == 0);
    assert!(!format!("{config:?}").contains("hidden"));
    for url in [
        "example.com",
        "ftp://example.com/",
        "https://",
        "true",
        "http://a b/",
    ] {
        let error = flags(&[("webhook", url)]).expect_err("refused").to_string();
        let expected = "--stratum-webhook: expected an http:// or https:// URL, found";
        assert_eq!(error, format!("{expected} {} bytes", url.len()));
    }
    let error = flags(&[("webhooksecret", "key")]).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "webhook-secret is not used, since there is no webhook"
    );
    assert!(flags(&[("hashratealarm", "100")]).is_err());
}

#[test]
fn an_address_that_is_named_twice_is_refused() {
    let check = |listen: &str, expected: &str| {
        check_error(&[raw(OptionOrigin::Flag, "listen", listen)], expected);
    };
    for address in ["[::]:3008", "0.0.0.0:3008", "127.0.0.1:3008"] {
        check(
            &format!("tcp://{address}"),
            &format!("listen: tcp://{address} is named twice: host and port are [::]:3008 already"),
        );
    }
    check(
        "tcp://127.0.0.1:1,tcp://127.0.0.1:1",
        "listen: tcp://127.0.0.1:1 is named twice: tcp://127.0.0.1:1 is there already",
    );
    flags(&[("listen", "tcp://127.0.0.1:1,tcp://127.0.0.2:1")]).expect("two addresses");
    flags(&[("host", "0.0.0.0"), ("listen", "tcp://[::1]:3008")]).expect("two addresses");
}

#[test]
fn what_is_wrong_with_a_database_is_said_without_its_password() {
    for url in [
        "postgres://pool:secret@db-1",
        "postgres://pool:secret@db:x/pool",
        "mysql://secret",
    ] {
        let error = Config::parse(&[raw(OptionOrigin::Flag, "database", url)]).expect_err(url);
        let text = error.to_string();
        assert!(text.starts_with("--stratum-database: "), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
