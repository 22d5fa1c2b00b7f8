//! Any line can be parsed as a request, and every reply is one line of JSON.

use std::collections::BTreeMap;

use hstratum_core::wire::message::{
    Reject, Request, Submit, write_reject, write_result, write_subscribed,
};
use hstratum_core::wire::submit_fast_path::scan_submit;
use serde_json::json;
use serde_json::value::RawValue;

pub(crate) fn message(data: &[u8]) {
    // The pool parses a line in this way, without control characters.
    let clean: Vec<u8> = data
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_control())
        .collect();
    let Ok(line) = std::str::from_utf8(&clean) else {
        return;
    };
    let scanned = scan_submit(line);
    let Some(request) = Request::parse(line) else {
        assert!(scanned.is_none(), "{line}");
        return;
    };
    if let Some((id, submit)) = scanned {
        assert_eq!(request.id(), Some(id));
        assert_eq!(request.method().as_deref(), Some("mining.submit"));
        assert_eq!(request.submit(), Ok(submit));
    }
    let id = request.id().unwrap_or("null");
    check_replies(id);

    // Every kind of parameters is parsed, for any method: none may panic.
    let _ = request.method();
    let _ = request.number();
    if let Ok((names, values)) = request.extensions() {
        assert!(names.len() + values.len() <= line.len());
    }
    let texts = request.texts();
    if let Ok(submit) = request.submit() {
        check_submit(&submit, id);
        // The mask is ignored there, so it may be something that is no text here.
        if let Ok(texts) = texts {
            assert_eq!(texts[0].as_deref(), Some(&*submit.user));
            assert_eq!(texts[1].as_deref(), Some(&*submit.job));
        }
    }
}

/// For any id, a reply is one line of JSON with the id as it came.
fn check_replies(id: &str) {
    let mut out = Vec::new();
    write_reject(&mut out, id, Reject::Duplicate);
    write_result(&mut out, id, "[]");
    write_subscribed(&mut out, id, 7);
    let text = String::from_utf8(out).expect("UTF-8");
    assert_eq!(text.lines().count(), 3, "{text:?}");
    for line in text.lines() {
        let reply: BTreeMap<String, &RawValue> =
            serde_json::from_str(line).expect("a reply is a JSON object");
        assert_eq!(reply["id"].get(), id);
    }
}

fn check_submit(submit: &Submit<'_>, id: &str) {
    let params = json!([
        submit.user,
        submit.job,
        format!("{:08x}", submit.extra_nonce2),
        format!("{:08x}", submit.time),
        format!("{:08x}", submit.nonce),
    ]);
    let line = format!("{{\"params\":{params},\"id\":{id},\"method\":\"mining.submit\"}}");
    let again = Request::parse(&line).expect("what is written is a request");
    assert_eq!(again.id(), Some(id));
    assert_eq!(again.submit().as_ref(), Ok(submit));
}
