use hstratum_core::alarm::AlarmKind;

use super::*;

fn alarm(number: usize) -> Alarm {
    Alarm {
        kind: AlarmKind::JobAgain,
        text: number.to_string(),
        detail: Detail::None,
    }
}

#[test]
fn outbox_drops_the_oldest_and_says_how_many() {
    let outbox = AlarmQueue::default();
    for number in 0..ALARMS_WAITING_MAX + 5 {
        outbox.push(alarm(number), 0);
    }
    let (first, _, dropped) = outbox.next().expect("an alarm");
    assert_eq!((first.text.as_str(), dropped), ("5", 5));
    let (second, _, dropped) = outbox.next().expect("an alarm");
    assert_eq!((second.text.as_str(), dropped), ("6", 0));
    outbox.close();
    assert_eq!(outbox.abandon(), ALARMS_WAITING_MAX - 2);
    assert!(outbox.next().is_none());
}

#[test]
fn signature_is_what_others_compute() {
    // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
    assert_eq!(
        sign(&key, "1700000000", "{\"a\":1}"),
        "sha256=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
    );
}

fn source() -> Source {
    Source {
        network: Network::Main,
        server: "eu-1".to_owned(),
    }
}

#[test]
fn body_has_what_chats_show_and_calls_nobody() {
    let mut alarm = alarm(1);
    alarm.text = "@everyone ".repeat(1000);
    let body = body(&alarm, "1-1", 7, &source(), 3);
    let shown = body["content"].as_str().expect("a text");
    assert_eq!(shown.chars().count(), ALARM_CHARS_MAX + 1);
    assert_eq!(body["text"], body["content"]);
    assert_eq!(body["allowed_mentions"]["parse"], json!([]));
    assert_eq!((&body["time"], &body["dropped"]), (&json!(7), &json!(3)));
    assert_eq!(body["event"], "job_again");
    assert_eq!(body["server"], "eu-1");
    assert_eq!(body["title"], "hstratum eu-1 on main");
}

#[test]
fn no_two_servers_and_no_two_runs_have_the_same_ids() {
    let mut seen = std::collections::HashSet::new();
    for server in ["eu-1", "us-1", "eu-1"] {
        let mut ids = DeliveryIds::new(server).expect("random bytes");
        for _ in 0..3 {
            let id = ids.next();
            assert!(id.starts_with(server), "{id}");
            assert!(seen.insert(id.clone()), "{id}");
        }
    }
}

#[test]
fn name_of_a_miner_is_no_link_and_no_call() {
    let hostile = "[click](https://a.example) <!channel> <@1> @everyone www.b.example";
    let mut alarm = alarm(1);
    alarm.text = hostile.to_owned();
    let body = body(&alarm, "1-1", 7, &source(), 0);
    for field in ["text", "content"] {
        let shown = body[field].as_str().expect("a text");
        for call in ["](", "://", "<!", "<@", "@e", "www.b"] {
            assert!(!shown.contains(call), "{field}: {call} in {shown:?}");
        }
        assert_eq!(
            shown.replace('\u{200b}', ""),
            hostile,
            "as it was to a reader"
        );
    }
}
