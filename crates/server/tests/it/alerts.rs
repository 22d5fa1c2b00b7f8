//! What accounts are told of themselves, as ledgers of both engines keep it.

use hstratum::alerts::watch::{self, WorkingSince};
use hstratum::contacts::event::{AccountChange, AlertEvent};
use hstratum::contacts::table::{self, AlertSettings, Contact, DueContact, Language};
use hstratum::contacts::way::Way;
use hstratum::ledger_tools::set_address;
use hstratum::values;

use crate::ledgers::{Ledger, on_each};

/// A whole day, Unix seconds: spans of statistics begin there.
const START: i64 = 20_000 * 86_400;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// A number that no ledger gives to another server.
const SERVER: i64 = 0;

fn add(ledger: &Ledger, account: &str, target: &str, now: i64) {
    ledger.write(|sql| table::add_contact(sql, account, (Way::Mail, target), Language::En, now));
}

fn note(ledger: &Ledger, account: &str, at: i64, event: &AlertEvent) {
    ledger.write(|sql| table::note(sql, account, at, event));
}

fn due(ledger: &Ledger, now: i64) -> Vec<DueContact> {
    ledger.read(|sql| table::due(sql, Way::Mail, now))
}

/// What is due then, by contact.
fn due_events(ledger: &Ledger, now: i64) -> Vec<(String, Vec<AlertEvent>)> {
    let contacts = due(ledger, now).into_iter().map(|contact| {
        let events = contact.events.into_iter().map(|(_, event)| event);
        (contact.target, events.collect())
    });
    contacts.collect()
}

fn told(ledger: &Ledger, now: i64) {
    for contact in due(ledger, now) {
        ledger.write(|sql| table::told(sql, &contact, now));
    }
}

fn known(ledger: &Ledger, account: &str) -> (AlertSettings, Vec<Contact>) {
    let known = ledger.read(|sql| table::read(sql, account));
    known.expect("it has a contact")
}

fn block(hash: &str) -> AlertEvent {
    AlertEvent::Block {
        hash: hash.to_owned(),
        height: 7,
    }
}

fn password() -> AlertEvent {
    AlertEvent::Change {
        change: AccountChange::Password,
    }
}

#[test]
fn what_happens_after_a_contact_came_is_told_once_and_together() {
    on_each(|ledger| {
        note(ledger, "alice", START, &block("0"));
        add(ledger, "alice", "a@example.com", START + 10);
        note(ledger, "alice", START + 9, &block("1"));
        for _ in 0..2 {
            note(ledger, "alice", START + 10, &block("2"));
            note(ledger, "alice", START + 11, &block("3"));
        }
        note(ledger, "bob", START + 11, &block("4"));
        assert_eq!(due_events(ledger, START + 12), [], "more may come");
        let all = [("a@example.com".to_owned(), vec![block("2"), block("3")])];
        assert_eq!(due_events(ledger, START + 60), all);
        told(ledger, START + 60);
        note(ledger, "alice", START + 61, &block("3"));
        note(ledger, "alice", START + 62, &block("5"));
        assert_eq!(due_events(ledger, START + 90), [], "not again so soon");
        let next = [("a@example.com".to_owned(), vec![block("5")])];
        assert_eq!(due_events(ledger, START + 60 + 600), next);
        let (_, contacts) = known(ledger, "alice");
        assert_eq!(
            (contacts[0].told_at, contacts[0].waiting),
            (Some(START + 60), 1)
        );
        // Nobody else has rows.
        assert_eq!(ledger.get("SELECT count(*) FROM alerts"), 3);
    });
}

#[test]
fn each_kind_can_be_turned_off_and_who_turns_it_off_is_told() {
    on_each(|ledger| {
        add(ledger, "alice", "a@example.com", START);
        let (mut settings, _) = known(ledger, "alice");
        settings.blocks = false;
        settings.changes = false;
        settings.language = Language::Zh;
        settings.drop_percent = None;
        let set = |at| ledger.write(|sql| table::set(sql, "alice", &settings, at));
        assert!(set(START + 1));
        assert_eq!(known(ledger, "alice").0, settings);
        note(ledger, "alice", START + 2, &block("1"));
        note(ledger, "alice", START + 2, &password());
        assert!(set(START + 3));
        let change = AccountChange::Alerts;
        let turned_off = AlertEvent::Change { change };
        // What whoever takes an account over does is told whatever is set.
        let all = [("a@example.com".to_owned(), vec![turned_off, password()])];
        assert_eq!(due_events(ledger, START + 60), all);
        assert_eq!(due(ledger, START + 60)[0].language, Language::Zh);
        let nobody = ledger.write(|sql| table::set(sql, "bob", &settings, START));
        assert!(!nobody, "an account without a contact has nothing to set");
    });
}

#[test]
fn contact_that_was_replaced_hears_of_changes_for_a_week() {
    on_each(|ledger| {
        add(ledger, "alice", "old@example.com", START);
        add(ledger, "alice", "new@example.com", START + 1);
        let change = AccountChange::Contact {
            way: "mail".to_owned(),
            target: "new@example.com".to_owned(),
        };
        let first = [(
            "old@example.com".to_owned(),
            vec![AlertEvent::Change { change }],
        )];
        assert_eq!(due_events(ledger, START + 30), first);
        told(ledger, START + 30);
        note(ledger, "alice", START + HOUR, &block("1"));
        note(ledger, "alice", START + HOUR, &password());
        let both = due_events(ledger, START + 2 * HOUR);
        assert!(both.contains(&("old@example.com".to_owned(), vec![password()])));
        let new = ("new@example.com".to_owned(), vec![block("1"), password()]);
        assert!(both.contains(&new), "{both:?}");
        told(ledger, START + 2 * HOUR);
        note(ledger, "alice", START + 8 * DAY, &password());
        let later = [("new@example.com".to_owned(), vec![password()])];
        assert_eq!(due_events(ledger, START + 8 * DAY + 60), later);

        let contacts = known(ledger, "alice").1;
        assert_eq!(contacts.len(), 1);
        assert_eq!(contacts[0].to, "new@example.com");
        ledger.write(|sql| table::tidy(sql, START + 9 * DAY));
        assert_eq!(ledger.get("SELECT count(*) FROM contacts"), 1);
    });
}

#[test]
fn whoever_changes_a_contact_on_and_on_keeps_the_first_ones_told() {
    on_each(|ledger| {
        for number in 0..=5 {
            add(
                ledger,
                "alice",
                &format!("{number}@example.com"),
                START + number,
            );
        }
        add(ledger, "alice", "0@example.com", START + 6);
        told(ledger, START + 60);
        note(ledger, "alice", START + HOUR, &password());
        let heard = due_events(ledger, START + 2 * HOUR);
        let heard: Vec<&str> = heard.iter().map(|(target, _)| target.as_str()).collect();
        let first = ["0", "1", "2"].map(|one| format!("{one}@example.com"));
        // The first one is a contact again, and of those between nothing is kept.
        assert!(heard.len() == 4 && first.iter().all(|one| heard.contains(&one.as_str())));
        assert_eq!(ledger.get("SELECT count(*) FROM contacts"), 4);
        let ended = due(ledger, START + 2 * HOUR);
        let ended = ended.iter().filter(|one| one.is_ended).count();
        assert_eq!(ended, 3);
        let end = |at| ledger.write(|sql| table::end_contact(sql, "alice", Way::Mail, at));
        assert!(end(START + 2 * HOUR));
        assert!(!end(START + 2 * HOUR + 2), "there is none");
        assert_eq!(known(ledger, "alice").1, []);
    });
}

#[test]
fn what_a_contact_does_not_take_is_tried_for_a_day_and_then_given_up_visibly() {
    on_each(|ledger| {
        add(ledger, "alice", "a@example.com", START);
        note(ledger, "alice", START, &block("1"));
        let (mut now, mut tries) = (START + 10, 0);
        while now < START + DAY {
            for contact in due(ledger, now) {
                ledger.write(|sql| table::failed(sql, &contact, "refused: 550", now));
                tries += 1;
            }
            now += 30;
        }
        assert!((25..35).contains(&tries), "less and less often: {tries}");
        ledger.write(|sql| table::tidy(sql, START + DAY));
        let contact = known(ledger, "alice").1.remove(0);
        assert_eq!((contact.waiting, contact.given_up), (1, 0));
        assert_eq!(contact.failure.as_deref(), Some("refused: 550"));
        // What came later is not given up with it.
        note(ledger, "alice", START + DAY, &block("2"));
        ledger.write(|sql| table::tidy(sql, START + DAY + 1));
        let contact = known(ledger, "alice").1.remove(0);
        assert_eq!((contact.waiting, contact.given_up), (1, 1));
        let all = due_events(ledger, START + DAY + HOUR);
        assert_eq!(all, [("a@example.com".to_owned(), vec![block("2")])]);
        told(ledger, START + DAY + HOUR);
        let contact = known(ledger, "alice").1.remove(0);
        assert_eq!((contact.failure, contact.given_up), (None, 1));
        ledger.write(|sql| table::tidy(sql, START + 5 * DAY));
        assert_eq!(ledger.get("SELECT count(*) FROM alerts"), 0);
    });
}

#[test]
fn change_by_the_operator_is_told() {
    on_each(|ledger| {
        let now: i64 = ledger.get("SELECT unix_s FROM clock");
        add(ledger, "alice", "a@example.com", now - 60);
        let address = "rs1q7q3h4chglps004u3yn79z0cp9ed24rfrhvrxnx";
        set_address(&mut ledger.open(), "alice", Some(address)).expect("it is set");
        let all = due_events(ledger, now + 60);
        let [(_, events)] = &all[..] else {
            panic!("{all:?}")
        };
        let change = AccountChange::Address {
            address: Some(address.to_owned()),
        };
        assert_eq!(*events, [AlertEvent::Change { change }]);
    });
}

/// Has a worker send a share every ten seconds, from and until these times.
fn mine(ledger: &Ledger, account: &str, worker: &str, (from, until): (i64, i64)) {
    mine_at(ledger, account, worker, (from, until), 10);
}

fn mine_at(ledger: &Ledger, account: &str, worker: &str, (from, until): (i64, i64), every_s: i64) {
    let account = ledger.account(account);
    ledger.execute(
        "INSERT INTO workers (account, name) VALUES (?1, ?2) ON CONFLICT (account, name) DO NOTHING",
        &values![account, worker],
    );
    let mut start = from - from.rem_euclid(600);
    while start <= until {
        let (first, last) = (from.max(start), until.min(start + 599));
        let shares = (last - first) / every_s + 1;
        ledger.execute(
            "INSERT INTO statistics (span, start, worker, origin, accepted, accepted_work, stale, stale_work,
               low, low_work, duplicate, duplicate_work, first_share, last_share)
             SELECT 600, CAST(?3 AS BIGINT), id, 0, CAST(?4 AS BIGINT), CAST(?5 AS DOUBLE PRECISION),
                    0, 0.0, 0, 0.0, 0, 0.0, CAST(?6 AS BIGINT), CAST(?7 AS BIGINT)
               FROM workers WHERE account = ?1 AND name = ?2",
            &values![account, worker, start, shares, shares as f64, first, last],
        );
        start += 600;
    }
}

fn look(ledger: &Ledger, working: &WorkingSince, now: i64) -> Vec<(String, AlertEvent)> {
    let found = ledger.read(|sql| watch::look_at_workers(sql, working, now));
    found
        .into_iter()
        .map(|(account, _, event)| (account, event))
        .collect()
}

fn working_since(at: i64) -> WorkingSince {
    let mut working = WorkingSince::default();
    working.see([SERVER].into_iter(), at);
    working
}

fn silent(worker: &str, last_share_at: i64) -> (String, AlertEvent) {
    let event = AlertEvent::Silent {
        worker: worker.to_owned(),
        last_share_at,
    };
    ("alice".to_owned(), event)
}

#[test]
fn workers_that_fall_silent_are_told_together_and_once() {
    on_each(|ledger| {
        add(ledger, "alice", "a@example.com", START - HOUR);
        let stop = START + HOUR;
        for (worker, until) in [("rig1", stop), ("rig2", stop + 20), ("rig3", stop + HOUR)] {
            mine(ledger, "alice", worker, (START, until));
        }
        mine(ledger, "bob", "rig", (START, stop));
        // A minute of silence of a worker that sends a share an hour says nothing.
        mine_at(ledger, "alice", "slow", (START, stop), HOUR);
        // Neither does a name that has sent one.
        mine(ledger, "alice", "once", (stop, stop));
        let working = working_since(START);
        let limit = 15 * 60;
        assert_eq!(look(ledger, &working, stop + limit - 1), []);
        let both = [silent("rig2", stop + 20), silent("rig1", stop)];
        let now = stop + limit + 20;
        assert_eq!(look(ledger, &working, now), both);
        for later in [now, now + 10, now + 600] {
            let found = ledger.read(|sql| watch::look_at_workers(sql, &working, later));
            ledger.write(|sql| watch::write(sql, &found));
        }
        let events: Vec<AlertEvent> = both.into_iter().map(|(_, event)| event).collect();
        let all = due_events(ledger, now + 700);
        assert_eq!(all, [("a@example.com".to_owned(), events)]);
    });
}

#[test]
fn silence_is_not_told_when_it_is_the_pools_trouble() {
    on_each(|ledger| {
        add(ledger, "alice", "a@example.com", START - HOUR);
        let stop = START + HOUR;
        mine(ledger, "alice", "rig1", (START, stop));
        let now = stop + 20 * 60;
        assert_eq!(
            look(ledger, &working_since(START), now),
            [silent("rig1", stop)]
        );
        // The server was away meanwhile, or has no job, or nobody knows.
        assert_eq!(look(ledger, &working_since(now - 14 * 60), now), []);
        assert_eq!(look(ledger, &WorkingSince::default(), now), []);
        let mut other = WorkingSince::default();
        other.see([SERVER + 1].into_iter(), START);
        assert_eq!(look(ledger, &other, now), []);
        let mut again = working_since(START);
        again.see([].into_iter(), stop + 60);
        again.see([SERVER].into_iter(), stop + 6 * 60);
        assert_eq!(look(ledger, &again, now), [], "it was away");
        assert_eq!(look(ledger, &again, stop + 21 * 60), [silent("rig1", stop)]);
        // Most of the pool's workers, of several accounts, stopped.
        for account in ["bob", "carol"] {
            mine(ledger, account, "rig", (START, stop + 5));
        }
        assert_eq!(look(ledger, &working_since(START), now), []);
        for rig in ["a", "b", "c"] {
            mine(ledger, "dave", rig, (START, now));
        }
        assert_eq!(
            look(ledger, &working_since(START), now),
            [silent("rig1", stop)]
        );
        // Names cost nothing: the work of others is what counts.
        for account in ["mallory1", "mallory2", "mallory3"] {
            for name in 0..10 {
                mine(ledger, account, &name.to_string(), (stop, stop));
            }
        }
        let found = look(ledger, &working_since(START), now);
        assert_eq!(found, [silent("rig1", stop)]);
    });
}

#[test]
fn hashrate_that_falls_is_told_once_and_chance_is_not() {
    on_each(|ledger| {
        let (fall, now) = (START + 2 * HOUR, START + 2 * HOUR + 1_800);
        for account in ["alice", "bob", "carol"] {
            add(ledger, account, "a@example.com", START - HOUR);
        }
        mine(ledger, "alice", "rig1", (START, now - 1));
        mine(ledger, "alice", "rig2", (START, fall - 1));
        mine_at(ledger, "alice", "rig3", (START, fall - 1), 30);
        // Half of so few shares may be missing by chance.
        mine_at(ledger, "bob", "rig1", (START, now - 1), 600);
        mine_at(ledger, "bob", "rig2", (START, fall - 1), 600);
        // Who began to mine an hour ago has no two hours to compare with.
        mine(ledger, "carol", "rig1", (fall - HOUR, fall - 1));
        let working = working_since(START);
        let drops = |working: &WorkingSince, now| {
            let mut found = look(ledger, working, now);
            found.retain(|(_, event)| matches!(event, AlertEvent::Drop { .. }));
            found
        };
        let found = drops(&working, now);
        let [(account, AlertEvent::Drop { now: after, before })] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(account, "alice");
        assert!(
            (after / before - 3.0 / 7.0).abs() < 0.01,
            "{after} {before}"
        );
        let hashes = 2f64.powi(32);
        assert!((after / (hashes / 10.0) - 1.0).abs() < 0.02, "{after}");
        assert_eq!(
            drops(&working_since(fall + 1), now),
            [],
            "the server was away"
        );
        ledger.write(|sql| {
            let found = watch::look_at_workers(sql, &working, now)?;
            watch::write(sql, &found)
        });
        assert_eq!(drops(&working, now + 600), [], "it is told already");
    });
}

#[test]
fn blocks_and_payments_are_told_and_so_is_a_block_that_is_lost() {
    on_each(|ledger| {
        add(ledger, "alice", "a@example.com", START);
        let alice = ledger.account("alice");
        let found_by = |height: u32, closed_at: i64| {
            let hash = ledger.block(height, "confirmed");
            ledger.execute(
                "UPDATE blocks SET account = ?2, closed_at = ?3, changed_at = ?3 WHERE hash = ?1",
                &values![hash.as_str(), alice, closed_at],
            );
            hash
        };
        let before = found_by(1, START - 10);
        let hash = found_by(2, START + 10);
        ledger.execute(
            "INSERT INTO payments (id, wallet, state, txid, created_at, changed_at)
             VALUES (1, 'w', 'sent', 'ab', ?1, ?1), (2, 'v', 'signed', 'cd', ?1, ?1)",
            &values![START + 20],
        );
        ledger.execute(
            "INSERT INTO payment_outputs (payment, account, address, amount)
             VALUES (1, ?1, 'rs1q', 5000000), (2, ?1, 'rs1q', 7)",
            &values![alice],
        );
        let tell = |now| {
            let found = ledger.read(|sql| watch::look_at_money(sql, now));
            ledger.write(|sql| watch::write(sql, &found));
        };
        tell(START + 30);
        ledger.execute(
            "UPDATE payments SET state = 'confirmed', changed_at = ?1 WHERE id = 1",
            &values![START + 40],
        );
        ledger.execute(
            "UPDATE blocks SET state = 'orphaned', changed_at = ?2 WHERE hash = ?1",
            &values![hash.as_str(), START + 50],
        );
        tell(START + 60);
        let all = due_events(ledger, START + 600);
        let [(_, events)] = &all[..] else {
            panic!("{all:?}")
        };
        let payment = AlertEvent::Payment {
            amount: 5_000_000,
            address: "rs1q".to_owned(),
            txid: "ab".to_owned(),
        };
        let block = AlertEvent::Block {
            hash: hash.clone(),
            height: 2,
        };
        let lost = AlertEvent::BlockLost { hash, height: 2 };
        assert_eq!(*events, [block, payment, lost], "and not {before}");
    });
}
