use super::*;

// Server lines of a session recorded against HandyStratum on hsd: ten fields, of which the tenth is the
// mask hash of a zero mask. In the recording its difficulty of 32 was rewritten so that a CPU finds
// shares.
const SUBSCRIBED: &str = r#"{"id":0,"result":[[["mining.notify","00000004"],["mining.set_difficulty","00000004"]],"00000004",4],"error":null}"#;
const AUTHORIZED: &str = r#"{"id":1,"result":true,"error":null}"#;
const DIFFICULTY: &str = r#"{"id":null,"method":"mining.set_difficulty","params":[4.7e-10]}"#;
const JOB_15: &str = r#"{"id":null,"method":"mining.notify","params":["1795350965:15","7b999a48d3cb0c0b754e8cfa9f3f17a2740b0ceaebd9c29ca285bc73d74dc5de","c22ed85dfa8dd0d5a20609cb0dfd6187ab8045c96a3f927dd28be536ce6ebd55","1ef92114979e5fe5ed53e5eeafb4f9b97703a0720d5215ec1e902c0364185ef8","0000000000000000000000000000000000000000000000000000000000000000","0000000000000000000000000000000000000000000000000000000000000000","00000000","207fffff","6b02e1b5","e0a20be2e4cfb685d34ebd08a48e5046990acee755f160a96977e57f315e984e"]}"#;
const JOB_16: &str = r#"{"id":null,"method":"mining.notify","params":["1795350973:16","2ca8a6c9eb278b4611834ef4fa75b9a3c837900991c66ba57bf323e5ccc23520","4583fd30e488c8e9e3b542282cab9e51e16c310aa37bc58b18e385136869dcb2","f9b2a4e846d031faef8f0b4cfb2797893ed8b4b3a6bbf3a8ea4389461c7f4c13","0000000000000000000000000000000000000000000000000000000000000000","0000000000000000000000000000000000000000000000000000000000000000","00000000","207fffff","6b02e1bd","e73e89cc0268035494f985e16bee44afcff2fe361cc52e152313437762a2bc71"]}"#;
// Nine fields, from a recording against a scripted server.
const JOB_1: &str = r#"{"id":null,"method":"mining.notify","params":["job-1","9c21b02981cdc19c0dacf77de6e6d6c8d6f6b3d9356f59139ade76a6f6a101ce","bedc2be816bf1eb2e607c7a66a9347724b7d038cf392ff5eff6f95ad6bda97bc","a940ea400e836534dbe2ed74e8d70f798f2139df16e28ad942b2ed6e435c3f89","dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622","0000000000000000000000000000000000000000000000000000000000000000","00000000","207fffff","6b02e1fb"]}"#;

/// The share that the server accepted for job 15.
const ACCEPTED: Attempt = Attempt {
    extra_nonce2: 3,
    time: 0x6b02_e1b5,
    nonce: 0xdaa3_488d,
};

fn connected() -> Client {
    let mut client = Client::new("alice.H10FAKE0000000001", "x");
    client.connect();
    client
}

fn feed(client: &mut Client, lines: &[&str]) {
    for line in lines {
        assert_eq!(client.handle_line(line), Ok(Update::Nothing), "{line}");
    }
}

fn working(job: &str) -> Client {
    let mut client = connected();
    feed(&mut client, &[SUBSCRIBED, DIFFICULTY, job, AUTHORIZED]);
    client
}

fn current(client: &Client) -> Arc<Work> {
    client.work().expect("work").clone()
}

fn first_share(work: &Work) -> Attempt {
    (0..)
        .map(|nonce| Attempt {
            extra_nonce2: 0,
            time: work.time,
            nonce,
        })
        .find(|attempt| work.is_share(&work.hash(attempt)))
        .expect("an easy target")
}

#[test]
fn connection_begins_with_subscribe_and_authorize() {
    let mut client = Client::new("al\"ice", "p w");
    let agent = AGENT;
    assert_eq!(
        client.connect(),
        [
            format!("{{\"id\":0,\"method\":\"mining.subscribe\",\"params\":[\"{agent}\"]}}\n"),
            "{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"al\\\"ice\",\"p w\"]}\n"
                .into(),
        ]
    );
}

#[test]
fn recorded_share_is_a_share_and_is_submitted_as_recorded() {
    let mut client = working(JOB_15);
    let work = current(&client);
    assert_eq!(work.job, "1795350965:15");
    assert!(work.is_share(&work.hash(&ACCEPTED)));
    assert_eq!(
        client.submit(&work, &ACCEPTED).expect("a line"),
        "{\"id\":2,\"method\":\"mining.submit\",\"params\":[\"alice.H10FAKE0000000001\",\
         \"1795350965:15\",\"00000003\",\"6b02e1b5\",\"daa3488d\"]}\n"
    );
    let block = work.is_block(&work.hash(&ACCEPTED));
    let reply = client.handle_line(r#"{"id":2,"result":true,"error":null}"#);
    assert_eq!(reply, Ok(Update::Accepted { block }));
    assert_eq!(client.counts().accepted, 1);
    assert_eq!(client.pending(), 0);
}

#[test]
fn recorded_share_of_the_next_job_is_a_share_too() {
    let mut client = working(JOB_15);
    feed(&mut client, &[JOB_16]);
    let work = current(&client);
    let attempt = Attempt {
        extra_nonce2: 3,
        time: 0x6b02_e1bd,
        nonce: 0x1fa2_5696,
    };
    assert!(work.is_share(&work.hash(&attempt)));
}

#[test]
fn there_is_no_work_before_authorization_in_any_order() {
    let mut client = connected();
    feed(&mut client, &[DIFFICULTY, JOB_15, SUBSCRIBED]);
    assert!(client.work().is_none());
    feed(&mut client, &[AUTHORIZED]);
    assert!(current(&client).is_share(&current(&client).hash(&ACCEPTED)));

    let mut client = connected();
    feed(&mut client, &[AUTHORIZED, DIFFICULTY, JOB_15]);
    assert!(client.work().is_none());
    feed(&mut client, &[SUBSCRIBED]);
    assert!(current(&client).is_share(&current(&client).hash(&ACCEPTED)));
}

#[test]
fn difficulty_counts_for_later_jobs() {
    let job = &JOB_15.replace("207fffff", "1d00ffff");
    let mut client = working(job);
    let attempt = first_share(&current(&client));
    let hard = r#"{"id":null,"method":"mining.set_difficulty","params":[1e9]}"#;
    feed(&mut client, &[hard]);
    assert!(current(&client).is_share(&current(&client).hash(&attempt)));
    feed(&mut client, &[job]);
    assert!(!current(&client).is_share(&current(&client).hash(&attempt)));
}

#[test]
fn masked_job_has_no_shares_below_the_announced_difficulty() {
    let hard = r#"{"id":null,"method":"mining.set_difficulty","params":[1e9]}"#;
    let masked = JOB_15.replace("e0a20be2", "00000000");
    let mut client = connected();
    feed(&mut client, &[SUBSCRIBED, hard, JOB_15, AUTHORIZED]);
    let attempt = first_share(&current(&client));
    feed(&mut client, &[&masked]);
    assert!(!current(&client).is_share(&current(&client).hash(&attempt)));
}

#[test]
fn shares_are_blocks_where_the_network_is_about_as_easy_as_they_are() {
    for (bits, difficulty, are_blocks) in [
        ("207fffff", "1e9", true),
        ("207fffff", "4.7e-10", true),
        ("1d00ffff", "1", true),
        ("1d00ffff", "0.1", true),
        ("1d00ffff", "0.05", false),
        ("1a00ffff", "8", false),
    ] {
        let told =
            format!(r#"{{"id":null,"method":"mining.set_difficulty","params":[{difficulty}]}}"#);
        for job in [JOB_15.to_owned(), JOB_15.replace("e0a20be2", "00000000")] {
            let mut client = connected();
            let job = job.replace("207fffff", bits);
            feed(&mut client, &[SUBSCRIBED, &told, &job, AUTHORIZED]);
            assert_eq!(
                current(&client).shares_are_blocks(),
                are_blocks,
                "{bits} {difficulty}"
            );
        }
    }
}

#[test]
fn block_is_a_share_however_hard_shares_are() {
    let mut client = connected();
    let hard = r#"{"id":null,"method":"mining.set_difficulty","params":[1e9]}"#;
    feed(&mut client, &[SUBSCRIBED, hard, JOB_1, AUTHORIZED]);
    let work = current(&client);
    let attempt = first_share(&work);
    assert!(work.is_block(&work.hash(&attempt)));
    client.submit(&work, &attempt).expect("a line");
    let reply = client.handle_line(r#"{"id":2,"result":true,"error":null}"#);
    assert_eq!(reply, Ok(Update::Accepted { block: true }));
    assert_eq!(client.counts().blocks, 1);
}

#[test]
fn new_extra_nonce_counts_for_later_jobs() {
    let mut client = working(JOB_15);
    let before = current(&client);
    let set = r#"{"id":null,"method":"mining.set_extranonce","params":["0badcafe",4]}"#;
    feed(&mut client, &[set]);
    assert!(Arc::ptr_eq(&before, &current(&client)));
    feed(&mut client, &[JOB_15]);
    assert_ne!(before.hash(&ACCEPTED), current(&client).hash(&ACCEPTED));
}

#[test]
fn rejects_are_counted_by_code() {
    let mut client = working(JOB_1);
    let work = current(&client);
    let attempt = first_share(&work);
    for (id, error, code, text) in [
        (2, r#"[23,"high-hash",false]"#, 23, "high-hash"),
        (3, r#"[21,"job not found",false]"#, 21, "job not found"),
        (4, r#"[21,"stale-prevblk",false]"#, 21, "stale-prevblk"),
        (
            5,
            r#"{"code":20,"message":"time\u001b[2J too new"}"#,
            20,
            "time[2J too new",
        ),
        (6, r#""odd""#, 0, "odd"),
        (7, "null", 0, "refused"),
        (8, "[]", 0, "refused"),
    ] {
        client.submit(&work, &attempt).expect("a line");
        let line = format!(r#"{{"id":{id},"result":null,"error":{error}}}"#);
        let refusal = RequestRefusal {
            code,
            text: text.into(),
        };
        assert_eq!(client.handle_line(&line), Ok(Update::Rejected(refusal)));
    }
    let expected = BTreeMap::from([(0, 3), (20, 1), (21, 2), (23, 1)]);
    assert_eq!(client.counts().rejected, expected);
}

#[test]
fn share_of_a_replaced_job_is_submitted_while_its_parent_is_the_same() {
    let mut client = working(JOB_1);
    let old = current(&client);
    let attempt = first_share(&old);
    feed(&mut client, &[&JOB_1.replace("job-1", "job-2")]);
    let line = client.submit(&old, &attempt).expect("a line");
    assert!(line.contains("\"job-1\""), "{line}");
    feed(&mut client, &[JOB_15]);
    assert_eq!(client.submit(&old, &attempt), None);
}

#[test]
fn reconnect_resumes_the_session_and_drops_old_work() {
    let mut client = working(JOB_15);
    let old = current(&client);
    client.submit(&old, &ACCEPTED).expect("a line");
    let [subscribe, authorize] = client.connect();
    assert!(
        subscribe.ends_with(&format!("[\"{AGENT}\",\"00000004\"]}}\n")),
        "{subscribe}"
    );
    assert!(authorize.contains("\"id\":4,"), "{authorize}");
    assert_eq!(client.pending(), 2);
    assert!(client.work().is_none());
    assert_eq!(client.submit(&old, &ACCEPTED), None);

    let again = [SUBSCRIBED.replace("\"id\":0", "\"id\":3"), JOB_15.into()];
    feed(
        &mut client,
        &[&again[0], &again[1], r#"{"id":4,"result":true}"#],
    );
    assert!(client.work().is_some());
    assert_eq!(client.submit(&old, &ACCEPTED), None);
}

#[test]
fn refused_subscribe_and_authorize_are_failures() {
    let refusal = |code, text: &str| RequestRefusal {
        code,
        text: text.into(),
    };
    assert_eq!(
        connected().handle_line(r#"{"id":0,"result":null,"error":[0,"not up to date",false]}"#),
        Err(ClientFailure::SubscribeRefused(refusal(
            0,
            "not up to date"
        )))
    );
    assert_eq!(
        connected().handle_line(r#"{"id":1,"result":false,"error":null}"#),
        Err(ClientFailure::AuthorizeRefused(refusal(0, "refused")))
    );
    let error = connected()
        .handle_line(r#"{"id":1,"result":null,"error":[24,"unauthorized user",false]}"#)
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "failed to authorize: 24 unauthorized user"
    );
}

#[test]
fn unknown_lines_are_ignored() {
    let mut client = connected();
    feed(
        &mut client,
        &[
            r#"{"id":null,"method":"client.show_message","params":["hello"]}"#,
            r#"{"id":7,"method":"mining.ping","params":[]}"#,
            r#"{"id":null,"result":null,"error":[0,"invalid params",false]}"#,
            r#"{"id":99,"result":true,"error":null}"#,
            r#"{"id":"long","result":true,"error":null}"#,
            "{}\r\n",
        ],
    );
    assert_eq!(
        client.handle_line(r#"{"id":null,"method":"client.reconnect","params":[]}"#),
        Err(ClientFailure::Reconnect)
    );
}

#[test]
fn malformed_lines_are_failures_and_never_panics() {
    let cut = &JOB_15[..JOB_15.len() - 40];
    let zero_bits = JOB_15.replace("207fffff", "00000000");
    let no_nonce1 = SUBSCRIBED.replace("\"00000004\",4", "\"0000000004\",4");
    for line in [
        "",
        "HTTP/1.1 400 Bad Request",
        "[]",
        "null",
        cut,
        &zero_bits,
        &no_nonce1,
        r#"{"id":0,"result":true}"#,
        r#"{"method":"mining.notify"}"#,
        r#"{"method":"mining.notify","params":[]}"#,
        r#"{"method":"mining.notify","params":{"0":"x"}}"#,
        r#"{"method":"mining.set_difficulty","params":[0]}"#,
        r#"{"method":"mining.set_difficulty","params":["8"]}"#,
        r#"{"method":"mining.set_extranonce","params":["0badcafe00",5]}"#,
    ] {
        let failure = connected().handle_line(line);
        assert!(
            matches!(failure, Err(ClientFailure::Malformed(_))),
            "{line}"
        );
    }
}
