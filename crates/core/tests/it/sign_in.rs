//! Signing in to the dashboard by name and password.

use std::net::{IpAddr, Ipv4Addr};

use hstratum_core::accounts::Auth;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::limits::{GUESS_MS, GUESSES_MAX, SIGN_INS_OF_ADDRESS_MAX, SIGN_INS_WAITING_MAX};
use hstratum_core::operator_order::{NewUser, Order};

use crate::harness::{Output, PoolHarness, Setup};

const WRONG: &str = "order refused: wrong name or password";
const GUESSES: &str = "order refused: too many wrong passwords, try again in ten minutes";
const BUSY: &str = "order refused: too many sign-ins at once, try again";

fn pool(auth: Auth) -> PoolHarness {
    PoolHarness::with_job(&Setup {
        auth,
        users: vec![("alice".to_owned(), "old-form".to_owned())],
        slow_users: vec![
            ("frank".to_owned(), "right".to_owned()),
            ("f@x.org".to_owned(), "right".to_owned()),
        ],
        admin_password: Some("pw".to_owned()),
        ..Setup::default()
    })
}

fn address(number: usize) -> IpAddr {
    Ipv4Addr::from(0x0b00_0000 + u32::try_from(number).expect("few")).into()
}

/// What the pool does for a sign-in.
fn sign_in(harness: &mut PoolHarness, from: usize, name: &str, password: &str) -> Vec<String> {
    harness.order(Order::SignIn {
        name: name.to_owned(),
        password: password.to_owned(),
        address: address(from),
    });
    effects(harness)
}

fn effects(harness: &mut PoolHarness) -> Vec<String> {
    let text = |output| match output {
        Output::Effect(None, text) => Some(text),
        _ => None,
    };
    harness.output.drain(..).filter_map(text).collect()
}

#[test]
fn name_and_password_are_those_of_mining() {
    for auth in [Auth::Users, Auth::Open] {
        let mut harness = pool(auth);
        effects(&mut harness);
        for (name, account) in [
            ("frank", "frank"),
            ("frank.rig1", "frank"),
            ("f@x.org.rig_H1", "f@x.org"),
        ] {
            let told = sign_in(&mut harness, 0, name, "right");
            let told = told.last().map(String::as_str);
            assert_eq!(told, Some(&*format!("signs in as {account}")));
        }
        // Without a check: the old form takes no time, and what was right just now is remembered.
        assert_eq!(
            sign_in(&mut harness, 0, "alice", "old-form"),
            ["signs in as alice"]
        );
        let miner = harness.connect();
        let line = r#"{"id":1,"method":"mining.authorize","params":["frank","right"]}"#;
        harness.send(miner, line);
        effects(&mut harness);
        assert_eq!(
            sign_in(&mut harness, 0, "frank", "right"),
            ["signs in as frank"]
        );
    }
}

/// Names that nobody has, and those of others, look the same and cost the same.
#[test]
fn whatever_is_wrong_is_checked_and_refused_alike() {
    let mut harness = pool(Auth::Open);
    let disabled = || {
        Some(
            StoredPassword::parse(&"0".repeat(64))
                .expect("a hash")
                .locked(),
        )
    };
    harness.change_user(("dora".to_owned(), disabled()));
    effects(&mut harness);
    for (number, (name, password)) in [
        ("frank", "wrong"),
        ("alice", "wrong"),
        ("nobody", "right"),
        ("nobody.rig", "right"),
        ("dora", "right"),
        ("frank", ""),
        // It is an option, and guessed on the wire alone.
        ("admin", "pw"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut told = sign_in(&mut harness, number, name, password);
        let for_operator = format!("Info: login of {name:?} refused, from ");
        let log = told.extract_if(.., |text| text.starts_with(&for_operator));
        assert_eq!(log.count(), 1, "{name} {password}");
        assert_eq!(told, ["check a password", WRONG], "{name} {password}");
    }
    // What nobody could mine with needs no check.
    for (name, password) in [("", "x"), ("a\nb", "x"), ("frank", &*"x".repeat(257))] {
        assert_eq!(sign_in(&mut harness, 100, name, password), [WRONG]);
    }
}

#[test]
fn an_address_that_guesses_is_not_listened_to_for_a_while() {
    let mut harness = pool(Auth::Users);
    effects(&mut harness);
    for number in 0..GUESSES_MAX {
        let told = sign_in(&mut harness, 1, &format!("name{number}"), "x");
        assert_eq!(told.last().map(String::as_str), Some(WRONG));
    }
    assert_eq!(sign_in(&mut harness, 1, "frank", "right"), [GUESSES]);
    assert_eq!(sign_in(&mut harness, 1, "alice", "old-form"), [GUESSES]);
    let other = sign_in(&mut harness, 2, "frank", "right");
    assert_eq!(other.last().map(String::as_str), Some("signs in as frank"));
    harness.advance(GUESS_MS);
    effects(&mut harness);
    let later = sign_in(&mut harness, 1, "frank", "right");
    assert_eq!(later.last().map(String::as_str), Some("signs in as frank"));
}

#[test]
fn few_sign_ins_wait_and_fewer_of_one_address() {
    let mut harness = pool(Auth::Users);
    harness.passwords_held = true;
    effects(&mut harness);
    for _ in 0..SIGN_INS_OF_ADDRESS_MAX {
        let told = sign_in(&mut harness, 0, "frank", "right");
        assert!(!told.contains(&BUSY.to_owned()), "{told:?}");
    }
    assert_eq!(sign_in(&mut harness, 0, "frank", "right"), [BUSY]);
    for number in SIGN_INS_OF_ADDRESS_MAX..SIGN_INS_WAITING_MAX {
        sign_in(&mut harness, number, "frank", "right");
    }
    assert_eq!(sign_in(&mut harness, 9_000, "frank", "right"), [BUSY]);
    // A miner waits for a turn among them only.
    let miner = harness.connect();
    harness.send(
        miner,
        r#"{"id":1,"method":"mining.authorize","params":["f@x.org","right"]}"#,
    );
    harness.release();
    let told = effects(&mut harness);
    let signed_in = told.iter().filter(|text| *text == "signs in as frank");
    assert_eq!(signed_in.count(), SIGN_INS_WAITING_MAX);
    assert_eq!(harness.size("sign-ins"), 0);
    assert_eq!(harness.size("questions"), 0);
}

#[test]
fn who_has_signed_in_is_signed_out_by_another_password() {
    let mut harness = pool(Auth::Users);
    let order = |harness: &mut PoolHarness, order| {
        harness.order(order);
        !std::mem::take(&mut harness.signed_out).is_empty()
    };
    let password = |password: &str| Order::SetPassword {
        name: "frank".to_owned(),
        password: password.to_owned(),
    };
    assert!(order(&mut harness, password("new")));
    assert!(order(&mut harness, Order::DisableUser("frank".to_owned())));
    assert!(order(&mut harness, Order::EnableUser("frank".to_owned())));
    let other = NewUser {
        name: "other".to_owned(),
        password: "x".to_owned(),
        address: None,
        is_locked: false,
        wire_admin: None,
    };
    assert!(!order(&mut harness, Order::AddUser(other)));
    harness.change_user(("frank".to_owned(), None));
    assert_eq!(harness.signed_out, ["frank"]);
}

/// The password is another by the time that the old one was found right.
#[test]
fn a_password_that_changes_during_its_check_is_wrong() {
    let mut harness = pool(Auth::Users);
    harness.passwords_held = true;
    sign_in(&mut harness, 0, "frank", "right");
    let new = StoredPassword::parse(&"0".repeat(64)).expect("a hash");
    harness.change_user(("frank".to_owned(), Some(new)));
    harness.release();
    assert_eq!(
        effects(&mut harness).last().map(String::as_str),
        Some(WRONG)
    );
}
